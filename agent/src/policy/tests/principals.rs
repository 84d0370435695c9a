//! What a workload is to policies.

use std::collections::BTreeMap;

use super::*;
use crate::{
    datapath::CgroupId,
    identity::{Container, EcsTask, Pod, PodOwner, Process, Workload, WorkloadKind},
};

/// A pod's container, as the kubelet names it.
pub(super) fn pod(namespace: &str, labels: &[(&str, &str)]) -> Workload {
    let process = Process { pid: 1, uid: 7, comm: "app".into(), exe: None, started_ns: None, audit_session: None };
    let container = Container {
        name: Some("app".into()),
        image: Some("registry.example.com/agent:1.4.2".into()),
        ..Container::of_path("c0", "containerd")
    };
    Workload {
        kind: WorkloadKind::Pod,
        id: "pod/u1/c0".into(),
        name: format!("ns/{namespace}/sa/agent"),
        cgroup: Some("/kubepods/x".into()),
        spiffe_id: None,
        cgroup_id: CgroupId(1),
        unit: None,
        container: Some(container),
        pod: Some(Pod {
            uid: "u1".into(),
            name: Some("agent-x2v9k".into()),
            namespace: Some(namespace.into()),
            service_account: Some("agent".into()),
            labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            owner: Some(PodOwner { kind: "ReplicaSet".into(), name: "agent".into() }),
        }),
        process,
    }
}

/// An ECS task's container.
pub(super) fn task(family: &str) -> Workload {
    let task = EcsTask { arn: "arn:x".into(), cluster: "main".into(), family: family.into(), revision: "7".into() };
    let container = Container { task: Some(task), ..Container::of_path("c1", "docker") };
    Workload { kind: WorkloadKind::Container, container: Some(container), pod: None, ..pod("", &[]) }
}

fn matches(condition: &str, principal: &Principal) -> bool {
    let policies = policies(&format!("@id(\"it\") forbid (principal, action, resource) when {{ {condition} }};"));
    brief(&policies.judge(&question(principal, "tools/call", Some("t"), None))) == ("deny", "it")
}

#[test]
fn everything_that_a_record_says_of_a_workload_can_be_asked() {
    let labels = [("team", "payments"), ("app.kubernetes.io/name", "agent"), ("empty", "")];
    let named = Principal::from(&pod("payments", &labels));
    let task = Principal::from(&task("warehouse"));
    for condition in [
        "principal.kind == \"pod\" && principal.uid == 7",
        "principal has pod.namespace && principal.pod.namespace == \"payments\"",
        "principal has pod.name && principal.pod.name like \"agent-*\"",
        "principal has pod.service_account && principal.pod.service_account == \"agent\"",
        "principal has pod.owner && principal.pod.owner.kind == \"ReplicaSet\" && principal.pod.owner.name == \"agent\"",
        "principal has container.name && principal.container.name == \"app\"",
        "principal has container.image && principal.container.image like \"registry.example.com/*\"",
        "principal.hasTag(\"team\") && principal.getTag(\"team\") == \"payments\"",
        "principal.hasTag(\"app.kubernetes.io/name\") && principal.getTag(\"app.kubernetes.io/name\") == \"agent\"",
        "principal.hasTag(\"empty\") && principal.getTag(\"empty\") == \"\"",
    ] {
        assert!(matches(condition, &named), "{condition}");
        assert!(!matches(condition, &unit("app.service")), "{condition}");
    }
    let family = "principal has container.task.family && principal.container.task.family == \"warehouse\"";
    assert!(matches(family, &task) && !matches(family, &named));
    let rest = "principal has container.task && principal.container.task == { arn: \"arn:x\", cluster: \"main\", family: \"warehouse\", revision: \"7\" }";
    assert!(matches(rest, &task));
    assert!(!matches("principal.hasTag(\"other\")", &named));
}

#[test]
fn a_label_that_nobody_asked_for_is_an_error_before_it_is_in_force() {
    for condition in [
        "principal.getTag(\"team\") == \"payments\"",
        "principal.hasTag(\"team\") && principal.getTag(\"tema\") == \"payments\"",
        "principal.hasTag(\"team\") && principal.getTag(\"team\") == 1",
        "principal.pod.namespace == \"payments\"",
        "principal has pod && principal.pod.namespace == \"payments\"",
        "principal has container && principal.container.image == \"x\"",
        "principal has container && principal.container.task.family == \"x\"",
    ] {
        let text = format!("forbid (principal, action, resource)\nwhen {{ {condition} }};");
        let said = policies_with(&text, Stance::Allow).expect_err(condition).to_string();
        assert!(said.contains("p.cedar:2:"), "{condition}\n{said}");
    }
}

#[test]
fn labels_are_no_arguments() {
    let text = r#"@id("label") forbid (principal, action == Action::"tools/call", resource)
                    when { principal.hasTag("filter/country") && principal.getTag("filter/country") == "XX" };"#;
    let policies = policies(text);
    // Were it read as an argument, it could be read in two ways, and be denied for that.
    let params = json!({ "name": "t", "arguments": { "Filter": "{}", "filter": "{\"country\":1}" } }).to_string();
    let ask = |principal: &Principal| {
        let question = question(principal, "tools/call", Some("t"), Some(params.as_bytes()));
        brief(&policies.judge(&question)).1.to_owned()
    };
    assert_eq!(ask(&unit("app.service")), "");
    assert_eq!(ask(&Principal::from(&pod("n", &[("filter/country", "XX")]))), "label");
}

#[test]
fn what_was_made_for_one_caller_is_not_taken_for_another() {
    let policies = permitting(r#"@id("anna") permit (principal in Caller::"anna", action, resource);"#);
    let caller = |sub: &str| Caller { sub: sub.into(), issuer: "https://idp".into(), groups: Vec::new() };
    let (anna, bob) = (caller("anna"), caller("bob"));
    let principal = Principal::from(&pod("n", &[]));
    let ask = |caller: Option<&Caller>| {
        policies.judge(&Question { caller, ..question(&principal, "tools/call", Some("t"), None) }).action()
    };
    let askers = [Some(&anna), Some(&bob), Some(&anna), Some(&anna), None, Some(&anna), None, Some(&bob)];
    let expected = askers.map(|caller| if caller == Some(&anna) { "allow" } else { "deny" });
    assert_eq!(askers.map(ask), expected);
}

#[test]
fn a_record_holds_what_the_kernel_and_the_kubelet_said() {
    let labels = [("team", "payments"), ("pair", "a=b"), ("empty", "")];
    for workload in [pod("payments", &labels), task("warehouse")] {
        let recorded = serde_json::to_value(&workload).expect("JSON");
        let read: Principal = serde_json::from_value(recorded).expect("a principal");
        let live = Principal::from(&workload);
        assert_eq!(format!("{read:?}"), format!("{live:?}"));
    }
    let read: Principal =
        serde_json::from_value(serde_json::to_value(pod("n", &labels)).expect("JSON")).expect("a principal");
    let expected = labels.map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(read.pod.expect("a pod").labels, BTreeMap::from(expected));
}
