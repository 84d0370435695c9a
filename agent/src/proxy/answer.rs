//! What comes back: a JSON body is read whole, a stream passes event by event; either way each message is recorded before
//! the client can see it.

use std::sync::Arc;

use bytes::Bytes;
use http::{
    HeaderMap, Response, StatusCode, Uri,
    header::{CONTENT_LENGTH, CONTENT_TYPE},
    response,
};
use hyper::body::Body as _;

use super::{
    Shared,
    body::{self, Body, BoxError, Whole},
    calls::Scope,
    decode,
    headers::{self, Carries},
    hear::Unheard,
    http::{Connection, refusal_response},
    passed::PassedExchange,
    pending::Pending,
    receive::reads_as_json_rpc,
    record::{self, ExchangeFacts},
    upstream::{Conn, Server},
};
use crate::{
    audit::event::Outcome,
    mask::Threads,
    mcp::{self, Asked, Class, Id, Refusal},
};

/// What a response carries messages for.
pub(crate) struct Stream {
    pub(super) shared: Arc<Shared>,
    pub(super) server: Arc<Server>,
    pub(super) facts: Arc<ExchangeFacts>,
    pub(super) role: Role,
    pub(super) edits: Vec<&'static str>,
    /// What its notifications said last, for masks that the client gets.
    pub(super) threads: Threads,
    /// The response's status, where the answer is a body and not a stream.
    pub(super) status: Option<u16>,
}

/// Which exchange a stream belongs to, and what it may still bring.
pub(super) enum Role {
    /// The response to a POST.
    Answering(Pending),
    /// A stream that the client opened to hear the server.
    Listening {
        exchange: PassedExchange,
        scope: Option<Scope>,
        /// Whether the client said which event it had last.
        resumes: bool,
        announces: Announces,
    },
    /// Settled.
    Done,
}

/// Whether the legacy transport's message path may be, or was, announced on this stream.
pub(super) struct Announces {
    /// The stream's own URI, against which the path is resolved.
    pub(super) base: Uri,
    /// Only the first announcement counts.
    pub(super) announced: bool,
}

impl Stream {
    /// The response to a POST whose calls are `pending`.
    pub(crate) fn answering(connection: &Connection, facts: Arc<ExchangeFacts>, pending: Pending) -> Self {
        Self {
            shared: Arc::clone(&connection.shared),
            server: Arc::clone(&connection.server),
            facts,
            role: Role::Answering(pending),
            edits: Vec::new(),
            threads: Threads::default(),
            status: None,
        }
    }

    /// A stream that was opened by a GET on `base`; `resumes` where it names the last event.
    pub(crate) fn listening(connection: &Connection, exchange: PassedExchange, base: &Uri, resumes: bool) -> Self {
        let facts = Arc::clone(exchange.facts());
        let scope = facts.session_id.as_deref().map(|session| Scope::of_session(&facts, session));
        let announces = Announces { base: base.clone(), announced: false };
        Self {
            shared: Arc::clone(&connection.shared),
            server: Arc::clone(&connection.server),
            facts,
            role: Role::Listening { exchange, scope, resumes, announces },
            edits: Vec::new(),
            threads: Threads::default(),
            status: None,
        }
    }
}

