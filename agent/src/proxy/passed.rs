//! What is passed on without being a message: recorded at its beginning and at its end.

use std::{sync::Arc, time::Instant};

use http::{Response, StatusCode};
use uuid::Uuid;

use super::{
    Shared,
    body::{self, Body},
    headers,
    record::{self, ExchangeFacts, HttpEnd},
    upstream::{Conn, Server},
};
use crate::audit::log::AppendError;

/// An exchange that is recorded as HTTP: its beginning is in the log, its end is written when this is dropped.
#[derive(Debug)]
pub(crate) struct PassedExchange {
    shared: Arc<Shared>,
    facts: Arc<ExchangeFacts>,
    request_id: Uuid,
    begun: Instant,
    status: Option<u16>,
    events: u64,
}

impl PassedExchange {
    /// Records the request, before it is sent.
    ///
    /// # Errors
    /// As the log's: the request must then not be sent.
    pub(crate) async fn begin(shared: &Arc<Shared>, facts: Arc<ExchangeFacts>) -> Result<Self, AppendError> {
        let request_id = Uuid::now_v7();
        shared.record_http(&facts, request_id, record::allow(), None).await?;
        Ok(Self { shared: Arc::clone(shared), facts, request_id, begun: Instant::now(), status: None, events: 0 })
    }

    /// The facts it was begun with.
    pub(crate) fn facts(&self) -> &Arc<ExchangeFacts> {
        &self.facts
    }

    /// Notes the response's status.
    pub(crate) fn answered(&mut self, status: StatusCode) {
        self.status = Some(status.as_u16());
    }

    /// Counts an event of a stream.
    pub(crate) fn count_event(&mut self) {
        self.events += 1;
    }

    /// Passes the response on; the end is recorded when its body has ended, and the connection is kept for reuse.
    pub(super) fn finish_with(mut self, server: &Arc<Server>, response: Response<Body>, conn: Conn) -> Response<Body> {
        self.answered(response.status());
        let (mut head, incoming) = response.into_parts();
        headers::strip_hop_by_hop(&mut head.headers);
        let (shared, server) = (Arc::clone(&self.shared), Arc::clone(server));
        let at_end = move || {
            shared.pool.put(&server.affinity, conn);
            drop(self);
        };
        Response::from_parts(head, body::then(incoming, at_end))
    }
}

impl Drop for PassedExchange {
    fn drop(&mut self) {
        let end = HttpEnd { status: self.status, duration: self.begun.elapsed(), events: self.events };
        let (shared, facts, request_id) = (Arc::clone(&self.shared), Arc::clone(&self.facts), self.request_id);
        self.shared
            .spawn_record(async move { shared.record_http(&facts, request_id, record::allow(), Some(end)).await });
    }
}
