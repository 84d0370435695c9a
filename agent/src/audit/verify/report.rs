//! What a check found, for people and for programs.

use serde::Serialize;

use super::{
    super::{
        chain::Hash,
        checkpoint::{KeyId, statement::Host},
    },
    fault::Fault,
    reconcile::Reconciled,
};

/// Most findings that are listed of one log; all are counted.
const LISTED: usize = 100;

/// Most epochs that are listed of one log; all are counted.
const EPOCHS: usize = 1000;

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub intact: bool,
    /// Every log that was found, by its id.
    pub logs: Vec<LogReport>,
    /// What is wrong beside the logs: lines that are no records, and whom the inventory names and nothing was found of.
    pub beside: Findings,
    /// Records that stood there more than once, byte for byte.
    pub duplicates: u64,
    /// Bytes read, after decompression.
    pub bytes: u64,
    /// Bytes of a last line that is not complete: in flight, or torn by a crash and cut at the next start.
    pub incomplete_bytes: u64,
}

impl Report {
    /// Joins the parts and says whether all is well.
    pub(super) fn of(logs: Vec<LogReport>, beside: Findings) -> Self {
        let intact = beside.is_empty() && logs.iter().all(|log| log.findings.is_empty());
        Self { intact, logs, beside, duplicates: 0, bytes: 0, incomplete_bytes: 0 }
    }

    /// The first record that is wrong, of the first log where one is.
    pub fn first_bad(&self) -> Option<&Finding> {
        self.logs.iter().map(|log| &log.findings).chain([&self.beside]).find_map(Findings::first)
    }
}

/// One log.
#[derive(Debug, Clone, Serialize)]
pub struct LogReport {
    /// Its id.
    pub log: String,
    /// Its host, as the last checkpoint says.
    pub host: Option<Host>,
    /// Records that are right.
    pub records: u64,
    /// The first record's seq; 0 when there is none.
    pub first_seq: u64,
    /// The last record's seq.
    pub last_seq: u64,
    /// The last record's hash.
    pub last_hash: Hash,
    /// How many epochs there are.
    pub epoch_count: u64,
    /// The epochs, at most 1,000.
    pub epochs: Vec<EpochReport>,
    #[serde(skip)]
    last_epoch: u64,
    /// Checkpoints whose signature is right and whose key is trusted.
    pub checkpoints: u64,
    /// The last record that such a checkpoint covers; 0 for none.
    pub covered: u64,
    /// When the last of them was signed, in milliseconds since 1970 by the host's clock.
    pub checkpoint_time: Option<i64>,
    /// The interval that it states, in seconds.
    pub checkpoint_seconds: Option<u64>,
    /// The keys that signed.
    pub keys: Vec<KeyReport>,
    /// The last agent said that it stopped, and a checkpoint covers that.
    pub stopped: bool,
    /// The check ended at the first break, before the log's end.
    pub cut_short: bool,
    /// The kernel's counters against the flow records.
    pub reconciled: Reconciled,
    /// What is wrong.
    pub findings: Findings,
}

/// One epoch of a log.
#[derive(Debug, Clone, Serialize)]
pub struct EpochReport {
    /// Its number.
    pub epoch: u64,
    /// Its records.
    pub records: u64,
    /// The first one's seq.
    pub first_seq: u64,
    /// The last one's seq.
    pub last_seq: u64,
}

/// A key that signed checkpoints.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KeyReport {
    /// Its name.
    pub id: KeyId,
    /// The auditor gave it, or a key that the auditor gave vouched for it. Otherwise the log itself named it, which proves
    /// only that the log fits itself.
    pub given: bool,
    /// The ids of the hosts that it signed for.
    pub hosts: Vec<String>,
    /// It may sign for one host only.
    #[serde(skip)]
    pub(super) is_of_one_host: bool,
}

/// Something that is wrong.
#[derive(Debug, Clone, Serialize)]
pub struct Finding {
    /// Its name for programs.
    pub kind: &'static str,
    /// The record's seq; absent for lines that are no records.
    pub seq: Option<u64>,
    /// In words.
    pub fault: String,
    /// The file, segment or shard where it is, or should be.
    pub file: String,
    /// The byte there, after decompression; in a shard, the line's number.
    pub offset: u64,
}

/// What is wrong: the first hundred, and how many there are.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Findings {
    /// How many.
    pub count: u64,
    /// The first of them.
    pub listed: Vec<Finding>,
}

/// Where a record was read.
#[derive(Debug, Clone, Copy)]
pub struct Spot<'a> {
    /// The file, segment or shard.
    pub file: &'a str,
    /// The byte there.
    pub offset: u64,
}

impl Findings {
    /// Adds one.
    pub(crate) fn add(&mut self, seq: Option<u64>, spot: Spot<'_>, fault: &Fault) {
        self.count += 1;
        if self.listed.len() < LISTED {
            let Spot { file, offset } = spot;
            let (kind, file) = (fault.kind(), file.to_owned());
            self.listed.push(Finding { kind, seq, fault: fault.to_string(), file, offset });
        }
    }

    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The one of the smallest seq.
    pub fn first(&self) -> Option<&Finding> {
        self.listed.iter().min_by_key(|finding| finding.seq.unwrap_or(u64::MAX))
    }
}

impl LogReport {
    pub(super) fn new(log: &str) -> Self {
        Self {
            log: log.to_owned(),
            host: None,
            records: 0,
            first_seq: 0,
            last_seq: 0,
            last_hash: Hash::ZERO,
            epoch_count: 0,
            epochs: Vec::new(),
            last_epoch: 0,
            checkpoints: 0,
            covered: 0,
            checkpoint_time: None,
            checkpoint_seconds: None,
            keys: Vec::new(),
            stopped: false,
            cut_short: false,
            reconciled: Reconciled::default(),
            findings: Findings::default(),
        }
    }

    /// Counts a record that is right.
    pub(super) fn count(&mut self, epoch: u64, seq: u64, hash: Hash) {
        if self.records == 0 {
            self.first_seq = seq;
        }
        if self.last_epoch != epoch {
            self.last_epoch = epoch;
            self.epoch_count += 1;
            if self.epochs.len() < EPOCHS {
                self.epochs.push(EpochReport { epoch, records: 0, first_seq: seq, last_seq: seq });
            }
        }
        if let Some(current) = self.epochs.last_mut().filter(|last| last.epoch == epoch) {
            current.records += 1;
            current.last_seq = seq;
        }
        self.records += 1;
        self.last_seq = seq;
        self.last_hash = hash;
    }
}
