//! What comes back: a JSON body is read whole, a stream passes event by event; either way each message is recorded before
//! the client can see it.

use std::{collections::BTreeMap, io, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    HeaderMap, Response, Uri,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
    response,
};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Frame, Incoming};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;

use super::{
    Shared,
    body::{self, Body, BoxError, Feed},
    call::Pending,
    calls::{Asker, OpenCall, Scope},
    decode::{self, Coding},
    headers::{self, Carries},
    http::{Connection, PassedExchange, refusal_response},
    record::{self, ExchangeFacts, Note, outcome_of},
    upstream::{Conn, Server},
};
use crate::{
    audit::{
        event::{Outcome, Phase},
        log::AppendError,
    },
    mcp::{self, Asked, Class, Id, Kind, Message, Params, Refusal, SseEvent, SseReader},
};

/// What a response carries messages for.
pub(crate) struct Stream {
    shared: Arc<Shared>,
    server: Arc<Server>,
    facts: Arc<ExchangeFacts>,
    role: Role,
    edits: Vec<&'static str>,
}

enum Role {
    /// The response to a POST.
    Answering(Pending),
    /// A stream that the client opened to hear the server.
    Listening { exchange: PassedExchange, scope: Option<Scope>, announces: Announces },
    /// Settled.
    Done,
}

/// Whether the legacy transport's message path may be, or was, announced on this stream.
struct Announces {
    /// The stream's own URI, against which the path is resolved.
    base: Uri,
    announced: bool,
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
        }
    }

    /// A stream that was opened by a GET on `base`.
    pub(crate) fn listening(connection: &Connection, exchange: PassedExchange, base: &Uri) -> Self {
        let facts = Arc::clone(exchange.facts());
        let scope = facts.session_id.clone().map(|session| Scope::Session {
            endpoint: facts.endpoint.name().to_owned(),
            workload: facts.flow.workload.id.clone(),
            session,
        });
        let announces = Announces { base: base.clone(), announced: false };
        Self {
            shared: Arc::clone(&connection.shared),
            server: Arc::clone(&connection.server),
            facts,
            role: Role::Listening { exchange, scope, announces },
            edits: Vec::new(),
        }
    }
}

