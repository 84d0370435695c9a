//! Only what is in scope is touched, and `weir detach` lets go of all of it.

use std::path::PathBuf;

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, OUTSIDE, Record, ServerKind, Stage};

use crate::story::{initialize, stage_with};

#[test]
fn what_is_out_of_scope_is_untouched() {
    let (stage, server) = stage_with(ServerKind::Python, "scope");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let client = Client::python(&server.url()).call("add", &json!({ "a": 19, "b": 23 }));
    assert_eq!(client.run(&stage, OUTSIDE).text(), "42");
    assert_eq!(client.run(&stage, APP).text(), "42");
    let records = agent.records();
    assert_eq!(records.tool_calls("add").len(), 1);
    let strangers: Vec<_> = records.filter(|record| record.workload("cgroup") == OUTSIDE).collect();
    assert!(strangers.is_empty(), "{strangers:?}");
}

#[test]
fn other_destinations_are_untouched() {
    let mut stage = Stage::new("destinations");
    let registered = stage.serve(ServerKind::Node, "mcp.test");
    let other = stage.serve(ServerKind::Node, "other.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&registered]));
    // Trusts the servers' own root only, so what Weir signed would be refused.
    let root = stage.server_ca();
    let root = root.to_str().expect("a path");
    let curl = |server: &weir_tests::fixture::Server| {
        Curl::post(&server.url(), &initialize("2025-06-18")).with(&["--cacert", root]).run(&stage, APP)
    };
    assert_eq!(curl(&other).status, 200);
    // TLS is refused by a client that does not trust the agent: it is there.
    assert_eq!(curl(&registered).exit, 60);
    let untrusting = |record: &Record| record.event()["flow"]["end"] == "client_tls";
    let records = agent.records_once("the refused flow", |log| log.filter(untrusting).count() == 1);
    assert!(records.filter(|record| record.event()["dst_endpoint"]["hostname"] == "other.test").next().is_none());
}

#[test]
fn a_stopped_agent_leaves_the_endpoint_closed_until_detach() {
    let (stage, server) = stage_with(ServerKind::Node, "detach");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    agent.terminate();
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    assert_eq!(curl.run(&stage, APP).exit, 7);
    assert!(pins(&stage).exists());

    agent.command(&["detach"]).ok();
    assert_let_go(&stage, &agent, &curl);
}

#[test]
fn detach_lets_go_while_the_agent_runs() {
    let (stage, server) = stage_with(ServerKind::Node, "detach-running");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    assert_eq!(curl.run(&stage, APP).status, 200);

    agent.command(&["detach"]).ok();
    assert_let_go(&stage, &agent, &curl);
    assert_eq!(agent.records().calls("initialize").len(), 1, "only what came before is recorded");
    assert!(agent.terminate().success());
    agent.verify();

    agent.restart();
    assert_eq!(curl.run(&stage, APP).status, 200);
    assert_eq!(agent.records().calls("initialize").len(), 2, "a restarted agent intercepts again");
    agent.verify();
}

fn pins(stage: &Stage) -> PathBuf {
    stage.world().bpffs().join("weir")
}

/// Nothing is pinned, the application reaches the server itself, and the log says who asked.
fn assert_let_go(stage: &Stage, agent: &Agent<'_>, curl: &Curl) {
    assert!(!pins(stage).exists());
    let root = stage.server_ca();
    let free = curl.clone().with(&["--cacert", root.to_str().expect("a path")]).run(stage, APP);
    assert_eq!(free.status, 200, "{free:#?}");
    let records = agent.records();
    assert_eq!(records.life().last(), Some(&"detached"), "{}", records.summary());
    let detached = records.filter(|record| record.event()["lifecycle"]["kind"] == "detached").last().expect("a record");
    assert_eq!(detached.event()["lifecycle"]["uid"], 0, "{}", detached.line);
    assert!(detached.event()["lifecycle"]["pid"].as_u64().is_some_and(|pid| pid > 1), "{}", detached.line);
    agent.verify();
}
