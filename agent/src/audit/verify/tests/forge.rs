//! Logs with signed checkpoints, as an agent writes them, and as somebody who has the directory but not the key may
//! rewrite them.

use std::{fs, path::Path};

use crate::audit::{
    chain::{Hash, Line, Link, LogId},
    checkpoint::{
        PublicKey,
        signer::Signer,
        statement::{Checkpoint, Host, Interval, KeyChange, Place, Signed},
    },
    head::{Head, HeadFile},
    samples::write_segments,
    segment::Segment,
};

/// When logs begin, in milliseconds since 1970.
pub(super) const BEGIN: i64 = 1_785_000_000_000;

/// Seconds between two checkpoints, as they state.
pub(super) const SECONDS: u64 = 5;

/// Writes a log record by record.
pub(super) struct Writer {
    pub(super) log: LogId,
    pub(super) epoch: u64,
    pub(super) time: i64,
    pub(super) since_boot_ns: u64,
    pub(super) signer: Signer,
    link: Link,
    previous: Place,
    pub(super) lines: Vec<Vec<u8>>,
}

impl Writer {
    /// A log of this name, signed with the key of this number. It begins as an agent begins.
    pub(super) fn new(log: &str, key: u8) -> Self {
        let mut writer = Self {
            log: LogId::parse(log).unwrap(),
            epoch: 0,
            time: BEGIN,
            since_boot_ns: 1,
            signer: Signer::of_test(key),
            link: Link::START,
            previous: Place::NONE,
            lines: Vec::new(),
        };
        writer.start();
        let first = writer.key_change(None);
        writer.append(&format!(r#""signing_key":{}"#, serde_json::to_string(&first).unwrap()));
        writer
    }

    /// An agent starts.
    pub(super) fn start(&mut self) {
        self.epoch += 1;
        self.append(r#""lifecycle":{"kind":"started"}"#);
    }

    /// A record of the agent's class with these fields, two seconds after the last.
    pub(super) fn append(&mut self, fields: &str) {
        self.time += 2000;
        self.since_boot_ns += 2_000_000_000;
        let event = format!(r#"{{"class_uid":6002,"time":{},{fields}}}"#, self.time);
        self.event(&event);
    }

    /// A call.
    pub(super) fn call(&mut self, number: u64) {
        self.time += 2000;
        self.since_boot_ns += 2_000_000_000;
        let event = format!(r#"{{"class_uid":6003,"time":{},"mcp":{{"params":{{"n":{number}}}}}}}"#, self.time);
        self.event(&event);
    }

    /// A record with this event.
    pub(super) fn event(&mut self, event: &str) {
        let mut line = Vec::new();
        self.link.append(&mut line, &self.log, self.epoch, event);
        self.lines.push(line);
    }

    /// A checkpoint over everything so far.
    pub(super) fn checkpoint(&mut self) {
        let mut signed = Signed::unsigned(&Checkpoint {
            log: self.log.clone(),
            epoch: self.epoch,
            head: Place { seq: self.link.seq, hash: self.link.hash },
            previous: self.previous,
            interval: Interval { records: 10, seconds: SECONDS },
            time: self.time,
            since_boot_ns: self.since_boot_ns,
            boot_id: "boot".into(),
            host: Host { id: format!("id-of-{}", self.log), name: format!("host-of-{}", self.log) },
            key: self.signer.public().clone(),
        })
        .unwrap();
        self.signer.sign_now::<Checkpoint>(&mut signed);
        let hash = signed.digest();
        self.append(&format!(r#""checkpoint":{}"#, serde_json::to_string(&signed).unwrap()));
        self.previous = Place { seq: self.link.seq, hash };
    }

    /// A statement that this writer's key signs from here on, not signed yet.
    pub(super) fn key_change(&self, replaces: Option<&PublicKey>) -> Signed {
        Signed::unsigned(&KeyChange {
            log: self.log.clone(),
            epoch: self.epoch,
            key: self.signer.public().clone(),
            replaces: replaces.map(PublicKey::id),
            time: self.time,
        })
        .unwrap()
    }

    /// Another key signs from here on; the one before it, or `voucher`, says so.
    pub(super) fn rotate(&mut self, key: u8, voucher: Option<&Signer>) {
        let old = std::mem::replace(&mut self.signer, Signer::of_test(key));
        let mut signed = self.key_change(Some(old.public()));
        voucher.unwrap_or(&old).sign_now::<KeyChange>(&mut signed);
        self.append(&format!(r#""signing_key":{}"#, serde_json::to_string(&signed).unwrap()));
    }
}

/// What a line says: epoch and event.
pub(super) fn events(lines: &[Vec<u8>]) -> Vec<(u64, String)> {
    let read = |line: &Vec<u8>| {
        let line = Line::parse(line).unwrap();
        (line.epoch, line.event.to_owned())
    };
    lines.iter().map(read).collect()
}

/// Lines with these epochs and events, every hash computed anew.
pub(super) fn chained(log: &str, events: &[(u64, String)]) -> Vec<Vec<u8>> {
    let log = LogId::parse(log).unwrap();
    let mut link = Link::START;
    let chain = events.iter().map(|(epoch, event)| {
        let mut line = Vec::new();
        link.append(&mut line, &log, *epoch, event);
        line
    });
    chain.collect()
}

/// Writes `lines` as a log's directory, with a head that fits its last record.
pub(super) fn write_directory(dir: &Path, log: &str, lines: &[Vec<u8>], per_segment: usize) {
    fs::create_dir_all(dir).unwrap();
    write_segments(dir, lines, per_segment);
    let first = lines.first().and_then(|line| Line::parse(line).ok()).map_or(1, |line| line.seq);
    if first > 1 {
        for segment in Segment::list(dir).unwrap().into_iter().rev() {
            fs::rename(&segment.path, Segment::at(dir, segment.first + first - 1).path).unwrap();
        }
    }
    let last = lines.iter().rev().find_map(|line| Line::parse(line).ok());
    let (epoch, seq, hash) = last.map_or((0, 0, Hash::ZERO), |line| (line.epoch, line.seq, line.hash));
    let head = Head::new(LogId::parse(log).unwrap(), "boot".into());
    HeadFile::create(dir, &Head { epoch, seq, hash, synced: seq, settled: 1, ..head }).unwrap();
}
