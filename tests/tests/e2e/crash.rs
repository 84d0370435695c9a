//! The agent dies at any moment: whatever reached the server has its record, and the log still verifies.

use std::{
    collections::HashSet,
    thread,
    time::{Duration, SystemTime},
};

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, Records, Server, ServerKind, eventually};

use crate::story::{initialize, stage_with};

const ROUNDS: usize = 5;

#[test]
fn kill_9_under_load_loses_no_record() {
    let (stage, server) = stage_with(ServerKind::Python, "crash");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let load = |prefix| Client::python(&server.url()).load(prefix, &gates.gate("stop")).start(&stage, APP);
    let clients = ["one", "two", "three"].map(load);

    for _ in 0..ROUNDS {
        let before = texts_seen(&server).len();
        eventually("the load runs", || (texts_seen(&server).len() > before + 10).then_some(()));
        thread::sleep(some_moment());
        agent.kill9();
        agent.restart();
    }
    let before = texts_seen(&server).len();
    eventually("the load runs again", || (texts_seen(&server).len() > before + 10).then_some(()));
    gates.open("stop");
    for client in clients {
        let transcript = client.finish();
        assert!(transcript.of("answered").count() > 0, "{transcript:#?}");
    }

    let records = agent
        .records_once("an end for every call", |log| log.tool_calls("echo").iter().all(|call| call.response.is_some()));
    let recorded = texts_recorded(&records);
    let unrecorded: Vec<_> = texts_seen(&server).into_iter().filter(|text| !recorded.contains(text)).collect();
    assert_eq!(unrecorded, Vec::<String>::new(), "the server saw calls that were never recorded");
    assert_eq!(records.life().iter().filter(|kind| **kind == "started").count(), ROUNDS + 1);
    agent.verify();
}

/// No moment is better than another.
fn some_moment() -> Duration {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Duration::from_micros(u64::from(now.subsec_nanos()) / 1_000 % 300_000)
}

fn texts_seen(server: &Server) -> HashSet<String> {
    let calls = server.seen().into_iter().filter(|request| request.is_call_of("echo"));
    calls.filter_map(|request| request.message()["params"]["arguments"]["text"].as_str().map(str::to_owned)).collect()
}

fn texts_recorded(records: &Records) -> HashSet<String> {
    let text =
        |call: &weir_tests::fixture::Call| call.request.mcp("params")["arguments"]["text"].as_str().map(str::to_owned);
    records.tool_calls("echo").iter().filter_map(text).collect()
}

#[test]
fn a_call_that_was_open_gets_an_unknown_end() {
    let (stage, server) = stage_with(ServerKind::Python, "open-call");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let stall = json!({ "gates": gates.path() });
    let client = Client::python(&server.url()).call("stall", &stall).start(&stage, APP);
    eventually("the tool runs", || gates.is_open("began").then_some(()));
    agent.kill9();
    let transcript = client.finish();
    assert_eq!(transcript.of("result").count(), 0, "{transcript:#?}");
    agent.restart();

    let records = agent.records();
    let call = records.only_call("stall");
    assert_eq!(call.outcome(), "unknown", "{}", records.summary());
    assert_eq!(call.request.workload("id"), call.answer().workload("id"));
    assert!(call.request.value["epoch"].as_u64() < call.answer().value["epoch"].as_u64());
    agent.verify();
}

#[test]
fn a_dead_agent_leaves_the_endpoint_unreachable() {
    let (stage, server) = stage_with(ServerKind::Node, "closed");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    agent.kill9();
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    let refused = curl.run(&stage, APP);
    assert_eq!((refused.exit, refused.status), (7, 0), "connected without a record: {refused:#?}");
    assert_eq!(server.seen().len(), 0);
    agent.restart();
    assert_eq!(curl.run(&stage, APP).status, 200);
    agent.verify();
}
