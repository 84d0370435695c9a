//! Shutdown as a value: whoever holds it can wait for the start of the drain, and for its end.
//!
//! From [`Drain::start`] on, listeners take nothing new and connections finish what they have; at
//! [`Drain::expire`] whatever is left is cut. When another agent takes the new connections, nobody need be hurried: a
//! connection that is idle is then left open until its next response, because a client may be sending a request just as it
//! would be closed.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use tokio_util::sync::CancellationToken;

/// The agent's shutdown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    is_gentle: Arc<AtomicBool>,
    started: CancellationToken,
    expired: CancellationToken,
}

impl Drain {
    /// Begins a drain that leaves idle connections open until their next response.
    pub(crate) fn start_gently(&self) {
        self.is_gentle.store(true, Ordering::Release);
        self.started.cancel();
    }

    /// Whether it is such a drain.
    pub(crate) fn is_gentle(&self) -> bool {
        self.is_gentle.load(Ordering::Acquire)
    }

    /// Begins the drain.
    pub(crate) fn start(&self) {
        self.started.cancel();
    }

    /// Ends it.
    pub(crate) fn expire(&self) {
        self.started.cancel();
        self.expired.cancel();
    }

    /// Waits for its beginning.
    pub(crate) async fn started(&self) {
        self.started.cancelled().await;
    }

    /// Waits for its end.
    pub(crate) async fn expired(&self) {
        self.expired.cancelled().await;
    }

    /// Runs `work` until the drain ends; `None` when it was cut.
    pub(crate) async fn bound<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            done = work => Some(done),
            () = self.expired() => None,
        }
    }
}
