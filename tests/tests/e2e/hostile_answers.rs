//! Answers that some client would take for the answer to its call and a careless proxy would not: none reaches the client without
//! the masks of the tool that was called.

use std::sync::Arc;

use serde_json::json;
use weir_tests::{
    fixture::{Agent, Call},
    raw::{
        Wire,
        http1::Http1,
        server::{RawServer, Then, ok},
    },
};

use crate::{
    scene::{GOOD, Scene, post},
    story::tool_call,
};

const SECRET: &str = "the-secret-of-the-tool";

const MASK: &str =
    "[[mask]]\nname = \"m\"\npaths = [\"$..text\"]\ntools = [\"add\"]\nstyle = \"redact\"\ninline = true";

/// A result that tells the secret, under an id.
fn telling(id: &str) -> String {
    format!(r#"{{"jsonrpc":"2.0","id":{id},"result":{{"content":[{{"type":"text","text":"{SECRET}"}}]}}}}"#)
}

/// Has every request answered with this status, type and body; the connection ends behind it.
fn answers(server: &RawServer, status: &str, content_type: &str, body: &str) {
    let head = format!("HTTP/1.1 {status}\r\ncontent-type: {content_type}\r\nconnection: close\r\n\r\n");
    let said = head + body;
    server.answers(Arc::new(move |_: &Http1, wire: &mut dyn Wire| {
        wire.write_all(said.as_bytes())?;
        wire.flush().map(|()| Then::Close)
    }));
}

/// All that a client gets for some bytes, to the end of the connection.
fn heard(scene: &Scene, request: &[u8]) -> String {
    let mut client = scene.client();
    client.send(request).expect("send");
    String::from_utf8_lossy(&client.drain().expect("an end")).into_owned()
}

/// A request that is the last on its connection.
fn closing(request: &[u8]) -> Vec<u8> {
    String::from_utf8_lossy(request).replacen("\r\n", "\r\nconnection: close\r\n", 1).into_bytes()
}

fn call(scene: &Scene) -> String {
    heard(scene, &closing(&post(&tool_call(1, "add", &json!({})))))
}

/// The outcome of the last call.
fn outcome(agent: &Agent<'_>, calls: usize) -> String {
    let ended = |call: &Call| call.response.is_some();
    let log =
        agent.records_once("the call's end", |log| log.tool_calls("add").iter().filter(|c| ended(c)).count() == calls);
    log.tool_calls("add").last().expect("a call").outcome().to_owned()
}

#[test]
fn an_event_is_a_message_whatever_its_name() {
    let scene = Scene::new("event-names");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", MASK);
    scene.enter_scope();
    let names =
        ["", "event:\n", "event\n", "event: message \n", "event: Message\n", "event: other\n", "event: x\nevent:\n"];
    for (at, name) in names.iter().enumerate() {
        answers(&server, "200 OK", "text/event-stream", &format!("{name}data: {}\n\n", telling("1")));
        let said = call(&scene);
        assert!(said.contains("[masked:m]") && !said.contains(SECRET), "{name:?}: {said}");
        assert_eq!(outcome(&agent, at + 1), "ok", "{name:?}");
    }
    // What no client takes for a message passes as it came.
    let events = format!("event: ping\ndata: 12:00\n\nevent: x\ndata: {{}}\n\ndata: {}\n\n", telling("1"));
    answers(&server, "200 OK", "text/event-stream", &events);
    let said = call(&scene);
    assert!(said.contains("data: 12:00") && said.contains("[masked:m]"), "{said}");
    server.answers(ok());
    scene.still_works(&agent, &server);
}

#[test]
fn what_some_client_reads_in_an_event_stream_is_not_delivered() {
    let scene = Scene::new("event-readers");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", MASK);
    scene.enter_scope();
    let message = telling("1");
    let streams = [
        format!("Data: {message}\n\n"),
        format!("data:\r{message}\r\r"),
        format!(": x\u{2028}data: {message}\n\n"),
        format!("event: x\ndata: x\u{85}\u{85}data: {message}\u{85}\n\n"),
        format!("event: endpoint\ndata: {message}\n\n"),
        format!("event: x\ndata: {}\n\n", message.replacen("\"id\"", "\"ID\"", 1)),
    ];
    for stream in streams {
        answers(&server, "200 OK", "text/event-stream", &stream);
        let said = call(&scene);
        assert!(!said.contains(SECRET), "{stream:?}: {said}");
    }
    server.answers(ok());
    scene.still_works(&agent, &server);
}
