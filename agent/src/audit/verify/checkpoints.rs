//! Checks the signed statements of one log: whose they are, what they cover, and that each follows the one before.

use std::collections::VecDeque;

use serde::Deserialize;

use super::{
    super::{
        chain::Hash,
        checkpoint::{
            KeyId, PublicKey, REACH,
            statement::{Checkpoint, Host, Interval, KeyChange, Place, Signed},
        },
    },
    fault::Fault,
    keys::{GivenKey, KeyHolder},
    report::{Findings, KeyReport, Spot},
    visitor::{Record, Visitor},
};

/// Beyond two intervals, a checkpoint is late after this time, in milliseconds.
pub(super) const GRACE_MS: i64 = 60_000;

/// Most hosts that are kept of one key in one log, which has one.
const HOSTS: usize = 16;

/// What the statements say so far.
#[derive(Debug)]
pub(super) struct Checkpoints {
    keys: Vec<Trusted>,
    /// The auditor gave keys: the log's own word is not enough.
    strict: bool,
    /// The key that the last change of key put in force.
    in_force: Option<KeyId>,
    used: Vec<KeyReport>,
    count: u64,
    covered: u64,
    last: Option<Last>,
    /// `last` is the checkpoint right before the next: nothing is missing in between.
    whole: bool,
    /// The hashes of the last records, up to `newest`.
    hashes: VecDeque<Hash>,
    newest: u64,
    end: Option<End>,
    /// The file of `end`.
    file: String,
    first_seq: u64,
    /// Where the last agent said that it stopped.
    stopped: Option<u64>,
}

/// A key that is trusted.
#[derive(Debug, Clone)]
struct Trusted {
    key: PublicKey,
    signer: KeyHolder,
    /// The auditor gave it, or a key that vouched for it.
    given: bool,
}

/// The last record.
#[derive(Debug, Clone, Copy)]
struct End {
    time: i64,
    seq: u64,
    offset: u64,
}

/// The last checkpoint.
#[derive(Debug, Clone)]
pub(super) struct Last {
    place: Place,
    boot_id: String,
    since_boot_ns: u64,
    pub(super) time: i64,
    pub(super) interval: Interval,
    pub(super) host: Host,
}

#[derive(Deserialize)]
struct Statements {
    checkpoint: Option<Signed>,
    signing_key: Option<Signed>,
    lifecycle: Option<Lifecycle>,
}

#[derive(Deserialize)]
struct Lifecycle {
    kind: String,
}

impl Checkpoints {
    /// Trusts `keys`; without any, the first key that the log names.
    pub(super) fn new(keys: &[GivenKey]) -> Self {
        let given =
            |GivenKey { key, signer }: &GivenKey| Trusted { key: key.clone(), signer: signer.clone(), given: true };
        Self {
            keys: keys.iter().map(given).collect(),
            strict: !keys.is_empty(),
            in_force: None,
            used: Vec::new(),
            count: 0,
            covered: 0,
            last: None,
            whole: false,
            hashes: VecDeque::new(),
            newest: 0,
            end: None,
            file: String::new(),
            first_seq: 0,
            stopped: None,
        }
    }

    /// The last checkpoint whose signature is right.
    pub(super) fn last(&self) -> Option<&Last> {
        self.last.as_ref()
    }

    /// The keys that signed, the checkpoints that are right, the last record that they cover, and whether the last agent
    /// stopped: a checkpoint must say so too, since anybody can append a record.
    pub(super) fn found(self) -> (Vec<KeyReport>, u64, u64, bool) {
        (self.used, self.count, self.covered, self.stopped.is_some_and(|seq| seq <= self.covered))
    }

    fn trusted(&self, id: KeyId) -> Option<&Trusted> {
        self.keys.iter().find(|trusted| trusted.key.id() == id)
    }

    /// Takes the log's own word for a key.
    fn believe(&mut self, key: PublicKey) {
        self.keys.push(Trusted { key, signer: KeyHolder::Anybody, given: false });
    }

    fn used(&mut self, signer: &Trusted, host: &Host) {
        let (id, given, is_of_one_host) = (signer.key.id(), signer.given, signer.signer == KeyHolder::OneHost);
        let at = self.used.iter().position(|report| report.id == id).unwrap_or_else(|| {
            self.used.push(KeyReport { id, given, hosts: Vec::new(), is_of_one_host });
            self.used.len() - 1
        });
        let report = &mut self.used[at];
        if report.hosts.len() < HOSTS && !report.hosts.contains(&host.id) {
            report.hosts.push(host.id.clone());
        }
    }

    fn hash_of(&self, seq: u64) -> Option<Hash> {
        let back = usize::try_from(self.newest.checked_sub(seq)?).ok()?;
        self.hashes.len().checked_sub(back + 1).map(|at| self.hashes[at])
    }

    fn remember(&mut self, record: &Record<'_>) {
        if self.hashes.len() as u64 > REACH {
            self.hashes.pop_front();
        }
        self.hashes.push_back(record.hash);
        self.newest = record.seq;
    }

