//! One agent takes over from another under load: no call fails, each is recorded, and the server sees each once.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, Records, Server, ServerKind, eventually};

use crate::story::{initialize, stage_with};

const ROUNDS: usize = 4;

/// How often the server was asked for each text.
fn seen(server: &Server) -> BTreeMap<String, usize> {
    let mut seen = BTreeMap::new();
    for request in server.seen().iter().filter(|request| request.is_call_of("echo")) {
        let text = request.message()["params"]["arguments"]["text"].as_str().expect("a text").to_owned();
        *seen.entry(text).or_default() += 1;
    }
    seen
}

/// How often each text was recorded as asked for and answered.
fn recorded(records: &Records) -> BTreeMap<String, usize> {
    let mut recorded = BTreeMap::new();
    for call in records.tool_calls("echo") {
        assert_eq!(call.outcome(), "ok", "{}", call.request.line);
        let text = call.request.mcp("params")["arguments"]["text"].as_str().expect("a text").to_owned();
        *recorded.entry(text).or_default() += 1;
    }
    recorded
}

#[test]
fn upgrades_under_load_fail_no_call() {
    let (stage, server) = stage_with(ServerKind::Python, "upgrade");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let load = |prefix| Client::python(&server.url()).load(prefix, &gates.gate("stop")).start(&stage, APP);
    let clients = ["one", "two", "three"].map(load);
    let flood = || Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, APP);

    for round in 0..ROUNDS {
        let before = server.seen().len();
        eventually("the load runs", || (server.seen().len() > before + 10).then_some(()));
        let climb = json!({ "gates": stage.gates(&format!("climb-{round}")).path(), "steps": 3 });
        let steps = stage.gates(&format!("climb-{round}"));
        let mut streaming = Client::python(&server.url()).call("climb", &climb).start(&stage, APP);
        streaming.until("progress");
        steps.open("1");
        agent.upgrade_without_waiting();
        // New connections too, all the time.
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_secs(2) {
            let reply = flood();
            assert_eq!((reply.exit, reply.status), (0, 200), "round {round}: {reply:?}\n{}", agent.log());
        }
        agent.wait_until_ready();
        steps.open("2");
        steps.open("3");
        let transcript = streaming.finish();
        assert_eq!(transcript.text(), "climbed 3", "{transcript:#?}");
    }
    let before = server.seen().len();
    eventually("the load runs on", || (server.seen().len() > before + 10).then_some(()));
    gates.open("stop");
    let mut answered = 0;
    for client in clients {
        let transcript = client.finish();
        assert_eq!(transcript.of("interrupted").count(), 0, "{transcript:#?}");
        answered += transcript.of("answered").count();
    }
    for status in agent.former_ended() {
        assert!(status.success(), "a former agent ended with {status}");
    }

    let records = agent.records_once("the end of every former agent", |records| {
        records.life().iter().filter(|kind| **kind == "drained").count() == ROUNDS
    });
    let seen = seen(&server);
    assert_eq!(seen.values().filter(|times| **times != 1).count(), 0, "asked more than once: {seen:?}");
    assert_eq!(seen.len(), answered);
    assert_eq!(recorded(&records), seen, "the log and the server agree");
    let climbs = records.tool_calls("climb");
    assert_eq!(climbs.len(), ROUNDS);
    assert!(climbs.iter().all(|climb| climb.outcome() == "ok"), "{}", records.summary());
    assert_eq!(records.life().iter().filter(|kind| **kind == "took_over").count(), ROUNDS);
    assert_eq!(records.life().iter().filter(|kind| **kind == "recovered").count(), 0, "{}", records.summary());
    agent.verify();
    let status = agent.status();
    assert_eq!(status["log"]["epoch"], ROUNDS + 1);
    assert_eq!(status["endpoints"][0]["denied"], 0, "a connect was denied: {status:#}");
}

#[test]
fn the_command_waits_until_the_new_agent_serves() {
    let (stage, server) = stage_with(ServerKind::Node, "command");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let before = agent.pid();
    // What it starts outlives it, with its output.
    let said = agent.command_apart(&["upgrade"]);
    assert!(said.success(), "{said}");
    let status = agent.status();
    let after = u32::try_from(status["pid"].as_u64().expect("a pid")).expect("a pid");
    assert_ne!(after, before);
    assert!(agent.stopped().success());
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    assert_eq!(curl.run(&stage, APP).status, 200);
    assert!(agent.command(&["status", "--here"]).succeeded, "both are in this mount namespace");

    let pid = nix::unistd::Pid::from_raw(i32::try_from(after).expect("a pid"));
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("stop the new agent");
    eventually("the new agent stops", || (!agent.command(&["status"]).succeeded).then_some(()));
    let none = agent.command(&["upgrade"]);
    assert!(!none.succeeded && none.stderr.contains("no agent is running"), "{none:?}");
}

#[test]
fn what_a_killed_former_agent_left_open_ends_as_unknown() {
    let (stage, server) = stage_with(ServerKind::Python, "former");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let client = Client::python(&server.url()).call("stall", &json!({ "gates": gates.path() })).start(&stage, APP);
    eventually("the tool runs", || gates.is_open("began").then_some(()));
    agent.upgrade();
    let carried = agent.records();
    assert_eq!(carried.only_call("stall").outcome(), "", "it is not settled while it is carried");

    agent.kill9_former();
    let transcript = client.finish();
    assert_eq!(transcript.of("result").count(), 0, "{transcript:#?}");
    let records = agent.records_once("the end of the former agent", |records| records.life().contains(&"drained"));
    assert_eq!(records.only_call("stall").outcome(), "unknown", "{}", records.summary());
    let reply = Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, APP);
    assert_eq!(reply.status, 200, "the new agent serves");
    agent.verify();
}

#[test]
fn when_the_new_agent_dies_the_former_cuts_what_it_cannot_record() {
    let (stage, server) = stage_with(ServerKind::Python, "newdies");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let client = Client::python(&server.url()).call("stall", &json!({ "gates": gates.path() })).start(&stage, APP);
    eventually("the tool runs", || gates.is_open("began").then_some(()));
    agent.upgrade();
    agent.kill9();
    assert!(agent.former_ended().iter().all(|status| !status.success()), "the former agent has nobody to tell");
    let transcript = client.finish();
    assert_eq!(transcript.of("result").count(), 0, "{transcript:#?}");
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    assert_eq!(curl.run(&stage, APP).exit, 7, "closed while nobody serves");

    agent.restart();
    let records = agent.records();
    assert_eq!(records.only_call("stall").outcome(), "unknown", "{}", records.summary());
    assert_eq!(curl.run(&stage, APP).status, 200);
    agent.verify();
}
