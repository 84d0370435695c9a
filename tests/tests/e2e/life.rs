//! What the kernel's side does when the agent shows no sign of life, and what the watchdog sees.

use std::process::Command;

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use weir_tests::fixture::{APP, Agent, ConfigToml, Curl, Records, Server, ServerKind, Stage, eventually};

use crate::story::{initialize, stage_with};

fn signal(agent: &Agent<'_>, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(agent.pid()).expect("a process id")), signal).expect("send a signal");
}

fn curl(server: &Server) -> Curl {
    Curl::post(&server.url(), &initialize("2025-06-18"))
}

/// An agent that lets go of the endpoint when it is gone.
fn open_agent<'s>(stage: &'s Stage, server: &Server) -> Agent<'s> {
    Agent::start(stage, &ConfigToml::of(&[server]).intercept("on_failure = \"open\""))
}

fn initialized(records: &Records) -> usize {
    records.calls("initialize").len()
}

fn check<'v>(status: &'v Value, name: &str) -> &'v Value {
    let checks = status["checks"].as_array().expect("checks");
    checks.iter().find(|check| check["name"] == name).expect(name)
}

#[test]
fn without_an_agent_open_lets_through_and_counts_and_closes_again() {
    let (stage, server) = stage_with(ServerKind::Node, "open");
    let mut agent = open_agent(&stage, &server);
    let curl = curl(&server);
    assert_eq!(curl.run(&stage, APP).status, 200);
    assert_eq!(initialized(&agent.records()), 1);

    agent.kill9();
    eventually("it is let through", || (curl.run(&stage, APP).status == 200).then_some(()));
    assert_eq!(curl.run(&stage, APP).status, 200);
    assert_eq!(initialized(&agent.records()), 1, "nobody recorded these");

    agent.restart();
    let records = agent.records_once("what went past", |records| records.life().contains(&"failed_open"));
    let past = records.filter(|record| record.event()["lifecycle"]["kind"] == "failed_open").next().expect("a record");
    assert_eq!(past.event()["lifecycle"]["connections"], 2, "{}", past.line);
    assert!(past.event()["lifecycle"]["since"].as_i64() <= past.event()["lifecycle"]["until"].as_i64());
    assert_eq!(agent.status()["endpoints"][0]["failed_open"], 2);
    assert_eq!(curl.run(&stage, APP).status, 200);
    assert_eq!(initialized(&agent.records()), 2, "closed again");

    // One that hangs is as good as dead, and back when it goes on.
    signal(&agent, Signal::SIGSTOP);
    let through = eventually("it is let through", || {
        let reply = curl.clone().with(&["--max-time", "2"]).run(&stage, APP);
        (reply.status == 200).then_some(reply)
    });
    assert_eq!(through.exit, 0);
    signal(&agent, Signal::SIGCONT);
    let twice = |records: &Records| records.life().iter().filter(|kind| **kind == "failed_open").count() == 2;
    agent.records_once("what went past while it was stopped", twice);
    let before = initialized(&agent.records());
    assert_eq!(curl.run(&stage, APP).status, 200);
    agent.records_once("a call that is taken again", |records| initialized(records) > before);

    // One that is told to stop does not make anybody wait.
    assert!(agent.terminate().success());
    assert_eq!(curl.run(&stage, APP).status, 200);
    agent.restart();
    agent.verify();
}

#[test]
fn closed_denies_at_once_what_a_hanging_agent_would_let_wait() {
    let (stage, server) = stage_with(ServerKind::Node, "hanging");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let curl = curl(&server);
    assert_eq!(curl.run(&stage, APP).status, 200);
    signal(&agent, Signal::SIGSTOP);
    eventually("it is denied", || (curl.clone().with(&["--max-time", "2"]).run(&stage, APP).exit == 7).then_some(()));
    let seen = server.seen().len();
    signal(&agent, Signal::SIGCONT);
    eventually("it is served again", || (curl.run(&stage, APP).status == 200).then_some(()));
    assert!(server.seen().len() > seen);
    assert_eq!(agent.status()["endpoints"][0]["failed_open"], 0);
    agent.verify();
}

