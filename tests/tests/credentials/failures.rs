//! Credentials that cannot be had: the client is told, the record says why, and nothing goes out unsigned.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Aws, Client, ConfigToml, Curl, eventually, script};

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
fn sts_refuses_a_signature_that_does_not_verify_and_a_role_that_is_missing() {
    let trial = Trial::new("sts-refuses", &[], &[]);
    let missing = trial.role("").replace(ROLE, "arn:aws:iam::111122223333:role/missing");
    let other = [("AWS_SECRET_ACCESS_KEY", "another-9Kd2mQ7xWv4TzBn6RsYp1Hc8Lf3")];
    let wrong: Vec<_> = Aws::ENVIRONMENT.into_iter().filter(|(name, _)| *name != other[0].0).chain(other).collect();
    for (credentials, environment, rule) in [
        (trial.role(""), wrong.as_slice(), "credential-sts-refused"),
        (missing, Aws::ENVIRONMENT.as_slice(), "credential-sts-denied"),
    ] {
        let config = ConfigToml::of(&[]).endpoint(&trial.server, &format!("credentials = {credentials}"));
        let mut agent = Agent::start_with(&trial.stage, &config, environment);
        assert_eq!(refusal(&trial), rule);
        agent.terminate();
        agent.verify();
    }
    assert!(trial.aws.granted().is_empty() && trial.seen().is_empty());
}

#[test]
fn a_session_that_ends_while_a_stream_is_open_ends_neither_the_stream_nor_what_comes_after() {
    let trial = Trial::new("sts-expired", &[], &[]);
    let agent = trial.agent(&trial.role(""));
    trial.aws.says("short:8");
    let gates = trial.stage.gates("gates");
    let add = |a: u32| json!({ "a": a, "b": 1 });
    let client = Client::python_session("https://mcp.test/mcp")
        .call("climb", &json!({ "gates": gates.path(), "steps": 1 }))
        .call("add", &add(1))
        .then(script::wait(&gates.gate("denied")))
        .call("add", &add(2))
        .then(script::wait(&gates.gate("granted")))
        .call("add", &add(3));
    let mut client = client.start(&trial.stage, APP);
    let key_of = |seen: &weir_tests::fixture::Seen| seen.0["verified"]["key"].clone();
    let first = key_of(&trial.server.has_seen("a call whose stream is open", |seen| seen.is_call_of("climb")));
    trial.aws.sessions_end();
    gates.open("1");
    assert_eq!(client.until("result")["content"][0]["text"], "climbed 1", "the stream goes on");
    assert_eq!(client.until("result")["content"][0]["text"], "2");
    let second = key_of(&trial.server.has_seen("the next call", |seen| seen.is_call_of("add")));
    assert_ne!(second, first, "signed by a session of its own");

    trial.aws.says("denied");
    trial.aws.sessions_end();
    gates.open("denied");
    let error = client.until("error");
    assert!(error["message"].as_str().is_some_and(|text| text.contains("STS denied it")), "{error}");
    trial.aws.says("");
    // The last refusal is repeated for a while.
    eventually("STS is asked again", || trial.ping().message()["result"].is_object().then_some(()));
    gates.open("granted");
    assert_eq!(client.until("result")["content"][0]["text"], "4", "the session is the same");
    let transcript = client.finish();
    assert!(transcript.succeeded, "{transcript:#?}");

    let calls = agent.records_once("all calls", |log| log.tool_calls("add").len() == 3).tool_calls("add");
    let rules = calls.iter().map(|call| call.request.event()["verdict"]["policy"].as_str().unwrap_or("none"));
    assert_eq!(rules.collect::<Vec<_>>(), ["none", "credential-sts-denied", "none"]);
    assert_eq!(calls[0].request.event()["credential"]["access_key_id"], second);
    assert!(calls[1].request.event()["credential"].get("access_key_id").is_none(), "{}", calls[1].request.line);
    for seen in trial.seen() {
        assert!(seen.0["verified"].is_object(), "nothing went out unsigned, or with what had ended: {:#}", seen.0);
    }
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
