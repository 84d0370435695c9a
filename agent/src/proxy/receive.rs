//! A request's body: read within its limits, its content coding undone.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, request::Parts};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::IgnoredAny;
use tokio::time::timeout;

use super::{
    decode,
    headers::{self, Charset},
    http::{Connection, check_watch},
};
use crate::mcp::{Class, Refusal};

/// How much more of a body that is too large is read before its refusal, in bytes.
const LINGER_BYTES: usize = 64 << 20;

/// How long that may take.
const LINGER: Duration = Duration::from_secs(5);

/// A request body, as it came and as it reads.
pub(crate) struct Received {
    /// The bytes that will be forwarded.
    pub(crate) raw: Bytes,
    /// The same after `Content-Encoding` was undone: what is parsed.
    pub(crate) text: Bytes,
    /// What followed it.
    pub(crate) trailers: Option<HeaderMap>,
}

/// Reads the body within its limits and undoes its content coding.
///
/// # Errors
/// Why not, as the client is told.
pub(crate) async fn receive(
    connection: &Connection,
    head: &Parts,
    mut incoming: Incoming,
) -> Result<Received, Refusal> {
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
    match headers::charset_of(&head.headers) {
        Charset::Utf8 => {}
        Charset::Latin1 if !reads_as_json_rpc(&text) => {}
        Charset::Latin1 | Charset::Other => {
            let reason = "content-type names another charset than UTF-8, by which a server could read another message";
            return Err(Refusal::new("http-charset", Class::NotJson, reason));
        }
    }
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
pub(crate) fn reads_as_json_rpc(text: &[u8]) -> bool {
    // An OAuth form, or nothing at all.
    let Some(first) = text.iter().find(|byte| !byte.is_ascii_whitespace()) else { return false };
    // A zero is a half of UTF-16 and a quarter of UTF-32, which Python's servers tell without a mark.
    if !matches!(first, 0 | b'{' | b'[' | 0x80..) {
        return false;
    }
    match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(text) {
        Ok(members) => members.keys().map(|key| key.to_lowercase()).any(|key| key == "jsonrpc" || key == "method"),
        Err(_) => true,
    }
}
