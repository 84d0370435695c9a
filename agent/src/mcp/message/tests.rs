use proptest::prelude::*;

use super::*;
use crate::mcp::{id::tests::id, json::tests::any_json};

fn try_parse(text: &str) -> Result<Body, Invalid> {
    parse(&Bytes::copy_from_slice(text.as_bytes()), &Limits { depth: 20, batch: 3 })
}

/// One letter a message: Request, Notification, result (O for ok), Error.
fn shape(text: &str) -> Result<String, &'static str> {
    let letter = |m: &Message| match &m.kind {
        Kind::Request { .. } => 'R',
        Kind::Notification { .. } => 'N',
        Kind::Response { answer: Answer::Result(_), .. } => 'O',
        Kind::Response { answer: Answer::Error(_), .. } => 'E',
    };
    try_parse(text).map(|body| body.messages().iter().map(letter).collect()).map_err(|e| e.rule())
}

#[test]
fn each_kind_is_told_by_its_members() {
    let table = [
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#, Ok("R")),
        (r#" {"method":"ping","params":{},"id":"a","jsonrpc":"2.0"} "#, Ok("R")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"ping","params":null}"#, Ok("R")),
        (r#"{"jsonrpc":"2\u002e0","id":1,"method":"p\u0069ng"}"#, Ok("R")),
        (r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#, Ok("N")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{}}"#, Ok("O")),
        (r#"{"jsonrpc":"2.0","id":1,"result":null}"#, Ok("O")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":null}"#, Ok("O")),
        (r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":""}}"#, Ok("E")),
        (r#"{"jsonrpc":"2.0","id":1,"error":{},"result":null}"#, Ok("E")),
        (r#"{"jsonrpc":"2.0","id":null,"error":{}}"#, Ok("E")),
        (r#"{"jsonrpc":"2.0","error":{}}"#, Ok("E")),
        (r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"b"}]"#, Ok("RN")),
        // The same id in both directions is two calls.
        (r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","id":1,"result":{}}]"#, Ok("RO")),
        ("1", Err("jsonrpc-not-an-object")),
        ("\"jsonrpc\"", Err("jsonrpc-not-an-object")),
        ("{}", Err("jsonrpc-version")),
        (r#"{"id":1,"method":"ping"}"#, Err("jsonrpc-version")),
        (r#"{"jsonrpc":"1.0","id":1,"method":"ping"}"#, Err("jsonrpc-version")),
        (r#"{"jsonrpc":2.0,"id":1,"method":"ping"}"#, Err("jsonrpc-version")),
        (r#"{"jsonrpc":"2.0"}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":1}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":1,"result":{},"error":{}}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":1,"result":null,"error":null}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":1,"error":null}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","result":null}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":1,"params":{},"result":{}}"#, Err("jsonrpc-kind")),
        (r#"{"jsonrpc":"2.0","id":null,"method":"a"}"#, Err("jsonrpc-id")),
        (r#"{"jsonrpc":"2.0","id":1.5,"method":"a"}"#, Err("jsonrpc-id")),
        (r#"{"jsonrpc":"2.0","id":[1],"method":"a"}"#, Err("jsonrpc-id")),
        (r#"{"jsonrpc":"2.0","id":null,"result":{}}"#, Err("jsonrpc-id")),
        (r#"{"jsonrpc":"2.0","id":{},"error":{}}"#, Err("jsonrpc-id")),
        (r#"{"jsonrpc":"2.0","result":{}}"#, Err("jsonrpc-id")),
        (r#"{"jsonrpc":"2.0","id":1,"method":7}"#, Err("jsonrpc-method")),
        (r#"{"jsonrpc":"2.0","id":1,"method":null}"#, Err("jsonrpc-method")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":[1]}"#, Err("jsonrpc-params")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","params":"x"}"#, Err("jsonrpc-params")),
        (r#"{"jsonrpc":"2.0","id":1,"method":"a","extra":1}"#, Err("jsonrpc-unknown-member")),
        ("[]", Err("jsonrpc-empty-batch")),
        ("[1]", Err("jsonrpc-not-an-object")),
        ("[[]]", Err("jsonrpc-not-an-object")),
        ("[1,1,1,1]", Err("jsonrpc-long-batch")),
        (
            r#"[{"jsonrpc":"2.0","id":"a","method":"a"},{"jsonrpc":"2.0","id":"\u0061","method":"b"}]"#,
            Err("jsonrpc-duplicate-id"),
        ),
        (r#"{"jsonrpc":"2.0","id":1,"id":2,"method":"a"}"#, Err("json-duplicate-key")),
    ];
    for (text, expected) in table {
        assert_eq!(shape(text), expected.map(str::to_owned), "{text}");
    }
}

#[test]
fn parts_are_slices_of_the_body() {
    let body = Bytes::from_static(br#" {"jsonrpc":"2.0","id" : "x","method":"a","params": {"n":1.50} }  "#);
    let Ok(Body::Single(message)) = parse(&body, &Limits::default()) else { panic!("not taken") };
    assert_eq!(message.id(), Some(&id("\"x\"")));
    assert_eq!(message.params().unwrap(), r#"{"n":1.50}"#);
    assert_eq!(message.raw, body.slice(1..body.len() - 2));
    let inside = |part: &Bytes| body.as_ptr_range().contains(&part.as_ptr());
    assert!(inside(&message.raw) && inside(message.params().unwrap()) && inside(message.id().unwrap().text()));
}

#[test]
fn a_broken_envelope_still_names_its_id() {
    let invalid = try_parse(r#"{"jsonrpc":"1.0","id":7,"method":"a"}"#).unwrap_err();
    assert_eq!(invalid, Invalid::Envelope { fault: Fault::Version, id: Some(id("7")) });
    let invalid = try_parse(r#"[{"jsonrpc":"1.0","id":7,"method":"a"}]"#).unwrap_err();
    assert_eq!(invalid, Invalid::Envelope { fault: Fault::Version, id: None });
}

proptest! {
    #[test]
    fn any_params_come_back_as_written(params in any_json(), method in ".{0,12}", number in any::<i64>()) {
        let params = serde_json::json!({ "x": params }).to_string();
        let method_text = serde_json::to_string(&method).unwrap();
        let text = format!(r#"{{"jsonrpc":"2.0","id":{number},"method":{method_text},"params":{params}}}"#);
        let Ok(Body::Single(message)) = try_parse(&text) else { return Err(TestCaseError::fail("not taken")) };
        prop_assert_eq!(message.method(), Some(&*method));
        prop_assert_eq!(message.params().unwrap(), params.as_bytes());
        prop_assert_eq!(message.raw, text.as_bytes());
    }

    #[test]
    fn any_bytes_are_taken_or_refused(bytes in "[\\[\\]{}:,\"a-e0-9. ]{0,40}") {
        let _ = shape(&bytes).map(|letters| assert!(!letters.is_empty()));
    }
}
