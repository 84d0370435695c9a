//! A record as a line that a person reads. What peers chose is cleaned first: it must not steer a terminal.

use std::{
    fmt::Write as _,
    io::{self, Write},
};

use anstyle::Style;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{
    clean::{clean, column, cut},
    mood::Mood,
};
use crate::audit::view::{EventView, McpView, View};

/// Longest payload shown, in characters.
const SNIPPET: usize = 72;

const DIM: Style = Style::new().dimmed();
const BOLD: Style = Style::new().bold();

/// Prints records one to a line, with ANSI styles; write to an `anstream` to have them only on a terminal.
#[derive(Debug, Clone)]
pub struct Printer {
    zone: TimeZone,
    format: &'static str,
}

impl Default for Printer {
    /// With the local time of day.
    fn default() -> Self {
        Self { zone: TimeZone::system(), format: "%H:%M:%S%.3f" }
    }
}

impl Printer {
    /// With the local date and time of day.
    pub fn with_dates() -> Self {
        Self { format: "%F %H:%M:%S%.3f", ..Self::default() }
    }

    /// Writes the record's line.
    ///
    /// # Errors
    /// When `out` fails.
    pub fn print(&self, view: &View<'_>, out: &mut dyn Write) -> io::Result<()> {
        let time = view.time().to_zoned(self.zone.clone()).strftime(self.format).to_string();
        let body = match (&view.event.mcp, view.event.class_uid) {
            (Some(mcp), 6003) => call(&view.event, mcp),
            (_, 3002 | 6002) => format!("{BOLD}·{BOLD:#} {}", clean(&view.event.message)),
            _ => connection(&view.event),
        };
        writeln!(out, "{DIM}{time}{DIM:#} {}", body.trim_end())
    }
}

/// `→ #a1b2 unit/billing.service  billing  tools/call refund  allow  {"amount":5}`
fn call(event: &EventView<'_>, mcp: &McpView<'_>) -> String {
    let arrow = match mcp.phase.as_deref() {
        Some("request") => "→",
        Some("response") => "←",
        Some("server_request") => "⇠",
        Some("client_response") => "⇢",
        _ => "·",
    };
    let call_id = mcp.call_id.as_deref().unwrap_or_default();
    // The end of a version 7 UUID is random, its beginning is the time.
    let tag = &call_id[call_id.floor_char_boundary(call_id.len().saturating_sub(4))..];
    let action = event.verdict.as_ref().map_or("", |verdict| verdict.action.as_str());
    let word = mcp.outcome.as_deref().unwrap_or(action);
    let what = [mcp.method.as_deref(), mcp.name.as_deref()].into_iter().flatten().collect::<Vec<_>>().join(" ");
    let mut line = format!("{BOLD}{arrow}{BOLD:#} {DIM}#{}{DIM:#} ", clean(tag));
    line.push_str(&parties(event, mcp.endpoint.as_deref()));
    let _ = write!(line, "{BOLD}{}{BOLD:#} {} ", column(&what, 30), word_in_colour(word));
    line.push_str(&took(mcp.duration_ms));
    let reason = event.verdict.as_ref().and_then(|verdict| verdict.reason.as_deref()).filter(|_| action == "deny");
    if let Some(detail) = reason.map(str::to_owned).or_else(|| said(mcp)) {
        let _ = write!(line, "{DIM}{}{DIM:#}", snippet(&detail));
    }
    line
}

/// The part of a payload that a person looks for: a call's arguments, a result's text, or all of it.
fn said(mcp: &McpView<'_>) -> Option<String> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        arguments: &'a RawValue,
    }
    #[derive(Deserialize)]
    struct Result {
        content: Vec<Content>,
    }
    #[derive(Deserialize)]
    struct Content {
        text: String,
    }
    let arguments = mcp.params.and_then(|params| serde_json::from_str::<Params<'_>>(params.get()).ok());
    let result = mcp.result.and_then(|result| serde_json::from_str::<Result>(result.get()).ok());
    let text = result.and_then(|result| result.content.into_iter().next()).map(|content| content.text);
    let whole = || mcp.params.or(mcp.result).or(mcp.error).map(|payload| payload.get().to_owned());
    arguments.map(|params| params.arguments.get().to_owned()).or(text).or_else(whole)
}

/// `  http GET /.well-known/oauth  200  12 ms` or `  flow to host:443  closed`
fn connection(event: &EventView<'_>) -> String {
    let endpoint = event.mcp.as_ref().and_then(|mcp| mcp.endpoint.as_deref());
    let denied = event.verdict.as_ref().is_some_and(|verdict| verdict.action == "deny");
    let (what, word) = match (&event.http_request, &event.flow) {
        (Some(http), _) => {
            let what = format!("{} {}", http.http_method.as_deref().unwrap_or("?"), http.url.path);
            let code = event.http_response.as_ref().map_or("broken".to_owned(), |response| response.code.to_string());
            (what, if denied { "deny".to_owned() } else { code })
        }
        (None, Some(flow)) => (format!("flow to {}", destination(event)), flow.end.clone().unwrap_or_default()),
        (None, None) => (event.message.clone(), String::new()),
    };
    let mut line = format!("{DIM}· {:5}{DIM:#} {}", "", parties(event, endpoint));
    let _ = write!(line, "{} {} {}", column(&what, 30), word_in_colour(&word), took(event.duration));
    if let Some(reason) = event.verdict.as_ref().and_then(|verdict| verdict.reason.as_deref()) {
        let _ = write!(line, "{DIM}{}{DIM:#}", snippet(reason));
    }
    line
}

fn parties(event: &EventView<'_>, endpoint: Option<&str>) -> String {
    let workload = event.workload.as_ref().map_or("", |workload| workload.id.as_str());
    format!("{} {} ", column(&short(workload), 28), column(endpoint.unwrap_or("-"), 12))
}

/// A container's id in its short form, as container tools show it.
pub(super) fn short(workload: &str) -> String {
    let parts = workload.split('/').map(|part| {
        let is_id = part.len() == 64 && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        if is_id { &part[..12] } else { part }
    });
    parts.collect::<Vec<_>>().join("/")
}

pub(super) fn destination(event: &EventView<'_>) -> String {
    let Some(to) = &event.dst_endpoint else { return "?".to_owned() };
    let host = to.hostname.clone().or_else(|| to.ip.map(|ip| ip.to_string())).unwrap_or_default();
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    to.port.map_or_else(|| host.clone(), |port| format!("{host}:{port}"))
}

pub(super) fn took(milliseconds: Option<u64>) -> String {
    let text = match milliseconds {
        None => String::new(),
        Some(ms @ ..10_000) => format!("{ms} ms"),
        Some(ms) => format!("{}.{} s", ms / 1000, ms % 1000 / 100),
    };
    format!("{text:>8}  ")
}

fn word_in_colour(word: &str) -> String {
    let style = Mood::of(word).style();
    format!("{style}{}{style:#}", column(word, 9))
}

fn snippet(text: &str) -> String {
    cut(text, SNIPPET)
}
