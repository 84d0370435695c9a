//! The HTTP+SSE transport of 2024-11-05.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, ServerKind, script};

use crate::story::{assert_recorded, direct_and_through, stage_with};

#[test]
fn python_sdk_1_over_http_sse() {
    let (stage, server) = stage_with(ServerKind::Sse, "sse");
    let client = Client::sse(&server.url())
        .then(script::list())
        .call("add", &json!({ "a": 19, "b": 23 }))
        .call("fail", &json!({}));
    let (direct, through, agent) = direct_and_through(&stage, &server, &client);
    assert!(direct.succeeded, "{direct:#?}");
    assert_eq!(direct, through);

    let records = agent.records();
    let add = records.only_call("add");
    assert_recorded(&add, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
    assert_eq!(add.request.mcp("era"), "sse");
    // Settled on in the answer to `initialize`, whatever was asked for.
    let settled = records.calls("initialize")[0].answer().mcp("result")["protocolVersion"].clone();
    assert_eq!(*add.request.mcp("protocol_version"), settled, "{}", add.request.line);
    let message_path = add.request.mcp("session_id").as_str().unwrap_or_default();
    assert!(message_path.starts_with("/messages/"), "{}", add.request.line);
    assert_eq!(records.only_call("fail").outcome(), "error");
    agent.verify();
}

#[test]
fn progress_arrives_while_the_tool_runs() {
    let (stage, server) = stage_with(ServerKind::Sse, "sse-progress");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let climb = json!({ "gates": gates.path(), "steps": 2 });
    let mut client = Client::sse(&server.url()).call("climb", &climb).start(&stage, APP);
    for step in ["1", "2"] {
        assert_eq!(client.until("progress")["message"], format!("step {step}"));
        gates.open(step);
    }
    assert_eq!(client.finish().text(), "climbed 2");
    let call = agent.records().only_call("climb");
    assert_recorded(&call, &server, "climb", &climb, "climbed 2");
}
