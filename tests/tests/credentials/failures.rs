//! Credentials that cannot be had: the client is told, the record says why, and nothing goes out unsigned.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, ConfigToml, Curl, eventually};

use crate::trial::{ROLE, Trial, ping};

#[test]
fn when_sts_says_no_or_nothing_calls_are_refused_and_say_which() {
    let trial = Trial::new("sts-down", &[], &[]);
    let agent = trial.agent(&trial.role(""));
    for (says, rule) in [
        ("denied", "credential-sts-denied"),
        ("throttled", "credential-sts-throttled"),
        ("down", "credential-sts-unreachable"),
    ] {
        trial.aws.says(says);
        // The last refusal is repeated for a while, without asking again.
        eventually(rule, || (refusal(&trial) == rule).then_some(()));
        assert_refused(&agent, rule);
    }
    let get = Curl::get("https://mcp.test/mcp").header("accept", "text/event-stream").run(&trial.stage, APP);
    assert_eq!((get.status, &get.message()["error"]["code"]), (503, &json!(-31005)), "{get:#?}");
    assert!(trial.seen().is_empty(), "nothing goes out: {:#?}", trial.seen());

    trial.aws.says("");
    eventually("STS is asked again", || (trial.ping().message()["result"].is_object()).then_some(()));
    assert_eq!(trial.seen().len(), 1);
    trial.assert_nothing_leaked(&agent, &[]);
    agent.verify();
}

#[test]
fn without_any_key_nothing_goes_out() {
    let trial = Trial::new("no-key", &[], &[]);
    let own = "credentials = { sigv4 = { service = \"lambda\", region = \"us-east-1\" } }";
    let config = ConfigToml::of(&[]).endpoint(&trial.server, own);
    let nothing = [("AWS_EC2_METADATA_DISABLED", "true"), ("AWS_REGION", "us-east-1"), ("HOME", "/nonexistent")];
    let agent = Agent::start_with(&trial.stage, &config, &nothing);
    assert_eq!(refusal(&trial), "credential-agent");
    assert!(trial.seen().is_empty());
    agent.verify();
}

#[test]
fn what_cannot_be_signed_in_one_reading_is_refused() {
    let trial = Trial::new("unsignable", &[], &[]);
    let agent = trial.agent("{ sigv4 = {} }");
    for (query, rule) in
        [("", "credential-scope"), ("?a=b+c", "credential-unsignable"), ("?a=%ff", "credential-unsignable")]
    {
        let reply = Curl::post(&format!("https://mcp.test/rpc{query}"), &ping(1)).run(&trial.stage, APP);
        let error = &reply.message()["error"];
        assert_eq!((reply.status, &error["data"]["rule"]), (200, &json!(rule)), "{query}: {reply:#?}");
    }
    assert!(trial.seen().is_empty());
    agent.verify();
}

/// The rule by which a call is refused.
fn refusal(trial: &Trial) -> String {
    let reply = trial.ping();
    let message = reply.message();
    assert_eq!(reply.status, 200, "{reply:#?}");
    assert_eq!(message["error"]["code"], -31005, "{message}");
    message["error"]["data"]["rule"].as_str().unwrap_or_default().to_owned()
}

fn assert_refused(agent: &Agent<'_>, rule: &str) {
    let records = agent.records();
    let denied = records.filter(|record| record.event()["verdict"]["policy"] == rule);
    let last = denied.last().unwrap_or_else(|| panic!("no record of {rule}: {}", records.summary()));
    let event = last.event();
    assert_eq!((&event["verdict"]["action"], &event["mcp"]["outcome"]), (&json!("deny"), &json!("refused")));
    let intended = json!({ "kind": "sigv4", "role_arn": ROLE, "session_name": "process=app" });
    assert_eq!(event["credential"], intended, "{}", last.line);
}
