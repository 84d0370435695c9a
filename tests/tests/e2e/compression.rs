//! Compressed requests and responses, streams too: passed on as they came, recorded as what they say.

use std::{fs, process::Command};

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, OUTSIDE, ServerKind, Stage};

use crate::story::{assert_recorded, stage_with};

#[test]
fn a_compressed_stream_arrives_event_by_event() {
    let mut stage = Stage::new("gzip-stream");
    let server = stage.serve_with(ServerKind::Python, "mcp.test", true, &["--gzip"]);
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let climb = json!({ "gates": gates.path(), "steps": 3 });
    let mut client = Client::python(&server.url()).call("climb", &climb).start(&stage, APP);
    for step in 1..=3 {
        assert_eq!(client.until("progress")["message"], format!("step {step}"));
        gates.open(&step.to_string());
    }
    assert_eq!(client.finish().text(), "climbed 3");
    let call = agent.records().only_call("climb");
    assert_recorded(&call, &server, "climb", &climb, "climbed 3");
    assert_eq!(call.answer().mcp("events")["count"], 3);
    agent.verify();
}

#[test]
fn a_compressed_response_is_passed_on_compressed() {
    let mut stage = Stage::new("gzip-json");
    let server = stage.serve_with(ServerKind::Python, "mcp.test", true, &["--gzip", "--json"]);
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let curl = modern(Curl::post(&server.url(), &add())).with(&["--compressed"]);
    let (direct, through) = (curl.run(&stage, OUTSIDE), curl.run(&stage, APP));
    assert_eq!(direct.header("content-encoding"), Some("gzip"), "{direct:#?}");
    assert_eq!(through.header("content-encoding"), Some("gzip"), "{through:#?}");
    assert_eq!(direct.message(), through.message());
    let call = agent.records().only_call("add");
    assert_recorded(&call, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
}

#[test]
fn a_compressed_request_is_read_and_passed_on() {
    let (stage, server) = stage_with(ServerKind::Python, "gzip-request");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let plain = stage.world().dir().join("body.json");
    fs::write(&plain, add().to_string()).expect("write a body");
    assert!(Command::new("gzip").arg(&plain).status().expect("run gzip").success());
    let curl =
        modern(Curl::post_file(&server.url(), &plain.with_extension("json.gz"))).header("content-encoding", "gzip");
    let (direct, through) = (curl.run(&stage, OUTSIDE), curl.run(&stage, APP));
    assert_eq!((direct.status, direct.message()), (200, through.message()));
    // The very bytes that the client sent reached the server.
    let lengths: Vec<Value> = server.seen().iter().map(|request| request.0["raw_length"].clone()).collect();
    assert_eq!(lengths[0], lengths[1]);
    assert_eq!(server.seen()[1].header("content-encoding"), Some("gzip"));
    let call = agent.records().only_call("add");
    assert_recorded(&call, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
}

/// A call of the modern era, by hand.
fn add() -> Value {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    });
    let params = json!({ "name": "add", "arguments": { "a": 19, "b": 23 }, "_meta": meta });
    json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params })
}

fn modern(curl: Curl) -> Curl {
    curl.header("mcp-protocol-version", "2026-07-28").header("mcp-method", "tools/call").header("mcp-name", "add")
}
