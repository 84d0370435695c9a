//! Refusals as real SDKs show them: the user reads why, no client falls back to an older era, and the session goes on.

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Record, Server, ServerKind, Stage, Transcript};

/// Room for every message of a handshake, not for this text.
const LIMITS: &str = "[limits]\nrequest_bytes = 8192";

fn long_text() -> Value {
    json!({ "text": "x".repeat(20_000) })
}

/// A refused call between two good ones.
fn script(client: Client) -> Client {
    client.call("add", &json!({ "a": 1, "b": 2 })).call("echo", &long_text()).call("add", &json!({ "a": 3, "b": 4 }))
}

/// The good calls went through, the other was refused in words, and nothing of it reached the server.
fn shows_it_and_goes_on(told: &Transcript, server: &Server, agent: &Agent<'_>) {
    assert!(told.succeeded, "{told:#?}");
    let result =
        |step: u64| told.of("result").find(|event| event["step"] == step).map(|event| &event["content"][0]["text"]);
    assert_eq!((result(0), result(1), result(2)), (Some(&json!("3")), None, Some(&json!("7"))), "{told:#?}");
    let error = told.of("error").find(|event| event["step"] == 1).unwrap_or_else(|| panic!("no error in {told:#?}"));
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("refused by Weir") && message.contains("limits.request_bytes"), "{message}");

    assert!(!server.seen().iter().any(|seen| seen.is_call_of("echo")), "the server saw the refused call");
    let calls = agent.records().tool_calls("add");
    assert!(calls.len() == 2 && calls.iter().all(|call| call.outcome() == "ok"), "{}", agent.records().summary());
    let denied = agent.records().filter(|record| record.event()["verdict"]["action"] == "deny").count();
    assert_eq!(denied, 1, "{}", agent.records().summary());
    agent.verify();
}

/// How often the server saw a method.
fn times(server: &Server, method: &str) -> usize {
    server.seen().iter().filter(|seen| seen.message()["method"] == method).count()
}

#[test]
fn a_modern_client_shows_the_refusal_and_stays_modern() {
    let mut stage = Stage::new("refmodern");
    let server = stage.serve(ServerKind::Python, "py.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(LIMITS));
    let told = script(Client::python(&server.url())).run(&stage, APP);
    shows_it_and_goes_on(&told, &server, &agent);
    assert_eq!(told.of("connected").next().map(|event| &event["protocol"]), Some(&json!("2026-07-28")));
    assert_eq!(times(&server, "initialize"), 0, "no fallback");
}

fn a_session_goes_on(name: &str, kind: ServerKind, client: impl Fn(&str) -> Client) {
    let mut stage = Stage::new(name);
    let server = stage.serve(kind, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(LIMITS));
    let told = script(client(&server.url())).run(&stage, APP);
    shows_it_and_goes_on(&told, &server, &agent);
    assert_eq!(times(&server, "initialize"), 1, "one session");
}

#[test]
fn a_node_client_shows_the_refusal_and_keeps_its_session() {
    a_session_goes_on("refnode", ServerKind::Node, Client::node);
}

#[test]
fn a_python_client_shows_the_refusal_and_keeps_its_session() {
    a_session_goes_on("refpy", ServerKind::Python, Client::python_session);
}

#[test]
fn a_client_of_the_legacy_transport_sees_its_stream_end() {
    let mut stage = Stage::new("refsse");
    let server = stage.serve(ServerKind::Sse, "sse.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(LIMITS));
    let told = script(Client::sse(&server.url())).run(&stage, APP);
    // What could not be read has no id to answer; waiting for ever would be worse than the end of the session.
    assert!(told.of("error").next().is_some(), "{told:#?}");
    assert!(!server.seen().iter().any(|seen| seen.is_call_of("echo")), "the server saw the refused call");
    let denied = |record: &Record| record.event()["verdict"]["policy"] == "request-too-large";
    assert_eq!(agent.records().filter(denied).count(), 1, "{}", agent.records().summary());
    agent.verify();
}

#[test]
fn where_the_server_moves_the_messages_of_the_legacy_transport_they_are_inspected() {
    let mut stage = Stage::new("ssepaths");
    let server = stage.serve(ServerKind::Sse, "sse.test");
    // The messages go to /messages/.
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, "paths = [\"/sse\"]"));
    let told = Client::sse(&server.url()).call("add", &json!({ "a": 1, "b": 2 })).run(&stage, APP);
    assert_eq!(told.text(), "3");
    assert_eq!(agent.records().only_call("add").outcome(), "ok", "{}", agent.records().summary());
    agent.verify();
}

fn a_denied_path_is_refused(name: &str, kind: ServerKind, client: impl Fn(&str) -> Client) {
    let mut stage = Stage::new(name);
    let server = stage.serve(kind, "mcp.test");
    let keys = "paths = [\"/elsewhere\"]\nother_paths = \"deny\"";
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, keys));
    let told = client(&server.url()).call("add", &json!({ "a": 1, "b": 2 })).run(&stage, APP);
    assert!(!told.succeeded && told.of("error").next().is_some(), "{told:#?}");
    assert!(server.seen().is_empty(), "the server saw {:?}", server.seen());
    let denied = |record: &Record| record.event()["verdict"]["policy"] == "other-paths";
    assert!(agent.records().filter(denied).count() > 0, "{}", agent.records().summary());
    agent.verify();
}

#[test]
fn a_path_that_is_denied_is_no_older_server_to_python() {
    a_denied_path_is_refused("pathpy", ServerKind::Python, Client::python);
}

#[test]
fn a_path_that_is_denied_is_no_older_server_to_node() {
    a_denied_path_is_refused("pathnode", ServerKind::Node, Client::node);
}
