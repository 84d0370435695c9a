//! A record as what is told of it. Everything in here is cleaned: it may be shown as it is.

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::super::{
    clean::{clean, clean_lines, cut},
    print::{destination, short},
};
use crate::audit::{
    pretty::pretty,
    view::{EventView, McpView, View},
};

/// What a record is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The client asks.
    Asked,
    /// A call ended.
    Answered,
    /// The server asks the client.
    ServerAsked,
    /// The client's answer.
    ClientAnswered,
    /// An HTTP request that is no message.
    Http,
    /// A connection.
    Flow,
    /// The agent's own, and whatever else there is.
    Agent,
}

impl Kind {
    fn of(event: &EventView<'_>) -> Self {
        match (event.mcp.as_ref().and_then(|mcp| mcp.phase.as_deref()), event.class_uid) {
            (Some("request"), _) => Self::Asked,
            (Some("response"), _) => Self::Answered,
            (Some("server_request"), _) => Self::ServerAsked,
            (Some("client_response"), _) => Self::ClientAnswered,
            (_, 4002) => Self::Http,
            (_, 4001) => Self::Flow,
            _ => Self::Agent,
        }
    }

    pub(super) const fn arrow(self) -> &'static str {
        match self {
            Self::Asked => "→",
            Self::Answered => "←",
            Self::ServerAsked => "⇠",
            Self::ClientAnswered => "⇢",
            Self::Http | Self::Flow | Self::Agent => "·",
        }
    }

    /// What the page filters by.
    pub(super) const fn group(self) -> &'static str {
        match self {
            Self::Asked | Self::Answered => "call",
            Self::ServerAsked | Self::ClientAnswered => "server",
            Self::Http => "http",
            Self::Flow => "flow",
            Self::Agent => "agent",
        }
    }
}

/// One record.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) kind: Kind,
    pub(super) call_id: Option<String>,
    /// `tools/call refund`
    pub(super) what: String,
    /// How it ended, or what was decided.
    pub(super) word: String,
    pub(super) outcome: Option<String>,
    /// A request that has an id.
    pub(super) expects_answer: bool,
    pub(super) milliseconds: Option<u64>,
    /// Workload, process and caller; empty when the record is nobody's.
    pub(super) who: String,
    /// The endpoint and where it is; empty when there is none.
    pub(super) endpoint: String,
    /// What else there is to know, by name.
    pub(super) notes: Vec<(&'static str, String)>,
    pub(super) bodies: Vec<Body>,
}

/// A payload.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) label: &'static str,
    pub(super) text: String,
    /// The payload as recorded, of which another body shows what matters.
    pub(super) whole: bool,
}

impl Entry {
    pub(super) fn new(view: &View<'_>) -> Self {
        let event = &view.event;
        let kind = Kind::of(event);
        let mcp = event.mcp.as_ref();
        let verdict = event.verdict.as_ref().map(|verdict| clean(&verdict.action));
        let outcome = mcp.and_then(|mcp| mcp.outcome.as_deref()).map(clean);
        let is_call = !matches!(kind, Kind::Http | Kind::Flow | Kind::Agent);
        Self {
            seq: view.seq,
            at: view.time(),
            kind,
            call_id: mcp.and_then(|mcp| mcp.call_id.as_deref()).map(clean),
            what: what(event, kind),
            word: word(event, kind, verdict.as_deref(), outcome.as_deref()),
            outcome,
            expects_answer: mcp.is_some_and(|mcp| mcp.id.is_some()),
            milliseconds: mcp.and_then(|mcp| mcp.duration_ms).or(event.duration),
            who: who(event),
            endpoint: endpoint(event),
            notes: notes(event),
            bodies: mcp.filter(|_| is_call).map(bodies).unwrap_or_default(),
        }
    }

    /// The end of the call's id: that of a version 7 UUID is random, its beginning is the time.
    pub(super) fn tag(&self) -> &str {
        let id = self.call_id.as_deref().unwrap_or_default();
        &id[id.floor_char_boundary(id.len().saturating_sub(4))..]
    }
}

fn what(event: &EventView<'_>, kind: Kind) -> String {
    match (kind, &event.http_request) {
        (Kind::Http, Some(http)) => clean(&format!("{} {}", http.http_method.as_deref().unwrap_or("?"), http.url.path)),
        (Kind::Flow, _) => {
            let protocol = event.flow.as_ref().and_then(|flow| flow.protocol.as_deref()).unwrap_or("?");
            clean(&format!("{protocol} connection to {}", destination(event)))
        }
        (Kind::Http | Kind::Agent, _) => clean(&event.message),
        _ => {
            let mcp = event.mcp.as_ref();
            let words = [mcp.and_then(|mcp| mcp.method.as_deref()), mcp.and_then(|mcp| mcp.name.as_deref())];
            clean(&words.into_iter().flatten().collect::<Vec<_>>().join(" "))
        }
    }
}

fn word(event: &EventView<'_>, kind: Kind, verdict: Option<&str>, outcome: Option<&str>) -> String {
    let status = || match &event.http_response {
        Some(response) => response.code.to_string(),
        None if event.duration.is_some() => "broken".to_owned(),
        None => "allow".to_owned(),
    };
    match (kind, verdict) {
        (Kind::Agent, _) => String::new(),
        (Kind::Http, Some("deny")) => "deny".to_owned(),
        (Kind::Http, _) => status(),
        (Kind::Flow, _) => clean(event.flow.as_ref().and_then(|flow| flow.end.as_deref()).unwrap_or_default()),
        (_, verdict) => outcome.or(verdict).unwrap_or_default().to_owned(),
    }
}

