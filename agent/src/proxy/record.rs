//! From what the proxy saw to what the log keeps. Of a message that is what [`Shown`] shows: nowhere is a payload written that was
//! not masked.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use http::{HeaderMap, header::USER_AGENT, request::Parts};
use jiff::Timestamp;
use uuid::Uuid;

use super::{
    Shared,
    calls::{Asker, OpenCall},
    flow::FlowContext,
    guards,
    heard::{Heard, Kept},
    inline,
    shown::{Content, Shown},
};
use crate::{
    audit::{
        event::{self, Action, Event, HttpRequest, Mcp, Outcome, Phase, StreamEvents, Verdict, What},
        log::AppendError,
    },
    config::Registered,
    credentials::Used,
    identity::Caller,
    mask::Tool,
    mcp::{Answer, Era, Message, Params, Refusal},
    telemetry::{CallSpan, Carrier, Direction},
};

/// What every record of one HTTP exchange shares.
#[derive(Debug)]
pub(crate) struct ExchangeFacts {
    /// The flow that carried it.
    pub(crate) flow: Arc<FlowContext>,
    /// For whom the flow's workload calls, where that is known.
    pub(crate) caller: Option<Arc<Caller>>,
    /// Whether the caller's token was taken off the request.
    pub(crate) took_token: bool,
    /// The endpoint.
    pub(crate) endpoint: Arc<Registered>,
    /// The name that the application asked for.
    pub(crate) hostname: Option<String>,
    /// The era, told from this request.
    pub(crate) era: Era,
    /// The revision, when the request named one.
    pub(crate) protocol_version: Option<String>,
    /// The session, when the request named one.
    pub(crate) session_id: Option<String>,
    /// The request line.
    pub(crate) http: HttpRequest,
    /// The trace context in the request's headers.
    pub(crate) carrier: Carrier,
    /// What the request is sent with, once that is settled.
    pub(crate) credential: OnceLock<Arc<Used>>,
}

/// What of one message is recorded besides the message.
pub(crate) struct Note<'a> {
    pub(crate) phase: Phase,
    pub(crate) call_id: Uuid,
    pub(crate) method: Option<&'a str>,
    /// The tool that is called, for masks to be chosen by.
    pub(crate) tool: Tool<'a>,
    /// The tool, prompt or resource, already masked.
    pub(crate) name: Option<String>,
    pub(crate) verdict: Verdict,
    pub(crate) outcome: Option<Outcome>,
    pub(crate) duration: Option<Duration>,
    pub(crate) events: Option<StreamEvents>,
    pub(crate) status: Option<u16>,
    pub(crate) edits: Vec<&'static str>,
    /// The session that the call began; otherwise the exchange's own is recorded.
    pub(crate) began_session: Option<&'a str>,
    /// The call's span, which ends with the record that has an outcome.
    pub(crate) span: Option<&'a CallSpan>,
}

impl<'a> Note<'a> {
    /// An allowed message of `phase`.
    pub(crate) fn allowed(
        phase: Phase,
        call_id: Uuid,
        method: Option<&'a str>,
        tool: impl Into<Tool<'a>>,
        name: Option<String>,
    ) -> Self {
        Self {
            phase,
            call_id,
            method,
            tool: tool.into(),
            name,
            verdict: allow(),
            outcome: None,
            duration: None,
            events: None,
            status: None,
            edits: Vec::new(),
            began_session: None,
            span: None,
        }
    }
}

/// Nothing objected.
pub(crate) fn allow() -> Verdict {
    Verdict { action: Action::Allow, policy: None, version: None, reason: None }
}

/// A protocol rule objected.
pub(crate) fn deny(refusal: &Refusal) -> Verdict {
    let policy = refusal.policy.as_deref().unwrap_or(refusal.rule);
    Verdict {
        action: Action::Deny,
        policy: Some(policy.to_owned()),
        version: None,
        reason: Some(refusal.reason.clone()),
    }
}

