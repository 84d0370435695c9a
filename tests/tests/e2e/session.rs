//! What only the session era has: the server asks the client, a lost stream is resumed, messages come in batches.

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, OUTSIDE, Record, Records, ServerKind};

use crate::story::{direct_and_through, initialize, stage_with, tool_call};

#[test]
fn what_the_server_asks_and_the_client_answers_is_recorded() {
    let (stage, server) = stage_with(ServerKind::Node, "asks");
    let client = Client::node(&server.url())
        .call("confirm", &json!({ "question": "sure?" }))
        .call("ponder", &json!({ "question": "why?" }));
    let (direct, through, agent) = direct_and_through(&stage, &server, &client);
    assert_eq!(direct, through);
    assert_eq!(through.text(), "the model said forty-two");

    let records = agent.records();
    let (asked, answered) = question(&records, "elicitation/create");
    assert_eq!(asked.mcp("params")["message"], "sure?", "{}", asked.line);
    assert_eq!(answered.mcp("result")["action"], "accept", "{}", answered.line);
    let (asked, answered) = question(&records, "sampling/createMessage");
    assert_eq!(asked.mcp("params")["messages"][0]["content"]["text"], "why?", "{}", asked.line);
    assert_eq!(answered.mcp("result")["content"]["text"], "forty-two", "{}", answered.line);
    // Asked before answered, and both within the call.
    let seq = |record: &Record| record.value["seq"].as_u64();
    let call = records.only_call("ponder");
    assert!(seq(&call.request) < seq(asked) && seq(asked) < seq(answered) && seq(answered) < seq(call.answer()));
    agent.verify();
}

/// The two records of what the server asked by a method.
fn question<'r>(records: &'r Records, method: &'r str) -> (&'r Record, &'r Record) {
    let asked = records.phase("server_request").find(|record| record.mcp("method") == method);
    let asked = asked.unwrap_or_else(|| panic!("{method} in {}", records.summary()));
    let answered = records.phase("client_response").find(|record| record.mcp("call_id") == asked.mcp("call_id"));
    (asked, answered.unwrap_or_else(|| panic!("no answer to {}", asked.line)))
}

#[test]
fn a_stream_that_the_server_closed_is_resumed() {
    let (stage, server) = stage_with(ServerKind::Node, "resume");
    let vanish = |cgroup: &str| {
        let gates = stage.gates(cgroup.trim_start_matches('/'));
        let client = Client::node(&server.url()).call("vanish", &json!({ "gates": gates.path() }));
        let mut client = client.start(&stage, cgroup);
        client.until("progress");
        gates.open("away");
        client.finish()
    };
    let direct = vanish(OUTSIDE);
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let through = vanish(APP);
    assert_eq!(direct, through);
    assert_eq!(through.text(), "finished while nobody listened");
    let resumed = server.seen().iter().filter(|request| request.header("last-event-id").is_some()).count();
    assert_eq!(resumed, 2, "a stream was not resumed");

    let call = agent.records().only_call("vanish");
    assert_eq!(call.outcome(), "ok", "{}", call.answer().line);
    assert_eq!(call.answer().mcp("result")["content"][0]["text"], through.text());
    agent.verify();
}

#[test]
fn each_element_of_a_batch_is_a_call() {
    let (stage, server) = stage_with(ServerKind::Node, "batch");
    let converse = |cgroup| {
        let hello = Curl::post(&server.url(), &initialize("2025-03-26")).run(&stage, cgroup);
        let session = hello.header("mcp-session-id").unwrap_or_default().to_owned();
        let batch = json!([
            tool_call(1, "add", &json!({ "a": 1, "b": 2 })),
            { "jsonrpc": "2.0", "method": "notifications/initialized" },
            tool_call(2, "echo", &json!({ "text": "second" })),
        ]);
        let mut answers =
            Curl::post(&server.url(), &batch).header("mcp-session-id", &session).run(&stage, cgroup).messages();
        answers.sort_by_key(|answer| answer["id"].as_u64());
        answers
    };
    let direct = converse(OUTSIDE);
    assert_eq!(direct.len(), 2, "{direct:#?}");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    assert_eq!(direct, converse(APP));

    let records = agent.records();
    let (add, echo) = (records.only_call("add"), records.only_call("echo"));
    assert_eq!(records.calls("initialize")[0].request.mcp("protocol_version"), "2025-03-26", "{}", records.summary());
    // A batch cannot say it: the session settled on it.
    assert_eq!(add.request.mcp("protocol_version"), "2025-03-26", "{}", add.request.line);
    assert_eq!(add.answer().mcp("result")["content"][0]["text"], "3");
    assert_eq!(echo.answer().mcp("result")["content"][0]["text"], "second");
    assert_ne!(add.request.mcp("call_id"), echo.request.mcp("call_id"));
    let notification = records.phase("request").find(|record| record.mcp("method") == "notifications/initialized");
    assert!(notification.is_some_and(|record| record.mcp("id") == &Value::Null), "{}", records.summary());
    agent.verify();
}
