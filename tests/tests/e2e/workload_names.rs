//! Names of workloads from whom the host has to ask: the kubelet, the ECS agent, the instance metadata service.

use std::path::PathBuf;

use serde_json::json;
use weir_tests::fixture::{Agent, Authority, ConfigToml, Curl, ServerKind, Stage, eventually};

use crate::story::initialize;

/// The pod of `agent/src/identity/kubelet/pods.json`, with the systemd driver and containerd.
const POD: &str = "/kubepods.slice/kubepods-burstable.slice/\
                   kubepods-burstable-pod6a1c0b52_3f0e_4a53_9d57_8a1e5a3f2c11.slice/cri-containerd-";

#[test]
fn the_kubelet_names_pods_and_is_asked_seldom() {
    let mut stage = Stage::new("kubelet");
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let kubelet = Authority::kubelet(&stage, &Authority::pods());
    let config = ConfigToml::of(&[&server]).scope(&["/kubepods.slice"]).and(&kubelet.table(&stage));
    let agent = Agent::start(&stage, &config);
    let container = format!("{POD}{}.scope", "a".repeat(64));
    for _ in 0..5 {
        assert_eq!(Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, &container).status, 200);
    }
    // A container that the list does not have, of the same pod.
    let unknown = format!("{POD}{}.scope", "9".repeat(64));
    assert_eq!(Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, &unknown).status, 200);
    drop(kubelet);
    assert_eq!(Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, &container).status, 200);

    let log = agent.records_once("seven calls", |log| log.calls("initialize").len() == 7);
    let calls = log.calls("initialize");
    for call in calls.iter().take(5).chain(calls.last()) {
        let record = &call.request;
        assert_eq!(record.workload("name"), "ns/payments/sa/agent", "{}", record.line);
        let pod = json!({
            "uid": "6a1c0b52-3f0e-4a53-9d57-8a1e5a3f2c11",
            "name": "agent-7c9d8f6b54-x2v9k",
            "namespace": "payments",
            "service_account": "agent",
            "labels": ["app=agent", "pod-template-hash=7c9d8f6b54", "team=payments"],
            "owner": { "kind": "ReplicaSet", "name": "agent-7c9d8f6b54" },
        });
        assert_eq!(*record.workload("pod"), pod, "{}", record.line);
        assert_eq!(record.workload("container")["name"], "app", "{}", record.line);
        assert_eq!(record.workload("container")["image"], "registry.example.com/agent:1.4.2", "{}", record.line);
    }
    let record = &calls[5].request;
    assert_eq!(record.workload("pod")["name"], "agent-7c9d8f6b54-x2v9k", "the pod is known: {}", record.line);
    assert_eq!(record.workload("container").get("name"), None, "the container is not: {}", record.line);
    let lists = Authority::lists(&stage);
    assert!((1..=3).contains(&lists), "the kubelet was asked {lists} times");
    assert_eq!(agent.files_with(Authority::TOKEN), Vec::<PathBuf>::new());
    agent.verify();
}

#[test]
fn a_kubelet_that_hangs_holds_up_its_pods_and_nobody_else() {
    let mut stage = Stage::new("kubelet-hangs");
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let kubelet = Authority::kubelet(&stage, &Authority::pods());
    kubelet.hang();
    let elsewhere = "/elsewhere";
    let config = ConfigToml::of(&[&server]).scope(&["/kubepods.slice", elsewhere]).and(&kubelet.table(&stage));
    let agent = Agent::start(&stage, &config.and("[limits]\nflows = 4"));
    let pod = format!("{POD}{}.scope", "a".repeat(64));
    let ping = Curl::post(&server.url(), &initialize("2025-06-18"));
    let waiting: Vec<_> = (0..6).map(|_| ping.start(&stage, &pod)).collect();
    // Time for these to connect; each waits 2 s for its name.
    std::thread::sleep(std::time::Duration::from_millis(700));
    assert_eq!(ping.run(&stage, elsewhere).status, 200, "half of the places are others', whatever takes time");
    drop(waiting);
    let log = agent.records_once("the pod's flows", |log| {
        log.filter(|record| record.line.contains("as its share allows")).next().is_some()
    });
    assert!(!log.calls("initialize").is_empty());
    agent.verify();
}

#[test]
fn the_ecs_agent_names_tasks_and_the_instance_itself() {
    let mut stage = Stage::new("instance");
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let _authority = Authority::instance(&stage, 8051);
    let tables = "[ecs]\nagent = \"http://127.0.0.1:8051\"\n[host]\nimds = \"http://127.0.0.1:8051\"";
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&["/ecs"]).and(tables));
    let container = format!("/ecs/0a1b2c3d4e5f60718293a4b5c6d7e8f9/{}", "e".repeat(64));
    assert_eq!(Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, &container).status, 200);

    let log = agent.records_once("the call", |log| log.calls("initialize").len() == 1);
    let record = &log.calls("initialize")[0].request;
    assert_eq!(record.workload("name"), "ecs/main/agent", "{}", record.line);
    assert_eq!(record.workload("container")["name"], "app", "{}", record.line);
    assert_eq!(record.workload("container")["task"]["revision"], "7", "{}", record.line);
    let started = eventually("the start's record", || {
        agent
            .records()
            .filter(|record| record.event()["lifecycle"]["kind"] == "started")
            .next()
            .map(|record| record.event().clone())
    });
    assert_eq!(started["cloud"]["account"]["uid"], "111122223333", "{started}");
    assert_eq!(started["cloud"]["region"], "eu-central-1", "{started}");
    assert_eq!(started["device"]["instance_uid"], "i-0a1b2c3d4e5f60718", "{started}");
    assert_eq!(started["device"]["image"]["uid"], "ami-0a1b2c3d4e5f60718", "{started}");
    agent.verify();
}
