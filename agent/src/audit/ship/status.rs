//! How each sink is doing: the one place that status, metrics and alarms read.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::chain::Link;

/// How a sink is doing. Counts are since the agent's start.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// `kinesis`, `file`, `stdout` or `otlp`.
    pub name: String,
    /// Where it sends, for people.
    pub target: String,
    /// The last record that it has.
    pub seq: u64,
    /// Records that it does not have yet.
    pub lag_records: u64,
    /// The age of the oldest of these, in seconds.
    pub lag_seconds: u64,
    /// When the oldest of these happened.
    pub oldest_unshipped: Option<Timestamp>,
    /// Records shipped.
    pub shipped: u64,
    /// Bytes shipped, without framing.
    pub shipped_bytes: u64,
    /// Attempts that brought less than everything.
    pub retries: u64,
    /// Records that were asked to come later, each time.
    pub throttled: u64,
    /// Records that were deleted by somebody before they were shipped. The agent itself never does.
    pub dropped: u64,
    /// Why the last attempt failed; absent when it did not.
    pub error: Option<String>,
    /// Since when attempts fail.
    pub failing_since: Option<Timestamp>,
}

/// What a sink's task keeps up to date.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<Mutex<Measured>>);

#[derive(Debug)]
struct Measured {
    status: SinkStatus,
    /// The first record of the batch at hand, in milliseconds since 1970.
    oldest: Option<i64>,
}

impl Meter {
    pub(crate) fn new(name: &str, target: String, last: &Link) -> Self {
        let status = SinkStatus { name: name.to_owned(), target, seq: last.seq, ..SinkStatus::default() };
        Self(Arc::new(Mutex::new(Measured { status, oldest: None })))
    }

    /// A batch is at hand, its first record of the time `oldest`.
    pub(crate) fn begins(&self, oldest: i64) {
        self.with(|measured| measured.oldest = Some(oldest));
    }

    /// The batch at hand has arrived.
    pub(crate) fn arrived(&self, last: &Link, records: u64, bytes: u64) {
        self.with(|Measured { status, oldest }| {
            *oldest = None;
            status.seq = last.seq;
            status.shipped += records;
            status.shipped_bytes += bytes;
            status.error = None;
            if let Some(since) = status.failing_since.take() {
                tracing::info!(sink = status.name, %since, "records are shipped again");
            }
        });
    }

    /// An attempt failed, in part or whole.
    pub(crate) fn failed(&self, error: String, throttled: u64) {
        self.with(|Measured { status, .. }| {
            status.retries += 1;
            status.throttled += throttled;
            // To be throttled is part of the day: it is counted, and only its persistence shows, in the lag.
            if throttled == 0 && status.failing_since.is_none() {
                tracing::warn!(
                    sink = status.name,
                    error,
                    "records cannot be shipped: they are kept, and it is tried again"
                );
                status.failing_since = Some(Timestamp::now());
            }
            status.error = Some(error);
        });
    }

    /// Records were gone before they could be shipped.
    pub(crate) fn dropped(&self, records: u64) {
        self.with(|Measured { status, .. }| {
            if records > status.dropped {
                tracing::error!(sink = status.name, records, "records were deleted before they were shipped");
            }
            status.dropped = records;
        });
    }

    /// The sink's status beside a log that is synced up to `synced`.
    pub(crate) fn read(&self, synced: u64) -> SinkStatus {
        self.with(|Measured { status, oldest }| {
            let lag_records = synced.saturating_sub(status.seq);
            let oldest = oldest.filter(|_| lag_records > 0).and_then(|time| Timestamp::from_millisecond(time).ok());
            let age = oldest.map_or(0, |oldest| Timestamp::now().duration_since(oldest).as_secs());
            let lag_seconds = u64::try_from(age).unwrap_or(0);
            SinkStatus { lag_records, lag_seconds, oldest_unshipped: oldest, ..status.clone() }
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Measured) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
