//! Which calls have a request record and no response record yet: the writer's [`Ledger`], and the [`OpenCall`]s that an
//! agent which died left behind.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{Action, Event, Phase, What};

/// What a record means for the set of open calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A request that was let through and expects a response.
    Opens(Uuid),
    /// The end of a call.
    Closes(Uuid),
    /// Neither.
    None,
}

impl Mark {
    /// The mark of a record that is about to be written.
    pub(crate) fn of(event: &Event) -> Self {
        match &event.what {
            What::Call(call) => {
                let allowed = call.verdict.action == Action::Allow;
                match call.mcp.phase {
                    Phase::Request if allowed && call.mcp.id.is_some() => Self::Opens(call.mcp.call_id),
                    Phase::Response => Self::Closes(call.mcp.call_id),
                    Phase::Request | Phase::ServerRequest | Phase::ClientResponse => Self::None,
                }
            }
            What::Unfinished(open) => Self::Closes(open.call_id),
            What::Http(_)
            | What::Flow(_)
            | What::Sighting(_)
            | What::Login(_)
            | What::Agent(_)
            | What::Attestation(_) => Self::None,
        }
    }

    /// The mark of a record that was written earlier.
    pub(crate) fn of_text(event: &str) -> Self {
        #[derive(Deserialize)]
        struct Record<'a> {
            #[serde(borrow)]
            mcp: Option<Mcp<'a>>,
            verdict: Option<Verdict>,
        }
        #[derive(Deserialize)]
        struct Mcp<'a> {
            phase: Option<&'a str>,
            call_id: Option<Uuid>,
            #[serde(borrow)]
            id: Option<&'a RawValue>,
        }
        #[derive(Deserialize)]
        struct Verdict {
            action: String,
        }
        let Ok(Record { mcp: Some(Mcp { phase: Some(phase), call_id: Some(call_id), id }), verdict }) =
            serde_json::from_str(event)
        else {
            return Self::None;
        };
        let allowed = verdict.is_none_or(|verdict| verdict.action == "allow");
        match phase {
            "request" if allowed && id.is_some() => Self::Opens(call_id),
            "response" => Self::Closes(call_id),
            _ => Self::None,
        }
    }
}

/// The open calls by the seq of their request.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    seqs: HashMap<Uuid, u64>,
    calls: BTreeMap<u64, Uuid>,
}

impl Ledger {
    /// Enters the record `seq`.
    pub(crate) fn enter(&mut self, mark: Mark, seq: u64) {
        match mark {
            Mark::Opens(call) => {
                self.close(call);
                self.seqs.insert(call, seq);
                self.calls.insert(seq, call);
            }
            Mark::Closes(call) => self.close(call),
            Mark::None => {}
        }
    }

    fn close(&mut self, call: Uuid) {
        if let Some(seq) = self.seqs.remove(&call) {
            self.calls.remove(&seq);
        }
    }

    /// The seq of the oldest open request.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.calls.first_key_value().map(|(seq, _)| *seq)
    }
}

/// A call whose agent ended before it saw a response, with what its request's record said.
#[derive(Debug, Clone)]
pub struct OpenCall {
    /// Joins the two records.
    pub call_id: Uuid,
    /// The request's seq.
    pub seq: u64,
    /// The request's event without what the response replaces.
    pub(crate) event: Fields,
    /// Its `mcp` object, likewise.
    pub(crate) mcp: Fields,
}

/// An object's fields, their values untouched.
pub(crate) type Fields = BTreeMap<String, Box<RawValue>>;

impl OpenCall {
    fn read(call_id: Uuid, seq: u64, event: &str) -> Option<Self> {
        let mut event: Fields = serde_json::from_str(event).ok()?;
        let mut mcp: Fields = serde_json::from_str(event.remove("mcp")?.get()).ok()?;
        mcp.remove("params");
        mcp.remove("edits");
        Some(Self { call_id, seq, event, mcp })
    }
}

/// Finds the open calls while a log's records go by.
#[derive(Debug, Default)]
pub(crate) struct Finder {
    ledger: Ledger,
    open: HashMap<Uuid, OpenCall>,
}

impl Finder {
    /// Knows some already.
    pub(crate) fn with(calls: Vec<OpenCall>) -> Self {
        let mut ledger = Ledger::default();
        for call in &calls {
            ledger.enter(Mark::Opens(call.call_id), call.seq);
        }
        Self { ledger, open: calls.into_iter().map(|call| (call.call_id, call)).collect() }
    }

    /// Looks at the record `seq`.
    pub(crate) fn see(&mut self, seq: u64, event: &str) {
        let mark = Mark::of_text(event);
        self.ledger.enter(mark, seq);
        match mark {
            Mark::Opens(call) => self.open.extend(OpenCall::read(call, seq, event).map(|open| (call, open))),
            Mark::Closes(call) => {
                self.open.remove(&call);
            }
            Mark::None => {}
        }
    }

    /// The open calls in the order of their requests, and the ledger that the writer goes on with.
    pub(crate) fn finish(self) -> (Vec<OpenCall>, Ledger) {
        let mut open: Vec<_> = self.open.into_values().collect();
        open.sort_by_key(|call| call.seq);
        (open, self.ledger)
    }
}
