//! What happens at the agent's own limits: more flows, more open calls, no room for the log.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, mpsc::channel},
};

use nix::mount::{MsFlags, mount};
use serde_json::Value;
use weir_tests::{
    fixture::{Agent, Call, Records, eventually},
    raw::{
        PATIENCE,
        client::RawClient,
        server::{self, Then, write_json},
    },
};

use crate::scene::{GOOD, HOST, Scene, denied_by, flows_to, ping, post, rule_of};

/// Flows open now, and closed because of the limit.
fn flows(agent: &Agent<'_>) -> (u64, u64) {
    let flows = &agent.status()["flows"];
    let number = |key: &str| flows[key].as_u64().unwrap_or_else(|| panic!("no {key} in {flows}"));
    (number("open"), number("over_limit"))
}

#[test]
fn a_flow_beyond_its_workloads_half_of_the_limit_is_closed_and_recorded() {
    let scene = Scene::new("flows");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "[limits]\nflows = 4");
    scene.enter_scope();

    let mut first = scene.client();
    let second = scene.client();
    let third = RawClient::tls(scene.addr(GOOD), HOST, &scene.trust());
    assert!(third.is_err(), "a third flow was served");
    eventually("the third is refused", || (flows(&agent) == (2, 1)).then_some(()));
    let refused = |log: &Records| flows_to(log, GOOD).iter().filter(|(end, _)| end == "refused").count() == 1;
    agent.records_once("a record of the refusal", refused);

    // Those that were there first are not disturbed, and what one of them leaves is another's.
    assert_eq!(first.ask(&post(&ping(1))).expect("a response").map(|reply| reply.status()), Some(200));
    drop(second);
    eventually("a place is free", || (flows(&agent).0 == 1).then_some(()));
    scene.still_works(&agent, &server);
}

#[test]
fn a_call_beyond_the_limit_is_refused_and_the_next_one_goes_through() {
    let scene = Scene::new("opencalls");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "[limits]\nopen_calls = 1");
    scene.enter_scope();

    let (go_on, wait) = channel();
    let wait = Mutex::new(wait);
    server.answers(Arc::new(move |_, wire| {
        let _ = wait.lock().expect("a lock").recv_timeout(PATIENCE);
        write_json(wire, r#"{"jsonrpc":"2.0","id":1,"result":{}}"#)?;
        Ok(Then::KeepAlive)
    }));
    let mut first = scene.client();
    first.send(&post(&ping(1))).expect("send");
    eventually("the first call has reached the server", || (server.seen().len() == 1).then_some(()));

    let refused = scene.client().ask(&post(&ping(2))).expect("a response").expect("a response");
    assert!(
        refused.json()["error"]["message"].as_str().is_some_and(|text| text.contains("too many calls")),
        "{refused:?}"
    );
    assert_eq!(server.seen().len(), 1);
    let records = agent.records();
    assert_eq!(records.0.iter().filter_map(denied_by).collect::<Vec<_>>(), [rule_of(&refused)]);

    go_on.send(()).expect("the server waits");
    assert_eq!(first.hear().expect("a response").map(|reply| reply.status()), Some(200));
    server.answers(server::ok());
    scene.still_works(&agent, &server);
}

/// A directory with little room.
fn small_disk(scene: &Scene) -> PathBuf {
    let dir = scene.stage.world().dir().join("small");
    fs::create_dir(&dir).expect("make a directory");
    mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), Some("size=8m,mode=0700")).expect("mount a tmpfs");
    dir
}

/// Takes all the space that is left.
fn fill(dir: &Path) {
    let mut filler = File::create(dir.join("filler")).expect("make a file");
    let block = [0_u8; 4096];
    for size in [4096, 512, 1] {
        while filler.write_all(&block[..size]).is_ok() {}
    }
}

/// What became of one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Answered,
    /// It was sent, and its answer could not be recorded.
    Cut,
    Refused,
}