/// Delivers the response to a POST.
///
/// # Errors
/// What breaks the application's connection: the server's body broke, or the log refused the record of it.
pub(crate) async fn deliver(
    stream: Stream,
    response: Response<Incoming>,
    conn: Conn,
) -> Result<Response<Body>, BoxError> {
    let (mut head, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    stream.learn_session(&head.headers);
    match headers::carries(&head.headers) {
        Some(Carries::Events) => stream.pass_events(head, incoming, conn),
        Some(Carries::Message) if stream.awaits_messages() => stream.pass_json(head, incoming, conn).await,
        _ => stream.pass_opaque(head, incoming, conn).await,
    }
}

/// Delivers a stream that the client opened with GET.
///
/// # Errors
/// When its content coding is not supported.
pub(crate) fn listen(mut stream: Stream, response: Response<Incoming>, conn: Conn) -> Result<Response<Body>, BoxError> {
    let (mut head, incoming) = response.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    if let Role::Listening { exchange, .. } = &mut stream.role {
        exchange.answered(head.status);
    }
    stream.pass_events(head, incoming, conn)
}

impl Stream {
    fn take_pending(&mut self) -> Option<Pending> {
        match std::mem::replace(&mut self.role, Role::Done) {
            Role::Answering(pending) => Some(pending),
            Role::Listening { .. } | Role::Done => None,
        }
    }

    fn awaits_messages(&self) -> bool {
        matches!(&self.role, Role::Answering(pending) if !pending.calls.is_empty())
    }

    /// The response to `initialize` names the session that its call began.
    fn learn_session(&self, headers: &HeaderMap) {
        let (Role::Answering(pending), Some(session)) = (&self.role, record::header(headers, "mcp-session-id")) else {
            return;
        };
        for call in &pending.calls {
            let _ = call.session.set(session.clone());
        }
    }

    async fn pass_json(
        mut self,
        head: response::Parts,
        incoming: Incoming,
        conn: Conn,
    ) -> Result<Response<Body>, BoxError> {
        let Some(pending) = self.take_pending() else { return Err("a JSON body was expected of a POST".into()) };
        let limit = self.shared.config.limits.response_bytes;
        let collected = match Limited::new(incoming, limit).collect().await {
            Ok(collected) => collected,
            Err(error) => {
                pending.settle().await;
                return Err(error);
            }
        };
        self.shared.pool.put(&self.server.affinity, conn);
        let trailers = collected.trailers().cloned();
        let raw = collected.to_bytes();
        let text = decode::whole(&head.headers, raw.clone(), limit).await;
        let parsed = match text {
            Ok(text) => mcp::parse(&text, &self.shared.message_limits()).map_err(|invalid| Refusal::from(&invalid)),
            Err(error) => Err(Refusal::new("http-body", Class::NotJson, error.to_string())),
        };
        let status = Some(head.status.as_u16());
        match &parsed {
            Ok(messages) => {
                for message in messages.messages() {
                    end_answered(&self.shared, &pending, message, status).await?;
                }
            }
            // An error page need not be JSON-RPC (RFC 6750's is not); what claims success must be, in one reading.
            Err(refusal) if head.status.is_success() => {
                let refusal = Refusal { reason: format!("the server's answer: {}", refusal.reason), ..refusal.clone() };
                return self.replace_answer(&pending, &refusal).await;
            }
            Err(_) => {}
        }
        // What no message answered, the status did.
        let only = parsed.as_ref().ok().map(|messages| &messages.messages()[0]);
        for call in pending.calls.iter().filter(|call| !call.has_ended()) {
            self.shared.record_end(call, only, Outcome::Error, status, Vec::new()).await?;
            self.shared.calls.close(&pending.scope, call);
        }
        let mut response = Response::from_parts(head, body::whole(raw.clone(), trailers));
        response.headers_mut().insert(CONTENT_LENGTH, raw.len().into());
        Ok(response)
    }

    /// Answers in the server's place: what it said could be read in more than one way.
    async fn replace_answer(&self, pending: &Pending, refusal: &Refusal) -> Result<Response<Body>, BoxError> {
        let ids: Vec<&Id> = pending.calls.iter().map(|call| &call.id).collect();
        let asked = match (pending.calls.as_slice(), ids.as_slice()) {
            ([call], [id]) => Asked::Request { id, method: &call.method },
            _ => Asked::Batch(ids),
        };
        for call in &pending.calls {
            self.shared.record_end(call, None, Outcome::Refused, None, vec![refusal.rule]).await?;
            self.shared.calls.close(&pending.scope, call);
        }
        Ok(refusal_response(refusal.response(self.facts.era, &asked)))
    }

    /// A body that carries no messages: `202 Accepted`, an error page, an OAuth challenge.
    async fn pass_opaque(
        mut self,
        head: response::Parts,
        incoming: Incoming,
        conn: Conn,
    ) -> Result<Response<Body>, BoxError> {
        if let Some(mut pending) = self.take_pending() {
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
        let at_end = move || shared.pool.put(&server.affinity, conn);
        Ok(Response::from_parts(head, body::then(incoming, at_end)))
    }

    /// Starts the task that passes a stream, event by event.
    fn pass_events(
        mut self,
        mut head: response::Parts,
        incoming: Incoming,
        conn: Conn,
    ) -> Result<Response<Body>, BoxError> {
        let source = match Coding::of(&head.headers)? {
            None => Source::Plain(incoming),
            Some(coding) => {
                // Events flow one by one, so they are delivered as they read: undoing the coding is the one edit made.
                self.edits.push("content-encoding");
                head.headers.remove(CONTENT_ENCODING);
                let chunks = incoming.map_err(io::Error::other).into_data_stream();
                Source::Decoded(coding.reader(StreamReader::new(chunks)))
            }
        };
        head.headers.remove(CONTENT_LENGTH);
        let (sender, body) = body::fed();
        let shared = Arc::clone(&self.shared);
        shared.tasks.spawn(self.pump(source, sender, conn));
        Ok(Response::from_parts(head, body))
    }

    async fn pump(mut self, mut source: Source, sender: Feed, conn: Conn) {
        let shared = Arc::clone(&self.shared);
        let mut events = SseReader::new(shared.config.limits.sse_event_bytes);
        let mut trailers = None;
        let cut = loop {
            let frame = tokio::select! {
                frame = source.next() => frame,
                () = sender.closed() => {
                    // The client has gone: dropping the source tells the server, dropping the calls settles them.
                    self.leave_legacy().await;
                    return;
                }
                () = shared.drain.expired() => break "the agent is stopping".into(),
            };
            match frame {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(chunk) => {
                        if let Err(error) = self.pass_chunk(&mut events, chunk, &sender).await {
                            break error;
                        }
                    }
                    Err(frame) => trailers = Some(frame),
                },
                Some(Err(error)) => break error,
                None => {
                    self.pass_unfinished(events.finish(), &sender).await;
                    if let Some(trailers) = trailers {
                        let _ = sender.send(Ok(trailers)).await;
                    }
                    shared.pool.put(&self.server.affinity, conn);
                    self.ended().await;
                    return;
                }
            }
        };
        tracing::debug!(error = %cut, flow = %self.facts.flow.id, "a stream was cut");
        self.ended().await;
        let _ = sender.send(Err(cut)).await;
    }

    /// Records and passes the events that `chunk` completes.
    async fn pass_chunk(&mut self, events: &mut SseReader, chunk: Bytes, sender: &Feed) -> Result<(), BoxError> {
        events.push(chunk)?;
        while let Some(event) = events.next_event() {
            self.see(&event, sender).await?;
            if sender.send(Ok(Frame::data(event.raw))).await.is_err() {
                return Err("the client has gone".into());
            }
        }
        Ok(())
    }

    /// What follows the last blank line is no event (WHATWG HTML §9.2.6), but some clients take it for one: it is recorded as
    /// such or, where it cannot be read, dropped.
    async fn pass_unfinished(&mut self, rest: Bytes, sender: &Feed) {
        if rest.is_empty() {
            return;
        }
        let mut ended = SseReader::new(rest.len() + 2);
        let mut seen = ended.push([&rest, &b"\n\n"[..]].concat().into()).map_err(BoxError::from);
        while let (Ok(()), Some(event)) = (&seen, ended.next_event()) {
            seen = self.see(&event, sender).await;
        }
        match seen {
            Ok(()) => {
                let _ = sender.send(Ok(Frame::data(rest))).await;
            }
            Err(error) => tracing::debug!(%error, flow = %self.facts.flow.id, "an unfinished event was dropped"),
        }
    }

    /// Records what one event says.
    async fn see(&mut self, event: &SseEvent, sender: &Feed) -> Result<(), BoxError> {
        let kind = event.event.as_deref().unwrap_or(b"message");
        if let Role::Listening { exchange, scope, announces } = &mut self.role {
            exchange.count_event();
            if kind == b"endpoint" && !announces.announced {
                announces.announced = true;
                *scope = announced_scope(&self.facts, event, &announces.base);
                if let Some(scope) = scope {
                    self.shared.legacy.add(scope.clone(), sender.clone());
                }
                return Ok(());
            }
        }
        // Clients read messages from `message` events only; an empty one primes a resumption.
        let Some(data) = event.data.as_ref().filter(|data| kind == b"message" && !data.is_empty()) else {
            return Ok(());
        };
        let messages = match mcp::parse(data, &self.shared.message_limits()) {
            Ok(messages) => messages,
            Err(_) if is_no_message(data) => return Ok(()),
            Err(invalid) => return Err(invalid.into()),
        };
        for message in messages.messages() {
            self.hear(message).await?;
        }
        Ok(())
    }

    /// Records one message from the server.
    async fn hear(&self, message: &Message) -> Result<(), AppendError> {
        match &message.kind {
            Kind::Response { id, answer } => {
                let Some((scope, call)) = id.as_ref().and_then(|id| self.asked(id)) else { return Ok(()) };
                let outcome = outcome_of(&call, answer);
                self.shared.record_end(&call, Some(message), outcome, None, self.edits.clone()).await?;
                self.shared.calls.close(scope, &call);
                Ok(())
            }
            Kind::Request { .. } => {
                let Some(call) = OpenCall::of(&self.shared, message, Params::of(message), &self.facts, Asker::Server)
                else {
                    return Ok(());
                };
                if let Some(scope) = self.scope() {
                    // A full table costs the join of the two records, not the records.
                    let _ = self.shared.calls.open(scope, &call);
                }
                let note = Note::allowed(
                    Phase::ServerRequest,
                    call.call_id,
                    Some(&call.method),
                    call.tool(),
                    call.shown_name.clone(),
                );
                self.shared.record_message(&self.facts, Some(message), note).await
            }
            Kind::Notification { .. } => {
                if let Some(call) = self.call_of_notification(message) {
                    let endpoint = self.facts.endpoint.name();
                    call.note_event(|| self.shared.masked_event(endpoint, call.tool(), &message.raw));
                }
                Ok(())
            }
        }
    }

    fn scope(&self) -> Option<&Scope> {
        match &self.role {
            Role::Answering(pending) => Some(&pending.scope),
            Role::Listening { scope, .. } => scope.as_ref(),
            Role::Done => None,
        }
    }

    /// The call that a response answers: one of this exchange's own, or one of the session's.
    fn asked(&self, id: &Id) -> Option<(&Scope, Arc<OpenCall>)> {
        let scope = self.scope()?;
        let own = match &self.role {
            Role::Answering(pending) => pending.find(id),
            Role::Listening { .. } | Role::Done => None,
        };
        let call = own.or_else(|| self.shared.calls.find(scope, Asker::Client, id))?;
        Some((scope, call))
    }

    /// Notifications on a POST's stream belong to the request; of a batch, to the one whose progress token they name.
    fn call_of_notification(&self, message: &Message) -> Option<&Arc<OpenCall>> {
        let Role::Answering(pending) = &self.role else { return None };
        let token = message.params().and_then(|params| progress_token(params));
        let names = |call: &&Arc<OpenCall>| token.is_some() && call.progress_token == token;
        pending.calls.iter().find(names).or(pending.calls.first())
    }

    async fn ended(mut self) {
        self.leave_legacy().await;
        if let Some(pending) = self.take_pending() {
            pending.settle().await;
        }
    }

    /// The legacy transport's session is its stream: what is open when it ends stays unanswered.
    async fn leave_legacy(&self) {
        let Some(scope @ Scope::Legacy { .. }) = self.scope() else { return };
        self.shared.legacy.remove(scope);
        for call in self.shared.calls.close_scope(scope) {
            self.shared.end(scope, &call, Outcome::Broken).await;
        }
    }
}

/// Whether no reader can take an event's data for a message: an object without any of a message's members. Servers of the
/// npm SDK replay the empty object that once primed a stream, and clients pass over it.
fn is_no_message(data: &[u8]) -> bool {
    const MEMBERS: [&str; 5] = ["jsonrpc", "method", "id", "result", "error"];
    serde_json::from_slice::<BTreeMap<String, serde::de::IgnoredAny>>(data)
        .is_ok_and(|members| !members.keys().any(|key| MEMBERS.contains(&key.to_lowercase().as_str())))
}

/// Ends the call that a message of a JSON body answers.
async fn end_answered(
    shared: &Shared,
    pending: &Pending,
    message: &Message,
    status: Option<u16>,
) -> Result<(), AppendError> {
    let Kind::Response { id: Some(id), answer } = &message.kind else { return Ok(()) };
    let Some(call) = pending.find(id) else { return Ok(()) };
    shared.record_end(&call, Some(message), outcome_of(&call, answer), status, Vec::new()).await?;
    shared.calls.close(&pending.scope, &call);
    Ok(())
}

fn announced_scope(facts: &ExchangeFacts, event: &SseEvent, base: &Uri) -> Option<Scope> {
    let path = match mcp::legacy::endpoint(base, event.data.as_deref()?) {
        Ok(path) => path,
        Err(error) => {
            tracing::warn!(%error, endpoint = facts.endpoint.name(), "an announced message path is not followed");
            return None;
        }
    };
    Some(Scope::Legacy {
        endpoint: facts.endpoint.name().to_owned(),
        workload: facts.flow.workload.id.clone(),
        path: path.to_string(),
    })
}

/// The token that a progress notification names.
fn progress_token(params: &[u8]) -> Option<Id> {
    #[derive(serde::Deserialize)]
    struct Progress<'a> {
        #[serde(borrow, rename = "progressToken")]
        token: &'a serde_json::value::RawValue,
    }
    let progress: Progress<'_> = serde_json::from_slice(params).ok()?;
    Id::parse(Bytes::copy_from_slice(progress.token.get().as_bytes()))
}

/// The bytes of a stream, decoded.
enum Source {
    Plain(Incoming),
    Decoded(Pin<Box<dyn AsyncRead + Send>>),
}

impl Source {
    /// The next bytes, or the trailers after the last.
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        match self {
            Self::Plain(body) => Some(body.frame().await?.map_err(Into::into)),
            Self::Decoded(reader) => {
                let mut chunk = BytesMut::with_capacity(8192);
                match reader.read_buf(&mut chunk).await {
                    Ok(0) => None,
                    Ok(_) => Some(Ok(Frame::data(chunk.freeze()))),
                    Err(error) => Some(Err(error.into())),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::is_no_message;

    #[test]
    fn only_what_no_reader_takes_for_a_message_is_none() {
        for text in ["{}", " {\"ping\": 1}"] {
            assert!(is_no_message(text.as_bytes()), "{text}");
        }
        for text in
            ["{\"ID\":1}", "{\"result\":{}}", "{\"JsonRpc\":\"1\"}", "{\"a\":", "[]", "[{}]", "\u{feff}{}", "ping"]
        {
            assert!(!is_no_message(text.as_bytes()), "{text}");
        }
    }
}
