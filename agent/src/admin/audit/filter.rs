//! What the commands that show records select by.

use memchr::memmem::Finder;

use super::period::Period;
use crate::audit::view::View;

/// What a record must be to be shown. All conditions must hold.
#[derive(Debug, Default, Clone, PartialEq, clap::Args)]
pub(super) struct Filter {
    #[command(flatten)]
    pub(super) period: Period,
    /// Workload ids that contain this
    #[arg(long, value_name = "TEXT")]
    pub(super) workload: Option<String>,
    /// Callers (the verified token's subject) that contain this
    #[arg(long, value_name = "TEXT")]
    pub(super) caller: Option<String>,
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
    #[arg(long, value_parser = ["allow", "deny", "hold"])]
    pub(super) verdict: Option<String>,
    /// How the call ended
    #[arg(long, value_parser = ["ok", "error", "cancelled", "broken", "timeout", "refused", "unknown"])]
    pub(super) outcome: Option<String>,
    /// The MCP session's id
    #[arg(long, value_name = "ID")]
    pub(super) session: Option<String>,
    /// A call's id, or its beginning or end
    #[arg(long, value_name = "ID")]
    pub(super) call: Option<String>,
    /// Events whose text, as it stands in the record, contains this
    #[arg(long, value_name = "TEXT")]
    pub(super) text: Option<String>,
}

impl Filter {
    pub(super) fn accepts(&self, view: &View<'_>, event: &str) -> bool {
        let Self { period, workload, caller, endpoint, tool, method, verdict, outcome, session, call, text } = self;
        let mcp = view.event.mcp.as_ref();
        let same = |wanted: &Option<String>, found: Option<&String>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| found == wanted))
        };
        let within = |wanted: &Option<String>, found: Option<&str>| {
            wanted.as_ref().is_none_or(|wanted| found.is_some_and(|found| found.contains(wanted.as_str())))
        };
        period.contains(view.time())
            && within(workload, view.event.workload.as_ref().map(|workload| workload.id.as_str()))
            && within(caller, view.event.caller.as_ref().map(|caller| caller.sub.as_str()))
            && same(endpoint, mcp.and_then(|mcp| mcp.endpoint.as_ref()))
            && same(tool, mcp.and_then(|mcp| mcp.name.as_ref()))
            && same(method, mcp.and_then(|mcp| mcp.method.as_ref()))
            && same(verdict, view.event.verdict.as_ref().map(|verdict| &verdict.action))
            && same(outcome, mcp.and_then(|mcp| mcp.outcome.as_ref()))
            && same(session, mcp.and_then(|mcp| mcp.session_id.as_ref()))
            && call.as_ref().is_none_or(|wanted| {
                let found = mcp.and_then(|mcp| mcp.call_id.as_deref()).unwrap_or_default();
                found.starts_with(wanted.as_str()) || found.ends_with(wanted.as_str())
            })
            && within(text, Some(event))
    }

    /// What the text of every record holds that this accepts: lines without it need not be parsed.
    pub(super) fn literals(&self) -> Vec<Finder<'static>> {
        let Self { period: _, workload, caller, endpoint, tool, method, verdict, outcome, session, call, text } = self;
        let values = [workload, caller, endpoint, tool, method, verdict, outcome, session, call];
        let written = values.into_iter().flatten().map(|value| as_written(value));
        written.chain(text.clone()).map(|text| Finder::new(text.as_bytes()).into_owned()).collect()
    }
}

/// `text` as records write it inside a string: each character is escaped for itself, so a part of a value is a part of
/// what is written.
pub(super) fn as_written(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}
