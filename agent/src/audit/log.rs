//! The handle to the log: cheap to clone, used from async code. Serialising happens here, on the caller's side; hashing and
//! writing on the writer's thread.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use uuid::Uuid;

use super::{
    chain::{Hash, Link, LogId, MAX_EVENT},
    event::{Agent, Event, What},
    flows::FlowCounts,
    head::Head,
    objects::{self, Object, Spool},
    ocsf,
    open_calls::Mark,
    parts,
    payload::Payload,
    queue::{Jobs, Queue},
    quota::{Held, Quota},
    recovery::{OpenError, Recovery, boot_id},
    report::Report,
    writer::{self, Epoch},
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
        let config::Audit { durability, segment_bytes, .. } = config.audit;
        Ok(Self { dir: config.audit_dir(), durability, segment_bytes, boot_id: boot_id()? })
    }
}

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The log has reached its quota.
    #[error("the audit log has reached audit.max_bytes ({most}), and {held}")]
    Full {
        /// The quota, in bytes.
        most: u64,
        /// Why it is not less, and what to do.
        held: String,
    },
    /// The agent that the log was handed over to has not kept it.
    #[error("the agent that keeps the audit log has not kept the record: {0}")]
    Declined(String),
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
    /// The last record's hash.
    pub last_hash: Hash,
    /// Records appended since it was opened.
    pub appended: u64,
    /// Appends refused since it was opened, because writing failed.
    pub refused: u64,
    /// Bytes of all segments, and of the objects that wait to be stored.
    pub bytes: u64,
    /// Since when and why appends are refused.
    pub failing: Option<Failing>,
    /// Since when and why records are kept that cannot be synced, and so do not leave; only with `durability = "process"`.
    pub unsynced: Option<Failing>,
}

/// What fails.
#[derive(Debug, Clone, Serialize)]
pub struct Failing {
    /// The first failure in a row.
    pub since: Timestamp,
    /// The last one's error.
    pub error: String,
}

