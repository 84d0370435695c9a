//! Who called, when by the time that the agent looks the process is gone, its pid another's, or its cgroup removed: what is
//! said is right, or unknown, and never someone else's. Who tried to get past it is said too.

use std::{fs, process::Stdio};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;
use weir_tests::{
    fixture::{Agent, Record, Records, eventually},
    world::Running,
};

use crate::scene::{GOOD, Scene};

/// While this lives, the agent does nothing; the kernel goes on.
struct Asleep(Pid);

impl Asleep {
    fn new(agent: &Agent<'_>) -> Self {
        let pid = Pid::from_raw(i32::try_from(agent.pid()).expect("a process id"));
        kill(pid, Signal::SIGSTOP).expect("stop the agent");
        Self(pid)
    }
}

impl Drop for Asleep {
    fn drop(&mut self) {
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// Connects from a cgroup, and is gone. Gives its pid.
fn connect_and_go(scene: &Scene, cgroup: &str) -> u32 {
    let place = scene.addr(GOOD);
    let connect = format!("exec 3<>/dev/tcp/{}/{}", place.ip(), place.port());
    let mut client = scene.stage.world().command(cgroup, "bash").args(["-c", &connect]).spawn().expect("run bash");
    let pid = client.id();
    assert!(client.wait().expect("bash ends").success(), "not connected");
    pid
}

/// Sends a datagram to the server's address, which no MCP client does.
fn datagram(scene: &Scene, cgroup: &str) {
    let place = scene.addr(GOOD);
    let send = format!("echo past > /dev/udp/{}/{}", place.ip(), place.port());
    let mut client = scene.stage.world().command(cgroup, "bash").args(["-c", &send]).spawn().expect("run bash");
    assert!(!client.wait().expect("bash ends").success(), "it was sent");
}

/// The end of the only flow of a process.
fn flow_of(agent: &Agent<'_>, pid: u32) -> Record {
    let is_its = move |record: &Record| {
        record.event()["class_uid"] == 4001 && record.workload("process")["pid"] == u64::from(pid)
    };
    let records: Records = agent.records_once("the flow", |log| log.filter(is_its).count() == 1);
    records.filter(is_its).next().expect("a record").clone()
}

#[test]
fn a_reused_pid_does_not_lend_its_process_to_a_flow() {
    let scene = Scene::new("reused");
    let _server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    let asleep = Asleep::new(&agent);
    let pid = connect_and_go(&scene, "/app/first");
    let other = eventually("the pid is used again", || {
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("choose the next pid");
        let mut sleep = scene.stage.world().command("/app/second", "sleep");
        let running = Running(sleep.arg("1000").stdin(Stdio::null()).spawn().expect("run sleep"));
        (running.0.id() == pid).then_some(running)
    });
    eventually("it is in its cgroup", || {
        let cgroup = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("read its cgroup");
        cgroup.trim_end().ends_with("/app/second").then_some(())
    });
    drop(asleep);

    let flow = flow_of(&agent, pid);
    assert_eq!(flow.workload("cgroup"), "/app/first", "{}", flow.line);
    assert_eq!(flow.workload("process")["comm"], "bash");
    assert_eq!(flow.workload("process").get("exe"), None, "{}", flow.line);
    drop(other);
    agent.verify();
}

#[test]
fn a_process_that_is_gone_with_its_cgroup_is_unknown_and_still_counted() {
    let scene = Scene::new("vanished");
    let _server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    let dir = scene.stage.world().make_cgroup("/app/docker/brief");
    let asleep = Asleep::new(&agent);
    let pid = connect_and_go(&scene, "/app/docker/brief");
    eventually("the cgroup is empty", || fs::remove_dir(&dir).ok());
    // Another of the same name is another.
    scene.stage.world().make_cgroup("/app/docker/brief");
    drop(asleep);

    let flow = flow_of(&agent, pid);
    assert_eq!(flow.workload("kind"), "unknown", "{}", flow.line);
    assert_eq!(flow.event()["workload"].get("cgroup"), None::<&Value>, "{}", flow.line);
    let id = flow.workload("cgroup_id").as_u64().expect("a cgroup id");
    let tally = agent.status()["reconciliation"]["endpoints"].clone();
    let endpoints = tally.as_array().expect("endpoints");
    let endpoint = endpoints.iter().find(|endpoint| endpoint["endpoint"] == "mcp").expect("the endpoint");
    let workloads = endpoint["workloads"].as_array().expect("workloads");
    let own = workloads.iter().find(|workload| workload["cgroup_id"] == id).expect("its counts");
    assert_eq!((&own["redirected"], own.get("cgroup")), (&Value::from(1), None), "{own}");
    agent.verify();
}

#[test]
fn an_attempt_to_get_past_the_agent_is_in_the_log() {
    let scene = Scene::new("stopped");
    let _server = scene.serve_good();
    let mut agent = scene.agent(&[GOOD], "", "");
    datagram(&scene, "/app/sneaky");
    agent.terminate();

    let records = agent.records();
    let tally = records.filter(|record| record.event()["reconciliation"].is_object()).last().expect("a tally");
    let (event, stopped) = (tally.event(), &tally.event()["reconciliation"]["stopped"]);
    assert!(stopped.as_u64() > Some(0) && event["severity_id"] == 2, "{}", tally.line);
    assert_eq!(event["message"], format!("{stopped} attempts to get past the agent were stopped"));
    let endpoints = event["reconciliation"]["endpoints"].as_array().expect("endpoints");
    let workloads = endpoints.iter().flat_map(|endpoint| endpoint["workloads"].as_array().expect("workloads"));
    let own = workloads.filter(|workload| workload["guarded"] == *stopped).map(|workload| &workload["cgroup"]);
    assert_eq!(own.collect::<Vec<_>>(), ["/app/sneaky"], "{}", tally.line);
}
