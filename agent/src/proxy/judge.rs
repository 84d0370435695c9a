//! The step of a call that asks the policies, and what becomes of their answer: a verdict for the record, a refusal for the
//! client, a list without what its reader may not use.

use bytes::Bytes;
use http::HeaderMap;
use jiff::Timestamp;

use super::{
    Shared,
    aside::aside,
    calls::OpenCall,
    definitions, headers,
    receive::Received,
    record::{self, ExchangeFacts},
};
use crate::{
    audit::event,
    mcp::{self, Answer, Body, Class, Era, Message, Params, Refusal},
    policy::{self, Annotations, Question, annotations::Server, listing},
};

/// What a batch's other messages are told.
const WITH_OTHERS: &str = "another message of the batch is denied, and here a batch is refused whole";

/// What is said of one message.
#[derive(Debug, Clone)]
pub(crate) struct Judgement {
    /// For its record.
    pub(crate) verdict: event::Verdict,
    /// For the client, unless it may go on.
    pub(crate) refusal: Option<Refusal>,
}

/// What becomes of a POST's messages.
#[derive(Debug)]
pub(crate) enum Sentence {
    /// All go on.
    Sent(Vec<Judgement>),
    /// None does.
    Refused(Vec<Judgement>),
    /// Some elements of a batch go on without the others.
    Parted(Vec<Judgement>),
}

impl Judgement {
    /// Nothing objected, and nobody was asked.
    fn unasked() -> Self {
        Self { verdict: record::allow(), refusal: None }
    }

    /// A protocol rule or a limit objected.
    pub(crate) fn refused(refusal: &Refusal) -> Self {
        Self { verdict: record::deny(refusal), refusal: Some(refusal.clone()) }
    }
}

/// Messages that go on, each with its verdict.
#[derive(Debug)]
pub(crate) struct Admitted<'a> {
    pub(crate) messages: Vec<(&'a Message, event::Verdict)>,
    /// What was changed of the body that carried them.
    pub(crate) edits: Vec<&'static str>,
}

/// One of them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Judged<'a> {
    pub(crate) message: &'a Message,
    pub(crate) verdict: &'a event::Verdict,
    pub(crate) edits: &'a [&'static str],
}

impl<'a> Admitted<'a> {
    /// Those that nothing objects to.
    pub(crate) fn of(messages: &'a [Message], judged: &[Judgement]) -> Self {
        let admitted = messages.iter().zip(judged).filter(|(_, judgement)| judgement.refusal.is_none());
        let messages = admitted.map(|(message, judgement)| (message, judgement.verdict.clone())).collect();
        Self { messages, edits: Vec::new() }
    }

    /// Sent in a body that others were taken out of.
    pub(crate) fn without_others(self) -> Self {
        Self { edits: vec!["batch"], ..self }
    }

    /// These as the body that is sent in the place of the whole batch; `headers` are told.
    pub(crate) fn as_batch(&self, headers: &mut HeaderMap, trailers: Option<HeaderMap>) -> Received {
        let elements: Vec<Bytes> = self.messages.iter().map(|(message, _)| message.raw.clone()).collect();
        headers::content_changed(headers);
        let text = mcp::refusal::batch(&elements);
        Received { raw: text.clone(), text, trailers }
    }
}

/// Asks the policies about each message of a POST.
pub(crate) fn messages(shared: &Shared, facts: &ExchangeFacts, body: &Body) -> Sentence {
    let policies = shared.policies.current();
    let judge = |message: &Message| {
        // A response is no use of anything: who asked for it was judged elsewhere.
        let Some(method) = message.method() else { return Judgement::unasked() };
        let judgement = match policies.is_empty() {
            true => Judgement::unasked(),
            false => one(shared, facts, &policies, message, method),
        };
        match (&judgement.refusal, definitions::held(shared, facts, message, method)) {
            (None, Some(refusal)) => Judgement::refused(&refusal),
            _ => judgement,
        }
    };
    let bytes = body.messages().iter().map(|message| message.raw.len()).sum();
    let judgements: Vec<Judgement> = aside(bytes, || body.messages().iter().map(judge).collect());
    let refused = judgements.iter().filter(|judgement| judgement.refusal.is_some()).count();
    match (refused, body) {
        (0, _) => Sentence::Sent(judgements),
        (n, Body::Batch(_)) if n < judgements.len() && facts.era == Era::Session => Sentence::Parted(judgements),
        _ => Sentence::Refused(judgements.into_iter().map(with_others).collect()),
    }
}

