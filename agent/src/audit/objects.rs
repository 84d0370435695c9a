//! `audit.oversized = "s3"`: a payload that does not fit its record is an object of its own, which the record names.
//!
//! The object is on stable storage in the spool, `<audit.dir>/objects/<uuid>.json`, before the record is appended, and counts
//! towards `audit.max_bytes`. [`ship`](super::ship) stores it in S3 and then removes the file. Agents that hand over to
//! each other share the directory: the one that drains still writes, the one that has the log stores.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use tokio::{sync::Notify, task::spawn_blocking};
use uuid::Uuid;

use super::{
    chain::{LogId, hex},
    event::{Call, Event, What},
    segment::{create_dir, sync_dir},
};
use crate::config;

/// A file that was not finished for so long never will be.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Where a log's objects are in S3.
#[derive(Debug, Clone)]
pub struct Shelf {
    /// `s3://bucket/prefix<log>/`.
    url: String,
}

impl Shelf {
    /// That of `log`, as the configuration says.
    pub fn of(objects: &config::Objects, log: &LogId) -> Self {
        Self { url: format!("{}{log}/", objects.url()) }
    }

    /// `text` as an object.
    pub(super) fn object(&self, text: &str) -> Object {
        let sha256 = hex(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        let name = name(Uuid::now_v7());
        Object { url: format!("{}{name}", self.url), name, sha256, text: text.into() }
    }
}

fn name(uuid: Uuid) -> String {
    format!("{uuid}.json")
}

/// A payload that is to be stored.
#[derive(Debug, Clone)]
pub(super) struct Object {
    name: String,
    /// Where it will be.
    pub(super) url: String,
    /// SHA-256 of its bytes, in hex.
    pub(super) sha256: String,
    text: Arc<str>,
}

impl Object {
    /// Its length in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.text.len() as u64
    }
}

/// The objects that `event` names.
pub(super) fn of(event: &Event) -> impl Iterator<Item = &Object> {
    let mcp = match &event.what {
        What::Call(call) => {
            let Call { mcp, .. } = &**call;
            Some(mcp)
        }
        _ => None,
    };
    let payloads = mcp.into_iter().flat_map(|mcp| [&mcp.params, &mcp.result, &mcp.error]);
    payloads.flatten().filter_map(|payload| payload.object())
}

/// The directory of objects that wait.
#[derive(Debug, Clone)]
pub(crate) struct Spool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    /// Bytes of all that waits, as far as this agent knows: another one may write too.
    held: Mutex<u64>,
    arrived: Notify,
}

/// An object that waits.
#[derive(Debug, Clone)]
pub(crate) struct Waiting {
    /// Its name: a UUID and `.json`.
    pub(crate) name: String,
    /// When it was made, in milliseconds since 1970.
    pub(crate) time: i64,
}

impl Spool {
    /// That of the log in `dir`; it need not exist yet.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        let spool = Self(Arc::new(Inner { dir: dir.join("objects"), held: Mutex::new(0), arrived: Notify::new() }));
        spool.list()?;
        Ok(spool)
    }

    /// Where it is.
    pub(crate) fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// Bytes of what waits.
    pub(super) fn bytes(&self) -> u64 {
        *self.held()
    }

    /// Keeps `object`, durably.
    ///
    /// # Errors
    /// When it cannot be written: nothing may be done that it is evidence for.
    pub(super) async fn put(&self, object: &Object) -> io::Result<()> {
        let (spool, object) = (self.clone(), object.clone());
        spawn_blocking(move || spool.write(&object)).await.map_err(io::Error::other)?
    }

    fn write(&self, object: &Object) -> io::Result<()> {
        let Inner { dir, arrived, .. } = &*self.0;
        if !dir.is_dir() {
            create_dir(dir)?;
            dir.parent().map_or(Ok(()), sync_dir)?;
        }
        let path = dir.join(&object.name);
        let unfinished = path.with_extension("new");
        let write = || {
            let mut file = OpenOptions::new().create_new(true).write(true).mode(0o600).open(&unfinished)?;
            file.write_all(object.text.as_bytes())?;
            file.sync_all()
        };
        let written = write().and_then(|()| {
            let mut held = self.held();
            fs::rename(&unfinished, &path)?;
            *held += object.bytes();
            Ok(())
        });
        if let Err(error) = written {
            // On a full disk what was begun would be in the way.
            let _ = fs::remove_file(&unfinished);
            return Err(error);
        }
        sync_dir(dir)?;
        arrived.notify_one();
        Ok(())
    }

    /// What waits, the oldest first.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub(crate) fn list(&self) -> io::Result<Vec<Waiting>> {
        let mut held = self.held();
        let entries = match fs::read_dir(&self.0.dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                *held = 0;
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        let (mut bytes, mut waiting) = (0, Vec::new());
        for entry in entries {
            let entry = entry?;
            // It may be gone by now.
            let Ok(metadata) = entry.metadata() else { continue };
            bytes += metadata.len();
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "new") {
                if metadata
                    .modified()
                    .is_ok_and(|at| SystemTime::now().duration_since(at).is_ok_and(|age| age > ABANDONED))
                {
                    let _ = fs::remove_file(&path);
                }
                continue;
            }
            waiting.extend(Waiting::at(&path));
        }
        *held = bytes;
        drop(held);
        waiting.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(waiting)
    }

    /// An object's bytes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub(crate) fn read(&self, waiting: &Waiting) -> io::Result<Vec<u8>> {
        fs::read(self.0.dir.join(&waiting.name))
    }

    /// Lets go of an object of `bytes` that is stored.
    ///
    /// # Errors
    /// When it cannot be removed: it is then stored once more.
    pub(crate) fn remove(&self, waiting: &Waiting, bytes: u64) -> io::Result<()> {
        let mut held = self.held();
        fs::remove_file(self.0.dir.join(&waiting.name))?;
        *held = held.saturating_sub(bytes);
        Ok(())
    }

    /// Returns when this agent has put something there since the last call.
    pub(crate) async fn arrived(&self) {
        self.0.arrived.notified().await;
    }

    fn held(&self) -> MutexGuard<'_, u64> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// None when nothing of this module has this name.
    fn at(path: &Path) -> Option<Self> {
        let uuid = Uuid::parse_str(path.file_stem()?.to_str()?).ok()?;
        let (seconds, nanos) = uuid.get_timestamp()?.to_unix();
        let time = i64::try_from(seconds).ok()? * 1000 + i64::from(nanos / 1_000_000);
        let name = name(uuid);
        (path.file_name()? == name.as_str()).then_some(Self { name, time })
    }
}

#[cfg(test)]
mod tests;
