//! `audit.oversized = "s3"`: payloads that do not fit their record are objects in S3, all of them, whatever happens on the way.

use std::{
    collections::BTreeSet,
    fs,
    path::PathBuf,
    process::Command,
    sync::{Arc, Mutex, mpsc::channel},
};

use serde_json::{Value, json};
use weir_tests::{
    fixture::{Agent, Records, eventually},
    raw::{
        PATIENCE,
        server::{RawServer, Then, write_json},
    },
    shipping::{Emulator, Faults, credentials},
};

use crate::{
    failures_limits::{Fate, try_call},
    scene::{GOOD, Scene, ping, post},
};

const BUCKET: &str = "weir-objects";

/// A bucket behind a way that can fail, at a service that knows who signs.
struct Bucket {
    moto: Emulator,
    way: Faults,
    keys: (String, String),
    file: PathBuf,
}

impl Bucket {
    fn new(scene: &Scene) -> Self {
        let dir = scene.stage.world().dir();
        let moto = Emulator::moto(dir);
        let keys = moto.user_of("s3");
        moto.make_bucket(BUCKET);
        moto.verify_signatures(true);
        let way = Faults::to(moto.port());
        let bucket = Self { moto, way, keys, file: dir.join("credentials") };
        credentials(&bucket.file, (&bucket.keys.0, &bucket.keys.1));
        bucket
    }

    fn start<'s>(&self, scene: &'s Scene, more: &str) -> Agent<'s> {
        let audit = format!(
            "[audit]\npayload_bytes = 4096\noversized = \"s3\"\n{more}\n\
             objects = {{ bucket = {BUCKET:?}, prefix = \"long/\", region = \"us-east-1\", endpoint_url = {:?} }}\n\
             [[mask]]\nname = \"cards\"\npaths = [\"$.params.card\"]",
            self.way.url()
        );
        let file = self.file.to_str().expect("text");
        let environment = [
            ("AWS_SHARED_CREDENTIALS_FILE", file),
            ("AWS_CONFIG_FILE", "/dev/null"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        Agent::start_in(&scene.stage, &scene.config(&[GOOD], "", &audit), &environment)
    }

    /// Every object that a record names is in the bucket, with the bytes that the record says, and nothing else is.
    fn holds_what_the_log_names(&self, scene: &Scene, agent: &Agent<'_>) -> Vec<Value> {
        self.moto.verify_signatures(false);
        let named = objects(&agent.records());
        let names = named.iter().map(key).collect::<BTreeSet<_>>();
        assert_eq!(self.moto.objects(BUCKET).into_iter().collect::<BTreeSet<_>>(), names);
        named.iter().map(|mark| self.fetch(scene, mark)).collect()
    }

    fn fetch(&self, scene: &Scene, mark: &Value) -> Value {
        let text = self.moto.object(BUCKET, &key(mark));
        let copy = scene.stage.world().dir().join("copy");
        fs::write(&copy, &text).expect("write a copy");
        let sum = Command::new("sha256sum").arg(&copy).output().expect("run sha256sum");
        let sum = String::from_utf8(sum.stdout).expect("text");
        assert_eq!(sum.split(' ').next(), mark["sha256"].as_str());
        assert_eq!(mark["bytes"], text.len());
        assert!(text.starts_with(mark["prefix"].as_str().expect("a prefix")));
        serde_json::from_str(&text).expect("the whole payload is JSON")
    }
}

fn key(mark: &Value) -> String {
    let url = mark["object"].as_str().expect("an object");
    url.strip_prefix(&format!("s3://{BUCKET}/")).unwrap_or_else(|| panic!("elsewhere: {url}")).to_owned()
}

/// What records say of payloads that are objects, in order.
fn objects(records: &Records) -> Vec<Value> {
    let fields = |record: &weir_tests::fixture::Record| ["params", "result"].map(|field| record.mcp(field).clone());
    let marks = records.0.iter().flat_map(fields).map(|payload| payload["weir_truncated"].clone());
    marks.filter(|mark| mark["object"].is_string()).collect()
}

fn sink(agent: &Agent<'_>) -> Value {
    let sinks = agent.status()["sinks"].clone();
    sinks.as_array().and_then(|sinks| sinks.iter().find(|sink| sink["name"] == "objects")).expect("a sink").clone()
}

/// Bytes of what waits.
fn spooled(agent: &Agent<'_>) -> u64 {
    let waiting = fs::read_dir(agent.audit_dir().join("objects")).into_iter().flatten().flatten();
    waiting.map(|entry| entry.metadata().map_or(0, |metadata| metadata.len())).sum()
}

fn long_call(id: u32) -> Value {
    let note = format!("{id} Zürich \"quoted\" \\ ").repeat(5000);
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping", "params": { "note": note, "card": "4929123412341234" } })
}

/// Answers are long from now on.
fn answer_at_length(server: &RawServer) {
    server.answers(Arc::new(|request, wire| {
        let answer = json!({ "jsonrpc": "2.0", "id": request.json()["id"], "result": { "text": "ü".repeat(20_000) } });
        write_json(wire, &answer.to_string())?;
        Ok(Then::KeepAlive)
    }));
}

fn call(scene: &Scene, id: u32) {
    let reply = scene.client().ask(&post(&long_call(id))).expect("a response").expect("a response");
    assert_eq!((reply.status(), &reply.json()["id"]), (200, &json!(id)));
}

