//! What can be said of a replay at its end.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use jiff::Timestamp;

use super::entry::{Entry, Kind};

/// Counts, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Summary {
    records: u64,
    /// When the first and the last happened.
    span: Option<(Timestamp, Timestamp)>,
    /// Calls by how they ended.
    ends: BTreeMap<String, u64>,
    /// Calls without their end.
    open: HashSet<String>,
    who: BTreeSet<String>,
    endpoints: BTreeSet<String>,
}

/// How many names are kept.
const NAMES: usize = 32;

/// How many calls without their end are kept.
const OPEN: usize = 1 << 16;

impl Summary {
    pub(super) fn add(&mut self, entry: &Entry) {
        self.records += 1;
        let first = self.span.map_or(entry.at, |(first, _)| first);
        self.span = Some((first, entry.at));
        if self.who.len() < NAMES && !entry.who.is_empty() {
            self.who.insert(entry.who.clone());
        }
        if self.endpoints.len() < NAMES && !entry.endpoint.is_empty() {
            self.endpoints.insert(entry.endpoint.clone());
        }
        let Some(call_id) = &entry.call_id else { return };
        match entry.kind {
            Kind::Asked if entry.outcome.is_none() && entry.expects_answer && self.open.len() < OPEN => {
                self.open.insert(call_id.clone());
            }
            Kind::Answered => drop(self.open.remove(call_id)),
            _ => {}
        }
        if let (Kind::Asked | Kind::Answered, Some(outcome)) = (entry.kind, &entry.outcome) {
            *self.ends.entry(outcome.clone()).or_default() += 1;
        }
    }

    /// `12 records over 3.2 s; calls: 4 ok, 1 refused; 1 without its end`
    pub(super) fn counts(&self) -> String {
        let Some((first, last)) = self.span else { return "no record".to_owned() };
        let span = last.duration_since(first).as_secs_f64();
        let mut text = format!("{} over {span:.3} s", counted(self.records, "record"));
        let ends: Vec<_> = self.ends.iter().map(|(end, count)| format!("{count} {end}")).collect();
        if !ends.is_empty() {
            text.push_str("; calls: ");
            text.push_str(&ends.join(", "));
        }
        if !self.open.is_empty() {
            text.push_str(&format!("; {} without a record of its end", counted(self.open.len() as u64, "call")));
        }
        text
    }

    /// Who took part.
    pub(super) fn who(&self) -> impl Iterator<Item = &str> {
        self.who.iter().map(String::as_str)
    }

    /// The endpoints that were spoken to.
    pub(super) fn endpoints(&self) -> impl Iterator<Item = &str> {
        self.endpoints.iter().map(String::as_str)
    }

    /// When the first happened.
    pub(super) fn began(&self) -> Option<Timestamp> {
        self.span.map(|(first, _)| first)
    }
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}
