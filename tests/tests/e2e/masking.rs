//! Masks towards the other side: what a rule says `inline` neither the server nor the client gets, and all else arrives byte for
//! byte.

use std::{io, sync::Arc};

use serde_json::{Value, json};
use weir_tests::{
    fixture::Agent,
    raw::{
        Wire,
        http1::Http1,
        server::{Then, write_event_stream, write_json},
    },
};

use crate::scene::{GOOD, Scene, post_bytes};

const CARD: &str = "4929123412341232";
const KEY: &str = "AKIA2OGYBAH6XYZQRSTU";

const INLINE: &str = r#"
[[mask]]
name = "out"
paths = ["$.params.arguments.card", "$.params.name"]
detectors = ["aws_key", "card_number"]
style = "redact"
inline = true
"#;

/// A call by hand, spelled in a way that no program would spell it again.
fn call(headers: &str, meta: &str) -> Vec<u8> {
    let body = format!(
        r#" {{"jsonrpc":"2.0", "id":1,"method":"tools/call","params":{{"name":"pay","arguments":{{ "card" : "{CARD}","n":1.50,"note":"\u00e9 {KEY}"}}{meta}}}}} "#
    );
    post_bytes(body.as_bytes(), headers)
}

fn ask(scene: &Scene, request: &[u8]) -> Http1 {
    scene.client().ask(request).expect("a response").expect("a response")
}

fn only_call(agent: &Agent<'_>) -> (Value, Value) {
    let records = agent.records_once("the end of the call", |records| {
        records.calls("tools/call").iter().any(|call| call.response.is_some())
    });
    let call = records.calls("tools/call").into_iter().next().expect("a call");
    (call.request.event().clone(), call.answer().event().clone())
}

#[test]
fn the_server_gets_the_masked_request_and_its_headers_follow() {
    let scene = Scene::new("inline-request");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", INLINE);
    scene.enter_scope();
    let meta = r#","_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientInfo":{"name":"a","version":"1"},"io.modelcontextprotocol/clientCapabilities":{}}"#;
    let headers = format!(
        "mcp-protocol-version: 2026-07-28\r\nmcp-method: tools/call\r\nmcp-name: pay\r\nmcp-param-card: {CARD}\r\nmcp-param-n: 1.5\r\n"
    );
    assert_eq!(ask(&scene, &call(&headers, meta)).status(), 200);

    let seen = server.seen();
    let body = String::from_utf8_lossy(&seen[0].body);
    let expected = format!(
        r#" {{"jsonrpc":"2.0", "id":1,"method":"tools/call","params":{{"name":"[masked:out]","arguments":{{ "card" : "[masked:out]","n":1.50,"note":"\u00e9 [masked:out/aws_key]"}}{meta}}}}} "#
    );
    assert_eq!(body.trim(), expected.trim());
    assert_eq!(seen[0].header("mcp-name"), Some("[masked:out]"));
    assert_eq!(seen[0].header("mcp-param-card"), Some("[masked:out]"));
    assert_eq!(seen[0].header("mcp-param-n"), Some("1.5"));
    let (request, _) = only_call(&agent);
    assert_eq!(request["mcp"]["edits"], json!(["mask"]), "{request}");
    assert_eq!(request["masked"]["out"], 3, "{request}");
    assert!(agent.files_with(CARD).is_empty() && agent.files_with(KEY).is_empty());
    agent.verify();
}

