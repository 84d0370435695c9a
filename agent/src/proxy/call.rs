//! One POST at an endpoint path, in the order of DESIGN §4: receive, parse, judge, record, send, deliver.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::CONTENT_LENGTH, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    answer::{self, Stream},
    body::{self, Body, BoxError},
    calls::{Asker, OpenCall, Scope},
    decode,
    http::{Connection, check_watch, refusal_response, unrecordable},
    record::{self, ExchangeFacts, Note, outcome_of, tool_of},
};
use crate::{
    audit::{
        event::{Outcome, Phase},
        log::AppendError,
    },
    mcp::{self, Answer, Asked, Class, Era, Id, Kind, Message, Params, Refusal},
};

/// How much more of a body that is too large is read before its refusal, in bytes.
const LINGER_BYTES: usize = 64 << 20;

/// How long that may take.
const LINGER: Duration = Duration::from_secs(5);

/// A request body, as it came and as it reads.
struct Received {
    /// The bytes that will be forwarded.
    raw: Bytes,
    /// The same after `Content-Encoding` was undone: what is parsed.
    text: Bytes,
    trailers: Option<HeaderMap>,
}

/// Takes one POST from its first byte to the last byte of its response.
///
/// # Errors
/// What breaks the application's connection the way the server's failure would have.
pub(crate) async fn post(
    connection: &Arc<Connection>,
    mut head: Parts,
    incoming: Incoming,
) -> Result<Response<Body>, BoxError> {
    let received = match receive(connection, &head, incoming).await {
        Ok(received) => received,
        Err(refusal) => return refuse_unread(connection, &head, &refusal, &Asked::Unreadable).await,
    };
    let messages = match mcp::parse(&received.text, &connection.shared.message_limits()) {
        Ok(messages) => messages,
        Err(_) if connection.endpoint.endpoint.paths.is_empty() && !reads_as_json_rpc(&received.text) => {
            // OAuth's endpoints often live on the same host; where no `paths` tell them apart, their content does.
            return connection.pass(head, body::whole(received.raw, received.trailers)).await;
        }
        Err(invalid) => return refuse_unread(connection, &head, &(&invalid).into(), &(&invalid).into()).await,
    };
    let legacy = legacy_scope(connection, &head);
    let facts = match mcp::classify(&head.headers, &messages) {
        Ok(context) => {
            let era = if legacy.is_some() { Era::Sse } else { context.era };
            let requested = || Params::of(&messages.messages()[0]).requested_version;
            let version = context.protocol_version.or_else(requested);
            let session_id = legacy.as_ref().and_then(Scope::message_path).or(context.session_id);
            connection.facts(&head, era, version, session_id)
        }
        Err(refusal) => {
            let facts = connection.facts(&head, mcp::era::tell(&head.headers, Some(&messages)), None, None);
            return refuse_all(connection, &facts, &messages, &refusal, legacy.as_ref()).await;
        }
    };
    let scope = legacy.clone().unwrap_or_else(|| scope_of(connection, &facts));
    let pending = match judge(connection, &facts, scope, messages.messages()).await {
        Ok(pending) => pending,
        Err(refusal) => return refuse_all(connection, &facts, &messages, &refusal, legacy.as_ref()).await,
    };

    head.headers.insert(CONTENT_LENGTH, received.raw.len().into());
    let request = Request::from_parts(head, body::whole(received.raw, received.trailers));
    match connection.send(request).await {
        Ok((response, conn)) => answer::deliver(Stream::answering(connection, facts, pending), response, conn).await,
        Err(error) => {
            pending.settle().await;
            Err(error.into())
        }
    }
}

/// Takes a request with a body that is no POST. MCP has none, but a server may take one for a call: where every path is the
/// endpoint, what cannot be one passes.
///
/// # Errors
/// As [`post`].
pub(crate) async fn other_method(
    connection: &Arc<Connection>,
    head: Parts,
    incoming: Incoming,
) -> Result<Response<Body>, BoxError> {
    let received = match receive(connection, &head, incoming).await {
        Ok(received) => received,
        Err(refusal) => return refuse_unread(connection, &head, &refusal, &Asked::Unreadable).await,
    };
    if received.text.is_empty() || (connection.endpoint.endpoint.paths.is_empty() && !reads_as_json_rpc(&received.text))
    {
        return connection.pass(head, body::whole(received.raw, received.trailers)).await;
    }
    let reason = "MCP sends messages with POST only; use POST";
    refuse_unread(connection, &head, &Refusal::new("http-method", Class::NotRpc, reason), &Asked::Unreadable).await
}

