//! A POST that is not let through: each of its messages gets its record, and the client an answer for each.

use bytes::Bytes;
use http::{Response, request::Parts};
use uuid::Uuid;

use super::{
    body::{Body, BoxError},
    call::legacy_scope,
    calls::{Asker, Scope},
    http::{Connection, refusal_response},
    judge::Judgement,
    record::{ExchangeFacts, Note},
    tools::About,
};
use crate::{
    audit::event::{Outcome, Phase},
    mcp::{self, Asked, Era, Kind, Message, Params, Refusal, refusal},
};

/// Refuses a POST whose messages could not be read.
pub(crate) async fn unread(
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

/// Refuses every message of a POST for one reason.
pub(crate) async fn all(
    connection: &Connection,
    facts: &ExchangeFacts,
    messages: &mcp::Body,
    refusal: &Refusal,
    legacy: Option<&Scope>,
) -> Result<Response<Body>, BoxError> {
    for message in messages.messages() {
        record(connection, facts, message, &Judgement::refused(refusal)).await;
    }
    answer(connection, facts, refusal, &messages.into(), legacy).await
}

/// Refuses every message of a POST, each for its own reason.
pub(crate) async fn each(
    connection: &Connection,
    facts: &ExchangeFacts,
    messages: &mcp::Body,
    judgements: &[Judgement],
    legacy: Option<&Scope>,
) -> Result<Response<Body>, BoxError> {
    let answers = some(connection, facts, messages, judgements).await;
    let Some(first) = judgements.iter().find_map(|judgement| judgement.refusal.as_ref()) else {
        return Err("nothing was refused".into());
    };
    match (messages, facts.era) {
        (mcp::Body::Batch(_), Era::Session) => Ok(refusal_response(refusal::batch_response(&answers))),
        (mcp::Body::Batch(_), Era::Sse) if legacy.is_some() => {
            let events: Vec<u8> = answers.iter().flat_map(|answer| refusal::event(answer)).collect();
            let told = match legacy {
                Some(scope) if !events.is_empty() => connection.shared.legacy.tell(scope, events.into()).await,
                _ => true,
            };
            let asked = messages.into();
            Ok(refusal_response(if told { first.response(Era::Sse, &asked) } else { first.undeliverable(&asked) }))
        }
        _ => answer(connection, facts, first, &messages.into(), legacy).await,
    }
}

/// Records the messages that are refused; returns the answers to those that await one.
pub(crate) async fn some(
    connection: &Connection,
    facts: &ExchangeFacts,
    messages: &mcp::Body,
    judgements: &[Judgement],
) -> Vec<Bytes> {
    let mut answers = Vec::new();
    for (message, judgement) in messages.messages().iter().zip(judgements) {
        let Some(refusal) = &judgement.refusal else { continue };
        record(connection, facts, message, judgement).await;
        answers.extend(refusal.answer(facts.era, &message.into()));
    }
    answers
}

async fn answer(
    connection: &Connection,
    facts: &ExchangeFacts,
    refusal: &Refusal,
    asked: &Asked<'_>,
    legacy: Option<&Scope>,
) -> Result<Response<Body>, BoxError> {
    // A challenge is for the one who posts, not for who listens.
    let Some(scope) = legacy.filter(|_| refusal.challenge.is_none()) else {
        return Ok(refusal_response(refusal.response(facts.era, asked)));
    };
    let told = match refusal.event(asked) {
        None => true,
        Some(event) => connection.shared.legacy.tell(scope, event).await,
    };
    Ok(refusal_response(if told { refusal.response(Era::Sse, asked) } else { refusal.undeliverable(asked) }))
}

async fn record(connection: &Connection, facts: &ExchangeFacts, message: &Message, judgement: &Judgement) {
    let params = Params::of(message);
    let about = |method| connection.shared.task_tools.about(facts, method, params.target.as_deref());
    let about = message.method().map_or(About::Nothing, about);
    let (shown, name) = connection.shared.show_named(facts, message, &params, about.tool());
    let span = match &message.kind {
        Kind::Request { method, .. } => {
            Some(connection.shared.span_of(facts, Asker::Client, method, name.as_deref(), &params))
        }
        Kind::Notification { .. } | Kind::Response { .. } => None,
    };
    let note = Note {
        verdict: judgement.verdict.clone(),
        outcome: Some(Outcome::Refused),
        span: span.as_ref(),
        ..Note::allowed(Phase::Request, Uuid::now_v7(), message.method(), about.tool(), name)
    };
    if let Err(error) = connection.shared.record_message(facts, Some(&shown), note).await {
        // The refusal stands with or without its record: nothing is sent.
        tracing::error!(%error, "a refused call could not be recorded");
    }
}
