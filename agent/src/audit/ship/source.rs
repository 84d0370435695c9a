//! Reads what a sink does not have yet: synced records only, in order, each linked to the one before it.

use std::{
    io,
    path::{Path, PathBuf},
};

use serde::Deserialize;

use super::{
    super::{
        chain::{Line, Link, LogId, Malformed},
        reader::{RawLine, Reader},
    },
    batch::{Batch, Bounds},
};

/// Why there is nothing to send although there should be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The log cannot be read.
    #[error("cannot read the log in {dir}: {error}")]
    Io {
        /// Its directory.
        dir: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// A record is not one.
    #[error("record {seq} is not as it was written: {why}; `weir audit verify` says more")]
    Damaged {
        /// Its seq.
        seq: u64,
        /// What is wrong.
        why: Malformed,
    },
    /// A record is not linked to the one before it.
    #[error(
        "record {0} is not linked to the one before it, so one of the two was replaced; `weir audit verify` says more"
    )]
    Unlinked(u64),
}

/// The records after a sink's cursor.
#[derive(Debug)]
pub(crate) struct Source {
    dir: PathBuf,
    log: LogId,
    /// Opened at the first read, and again after a fault.
    reader: Option<Reader>,
    last: Link,
    missing: u64,
}

impl Source {
    /// Reads `dir` from the record after `last`.
    pub(crate) fn after(dir: &Path, log: &LogId, last: Link) -> Self {
        Self { dir: dir.to_owned(), log: log.clone(), reader: None, last, missing: 0 }
    }

    /// Records that were not there any more when it was their turn: somebody had deleted them.
    pub(crate) fn missing(&self) -> u64 {
        self.missing
    }

    /// The next records, up to `synced`; `None` when there are none yet. Blocks while it reads.
    ///
    /// # Errors
    /// [`SourceError`]; the next call tries again at the same record.
    pub(crate) fn next(&mut self, synced: u64, bounds: Bounds) -> Result<Option<Batch>, SourceError> {
        if self.last.seq >= synced && self.reader.is_some() {
            return Ok(None);
        }
        let batch = self.read(synced, bounds);
        if batch.is_err() {
            self.reader = None;
        }
        batch
    }

    fn read(&mut self, synced: u64, bounds: Bounds) -> Result<Option<Batch>, SourceError> {
        let Self { dir, log, reader, last, missing } = self;
        let failed = |error| SourceError::Io { dir: dir.clone(), error };
        let reader = match reader {
            Some(reader) => reader,
            None => reader.insert(position(dir, last).map_err(failed)?),
        };
        let mut batch: Option<Batch> = None;
        loop {
            let next = reader.next_line().map_err(failed).and_then(|raw| follow(raw, last));
            let (line, raw) = match next {
                Ok(Some(next)) => next,
                Ok(None) => break,
                // What was read before it is sent first.
                Err(_) if batch.is_some() => {
                    reader.put_back().map_err(failed)?;
                    break;
                }
                Err(error) => return Err(error),
            };
            let full = batch.as_ref().is_some_and(|batch| {
                batch.records as usize >= bounds.lines || batch.text.len() + raw.len() > bounds.bytes
            });
            if line.seq > synced || full {
                // What is not synced may still be taken back, and must not linger in a buffer.
                reader.put_back().map_err(failed)?;
                break;
            }
            if last.seq > 0 {
                *missing += line.seq - last.seq - 1;
            }
            *last = Link { seq: line.seq, hash: line.hash };
            batch.get_or_insert_with(|| Batch::new(log.as_str(), line.seq, time(line.event))).push(raw, last);
        }
        Ok(batch)
    }
}

/// Checks that a line may follow the record `last`. A gap is not an error: somebody removed the records in between, or the
/// sink is new and they were retired; what is left is worth the more.
fn follow<'r>(raw: Option<RawLine<'r>>, last: &Link) -> Result<Option<(Line<'r>, &'r [u8])>, SourceError> {
    let Some(raw) = raw else { return Ok(None) };
    let line = Line::parse(raw.bytes).map_err(|why| SourceError::Damaged { seq: last.seq + 1, why })?;
    let follows = if line.seq == last.seq + 1 { line.prev == last.hash } else { line.seq > last.seq };
    if follows { Ok(Some((line, raw.bytes))) } else { Err(SourceError::Unlinked(line.seq)) }
}

/// A reader that stands behind the record `last`. Where that record is another, or is gone, the log is not the one that was
/// shipped (a restored backup): everything that is there is then sent, so that the reader at the other end sees the fork.
fn position(dir: &Path, last: &mut Link) -> io::Result<Reader> {
    if last.seq == 0 {
        return Ok(Reader::open(dir));
    }
    let mut reader = Reader::open_at(dir, last.seq);
    while let Some(raw) = reader.next_line()? {
        match Line::parse(raw.bytes) {
            Ok(line) if line.seq < last.seq => {}
            Ok(line) if line.seq == last.seq && line.hash == last.hash => return Ok(reader),
            Ok(line) if line.seq == last.seq => break,
            // The record itself was retired, or is about to be found damaged.
            Ok(_) | Err(_) => {
                reader.put_back()?;
                return Ok(reader);
            }
        }
    }
    tracing::error!(
        seq = last.seq,
        "the log is not the one that was shipped; was it restored from a copy? all of it is sent"
    );
    *last = Link::START;
    Ok(Reader::open(dir))
}

/// The event's `time`, or 0.
fn time(event: &str) -> i64 {
    #[derive(Deserialize)]
    struct Timed {
        time: i64,
    }
    serde_json::from_str(event).map_or(0, |Timed { time }| time)
}

#[cfg(test)]
mod tests;
