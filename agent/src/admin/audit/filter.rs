//! What `query` and `export` select by.

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

use crate::audit::view::View;

/// A period of time.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Period {
    /// From this time on: `2026-07-28T12:00:00Z`, `2026-07-28 12:00` (local time), or how long ago, as in `15m`, `2h`, `3 days`
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) since: Option<Timestamp>,
    /// Before this time, in the same forms
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(super) until: Option<Timestamp>,
}

impl Period {
    pub(super) fn contains(&self, time: Timestamp) -> bool {
        self.since.is_none_or(|since| time >= since) && self.until.is_none_or(|until| time < until)
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time);
    }
    let zone = TimeZone::system();
    let zoned = if let Ok(time) = text.parse::<civil::DateTime>() {
        time.to_zoned(zone)
    } else if let Ok(ago) = text.parse::<Span>() {
        Zoned::now().checked_sub(ago.abs())
    } else {
        return Err("not a time such as 2026-07-28T12:00:00Z, nor how long ago, such as 15m".to_owned());
    };
    zoned.map(|time| time.timestamp()).map_err(|error| error.to_string())
}

/// What a record must be to be shown. All conditions must hold.
#[derive(Debug, Default, clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    pub(super) period: Period,
    /// Workload ids that contain this
    #[arg(long, value_name = "TEXT")]
    pub(super) workload: Option<String>,
    /// The endpoint's configured name
    #[arg(long, value_name = "NAME")]
    pub(super) endpoint: Option<String>,
    /// The tool, prompt or resource
    #[arg(long, value_name = "NAME")]
    pub(super) tool: Option<String>,
    /// The MCP method
    #[arg(long, value_name = "METHOD")]
    pub(super) method: Option<String>,
    /// What was decided
    #[arg(long, value_parser = ["allow", "deny"])]
    pub(super) verdict: Option<String>,
    /// How the call ended
    #[arg(long, value_parser = ["ok", "error", "cancelled", "broken", "timeout", "refused", "unknown"])]
    pub(super) outcome: Option<String>,
    /// A call's id, or its beginning or end
    #[arg(long, value_name = "ID")]
    pub(super) call: Option<String>,
    /// Events whose text contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) text: Option<String>,
}

impl Filter {
    pub(super) fn accepts(&self, view: &View<'_>, event: &str) -> bool {
        let Self { period, workload, endpoint, tool, method, verdict, outcome, call, text } = self;
        let mcp = view.event.mcp.as_ref();
        let same = |wanted: &Option<String>, found: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| found == wanted))
        };
        let within = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| found.contains(wanted.as_str())))
        };
        period.contains(view.time())
            && within(workload, view.event.workload.as_ref().map(|workload| workload.id.as_str()))
            && same(endpoint, mcp.and_then(|mcp| mcp.endpoint.as_ref()))
            && same(tool, mcp.and_then(|mcp| mcp.name.as_ref()))
            && same(method, mcp.and_then(|mcp| mcp.method.as_ref()))
            && same(verdict, view.event.verdict.as_ref().map(|verdict| &verdict.action))
            && same(outcome, mcp.and_then(|mcp| mcp.outcome.as_ref()))
            && call.as_ref().is_none_or(|wanted| {
                let found = mcp.and_then(|mcp| mcp.call_id.as_deref()).unwrap_or_default();
                found.starts_with(wanted.as_str()) || found.ends_with(wanted.as_str())
            })
            && within(text, Some(event))
    }
}
