//! Real containers, with networks that overlap and lives that are short.

use std::{
    process::{Command, Output},
    thread,
};

use weir_tests::fixture::{Agent, ConfigToml, Container, Seen, Server, ServerKind, Stage};

use crate::world::{DOCKER, curl, namespaces, number, times, until};

/// The same in every container.
const HERE: &str = "10.88.0.2";
const SERVER: &str = "10.88.0.1";

fn run(mut command: Command) -> Output {
    command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"))
}

fn run_curl(container: &Container<'_>, url: &str, who: &str) -> Output {
    let arguments = curl(url, who);
    run(container.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()))
}

/// The names that clients gave themselves.
fn clients_of(server: &Server) -> Vec<String> {
    let name = |seen: &Seen| seen.message()["params"]["clientInfo"]["name"].as_str().map(str::to_owned);
    server.seen().iter().filter_map(name).collect()
}

#[test]
fn overlapping_networks_are_kept_apart() {
    let mut stage = Stage::new("overlap");
    let servers = ["one.test", "two.test"].map(|name| stage.serve(ServerKind::Node, name));
    stage.world().add_hosts(&format!("{SERVER} one.test two.test"));
    let [one, two] = &servers;
    let agent = Agent::start(&stage, &ConfigToml::of(&[one, two]).scope(&[DOCKER]));
    let containers = [stage.container('1').cable(one, HERE, SERVER), stage.container('2').cable(two, HERE, SERVER)];

    thread::scope(|scope| {
        for (container, server) in containers.iter().zip(&servers) {
            scope.spawn(move || {
                let client = run(container.node(&server.url(), container.id()));
                assert!(client.status.success(), "{}: {client:#?}", server.name());
            });
        }
    });
    for (container, server) in containers.iter().zip(&servers) {
        let called = |seen: &&Seen| seen.message()["params"]["arguments"]["text"].is_string();
        let calls: Vec<Seen> = server.seen().into_iter().filter(|seen| called(&seen)).collect();
        assert_eq!(calls.len(), 1, "{}", server.name());
        assert_eq!(calls[0].message()["params"]["arguments"]["text"], container.id());
        assert_eq!(calls[0].peer().to_string(), HERE, "the call left from the container's own network");
        let recorded = agent.records().tool_calls("echo");
        let call = recorded.iter().find(|call| call.request.mcp("endpoint") == server.name()).expect("a record");
        assert_eq!(call.request.workload("kind"), "container");
        assert_eq!(call.request.workload("container")["id"], container.id());
        assert_eq!(call.request.workload("cgroup"), &container.cgroup());
        assert_eq!(call.request.event()["dst_endpoint"]["ip"], SERVER);
    }
    drop(containers);
    until(&agent, "serving", 1);
    agent.verify();
}

#[test]
fn a_container_that_calls_at_once_and_exits_is_recorded_or_denied() {
    const RUNS: usize = 20;
    let mut stage = Stage::new("brief");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    stage.world().add_hosts(&format!("{SERVER} mcp.test"));
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&[DOCKER]));
    let mut answered = Vec::new();
    // Each time a network that nobody has seen before.
    for (letter, n) in ('0'..='9').chain('a'..='f').cycle().zip(0..RUNS) {
        let _ = std::fs::remove_dir_all(stage.world().dir().join(format!("container-{letter}")));
        let container = stage.container(letter).cable(&server, HERE, SERVER);
        let who = format!("client-{n}");
        let output = run_curl(&container, &server.url(), &who);
        match output.status.code() {
            Some(0) => answered.push(who),
            // Denied by the programs, before any packet left.
            Some(7) => {}
            _ => panic!("{output:#?}"),
        }
        server.unplug();
    }
    println!("{} of {RUNS} brief containers were answered; {}; {}", answered.len(), times(&agent), namespaces(&agent));
    assert_eq!(clients_of(&server), answered);
    let calls = agent.records().calls("initialize");
    assert_eq!(calls.len(), answered.len());
    assert!(calls.iter().all(|call| call.request.workload("kind") == "container"));
    assert_eq!(number(&agent, "denied"), (RUNS - answered.len()) as u64, "{}", namespaces(&agent));
    until(&agent, "serving", 1);
    agent.verify();
}
