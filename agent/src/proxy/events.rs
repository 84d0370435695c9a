//! A stream of server-sent events, passed one by one: each message is heard before the client can see it, and nothing is held
//! back that is complete.

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

use super::{
    answer::{Role, Stream},
    body::{self, Body, BoxError, Feed},
    calls::Scope,
    decode::Coding,
    judge,
    receive::reads_as_json_rpc,
    record::ExchangeFacts,
    upstream::Conn,
};
use crate::{
    audit::event::Outcome,
    mcp::{self, SseEvent, SseReader, legacy::EndpointError},
};

/// Why a stream is not passed to its end.
enum Cut {
    /// The client has gone: its era says what that means for its calls.
    ClientGone,
    /// The server's side broke, or what it sent cannot be passed on.
    Broken(BoxError),
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
            Err(_) if is_no_message(data) || !event.is_message() && is_something_else(data) => return Ok(None),
            Err(invalid) => return Err(invalid.into()),
        };
        let mut changed = Vec::new();
        for message in messages.messages() {
            changed.extend(self.hear(message).await?.map(|said| (&message.raw, said)));
        }
        let parts: Vec<(&Bytes, &[u8])> = changed.iter().map(|(old, new)| (*old, &new[..])).collect();
        Ok((!parts.is_empty()).then(|| event.with_data(&judge::replace(data, &parts))))
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

/// Whether no reader can take an event's data for a message: an object without any of a message's members. Servers of the
/// npm SDK replay the empty object that once primed a stream, and clients pass over it.
fn is_no_message(data: &[u8]) -> bool {
    const MEMBERS: [&str; 5] = ["jsonrpc", "method", "id", "result", "error"];
    serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(data)
        .is_ok_and(|members| !members.keys().any(|key| MEMBERS.contains(&key.to_lowercase().as_str())))
}

/// Whether data is something else to every reader, such as the path or the time that some named events tell.
fn is_something_else(data: &[u8]) -> bool {
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
