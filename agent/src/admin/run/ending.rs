//! How the agent ends: by order, or because another has taken over.

use std::{io, sync::Arc};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::failed;
use crate::admin::{
    Failure,
    handover::offer::{self, Estate, HandedOver},
    socket::SocketFile,
};

/// The signals that end the agent in order.
pub(super) struct StopSignals {
    term: Signal,
    int: Signal,
}

/// Why the agent ends.
pub(super) enum Ending {
    /// A signal.
    Ordered(&'static str),
    /// Another agent serves.
    Replaced(HandedOver),
}

impl StopSignals {
    /// From here on neither ends the process by itself.
    pub(super) fn watch() -> io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// Waits for the next, and names it.
    pub(super) async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }

    /// Waits for a signal or for another agent, whichever comes first. A hand-over that has begun is seen to its end.
    ///
    /// # Errors
    /// A hand-over failed in a way that leaves this agent without its log.
    pub(super) async fn or_successor(&mut self, socket: &SocketFile, estate: Arc<Estate>) -> Result<Ending, Failure> {
        let stop = CancellationToken::new();
        let mut offer = std::pin::pin!(offer::serve(socket, estate, stop.clone()));
        let reason = tokio::select! {
            handed_over = &mut offer => match handed_over.map_err(failed)? {
                Some(handed_over) => return Ok(Ending::Replaced(handed_over)),
                None => return Ok(Ending::Ordered("stop")),
            },
            reason = self.next() => reason,
        };
        stop.cancel();
        Ok(match offer.await.map_err(failed)? {
            Some(handed_over) => Ending::Replaced(handed_over),
            None => Ending::Ordered(reason),
        })
    }
}
