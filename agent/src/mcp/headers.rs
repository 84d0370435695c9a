//! The headers that a modern client mirrors from its body, and the session's.
//!
//! 2026-07-28, "Request Metadata": `MCP-Protocol-Version` and `Mcp-Method` on every request, `Mcp-Name` where the method
//! names something. `Mcp-Param-*` mirror arguments by the tool's schema, which the agent does not hold: they are forwarded
//! untouched, as the specification asks of intermediaries that do not recognise them, and the server checks them.
//! Nothing in the agent decides by them.

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::{Class, Refusal};

/// `MCP-Protocol-Version`.
pub const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
/// `Mcp-Method`.
pub const METHOD: HeaderName = HeaderName::from_static("mcp-method");
/// `Mcp-Name`.
pub const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// `Mcp-Session-Id`.
pub const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// A header that may appear once, in printable ASCII. Two of them, or other characters, are refused: two readers would see
/// two values.
pub fn single<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).iter();
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(mismatch("header-duplicate", format!("the header {name} is sent more than once; send it once")));
    }
    let text = value.to_str().ok().filter(|text| !text.contains('\t'));
    text.map(|text| Some(text.trim_matches(' '))).ok_or_else(|| {
        mismatch("header-characters", format!("the header {name} has characters outside printable ASCII; encode them"))
    })
}

/// `Mcp-Session-Id`, for requests without a body too. Visible ASCII (2025-11-25, "Session Management").
pub fn session_id(headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    single(headers, &SESSION_ID)
}

/// Undoes `=?base64?…?=` (2026-07-28, "Value Encoding"). `None` when the payload is not canonical base64 of UTF-8.
pub fn decode(value: &str) -> Option<String> {
    let Some(payload) = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?=")) else {
        return Some(value.to_owned());
    };
    String::from_utf8(STANDARD.decode(payload).ok()?).ok()
}

/// A value as a header may carry it (2026-07-28, "Value Encoding"): as it is, or in base64 where it could be read otherwise.
pub fn encode(value: &str) -> HeaderValue {
    let is_plain = value.bytes().all(|b| matches!(b, b' '..=b'~'))
        && value.trim_matches(' ').len() == value.len()
        && !(value.starts_with("=?base64?") && value.ends_with("?="));
    let plain = HeaderValue::from_str(value).ok().filter(|_| is_plain);
    let encoded = || HeaderValue::from_str(&format!("=?base64?{}?=", STANDARD.encode(value)));
    // Base64 is always a header's value.
    plain.or_else(|| encoded().ok()).unwrap_or_else(|| HeaderValue::from_static(""))
}

/// A refusal that the modern era has a code for.
pub(crate) fn mismatch(rule: &'static str, reason: impl Into<String>) -> Refusal {
    Refusal::new(rule, Class::HeaderMismatch, reason)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentinels_are_decoded_strictly() {
        let table = [
            ("us-west1", Some("us-west1")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界")),
            ("=?base64?IHBhZGRlZCA=?=", Some(" padded ")),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", Some("=?base64?literal?=")),
            ("=?base64??=", Some("")),
            // Case-sensitive, and only when it ends as it should.
            ("=?BASE64?SGk=?=", Some("=?BASE64?SGk=?=")),
            ("=?base64?SGk=", Some("=?base64?SGk=")),
            ("=?base64?=", Some("=?base64?=")),
            // Not base64, not padded, trailing bits set, not UTF-8.
            ("=?base64?!!!!?=", None),
            ("=?base64?SGk?=", None),
            ("=?base64?SGl=?=", None),
            ("=?base64?/w==?=", None),
        ];
        for (value, expected) in table {
            assert_eq!(decode(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn what_is_encoded_is_decoded_again() {
        for value in ["us-west1", "a b", " padded ", "é", "", "=?base64?literal?=", "a\nb", "\u{7f}"] {
            assert_eq!(decode(encode(value).to_str().unwrap()).as_deref(), Some(value));
        }
        assert_eq!(encode("a b"), "a b");
    }

    #[test]
    fn a_header_is_single_and_printable() {
        let mut headers = HeaderMap::new();
        assert_eq!(session_id(&headers).unwrap(), None);
        headers.insert(SESSION_ID, "abc ".parse().unwrap());
        assert_eq!(session_id(&headers).unwrap(), Some("abc"));
        headers.append(SESSION_ID, "abc".parse().unwrap());
        assert_eq!(session_id(&headers).unwrap_err().rule, "header-duplicate");
        for value in [&b"a\tb"[..], b"\xc3\xa9"] {
            headers.insert(SESSION_ID, HeaderValue::from_bytes(value).unwrap());
            assert_eq!(session_id(&headers).unwrap_err().rule, "header-characters");
        }
    }
}
