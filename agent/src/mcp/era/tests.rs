use http::{HeaderName, HeaderValue};

use super::*;
use crate::mcp::{Limits, parse};

type Headers<'a> = &'a [(&'a str, &'a str)];

const MODERN: (&str, &str) = ("mcp-protocol-version", "2026-07-28");
const CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"book","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}"#;
const OLD_CALL: &str = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"book"}}"#;
const BATCH: &str = r#"[{"jsonrpc":"2.0","id":1,"method":"ping"}]"#;
const ANSWER: &str = r#"{"jsonrpc":"2.0","id":1,"result":{}}"#;

fn told(headers: Headers<'_>, body: &str) -> Result<Context, Refusal> {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    classify(&map, &parse(&body.to_owned().into(), &Limits::default()).unwrap())
}

fn rule(headers: Headers<'_>, body: &str) -> &'static str {
    match told(headers, body) {
        Ok(context) if context.era == Era::Modern => "modern",
        Ok(_) => "session",
        Err(refusal) => refusal.rule,
    }
}

#[test]
fn a_modern_request_agrees_with_its_headers() {
    let (method, name) = (("mcp-method", "tools/call"), ("mcp-name", "book"));
    let table: &[(Headers<'_>, &str)] = &[
        (&[MODERN, method, name], "modern"),
        (&[MODERN, method, ("mcp-name", "=?base64?Ym9vaw==?=")], "modern"),
        (&[MODERN, method, name, ("mcp-param-region", "eu"), ("mcp-param-region", "us")], "modern"),
        (&[], "header-version-missing"),
        (&[method, name], "header-version-missing"),
        (&[("mcp-protocol-version", "2026-07-29"), method, name], "header-version"),
        (&[("mcp-protocol-version", "2025-11-25"), method, name], "header-version"),
        (&[("mcp-protocol-version", "2026-07-28, 2026-07-28"), method, name], "header-version"),
        (&[MODERN, MODERN, method, name], "header-duplicate"),
        (&[MODERN, name], "header-method-missing"),
        (&[MODERN, ("mcp-method", "tools/list"), name], "header-method"),
        (&[MODERN, ("mcp-method", "Tools/Call"), name], "header-method"),
        (&[MODERN, method, method, name], "header-duplicate"),
        (&[MODERN, method], "header-name-missing"),
        (&[MODERN, method, ("mcp-name", "delete")], "header-name"),
        (&[MODERN, method, name, ("mcp-name", "delete")], "header-duplicate"),
        (&[MODERN, method, ("mcp-name", "=?base64?Ym9vaw?=")], "header-name-encoding"),
        (&[MODERN, method, ("mcp-name", "bo\u{f6}k")], "header-characters"),
    ];
    for (headers, expected) in table {
        assert_eq!(rule(headers, CALL), *expected, "{headers:?}");
    }
}

#[test]
fn a_header_that_says_modern_needs_a_body_that_does() {
    assert_eq!(rule(&[MODERN, ("mcp-method", "tools/call"), ("mcp-name", "book")], OLD_CALL), "meta-version-missing");
    let malformed = CALL.replace("\"2026-07-28\"", "7");
    assert_eq!(rule(&[MODERN, ("mcp-method", "tools/call"), ("mcp-name", "book")], &malformed), "header-version");
}

#[test]
fn the_modern_era_has_no_batches_and_no_client_responses() {
    assert_eq!(rule(&[MODERN], BATCH), "era-batch");
    assert_eq!(rule(&[], &format!("[{CALL}]")), "era-batch");
    assert_eq!(rule(&[MODERN], ANSWER), "era-client-response");
}

#[test]
fn modern_notifications_need_no_headers_but_may_not_contradict_them() {
    let note = r#"{"jsonrpc":"2.0","method":"notifications/x"}"#;
    assert_eq!(rule(&[MODERN], note), "modern");
    assert_eq!(rule(&[MODERN, ("mcp-method", "notifications/y")], note), "header-method");
}

#[test]
fn sessions_keep_their_rules() {
    let table: &[(Headers<'_>, &str, &str)] = &[
        (&[], OLD_CALL, "session"),
        (&[("mcp-protocol-version", "2025-11-25"), ("mcp-session-id", "s")], OLD_CALL, "session"),
        (&[("mcp-protocol-version", "draft")], OLD_CALL, "session"),
        (&[("mcp-session-id", "a"), ("mcp-session-id", "b")], OLD_CALL, "header-duplicate"),
        (&[], ANSWER, "session"),
        (&[], BATCH, "session"),
        (&[("mcp-protocol-version", "2025-03-26")], BATCH, "session"),
        (&[("mcp-protocol-version", "2025-06-18")], BATCH, "era-batch"),
        (&[("mcp-protocol-version", "2024-11-05")], BATCH, "era-batch"),
        // Mirrored headers beside an older version are held to the body.
        (&[("mcp-method", "tools/call"), ("mcp-name", "book")], OLD_CALL, "session"),
        (&[("mcp-method", "tools/list")], OLD_CALL, "header-method"),
        (&[("mcp-name", "other")], OLD_CALL, "header-name"),
        (&[("mcp-method", "ping")], BATCH, "header-on-batch"),
        (&[("mcp-method", "ping")], ANSWER, "header-on-response"),
    ];
    for (headers, body, expected) in table {
        assert_eq!(rule(headers, body), *expected, "{headers:?} {body}");
    }
}

#[test]
fn the_context_carries_what_was_said() {
    let context = told(&[("mcp-protocol-version", "2025-06-18"), ("mcp-session-id", "s-1")], OLD_CALL).unwrap();
    let expected =
        Context { era: Era::Session, protocol_version: Some("2025-06-18".into()), session_id: Some("s-1".into()) };
    assert_eq!(context, expected);
}

#[test]
fn the_era_is_told_even_of_a_body_that_is_refused() {
    let mut headers = HeaderMap::new();
    assert_eq!(tell(&headers, None), Era::Session);
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("2027-01-01"));
    assert_eq!(tell(&headers, None), Era::Modern);
}
