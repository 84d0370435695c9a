//! The calls of one exchange: entered before they are recorded, settled when the exchange is over, however it ends.

use std::sync::Arc;

use bytes::Bytes;

use super::{
    Shared,
    calls::{OpenCall, Scope},
    http::Connection,
};
use crate::{
    audit::event::Outcome,
    mcp::{Class, Era, Id, Refusal},
};

/// The calls of one exchange that wait for their response. Dropping it, as hyper does when the client goes away, settles
/// them by their era's rule.
#[derive(Debug)]
pub(crate) struct Pending {
    shared: Arc<Shared>,
    /// Within what their ids are unique.
    pub(crate) scope: Scope,
    /// The calls, in the order they were asked.
    pub(crate) calls: Vec<Arc<OpenCall>>,
    /// Answers to other requests of the same batch, which were refused: delivered with what the server answers.
    pub(crate) answered: Vec<Bytes>,
}

impl Pending {
    /// No calls yet.
    pub(crate) fn new(connection: &Connection, scope: Scope) -> Self {
        Self { shared: Arc::clone(&connection.shared), scope, calls: Vec::new(), answered: Vec::new() }
    }

    /// Enters a call, before it is recorded.
    ///
    /// # Errors
    /// The table is full, or the id is that of a call under way.
    pub(crate) fn open(&mut self, call: &Arc<OpenCall>) -> Result<(), Refusal> {
        match self.shared.calls.open(&self.scope, call) {
            Err(error) => return Err(Refusal::new(error.rule(), Class::Busy, error.to_string())),
            Ok(None) => {}
            Ok(Some(given_up)) => self.shared.end_in_background(given_up, Outcome::Broken),
        }
        self.calls.push(Arc::clone(call));
        Ok(())
    }

    /// The open call that a response on this exchange's own stream answers.
    pub(crate) fn find(&self, id: &Id) -> Option<Arc<OpenCall>> {
        self.calls.iter().find(|call| call.id == *id).cloned()
    }

    /// Whether some client may take `id` for that of one of these calls, answered or not.
    pub(crate) fn has_like(&self, id: &Id) -> bool {
        self.calls.iter().any(|call| call.id.resembles(id))
    }

    /// Forgets calls that were never sent.
    pub(crate) fn abandon(mut self) {
        for call in self.calls.drain(..) {
            call.claim_end();
            self.shared.calls.close(&self.scope, &call);
        }
    }

    /// The stream has ended or broken. What has no response by now gets none, unless another stream of the same session can
    /// still bring it.
    pub(crate) async fn stream_ended(mut self) {
        for call in self.unanswered() {
            if self.is_resumable(&call) {
                self.shared.calls.set_adrift(&self.scope, &call);
            } else {
                self.end(&call).await;
            }
        }
    }

    /// No response will ever come: the request was not sent, or its one answer broke.
    pub(crate) async fn broke(mut self) {
        for call in self.unanswered() {
            self.end(&call).await;
        }
    }

    async fn end(&self, call: &OpenCall) {
        let outcome = if call.was_cancelled() { Outcome::Cancelled } else { Outcome::Broken };
        self.shared.end(&self.scope, call, outcome).await;
    }

    /// The server took the call and will answer on another stream of the same scope.
    pub(crate) fn awaits_elsewhere(&self, call: &OpenCall) {
        // The legacy transport's stream is there for as long as the scope is; a session's may never be opened.
        if matches!(self.scope, Scope::Session { .. }) {
            self.shared.calls.set_adrift(&self.scope, call);
        }
    }

    fn unanswered(&mut self) -> Vec<Arc<OpenCall>> {
        let mut calls = std::mem::take(&mut self.calls);
        calls.retain(|call| !call.has_ended());
        calls
    }

    /// Whether the response may still arrive on another stream of the same session.
    fn is_resumable(&self, call: &OpenCall) -> bool {
        self.scope.outlives_exchange() && !call.was_cancelled()
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        for call in self.unanswered() {
            if call.facts.era != Era::Modern && self.is_resumable(&call) {
                self.shared.calls.set_adrift(&self.scope, &call);
                continue;
            }
            self.shared.calls.close(&self.scope, &call);
            // Modern era: closing the response stream is how a client cancels.
            let cancelled = call.facts.era == Era::Modern || call.was_cancelled();
            self.shared.end_in_background(call, if cancelled { Outcome::Cancelled } else { Outcome::Broken });
        }
    }
}