/// The audit log, open for appending.
#[derive(Debug, Clone)]
pub struct Log {
    queue: mpsc::Sender<Job>,
    room: Arc<Semaphore>,
    report: Arc<Report>,
    flows: Arc<Mutex<FlowCounts>>,
    objects: Spool,
    quota: Option<Quota>,
}

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Job {
    Append(Entry),
    Sync(oneshot::Sender<Result<(), AppendError>>),
    Close(oneshot::Sender<Result<(), AppendError>>),
    Release(oneshot::Sender<Result<Queue, AppendError>>),
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
        let opened = writer::open(options, Epoch::Next)?;
        let (log, jobs) = Self::waiting(Arc::clone(opened.writer.report()), options)?;
        writer::spawn(opened.writer, jobs)
            .map_err(|(error, _)| OpenError::io("start the writer thread of", &options.dir)(error))?;
        Ok((log, opened.recovery))
    }

    /// A log that another agent is about to hand over: appends wait until the queue is opened.
    ///
    /// # Errors
    /// [`OpenError::Head`] when there is no such log, [`OpenError::Io`] when the objects that wait cannot be read.
    pub fn beside(options: &LogOptions) -> Result<(Self, Queue), OpenError> {
        let Head { log, epoch, seq, hash, synced, .. } = Head::read(&options.dir).map_err(OpenError::Head)?;
        let status = Status {
            log,
            epoch,
            last_seq: seq,
            last_hash: hash,
            appended: 0,
            refused: 0,
            bytes: 0,
            failing: None,
            unsynced: None,
        };
        let report = Report::new(status, synced);
        let (log, jobs) = Self::waiting(Arc::clone(&report), options)?;
        Ok((log, Queue::new(jobs, report)))
    }

    fn waiting(report: Arc<Report>, LogOptions { dir, .. }: &LogOptions) -> Result<(Self, Jobs), OpenError> {
        let (queue, jobs) = mpsc::channel(QUEUE_RECORDS);
        let room = Arc::new(Semaphore::new(QUEUE_KIB));
        let objects = Spool::of(dir).map_err(OpenError::io("list the objects in", dir))?;
        Ok((Self { queue, room, report, flows: Arc::default(), objects, quota: None }, Jobs::new(jobs)))
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
        if let Some(quota) = &self.quota {
            let aside: u64 = objects::of(&event).map(Object::bytes).sum();
            quota.admits(&event, self.bytes() + aside, self.report.held())?;
        }
        let unwritable = |error| AppendError::Render(Arc::new(error));
        let (mark, uid) = (Mark::of(&event), Uuid::now_v7());
        self.put_objects(&event).await?;
        self.append_parts(parts::render(&event, uid).map_err(unwritable)?).await?;
        let event = ocsf::render(event, uid).map_err(unwritable)?;
        self.send(event, mark).await?.await.map_err(|_| AppendError::Closed)?
    }

    /// What a record names is on stable storage before it.
    async fn put_objects(&self, event: &Event) -> Result<(), AppendError> {
        for object in objects::of(event) {
            self.objects.put(object).await.map_err(|error| {
                let error = WriteError { doing: "put an object in", path: self.objects.dir().to_owned(), error };
                self.report.refused(1, &error);
                AppendError::Write(Arc::new(error))
            })?;
        }
        Ok(())
    }

    /// What belongs to a record is in the log before it.
    async fn append_parts(&self, parts: Vec<String>) -> Result<(), AppendError> {
        let mut answers = Vec::with_capacity(parts.len());
        for part in parts {
            answers.push(self.send(part, Mark::None).await?);
        }
        for answer in answers {
            answer.await.map_err(|_| AppendError::Closed)??;
        }
        Ok(())
    }

    /// The same log, kept within a quota.
    #[must_use]
    pub fn within(self, audit: &config::Audit) -> Self {
        Self { quota: audit.max_bytes.map(|most| Quota::new(most, audit.on_full)), ..self }
    }

    /// Whether there is room for a payload, not only for what a call is.
    pub fn has_room_for(&self, payload: &Payload) -> bool {
        self.quota.is_none_or(|quota| quota.keeps_payloads(self.bytes() + payload.bytes()))
    }

    /// Why the quota stays reached, if it is.
    pub fn full(&self) -> Option<String> {
        self.quota.filter(|quota| quota.is_reached(self.bytes())).map(|_| self.report.held().to_string())
    }

    /// What counts towards the quota.
    fn bytes(&self) -> u64 {
        let segments = self.report.status().bytes;
        segments + self.objects.bytes()
    }

    /// Queues an event's text; the receipt comes when it is durable.
    pub(super) async fn send(
        &self,
        event: String,
        mark: Mark,
    ) -> Result<oneshot::Receiver<Result<Receipt, AppendError>>, AppendError> {
        if event.len() > MAX_EVENT {
            return Err(AppendError::TooLarge(event.len()));
        }
        let kib = (event.len() >> 10) as u32 + 1;
        let room =
            Arc::clone(&self.room).acquire_many_owned(kib).await.map_err(|_: AcquireError| AppendError::Closed)?;
        let (reply, answer) = oneshot::channel();
        let job = Job::Append(Entry { event, mark, reply, _room: room });
        self.queue.send(job).await.map_err(|_| AppendError::Closed)?;
        Ok(answer)
    }

    /// The chain's end: everything up to it is as durable as the log promises.
    pub fn head(&self) -> Link {
        let status = self.report.status();
        Link { seq: status.last_seq, hash: status.last_hash }
    }

    /// How the log is doing.
    pub fn status(&self) -> Status {
        let segments = self.report.status().clone();
        Status { bytes: segments.bytes + self.objects.bytes(), ..segments }
    }

    /// The objects that wait to be stored.
    pub(super) fn objects(&self) -> &Spool {
        &self.objects
    }

    /// The last seq that is on stable storage, as it grows: what may leave the host.
    pub fn synced(&self) -> watch::Receiver<u64> {
        self.report.watch_synced()
    }

    /// Has everything that was appended synced, which only `durability = "process"` leaves to do.
    ///
    /// # Errors
    /// [`AppendError::Write`] when it cannot be synced; [`AppendError::Closed`] when it is closed, or not this agent's.
    pub async fn sync(&self) -> Result<(), AppendError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Job::Sync(reply)).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
    }

    /// Takes note of why nothing more can be deleted.
    pub(super) fn holds(&self, held: Held) {
        self.report.holds(held);
    }

    /// Takes note that segments of `bytes` were deleted.
    pub(super) fn forget(&self, bytes: u64) {
        self.report.deleted(bytes);
    }

    /// Counts a flow record that was appended, under the endpoint of its tally.
    pub(crate) fn count_flow(&self, receipt: Receipt, endpoint: &str) {
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).count(receipt.epoch, endpoint);
    }

    /// The flow records of the running epoch, by the endpoint of their tally.
    pub(crate) fn flows_closed(&self) -> BTreeMap<String, u64> {
        let epoch = self.report.status().epoch;
        self.flows.lock().unwrap_or_else(PoisonError::into_inner).of(epoch)
    }

    /// What the next record's seq is at least.
    pub fn next_seq(&self) -> u64 {
        self.report.status().last_seq + 1
    }

    /// Writes what is queued, syncs it, and lets go of the log's directory, so that another agent may open it. What is
    /// appended from now on waits in the queue that is returned.
    ///
    /// # Errors
    /// [`AppendError::Write`] when the last sync failed: then the log goes on as before. [`AppendError::Closed`] when it is
    /// closed, or not this agent's.
    pub async fn release(&self) -> Result<Queue, AppendError> {
        let (reply, answer) = oneshot::channel();
        self.queue.send(Job::Release(reply)).await.map_err(|_| AppendError::Closed)?;
        answer.await.map_err(|_| AppendError::Closed)?
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
