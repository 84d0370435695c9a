//! Everything that is checked of one log, once its records come in order.

use jiff::Timestamp;
use serde::Deserialize;

use super::{
    super::{chain::Hash, checkpoint::statement::Interval},
    checkpoints::{Checkpoints, Last, late_after},
    fault::Fault,
    keys::GivenKey,
    reconcile::Reconciler,
    report::{LogReport, Spot},
    visitor::{Record, Visitor},
};

/// What the auditor knows besides the log.
#[derive(Debug, Clone, Default)]
pub struct Expectations {
    /// The public keys that checkpoints must be signed with. Without any, the log's own word is taken, and said so.
    pub keys: Vec<GivenKey>,
    /// Log ids, host ids or host names of which something must be there.
    pub inventory: Vec<String>,
    /// Every log must reach this time, or have stopped. Without it, in files and streams: the newest checkpoint of all logs.
    pub until: Option<Timestamp>,
    /// Logs may begin later than with their first record.
    pub from: Option<From>,
}

/// Where a log may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At this seq, or before.
    Seq(u64),
    /// With a checkpoint that is not later than one was due after this time.
    Time(Timestamp),
}

/// Where a log's records were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// In its own directory, from which the agent deletes what it has shipped.
    Directory,
    /// Among what was delivered, from which nobody deletes anything.
    Copies,
}

/// Follows one log.
#[derive(Debug)]
pub(super) struct LogCheck<'e> {
    expect: &'e Expectations,
    origin: Origin,
    checkpoints: Checkpoints,
    reconciler: Reconciler,
    front: Option<Front>,
    retired: Option<Retired>,
    report: LogReport,
}

/// How the log begins, when it does not begin with its first record.
#[derive(Debug)]
struct Front {
    first: u64,
    prev: Hash,
    file: String,
    offset: u64,
    /// The first checkpoint's time and interval.
    checkpoint: Option<(i64, Interval)>,
}

/// What the agent says of segments that it deleted after they had been shipped.
#[derive(Debug, Clone)]
struct Retired {
    through_seq: u64,
    through_hash: Hash,
}

impl<'e> LogCheck<'e> {
    pub(super) fn new(log: &str, expect: &'e Expectations, origin: Origin) -> Self {
        Self {
            expect,
            origin,
            checkpoints: Checkpoints::new(&expect.keys),
            reconciler: Reconciler::default(),
            front: None,
            retired: None,
            report: LogReport::new(log),
        }
    }

    /// The next record of the chain.
    pub(super) fn record(&mut self, record: &Record<'_>) {
        if self.report.records == 0 && record.seq > 1 {
            let Spot { file, offset } = record.spot;
            let (first, prev, file) = (record.seq, record.prev, file.to_owned());
            self.front = Some(Front { first, prev, file, offset, checkpoint: None });
            self.reconciler.gap();
        }
        self.report.count(record.epoch, record.seq, record.hash);
        self.checkpoints.record(record, &mut self.report.findings);
        if let Some(event) = record.event {
            for gap in self.reconciler.see(record.epoch, record.seq, event) {
                self.report.findings.add(Some(record.seq), record.spot, &Fault::Unreconciled(gap.clone()));
            }
        }
        if let (Some(Front { checkpoint: first @ None, .. }), Some(Last { time, interval, .. })) =
            (&mut self.front, self.checkpoints.last())
        {
            *first = Some((*time, *interval));
        }
        if self.front.is_some() && record.facts.class_uid == 6002 {
            self.retired = record.event.and_then(retired).or(self.retired.take());
        }
    }

    /// What comes next does not follow.
    pub(super) fn gap(&mut self) {
        self.checkpoints.gap();
        self.reconciler.gap();
    }

    /// Something is wrong with `seq`.
    pub(super) fn fault(&mut self, seq: u64, spot: Spot<'_>, fault: &Fault) {
        self.report.findings.add(Some(seq), spot, fault);
    }

    /// The log was not followed to its end: nothing is said of what is missing there.
    pub(super) fn cut_short(&mut self) {
        self.report.cut_short = true;
    }

    /// What was found.
    pub(super) fn finish(mut self) -> LogReport {
        let mut report = self.report;
        if !report.cut_short {
            self.checkpoints.end(&mut report.findings);
        }
        if let Some(front) = self.front.filter(|front| !front.is_expected(self.expect.from)) {
            let fault = match (front.is_retired(self.retired.as_ref()), self.origin) {
                (true, Origin::Directory) => None,
                (true, Origin::Copies) => Some(Fault::FrontRetired { last: front.first - 1 }),
                (false, _) => Some(Fault::FrontMissing { last: front.first - 1 }),
            };
            if let Some(fault) = fault {
                report.findings.add(Some(1), Spot { file: &front.file, offset: front.offset }, &fault);
            }
        }
        if let Some(Last { time, interval, host, .. }) = self.checkpoints.last() {
            report.host = Some(host.clone());
            report.checkpoint_time = Some(*time);
            report.checkpoint_seconds = Some(interval.seconds);
        }
        (report.keys, report.checkpoints, report.covered, report.stopped) = self.checkpoints.found();
        report.reconciled = self.reconciler.found();
        report
    }
}

impl Front {
    /// The agent says that it deleted what came before.
    fn is_retired(&self, retired: Option<&Retired>) -> bool {
        let before = self.first - 1;
        retired.is_some_and(|retired| {
            retired.through_seq > before || (retired.through_seq == before && retired.through_hash == self.prev)
        })
    }

    /// The auditor knows that there is nothing before.
    fn is_expected(&self, from: Option<From>) -> bool {
        from.is_some_and(|from| match from {
            From::Seq(seq) => self.first <= seq,
            From::Time(from) => self
                .checkpoint
                .is_some_and(|(time, interval)| time <= from.as_millisecond().saturating_add(late_after(interval))),
        })
    }
}

fn retired(event: &str) -> Option<Retired> {
    #[derive(Deserialize)]
    struct Event {
        lifecycle: Lifecycle,
    }
    #[derive(Deserialize)]
    struct Lifecycle {
        kind: String,
        through_seq: Option<u64>,
        through_hash: Option<Hash>,
    }
    let Event { lifecycle: Lifecycle { kind, through_seq, through_hash } } = serde_json::from_str(event).ok()?;
    (kind == "retired").then_some(Retired { through_seq: through_seq?, through_hash: through_hash? })
}

/// Names the logs that fell silent, as of `until`.
pub(super) fn silent(logs: &mut [LogReport], until: Timestamp) {
    for log in logs.iter_mut().filter(|log| !log.stopped && !log.cut_short) {
        let (Some(time), Some(seconds)) = (log.checkpoint_time, log.checkpoint_seconds) else { continue };
        let due = time.saturating_add(late_after(Interval { records: 0, seconds }));
        if until.as_millisecond() > due {
            let since = Timestamp::from_millisecond(time).unwrap_or(Timestamp::MIN);
            let seq = Some(log.last_seq.saturating_add(1));
            let name = log.host.as_ref().map_or("", |host| &host.name);
            log.findings.add(seq, Spot { file: name, offset: 0 }, &Fault::Silent { since, seconds });
        }
    }
}

/// Whom of the inventory nothing was found of.
pub(super) fn absent<'i>(logs: &[LogReport], inventory: &'i [String]) -> Vec<&'i str> {
    let is_there = |name: &&String| {
        logs.iter().any(|log| {
            log.log == **name || log.host.as_ref().is_some_and(|host| host.id == **name || host.name == **name)
        })
    };
    inventory.iter().filter(|name| !is_there(name)).map(String::as_str).collect()
}
