//! What a client is told that must say who calls, as MCP's authorization specification has it: 401 or 403 with
//! `WWW-Authenticate: Bearer` (RFC 6750 §3) and the place of the protected resource's metadata (RFC 9728 §5.1).

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header::WWW_AUTHENTICATE};

/// A challenge. SDKs act on it before they read the body: they look for a token, or a better one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    status: StatusCode,
    header: HeaderValue,
}

impl Challenge {
    /// No token was shown: no error, so that clients begin rather than give up (RFC 6750 §3.1).
    pub fn missing(metadata: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, metadata, None)
    }

    /// The token that was shown is not believed.
    pub fn invalid(metadata: &str, why: &str) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, metadata, Some(("invalid_token", why)))
    }

    /// The token is believed, and not enough.
    pub fn insufficient(metadata: &str, why: &str) -> Self {
        Self::new(StatusCode::FORBIDDEN, metadata, Some(("insufficient_scope", why)))
    }

    fn new(status: StatusCode, metadata: &str, error: Option<(&str, &str)>) -> Self {
        let mut text = format!("Bearer resource_metadata=\"{}\"", quotable(metadata));
        if let Some((error, why)) = error {
            text = format!("{text}, error=\"{error}\", error_description=\"{}\"", quotable(why));
        }
        let header = HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("Bearer"));
        Self { status, header }
    }

    /// 401 or 403.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Makes an answer a challenge, whatever it was before.
    pub(super) fn put(&self, response: &mut Response<Bytes>) {
        *response.status_mut() = self.status;
        response.headers_mut().insert(WWW_AUTHENTICATE, self.header.clone());
    }
}

/// A text as a quoted string holds it, without escapes, which clients read differently.
fn quotable(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ' '..='~') && !matches!(c, '"' | '\\') { c } else { '_' }).collect()
}
