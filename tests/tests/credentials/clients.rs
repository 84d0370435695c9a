//! Unmodified clients that hold no working key.

use std::fs;

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Aws, Client};

use crate::{
    overheard::Overheard,
    scan::{assert_no_key_in, assert_no_key_said},
    trial::{ROLE, Trial},
};

const SESSION: &str = "process=app";

#[test]
fn mcp_proxy_for_aws_signs_with_nothing_and_gets_through() {
    let trial = Trial::new("aws-proxy", &[], &[]);
    let agent = trial.agent(&trial.role("external_id = \"mcp\""));
    let gates = trial.stage.gates("gates");
    let heard = Overheard::but(Aws::PORT);
    let arguments = ["--service", "bedrock-agentcore", "--region", "us-east-1"];
    let mut client = Client::aws_proxy(&trial.stage, APP, "https://mcp.test/mcp", &gates.gate("end"), &arguments);
    let result = client.until("result");
    assert_eq!(result["content"][0]["text"], "42", "{}", client.complaints());
    assert_no_key_in(&trial, &agent, APP);
    gates.open("end");
    let transcript = client.finish();
    assert!(transcript.succeeded, "{transcript:#?}");
    assert_no_key_said(&trial, "on the wire", &heard.end(), "mcp.test");
    assert_assumed(&trial, &agent);
}

#[test]
fn the_python_sdk_knows_nothing_of_signatures_and_gets_through() {
    let trial = Trial::new("aws-sdk", &[], &[]);
    let agent = trial.agent(&trial.role("transitive_tags = true, session_policy = '{\"Version\":\"2012-10-17\"}'"));
    let gates = trial.stage.gates("gates");
    let climb = json!({ "gates": gates.path(), "steps": 1 });
    let (heard, tee) = (Overheard::but(Aws::PORT), trial.stage.world().dir().join("tee"));
    let client = Client::python_session("https://mcp.test/mcp").call("add", &json!({ "a": 19, "b": 23 }));
    let mut client = client.call("climb", &climb).tee(&tee).start(&trial.stage, APP);
    assert_eq!(client.until("result")["content"][0]["text"], "42");
    assert_no_key_in(&trial, &agent, APP);
    gates.open("1");
    let transcript = client.finish();
    assert_eq!(transcript.text(), "climbed 1", "{transcript:#?}");
    assert_no_key_said(&trial, "on the wire", &heard.end(), "mcp.test");
    let within = fs::read(tee).expect("what was said within TLS");
    assert_no_key_said(&trial, "said within TLS", &within, "\"method\":\"tools/call\"");
    assert_no_key_said(&trial, "heard within TLS", &within, "climbed 1");
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
