//! A stream of server-sent events, passed one by one: each message is recorded before the client can see it, and nothing is
//! held back that is complete.

use std::{collections::BTreeMap, io, pin::Pin, sync::Arc};

use bytes::{Bytes, BytesMut};
use http::{
    Response, Uri,
    header::{CONTENT_ENCODING, CONTENT_LENGTH},
    response,
};
use http_body_util::BodyExt;
use hyper::body::Frame;
use serde::de::IgnoredAny;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::io::StreamReader;
use uuid::Uuid;

use super::{
    answer::{Role, Stream},
    body::{self, Body, BoxError, Feed},
    calls::{Asker, OpenCall, Scope},
    decode::Coding,
    guards, inline, judge,
    receive::reads_as_json_rpc,
    record::{self, ExchangeFacts, Note, outcome_of},
    tools::{self, About},
    upstream::Conn,
};
use crate::{
    audit::{
        event::{Outcome, Phase},
        log::AppendError,
    },
    mask::Tool,
    mcp::{self, Answer, Class, Id, Kind, Message, Params, Refusal, SseEvent, SseReader, legacy::EndpointError},
};

/// Why a stream is not passed to its end.
enum Cut {
    /// The client has gone: its era says what that means for its calls.
    ClientGone,
    /// The server's side broke, or what it sent cannot be passed on.
    Broken(BoxError),
}

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

impl<E: Into<BoxError>> From<E> for Cut {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}