fn with_others(judgement: Judgement) -> Judgement {
    match judgement.refusal {
        Some(_) => judgement,
        None => Judgement::refused(&Refusal::new("batch", Class::Denied, WITH_OTHERS)),
    }
}

fn one(
    shared: &Shared,
    facts: &ExchangeFacts,
    policies: &policy::Policies,
    message: &Message,
    method: &str,
) -> Judgement {
    let target = Params::of(message).target;
    let annotations = match (method, &target) {
        ("tools/call", Some(tool)) => shared.catalogue.of(&server(facts), tool),
        _ => Annotations::default(),
    };
    let question = Question {
        target: target.as_deref(),
        params: message.params().map(AsRef::as_ref),
        annotations,
        ..question(facts, method)
    };
    let verdict = policies.judge(&question);
    let policy::Ground { policy, reason, version } = verdict.ground();
    let text = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
    let record =
        |action, reason| event::Verdict { action, policy: text(policy), version: Some(version.to_string()), reason };
    let refusal = |reason: &str| Some(Refusal::by_policy(policy.clone().unwrap_or_else(|| "default".into()), reason));
    match &verdict {
        policy::Verdict::Allow(_) => Judgement { verdict: record(event::Action::Allow, text(reason)), refusal: None },
        policy::Verdict::Deny(_) => {
            let refusal = refusal(reason.as_deref().unwrap_or("a policy denies this"));
            Judgement { verdict: record(event::Action::Deny, text(reason)), refusal }
        }
        policy::Verdict::Hold { group, .. } => {
            let why = reason.as_deref().map(|reason| format!("{reason}: ")).unwrap_or_default();
            let reason = format!("{why}this needs the approval of {group}, and approvals are not available here");
            Judgement { refusal: refusal(&reason), verdict: record(event::Action::Hold, Some(reason)) }
        }
    }
}

/// A list as the workload may see it; `None` where that is as the server sent it. What a server says of its tools is noted on
/// the way.
pub(crate) fn visible(shared: &Shared, call: &OpenCall, answer: &Answer) -> Option<String> {
    let (Some(kind), Answer::Result(result)) = (listing::Kind::of(&call.method), answer) else { return None };
    if !shared.judges {
        return None;
    }
    aside(result.len(), || {
        let page = listing::Page::read(kind, std::str::from_utf8(result).ok()?)?;
        shared.catalogue.learn(&server(&call.facts), page.tools());
        let policies = shared.policies.current();
        if policies.is_empty() {
            return None;
        }
        page.visible_to(&policies, &question(&call.facts, &call.method))
    })
}

/// A message with another result.
pub(crate) fn with_result(message: &Message, answer: &Answer, result: &str) -> Bytes {
    let (Answer::Result(old) | Answer::Error(old)) = answer;
    replace(&message.raw, &[(old, result.as_bytes())])
}

/// A text with some of its parts replaced; the parts are slices of it, in order.
pub(crate) fn replace(text: &Bytes, parts: &[(&Bytes, &[u8])]) -> Bytes {
    let mut replaced = Vec::with_capacity(text.len());
    let mut rest = &text[..];
    for (old, new) in parts {
        let at = (old.as_ptr() as usize).wrapping_sub(rest.as_ptr() as usize);
        let Some((before, after)) = rest.split_at_checked(at) else { continue };
        let Some(after) = after.get(old.len()..) else { continue };
        replaced.extend_from_slice(before);
        replaced.extend_from_slice(new);
        rest = after;
    }
    replaced.extend_from_slice(rest);
    replaced.into()
}

/// What is asked of every message of an exchange.
fn question<'a>(facts: &'a ExchangeFacts, method: &'a str) -> Question<'a> {
    let ExchangeFacts { flow, caller, endpoint, hostname, era, protocol_version, .. } = facts;
    let route = flow.route(None);
    Question {
        principal: flow.principal(),
        caller: caller.as_deref(),
        endpoint: endpoint.name(),
        method,
        target: None,
        params: None,
        era: era.as_str(),
        protocol_version: protocol_version.as_deref(),
        time: Timestamp::now(),
        source: route.src.ip(),
        destination: (route.dst.ip(), route.dst.port()),
        hostname: hostname.as_deref(),
        annotations: Annotations::default(),
    }
}

fn server(facts: &ExchangeFacts) -> Server {
    let path = facts.http.path.split('?').next().unwrap_or_default().to_owned();
    Server { endpoint: facts.endpoint.name().to_owned(), hostname: facts.hostname.clone(), path }
}
