//! Shutdown as a value: whoever holds it can wait for the start of the drain, and for its end.
//!
//! From [`Drain::start`] on, listeners take nothing new and connections finish what they have; at
//! [`Drain::expire`] whatever is left is cut.

use tokio_util::sync::CancellationToken;

/// The agent's shutdown.
#[derive(Debug, Clone, Default)]
pub(crate) struct Drain {
    started: CancellationToken,
    expired: CancellationToken,
}

impl Drain {
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