    fn checkpoint(&mut self, record: &Record<'_>, signed: &Signed) -> Result<(), (u64, Fault)> {
        let here = |fault| (record.seq, fault);
        let stated: Checkpoint = signed.read().map_err(|error| here(Fault::Statement(error.to_string())))?;
        let Checkpoint { log, epoch, head, previous, interval, time, since_boot_ns, boot_id, host, key } = stated;
        if log.as_str() != record.log || epoch != record.epoch {
            return Err(here(Fault::CheckpointForeign { log: log.to_string(), epoch }));
        }
        let signer = self.signed_by(signed, &key).map_err(here)?;
        if !signer.signer.is(record.log, &host) {
            return Err(here(Fault::KeyOfAnother { key: key.id(), host: host.name }));
        }
        self.used(&signer, &host);
        let before = self.last.take().filter(|_| self.whole);
        let expected = match &before {
            Some(last) => Some(last.place),
            None => (self.whole && self.first_seq == 1).then_some(Place::NONE),
        };
        let place = Place { seq: record.seq, hash: signed.digest() };
        self.last = Some(Last { place, boot_id, since_boot_ns, time, interval, host });
        self.whole = true;
        if expected.is_some_and(|expected| expected != previous) {
            return Err(here(Fault::CheckpointUnlinked));
        }
        let now = self.last.as_ref();
        if let (Some(before), Some(now)) = (before, now)
            && before.boot_id == now.boot_id
            && before.since_boot_ns > now.since_boot_ns
        {
            return Err(here(Fault::ClockBack));
        }
        if head.seq >= record.seq || record.seq - head.seq > REACH {
            return Err(here(Fault::CheckpointReach { head: head.seq }));
        }
        // What it covers may be retired, or missing, which is named where it is missing.
        if self.hash_of(head.seq).is_some_and(|hash| hash != head.hash) {
            return Err((head.seq, Fault::CheckpointDiffers { checkpoint: record.seq }));
        }
        self.count += 1;
        self.covered = self.covered.max(head.seq);
        Ok(())
    }

    /// Checks a checkpoint's signature, and that its key is the one in force.
    fn signed_by(&mut self, signed: &Signed, key: &PublicKey) -> Result<Trusted, Fault> {
        let signature = signed.signature.as_ref().ok_or(Fault::NotSigned)?;
        let id = key.id();
        if signature.key_id != id {
            return Err(Fault::SignatureWrong);
        }
        if !self.strict && self.keys.is_empty() {
            self.believe(key.clone());
        }
        let trusted = self.trusted(id).ok_or(Fault::UnknownKey(id))?.clone();
        if !trusted.key.verifies(&signed.message::<Checkpoint>(), &signature.value) {
            return Err(Fault::SignatureWrong);
        }
        if *self.in_force.get_or_insert(id) != id {
            return Err(Fault::StaleKey(id));
        }
        Ok(trusted)
    }

    fn key_change(&mut self, record: &Record<'_>, signed: &Signed) -> Result<(), Fault> {
        let stated: KeyChange = signed.read().map_err(|error| Fault::Statement(error.to_string()))?;
        let KeyChange { log, epoch, key, replaces, time: _ } = stated;
        if log.as_str() != record.log || epoch != record.epoch {
            return Err(Fault::CheckpointForeign { log: log.to_string(), epoch });
        }
        let id = key.id();
        let voucher = signed.signature.as_ref().and_then(|signature| {
            let old = self.trusted(signature.key_id)?;
            let right = Some(signature.key_id) == replaces
                && self.in_force.is_none_or(|in_force| in_force == signature.key_id)
                && old.key.verifies(&signed.message::<KeyChange>(), &signature.value);
            right.then(|| old.clone())
        });
        if let Some(voucher) = voucher {
            if self.trusted(id).is_none() {
                self.keys.push(Trusted { key, ..voucher });
            }
        } else if self.trusted(id).is_none_or(|trusted| !trusted.given) {
            // Without a voucher: the first key of a log that no auditor gave keys for, or nothing to rely on.
            let first = !self.strict && self.keys.is_empty() && replaces.is_none();
            if !first {
                return Err(Fault::KeyNotVouched(id));
            }
            self.believe(key);
        }
        self.in_force = Some(id);
        Ok(())
    }
}

impl Visitor for Checkpoints {
    fn record(&mut self, record: &Record<'_>, findings: &mut Findings) {
        if self.first_seq == 0 {
            self.first_seq = record.seq;
            self.whole = record.seq == 1;
        }
        self.remember(record);
        self.end = Some(End { time: record.facts.time, seq: record.seq, offset: record.spot.offset });
        if self.file != record.spot.file {
            record.spot.file.clone_into(&mut self.file);
        }
        let Some(event) = record.event.filter(|_| record.facts.class_uid == 6002) else { return };
        let Ok(Statements { checkpoint, signing_key, lifecycle }) = serde_json::from_str(event) else { return };
        if let Some(lifecycle) = lifecycle {
            match lifecycle.kind.as_str() {
                "started" => self.stopped = None,
                "stopped" | "detached" => self.stopped = Some(record.seq),
                _ => {}
            }
        }
        if let Some(signed) = checkpoint
            && let Err((seq, fault)) = self.checkpoint(record, &signed)
        {
            findings.add(Some(seq), record.spot, &fault);
        }
        if let Some(signed) = signing_key
            && let Err(fault) = self.key_change(record, &signed)
        {
            findings.add(Some(record.seq), record.spot, &fault);
        }
    }

    fn gap(&mut self) {
        self.hashes.clear();
        self.whole = false;
    }

    fn end(&mut self, findings: &mut Findings) {
        let Some(End { time, seq, offset }) = self.end else { return };
        let unsigned = match &self.last {
            // Written before there were checkpoints, or by somebody who has no key: only a given key tells.
            None => self.strict.then_some(self.first_seq),
            Some(Last { time: signed, interval, .. }) => {
                let due = late_after(*interval).saturating_add(*signed);
                (self.covered < seq && time > due).then_some(self.covered + 1)
            }
        };
        if let Some(from) = unsigned {
            findings.add(Some(from), Spot { file: &self.file, offset }, &Fault::Unsigned);
        }
    }
}

/// How long after a checkpoint the next is late, in milliseconds.
pub(super) fn late_after(interval: Interval) -> i64 {
    i64::try_from(interval.seconds).unwrap_or(i64::MAX).saturating_mul(2000).saturating_add(GRACE_MS)
}
