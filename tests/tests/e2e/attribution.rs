//! Who called is read from the kernel's cgroup, whatever the path pretends.

use serde_json::json;
use weir_tests::fixture::{Agent, Call, Client, ConfigToml, Server, ServerKind, Stage};

use crate::story::stage_with;

const ONE: &str = "1111111111111111111111111111111111111111111111111111111111111111";
const TWO: &str = "2222222222222222222222222222222222222222222222222222222222222222";
const SCOPE: [&str; 4] = ["/system.slice", "/docker", "/user.slice", "/kubepods.slice"];

/// Calls a tool from a cgroup.
fn call_from(stage: &Stage, server: &Server, agent: &Agent<'_>, cgroup: &str) -> Call {
    let client = Client::python(&server.url()).call("echo", &json!({ "text": cgroup }));
    assert_eq!(client.run(stage, cgroup).text(), cgroup);
    let calls = agent.records().tool_calls("echo");
    let call = calls.into_iter().find(|call| call.request.mcp("params")["arguments"]["text"] == cgroup);
    let call = call.expect("a record");
    assert_eq!(call.request.workload("cgroup"), cgroup);
    assert_eq!(call.request.workload("id"), call.answer().workload("id"));
    call
}

#[test]
fn workloads_are_told_apart_by_their_cgroup() {
    let (stage, server) = stage_with(ServerKind::Python, "workloads");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&SCOPE));
    let from = |cgroup: &str| call_from(&stage, &server, &agent, cgroup).request;

    let unit = from("/system.slice/billing.service");
    assert_eq!(unit.workload("kind"), "unit");
    assert_eq!(unit.workload("unit"), "billing.service");

    let docker = from(&format!("/docker/{ONE}"));
    assert_eq!(docker.workload("kind"), "container");
    assert_eq!(docker.workload("container"), &json!({ "id": ONE, "runtime": "docker" }));

    let scope = from(&format!("/system.slice/docker-{TWO}.scope"));
    assert_eq!(scope.workload("kind"), "container");
    assert_eq!(scope.workload("container")["id"], TWO);

    let user = from("/user.slice/user-1000.slice/session-3.scope");
    assert_eq!(user.workload("kind"), "user");

    let uid = "3f2a7c1e-0d4b-4a68-9c55-8b6f1e2d3c4a";
    let slice = format!("kubepods-besteffort-pod{}.slice", uid.replace('-', "_"));
    let pod = from(&format!("/kubepods.slice/kubepods-besteffort.slice/{slice}/cri-containerd-{ONE}.scope"));
    assert_eq!(pod.workload("kind"), "pod");
    assert_eq!(pod.workload("pod")["uid"], uid);
    assert_eq!(pod.workload("container")["id"], ONE);

    let ids = [&unit, &docker, &scope, &user, &pod].map(|record| record.workload("id").as_str().unwrap_or_default());
    let different: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(different.len(), ids.len(), "{ids:?}");
    agent.verify();
}

#[test]
fn a_path_forged_inside_a_workload_does_not_win() {
    let (stage, server) = stage_with(ServerKind::Python, "forged");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&SCOPE));
    let forged_unit =
        call_from(&stage, &server, &agent, &format!("/docker/{ONE}/system.slice/billing.service")).request;
    assert_eq!(forged_unit.workload("kind"), "container");
    assert_eq!(forged_unit.workload("container")["id"], ONE);

    let nested = format!("/system.slice/docker-{ONE}.scope/system.slice/docker-{TWO}.scope");
    let forged_container = call_from(&stage, &server, &agent, &nested).request;
    assert_eq!(forged_container.workload("container")["id"], ONE);

    let beside = call_from(&stage, &server, &agent, &format!("/system.slice/evil.service/docker/{TWO}")).request;
    assert_eq!(beside.workload("kind"), "unit", "{}", beside.line);
    assert_eq!(beside.workload("unit"), "evil.service");
}

#[test]
fn another_user_is_seen_by_its_uid() {
    let (stage, server) = stage_with(ServerKind::Node, "uid");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).scope(&["/system.slice"]));
    let cgroup = "/system.slice/billing.service";
    let mut command = stage.command(cgroup, &["setpriv".into()]);
    command.args(["--reuid=65534", "--regid=65534", "--clear-groups", "curl", "--silent", "--insecure", &server.url()]);
    assert!(command.output().expect("run curl").status.success());
    let records =
        agent.records_once("the request", |log| log.filter(|record| record.event()["class_uid"] == 4002).count() > 0);
    let request = records.filter(|record| record.event()["class_uid"] == 4002).next().expect("a record");
    assert_eq!(request.workload("process")["uid"], 65534, "{}", request.line);
    assert_eq!(request.workload("process")["comm"], "curl");
    assert_eq!(request.event()["actor"]["process"]["user"]["uid"], "65534");
}
