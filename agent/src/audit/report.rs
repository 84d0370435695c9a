//! What a log's writer tells: how it is doing, and how far the log is synced. It outlives the writer when the log passes from
//! one agent to another and back.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use tokio::sync::watch;

use super::{
    chain::Link,
    log::{Failing, Status, WriteError},
    quota::Held,
};

/// See the module.
#[derive(Debug)]
pub(super) struct Report {
    status: Mutex<Status>,
    held: Mutex<Held>,
    synced: watch::Sender<u64>,
}

impl Report {
    /// Of a log that is synced up to `synced`.
    pub(super) fn new(status: Status, synced: u64) -> Arc<Self> {
        Arc::new(Self { status: Mutex::new(status), held: Mutex::default(), synced: watch::Sender::new(synced) })
    }

    /// How the log is doing.
    pub(super) fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last seq that is on stable storage, as it grows.
    pub(super) fn watch_synced(&self) -> watch::Receiver<u64> {
        self.synced.subscribe()
    }

    /// Called once the head says so too: what leaves the host must not be taken back.
    pub(super) fn synced(&self, seq: u64) {
        self.synced.send_if_modified(|synced| std::mem::replace(synced, seq) != seq);
    }

    /// Takes over what another report says.
    pub(super) fn copy(&self, other: &Self) {
        *self.status() = other.status().clone();
        self.synced(*other.synced.borrow());
    }

    /// So many records were written, up to `link`.
    pub(super) fn appended(&self, records: u64, bytes: u64, link: &Link) {
        let mut status = self.status();
        let &Link { seq, hash } = link;
        (status.last_seq, status.last_hash) = (seq, hash);
        status.appended += records;
        status.bytes += bytes;
        if status.failing.take().is_some() {
            tracing::info!(seq, "the audit log can be written again");
        }
    }

    /// So many records could not be written.
    pub(super) fn refused(&self, records: u64, error: &WriteError) {
        let mut status = self.status();
        status.refused += records;
        let since = status.failing.as_ref().map_or_else(Timestamp::now, |failing| failing.since);
        if status.failing.is_none() {
            tracing::error!(%error, "the audit log cannot be written: calls are refused");
        }
        status.failing = Some(Failing { since, error: error.to_string() });
    }

    /// What was written could not be synced.
    pub(super) fn not_synced(&self, error: &WriteError) {
        let mut status = self.status();
        let since = status.unsynced.as_ref().map_or_else(Timestamp::now, |failing| failing.since);
        if status.unsynced.is_none() {
            tracing::error!(%error, "the audit log cannot be synced: its last records wait to be shipped");
        }
        status.unsynced = Some(Failing { since, error: error.to_string() });
    }

    /// Everything that was written is synced.
    pub(super) fn all_synced(&self) {
        if self.status().unsynced.take().is_some() {
            tracing::info!("the audit log is synced again");
        }
    }

    /// Why the oldest segment is still there.
    pub(super) fn held(&self) -> Held {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of it.
    pub(super) fn holds(&self, held: Held) {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = held;
    }

    /// Segments of `bytes` were deleted.
    pub(super) fn deleted(&self, bytes: u64) {
        let mut status = self.status();
        status.bytes = status.bytes.saturating_sub(bytes);
    }
}
