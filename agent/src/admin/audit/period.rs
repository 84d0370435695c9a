//! A period of time, as commands are given it.

use jiff::{Span, Timestamp, Zoned, civil, tz::TimeZone};

/// A period of time.
#[derive(Debug, Default, Clone, PartialEq, clap::Args)]
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