impl Stream {
    /// Starts the task that passes a stream, event by event.
    ///
    /// # Errors
    /// When its content coding is not supported.
    pub(super) async fn pass_events(
        mut self,
        mut head: response::Parts,
        incoming: Body,
        conn: Conn,
    ) -> Result<Response<Body>, BoxError> {
        let source = match Coding::of(&head.headers) {
            Err(error) => {
                self.broke().await;
                return Err(error.into());
            }
            Ok(None) => Source::Plain(incoming),
            Ok(Some(coding)) => {
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
        let passed = tokio::select! {
            passed = self.pass_everything(&mut source, &sender) => passed,
            () = sender.closed() => Err(Cut::ClientGone),
            () = shared.drain.expired() => Err(Cut::Broken("the agent is stopping".into())),
        };
        self.leave_legacy(&sender).await;
        match passed {
            Ok(trailers) => {
                if let Some(trailers) = trailers {
                    let _ = sender.send(Ok(trailers)).await;
                }
                shared.pool.put(&self.server.affinity, conn);
                self.ended().await;
            }
            // Dropping the source tells the server, dropping the calls settles them.
            Err(Cut::ClientGone) => {}
            Err(Cut::Broken(error)) => {
                tracing::debug!(%error, flow = %self.facts.flow.id, "a stream was cut");
                self.ended().await;
                let _ = sender.send(Err(error)).await;
            }
        }
    }

    /// Passes what the agent itself answers, then the stream.
    async fn pass_everything(&mut self, source: &mut Source, sender: &Feed) -> Result<Option<Frame<Bytes>>, Cut> {
        if let Role::Answering(pending) = &mut self.role {
            for answer in std::mem::take(&mut pending.answered) {
                let event = mcp::refusal::event(&answer).into();
                sender.send(Ok(Frame::data(event))).await.map_err(|_| Cut::ClientGone)?;
            }
        }
        self.pass_all(source, sender).await
    }

    /// Passes events until the server ends the stream; returns its trailers.
    async fn pass_all(&mut self, source: &mut Source, sender: &Feed) -> Result<Option<Frame<Bytes>>, Cut> {
        let mut events = SseReader::new(self.shared.config.limits.sse_event_bytes);
        let mut trailers = None;
        while let Some(frame) = source.next().await {
            match frame?.into_data() {
                Ok(chunk) => self.pass_chunk(&mut events, chunk, sender).await?,
                Err(frame) => trailers = Some(frame),
            }
        }
        self.pass_unfinished(events.finish(), sender).await;
        Ok(trailers)
    }

    /// Records and passes the events that `chunk` completes.
    async fn pass_chunk(&mut self, events: &mut SseReader, chunk: Bytes, sender: &Feed) -> Result<(), Cut> {
        events.push(chunk)?;
        while let Some(event) = events.next_event() {
            let changed = self.see(&event, sender).await?;
            sender.send(Ok(Frame::data(changed.unwrap_or(event.raw)))).await.map_err(|_| Cut::ClientGone)?;
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
        let mut seen = ended.push([&rest, &b"\n\n"[..]].concat().into()).map(|()| None).map_err(BoxError::from);
        // One at most is more than an empty line.
        while let (Ok(earlier), Some(event)) = (&seen, ended.next_event()) {
            let earlier = earlier.clone();
            seen = self.see(&event, sender).await.map(|changed| earlier.or(changed));
        }
        match seen {
            Ok(changed) => {
                let _ = sender.send(Ok(Frame::data(changed.unwrap_or(rest)))).await;
            }
            Err(error) => tracing::debug!(%error, flow = %self.facts.flow.id, "an unfinished event was dropped"),
        }
    }

    /// Records what one event says. Returns the event that is delivered in its place, where a rule changed it.
    async fn see(&mut self, event: &SseEvent, sender: &Feed) -> Result<Option<Bytes>, BoxError> {
        if event.is_ambiguous {
            return Err("an event of the stream could be read in more than one way".into());
        }
        if let Role::Listening { exchange, scope, announces, .. } = &mut self.role {
            exchange.count_event();
            if event.is_endpoint() {
                // Clients differ on a second one, and on a path that is not followed here: messages would pass unseen there.
                if std::mem::replace(&mut announces.announced, true) {
                    return Err("the stream announces a second message path".into());
                }
                let announced = announced_scope(&self.facts, event, &announces.base)?;
                self.shared.legacy.add(announced.clone(), sender.clone())?;
                *scope = Some(announced);
            }
        }
        // An empty one primes a resumption.
        let Some(data) = event.data.as_ref().filter(|data| !data.is_empty()) else {
            return Ok(None);
        };
        // Whatever the event's name is: not every client looks at it.
        let messages = match mcp::parse(data, &self.shared.message_limits()) {
            Ok(messages) => messages,
            Err(_) if is_no_message(data) || !event.is_message() && is_no_json(data) => return Ok(None),
            Err(invalid) => return Err(invalid.into()),
        };
        let mut changed = Vec::new();
        for message in messages.messages() {
            changed.extend(self.hear(message).await?.map(|said| (&message.raw, said)));
        }
        let parts: Vec<(&Bytes, &[u8])> = changed.iter().map(|(old, new)| (*old, &new[..])).collect();
        Ok((!parts.is_empty()).then(|| event.with_data(&judge::replace(data, &parts))))
    }

    /// Records one message from the server. Returns the message that is delivered in its place, where a rule changed it.
    pub(super) async fn hear(&mut self, message: &Message) -> Result<Option<Bytes>, Unheard> {
        let endpoint = self.facts.endpoint.name();
        match &message.kind {
            Kind::Response { id, answer } => self.hear_response(message, id.as_ref(), answer).await,
            Kind::Request { id, method, .. } => {
                let denied = guards::server_request(&self.facts, method, id);
                let Some(call) = OpenCall::of(&self.shared, message, Params::of(message), &self.facts, Asker::Server)
                else {
                    return Ok(None);
                };
                let masked = match &denied {
                    Some(_) => None,
                    None => self.shared.inline(endpoint, Tool::Without, &message.raw),
                };
                if let Some(scope) = self.scope() {
                    // A full table costs the join of the two records, not the records.
                    let _ = self.shared.calls.open(scope, &call);
                }
                let (method, shown) = (Some(call.method.as_str()), call.shown_name.clone());
                let note = Note {
                    span: Some(&call.span),
                    verdict: denied.as_ref().map_or_else(record::allow, |(finding, _)| guards::verdict(finding)),
                    edits: edits(denied.is_some(), masked.is_some()),
                    ..Note::allowed(Phase::ServerRequest, call.call_id, method, call.tool(), shown)
                };
                self.shared.record_message(&self.facts, Some(message), note).await?;
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
        call.map_or(About::SomeTool, |call| call.about.clone())
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
            self.shared.record_message(&self.facts, Some(message), note).await?;
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
        let token = message.params().and_then(|params| progress_token(params));
        let names = |call: &&Arc<OpenCall>| token.is_some() && call.progress_token == token;
        pending.calls.iter().find(names).or(pending.calls.first())
    }

    async fn ended(mut self) {
        if let Some(pending) = self.take_pending() {
            pending.stream_ended().await;
        }
    }

    /// No answer will come.
    pub(super) async fn broke(mut self) {
        if let Some(pending) = self.take_pending() {
            pending.broke().await;
        }
    }

    /// The legacy transport's session is its stream: what is open when it ends stays unanswered.
    async fn leave_legacy(&self, stream: &Feed) {
        let Role::Listening { scope: Some(scope @ Scope::Legacy { .. }), .. } = &self.role else { return };
        if !self.shared.legacy.remove(scope, stream) {
            return;
        }
        for call in self.shared.calls.close_scope(scope) {
            self.shared.end(scope, &call, Outcome::Broken).await;
        }
    }
}

/// What was changed of one message, as its record says it.
fn edits(guarded: bool, masked: bool) -> Vec<&'static str> {
    let edits = [(guarded, guards::EDIT), (masked, inline::EDIT)];
    edits.into_iter().filter(|(made, _)| *made).map(|(_, edit)| edit).collect()
}

/// Whether no reader can take an event's data for a message: an object without any of a message's members. Servers of the
/// npm SDK replay the empty object that once primed a stream, and clients pass over it.
fn is_no_message(data: &[u8]) -> bool {
    const MEMBERS: [&str; 5] = ["jsonrpc", "method", "id", "result", "error"];
    serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(data)
        .is_ok_and(|members| !members.keys().any(|key| MEMBERS.contains(&key.to_lowercase().as_str())))
}

/// Whether data is plain text to every reader, such as the path or the time that some named events tell.
fn is_no_json(data: &[u8]) -> bool {
    !reads_as_json_rpc(data) && !mcp::sse::has_odd_line_end(data)
}

fn announced_scope(facts: &ExchangeFacts, event: &SseEvent, base: &Uri) -> Result<Scope, EndpointError> {
    let path = mcp::legacy::endpoint(base, event.data.as_deref().unwrap_or_default()).inspect_err(|error| {
        tracing::warn!(%error, endpoint = facts.endpoint.name(), "a stream is cut: its message path is not followed");
    })?;
    Ok(Scope::Legacy {
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
    Plain(Body),
    Decoded(Pin<Box<dyn AsyncRead + Send>>),
}

impl Source {
    /// The next bytes, or the trailers after the last.
    async fn next(&mut self) -> Option<Result<Frame<Bytes>, BoxError>> {
        match self {
            Self::Plain(body) => Some(body.frame().await?),
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
