//! One message from the server: recorded before the client can see it, and held to what the call that it belongs to is held to.

use std::sync::Arc;

use bytes::Bytes;
use uuid::Uuid;

use super::{
    answer::{Role, Stream},
    calls::{Asker, OpenCall, Scope},
    guards, inline, judge,
    record::{self, Note, outcome_of},
    tools::{self, About},
};
use crate::{
    audit::{
        event::{Outcome, Phase},
        log::AppendError,
    },
    mask::Tool,
    mcp::{Answer, Class, Id, Kind, Message, Refusal},
};

/// Why a message of the server is not delivered.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unheard {
    /// It could not be recorded.
    #[error(transparent)]
    Unrecorded(#[from] AppendError),
    /// It answers no call that this answer may be of.
    #[error(transparent)]
    Refused(#[from] Refusal),
}

impl Stream {
    /// Records one message from the server. Returns the message that is delivered in its place, where a rule changed it.
    pub(super) async fn hear(&mut self, message: &Message) -> Result<Option<Bytes>, Unheard> {
        let endpoint = self.facts.endpoint.name();
        match &message.kind {
            Kind::Response { id, answer } => self.hear_response(message, id.as_ref(), answer).await,
            Kind::Request { id, method, .. } => {
                let denied = guards::server_request(&self.facts, method, id);
                let Some((call, said)) = OpenCall::of(&self.shared, message, &self.facts, Asker::Server) else {
                    return Ok(None);
                };
                let masked = match &denied {
                    Some(_) => None,
                    None => self.shared.inline(endpoint, Tool::Without, &message.raw),
                };
                // In no session the answer comes on an exchange that nothing joins to this one.
                if let Some(scope) = self.scope().filter(|scope| scope.outlives_exchange()) {
                    // A full table costs the join of the two records, not the records.
                    let _ = self.shared.calls.open(scope, &call);
                }
                let (method, name) = (Some(call.method.as_str()), call.shown_name.clone());
                let note = Note {
                    span: Some(&call.span),
                    verdict: denied.as_ref().map_or_else(record::allow, |(finding, _)| guards::verdict(finding)),
                    edits: edits(denied.is_some(), masked.is_some()),
                    ..Note::allowed(Phase::ServerRequest, call.call_id, method, call.tool(), name)
                };
                self.shared.record_message(&self.facts, Some(&said), note).await?;
                Ok(denied.map(|(_, instead)| instead).or(masked))
            }
            Kind::Notification { .. } => Ok(self.hear_notification(message)),
        }
    }

    /// Keeps a notification for the record of the call that it belongs to.
    fn hear_notification(&mut self, message: &Message) -> Option<Bytes> {
        let (shared, call) = (Arc::clone(&self.shared), self.call_of_notification(message).cloned());
        let about = self.about_notification(message, call.as_deref());
        let tool = about.tool();
        let endpoint = self.facts.endpoint.name();
        let found = guards::notification(&shared, &self.facts, message);
        let masked = match found {
            Some((_, Some(_))) => None,
            _ => shared.inline_next(&mut self.threads, endpoint, tool, &message.raw),
        };
        if let Some(call) = &call {
            call.note_event(&message.raw, || shared.masked_event(endpoint, tool, &message.raw));
            if let Some((finding, _)) = &found {
                let _ = call.finding.set(finding.clone());
            }
            if let Some((_, is_late)) = &masked {
                call.note_edited_event(*is_late);
            }
        }
        found.and_then(|(_, instead)| instead).or(masked.map(|(said, _)| said))
    }

    /// Whose rules hold for a notification: its task's, its call's, or, where that is not known, every tool's.
    fn about_notification(&self, message: &Message, call: Option<&OpenCall>) -> About {
        if message.method().is_some_and(tools::is_news_of_task) {
            return self.shared.task_tools.of_news(&self.facts, message.params().map(AsRef::as_ref));
        }
        match (&self.role, call) {
            (Role::Answering(pending), Some(call)) if pending.calls.len() == 1 || names(message, call) => {
                call.about.clone()
            }
            _ => About::SomeTool,
        }
    }

    /// Records a response as the end of the call that it answers. One whose call is not known is delivered where a client may
    /// have asked for it: see [`Self::check_owner`].
    async fn hear_response(
        &self,
        message: &Message,
        id: Option<&Id>,
        answer: &Answer,
    ) -> Result<Option<Bytes>, Unheard> {
        let endpoint = self.facts.endpoint.name();
        let checked = self.check_owner(message);
        let Some((scope, call)) = id.and_then(|id| self.asked(id)) else {
            let stray = match &checked {
                Ok(()) => guards::stray(&self.shared, &self.facts, message, answer),
                Err(_) => None,
            };
            let outcome = match answer {
                _ if checked.is_err() => Outcome::Refused,
                Answer::Error(_) => Outcome::Error,
                Answer::Result(_) => Outcome::Ok,
            };
            let (finding, instead) = stray.map_or((None, None), |(finding, instead)| (Some(finding), instead));
            let masked = self.shared.inline(endpoint, Tool::Unknown, instead.as_ref().unwrap_or(&message.raw));
            let allowed = || finding.as_ref().map_or_else(record::allow, guards::verdict);
            let note = Note {
                outcome: Some(outcome),
                verdict: checked.as_ref().err().map_or_else(allowed, record::deny),
                edits: edits(instead.is_some(), masked.is_some()),
                ..Note::allowed(Phase::Response, Uuid::now_v7(), None, Tool::Unknown, None)
            };
            let shown = self.shared.show(&self.facts, message, Tool::Unknown);
            self.shared.record_message(&self.facts, Some(&shown), note).await?;
            return checked.map(|()| masked.or(instead)).map_err(Unheard::from);
        };
        let visible = judge::visible(&self.shared, &call, answer);
        let visible = visible.map(|result| judge::with_result(message, answer, &result));
        let guarded = guards::response(&self.shared, &call, visible.as_ref().unwrap_or(&message.raw)).await;
        let said = guarded.as_ref().or(visible.as_ref()).unwrap_or(&message.raw);
        let masked = self.shared.inline(endpoint, call.tool(), said);
        let mut made = self.edits.clone();
        made.extend(visible.is_some().then_some("catalogue"));
        made.extend(edits(guarded.is_some(), masked.is_some()));
        self.shared.record_end(&call, Some(message), outcome_of(&call, answer), self.status, made).await?;
        self.shared.versions.learn(scope, &call, answer);
        if let (Some(_), Answer::Result(result)) = (call.called_tool(), answer) {
            self.shared.task_tools.learn(&call.facts, &call.about, result);
        }
        self.shared.calls.close(scope, &call);
        Ok(masked.or(guarded).or(visible))
    }

    fn scope(&self) -> Option<&Scope> {
        match &self.role {
            Role::Answering(pending) => Some(&pending.scope),
            Role::Listening { scope, .. } => scope.as_ref(),
            Role::Done => None,
        }
    }

    /// The open call that a response answers: one of this exchange's own, or one of the session's.
    fn asked(&self, id: &Id) -> Option<(&Scope, Arc<OpenCall>)> {
        let scope = self.scope()?;
        let own = match &self.role {
            Role::Answering(pending) => pending.find(id),
            Role::Listening { .. } | Role::Done => None,
        };
        let call = own.or_else(|| self.shared.calls.find(scope, Asker::Client, id))?;
        (!call.has_ended()).then_some((scope, call))
    }

    /// Whether a response may be delivered: it is an open call's; or it is none's and no client takes it for one's, and it may have
    /// been asked for where that was not seen. That is on a stream that the client opened, which may bring again what was brought
    /// before. To a POST itself, only errors come without an id that can be told.
    ///
    /// # Errors
    /// What the client is told.
    pub(super) fn check_owner(&self, message: &Message) -> Result<(), Refusal> {
        let Kind::Response { id, answer } = &message.kind else { return Ok(()) };
        let is_error = matches!(answer, Answer::Error(_));
        let refused = |reason: &str| Err(Refusal::new("answer-unasked", Class::NotRpc, reason));
        let Some(id) = id else { return Ok(()) };
        if self.asked(id).is_some() {
            return Ok(());
        }
        let is_like = |scope: &Scope| self.shared.calls.has_like(scope, Asker::Client, id);
        let is_known = match &self.role {
            Role::Answering(pending) => pending.has_like(id) || is_like(&pending.scope),
            Role::Listening { scope, .. } => scope.as_ref().is_some_and(is_like),
            Role::Done => false,
        };
        match &self.role {
            _ if is_known => refused("the server's answer has an id that is nearly a call's, or was answered before"),
            Role::Answering(_) if !is_error => refused("the server's answer is to another call"),
            Role::Listening { scope: None, resumes: false, .. } if !is_error => {
                refused("the server answers on a stream that is no session's, and resumes nothing")
            }
            _ => Ok(()),
        }
    }

    /// Notifications on a POST's stream belong to the request; of a batch, to the one whose progress token they name.
    fn call_of_notification(&self, message: &Message) -> Option<&Arc<OpenCall>> {
        let Role::Answering(pending) = &self.role else { return None };
        pending.calls.iter().find(|call| names(message, call)).or(pending.calls.first())
    }
}

/// What was changed of one message, as its record says it.
fn edits(guarded: bool, masked: bool) -> Vec<&'static str> {
    let edits = [(guarded, guards::EDIT), (masked, inline::EDIT)];
    edits.into_iter().filter(|(made, _)| *made).map(|(_, edit)| edit).collect()
}

/// Whether a notification names a call's progress token.
fn names(message: &Message, call: &OpenCall) -> bool {
    let token = message.params().and_then(|params| progress_token(params));
    token.is_some() && call.progress_token == token
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
