//! A stream arrives event by event. Each step of the tool waits for a gate that the test opens only once the client has
//! shown the step before: a proxy that held anything back would stop everything.

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, Server, ServerKind, Stage};

use crate::story::{assert_recorded, initialize, stage_with, tool_call};

fn climb_step_by_step(stage: &Stage, server: &Server, client: &Client) {
    let agent = Agent::start(stage, &ConfigToml::of(&[server]));
    let gates = stage.gates("gates");
    let climb = json!({ "gates": gates.path(), "steps": 3 });
    let mut client = client.clone().call("climb", &climb).start(stage, APP);
    for step in 1..=3 {
        let progress = client.until("progress");
        assert_eq!(progress["message"], format!("step {step}"));
        // The request's record is there while the call runs; the response's cannot be.
        let call = agent.records().only_call("climb");
        assert!(call.response.is_none(), "{:?}", call.response);
        gates.open(&step.to_string());
    }
    let transcript = client.finish();
    assert_eq!(transcript.text(), "climbed 3");
    assert_eq!(transcript.of("progress").count(), 3);

    let call = agent.records().only_call("climb");
    assert_recorded(&call, server, "climb", &climb, "climbed 3");
    let events = call.answer().mcp("events");
    assert_eq!(events["count"], 3, "{events}");
    let kept = events["kept"].as_array().expect("the events that were kept");
    let messages: Vec<&Value> = kept.iter().map(|event| &event["params"]["message"]).collect();
    assert_eq!(messages, ["step 1", "step 2", "step 3"]);
    agent.verify();
}

#[test]
fn modern_progress_arrives_event_by_event() {
    let (stage, server) = stage_with(ServerKind::Python, "stream-modern");
    climb_step_by_step(&stage, &server, &Client::python(&server.url()));
}

#[test]
fn session_progress_arrives_event_by_event() {
    let (stage, server) = stage_with(ServerKind::Node, "stream-session");
    climb_step_by_step(&stage, &server, &Client::node(&server.url()));
}

#[test]
fn progress_arrives_event_by_event_over_http_2() {
    let (stage, server) = stage_with(ServerKind::Node, "stream-h2");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let hello = Curl::post(&server.url(), &initialize("2025-06-18")).with(&["--http2"]).run(&stage, APP);
    let session = hello.header("mcp-session-id").expect("a session").to_owned();
    let mut message = tool_call(1, "climb", &json!({ "gates": gates.path(), "steps": 2 }));
    message["params"]["_meta"] = json!({ "progressToken": 7 });
    let mut curl = Curl::post(&server.url(), &message)
        .with(&["--http2"])
        .header("mcp-session-id", &session)
        .header("mcp-protocol-version", "2025-06-18")
        .start(&stage, APP);
    for step in 1..=2 {
        let line = curl.line_with("notifications/progress");
        assert!(line.contains(&format!("step {step}")), "{line}");
        gates.open(&step.to_string());
    }
    curl.line_with("climbed 2");
    assert_eq!(server.seen().last().expect("a request").http_version(), "2.0");
    assert_eq!(
        agent.records_once("the answer", |log| log.only_call("climb").response.is_some()).only_call("climb").outcome(),
        "ok"
    );
}
