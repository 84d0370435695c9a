//! The handle to the log: cheap to clone, used from async code. Serialising happens here, on the caller's side; hashing and
//! writing on the writer's thread.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::Serialize;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use uuid::Uuid;

use super::{
    chain::{LogId, MAX_EVENT},
    event::{Agent, Event, What},
    ocsf,
    open_calls::Mark,
    recovery::{OpenError, Recovery, boot_id},
    writer,
};
use crate::config;

/// Most records waiting for the writer.
const QUEUE_RECORDS: usize = 4096;

/// Most bytes waiting for the writer, in KiB.
const QUEUE_KIB: usize = 64 << 10;

/// How a log is kept.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Its directory; created 0700 when missing.
    pub dir: PathBuf,
    /// When an append counts as done.
    pub durability: config::Durability,
    /// A segment that has reached this size in bytes is followed by a new one.
    pub segment_bytes: u64,
    /// The kernel's boot id.
    pub boot_id: String,
}

impl LogOptions {
    /// What the configuration says.
    ///
    /// # Errors
    /// When the kernel's boot id cannot be read.
    pub fn from_config(config: &config::Config) -> io::Result<Self> {
        let config::Audit { dir: _, durability, payload_bytes: _, segment_bytes } = config.audit;
        Ok(Self { dir: config.audit_dir(), durability, segment_bytes, boot_id: boot_id()? })
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Its epoch.
    pub epoch: u64,
    /// Its seq.
    pub seq: u64,
}

/// Why a record was not kept. What it would have been evidence for must not happen.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The log could not be written; the next append tries again.
    #[error("the audit log cannot be written: {0}")]
    Write(Arc<WriteError>),
    /// The event does not fit a line.
    #[error("the record is {0} bytes long, more than the {MAX_EVENT} that fit; lower audit.payload_bytes")]
    TooLarge(usize),
    /// The event cannot be written as JSON.
    #[error("the record cannot be written as JSON: {0}")]
    Render(Arc<serde_json::Error>),
    /// The log was closed.
    #[error("the audit log is closed")]
    Closed,
}

/// What failed while writing.
#[derive(Debug, thiserror::Error)]
#[error("cannot {doing} {path}: {error}")]
pub struct WriteError {
    /// What was attempted.
    pub doing: &'static str,
    /// On what.
    pub path: PathBuf,
    /// The system's word.
    pub error: io::Error,
}

/// How the log is doing.
#[derive(Debug, Clone, Serialize)]
pub struct Status {
    /// Its id.
    pub log: LogId,
    /// The running epoch.
    pub epoch: u64,
    /// The last record's seq.
    pub last_seq: u64,
    /// Records appended since it was opened.
    pub appended: u64,
    /// Appends refused since it was opened, because writing failed.
    pub refused: u64,
    /// Bytes in all segments.
    pub bytes: u64,
    /// Since when and why appends are refused.
    pub failing: Option<Failing>,
}

/// Why appends are refused.
#[derive(Debug, Clone, Serialize)]
pub struct Failing {
    /// The first refusal in a row.
    pub since: Timestamp,
    /// The last one's error.
    pub error: String,
}

/// The audit log, open for appending.
#[derive(Debug, Clone)]
pub struct Log {
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    status: Arc<Mutex<Status>>,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Append(Entry),
    Close(oneshot::Sender<Result<(), AppendError>>),
}

/// A record on its way.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) event: String,
    pub(super) mark: Mark,
    pub(super) reply: oneshot::Sender<Result<Receipt, AppendError>>,
    /// Its share of the queue's bytes, held until it is answered.
    pub(super) _room: OwnedSemaphorePermit,
}

impl Log {
    /// Opens or creates the log, as a new epoch. [`Log::settle`] is to be called with the [`Recovery`] before anything is
    /// appended. Blocks while the tail is checked.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: &LogOptions) -> Result<(Self, Recovery), OpenError> {
        let (queue, jobs) = mpsc::channel(QUEUE_RECORDS);
        let opened = writer::open(options)?;
        let status = Arc::clone(&opened.status);
        writer::spawn(opened.writer, jobs)
            .map_err(OpenError::io("start the writer thread of", Path::new(&options.dir)))?;
        Ok((Self { queue, room: Arc::new(Semaphore::new(QUEUE_KIB)), status }, opened.recovery))
    }

    /// Writes what an earlier agent left unsaid: `outcome = "unknown"` for each call it left open, and that the log was
    /// recovered. After a clean end this writes nothing.
    ///
    /// # Errors
    /// [`AppendError`]; what was not written is found again at the next opening.
    pub async fn settle(&self, recovery: Recovery) -> Result<(), AppendError> {
        if recovery.is_clean() {
            return Ok(());
        }
        let Recovery { cut_bytes, lost_records, open_calls } = recovery;
        let count = open_calls.len() as u64;
        let now = |what| Event { time: Timestamp::now(), what };
        for call in open_calls {
            self.append(now(What::Unfinished(Box::new(call)))).await?;
        }
        self.append(now(What::Agent(Agent::Recovered { cut_bytes, lost_records, open_calls: count }))).await?;
        Ok(())
    }

    /// Appends a record; returns when it is as durable as the log promises. Dropping the future does not take the record
    /// back.
    ///
    /// # Errors
    /// [`AppendError`]: the record is not in the log.
    pub async fn append(&self, event: Event) -> Result<Receipt, AppendError> {
        let mark = Mark::of(&event);
        let event = ocsf::render(event, Uuid::now_v7()).map_err(|error| AppendError::Render(Arc::new(error)))?;
        if event.len() > MAX_EVENT {
            return Err(AppendError::TooLarge(event.len()));
        }
        let kib = (event.len() >> 10) as u32 + 1;
        let room =
            Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_: AcquireError| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Append(Entry { event, mark, reply, _room: room });
        self.queue.send(job).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// How the log is doing.
    pub fn status(&self) -> Status {
        self.status.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Writes what is queued, syncs it, and ends the writer. Later appends fail with [`AppendError::Closed`].
    ///
    /// # Errors
    /// [`AppendError::Write`] when the last sync failed; [`AppendError::Closed`] when it was closed before.
    pub async fn close(&self) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Job::Close(reply)).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }
}

#[cfg(test)]
mod tests;
