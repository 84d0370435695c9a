//! `head`: one JSON line beside the segments that says how far the log has come, so that a cut tail is noticed.
//!
//! It is rewritten after each commit, in place and at a fixed length, so it is never ahead of the log and `kill -9` leaves
//! either the old line or the new. It proves that the log reached `seq` with `hash`; it does not prove that nothing came
//! after, and whoever can write the directory can rewrite both. Only checkpoints that left the host prove more.

use std::{
    fs::{File, OpenOptions, rename},
    io,
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    chain::{Hash, Link, LogId},
    segment::sync_dir,
};

/// The line's length, padded with spaces: shorter than a sector, so that it is replaced whole.
const LENGTH: usize = 384;

const NAME: &str = "head";

/// What the `head` file states.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Head {
    /// The log's id.
    pub log: LogId,
    /// The last record's epoch; 0 before the first.
    pub epoch: u64,
    /// The last record's seq; 0 before the first.
    pub seq: u64,
    /// The last record's hash.
    pub hash: Hash,
    /// The last seq that reached stable storage. Less than `seq` only with `durability = "process"`.
    pub synced: u64,
    /// Calls whose request has a smaller seq all have their response.
    pub settled: u64,
    /// The kernel's boot id when it was written: after a reboot, only what was `synced` must still be there.
    pub boot: String,
}

/// Why a head cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HeadError {
    /// There is none.
    #[error("{0} is missing; without it a cut log cannot be told from a whole one")]
    Missing(PathBuf),
    /// It is not what the writer leaves.
    #[error("{path} is damaged: {what}")]
    Damaged {
        /// Its path.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// It cannot be read or written.
    #[error("cannot access {path}: {error}")]
    Io {
        /// Its path.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
}

impl Head {
    /// The head of a log without records.
    pub(crate) fn new(log: LogId, boot: String) -> Self {
        Self { log, epoch: 0, seq: 0, hash: Hash::ZERO, synced: 0, settled: 1, boot }
    }

    /// The chain's end as stated.
    pub fn link(&self) -> Link {
        Link { seq: self.seq, hash: self.hash }
    }

    /// Reads the head of `dir`; safe beside a running writer.
    ///
    /// # Errors
    /// [`HeadError`].
    pub fn read(dir: &Path) -> Result<Self, HeadError> {
        let path = dir.join(NAME);
        let read = || {
            std::fs::read(&path).map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => HeadError::Missing(path.clone()),
                _ => HeadError::Io { path: path.clone(), error },
            })
        };
        // A reader may see a line half replaced; two equal reads are one line.
        let mut bytes = read()?;
        for _ in 0..100 {
            let again = read()?;
            if again == bytes {
                break;
            }
            bytes = again;
        }
        serde_json::from_slice(&bytes).map_err(|error| HeadError::Damaged { path, what: error.to_string() })
    }

    fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec(self)?;
        if bytes.len() >= LENGTH {
            return Err(io::Error::other("the head line is too long"));
        }
        bytes.resize(LENGTH - 1, b' ');
        bytes.push(b'\n');
        Ok(bytes)
    }
}

/// The open `head` file of the log's only writer.
#[derive(Debug)]
pub(crate) struct HeadFile(File);

impl HeadFile {
    /// Creates the file so that it exists whole or not at all.
    pub(crate) fn create(dir: &Path, head: &Head) -> io::Result<Self> {
        let temporary = dir.join("head.new");
        let file =
            OpenOptions::new().create(true).truncate(true).read(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all_at(&head.to_bytes()?, 0)?;
        file.sync_all()?;
        rename(&temporary, dir.join(NAME))?;
        sync_dir(dir)?;
        Ok(Self(file))
    }

    pub(crate) fn open(dir: &Path) -> io::Result<Self> {
        OpenOptions::new().write(true).open(dir.join(NAME)).map(Self)
    }

    pub(crate) fn write(&self, head: &Head) -> io::Result<()> {
        self.0.write_all_at(&head.to_bytes()?, 0)
    }

    pub(crate) fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