/// `pod/0a1b/agent · python3 (pid 42, uid 1000, /usr/bin/python3) · for alice (https://idp.example.com)`
fn who(event: &EventView<'_>) -> String {
    let mut parts = Vec::new();
    if let Some(workload) = &event.workload {
        parts.push(short(&workload.id));
        if let Some(process) = &workload.process {
            let exe = process.exe.as_ref().map_or(String::new(), |exe| format!(", {exe}"));
            parts.push(format!("{} (pid {}, uid {}{exe})", process.comm, process.pid, process.uid));
        }
    }
    if let Some(caller) = &event.caller {
        let issuer = caller.issuer.as_ref().map_or(String::new(), |issuer| format!(" ({issuer})"));
        parts.push(format!("for {}{issuer}", caller.sub));
    }
    clean(&parts.join(" · "))
}

fn endpoint(event: &EventView<'_>) -> String {
    let name = event.mcp.as_ref().and_then(|mcp| mcp.endpoint.as_deref());
    let place = event.dst_endpoint.is_some().then(|| destination(event));
    let text = match (name, place) {
        (Some(name), Some(place)) => format!("{name} at {place}"),
        (Some(one), None) => one.to_owned(),
        (None, place) => place.unwrap_or_default(),
    };
    clean(&text)
}

fn notes(event: &EventView<'_>) -> Vec<(&'static str, String)> {
    let mut notes = Vec::new();
    let mut note = |name, text: Option<String>| notes.extend(text.map(|text| (name, clean(&text))));
    if let Some(verdict) = &event.verdict {
        note("reason", verdict.reason.clone());
        note("decided by", verdict.policy.clone());
        note("approval", verdict.approval_id.clone());
        note("approver", verdict.approver.clone());
    }
    if let Some(credential) = &event.credential {
        let role = credential.role_arn.as_ref().map_or(String::new(), |role| format!(" as {role}"));
        note("signed with", Some(format!("{}{role}", credential.kind)));
    }
    if let Some(mcp) = &event.mcp {
        note("HTTP status", mcp.http_status.map(|status| status.to_string()));
        note("changed on the way", (!mcp.edits.is_empty()).then(|| mcp.edits.join(", ")));
        note("events", mcp.events.filter(|_| mcp.phase.is_none()).and_then(count_of));
    }
    if let Some(traffic) = &event.traffic {
        note("bytes", Some(format!("{} out, {} in", traffic.bytes_out, traffic.bytes_in)));
    }
    let masked: Vec<_> = event.masked.iter().map(|(rule, count)| format!("{rule} {count}×")).collect();
    note("masked", (!masked.is_empty()).then(|| masked.join(", ")));
    note("cut", event.metadata.is_truncated.then(|| "part of this was too long for its record".to_owned()));
    notes
}

/// The number of events in a stream that was no call's.
fn count_of(events: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Counted {
        count: u64,
    }
    serde_json::from_str::<Counted>(events.get()).ok().map(|events| events.count.to_string())
}

fn bodies(mcp: &McpView<'_>) -> Vec<Body> {
    let mut bodies = Vec::new();
    bodies.extend(mcp.events.and_then(stream));
    for (label, short, payload) in [
        ("params", arguments as Shorten, mcp.params),
        ("result", said as Shorten, mcp.result),
        ("error", whole, mcp.error),
    ] {
        let Some(payload) = payload else { continue };
        let short = short(payload.get());
        let has_short = short.is_some();
        bodies.extend(short);
        bodies.push(Body { label, text: clean_lines(&pretty(payload.get())), whole: has_short });
    }
    bodies
}

type Shorten = fn(&str) -> Option<Body>;

/// What matters is all of it.
fn whole(_: &str) -> Option<Body> {
    None
}

/// What a tool or prompt is asked with.
fn arguments(params: &str) -> Option<Body> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow)]
        arguments: &'a RawValue,
    }
    let params: Params<'_> = serde_json::from_str(params).ok()?;
    Some(Body { label: "arguments", text: clean_lines(&pretty(params.arguments.get())), whole: false })
}

/// The text that a tool answers with.
fn said(result: &str) -> Option<Body> {
    #[derive(Deserialize)]
    struct Answer {
        content: Vec<Content>,
    }
    #[derive(Deserialize)]
    struct Content {
        text: Option<String>,
        #[serde(rename = "type")]
        kind: Option<String>,
    }
    let answer: Answer = serde_json::from_str(result).ok()?;
    let parts = answer
        .content
        .into_iter()
        .map(|content| content.text.unwrap_or_else(|| format!("[{}]", content.kind.as_deref().unwrap_or("content"))));
    let text = parts.collect::<Vec<_>>().join("\n");
    (!text.is_empty()).then(|| Body { label: "text", text: clean_lines(&text), whole: false })
}

/// The notifications in a call's stream, one to a line.
fn stream(events: &RawValue) -> Option<Body> {
    #[derive(Deserialize)]
    struct Stream<'a> {
        count: u64,
        #[serde(borrow)]
        kept: Vec<&'a RawValue>,
    }
    const LONGEST: usize = 2000;
    let Stream { count, kept } = serde_json::from_str(events.get()).ok()?;
    let mut text = format!("{count} in the stream before the end, {} kept", kept.len());
    for event in kept {
        text.push('\n');
        text.push_str(&cut(event.get(), LONGEST));
    }
    Some(Body { label: "events", text, whole: false })
}
