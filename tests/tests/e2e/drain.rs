//! An orderly stop lets what runs finish.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, Records, ServerKind, eventually, script};

use crate::story::{initialize, stage_with};

#[test]
fn a_stream_outlives_the_order_to_stop() {
    let (stage, server) = stage_with(ServerKind::Python, "drain");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let gates = stage.gates("gates");
    let climb = json!({ "gates": gates.path(), "steps": 3 });
    // Tools are listed first: this SDK would otherwise list them after the call, when nothing new is taken any more.
    let client = Client::python(&server.url()).then(script::list()).call("climb", &climb);
    let mut client = client.start(&stage, APP);
    client.until("progress");
    agent.ask_to_stop();
    let newcomer = Curl::post(&server.url(), &initialize("2025-06-18"));
    eventually("the agent takes nothing new", || (newcomer.run(&stage, APP).exit != 0).then_some(()));
    for step in ["1", "2", "3"] {
        gates.open(step);
    }
    let transcript = client.finish();
    assert_eq!(transcript.text(), "climbed 3");
    assert_eq!(transcript.of("progress").count(), 3);
    assert!(agent.stopped().success(), "the agent did not exit 0");

    let records = agent.records();
    assert_eq!(records.only_call("climb").outcome(), "ok", "{}", records.summary());
    assert_eq!(records.life().last(), Some(&"stopped"), "{}", records.summary());
    agent.verify();
}

#[test]
fn an_idle_agent_stops_at_once_and_says_so() {
    let (stage, server) = stage_with(ServerKind::Node, "stop");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    assert!(agent.terminate().success());
    let records = agent.records();
    assert_eq!(records.life().first(), Some(&"started"), "{}", records.summary());
    assert_eq!(records.life().last(), Some(&"stopped"), "{}", records.summary());
    agent.verify();
    agent.restart();
    assert_eq!(agent.records().0.last().map(|record| record.value["epoch"].clone()), Some(json!(2)));
    agent.verify();
}

#[test]
fn an_order_to_stop_that_comes_during_the_start_is_obeyed_in_order() {
    let (stage, server) = stage_with(ServerKind::Node, "early");
    let mut agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    assert!(agent.terminate().success());
    agent.restart_without_waiting();
    let attached = |records: &Records| records.life().iter().filter(|life| **life == "attached").count() == 2;
    agent.records_once("it has attached, and is not ready yet", attached);
    assert!(agent.terminate().success(), "the signal ended it:\n{}", agent.log());
    assert_eq!(agent.records().life().last(), Some(&"stopped"));
    agent.verify();
}
