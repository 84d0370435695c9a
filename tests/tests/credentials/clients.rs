//! Unmodified clients that hold no working key.

use std::fs;

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Aws, Client};

use crate::trial::{ROLE, Trial, processes};

const SESSION: &str = "process=app";

#[test]
fn mcp_proxy_for_aws_signs_with_nothing_and_gets_through() {
    let trial = Trial::new("aws-proxy", &[], &[]);
    let agent = trial.agent(&trial.role("external_id = \"mcp\""));
    let gates = trial.stage.gates("gates");
    let arguments = ["--service", "bedrock-agentcore", "--region", "us-east-1"];
    let mut client = Client::aws_proxy(&trial.stage, APP, "https://mcp.test/mcp", &gates.gate("end"), &arguments);
    let result = client.until("result");
    assert_eq!(result["content"][0]["text"], "42", "{}", client.complaints());
    assert_no_key_in_reach(&trial, &agent);
    gates.open("end");
    let transcript = client.finish();
    assert!(transcript.succeeded, "{transcript:#?}");
    assert_assumed(&trial, &agent);
}

#[test]
fn the_python_sdk_knows_nothing_of_signatures_and_gets_through() {
    let trial = Trial::new("aws-sdk", &[], &[]);
    let agent = trial.agent(&trial.role("transitive_tags = true, session_policy = '{\"Version\":\"2012-10-17\"}'"));
    let gates = trial.stage.gates("gates");
    let climb = json!({ "gates": gates.path(), "steps": 1 });
    let client = Client::python_session("https://mcp.test/mcp").call("add", &json!({ "a": 19, "b": 23 }));
    let mut client = client.call("climb", &climb).start(&trial.stage, APP);
    assert_eq!(client.until("result")["content"][0]["text"], "42");
    assert_no_key_in_reach(&trial, &agent);
    gates.open("1");
    let transcript = client.finish();
    assert_eq!(transcript.text(), "climbed 1", "{transcript:#?}");
    assert_assumed(&trial, &agent);
    let asked = trial.aws.asked().remove(0);
    assert_eq!(asked["TransitiveTagKeys.member.1"], "weir-workload");
    assert_eq!(asked["Policy"], "{\"Version\":\"2012-10-17\"}");
}

/// STS was asked once, for this workload by name; the records name the session, and the key that signed.
fn assert_assumed(trial: &Trial, agent: &Agent<'_>) {
    let asked = trial.aws.asked();
    assert_eq!(asked.len(), 1, "one session: {asked:#?}");
    assert_eq!((&asked[0]["RoleArn"], &asked[0]["RoleSessionName"]), (&json!(ROLE), &json!(SESSION)));
    assert_eq!(asked[0]["SourceIdentity"], SESSION);
    let tags: Vec<_> = (1..=3).map(|n| asked[0][format!("Tags.member.{n}.Value")].clone()).collect();
    assert_eq!(tags, [json!("process/app"), json!("process"), json!("mcp.test")]);

    let seen = trial.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.0["verified"].is_object()), "{seen:#?}");
    let key = &seen[0].0["verified"]["key"];
    assert_ne!(key, Aws::KEY_ID);
    let records =
        agent.records_once("the call's end", |log| log.tool_calls("add").iter().any(|c| c.response.is_some()));
    let call = records.only_call("add");
    let expected = json!({ "kind": "sigv4", "role_arn": ROLE, "session_name": SESSION, "access_key_id": key });
    for record in [&call.request, call.answer()] {
        assert_eq!(record.event()["credential"], expected, "{}", record.line);
    }
    trial.assert_nothing_leaked(agent, &[]);
    agent.verify();
}

/// No process of the application has a key that works, in its memory or environment. The agent has: the search finds keys.
pub(crate) fn assert_no_key_in_reach(trial: &Trial, agent: &Agent<'_>) {
    let granted = trial.aws.granted();
    let secrets: Vec<&str> = granted.iter().flat_map(|(s, t)| [s.as_str(), t.as_str()]).chain([Aws::SECRET]).collect();
    assert_eq!(secrets.len(), 3);
    for secret in &secrets {
        assert!(memory_has(agent.pid(), secret), "the agent itself has {secret}");
    }
    let pids = processes(&trial.stage.world().make_cgroup(APP));
    assert!(!pids.is_empty());
    for pid in pids {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("read an environment");
        for secret in &secrets {
            assert!(!has(&environment, secret) && !memory_has(pid, secret), "process {pid} has {secret}");
        }
    }
}

fn memory_has(pid: u32, needle: &str) -> bool {
    use std::os::unix::fs::FileExt as _;

    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("read a process's maps");
    let memory = fs::File::open(format!("/proc/{pid}/mem")).expect("open a process's memory");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("an address");
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let (start, rest) = line.split_once('-').expect("a range");
        let (start, end) = (number(start), number(rest.split(' ').next().unwrap_or_default()));
        let mut content = vec![0; usize::try_from(end - start).expect("a size")];
        // A mapping may go while it is read.
        memory.read_exact_at(&mut content, start).is_ok() && has(&content, needle)
    })
}

fn has(content: &[u8], needle: &str) -> bool {
    memchr(content, needle.as_bytes())
}

/// Quick enough for hundreds of megabytes in a debug build.
fn memchr(content: &[u8], needle: &[u8]) -> bool {
    let mut rest = content;
    while let Some(at) = rest.iter().position(|byte| *byte == needle[0]) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}