/// The request line and what is safe to keep of the headers. Of a query the log keeps the names only.
pub(crate) fn http_request(head: &Parts) -> HttpRequest {
    HttpRequest {
        method: head.method.as_str().to_owned(),
        path: head.uri.path_and_query().map_or_else(|| head.uri.path().to_owned(), |path| path.as_str().to_owned()),
        user_agent: header(&head.headers, USER_AGENT.as_str()),
        version: if head.version == http::Version::HTTP_2 { "2" } else { "1.1" },
    }
}

/// A header's value as text, when it is text.
pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.to_str().ok()?.to_owned())
}

impl Shared {
    /// Appends the record of one message and waits until it is durable.
    ///
    /// # Errors
    /// As the log's: the message must then not be passed on.
    pub(crate) async fn record_message(
        &self,
        facts: &ExchangeFacts,
        shown: Option<&Shown<'_>>,
        note: Note<'_>,
    ) -> Result<(), AppendError> {
        if matches!(note.phase, Phase::Request) {
            self.counters.judged(facts.endpoint.name(), note.verdict.action != Action::Allow);
        }
        let mut edits = note.edits;
        if facts.took_token && note.phase == Phase::Request && note.verdict.action == Action::Allow {
            edits.push("authorization");
        }
        let content = shown.map(|shown| shown.content(|text| self.content(text)));
        let Content { params, result, error } = content.unwrap_or_default();
        let mcp = Mcp {
            phase: note.phase,
            call_id: note.call_id,
            outcome: note.outcome,
            method: note.method.map(str::to_owned),
            name: note.name,
            endpoint: facts.endpoint.name().to_owned(),
            era: facts.era,
            protocol_version: facts.protocol_version.clone(),
            session_id: note.began_session.map(str::to_owned).or_else(|| facts.session_id.clone()),
            id: shown.and_then(|shown| shown.message.id()).and_then(|id| self.payloads.excerpt(id.text()).ok()),
            params,
            result,
            error,
            http_status: note.status,
            duration_ms: note.duration.map(|d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX)),
            trace_id: note.span.and_then(CallSpan::trace_id).map(str::to_owned),
            events: note.events,
            edits,
        };
        let call = event::Call {
            workload: facts.flow.workload.clone(),
            caller: facts.caller.clone(),
            route: facts.flow.route(facts.hostname.clone()),
            mcp,
            verdict: note.verdict,
            http: self.masked_http(facts, note.tool),
            masked: shown.map(|shown| shown.masked.counts.clone()).unwrap_or_default(),
            credential: facts.credential.get().cloned(),
        };
        if let Some(span) = note.span.filter(|_| note.outcome.is_some()) {
            span.end(&call);
        }
        let event = Event { time: Timestamp::now(), what: What::Call(Box::new(call)) };
        self.log.append(event).await.map(drop)
    }

    /// Records how a call ended, once.
    ///
    /// # Errors
    /// As the log's: a response must then not be delivered.
    pub(crate) async fn record_end(
        &self,
        call: &OpenCall,
        message: Option<&Message>,
        outcome: Outcome,
        status: Option<u16>,
        mut edits: Vec<&'static str>,
    ) -> Result<(), AppendError> {
        if !call.claim_end() {
            return Ok(());
        }
        if call.has_edited_events() && !edits.contains(&inline::EDIT) {
            edits.push(inline::EDIT);
        }
        if call.has_late_masks() {
            edits.push(inline::LATE);
        }
        let heard = call.take_heard();
        let note = Note {
            phase: match call.asker {
                Asker::Client => Phase::Response,
                Asker::Server => Phase::ClientResponse,
            },
            outcome: Some(outcome),
            duration: Some(call.started.elapsed()),
            events: (heard.count() > 0).then(|| self.stream_events(call, heard)),
            status,
            edits,
            verdict: call.finding.get().map_or_else(allow, guards::verdict),
            began_session: call.session.get().map(String::as_str),
            span: Some(&call.span),
            ..Note::allowed(Phase::Response, call.call_id, Some(&call.method), call.tool(), call.shown_name.clone())
        };
        let shown = message.map(|message| self.show(&call.facts, message, call.tool()));
        let recorded = self.record_message(&call.facts, shown.as_ref(), note).await;
        if recorded.is_err() {
            call.unclaim_end();
        }
        recorded
    }

    /// Appends the record of an HTTP request that is not a message.
    ///
    /// # Errors
    /// As the log's.
    pub(crate) async fn record_http(
        &self,
        facts: &ExchangeFacts,
        request_id: Uuid,
        verdict: Verdict,
        ended: Option<HttpEnd>,
    ) -> Result<(), AppendError> {
        let http = event::Http {
            workload: facts.flow.workload.clone(),
            caller: facts.caller.clone(),
            route: facts.flow.route(facts.hostname.clone()),
            endpoint: facts.endpoint.name().to_owned(),
            request: self.masked_http(facts, Tool::Without),
            request_id,
            verdict,
            credential: facts.credential.get().cloned(),
            status: ended.as_ref().and_then(|end| end.status),
            duration: ended.as_ref().map(|end| end.duration),
            events: ended.map_or(0, |end| end.events),
        };
        let event = Event { time: Timestamp::now(), what: What::Http(Box::new(http)) };
        self.log.append(event).await.map(drop)
    }

    /// Records an HTTP request that is refused as a whole. The refusal stands with or without its record: nothing is sent.
    pub(crate) async fn record_refused(&self, facts: &ExchangeFacts, refusal: &Refusal) {
        if let Err(error) = self.record_http(facts, Uuid::now_v7(), deny(refusal), None).await {
            tracing::error!(%error, rule = refusal.rule, "a refused request could not be recorded");
        }
    }

    /// The span of a call that opens.
    pub(crate) fn span_of(
        &self,
        facts: &ExchangeFacts,
        asker: Asker,
        method: &str,
        shown_name: Option<&str>,
        params: &Params,
    ) -> CallSpan {
        let direction = match asker {
            Asker::Client => Direction::FromClient,
            Asker::Server => Direction::FromServer,
        };
        // A message's own context is nearer to the caller than the request's that carries it (SEP-414).
        let carrier = Carrier { parent: params.trace_parent.clone(), state: params.trace_state.clone() };
        self.telemetry.open(direction, method, shown_name, &carrier.or(&facts.carrier))
    }

    /// What a response's record keeps of the notifications before it.
    fn stream_events(&self, call: &OpenCall, heard: Heard) -> StreamEvents {
        let count = heard.count();
        let (kept, behind) = heard.into_parts();
        let came = kept.iter().filter_map(|kept| match kept {
            Kept::Message(message) => Some(message),
            Kept::Long(_) => None,
        });
        // A message was parsed before it got here, so it is text.
        let texts: Vec<&str> = came.chain(&behind).map(|raw| std::str::from_utf8(raw).unwrap_or_default()).collect();
        let selected = self.masks.for_call(call.facts.endpoint.name(), call.tool());
        let mut masked = selected.apply_all(&texts, &self.mask_key).into_iter();
        let payload = |kept: &Kept| match kept {
            Kept::Message(_) => masked.next().and_then(|masked| self.excerpt(masked.text.as_bytes())),
            Kept::Long(payload) => payload.clone(),
        };
        StreamEvents { count, kept: kept.iter().filter_map(payload).collect() }
    }
}

/// How an HTTP exchange that is not a message ended.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HttpEnd {
    /// The response's status; `None` when there was none.
    pub(crate) status: Option<u16>,
    /// From request to end.
    pub(crate) duration: Duration,
    /// SSE events that a stream carried.
    pub(crate) events: u64,
}

/// How a response's content ends its call.
pub(crate) fn outcome_of(call: &OpenCall, answer: &Answer) -> Outcome {
    match answer {
        Answer::Error(_) if call.was_cancelled() => Outcome::Cancelled,
        Answer::Error(_) => Outcome::Error,
        Answer::Result(_) if answer.is_tool_error() => Outcome::Error,
        Answer::Result(_) => Outcome::Ok,
    }
}
