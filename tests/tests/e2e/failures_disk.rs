//! A disk that turns read-only, one that takes seconds to sync, and a log that has reached its quota: what cannot be recorded
//! is not sent, and all is well again when the cause has gone.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use weir_tests::fixture::{Agent, eventually, weir};

use crate::{
    failures_limits::{Fate, every_seen_call_is_recorded, try_call},
    scene::{GOOD, Scene, ping, post},
};

/// The shim of `peers/hostile/disk.c`, compiled, and the directory of its faults.
struct Disk {
    shim: PathBuf,
    faults: PathBuf,
    dir: PathBuf,
}

impl Disk {
    fn new(scene: &Scene) -> Self {
        let dir = scene.stage.world().dir();
        let disk = Self { shim: dir.join("disk.so"), faults: dir.join("faults"), dir: dir.join("state/audit") };
        fs::create_dir(&disk.faults).expect("make a directory");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/hostile/disk.c");
        let mut cc = Command::new("cc");
        cc.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&disk.shim).arg(source).arg("-ldl");
        assert!(cc.status().expect("run cc").success());
        disk
    }

    fn start<'s>(&self, scene: &'s Scene) -> Agent<'s> {
        let config = scene.config(&[GOOD], "", "");
        Agent::start_by(&scene.stage, &config, |config| {
            let mut agent = scene.stage.world().command("/weir", weir());
            agent.arg("--config").arg(config).arg("run").env("WEIR_LOG", "info");
            agent.env("LD_PRELOAD", &self.shim).env("DISK_DIR", &self.dir).env("DISK_FAULTS", &self.faults);
            agent
        })
    }

    fn set(&self, fault: &str, value: &str) {
        fs::write(self.faults.join(fault), value).expect("set a fault");
    }

    fn clear(&self, fault: &str) {
        fs::remove_file(self.faults.join(fault)).expect("clear a fault");
    }
}

#[test]
fn on_a_read_only_file_system_calls_are_refused_and_afterwards_they_go_through() {
    let scene = Scene::new("diskro");
    let server = scene.serve_good();
    let disk = Disk::new(&scene);
    let agent = disk.start(&scene);
    scene.enter_scope();
    assert_eq!(try_call(&scene, &server, 1), Fate::Answered);

    disk.set("read-only", "");
    for id in 2..6 {
        assert_eq!(try_call(&scene, &server, id), Fate::Refused);
    }
    assert!(agent.command(&["status"]).stdout.contains("FAILED, every call is refused"), "status says it");
    disk.clear("read-only");
    eventually("calls go through again", || (try_call(&scene, &server, 7) == Fate::Answered).then_some(()));
    scene.still_works(&agent, &server);
    every_seen_call_is_recorded(&agent.audit_dir(), &server);
}

#[test]
fn on_a_slow_disk_a_call_waits_for_its_record() {
    const SECONDS: u64 = 2;
    let scene = Scene::new("diskslow");
    let server = scene.serve_good();
    let disk = Disk::new(&scene);
    let agent = disk.start(&scene);
    scene.enter_scope();
    let mut client = scene.client();
    disk.set("slow", &SECONDS.to_string());
    let began = Instant::now();
    client.send(&post(&ping(1))).expect("send");
    eventually("the server sees the call", || (!server.seen().is_empty()).then_some(()));
    assert!(began.elapsed() >= Duration::from_secs(SECONDS), "sent before it was recorded: {:?}", began.elapsed());
    assert_eq!(client.hear().expect("a response").map(|reply| reply.status()), Some(200));
    // The response's record was synced before the client had the response.
    assert!(began.elapsed() >= Duration::from_secs(2 * SECONDS), "{:?}", began.elapsed());
    disk.clear("slow");
    scene.still_works(&agent, &server);
    every_seen_call_is_recorded(&agent.audit_dir(), &server);
}

/// A log of 256 KiB whose records cannot be shipped as long as the sink's directory is missing.
fn full(scene: &Scene, more: &str) -> (String, PathBuf) {
    let sink = scene.stage.world().dir().join("missing");
    let file = sink.join("audit.ndjson");
    (format!("[audit]\nsegment_bytes = 65536\nmax_bytes = 262144\nfile = {{ path = {file:?} }}\n{more}"), sink)
}

#[test]
fn a_full_log_refuses_calls_until_its_records_are_shipped() {
    let scene = Scene::new("quota");
    let server = scene.serve_good();
    let (audit, sink) = full(&scene, "");
    let agent = scene.agent(&[GOOD], "", &audit);
    scene.enter_scope();
    let refused = (1..400).find(|id| try_call(&scene, &server, *id) != Fate::Answered);
    assert!(refused.is_some_and(|id| id > 20), "{refused:?}");
    assert_eq!(try_call(&scene, &server, 400), Fate::Refused);
    assert!(agent.command(&["status"]).stdout.contains("audit.max_bytes is reached"), "status says it");

    fs::create_dir(sink).expect("make the sink's directory");
    eventually("calls go through again", || (try_call(&scene, &server, 401) == Fate::Answered).then_some(()));
}

#[test]
fn a_full_log_may_go_on_without_payloads() {
    let scene = Scene::new("quotameta");
    let server = scene.serve_good();
    let (audit, _) = full(&scene, "on_full = \"metadata\"");
    let agent = scene.agent(&[GOOD], "", &audit);
    scene.enter_scope();
    let is_cut = || {
        let records = agent.records();
        let last = records.0.iter().rfind(|record| record.mcp("phase") == "response").cloned();
        last.is_some_and(|record| record.mcp("result")["weir_truncated"]["prefix"] == "")
    };
    let cut = (1..400).find(|id| {
        assert_eq!(try_call(&scene, &server, *id), Fate::Answered);
        id % 10 == 0 && is_cut()
    });
    assert!(cut.is_some(), "payloads are kept for ever");
    scene.still_works(&agent, &server);
    every_seen_call_is_recorded(&agent.audit_dir(), &server);
}
