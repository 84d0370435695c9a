use super::*;
use crate::mcp::{Answer, Limits, id::tests::id, parse};

const ALL: [Class; 8] = [
    Class::NotJson,
    Class::NotRpc,
    Class::BadParams,
    Class::HeaderMismatch,
    Class::Denied,
    Class::Busy,
    Class::Unrecorded,
    Class::TooLarge,
];

fn refusal(class: Class) -> Refusal {
    Refusal::new("test-rule", class, "a \"reason\"")
}

/// Status and body of the answer.
fn told(class: Class, era: Era, asked: &Asked<'_>) -> (u16, String) {
    let response = refusal(class).response(era, asked);
    let body = String::from_utf8(response.body().to_vec()).unwrap();
    assert_eq!(response.headers().contains_key(CONTENT_TYPE), !body.is_empty());
    (response.status().as_u16(), body)
}

#[test]
fn an_error_is_a_message_for_its_request() {
    let (status, body) =
        told(Class::Denied, Era::Session, &Asked::Request { id: &id(r#""\u0061""#), method: "tools/call" });
    assert_eq!(status, 200);
    let expected = r#"{"jsonrpc":"2.0","id":"\u0061","error":{"code":-31001,"message":"refused by Weir: a \"reason\" (test-rule)","data":{"rule":"test-rule","reason":"a \"reason\""}}}"#;
    assert_eq!(body, expected);
    let Ok(Body::Single(message)) = parse(&body.into(), &Limits::default()) else { panic!("not a message") };
    assert!(matches!(message.kind, Kind::Response { answer: Answer::Error(_), .. }));
}

#[test]
fn a_denied_tool_call_gets_a_result_that_the_model_reads() {
    let id = &id("7");
    let denied = Refusal::by_policy("no-delete".into(), "nothing is deleted");
    let body = |era, asked: &Asked<'_>| String::from_utf8(denied.response(era, asked).body().to_vec()).unwrap();
    let expected = r#"{"jsonrpc":"2.0","id":7,"result":{"content":[{"type":"text","text":"refused by Weir: nothing is deleted (no-delete)"}],"isError":true}}"#;
    assert_eq!(body(Era::Session, &Asked::ToolCall { id }), expected);
    let modern = expected.replace("true}}", "true,\"resultType\":\"complete\"}}");
    assert_eq!(body(Era::Modern, &Asked::ToolCall { id }), modern);
    let event = denied.event(&Asked::ToolCall { id }).unwrap();
    assert_eq!(event, format!("event: message\ndata: {expected}\n\n"));
    let error = body(Era::Session, &Asked::Request { id, method: "prompts/get" });
    assert!(
        error.contains(r#""data":{"rule":"policy","policy":"no-delete","reason":"nothing is deleted"}"#),
        "{error}"
    );
    // What is wrong with a message, or with the agent, is no tool's result.
    assert!(told(Class::Busy, Era::Session, &Asked::ToolCall { id }).1.contains(r#""error""#));

    let message = |params: &str| {
        let text = format!(r#"{{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{params}}}"#);
        parse(&text.into(), &Limits::default()).unwrap()
    };
    assert_eq!(Asked::from(&message(r#"{"name":"a"}"#)), Asked::ToolCall { id });
    let task = message(r#"{"name":"a","task":{"ttl":1}}"#);
    assert_eq!(Asked::from(&task), Asked::Request { id, method: "tools/call" });
}

#[test]
fn statuses_by_era_and_request() {
    let id = &id("7");
    let call = Asked::Request { id, method: "tools/call" };
    let probe = Asked::Request { id, method: "server/discover" };
    let batch = Asked::Batch(vec![id, id]);
    let (nothing, unreadable) = (Asked::Unanswerable, Asked::Unreadable);
    let table = [
        (Class::HeaderMismatch, Era::Modern, &call, 400),
        (Class::NotRpc, Era::Modern, &call, 400),
        (Class::BadParams, Era::Modern, &call, 400),
        (Class::Denied, Era::Modern, &call, 200),
        (Class::Busy, Era::Modern, &call, 200),
        (Class::Unrecorded, Era::Modern, &call, 200),
        (Class::Denied, Era::Modern, &probe, 403),
        (Class::Unrecorded, Era::Modern, &probe, 503),
        (Class::Denied, Era::Modern, &nothing, 403),
        (Class::NotRpc, Era::Modern, &batch, 400),
        (Class::HeaderMismatch, Era::Session, &call, 200),
        (Class::NotRpc, Era::Session, &call, 200),
        (Class::Denied, Era::Session, &call, 200),
        (Class::Denied, Era::Session, &batch, 200),
        (Class::Denied, Era::Session, &nothing, 202),
        (Class::Unrecorded, Era::Session, &nothing, 202),
        (Class::Denied, Era::Sse, &call, 202),
        (Class::Denied, Era::Sse, &nothing, 202),
        (Class::NotJson, Era::Modern, &unreadable, 400),
        (Class::NotJson, Era::Session, &unreadable, 400),
        (Class::NotJson, Era::Sse, &unreadable, 400),
        (Class::TooLarge, Era::Session, &unreadable, 413),
        (Class::Busy, Era::Session, &unreadable, 503),
    ];
    for (class, era, asked, status) in table {
        assert_eq!(told(class, era, asked).0, status, "{class:?} {era:?} {asked:?}");
    }
}

#[test]
fn no_refusal_looks_like_an_older_server_or_asks_for_a_login() {
    let id = &id("7");
    for class in ALL {
        for era in [Era::Modern, Era::Session, Era::Sse] {
            for method in ["tools/call", "server/discover", "initialize"] {
                let (status, body) = told(class, era, &Asked::Request { id, method });
                assert!(![401, 404, 405].contains(&status));
                let sse = status == 202 && era == Era::Sse;
                assert!(sse || body.contains(r#""id":7"#), "{class:?} {era:?}");
            }
        }
    }
}

#[test]
fn own_codes_stand_outside_the_reserved_range() {
    let given = [-32700, -32600, -32602, -32020];
    for class in ALL {
        let code = class.code();
        assert!(given.contains(&code) || !(-32768..=-32000).contains(&code), "{code}");
    }
}

#[test]
fn a_batch_has_an_error_for_each_request() {
    let text = r#"[{"jsonrpc":"2.0","id":1,"method":"a"},{"jsonrpc":"2.0","method":"n"},{"jsonrpc":"2.0","id":"x","method":"b"}]"#;
    let body = parse(&text.into(), &Limits::default()).unwrap();
    let (status, answer) = told(Class::Denied, Era::Session, &Asked::from(&body));
    assert_eq!(status, 200);
    let answers = parse(&answer.into(), &Limits::default()).unwrap();
    let ids: Vec<_> = answers.messages().iter().map(|m| m.id().unwrap().clone()).collect();
    assert_eq!(ids, [id("1"), id("\"x\"")]);

    let silent = parse(&r#"[{"jsonrpc":"2.0","method":"n"}]"#.into(), &Limits::default()).unwrap();
    assert_eq!(Asked::from(&silent), Asked::Unanswerable);
}

#[test]
fn on_the_old_transport_the_error_travels_on_the_stream() {
    let (one, two) = (id("1"), id("2"));
    let event = refusal(Class::Denied).event(&Asked::Batch(vec![&one, &two])).unwrap();
    let mut reader = crate::mcp::SseReader::new(4096);
    reader.push(event).unwrap();
    let read: Vec<_> = std::iter::from_fn(|| reader.next_event()).collect();
    assert_eq!(read.len(), 2);
    assert_eq!(read[1].event.as_ref().unwrap(), "message");
    assert_eq!(*read[1].data.as_ref().unwrap(), refusal(Class::Denied).error(Some(&two)));
    assert_eq!(refusal(Class::Denied).event(&Asked::Unanswerable), None);
    let last_resort = refusal(Class::Denied).undeliverable(&Asked::Request { id: &one, method: "" });
    assert_eq!(last_resort.status(), 403);
}

#[test]
fn an_invalid_body_is_answered_by_what_could_be_read() {
    let invalid = parse(&r#"{"jsonrpc":"1.0","id":7,"method":"a"}"#.into(), &Limits::default()).unwrap_err();
    let refusal = Refusal::from(&invalid);
    assert_eq!((refusal.rule, refusal.class), ("jsonrpc-version", Class::NotRpc));
    assert_eq!(Asked::from(&invalid), Asked::Request { id: &id("7"), method: "" });

    let invalid = parse(&"{".into(), &Limits::default()).unwrap_err();
    let refusal = Refusal::from(&invalid);
    assert_eq!((refusal.rule, refusal.class), ("json-syntax", Class::NotJson));
    assert_eq!(Asked::from(&invalid), Asked::Unreadable);
    assert!(refusal.error(None).starts_with(br#"{"jsonrpc":"2.0","id":null,"#));
}
