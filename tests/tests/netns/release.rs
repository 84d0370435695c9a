//! Namespaces are let go of: when nobody is left in them, and beyond the limit they are not taken.

use std::{fs, process::Command, thread, time::Duration};

use weir_tests::{
    fixture::{APP, Agent, ConfigToml, ServerKind, Stage, eventually},
    world::ip,
};

use crate::world::{curl, idle, namespaces, number, times, until};

/// The network devices here.
fn devices() -> String {
    let output = Command::new("ip").args(["-oneline", "link"]).output().expect("run ip");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn descriptors(agent: &Agent<'_>) -> usize {
    fs::read_dir(format!("/proc/{}/fd", agent.pid())).expect("list descriptors").count()
}

#[test]
fn fifty_namespaces_come_and_go_without_a_trace() {
    let mut stage = Stage::new("release");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    until(&agent, "serving", 1);
    let before = descriptors(&agent);
    for n in 1..=50 {
        let process = idle(&stage, &format!("{APP}/{n}"));
        until(&agent, "opened", n + 1);
        // The cable goes when the namespace does, and not before.
        ip(&format!("link add leak{n} type veth peer name far netns {}", process.0.id()));
    }
    assert!(devices().contains("leak50"));
    until(&agent, "serving", 1);
    eventually("every namespace is gone", || (!devices().contains("leak")).then_some(()));
    eventually("every descriptor is closed", || (descriptors(&agent) <= before).then_some(()));
    let status = namespaces(&agent);
    assert_eq!((&status["opened"], &status["closed"]), (&51.into(), &50.into()), "{status}");
    println!("{}; {status}", times(&agent));
}

#[test]
fn beyond_the_limit_connections_are_denied_and_counted() {
    let mut stage = Stage::new("limit");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let config = ConfigToml::of(&[&server]).and("[limits]\nnamespaces = 4");
    let agent = Agent::start(&stage, &config);
    let refused = |cgroup: &str| {
        let (before, arguments) = (number(&agent, "refused"), curl(&server.url(), "one too many"));
        let mut command = stage.command(cgroup, &["unshare".into()]);
        let denied = command.arg("--net").args(&arguments).output().expect("run curl");
        assert_eq!(denied.status.code(), Some(7), "{denied:#?}");
        assert!(number(&agent, "refused") > before);
    };
    let (greedy, modest) = (format!("{APP}/greedy"), format!("{APP}/modest"));
    // One is the agent's own. One cgroup gets half of all at most, so that something is left for another.
    let first = [idle(&stage, &greedy), idle(&stage, &greedy)];
    until(&agent, "serving", 3);
    refused(&greedy);
    let last = idle(&stage, &modest);
    until(&agent, "serving", 4);
    refused(&format!("{APP}/late"));
    assert_eq!(number(&agent, "serving"), 4);

    drop((first, last));
    until(&agent, "serving", 1);
    // There is room again, once what was let go of has been closed.
    let _another = eventually("another is served", || {
        let process = idle(&stage, &greedy);
        thread::sleep(Duration::from_millis(100));
        (number(&agent, "serving") == 2).then_some(process)
    });
}
