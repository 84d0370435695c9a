//! One POST at an endpoint path, in the order of DESIGN §4: receive, parse, tell the caller, judge, settle the credentials, record,
//! send, deliver.

use std::sync::Arc;

use http::{Response, header::CONTENT_LENGTH, request::Parts};
use hyper::body::Incoming;
use uuid::Uuid;

use super::{
    answer::{self, Stream},
    body::{self, Body, BoxError},
    caller,
    calls::{Asker, OpenCall, Scope},
    guards,
    http::{Connection, unrecordable},
    inline,
    judge::{self, Admitted, Judged, Sentence},
    pending::Pending,
    receive::{reads_as_json_rpc, receive},
    record::{ExchangeFacts, Note, outcome_of},
    refuse,
    shown::Shown,
};
use crate::{
    audit::{event::Phase, log::AppendError},
    mask::Tool,
    mcp::{self, Answer, Asked, Class, Era, Id, Kind, Params, Refusal},
};

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
        Err(refusal) => return refuse::unread(connection, &head, &refusal, &Asked::Unreadable).await,
    };
    let messages = match mcp::parse(&received.text, &connection.shared.message_limits()) {
        Ok(messages) => messages,
        Err(_) if connection.endpoint.endpoint.paths.is_empty() && !reads_as_json_rpc(&received.text) => {
            // OAuth's endpoints often live on the same host; where no `paths` tell them apart, their content does.
            return connection.pass(head, body::whole(received.raw, received.trailers)).await;
        }
        Err(invalid) => return refuse::unread(connection, &head, &(&invalid).into(), &(&invalid).into()).await,
    };
    let known = caller::identify(connection, &mut head).await;
    let legacy = legacy_scope(connection, &head);
    let (facts, scope) = match mcp::classify(&head.headers, &messages) {
        Ok(context) => {
            let era = if legacy.is_some() { Era::Sse } else { context.era };
            let session_id = legacy.as_ref().and_then(Scope::message_path).or(context.session_id);
            let scope = legacy.clone().unwrap_or_else(|| scope_of(connection, session_id.as_deref()));
            let version = context
                .protocol_version
                .or_else(|| Params::of(&messages.messages()[0]).requested_version)
                .or_else(|| connection.shared.versions.of(&scope));
            (connection.facts(&head, era, version, session_id), scope)
        }
        Err(refusal) => {
            let facts = connection.facts(&head, mcp::era::tell(&head.headers, Some(&messages)), None, None);
            return refuse::all(connection, &facts, &messages, &refusal, legacy.as_ref()).await;
        }
    };
    if let Err(refusal) = known.and_then(|()| connection.vouch(&mut head, &received.raw, &facts)) {
        return refuse::all(connection, &facts, &messages, &refusal, legacy.as_ref()).await;
    }
    let (received, admitted, judged) = match judge::messages(&connection.shared, &facts, &messages) {
        Sentence::Refused(judged) => {
            return refuse::each(connection, &facts, &messages, &judged, legacy.as_ref()).await;
        }
        Sentence::Sent(judged) => (received, Admitted::of(messages.messages(), &judged), judged),
        Sentence::Parted(judged) => {
            let admitted = Admitted::of(messages.messages(), &judged).without_others();
            (admitted.as_batch(&mut head.headers, received.trailers), admitted, judged)
        }
    };
    let ticket = match connection.ticket(&head, &facts).await {
        Ok(ticket) => ticket,
        Err(refusal) => return refuse::all(connection, &facts, &messages, &refusal, legacy.as_ref()).await,
    };
    let (received, admitted) = inline::request(&connection.shared, &facts, &mut head.headers, received, admitted);
    let mut pending = match enter(connection, &facts, scope, &admitted).await {
        Ok(pending) => pending,
        Err(refusal) => return refuse::all(connection, &facts, &messages, &refusal, legacy.as_ref()).await,
    };
    pending.answered = refuse::some(connection, &facts, &messages, &judged).await;

    head.headers.insert(CONTENT_LENGTH, received.raw.len().into());
    match connection.send(ticket, head, received.raw, received.trailers).await {
        Ok((response, conn)) => answer::deliver(Stream::answering(connection, facts, pending), response, conn).await,
        Err(error) => {
            pending.broke().await;
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
        Err(refusal) => return refuse::unread(connection, &head, &refusal, &Asked::Unreadable).await,
    };
    if received.text.is_empty() {
        return connection.pass_at_endpoint(head, received.raw, received.trailers).await;
    }
    if connection.endpoint.endpoint.paths.is_empty() && !reads_as_json_rpc(&received.text) {
        return connection.pass(head, body::whole(received.raw, received.trailers)).await;
    }
    let reason = "MCP sends messages with POST only; use POST";
    refuse::unread(connection, &head, &Refusal::new("http-method", Class::NotRpc, reason), &Asked::Unreadable).await
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

fn scope_of(connection: &Connection, session_id: Option<&str>) -> Scope {
    match session_id {
        Some(session) => Scope::Session {
            endpoint: connection.endpoint.name().to_owned(),
            workload: connection.flow.workload.id.clone(),
            session: session.to_owned(),
        },
        None => Scope::Exchange(Uuid::now_v7()),
    }
}

/// Enters every call and records every message, before any is sent.
async fn enter(
    connection: &Connection,
    facts: &Arc<ExchangeFacts>,
    scope: Scope,
    admitted: &Admitted<'_>,
) -> Result<Pending, Refusal> {
    let mut pending = Pending::new(connection, scope);
    let admitted = admit(connection, facts, &mut pending, admitted).await;
    match admitted {
        Ok(()) => Ok(pending),
        Err(refusal) => {
            pending.abandon();
            Err(refusal)
        }
    }
}

async fn admit(
    connection: &Connection,
    facts: &Arc<ExchangeFacts>,
    pending: &mut Pending,
    admitted: &Admitted<'_>,
) -> Result<(), Refusal> {
    // All are entered before the first is recorded: what fails here fails for all.
    let mut shown = Vec::new();
    for (message, _) in &admitted.messages {
        if let Some((call, its)) = OpenCall::of(&connection.shared, message, facts, Asker::Client) {
            guards::book(&connection.shared, facts, &call)?;
            pending.open(&call)?;
            shown.push(its);
        }
    }
    let mut calls = pending.calls.iter().zip(&shown);
    for (message, verdict) in &admitted.messages {
        let judged = Judged { message, verdict, edits: &admitted.edits };
        let recorded = match &message.kind {
            Kind::Request { .. } => match calls.next() {
                Some((call, shown)) => record_request(connection, facts, judged, call, shown).await,
                None => Ok(()),
            },
            Kind::Notification { method, .. } => notified(connection, facts, &pending.scope, judged, method).await,
            Kind::Response { id, answer } => {
                answered(connection, facts, &pending.scope, judged, id.as_ref(), answer).await
            }
        };
        recorded.map_err(|error| {
            tracing::error!(%error, "a call is refused: its record could not be written");
            unrecordable()
        })?;
    }
    Ok(())
}

async fn record_request(
    connection: &Connection,
    facts: &ExchangeFacts,
    Judged { verdict, edits, .. }: Judged<'_>,
    call: &OpenCall,
    shown: &Shown<'_>,
) -> Result<(), AppendError> {
    let note = Note {
        span: Some(&call.span),
        verdict: verdict.clone(),
        edits: edits.to_vec(),
        ..Note::allowed(Phase::Request, call.call_id, Some(&call.method), call.tool(), call.shown_name.clone())
    };
    connection.shared.record_message(facts, Some(shown), note).await
}

async fn notified(
    connection: &Connection,
    facts: &ExchangeFacts,
    scope: &Scope,
    Judged { message, verdict, edits }: Judged<'_>,
    method: &str,
) -> Result<(), AppendError> {
    let params = Params::of(message);
    let about = connection.shared.task_tools.about(facts, method, params.target.as_deref());
    let (shown, name) = connection.shared.show_named(facts, message, &params, about.tool());
    let cancels = params.cancels.filter(|_| method == "notifications/cancelled");
    if let Some(call) = cancels.and_then(|id| connection.shared.calls.find(scope, Asker::Client, &id)) {
        call.cancel();
    }
    let note = Note {
        verdict: verdict.clone(),
        edits: edits.to_vec(),
        ..Note::allowed(Phase::Request, Uuid::now_v7(), Some(method), about.tool(), name)
    };
    connection.shared.record_message(facts, Some(&shown), note).await
}

/// The client's answer to what the server asked.
async fn answered(
    connection: &Connection,
    facts: &Arc<ExchangeFacts>,
    scope: &Scope,
    Judged { message, edits, .. }: Judged<'_>,
    id: Option<&Id>,
    answer: &Answer,
) -> Result<(), AppendError> {
    let shared = &connection.shared;
    if let Some(asked) = id.and_then(|id| shared.calls.find(scope, Asker::Server, id)) {
        shared.record_end(&asked, Some(message), outcome_of(&asked, answer), None, edits.to_vec()).await?;
        shared.calls.close(scope, &asked);
        return Ok(());
    }
    // Nobody was seen asking: passed on like any message, and recorded as what it claims to be.
    let note = Note { edits: edits.to_vec(), ..Note::allowed(Phase::ClientResponse, Uuid::now_v7(), None, None, None) };
    shared.record_message(facts, Some(&shared.show(facts, message, Tool::Without)), note).await
}