/// Reads the body within its limits and undoes its content coding.
async fn receive(connection: &Connection, head: &Parts, mut incoming: Incoming) -> Result<Received, Refusal> {
    let limits = &connection.shared.config.limits;
    let collecting = Limited::new(&mut incoming, limits.request_bytes).collect();
    let collected = match timeout(Duration::from_millis(limits.body_timeout_ms), collecting).await {
        Ok(Ok(collected)) => collected,
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
            linger(&mut incoming).await;
            return Err(too_large(limits.request_bytes));
        }
        Ok(Err(error)) => return Err(bad_body(format!("the request body broke: {error}"))),
        Err(_) => return Err(bad_body("the request body did not arrive in time (limits.body_timeout_ms)".into())),
    };
    check_watch(head)?;
    let trailers = collected.trailers().cloned();
    let raw = collected.to_bytes();
    let text = match decode::whole(&head.headers, raw.clone(), limits.request_bytes).await {
        Ok(text) => text,
        Err(decode::Error::TooLarge) => return Err(too_large(limits.request_bytes)),
        Err(error) => return Err(bad_body(error.to_string())),
    };
    Ok(Received { raw, text, trailers })
}

/// Reads on and forgets, so that the client, which is still sending, gets to read the refusal: closing with unread bytes
/// resets the connection before it can (RFC 9112 §9.6).
async fn linger(incoming: &mut Incoming) {
    let mut room = LINGER_BYTES;
    let _ = timeout(LINGER, async {
        while let Some(Ok(frame)) = incoming.frame().await {
            let Some(left) = room.checked_sub(frame.data_ref().map_or(0, Bytes::len)) else { return };
            room = left;
        }
    })
    .await;
}

fn too_large(limit: usize) -> Refusal {
    let reason = format!("the request body is larger than {limit} bytes (limits.request_bytes)");
    Refusal::new("request-too-large", Class::TooLarge, reason)
}

fn bad_body(reason: String) -> Refusal {
    Refusal::new("http-body", Class::NotJson, reason)
}

/// Whether some reader might take the text for a JSON-RPC message: whatever is not an object without its two telling
/// members is.
fn reads_as_json_rpc(text: &[u8]) -> bool {
    // An OAuth form, or nothing at all.
    let Some(first) = text.iter().find(|byte| !byte.is_ascii_whitespace()) else { return false };
    if !matches!(first, b'{' | b'[' | 0x80..) {
        return false;
    }
    match serde_json::from_slice::<std::collections::BTreeMap<String, serde::de::IgnoredAny>>(text) {
        Ok(members) => members.keys().map(|key| key.to_lowercase()).any(|key| key == "jsonrpc" || key == "method"),
        Err(_) => true,
    }
}

/// The scope of a POST on a message path that the legacy transport's stream has announced.
pub(crate) fn legacy_scope(connection: &Connection, head: &Parts) -> Option<Scope> {
    let scope = Scope::Legacy {
        endpoint: connection.endpoint.name().to_owned(),
        workload: connection.flow.workload.id.clone(),
        path: head.uri.path_and_query()?.as_str().to_owned(),
    };
    connection.shared.legacy.contains(&scope).then_some(scope)
}

fn scope_of(connection: &Connection, facts: &ExchangeFacts) -> Scope {
    match &facts.session_id {
        Some(session) => Scope::Session {
            endpoint: connection.endpoint.name().to_owned(),
            workload: connection.flow.workload.id.clone(),
            session: session.clone(),
        },
        None => Scope::Exchange(Uuid::now_v7()),
    }
}

/// Records every message before any is sent, and opens the calls that expect a response.
async fn judge(
    connection: &Connection,
    facts: &Arc<ExchangeFacts>,
    scope: Scope,
    messages: &[Message],
) -> Result<Pending, Refusal> {
    let mut pending = Pending::new(connection, scope);
    for message in messages {
        if let Err(refusal) = admit(connection, facts, &mut pending, message).await {
            pending.abandon();
            return Err(refusal);
        }
    }
    Ok(pending)
}

async fn admit(
    connection: &Connection,
    facts: &Arc<ExchangeFacts>,
    pending: &mut Pending,
    message: &Message,
) -> Result<(), Refusal> {
    let params = Params::of(message);
    let recorded = match &message.kind {
        Kind::Request { .. } => {
            let Some(call) = OpenCall::of(&connection.shared, message, params, facts, Asker::Client) else {
                return Ok(());
            };
            pending.open(&call)?;
            let note =
                Note::allowed(Phase::Request, call.call_id, Some(&call.method), call.tool(), call.shown_name.clone());
            connection.shared.record_message(facts, Some(message), note).await
        }
        Kind::Notification { method, .. } => {
            let cancelled = params.cancels.filter(|_| method == "notifications/cancelled");
            if let Some(call) =
                cancelled.and_then(|id| connection.shared.calls.find(&pending.scope, Asker::Client, &id))
            {
                call.cancel();
            }
            let note = Note::allowed(Phase::Request, Uuid::now_v7(), Some(method), None, params.target);
            connection.shared.record_message(facts, Some(message), note).await
        }
        Kind::Response { id, answer } => {
            answered(connection, facts, &pending.scope, message, id.as_ref(), answer).await
        }
    };
    recorded.map_err(|error| {
        tracing::error!(%error, "a call is refused: its record could not be written");
        unrecordable()
    })
}