/// Calls, and makes sure that the server saw it if and only if it was not refused.
pub(crate) fn try_call(scene: &Scene, server: &server::RawServer, id: u32) -> Fate {
    let seen = server.seen().len();
    let reply = scene.client().ask(&post(&ping(id))).expect("an end");
    let fate = match &reply {
        None => Fate::Cut,
        Some(reply) if reply.json()["result"].is_object() => Fate::Answered,
        Some(reply) => {
            let text = reply.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            assert!(text.contains("Weir") && text.contains("record"), "the reason is clear: {reply:?}");
            Fate::Refused
        }
    };
    let sent = server.seen().len() - seen;
    assert_eq!(sent, usize::from(fate != Fate::Refused), "ping {id}, {fate:?}");
    fate
}

#[test]
fn while_the_disk_is_full_calls_are_refused_and_afterwards_they_go_through() {
    let scene = Scene::new("disk");
    let server = scene.serve_good();
    let audit = small_disk(&scene);
    let mut agent = scene.agent(&[GOOD], "", &format!("[audit]\ndir = {audit:?}\nsegment_bytes = 1048576"));
    scene.enter_scope();
    assert_eq!(try_call(&scene, &server, 1), Fate::Answered);

    fill(&audit);
    // What is left of the log's last page still takes a few.
    let refused = (100..300).find(|id| try_call(&scene, &server, *id) == Fate::Refused);
    assert!(refused.is_some(), "calls go on without a record");
    for id in 300..305 {
        assert_eq!(try_call(&scene, &server, id), Fate::Refused);
    }

    fs::remove_file(audit.join("filler")).expect("make room");
    eventually("calls go through again", || (try_call(&scene, &server, 400) == Fate::Answered).then_some(()));
    scene.still_works(&agent, &server);
    every_seen_call_is_recorded(&audit, &server);

    // Nor did the log suffer: the next agent takes it up.
    assert!(agent.terminate().success());
    agent.restart();
    scene.still_works(&agent, &server);
}

pub(crate) fn every_seen_call_is_recorded(audit: &Path, server: &server::RawServer) {
    let records = Records::read(audit);
    let allowed = |call: &&Call| call.request.event()["verdict"]["action"] == "allow";
    let calls = records.calls("ping");
    let recorded: Vec<&Value> = calls.iter().filter(allowed).map(|call| call.request.mcp("id")).collect();
    for seen in server.seen() {
        let id = &seen.json()["id"];
        assert!(recorded.contains(&id), "the server saw {id}, the log did not: {}", records.summary());
    }
}

#[test]
fn a_server_is_not_told_of_a_stream_that_cannot_be_recorded_either() {
    let scene = Scene::new("diskget");
    let server = scene.serve_good();
    let audit = small_disk(&scene);
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", &format!("[audit]\ndir = {audit:?}"));
    scene.enter_scope();
    fill(&audit);
    assert!((100..300).any(|id| try_call(&scene, &server, id) == Fate::Refused));

    let seen = server.seen().len();
    for (method, path) in [("GET", "/mcp"), ("DELETE", "/mcp"), ("GET", "/.well-known/oauth-protected-resource")] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: {HOST}\r\naccept: text/event-stream\r\n\r\n");
        let reply = scene.client().ask(request.as_bytes()).expect("an end");
        let reply = reply.unwrap_or_else(|| panic!("{method} {path}: broken without a word"));
        assert_eq!(reply.status(), 503, "{method} {path}: {reply:?}");
        assert!(String::from_utf8_lossy(&reply.body).contains("Weir"), "{method} {path}: {reply:?}");
    }
    assert_eq!(server.seen().len(), seen);
    fs::remove_file(audit.join("filler")).expect("make room");
    eventually("calls go through again", || (try_call(&scene, &server, 400) == Fate::Answered).then_some(()));
    scene.still_works(&agent, &server);
}
