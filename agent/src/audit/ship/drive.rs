//! One sink's task: read, deliver, advance the cursor; and again.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::watch,
    task::{JoinError, spawn_blocking},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

use super::{
    backoff::Backoff,
    batch::{Batch, Bounds},
    cursor::Cursor,
    sink::{Sink, Trouble},
    source::{Source, SourceError},
    status::Meter,
};
use crate::audit::chain::Link;

/// How long records are gathered, so that a busy host sends requests and not records. It is what the lag is at least.
const GATHER: Duration = Duration::from_millis(50);
/// So many records are not waited for to become more.
const ENOUGH: u64 = 500;

/// A sink's place in the log, which retention looks at too.
pub(crate) type SharedCursor = Arc<Mutex<Cursor>>;

/// What one sink's task works with.
pub(crate) struct Driver<S> {
    pub(crate) sink: S,
    pub(crate) source: Source,
    pub(crate) cursor: SharedCursor,
    pub(crate) meter: Meter,
    /// How far the log is synced.
    pub(crate) synced: watch::Receiver<u64>,
    /// From then on, what is there is sent, and nothing is waited for.
    pub(crate) finish: CancellationToken,
}

impl<S: Sink> Driver<S> {
    /// Ships until it is told to finish and has everything that was synced by then.
    pub(crate) async fn run(self) {
        let Self { mut sink, source, cursor, meter, mut synced, finish } = self;
        let bounds = sink.bounds();
        let mut desk = Desk { source, cursor, delivered: None };
        let mut backoff = Backoff::default();
        loop {
            let upto = *synced.borrow_and_update();
            let read;
            (desk, read) = match desk.read(upto, bounds).await {
                Ok(done) => done,
                // The runtime is going away.
                Err(_) => return,
            };
            meter.dropped(desk.source.missing());
            match read {
                Ok(Some(mut batch)) => {
                    deliver(&mut sink, &mut batch, &meter, &mut backoff).await;
                    meter.arrived(&batch.last, batch.records, batch.text.len() as u64);
                    desk.delivered = Some(batch.last);
                }
                // What was synced while this was read is told by a second look.
                Ok(None) if finish.is_cancelled() && *synced.borrow() <= upto => return,
                Ok(None) => wait(&mut synced, upto, &finish).await,
                Err(error) => {
                    meter.failed(error.to_string(), 0);
                    sleep(backoff.next()).await;
                }
            }
        }
    }
}

/// Tries until all of the batch is there.
async fn deliver<S: Sink>(sink: &mut S, batch: &mut Batch, meter: &Meter, backoff: &mut Backoff) {
    meter.begins(batch.oldest);
    loop {
        let before = batch.unsent_records();
        let Err(trouble) = sink.deliver(batch).await else { break };
        let left = batch.unsent_records();
        meter.failed(trouble.to_string(), if matches!(trouble, Trouble::Throttled(_)) { left } else { 0 });
        if left < before {
            backoff.reset();
        }
        sleep(backoff.next()).await;
    }
    backoff.reset();
}

/// Waits until there is more than `seen`, and a little longer, so that there is more to send at once.
async fn wait(synced: &mut watch::Receiver<u64>, seen: u64, finish: &CancellationToken) {
    let more = async {
        if synced.wait_for(|synced| *synced > seen).await.is_err() {
            // The log is closed: nothing will come.
            std::future::pending::<()>().await;
        }
        let enough = synced.wait_for(|synced| *synced >= seen + ENOUGH);
        let _ = tokio::time::timeout(GATHER, enough).await;
    };
    tokio::select! {
        () = more => {}
        () = finish.cancelled() => {}
    }
}

/// What blocks: the log's files and the cursor's. It moves to a thread where that is allowed, and back.
struct Desk {
    source: Source,
    cursor: SharedCursor,
    /// What the sink has and the cursor does not say yet.
    delivered: Option<Link>,
}

impl Desk {
    async fn read(
        mut self,
        synced: u64,
        bounds: Bounds,
    ) -> Result<(Self, Result<Option<Batch>, SourceError>), JoinError> {
        spawn_blocking(move || {
            self.settle();
            let read = self.source.next(synced, bounds);
            (self, read)
        })
        .await
    }

    fn settle(&mut self) {
        let Some(last) = &self.delivered else { return };
        let mut cursor = self.cursor.lock().unwrap_or_else(PoisonError::into_inner);
        match cursor.advance(last) {
            Ok(()) => self.delivered = None,
            // The next batch's says the same and more; until then a crash costs duplicates.
            Err(error) => tracing::warn!(%error, cursor = %cursor.path().display(), "a cursor cannot be written"),
        }
    }
}
