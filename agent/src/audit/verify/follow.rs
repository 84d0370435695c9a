//! Follows the chains of many logs through entries that were sorted: gaps, links, epochs, copies and forks.

use std::io;

use super::{
    super::chain::Hash,
    entry::Entry,
    fault::Fault,
    log_check::{Expectations, LogCheck, Origin},
    report::{LogReport, Spot},
    visitor::Record,
};

/// Most different records of one seq that are followed; more are named, and left.
const BRANCHES: usize = 16;

/// The names behind an entry's numbers.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Log ids.
    pub(super) logs: Vec<String>,
    /// Files or shards.
    pub(super) sources: Vec<String>,
}

impl Names {
    fn spot(&self, entry: &Entry) -> Spot<'_> {
        let file = self.sources.get(entry.source as usize).map_or("", String::as_str);
        Spot { file, offset: entry.offset }
    }

    fn log(&self, entry: &Entry) -> &str {
        self.logs.get(entry.log as usize).map_or("", String::as_str)
    }
}

/// Checks every log among `entries`, and counts records that were there more than once.
pub(super) fn follow(
    entries: impl Iterator<Item = io::Result<Entry>>,
    names: &Names,
    expect: &Expectations,
    mut progress: impl FnMut(u64),
) -> io::Result<(Vec<LogReport>, u64)> {
    let mut reports = Vec::new();
    let mut duplicates = 0;
    let mut follower: Option<(u32, Follower<'_>)> = None;
    let mut group = Group::default();
    for (done, entry) in (0..).zip(entries) {
        let entry = entry?;
        if done % 1000 == 0 {
            progress(done);
        }
        if group.place.is_some_and(|place| place != (entry.log, entry.seq)) {
            group.give(&mut follower);
        }
        match &mut follower {
            Some((log, _)) if *log == entry.log => {}
            other => {
                let check = LogCheck::new(names.log(&entry), expect, Origin::Copies);
                let next = Follower::new(names, check);
                reports.extend(other.replace((entry.log, next)).map(|(_, done)| done.check.finish()));
            }
        }
        duplicates += u64::from(!group.add(entry));
    }
    group.give(&mut follower);
    reports.extend(follower.map(|(_, done)| done.check.finish()));
    Ok((reports, duplicates))
}

/// What claims one place of one log.
#[derive(Debug, Default)]
struct Group {
    place: Option<(u32, u64)>,
    /// Different records, each right in itself.
    right: Vec<Entry>,
    altered: Vec<Entry>,
}

impl Group {
    /// False for a copy.
    fn add(&mut self, entry: Entry) -> bool {
        self.place = Some((entry.log, entry.seq));
        // Copies stand together.
        let is_copy = !entry.altered && self.right.last().is_some_and(|last| last.hash == entry.hash);
        let kept = if entry.altered { &mut self.altered } else { &mut self.right };
        if !is_copy && kept.len() <= BRANCHES {
            kept.push(entry);
        }
        !is_copy
    }

    fn give(&mut self, follower: &mut Option<(u32, Follower<'_>)>) {
        if let (Some((_, follower)), Some((_, seq))) = (follower, self.place.take()) {
            follower.group(seq, &self.right, &self.altered);
        }
        self.right.clear();
        self.altered.clear();
    }
}

/// Follows one log.
struct Follower<'n> {
    names: &'n Names,
    check: LogCheck<'n>,
    /// The seq that comes next; `None` before the first.
    next: Option<u64>,
    /// The records before it, the branch that is followed first; none when they are not known.
    tips: Vec<Tip>,
}

#[derive(Debug, Clone, Copy)]
struct Tip {
    hash: Hash,
    epoch: u64,
}

impl<'n> Follower<'n> {
    fn new(names: &'n Names, check: LogCheck<'n>) -> Self {
        Self { names, check, next: None, tips: Vec::new() }
    }

    fn group(&mut self, seq: u64, right: &[Entry], altered: &[Entry]) {
        for entry in altered {
            self.check.fault(seq, self.names.spot(entry), &Fault::Altered);
        }
        let expected = self.next.unwrap_or(if seq == 1 { 1 } else { seq });
        let Some(first) = right.first() else {
            // A place is taken, though not by what was there. A claim to another place says nothing.
            if seq == expected && (self.next.is_some() || seq == 1) {
                self.next = Some(seq + 1);
                self.lose();
            }
            return;
        };
        if seq > expected {
            self.check.fault(expected, self.names.spot(first), &Fault::Missing { last: seq - 1 });
            self.lose();
        }
        if self.next.is_none() && seq == 1 {
            self.tips = vec![Tip { hash: Hash::ZERO, epoch: 0 }];
        }
        if right.len() > self.tips.len().max(1) {
            let Spot { file, offset } = self.names.spot(first);
            let fault = Fault::Forked { other: format!("{file}, byte {offset}") };
            self.check.fault(seq, self.names.spot(&right[1]), &fault);
        }
        for entry in right {
            self.link(entry);
        }
        let follows = |entry: &&Entry| self.tips.first().is_some_and(|tip| tip.hash == entry.prev);
        let followed = right.iter().find(follows);
        if followed.is_none() {
            self.check.gap();
        }
        let followed = followed.unwrap_or(first);
        self.visit(followed);
        let others = right.iter().filter(|other| other.hash != followed.hash);
        self.tips = [followed].into_iter().chain(others).map(|e| Tip { hash: e.hash, epoch: e.epoch }).collect();
        self.next = Some(seq.saturating_add(1));
    }

    /// Checks that a record follows one that was there.
    fn link(&mut self, entry: &Entry) {
        let Entry { seq, prev, epoch: found, .. } = *entry;
        let spot = self.names.spot(entry);
        if self.tips.is_empty() {
            return;
        }
        match self.tips.iter().find(|tip| tip.hash == prev) {
            None => self.check.fault(seq, spot, &Fault::Unlinked),
            Some(&Tip { epoch: before, .. }) if found != before + 1 && (found != before || before == 0) => {
                self.check.fault(seq, spot, &Fault::Epoch { before, found });
            }
            Some(_) => {}
        }
    }

    fn visit(&mut self, entry: &Entry) {
        let Entry { epoch, seq, prev, hash, facts, .. } = *entry;
        let (log, spot) = (self.names.log(entry), self.names.spot(entry));
        self.check.record(&Record { log, epoch, seq, prev, hash, facts, event: entry.event.as_deref(), spot });
    }

    fn lose(&mut self) {
        self.tips.clear();
        self.check.gap();
    }
}
