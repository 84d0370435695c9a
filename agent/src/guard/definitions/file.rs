//! One endpoint's book on disk: `<dir>/<endpoint>.json`, a line with the digest of the rest, then the book. Agents that hand over
//! to each other share it: who changes it holds `<endpoint>.lock` and has read it since.

use std::{
    fs::{self, DirBuilder, File, Metadata, OpenOptions},
    io::{self, Read as _, Write as _},
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use rustix::fs::{FlockOperation, flock};
use tempfile::NamedTempFile;

use super::{book::Book, form::Fingerprint};

/// The first line, before the digest.
const HEADING: &str = "weir-catalogue-v1 ";

/// Longest file that is read, in bytes: a full book is about 10 MiB.
const LONGEST: u64 = 64 << 20;

/// Longest wait for the agent that is writing.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an endpoint's book is.
#[derive(Debug, Clone)]
pub(super) struct BookFile {
    dir: PathBuf,
    endpoint: String,
}

/// Tells one version of the file from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    inode: u64,
    modified: (i64, i64),
    length: u64,
}

/// What reading it comes to.
#[derive(Debug)]
pub(super) enum Read {
    /// There is none.
    None,
    Book(Box<Book>, Stamp),
    /// It is not what was written; why, in words.
    Damaged(String),
}

/// While this lives, no other agent changes the book.
#[derive(Debug)]
pub(super) struct Held(#[expect(dead_code, reason = "closing it lets go of the lock")] File);

impl BookFile {
    /// That of `endpoint`, whose name is one path component.
    pub(super) fn of(dir: &Path, endpoint: &str) -> Self {
        Self { dir: dir.to_owned(), endpoint: endpoint.to_owned() }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.dir.join(format!("{}.json", self.endpoint))
    }

    /// Where a damaged one is set aside.
    pub(super) fn damaged_path(&self) -> PathBuf {
        self.dir.join(format!("{}.damaged", self.endpoint))
    }

    /// Holds the book until the guard is dropped.
    ///
    /// # Errors
    /// When it cannot be held, or another agent does for too long.
    pub(super) fn hold(&self) -> io::Result<Held> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let path = self.dir.join(format!("{}.lock", self.endpoint));
        let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path)?;
        let began = Instant::now();
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Held(file)),
                Err(rustix::io::Errno::WOULDBLOCK) if began.elapsed() < PATIENCE => {
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The version that is there; `None` where none is.
    pub(super) fn stamp(&self) -> io::Result<Option<Stamp>> {
        match fs::metadata(self.path()) {
            Ok(metadata) => Ok(Some(Stamp::of(&metadata))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Reads it.
    ///
    /// # Errors
    /// When that cannot be told: the file is there, and cannot be read.
    pub(super) fn read(&self) -> io::Result<Read> {
        let file = match File::open(self.path()) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Read::None),
            Err(error) => return Err(error),
        };
        let stamp = Stamp::of(&file.metadata()?);
        let mut bytes = Vec::new();
        file.take(LONGEST).read_to_end(&mut bytes)?;
        Ok(match parse(&bytes) {
            Ok(book) => Read::Book(Box::new(book), stamp),
            Err(why) => Read::Damaged(why),
        })
    }

    /// Puts a book in its place, durably.
    ///
    /// # Errors
    /// When it cannot be written: what was there is there still.
    pub(super) fn write(&self, book: &Book, _held: &Held) -> io::Result<Stamp> {
        let text = serde_json::to_string(book)?;
        let mut file = NamedTempFile::new_in(&self.dir)?;
        writeln!(file, "{HEADING}{}", Fingerprint::of(&text))?;
        file.write_all(text.as_bytes())?;
        file.as_file().sync_all()?;
        let file = file.persist(self.path()).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()?;
        Ok(Stamp::of(&file.metadata()?))
    }

    /// Sets a damaged file aside, in the place of one that was damaged before.
    pub(super) fn set_aside(&self, _held: &Held) -> io::Result<()> {
        fs::rename(self.path(), self.damaged_path())
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), modified, length: metadata.len() }
    }
}

fn parse(bytes: &[u8]) -> Result<Book, String> {
    let text = str::from_utf8(bytes).map_err(|_| "it is not text")?;
    let (heading, rest) = text.split_once('\n').ok_or("it has no heading")?;
    let digest = heading.strip_prefix(HEADING).ok_or("its heading is not this version's")?;
    if digest != Fingerprint::of(rest).to_string() {
        return Err("its digest is not that of its content".into());
    }
    serde_json::from_str(rest).map_err(|error| format!("it does not hold a catalogue: {error}"))
}
