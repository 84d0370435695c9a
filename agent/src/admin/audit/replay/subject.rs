//! What an id names, and which records belong to it.

use std::{collections::HashSet, ops::ControlFlow};

use super::super::{
    Failure, Stop,
    filter::{Filter, as_written},
    period::Period,
    scan::scan,
    source::Source,
};
use crate::audit::view::{EventView, McpView, View};

/// What is replayed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Subject {
    /// One call.
    Call(String),
    /// An MCP session, and the call that began it where that one could not name it yet.
    Session { id: String, opening: Option<String> },
    /// A connection.
    Flow(String),
    /// Everything of a workload.
    Workload(String),
    /// Whatever the conditions let through.
    Everything,
}

/// What is shown of a call's id, and may be given for it.
const SHORTEST_TAIL: usize = 4;

impl Subject {
    /// Finds the first record that has `id`.
    pub(super) fn find(id: &str, source: Source, period: &Period) -> Result<Self, Stop> {
        let tail = id.strip_prefix('#').unwrap_or(id);
        let filter = Filter { period: period.clone(), text: Some(as_written(tail)), ..Filter::default() };
        let mut exact = None;
        let mut ending: Option<String> = None;
        let mut ambiguous = None;
        scan(source, &filter, |found| {
            exact = Self::named(id, &found.view.event);
            if exact.is_some() {
                return Ok(ControlFlow::Break(()));
            }
            let call_id = found.view.event.mcp.and_then(|mcp| mcp.call_id);
            if let Some(call_id) = call_id.filter(|call_id| tail.len() >= SHORTEST_TAIL && call_id.ends_with(tail)) {
                match &ending {
                    Some(earlier) if *earlier != call_id => ambiguous = Some(call_id),
                    _ => ending = Some(call_id),
                }
            }
            Ok(ControlFlow::Continue(()))
        })?;
        let usage = |text: String| Err(Stop::Failed(Failure::Failed(text)));
        match (exact, ending, ambiguous) {
            (Some(exact), ..) => Ok(exact),
            (None, Some(one), Some(other)) => usage(format!("both {one} and {other} end in {tail}: give the whole id")),
            (None, Some(call), None) => Ok(Self::Call(call)),
            (None, None, _) => usage(format!(
                "no session, call, connection or workload of the id {id} in these records; `weir audit query --text` searches them"
            )),
        }
    }

    fn named(id: &str, event: &EventView<'_>) -> Option<Self> {
        let is = |value: Option<&String>| value.is_some_and(|value| value == id);
        let mcp = event.mcp.as_ref();
        if is(mcp.and_then(|mcp| mcp.call_id.as_ref())) {
            return Some(Self::Call(id.to_owned()));
        }
        if let Some(mcp) = mcp.filter(|mcp| is(mcp.session_id.as_ref())) {
            // The first to name a session is the response that began it: its request could not.
            let opening = mcp.call_id.clone().filter(|_| mcp.phase.as_deref() == Some("response"));
            return Some(Self::Session { id: id.to_owned(), opening });
        }
        if is(event.flow.as_ref().map(|flow| &flow.id)) {
            return Some(Self::Flow(id.to_owned()));
        }
        is(event.workload.as_ref().map(|workload| &workload.id)).then(|| Self::Workload(id.to_owned()))
    }

    /// For people.
    pub(super) fn title(&self) -> String {
        match self {
            Self::Call(id) => format!("call {id}"),
            Self::Session { id, .. } => format!("session {id}"),
            Self::Flow(id) => format!("connection {id}"),
            Self::Workload(id) => format!("workload {id}"),
            Self::Everything => "selected records".to_owned(),
        }
    }

    /// Who belongs to it, to be asked record by record.
    pub(super) fn cast(self) -> Cast {
        Cast { subject: self, flows: HashSet::new(), open: None }
    }
}

/// Tells which records belong to a subject. Holds no more than the connections that are open.
#[derive(Debug)]
pub(super) struct Cast {
    subject: Subject,
    /// The connections that a session uses.
    flows: HashSet<String>,
    /// Where the call takes place, while it is open.
    open: Option<Place>,
}

#[derive(Debug)]
struct Place {
    flow: Option<String>,
    session: Option<String>,
}

impl Cast {
    pub(super) fn takes(&mut self, view: &View<'_>) -> bool {
        let event = &view.event;
        match &self.subject {
            Subject::Call(id) => takes_call(id, &mut self.open, event),
            Subject::Session { id, opening } => takes_session(id, opening.as_deref(), &mut self.flows, event),
            Subject::Flow(id) => event.flow.as_ref().is_some_and(|flow| flow.id == *id),
            Subject::Workload(id) => event.workload.as_ref().is_some_and(|workload| workload.id == *id),
            Subject::Everything => true,
        }
    }
}

fn takes_call(id: &str, open: &mut Option<Place>, event: &EventView<'_>) -> bool {
    let Some(mcp) = &event.mcp else { return false };
    let phase = mcp.phase.as_deref();
    let place = || Place { flow: event.flow.as_ref().map(|flow| flow.id.clone()), session: mcp.session_id.clone() };
    if mcp.call_id.as_deref() == Some(id) {
        *open = matches!(phase, Some("request" | "still_open" | "server_request")).then(place);
        return true;
    }
    let asks = matches!(phase, Some("server_request" | "client_response"));
    asks && open.as_ref().is_some_and(|open| open.is_shared_by(mcp, event))
}

impl Place {
    fn is_shared_by(&self, mcp: &McpView<'_>, event: &EventView<'_>) -> bool {
        let session = self.session.is_some() && self.session == mcp.session_id;
        session || (self.flow.is_some() && self.flow.as_ref() == event.flow.as_ref().map(|flow| &flow.id))
    }
}

fn takes_session(id: &str, opening: Option<&str>, flows: &mut HashSet<String>, event: &EventView<'_>) -> bool {
    let flow = event.flow.as_ref().map(|flow| flow.id.as_str());
    let mcp = event.mcp.as_ref();
    let of_session = mcp.is_some_and(|mcp| {
        mcp.session_id.as_deref() == Some(id) || (opening.is_some() && mcp.call_id.as_deref() == opening)
    });
    if of_session {
        flows.extend(flow.map(str::to_owned));
        return true;
    }
    match event.class_uid {
        4002 => flow.is_some_and(|flow| flows.contains(flow)),
        4001 => flow.is_some_and(|flow| flows.remove(flow)),
        _ => false,
    }
}