/// Delivers the response to a POST.
///
/// # Errors
/// What breaks the application's connection: the server's body broke, or the log refused the record of it.
pub(crate) async fn deliver(stream: Stream, response: Response<Body>, conn: Conn) -> Result<Response<Body>, BoxError> {
    let (mut head, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    stream.learn_session(&head.headers);
    match headers::carries(&head.headers) {
        Some(Carries::Events) => stream.pass_events(head, incoming, conn).await,
        Some(Carries::Message) => stream.pass_json(head, incoming, conn).await,
        Some(Carries::Unclear) => stream.replace_answer(head, &unclear()).await,
        None if stream.must_be_answered(head.status) && !incoming.is_end_stream() => {
            stream.replace_answer(head, &unclear()).await
        }
        None => stream.pass_opaque(head, incoming, conn).await,
    }
}

/// Why an answer is not read.
pub(super) fn unclear() -> Refusal {
    let reason = "the server's answer: its content-type is not that of JSON, or of a stream of events, in UTF-8";
    Refusal::new("http-content-type", Class::NotJson, reason)
}

/// Delivers a stream that the client opened with GET.
///
/// # Errors
/// When its content coding is not supported.
pub(crate) async fn listen(
    mut stream: Stream,
    response: Response<Body>,
    conn: Conn,
) -> Result<Response<Body>, BoxError> {
    let (mut head, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    if let Role::Listening { exchange, .. } = &mut stream.role {
        exchange.answered(head.status);
    }
    stream.pass_events(head, incoming, conn).await
}

impl Stream {
    pub(super) fn take_pending(&mut self) -> Option<Pending> {
        match std::mem::replace(&mut self.role, Role::Done) {
            Role::Answering(pending) => Some(pending),
            Role::Listening { .. } | Role::Done => None,
        }
    }

    fn awaits_messages(&self) -> bool {
        matches!(&self.role, Role::Answering(pending) if !pending.calls.is_empty())
    }

    /// Whether an answer to a POST with this status must be one that can be read: where a call waits for nothing else.
    fn must_be_answered(&self, status: StatusCode) -> bool {
        let is_taken = matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT);
        let on_another_stream =
            matches!(&self.role, Role::Answering(pending) if matches!(pending.scope, Scope::Legacy { .. }));
        self.awaits_messages() && status.is_success() && !is_taken && !on_another_stream
    }

    /// The response to `initialize` names the session that its call began.
    fn learn_session(&self, headers: &HeaderMap) {
        let (Role::Answering(pending), Some(session)) = (&self.role, record::header(headers, "mcp-session-id")) else {
            return;
        };
        self.shared.sessions.learn(&self.facts, &session);
        for call in &pending.calls {
            let _ = call.session.set(session.clone());
        }
    }

    async fn pass_json(
        mut self,
        mut head: response::Parts,
        incoming: Body,
        conn: Conn,
    ) -> Result<Response<Body>, BoxError> {
        let limit = self.shared.config.limits.response_bytes;
        let Whole { bytes: raw, trailers } = match body::collect(incoming, limit).await {
            Ok(whole) => whole,
            Err(error) => {
                self.broke().await;
                return Err(error);
            }
        };
        self.shared.pool.put(&self.server.affinity, conn);
        let text = decode::whole(&head.headers, raw.clone(), limit).await;
        let parsed = match &text {
            Ok(text) => mcp::parse(text, &self.shared.message_limits()).map_err(|invalid| Refusal::from(&invalid)),
            Err(error) => Err(Refusal::new("http-body", Class::NotJson, error.to_string())),
        };
        if let Err(refusal) = &parsed {
            // An error page need not be JSON-RPC (RFC 6750's is not), and neither what nobody waits for; but what may be a message
            // must be one in one reading.
            let is_due = self.awaits_messages() && head.status.is_success();
            if is_due || text.map_or(true, |text| reads_as_json_rpc(&text)) {
                let refusal = Refusal { reason: format!("the server's answer: {}", refusal.reason), ..refusal.clone() };
                return self.replace_answer(head, &refusal).await;
            }
        }
        let heard = match self.record_answer(parsed.as_ref().ok(), head.status).await {
            Ok(heard) => heard,
            Err(Unheard::Refused(refusal)) => return self.replace_answer(head, &refusal).await,
            Err(error) => {
                self.broke().await;
                return Err(error.into());
            }
        };
        let content = match heard {
            None => raw,
            Some(changed) => {
                headers::content_changed(&mut head.headers);
                changed
            }
        };
        let mut response = Response::from_parts(head, body::whole(content.clone(), trailers));
        response.headers_mut().insert(CONTENT_LENGTH, content.len().into());
        Ok(response)
    }

    /// Records what a JSON body says; what it does not answer, its status does. Returns the body that is delivered in its place,
    /// where a rule changed it.
    async fn record_answer(&mut self, body: Option<&mcp::Body>, status: StatusCode) -> Result<Option<Bytes>, Unheard> {
        self.status = Some(status.as_u16());
        let messages = body.map_or(&[][..], mcp::Body::messages);
        // Before any is heard: all are delivered, or none.
        for message in messages {
            self.check_owner(message)?;
        }
        let (mut said, mut is_changed) = (Vec::new(), false);
        for message in messages {
            let changed = self.hear(message).await?;
            is_changed |= changed.is_some();
            said.push(changed.unwrap_or_else(|| message.raw.clone()));
        }
        let Role::Answering(pending) = &self.role else { return Ok(None) };
        for call in pending.calls.iter().filter(|call| !call.has_ended()) {
            self.shared.record_end(call, messages.first(), Outcome::Error, self.status, Vec::new()).await?;
            self.shared.calls.close(&pending.scope, call);
        }
        if !is_changed && pending.answered.is_empty() {
            return Ok(None);
        }
        Ok(Some(match (said.as_slice(), pending.answered.as_slice()) {
            ([only], []) if matches!(body, Some(mcp::Body::Single(_))) => only.clone(),
            (said, answered) => mcp::refusal::batch(&[said, answered].concat()),
        }))
    }

    /// Answers in the server's place: what it said could be read in more than one way, or answers what nobody asked. An error keeps
    /// its status and its headers, by which clients sign in, or begin another session.
    async fn replace_answer(mut self, head: response::Parts, refusal: &Refusal) -> Result<Response<Body>, BoxError> {
        let Some(pending) = self.take_pending() else { return Err(refusal.reason.clone().into()) };
        let ids: Vec<&Id> = pending.calls.iter().map(|call| &call.id).collect();
        let asked = match (pending.calls.as_slice(), ids.as_slice()) {
            ([], _) => Asked::Unanswerable,
            ([call], [id]) => Asked::Request { id, method: &call.method },
            _ => Asked::Batch(ids),
        };
        for call in &pending.calls {
            self.shared.record_end(call, None, Outcome::Refused, None, vec![refusal.rule]).await?;
            self.shared.calls.close(&pending.scope, call);
        }
        let (said, content) = refusal.response(self.facts.era, &asked).into_parts();
        let mut told = said;
        if !head.status.is_success() {
            let content_type = told.headers.remove(CONTENT_TYPE);
            told = head;
            headers::content_changed(&mut told.headers);
            told.headers.remove(CONTENT_TYPE);
            told.headers.extend(content_type.map(|content_type| (CONTENT_TYPE, content_type)));
            told.headers.insert(CONTENT_LENGTH, content.len().into());
        }
        Ok(refusal_response(Response::from_parts(told, content)))
    }

    /// A body that carries no messages: `202 Accepted`, an error page, an OAuth challenge.
    async fn pass_opaque(
        mut self,
        head: response::Parts,
        incoming: Body,
        conn: Conn,
    ) -> Result<Response<Body>, BoxError> {
        let mut answered = Vec::new();
        if let Some(mut pending) = self.take_pending() {
            answered = std::mem::take(&mut pending.answered);
            let elsewhere = head.status.is_success() && pending.scope.outlives_exchange();
            for call in std::mem::take(&mut pending.calls) {
                if elsewhere {
                    pending.awaits_elsewhere(&call);
                    continue;
                }
                self.shared.record_end(&call, None, Outcome::Error, Some(head.status.as_u16()), Vec::new()).await?;
                self.shared.calls.close(&pending.scope, &call);
            }
        }
        let (shared, server) = (self.shared, self.server);
        if head.status.is_success() && !answered.is_empty() {
            // The server took the rest of the batch without a word.
            return Ok(refusal_response(mcp::refusal::batch_response(&answered)));
        }
        let at_end = move || shared.pool.put(&server.affinity, conn);
        Ok(Response::from_parts(head, body::then(incoming, at_end)))
    }
}
