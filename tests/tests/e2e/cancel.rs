//! A call that the client cancels, by each era's rule.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Server, ServerKind, Stage, eventually, script};

use crate::story::stage_with;

/// The client cancels once the tool runs; the server must learn of it, and the records say so.
fn cancelled(stage: &Stage, server: &Server, client: Client) {
    let agent = Agent::start(stage, &ConfigToml::of(&[server]));
    let gates = stage.gates("gates");
    let client = client
        .then(script::abandon("stall", &json!({ "gates": gates.path() }), &gates.gate("began")))
        .then(script::wait(&gates.gate("cancelled")));
    let transcript = client.run(stage, APP);
    assert_eq!(transcript.of("abandoned").count(), 1, "{transcript:#?}");
    eventually("the server's tool is cancelled", || gates.is_open("cancelled").then_some(()));

    let ended = agent.records_once("the end of the cancelled call", |log| log.only_call("stall").response.is_some());
    let call = ended.only_call("stall");
    assert_eq!(call.outcome(), "cancelled", "{}", call.answer().line);
    agent.verify();
}

#[test]
fn closing_the_stream_cancels_in_the_modern_era() {
    let (stage, server) = stage_with(ServerKind::Python, "cancel-modern");
    cancelled(&stage, &server, Client::python(&server.url()));
}

#[test]
fn a_notification_cancels_in_the_session_era() {
    let (stage, server) = stage_with(ServerKind::Node, "cancel-session");
    cancelled(&stage, &server, Client::node(&server.url()));
    let notified = |message: serde_json::Value| message["method"] == "notifications/cancelled";
    assert!(server.seen().iter().any(|request| notified(request.message())));
}

#[test]
fn python_cancels_in_the_session_era() {
    let (stage, server) = stage_with(ServerKind::Python, "cancel-python");
    cancelled(&stage, &server, Client::python_session(&server.url()));
}
