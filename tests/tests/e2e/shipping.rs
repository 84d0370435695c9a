//! Records of real calls reach a stream.

use std::path::Path;

use serde_json::Value;
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