fn all_is_stored(agent: &Agent<'_>) {
    eventually("all is stored", || (sink(agent)["lag_records"] == 0 && spooled(agent) == 0).then_some(()));
    assert_eq!(sink(agent)["error"], Value::Null);
}

#[test]
fn long_payloads_are_objects_though_the_service_is_away_the_agent_is_killed_and_keys_are_replaced() {
    let scene = Scene::new("objects");
    let server = scene.serve_good();
    answer_at_length(&server);
    let bucket = Bucket::new(&scene);
    let mut agent = bucket.start(&scene, "");
    scene.enter_scope();
    call(&scene, 1);
    all_is_stored(&agent);
    assert!(sink(&agent)["shipped"] == 2 && agent.command(&["doctor"]).stdout.contains("sink objects"));

    bucket.way.outage(true);
    (2..=4).for_each(|id| call(&scene, id));
    eventually("storing fails", || {
        (sink(&agent)["error"].is_string() && sink(&agent)["lag_records"] == 6).then_some(())
    });
    let said = agent.command(&["status"]).ok();
    assert!(said.contains(&format!("objects to s3://{BUCKET}/long/: 2 ")) && said.contains("6 waiting"), "{said}");
    let waiting = spooled(&agent);
    agent.kill9();
    credentials(&bucket.file, (&bucket.keys.0, "not-the-secret"));
    agent.restart();
    assert_eq!(spooled(&agent), waiting, "a crash takes nothing");
    bucket.way.outage(false);
    let refused = |sink: &Value| sink["error"].as_str().is_some_and(|error| error.contains("SignatureDoesNotMatch"));
    eventually("the signature is refused", || refused(&sink(&agent)).then_some(()));
    assert_eq!(spooled(&agent), waiting, "only what was accepted goes");
    credentials(&bucket.file, (&bucket.keys.0, &bucket.keys.1));
    all_is_stored(&agent);

    let stored = bucket.holds_what_the_log_names(&scene, &agent);
    assert_eq!(stored.len(), 8);
    for (at, id) in [(0, 1), (2, 2), (4, 3), (6, 4)] {
        let params = &stored[at];
        assert_eq!(params["note"], long_call(id)["params"]["note"]);
        assert!(params["card"].is_string() && params["card"] != "4929123412341234", "{}", params["card"]);
        assert_eq!(stored[at + 1]["text"], "ü".repeat(20_000));
    }
    scene.still_works(&agent, &server);
}

#[test]
fn what_an_agent_that_drains_puts_aside_is_stored_by_the_next() {
    let scene = Scene::new("objectsup");
    let server = scene.serve_good();
    let (go_on, wait) = channel();
    let wait = Mutex::new(wait);
    server.answers(Arc::new(move |_, wire| {
        let _ = wait.lock().expect("a lock").recv_timeout(PATIENCE);
        let answer = json!({ "jsonrpc": "2.0", "id": 1, "result": { "text": "é".repeat(30_000) } });
        write_json(wire, &answer.to_string())?;
        Ok(Then::Close)
    }));
    let bucket = Bucket::new(&scene);
    let mut agent = bucket.start(&scene, "");
    scene.enter_scope();
    let mut client = scene.client();
    client.send(&post(&ping(1))).expect("send");
    eventually("the server has the call", || (server.seen().len() == 1).then_some(()));
    agent.upgrade();
    assert_eq!(sink(&agent)["shipped"], 0);
    go_on.send(()).expect("the server waits");
    let reply = client.hear().expect("a response").expect("a response");
    assert_eq!(reply.json()["result"]["text"], "é".repeat(30_000));
    drop(client);
    assert!(agent.former_ended().iter().all(std::process::ExitStatus::success));
    eventually("it is stored", || (sink(&agent)["shipped"] == 1).then_some(()));
    all_is_stored(&agent);
    let stored = bucket.holds_what_the_log_names(&scene, &agent);
    assert_eq!(stored, [json!({ "text": "é".repeat(30_000) })]);
    agent.verify();
}

#[test]
fn objects_that_wait_fill_the_log_and_calls_are_refused_until_they_are_stored() {
    let scene = Scene::new("objectsfull");
    let server = scene.serve_good();
    let bucket = Bucket::new(&scene);
    bucket.way.outage(true);
    let mut agent = bucket.start(&scene, "segment_bytes = 65536\nmax_bytes = 524288");
    scene.enter_scope();
    (1..=3).for_each(|id| call(&scene, id));
    let fate = |id| {
        let reply = scene.client().ask(&post(&long_call(id))).expect("a response").expect("a response");
        reply.json()["error"].clone()
    };
    let refused = (4..8).map(fate).find(|error| !error.is_null()).expect("the log never fills");
    assert_eq!(refused["data"]["rule"], "audit-unavailable", "{refused}");
    assert!(agent.log().contains("has reached audit.max_bytes"), "the agent's log says why");
    assert!(spooled(&agent) <= 524_288);
    assert_eq!(try_call(&scene, &server, 8), Fate::Answered, "what needs little room still has it");

    agent.kill9();
    agent.restart();
    assert_eq!(fate(9), refused, "what waits still counts");
    bucket.way.outage(false);
    eventually("calls go through again", || fate(10).is_null().then_some(()));
    all_is_stored(&agent);
    bucket.holds_what_the_log_names(&scene, &agent);
    scene.still_works(&agent, &server);
}
