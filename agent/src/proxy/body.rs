//! HTTP bodies as the proxy passes them: boxed, or fed by a task event by event.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use hyper::body::{Body as HttpBody, Frame};
use tokio::sync::mpsc;

/// Whatever broke a body.
pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

/// A body on its way through.
pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A body of known bytes, with the trailers that came with them.
pub(crate) fn whole(bytes: Bytes, trailers: Option<HeaderMap>) -> Body {
    let body = Full::new(bytes).map_err(|never| match never {});
    match trailers {
        None => body.boxed_unsync(),
        Some(trailers) => body.with_trailers(async move { Some(Ok(trailers)) }).boxed_unsync(),
    }
}

/// A body that was read to its end.
pub(crate) struct Whole {
    /// Its bytes.
    pub(crate) bytes: Bytes,
    /// What followed them.
    pub(crate) trailers: Option<HeaderMap>,
}

/// Reads a body of at most `most` bytes to its end.
///
/// # Errors
/// What broke it, or that it is larger.
pub(crate) async fn collect(mut body: Body, most: usize) -> Result<Whole, BoxError> {
    let (mut bytes, mut trailers) = (BytesMut::new(), None);
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) if data.len() > most - bytes.len() => return Err(LengthLimitError.into()),
            Ok(data) => bytes.extend_from_slice(&data),
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    Ok(Whole { bytes: bytes.freeze(), trailers })
}

/// Larger than it may be.
#[derive(Debug, thiserror::Error)]
#[error("the body is larger than it may be")]
struct LengthLimitError;

/// A body passed on as it comes.
pub(crate) fn passing<B>(body: B) -> Body
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    body.map_err(Into::into).boxed_unsync()
}

/// The task's end of a fed body.
pub(crate) type Feed = mpsc::Sender<Result<Frame<Bytes>, BoxError>>;

/// A body whose frames come from a task. Dropping the body is how the task learns that the reader has gone
/// ([`mpsc::Sender::closed`]).
pub(crate) fn fed() -> (Feed, Body) {
    // One frame in flight: the task waits for the reader, so a slow reader slows the server and nothing piles up here.
    let (sender, receiver) = mpsc::channel(1);
    (sender, Fed(receiver).boxed_unsync())
}

struct Fed(mpsc::Receiver<Result<Frame<Bytes>, BoxError>>);

impl HttpBody for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.0.poll_recv(cx)
    }
}

/// A body passed on as it comes, with something to do when it has ended or was dropped.
pub(crate) fn then(body: Body, at_end: impl FnOnce() + Send + 'static) -> Body {
    Then { body, at_end: AtEnd(Some(Box::new(at_end))) }.boxed_unsync()
}

struct Then {
    body: Body,
    at_end: AtEnd,
}

struct AtEnd(Option<Box<dyn FnOnce() + Send>>);

impl Drop for AtEnd {
    fn drop(&mut self) {
        if let Some(at_end) = self.0.take() {
            at_end();
        }
    }
}

impl HttpBody for Then {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if matches!(polled, Poll::Ready(None)) {
            drop(AtEnd(self.at_end.0.take()));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
