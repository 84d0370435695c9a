//! Which calls have a request record and no response record yet: the writer's [`Ledger`], and the [`OpenCall`]s that an
//! agent which died left behind.
//!
//! A call may stay open for days, and a restart reads the log from the oldest open one on. So that it neither reads all of it
//! nor keeps it from being deleted, a call that has fallen far behind is restated: a new record (`mcp.phase = "still_open"`)
//! says what its request's record said, and stands in for that from there on.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;
use serde_json::value::RawValue;
use uuid::Uuid;

use super::event::{Action, Event, Phase, What};

/// `mcp.phase` of a record that stands in for a request's.
pub(crate) const STILL_OPEN: &str = "still_open";

/// A restatement has no payload: of a request's record not more than this is counted as what restating it will cost.
const MOST_RESTATED: u64 = 16 << 10;

/// So much has been written for each byte that is restated.
const SPREAD: u64 = 4;

/// What a record means for the set of open calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A request that was let through and expects a response, or the record that stands in for it.
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
            STILL_OPEN => Self::Opens(call_id),
            "response" => Self::Closes(call_id),
            _ => Self::None,
        }
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Spot {
    /// Its seq.
    pub(crate) seq: u64,
    /// The first seq of its segment.
    pub(crate) segment: u64,
    /// Where its line starts in the segment.
    pub(crate) offset: u64,
    /// Its line's length.
    pub(crate) bytes: u64,
}

/// The open calls by the seq of their request, or of the last record that stands in for it.
#[derive(Debug, Default, Clone)]
pub(crate) struct Ledger {
    seqs: HashMap<Uuid, u64>,
    calls: BTreeMap<u64, Opened>,
    /// Bytes of all records that were entered.
    length: u64,
    /// What it costs at most to restate every open call, in bytes.
    weight: u64,
}

#[derive(Debug, Clone, Copy)]
struct Opened {
    call: Uuid,
    spot: Spot,
    /// The ledger's length when it was entered.
    position: u64,
    /// The ledger's length when restating it last failed.
    failed: u64,
}

impl Opened {
    fn weight(&self) -> u64 {
        self.spot.bytes.min(MOST_RESTATED)
    }
}

impl Ledger {
    /// Enters the record at `spot`.
    pub(crate) fn enter(&mut self, mark: Mark, spot: Spot) {
        self.length += spot.bytes;
        match mark {
            Mark::Opens(call) => {
                self.close(call);
                let opened = Opened { call, spot, position: self.length, failed: 0 };
                self.weight += opened.weight();
                self.seqs.insert(call, spot.seq);
                self.calls.insert(spot.seq, opened);
            }
            Mark::Closes(call) => self.close(call),
            Mark::None => {}
        }
    }

    fn close(&mut self, call: Uuid) {
        if let Some(opened) = self.seqs.remove(&call).and_then(|seq| self.calls.remove(&seq)) {
            self.weight -= opened.weight();
        }
    }

    /// The seq of the oldest open request.
    pub(crate) fn oldest(&self) -> Option<u64> {
        self.calls.first_key_value().map(|(seq, _)| *seq)
    }

    /// The oldest open calls, at most `most`, that have fallen behind by more than `span` bytes; by more where so many are
    /// open that restating them would be what fills the log.
    pub(crate) fn fallen_behind(&self, span: u64, most: usize) -> Vec<(Uuid, Spot)> {
        let span = span.max(self.weight * SPREAD);
        let behind = self.calls.values().take_while(|opened| self.length - opened.position > span);
        let behind = behind.filter(|opened| self.length - opened.failed > span);
        behind.take(most).map(|opened| (opened.call, opened.spot)).collect()
    }

    /// The open call whose record is `seq` could not be restated: it is left for another span.
    pub(crate) fn postpone(&mut self, seq: u64) {
        if let Some(opened) = self.calls.get_mut(&seq) {
            opened.failed = self.length;
        }
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
    /// Of its request's record, or of the one that stands in for it.
    pub(super) fn read(call_id: Uuid, seq: u64, event: &str) -> Option<Self> {
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
    open: HashMap<Uuid, OpenCall>,
}

impl Finder {
    /// Knows some already.
    pub(crate) fn with(calls: Vec<OpenCall>) -> Self {
        Self { open: calls.into_iter().map(|call| (call.call_id, call)).collect() }
    }

    /// Looks at the record `seq`, and says what it means.
    pub(crate) fn see(&mut self, seq: u64, event: &str) -> Mark {
        let mark = Mark::of_text(event);
        match mark {
            Mark::Opens(call) => self.open.extend(OpenCall::read(call, seq, event).map(|open| (call, open))),
            Mark::Closes(call) => {
                self.open.remove(&call);
            }
            Mark::None => {}
        }
        mark
    }

    /// The open calls in the order of their requests.
    pub(crate) fn finish(self) -> Vec<OpenCall> {
        let mut open: Vec<_> = self.open.into_values().collect();
        open.sort_by_key(|call| call.seq);
        open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spot(seq: u64, bytes: u64) -> Spot {
        Spot { seq, segment: 1, offset: 0, bytes }
    }

    #[test]
    fn a_call_falls_behind_by_what_is_written_and_catches_up_when_it_is_restated() {
        let [first, second] = [1, 2].map(Uuid::from_u128);
        let mut ledger = Ledger::default();
        ledger.enter(Mark::Opens(first), spot(1, 10));
        ledger.enter(Mark::Opens(second), spot(2, 10));
        ledger.enter(Mark::None, spot(3, 95));
        let behind =
            |ledger: &Ledger, span| ledger.fallen_behind(span, 9).iter().map(|(call, _)| *call).collect::<Vec<_>>();
        assert_eq!(behind(&ledger, 100), [first]);
        assert_eq!(behind(&ledger, 94), [first, second]);
        assert_eq!(ledger.fallen_behind(94, 1), [(first, spot(1, 10))]);
        ledger.enter(Mark::Opens(first), spot(4, 5));
        assert_eq!((ledger.oldest(), behind(&ledger, 94)), (Some(2), vec![second]));
        ledger.enter(Mark::Closes(second), spot(5, 5));
        assert_eq!((ledger.oldest(), behind(&ledger, 94)), (Some(4), vec![]));
    }

    #[test]
    fn restating_many_calls_never_fills_the_log_by_itself() {
        let mut ledger = Ledger::default();
        for seq in 1..=100 {
            ledger.enter(Mark::Opens(Uuid::from_u128(seq.into())), spot(seq, 1000));
        }
        ledger.enter(Mark::None, spot(101, 300_500));
        assert_eq!(ledger.fallen_behind(10, 9).len(), 0, "restating all of them costs 100 kB");
        ledger.enter(Mark::None, spot(102, 100_000));
        assert_eq!(ledger.fallen_behind(10, 9).len(), 9);
        for seq in 103..203 {
            ledger.enter(Mark::Opens(Uuid::from_u128((seq - 102).into())), spot(seq, 1000));
        }
        assert_eq!(ledger.fallen_behind(10, 9).len(), 0);
    }
}
