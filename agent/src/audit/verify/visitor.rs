//! How a check goes through a log: every record once, in the order of the chain, whatever it was read from.

use serde::Deserialize;

use super::{
    super::chain::{Hash, Line},
    report::{Findings, Spot},
};

/// A record whose form, hash and link are right.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// The log's id.
    pub(crate) log: &'a str,
    /// Its epoch.
    pub(crate) epoch: u64,
    /// Its seq.
    pub(crate) seq: u64,
    /// The hash of the record before it.
    pub(crate) prev: Hash,
    /// Its hash.
    pub(crate) hash: Hash,
    /// What every visitor may know of it.
    pub(crate) facts: Facts,
    /// Its event's text; always there when [`Facts::kept`].
    pub(crate) event: Option<&'a str>,
    /// Where it was read.
    pub(crate) spot: Spot<'a>,
}

impl<'a> Record<'a> {
    /// The record of a line.
    pub(crate) fn of(line: &Line<'a>, spot: Spot<'a>) -> Self {
        let Line { log, epoch, seq, prev, hash, event } = *line;
        Self { log, epoch, seq, prev, hash, facts: Facts::of(event), event: Some(event), spot }
    }
}

/// What is read of every event.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Facts {
    /// OCSF's class.
    #[serde(default)]
    pub(crate) class_uid: u32,
    /// Milliseconds since 1970; 0 when it does not say.
    #[serde(default)]
    pub(crate) time: i64,
}

impl Facts {
    /// Reads an event; what it does not say stays zero.
    pub(crate) fn of(event: &str) -> Self {
        serde_json::from_str(event).unwrap_or_default()
    }

    /// Whether visitors need the event's text: those of connections, and of the agent itself. Where records come in no
    /// order, the others' texts are not kept until they are in order.
    pub(crate) fn kept(self) -> bool {
        matches!(self.class_uid, 4001 | 6002)
    }
}

/// Follows one log.
pub(crate) trait Visitor {
    /// The next record.
    fn record(&mut self, record: &Record<'_>, findings: &mut Findings);

    /// What comes next does not follow what was seen: records between are missing, or not right.
    fn gap(&mut self) {}

    /// There are no more.
    fn end(&mut self, findings: &mut Findings);
}
