//! `cursor-<sink>`: one JSON line beside the segments that says which record a sink had last.
//!
//! It is rewritten in place, at a fixed length: a full disk must not keep it from being written, because what was shipped is
//! what may be deleted. It need not be synced before the next batch: a cursor that fell behind costs duplicates, which
//! readers tell by log and seq. It is synced before what it covers is deleted.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::super::{
    chain::{Hash, Link, LogId},
    segment::sync_dir,
};

/// The line's length, padded with spaces: shorter than a sector, so that it is replaced whole.
const LENGTH: usize = 256;

/// The last record that a sink has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    log: LogId,
    seq: u64,
    hash: Hash,
}

/// A sink's place in the log.
#[derive(Debug)]
pub(crate) struct Cursor {
    file: File,
    path: PathBuf,
    position: Position,
}

impl Cursor {
    /// Opens or creates the cursor of `sink` in the log's directory. One that is damaged or of another log starts anew, at the
    /// oldest record: the sink then gets records again rather than never.
    ///
    /// # Errors
    /// When the file cannot be opened or written.
    pub(crate) fn open(dir: &Path, sink: &str, log: &LogId) -> io::Result<Self> {
        let path = dir.join(format!("cursor-{sink}"));
        let start = Position { log: log.clone(), seq: 0, hash: Hash::ZERO };
        let position = match std::fs::read(&path) {
            Ok(bytes) => match serde_json::from_slice::<Position>(&bytes) {
                Ok(position) if position.log == *log => Some(position),
                Ok(position) => {
                    tracing::warn!(sink, of = %position.log, "a cursor belongs to another log: every record is sent");
                    None
                }
                Err(error) => {
                    tracing::warn!(sink, %error, "a cursor is damaged: every record that is still there is sent again");
                    None
                }
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_new = position.is_none();
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        let cursor = Self { file, path, position: position.unwrap_or(start) };
        if is_new {
            cursor.write(&cursor.position)?;
            cursor.file.set_len(LENGTH as u64)?;
            cursor.file.sync_all()?;
            sync_dir(dir)?;
        }
        Ok(cursor)
    }

    /// The record that the sink has last; [`Link::START`] before the first.
    pub(crate) fn link(&self) -> Link {
        Link { seq: self.position.seq, hash: self.position.hash }
    }

    /// The sink has everything up to `last`.
    ///
    /// # Errors
    /// When it cannot be written: the next one says the same and more.
    pub(crate) fn advance(&mut self, last: &Link) -> io::Result<()> {
        let Position { log, .. } = &self.position;
        let position = Position { log: log.clone(), seq: last.seq, hash: last.hash };
        self.write(&position)?;
        self.position = position;
        Ok(())
    }

    /// Makes it survive a power loss.
    ///
    /// # Errors
    /// When it cannot be synced: nothing that it covers may be deleted then.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// The file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn write(&self, position: &Position) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(position)?;
        bytes.resize(LENGTH - 1, b' ');
        bytes.push(b'\n');
        self.file.write_all_at(&bytes, 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(id: &str) -> LogId {
        LogId::parse(id).unwrap()
    }

    #[test]
    fn it_is_found_again_and_never_grows() {
        let dir = tempfile::tempdir().unwrap();
        let longest = log(&"x".repeat(64));
        let mut cursor = Cursor::open(dir.path(), "file", &longest).unwrap();
        assert_eq!(cursor.link(), Link::START);
        let last = Link { seq: u64::MAX, hash: Hash([0xab; 32]) };
        cursor.advance(&last).unwrap();
        assert_eq!(Cursor::open(dir.path(), "file", &longest).unwrap().link(), last);
        assert_eq!(std::fs::metadata(cursor.path()).unwrap().len(), LENGTH as u64);
        assert_eq!(Cursor::open(dir.path(), "other", &longest).unwrap().link(), Link::START);
    }

    #[test]
    fn one_of_another_log_or_damaged_starts_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut cursor = Cursor::open(dir.path(), "file", &log("one")).unwrap();
        cursor.advance(&Link { seq: 7, hash: Hash([1; 32]) }).unwrap();
        let other = Cursor::open(dir.path(), "file", &log("two")).unwrap();
        assert_eq!(other.link(), Link::START);
        std::fs::write(cursor.path(), b"{\"log\":\"two\"").unwrap();
        assert_eq!(Cursor::open(dir.path(), "file", &log("two")).unwrap().link(), Link::START);
    }
}
