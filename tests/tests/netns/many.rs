//! An agent that starts on a host with many namespaces.

use std::{fs, time::Instant};

use weir_tests::{
    fixture::{APP, Agent, ConfigToml, ServerKind, Stage, eventually},
    world::Running,
};

use crate::{
    footprint::Footprint,
    world::{idle, namespaces, number, times, until},
};

const MANY: usize = 200;
const CGROUPS: usize = 10_000;

#[test]
fn an_agent_serves_two_hundred_namespaces_from_the_start() {
    let mut stage = Stage::new("many");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let config = ConfigToml::of(&[&server]);
    let mut agent = Agent::start(&stage, &config);
    agent.terminate();
    let began = Instant::now();
    agent.restart();
    let quick = began.elapsed();
    let alone = Footprint::of(&agent, &stage);
    agent.terminate();

    for n in MANY..CGROUPS {
        let _ = stage.world().make_cgroup(&format!("{APP}/{}/{n}", n / 100));
    }
    let processes: Vec<Running> = (0..MANY).map(|n| idle(&stage, &format!("{APP}/{n}"))).collect();
    let own = fs::read_link("/proc/thread-self/ns/net").expect("this namespace");
    let there = |process: &Running| fs::read_link(format!("/proc/{}/ns/net", process.0.id())).ok();
    eventually("all are in namespaces of their own", || {
        processes.iter().all(|process| there(process).is_some_and(|netns| netns != own)).then_some(())
    });
    let began = Instant::now();
    agent.restart();
    let ready = began.elapsed();
    assert_eq!(number(&agent, "serving"), MANY as u64 + 1, "{}", namespaces(&agent));
    let listeners = agent.status()["listeners"].as_array().expect("a list").len();
    assert_eq!(listeners, 2 * (MANY + 1));
    let footprint = Footprint::of(&agent, &stage);
    println!("with nothing else there, ready after {quick:?}: {alone}");
    println!("with {MANY} namespaces and {CGROUPS} cgroups, ready after {ready:?}: {footprint}");
    assert!(footprint.maps() >= 12, "its maps are found: {footprint}");
    assert!(footprint.of_maps() < 64 << 20, "what the kernel holds does not grow with cgroups: {footprint}");
    drop(processes);
    eventually("all are let go of", || (number(&agent, "serving") == 1).then_some(()));
}

#[test]
fn a_burst_of_namespaces_is_served() {
    const BURST: u64 = 100;
    let mut stage = Stage::new("burst");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let processes: Vec<Running> = (0..BURST).map(|n| idle(&stage, &format!("{APP}/{n}"))).collect();
    until(&agent, "serving", BURST + 1);
    println!("at once, {}", times(&agent));
    assert_eq!(number(&agent, "lost"), 0, "{}", namespaces(&agent));
    drop(processes);
    until(&agent, "serving", 1);
}
