//! `retired`: the last retirement, and whether the log has its record yet.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::Path,
};

use serde::{Deserialize, Serialize};

use super::super::{
    chain::{Hash, LogId},
    segment::sync_dir,
};

/// The line's length, padded with spaces: shorter than a sector, so that it is replaced whole.
const LENGTH: usize = 384;

/// What was deleted, or is about to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Retirement {
    /// The last record that goes.
    pub(crate) through_seq: u64,
    /// Its hash, which the first record that stays is linked to.
    pub(crate) through_hash: Hash,
    /// Segments that go.
    pub(crate) segments: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Stated {
    log: LogId,
    retirement: Option<Retirement>,
    recorded: bool,
}

/// The file.
#[derive(Debug)]
pub(crate) struct Intent {
    file: File,
    stated: Stated,
}

impl Intent {
    /// Opens or creates it in the log's directory. One that is damaged or of another log says nothing.
    ///
    /// # Errors
    /// When it cannot be opened or written.
    pub(crate) fn open_in(dir: &Path, log: &LogId) -> io::Result<Self> {
        let path = dir.join("retired");
        let found = match std::fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).ok().filter(|stated: &Stated| stated.log == *log),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let is_new = found.is_none();
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path)?;
        let stated = found.unwrap_or(Stated { log: log.clone(), retirement: None, recorded: true });
        let intent = Self { file, stated };
        if is_new {
            intent.write()?;
            intent.file.sync_all()?;
            sync_dir(dir)?;
        }
        Ok(intent)
    }

    /// The retirement that has no record yet.
    pub(crate) fn open(&self) -> Option<Retirement> {
        self.stated.retirement.clone().filter(|_| !self.stated.recorded)
    }

    /// States what is about to be deleted, durably.
    ///
    /// # Errors
    /// When it cannot be written: nothing may be deleted then.
    pub(crate) fn set(&mut self, retirement: Retirement) -> io::Result<()> {
        self.stated.retirement = Some(retirement);
        self.stated.recorded = false;
        self.write()
    }

    /// The log has the record.
    ///
    /// # Errors
    /// When it cannot be written: the record may then come twice.
    pub(crate) fn recorded(&mut self) -> io::Result<()> {
        self.stated.recorded = true;
        self.write()
    }

    fn write(&self) -> io::Result<()> {
        let mut bytes = serde_json::to_vec(&self.stated)?;
        bytes.resize(LENGTH - 1, b' ');
        bytes.push(b'\n');
        self.file.write_all_at(&bytes, 0)?;
        self.file.sync_data()
    }
}
