//! Checkpoints that a key in KMS signs, which the host never has.

use std::fs;

use serde_json::Value;
use weir_tests::{
    fixture::{Agent, eventually},
    shipping::{Emulator, Faults, credentials},
};

use crate::scene::{GOOD, Scene, ping, post};

/// What `weir audit verify` says with the key that auditors were given.
fn verified(agent: &Agent<'_>, key: &str) -> Value {
    let said = agent.command(&["audit", "--json", "verify", "--key", key]);
    serde_json::from_str(&said.ok()).expect("JSON")
}

fn signing(agent: &Agent<'_>) -> Value {
    let checks = agent.status()["checks"].clone();
    checks
        .as_array()
        .and_then(|checks| checks.iter().find(|check| check["name"] == "signing"))
        .expect("a check")
        .clone()
}

#[test]
fn checkpoints_are_signed_in_kms_and_records_go_on_while_it_is_away() {
    let scene = Scene::new("kms");
    let server = scene.serve_good();
    let dir = scene.stage.world().dir();
    let moto = Emulator::moto(dir);
    let (id, secret) = moto.user_of("kms");
    let key_id = moto.signing_key();
    moto.verify_signatures(true);
    let way = Faults::to(moto.port());
    let file = dir.join("credentials");
    credentials(&file, (&id, &secret));
    let kms = format!(
        "[audit.checkpoint]\nseconds = 1\nkms = {{ key_id = {key_id:?}, region = \"us-east-1\", endpoint_url = {:?} }}",
        way.url()
    );
    let environment = [
        ("AWS_SHARED_CREDENTIALS_FILE", file.to_str().expect("text")),
        ("AWS_CONFIG_FILE", "/dev/null"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    let agent = Agent::start_in(&scene.stage, &scene.config(&[GOOD], "", &kms), &environment);
    scene.enter_scope();
    let call = |id| {
        let reply = scene.client().ask(&post(&ping(id))).expect("a response").expect("a response");
        assert_eq!(reply.status(), 200, "{reply:?}");
    };
    call(1);
    let public = dir.join("key.pem");
    fs::write(&public, agent.command(&["audit", "key"]).ok()).expect("write the public key");
    let public = public.to_str().expect("text");
    let covers = |seq: u64| {
        let log = verified(&agent, public)["logs"][0].clone();
        (log["covered"].as_u64() >= Some(seq)).then_some(log)
    };
    let last = |agent: &Agent<'_>| agent.status()["log"]["seq"].as_u64().expect("a seq");
    let log = eventually("a checkpoint covers the call", || covers(last(&agent).saturating_sub(3)));
    assert_eq!(log["keys"].as_array().map(Vec::len), Some(1), "{log:#}");
    assert_eq!(log["keys"][0]["given"], true);
    assert!(!dir.join("state/checkpoint.key").exists(), "no key on the host");
    assert_eq!(signing(&agent)["ok"], true);

    way.outage(true);
    credentials(&file, (&id, "not-the-secret"));
    let before = last(&agent);
    call(2);
    eventually("signing fails", || (signing(&agent)["ok"] == false).then_some(()));
    assert!(last(&agent) > before, "records go on");
    way.outage(false);
    eventually("it is refused", || {
        signing(&agent)["detail"].as_str().is_some_and(|detail| detail.contains("HTTP 403")).then_some(())
    });
    // Not the answer itself: a service may quote what was signed.
    let (log, detail) = (agent.log(), signing(&agent)["detail"].to_string());
    let logged = log.lines().filter(|line| line.contains("no checkpoint could be written"));
    for said in logged.chain([detail.as_str()]) {
        let is_raw = ["SdkBody", "Headers {", "ErrorResponse"].iter().any(|raw| said.contains(raw));
        assert!(!is_raw, "{said}");
    }
    credentials(&file, (&id, &secret));
    eventually("what was written meanwhile is covered", || covers(before + 2));
    assert_eq!(signing(&agent)["ok"], true);
    scene.still_works(&agent, &server);
}
