//! Records of real calls reach a stream.

use std::path::Path;

use serde_json::{Value, json};
use weir::audit::head::Head;
use weir_tests::{
    fixture::{Agent, eventually, weir},
    shipping::{Emulator, Faults, KEYS, Stream},
};

use crate::scene::{GOOD, Scene, ping, post};

fn launch(scene: &Scene, config: &Path) -> std::process::Command {
    let mut command = scene.stage.world().command("/weir", weir());
    command.arg("--config").arg(config).arg("run").env("WEIR_LOG", "info");
    command.env("AWS_ACCESS_KEY_ID", KEYS.0).env("AWS_SECRET_ACCESS_KEY", KEYS.1);
    command
}

fn sink(agent: &Agent<'_>) -> Value {
    agent.status()["sinks"][0].clone()
}

#[test]
fn calls_are_in_the_stream_and_an_outage_holds_nothing_up() {
    let scene = Scene::new("ship");
    let server = scene.serve_good();
    let dir = scene.stage.world().dir();
    let emulator = Emulator::ferrokinesis(dir, &[]);
    let stream = Stream::create(&emulator.url(), "weir-audit", 2, KEYS);
    let way = Faults::to(emulator.port());
    let url = way.url();
    let audit =
        format!("[audit]\nkinesis = {{ stream = \"weir-audit\", region = \"us-east-1\", endpoint_url = {url:?} }}");
    let config = scene.config(&[GOOD], "", &audit);
    let mut agent = Agent::start_by(&scene.stage, &config, |config| launch(&scene, config));
    scene.enter_scope();
    let call = |id| {
        let reply = scene.client().ask(&post(&ping(id))).expect("a response").expect("a response");
        assert_eq!(reply.status(), 200, "{reply:?}");
    };
    (1..=5).for_each(call);
    eventually("all is shipped", || (sink(&agent)["lag_records"] == 0).then_some(()));
    assert!(sink(&agent)["shipped"].as_u64() >= Some(12), "{}", sink(&agent));

    way.outage(true);
    (6..=10).for_each(call);
    eventually("the sink fails", || {
        let sink = sink(&agent);
        (sink["error"].is_string() && sink["lag_records"].as_u64() >= Some(10)).then_some(())
    });
    assert!(agent.command(&["status"]).ok().contains("kinesis FAILS since"));
    way.outage(false);
    eventually("all is shipped again", || {
        let sink = sink(&agent);
        (sink["lag_records"] == 0 && sink["error"].is_null() && sink["dropped"] == 0).then_some(())
    });
    scene.still_works(&agent, &server);

    assert!(agent.terminate().success());
    let head = Head::read(&agent.audit_dir()).expect("the log's head");
    stream.read().is_whole(head.log.as_str(), head.seq, head.hash);
}

#[test]
fn a_payload_that_does_not_fit_its_record_is_in_the_records_before_it() {
    let scene = Scene::new("split");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "[audit]\npayload_bytes = 4096\noversized = \"split\"");
    scene.enter_scope();
    let params = json!({ "note": "Zürich \"quoted\" \\ ".repeat(5000) });
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": params });
    let reply = scene.client().ask(&post(&call)).expect("a response").expect("a response");
    assert_eq!(reply.status(), 200, "{reply:?}");

    let records = agent.records_once("the request", |records| records.0.iter().any(|r| r.mcp("phase") == "request"));
    let at = records.0.iter().position(|record| record.mcp("phase") == "request").expect("the request");
    let request = &records.0[at];
    let mark = &request.mcp("params")["weir_truncated"];
    let count = usize::try_from(mark["parts"].as_u64().expect("parts")).expect("a number");
    assert!(count > 20, "{mark}");
    let mut whole = mark["prefix"].as_str().expect("a prefix").to_owned();
    for part in &records.0[at - count..at] {
        let part = &part.event()["payload_part"];
        assert_eq!(part["of"], request.event()["metadata"]["uid"]);
        assert_eq!((&part["field"], &part["hmac_sha256"]), (&json!("params"), &mark["hmac_sha256"]));
        whole.push_str(part["text"].as_str().expect("a piece"));
    }
    assert_eq!(serde_json::from_str::<Value>(&whole).expect("JSON"), params);
    scene.still_works(&agent, &server);
}
