//! Checks a log with nothing but its directory: every line's form and hash, their order and links, and the head.
//!
//! What this proves: no record between the first and the head was altered, removed, inserted or reordered, as long as the
//! head is genuine. A writer of the directory who recomputes every hash and the head is not noticed; signed checkpoints
//! that left the host will be checked here, as a further [`Fault`].

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Serialize;

use super::{
    chain::{Hash, Line, Link, LogId, Malformed},
    head::{Head, HeadError},
    reader::{RawLine, Reader},
};

/// What is wrong with a record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// Its line is not in the format.
    #[error("altered or damaged: {0}")]
    Malformed(#[from] Malformed),
    /// Its hash is not that of its fields.
    #[error("altered: its hash does not match its content")]
    Altered,
    /// It belongs to another log.
    #[error("foreign: it belongs to log {0}")]
    Foreign(String),
    /// Another record stands in its place.
    #[error("removed or moved: record {found} stands in its place")]
    Displaced {
        /// The seq found.
        found: u64,
    },
    /// It is not linked to the record before it.
    #[error("not linked: its prev is not the hash of the record before it, so one of the two was replaced")]
    Unlinked,
    /// The epoch does not follow.
    #[error("epoch anomaly: epoch {found} after epoch {before}")]
    Epoch {
        /// The epoch of the record before it; 0 before the first.
        before: u64,
        /// The epoch found.
        found: u64,
    },
    /// Its segment is named for another record.
    #[error("misplaced: it opens the segment named for record {named}")]
    Misnamed {
        /// The seq in the segment's name.
        named: u64,
    },
    /// The head has another hash for it.
    #[error("replaced: the head states another hash for it")]
    HeadDiffers,
    /// The log ends before it, though the head says that it was there.
    #[error("cut: the log ends before it, but its head states {head} records")]
    Cut {
        /// The seq that the head states.
        head: u64,
    },
}

/// Follows the chain from record to record.
#[derive(Debug)]
pub(crate) struct Checker<'a> {
    head: &'a Head,
    last: Option<(Link, u64)>,
}

impl<'a> Checker<'a> {
    /// Expects the log's first record.
    pub(crate) fn from_start(head: &'a Head) -> Self {
        Self { head, last: Some((Link::START, 0)) }
    }

    /// Accepts the first record of any segment.
    pub(crate) fn from_segment(head: &'a Head) -> Self {
        Self { head, last: None }
    }

    /// The seq that comes next; `None` before the first record that [`Checker::from_segment`] sees.
    pub(crate) fn next(&self) -> Option<u64> {
        self.last.as_ref().map(|(link, _)| link.seq + 1)
    }

    /// The chain's end and its epoch, as far as it was checked.
    pub(crate) fn last(&self) -> Option<&(Link, u64)> {
        self.last.as_ref()
    }

    /// Checks the next line.
    pub(crate) fn check<'l>(&mut self, raw: &RawLine<'l>) -> Result<Line<'l>, Fault> {
        let line = Line::parse(raw.bytes)?;
        if line.computed_hash() != line.hash {
            return Err(Fault::Altered);
        }
        if line.log != self.head.log.as_str() {
            return Err(Fault::Foreign(line.log.to_owned()));
        }
        let started = match &self.last {
            None if raw.segment.first == 1 => Some((Link::START, 0)),
            other => other.clone(),
        };
        if let Some((Link { seq, hash }, epoch)) = started {
            if line.seq != seq + 1 {
                return Err(Fault::Displaced { found: line.seq });
            }
            if line.epoch != epoch + 1 && (line.epoch != epoch || seq == 0) {
                return Err(Fault::Epoch { before: epoch, found: line.epoch });
            }
            if line.prev != hash {
                return Err(Fault::Unlinked);
            }
        }
        if raw.offset == 0 && raw.segment.first != line.seq {
            return Err(Fault::Misnamed { named: raw.segment.first });
        }
        if line.seq == self.head.seq && line.hash != self.head.hash {
            return Err(Fault::HeadDiffers);
        }
        self.last = Some((Link { seq: line.seq, hash: line.hash }, line.epoch));
        Ok(line)
    }
}

/// What a check found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The log's id.
    pub log: LogId,
    /// Records that are right, from the first.
    pub records: u64,
    /// Epochs among them.
    pub epochs: u64,
    /// Their bytes.
    pub bytes: u64,
    /// The last right record's hash.
    pub last_hash: Hash,
    /// Bytes of a last line that is not complete: in flight, or torn by a crash and cut at the next start.
    pub incomplete_bytes: u64,
    /// The first record that is not right.
    pub bad: Option<Bad>,
}

/// The first record that is not right.
#[derive(Debug, Clone, Serialize)]
pub struct Bad {
    /// Its seq.
    pub seq: u64,
    /// The segment where it is, or should be.
    pub segment: PathBuf,
    /// Where in the segment.
    pub offset: u64,
    /// What is wrong.
    #[serde(serialize_with = "as_text")]
    pub fault: Fault,
}

fn as_text<S: serde::Serializer>(fault: &Fault, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(fault)
}

/// Why a log could not be checked.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// Without a head there is no telling where the log ended.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// It cannot be read.
    #[error("cannot read the log in {dir}: {error}")]
    Io {
        /// Its directory.
        dir: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

/// How far a check has come.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Records checked.
    pub records: u64,
    /// Records that the head states.
    pub expected: u64,
}

/// Checks the log in `dir` up to its first bad record. Safe beside a running writer.
///
/// # Errors
/// [`VerifyError`] when it cannot be checked at all; a bad record is in the [`Report`].
pub fn verify(dir: &Path, mut progress: impl FnMut(Progress)) -> Result<Report, VerifyError> {
    let failed = |error| VerifyError::Io { dir: dir.to_owned(), error };
    let head = Head::read(dir)?;
    let mut reader = Reader::open(dir);
    let mut checker = Checker::from_start(&head);
    let mut bytes = 0;
    let mut bad = None;
    while let Some(raw) = reader.next_line().map_err(failed)? {
        let seq = checker.next().unwrap_or(1);
        if let Err(fault) = checker.check(&raw) {
            bad = Some(Bad { seq, segment: raw.segment.path.clone(), offset: raw.offset, fault });
            break;
        }
        bytes += raw.bytes.len() as u64;
        if seq.is_multiple_of(10_000) {
            progress(Progress { records: seq, expected: head.seq });
        }
    }
    let (Link { seq, hash }, epochs) = checker.last().cloned().unwrap_or((Link::START, 0));
    let (segment, offset, incomplete_bytes) = match reader.tail() {
        Some((segment, offset, incomplete)) => (segment.path.clone(), offset, incomplete),
        None => (dir.to_owned(), 0, 0),
    };
    if bad.is_none() && seq < head.seq {
        bad = Some(Bad { seq: seq + 1, segment, offset, fault: Fault::Cut { head: head.seq } });
    }
    Ok(Report { log: head.log, records: seq, epochs, bytes, last_hash: hash, incomplete_bytes, bad })
}

#[cfg(test)]
pub(crate) mod tests;