#[test]
fn a_link_that_was_detached_is_noticed_and_attached_again() {
    let (stage, server) = stage_with(ServerKind::Node, "watch");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let healthy = |agent: &Agent<'_>, name: &str| check(&agent.status(), name)["ok"] == true;
    eventually("a canary has come", || (check(&agent.status(), "canary")["detail"] == "redirected").then_some(()));
    let links = stage.world().bpffs().join(format!("weir/abi-{}/links", weir::datapath::ABI));
    let detach = Command::new("bpftool").args(["link", "detach", "pinned"]).arg(links.join("weir_connect4")).output();
    let detach = detach.expect("run bpftool");
    assert!(detach.status.success(), "{}", String::from_utf8_lossy(&detach.stderr));

    let watched = |records: &Records| {
        let of = |record: &weir_tests::fixture::Record| record.event()["lifecycle"].clone();
        let life = records.0.iter().map(of).filter(|life| life["kind"] == "watched" && life["check"] == "links");
        life.map(|life| life["healthy"] == true).collect::<Vec<_>>()
    };
    let records = agent.records_once("it was seen, and repaired", |records| watched(records) == [false, true]);
    let seen = records.filter(|record| record.event()["lifecycle"]["healthy"] == false).next().expect("a record");
    assert!(seen.line.contains("weir_connect4"), "{}", seen.line);
    assert!(healthy(&agent, "links") && healthy(&agent, "maps"), "{:#}", agent.status());
    let before = initialized(&agent.records());
    assert_eq!(curl(&server).run(&stage, APP).status, 200);
    assert_eq!(initialized(&agent.records()), before + 1);
    agent.verify();
}

#[test]
fn a_canary_that_does_not_come_back_is_told() {
    let (stage, server) = stage_with(ServerKind::Node, "canary");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let canary = |ok: bool| {
        eventually("the canary tells", || (check(&agent.status(), "canary")["ok"] == ok).then_some(()));
    };
    eventually("a canary has come", || (check(&agent.status(), "canary")["detail"] == "redirected").then_some(()));
    // The redirect leads to the loopback device.
    let loopback = |state: &str| {
        assert!(Command::new("ip").args(["link", "set", "lo", state]).status().is_ok_and(|s| s.success()))
    };
    loopback("down");
    canary(false);
    loopback("up");
    canary(true);
    let kinds = agent.records().life().iter().filter(|kind| **kind == "watched").count();
    assert_eq!(kinds, 2);
    agent.verify();
}

#[test]
fn a_cgroup_that_is_made_again_is_in_scope_again() {
    const SERVICE: &str = "/services/late.service";
    let (stage, server) = stage_with(ServerKind::Node, "made-again");
    let config = ConfigToml::of(&[&server]).scope(&[SERVICE]).intercept("exclude = [\"/services/never.service\"]");
    let agent = Agent::start(&stage, &config);
    let is_there = |there: bool| {
        eventually("it is noticed", || (check(&agent.status(), "scope")["ok"] == there).then_some(()));
    };
    let curl = curl(&server);
    for round in 1..=3 {
        let dir = stage.world().make_cgroup(SERVICE);
        is_there(true);
        assert_eq!(curl.run(&stage, SERVICE).status, 200);
        assert_eq!(initialized(&agent.records()), round, "round {round}");
        eventually("it can be removed", || std::fs::remove_dir(&dir).ok());
        is_there(false);
    }
    let changes = |log: &Records| log.life().iter().filter(|kind| **kind == "watched").count();
    let told = agent.records_once("every change", |log| changes(log) >= 5);
    assert_eq!(changes(&told), 5, "it went three times, and came back twice: {}", told.summary());
    agent.verify();
}
