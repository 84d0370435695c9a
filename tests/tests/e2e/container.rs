//! The agent as a `DaemonSet`'s container: no more privileges than the manifest gives, the image's files and no others.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, ServerKind, agent_container};

use crate::story::stage_with;

#[test]
fn the_daemon_sets_container_intercepts_and_stops_in_order() {
    let (stage, server) = stage_with(ServerKind::Python, "container");
    let name = format!("weir-test-{}", std::process::id());
    let launch = |config: &std::path::Path| agent_container(&stage, "/weir", &name, config);
    let mut agent = Agent::start_by(&stage, &ConfigToml::of(&[&server]), launch);

    let client = Client::python(&server.url()).call("add", &json!({ "a": 19, "b": 23 }));
    assert_eq!(client.run(&stage, APP).text(), "42");
    let records = agent.records();
    let call = records.only_call("add");
    assert_eq!(call.outcome(), "ok", "{}", records.summary());
    assert_eq!(call.request.workload("cgroup"), APP);
    // Read behind the pid that the kernel reported: the container has the host's pid namespace.
    assert!(call.request.event()["workload"]["process"]["exe"].is_string(), "{}", records.summary());

    assert!(agent.terminate().success(), "{}", agent.log());
    assert_eq!(agent.records().life().last(), Some(&"stopped"));
    agent.verify();
}
