//! How each sink is doing: the one place that status, metrics and alarms read.

use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::super::chain::Link;

/// How a sink is doing. Counts are since the agent's start, and of `objects` they are of objects, not of records.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SinkStatus {
    /// `kinesis`, `file`, `stdout`, `otlp` or `objects`.
    pub name: String,
    /// Where it sends, for people.
    pub target: String,
    /// The last record that it has; 0 for `objects`.
    pub seq: u64,
    /// What it does not have yet.
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
    /// What was deleted by somebody before it was shipped. The agent itself never does.
    pub dropped: u64,
    /// Why the last attempt failed; absent when it did not.
    pub error: Option<String>,
    /// Since when attempts fail.
    pub failing_since: Option<Timestamp>,
}

impl SinkStatus {
    /// The last attempt brought something.
    fn works(&mut self) {
        self.error = None;
        if let Some(since) = self.failing_since.take() {
            tracing::info!(sink = self.name, %since, "shipping works again");
        }
    }
}

/// What a sink's task keeps up to date.
#[derive(Debug, Clone)]
pub(crate) struct Meter(Arc<Mutex<Measured>>);

#[derive(Debug)]
struct Measured {
    status: SinkStatus,
    /// What it has is told by its place in the log, or by what waits beside it.
    lag: Lag,
    /// The first record of the batch at hand, or the first object that waits, in milliseconds since 1970.
    oldest: Option<i64>,
}

/// What is missing.
#[derive(Debug)]
enum Lag {
    AfterSeq,
    Objects(u64),
}

impl Meter {
    pub(crate) fn new(name: &str, target: String, last: &Link) -> Self {
        let status = SinkStatus { name: name.to_owned(), target, seq: last.seq, ..SinkStatus::default() };
        Self(Arc::new(Mutex::new(Measured { status, lag: Lag::AfterSeq, oldest: None })))
    }

    /// Of objects beside the log.
    pub(crate) fn of_objects(name: &str, target: String) -> Self {
        let status = SinkStatus { name: name.to_owned(), target, ..SinkStatus::default() };
        Self(Arc::new(Mutex::new(Measured { status, lag: Lag::Objects(0), oldest: None })))
    }

    /// So many objects wait, the first of the time `oldest`.
    pub(crate) fn waits(&self, count: u64, oldest: i64) {
        self.with(|measured| (measured.lag, measured.oldest) = (Lag::Objects(count), Some(oldest)));
    }

    /// No object waits.
    pub(crate) fn nothing_waits(&self) {
        self.with(|measured| {
            (measured.lag, measured.oldest) = (Lag::Objects(0), None);
            measured.status.works();
        });
    }

    /// An object is stored.
    pub(crate) fn stored(&self, bytes: u64) {
        self.with(|Measured { status, .. }| {
            status.shipped += 1;
            status.shipped_bytes += bytes;
            status.works();
        });
    }

    /// An object was gone before it could be stored.
    pub(crate) fn lost(&self) {
        self.with(|Measured { status, .. }| {
            tracing::error!(sink = status.name, "an object was deleted before it was stored");
            status.dropped += 1;
        });
    }

    /// A batch is at hand, its first record of the time `oldest`.
    pub(crate) fn begins(&self, oldest: i64) {
        self.with(|measured| measured.oldest = Some(oldest));
    }

    /// The batch at hand has arrived.
    pub(crate) fn arrived(&self, last: &Link, records: u64, bytes: u64) {
        self.with(|Measured { status, oldest, .. }| {
            *oldest = None;
            status.seq = last.seq;
            status.shipped += records;
            status.shipped_bytes += bytes;
            status.works();
        });
    }

    /// An attempt failed, in part or whole.
    pub(crate) fn failed(&self, error: String, throttled: u64) {
        self.with(|Measured { status, .. }| {
            status.retries += 1;
            status.throttled += throttled;
            // To be throttled is part of the day: it is counted, and only its persistence shows, in the lag.
            if throttled == 0 && status.failing_since.is_none() {
                tracing::warn!(sink = status.name, error, "shipping fails: what waits is kept, and it is tried again");
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

    /// The sink's status beside a log whose last record is `last`, and which could not be synced since `unsynced`.
    pub(crate) fn read(&self, last: u64, unsynced: Option<Timestamp>) -> SinkStatus {
        self.with(|Measured { status, lag, oldest }| {
            let lag_records = match lag {
                Lag::AfterSeq => last.saturating_sub(status.seq),
                Lag::Objects(count) => *count,
            };
            let at_hand = oldest.and_then(|time| Timestamp::from_millisecond(time).ok());
            let oldest = at_hand.or(unsynced).filter(|_| lag_records > 0);
            let age = oldest.map_or(0, |oldest| Timestamp::now().duration_since(oldest).as_secs());
            let lag_seconds = u64::try_from(age).unwrap_or(0);
            SinkStatus { lag_records, lag_seconds, oldest_unshipped: oldest, ..status.clone() }
        })
    }

    fn with<T>(&self, act: impl FnOnce(&mut Measured) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