#[test]
fn a_value_in_two_events_is_masked_in_the_second_and_in_the_record_of_both() {
    let scene = Scene::new("inline-parts");
    let server = scene.serve_good();
    let detectors = INLINE.replace(r#"paths = ["$.params.arguments.card", "$.params.name"]"#, "");
    let agent = scene.agent(&[GOOD], "", &detectors);
    scene.enter_scope();
    let (first, second) = CARD.split_at(9);
    let progress = |text: &str| {
        let params = json!({ "progressToken": "p", "progress": 1, "message": text });
        json!({ "jsonrpc": "2.0", "method": "notifications/progress", "params": params }).to_string()
    };
    let (shown, hidden) = (progress(&format!("charging {first}")), progress(&format!("{second}, please wait")));
    let result = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[]}}"#;
    let stream = format!("data: {shown}\n\ndata: {hidden}\n\ndata: {result}\n\n");
    server.answers(Arc::new(move |_, wire: &mut dyn Wire| -> io::Result<Then> {
        write_event_stream(wire)?;
        wire.write_all(stream.as_bytes())?;
        Ok(Then::Close)
    }));
    let reply = ask(&scene, &call("", r#","_meta":{"progressToken":"p"}"#));
    let masked = progress("[masked:out/card_number:part], please wait");
    let expected = format!("data: {shown}\n\ndata: {masked}\n\ndata: {result}\n\n");
    assert_eq!(String::from_utf8_lossy(&reply.body), expected);

    let (_, answer) = only_call(&agent);
    assert_eq!(answer["mcp"]["edits"], json!(["mask", "mask-late"]), "{answer}");
    let kept = |at: usize| answer["mcp"]["events"]["kept"][at]["params"]["message"].clone();
    assert_eq!(kept(0), "charging [masked:out/card_number:part]", "{answer}");
    assert_eq!(kept(1), "[masked:out/card_number:part], please wait", "{answer}");
    assert!(agent.files_with(first).is_empty());
    agent.verify();
}

#[test]
fn the_client_gets_the_masked_answer_whole_or_streamed() {
    let scene = Scene::new("inline-answer");
    let server = scene.serve_good();
    let agent =
        scene.agent(&[GOOD], "", &INLINE.replace(r#"paths = ["$.params.arguments.card", "$.params.name"]"#, ""));
    scene.enter_scope();
    let embedded = json!({ "card": CARD.parse::<u64>().expect("a number") }).to_string();
    let result = format!(
        r#"{{"jsonrpc":"2.0","id":1,"result":{{ "content":[{{"type":"text","text":{}}}],"n":1e2,"cards":[{CARD}]}}}}"#,
        json!(embedded)
    );
    let expected = r#"{"jsonrpc":"2.0","id":1,"result":{ "content":[{"type":"text","text":"{\"card\":\"[masked:out/card_number]\"}"}],"n":1e2,"cards":["[masked:out/card_number]"]}}"#;

    let whole = result.clone();
    server.answers(Arc::new(move |_, wire: &mut dyn Wire| write_json(wire, &whole).map(|()| Then::KeepAlive)));
    let reply = ask(&scene, &call("", ""));
    assert_eq!(String::from_utf8_lossy(&reply.body), expected);
    assert_eq!(reply.header("content-length"), Some(expected.len().to_string().as_str()));
    let (_, answer) = only_call(&agent);
    assert_eq!(answer["mcp"]["edits"], json!(["mask"]), "{answer}");

    let log =
        format!(r#"{{"jsonrpc":"2.0","method":"notifications/message","params":{{"level":"info","data":"{KEY}"}}}}"#);
    let stream = format!(": hello\n\nid: 7\ndata: {log}\n\nevent: message\ndata: {result}\nid: 8\n\n");
    server.answers(Arc::new(move |_, wire: &mut dyn Wire| -> io::Result<Then> {
        write_event_stream(wire)?;
        wire.write_all(stream.as_bytes())?;
        Ok(Then::Close)
    }));
    let reply = ask(&scene, &call("", ""));
    let log = log.replace(KEY, "[masked:out/aws_key]");
    let expected = format!(": hello\n\nid: 7\ndata: {log}\n\nevent: message\ndata: {expected}\nid: 8\n\n");
    assert_eq!(String::from_utf8_lossy(&reply.body), expected);
    assert!(agent.files_with(CARD).is_empty() && agent.files_with(KEY).is_empty());
    agent.verify();
}
