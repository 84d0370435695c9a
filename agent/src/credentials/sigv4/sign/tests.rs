use std::{sync::Arc, time::SystemTime};

use aws_credential_types::Credentials as AwsCredentials;
use aws_sigv4::http_request::{PercentEncodingMode, SessionTokenMode};
use serde::Deserialize;

use super::*;
use crate::credentials::{clock::Clock, sigv4::Scope};

/// The published test suite; its source and licence are in the file.
const VECTORS: &str = include_str!("../vectors.json");

#[derive(Deserialize)]
struct Suite {
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    name: String,
    key_id: String,
    secret: String,
    token: Option<String>,
    region: String,
    service: String,
    time: jiff::Timestamp,
    normalize: bool,
    sign_body: bool,
    omit_session_token: bool,
    request: String,
    authorization: String,
}

fn key(keys: AwsCredentials, service: &str, region: &str, time: SystemTime) -> AwsKey {
    let scope = Scope { service: service.into(), region: region.into() };
    AwsKey { keys: Arc::new(keys), scope, clock: Clock::at(time) }
}

#[test]
fn the_published_vectors() {
    let suite: Suite = serde_json::from_str(VECTORS).expect("vectors");
    assert_eq!(suite.vectors.len(), 38);
    for vector in suite.vectors {
        let (head, body) = vector.request.split_once("\n\n").unwrap_or((&vector.request, ""));
        let (start, headers) = head.split_once('\n').unwrap_or((head, ""));
        let (method, rest) = start.split_once(' ').expect("a method");
        let target = rest.trim_end_matches(" HTTP/1.1");
        // A folded line goes on with the value of the line before.
        let unfolded = headers.replace("\n ", " ");
        let mut headers: Vec<(&str, &str)> = unfolded.lines().filter_map(|line| line.split_once(':')).collect();
        let host = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("host")).expect("a host").1;
        let mut settings = SigningSettings::default();
        settings.uri_path_normalization_mode = vector.normalize.into();
        if vector.sign_body {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if vector.omit_session_token {
            settings.session_token_mode = SessionTokenMode::Exclude;
        }
        if target.contains(' ') {
            // HTTP cannot carry such a target (RFC 9112 §3.2): the vector is about what clients make of one.
            assert_eq!(vector.name, "get-space-unnormalized");
            continue;
        }
        if vector.name == "get-space-normalized" {
            // This one's path is encoded already, and not to be encoded twice.
            settings.percent_encoding_mode = PercentEncodingMode::Single;
        }
        headers.retain(|(name, _)| !name.eq_ignore_ascii_case("x-amz-date"));
        let keys = AwsCredentials::new(vector.key_id, vector.secret, vector.token, None, "vectors");
        let key = key(keys, &vector.service, &vector.region, vector.time.into());
        let uri = format!("https://{host}{target}");
        let signed = signature(method, &uri, &headers, SignableBody::Bytes(body.as_bytes()), &key, settings);
        let signed = signed.unwrap_or_else(|error| panic!("{}: {error}", vector.name));
        let authorization = signed.headers().find(|(name, _)| *name == "authorization").map(|(_, value)| value);
        assert_eq!(authorization, Some(vector.authorization.as_str()), "{}", vector.name);
    }
}

fn signed(request: http::request::Builder, service: &str) -> Result<Parts, CredentialError> {
    let mut head = request.body(()).expect("a request").into_parts().0;
    let keys = AwsCredentials::new("AKIDEXAMPLE", "secret", Some("token".into()), None, "test");
    check(&head)?;
    sign(&mut head, "mcp.test:8443", b"{}", &key(keys, service, "us-east-1", SystemTime::UNIX_EPOCH))?;
    Ok(head)
}

fn signed_headers(head: &Parts) -> String {
    let authorization = head.headers["authorization"].to_str().expect("text");
    let (_, rest) = authorization.split_once("SignedHeaders=").expect("signed headers");
    rest.split(',').next().unwrap_or_default().to_owned()
}

#[test]
fn what_matters_is_signed_and_what_hops_change_is_not() {
    let request = http::Request::post("/mcp")
        .header("host", "elsewhere")
        .header("content-type", "application/json")
        .header("accept", "application/json")
        .header("accept", "text/event-stream")
        .header("accept-encoding", "gzip")
        .header("user-agent", "test")
        .header("mcp-session-id", "s")
        .header("mcp-param-city", HeaderValue::from_bytes("Zürich".as_bytes()).expect("a value"))
        .header("x-amzn-bedrock-agentcore-runtime-session-id", "r")
        .header("x-amzn-trace-id", "t")
        .header("x-own", "1");
    let head = signed(request, "bedrock-agentcore").expect("signed");
    let expected = "accept;content-type;host;mcp-session-id;x-amz-date;x-amz-security-token;\
                    x-amzn-bedrock-agentcore-runtime-session-id";
    assert_eq!(signed_headers(&head), expected);
    assert_eq!(head.headers["host"], "mcp.test:8443");
    assert!(head.headers["authorization"].is_sensitive() && head.headers["x-amz-security-token"].is_sensitive());
    assert!(!head.headers.contains_key("x-amz-content-sha256"));
}

#[test]
fn vpc_lattice_is_told_that_the_payload_is_not_signed() {
    let head = signed(http::Request::post("/mcp"), "vpc-lattice-svcs").expect("signed");
    assert_eq!(head.headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
    assert!(signed_headers(&head).contains("x-amz-content-sha256"));
}

#[test]
fn a_query_that_reads_in_two_ways_is_not_signed() {
    for query in ["a=1&b=%20&%C3%A9=%2B", "a&&b=", ""] {
        assert!(signed(http::Request::get(format!("/mcp?{query}")), "lambda").is_ok(), "{query}");
    }
    for query in ["a=b+c", "a=%ff", "a=%zz", "a=%"] {
        let refused = signed(http::Request::get(format!("/mcp?{query}")), "lambda").err();
        assert!(matches!(refused, Some(CredentialError::Unsignable(_))), "{query}: {refused:?}");
    }
}