/// The client's answer to what the server asked.
async fn answered(
    connection: &Connection,
    facts: &Arc<ExchangeFacts>,
    scope: &Scope,
    message: &Message,
    id: Option<&Id>,
    answer: &Answer,
) -> Result<(), AppendError> {
    let shared = &connection.shared;
    if let Some(asked) = id.and_then(|id| shared.calls.find(scope, Asker::Server, id)) {
        shared.record_end(&asked, Some(message), outcome_of(&asked, answer), None, Vec::new()).await?;
        shared.calls.close(scope, &asked);
        return Ok(());
    }
    // Nobody was seen asking: passed on like any message, and recorded as what it claims to be.
    shared
        .record_message(facts, Some(message), Note::allowed(Phase::ClientResponse, Uuid::now_v7(), None, None, None))
        .await
}

/// Refuses a POST whose messages could not be read.
async fn refuse_unread(
    connection: &Connection,
    head: &Parts,
    refusal: &Refusal,
    asked: &Asked<'_>,
) -> Result<Response<Body>, BoxError> {
    let era = mcp::era::tell(&head.headers, None);
    let facts = connection.facts(head, era, None, None);
    connection.shared.record_refused(&facts, refusal).await;
    if let Some(scope) = legacy_scope(connection, head) {
        // No id, so no answer on the stream; and what a POST's status says, clients of this transport do not show: they
        // would wait for ever. The end of the stream they show.
        connection.shared.legacy.cut(&scope, refusal).await;
    }
    Ok(refusal_response(refusal.response(era, asked)))
}

/// Refuses every message of a POST: each gets its record, and the client an answer for each.
async fn refuse_all(
    connection: &Connection,
    facts: &ExchangeFacts,
    messages: &mcp::Body,
    refusal: &Refusal,
    legacy: Option<&Scope>,
) -> Result<Response<Body>, BoxError> {
    for message in messages.messages() {
        let target = Params::of(message).target;
        let shown = connection.shared.shown_name(facts.endpoint.name(), message, target.as_deref());
        let tool = tool_of(message.method(), target.as_deref());
        let note = Note {
            verdict: record::deny(refusal),
            outcome: Some(Outcome::Refused),
            ..Note::allowed(Phase::Request, Uuid::now_v7(), message.method(), tool, shown)
        };
        if let Err(error) = connection.shared.record_message(facts, Some(message), note).await {
            // The refusal stands with or without its record: nothing is sent.
            tracing::error!(%error, rule = refusal.rule, "a refused call could not be recorded");
        }
    }
    let asked = messages.into();
    let Some(scope) = legacy else { return Ok(refusal_response(refusal.response(facts.era, &asked))) };
    let told = match refusal.event(&asked) {
        None => true,
        Some(event) => connection.shared.legacy.tell(scope, event).await,
    };
    Ok(refusal_response(if told { refusal.response(Era::Sse, &asked) } else { refusal.undeliverable(&asked) }))
}

/// The calls of one exchange that wait for their response. Dropping it, as hyper does when the client goes away, settles
/// them by their era's rule.
#[derive(Debug)]
pub(crate) struct Pending {
    shared: Arc<super::Shared>,
    /// Within what their ids are unique.
    pub(crate) scope: Scope,
    /// The calls, in the order they were asked.
    pub(crate) calls: Vec<Arc<OpenCall>>,
}

impl Pending {
    /// No calls yet.
    pub(crate) fn new(connection: &Connection, scope: Scope) -> Self {
        Self { shared: Arc::clone(&connection.shared), scope, calls: Vec::new() }
    }

    fn open(&mut self, call: &Arc<OpenCall>) -> Result<(), Refusal> {
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

    /// Forgets calls that were never sent.
    fn abandon(mut self) {
        for call in self.calls.drain(..) {
            call.claim_end();
            self.shared.calls.close(&self.scope, &call);
        }
    }

    /// Nothing more will come on this exchange. What has no response by now gets none, unless another stream of the same
    /// session can still bring it.
    pub(crate) async fn settle(mut self) {
        for call in self.unanswered() {
            if self.is_resumable(&call) {
                self.shared.calls.set_adrift(&self.scope, &call);
                continue;
            }
            let outcome = if call.was_cancelled() { Outcome::Cancelled } else { Outcome::Broken };
            self.shared.end(&self.scope, &call, outcome).await;
        }
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
