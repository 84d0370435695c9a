//! What these tests have in common.

use std::process::{Child, Command, Stdio};

use serde_json::Value;
use weir_tests::{
    fixture::{Agent, Stage, eventually},
    world::Running,
};

/// The parent of the containers' cgroups.
pub(crate) const DOCKER: &str = "/docker";

/// One of `weir status`'s numbers about namespaces.
pub(crate) fn number(agent: &Agent<'_>, name: &str) -> u64 {
    namespaces(agent)[name].as_u64().unwrap_or_else(|| panic!("no number {name}"))
}

/// What `weir status` says about namespaces.
pub(crate) fn namespaces(agent: &Agent<'_>) -> Value {
    agent.status()["namespaces"].clone()
}

/// How long it took from the announcement of each namespace until it was served, for people.
pub(crate) fn times(agent: &Agent<'_>) -> String {
    let log = agent.log();
    let took = |line: &str| line.split_once("ready_us=")?.1.trim().parse::<u64>().ok();
    let mut took: Vec<u64> = log.lines().filter_map(took).collect();
    took.sort_unstable();
    let at = |hundredth: usize| took.get(took.len() * hundredth / 100).copied().unwrap_or_default();
    let (least, median, most, last) = (at(0), at(50), at(90), took.last().copied().unwrap_or_default());
    format!(
        "{} namespaces ready after {least} µs at best, half within {median}, 90 % within {most}, all within {last}",
        took.len()
    )
}

/// Returns once one of the numbers is as said.
pub(crate) fn until(agent: &Agent<'_>, name: &str, expected: u64) {
    eventually(&format!("{name} is {expected}"), || (number(agent, name) == expected).then_some(()));
}

/// A process that does nothing, alone in a network namespace of its own.
pub(crate) fn idle(stage: &Stage, cgroup: &str) -> Running {
    Running(started(stage.world().command(cgroup, "unshare").args(["--net", "sleep", "3600"])))
}

pub(crate) fn started(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).spawn().unwrap_or_else(|error| panic!("run {command:?}: {error}"))
}

/// The arguments of a curl that initialises a session, and says who it is.
pub(crate) fn curl(url: &str, who: &str) -> Vec<String> {
    let client = format!(r#"{{"name":"{who}","version":"1"}}"#);
    let params = format!(r#"{{"protocolVersion":"2025-06-18","capabilities":{{}},"clientInfo":{client}}}"#);
    let message = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"initialize","params":{params}}}"#);
    let fixed = ["curl", "--silent", "--show-error", "--max-time", "60", "--noproxy", "*"];
    let headers = ["content-type: application/json", "accept: application/json, text/event-stream"];
    let mut arguments: Vec<String> = fixed.map(str::to_owned).to_vec();
    arguments.extend(headers.iter().flat_map(|header| ["--header".to_owned(), (*header).to_owned()]));
    arguments.extend(["--data-binary".to_owned(), message, url.to_owned()]);
    arguments
}
