//! The segment that is being written.

use std::{
    fs::{File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom},
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::PathBuf,
};

use super::{
    chain::{Line, Link, MAX_LINE},
    segment::Segment,
};

pub(super) struct OpenSegment {
    /// The seq that its name promises for its first record.
    pub(super) first: u64,
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Bytes committed.
    pub(super) length: u64,
    /// Of these, bytes synced by [`OpenSegment::sync`], or found at the opening.
    pub(super) synced: u64,
}

impl OpenSegment {
    /// Opens or creates it.
    pub(super) fn open(segment: Segment) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        let file = options.create(true).truncate(false).read(true).write(true).mode(0o600).open(&segment.path)?;
        let length = file.metadata()?.len();
        Ok(Self { first: segment.first, path: segment.path, file, length, synced: length })
    }

    /// Syncs what is committed.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.synced = self.length;
        Ok(())
    }

    /// Writes the records after `synced` once more, where they are, up to the record `last`. The kernel drops what it could not
    /// write, or counts it as written: it is read back, and written only if it is still what was committed.
    pub(super) fn write_again(&self, synced: u64, last: &Link) -> io::Result<()> {
        let lost = || io::Error::other(format!("records after {synced} are not as they were written"));
        let mut file = self.file.try_clone()?;
        file.seek(SeekFrom::Start(self.synced))?;
        let mut reader = BufReader::with_capacity(1 << 18, file.take(self.length - self.synced));
        let (mut offset, mut seq, mut before) = (self.synced, synced, None);
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            if (&mut reader).take(MAX_LINE as u64).read_until(b'\n', &mut bytes)? == 0 {
                break;
            }
            let line = Line::parse(&bytes).map_err(|_| lost())?;
            let follows = line.seq == seq + 1 && before.is_none_or(|hash| line.prev == hash);
            if !follows || line.computed_hash() != line.hash {
                return Err(lost());
            }
            (seq, before) = (line.seq, Some(line.hash));
            self.file.write_all_at(&bytes, offset)?;
            offset += bytes.len() as u64;
        }
        let is_whole = offset == self.length && seq == last.seq && before.is_none_or(|hash| hash == last.hash);
        if is_whole { Ok(()) } else { Err(lost()) }
    }
}
