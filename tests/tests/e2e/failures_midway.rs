//! The server fails in the middle of an answer: the application sees it break where the server broke, and the call's record
//! says so.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::channel,
    },
};

use serde_json::json;
use weir_tests::{
    fixture::{Agent, Call},
    raw::{
        PATIENCE, Wire,
        server::{self, Answer, RawServer, Then, write_event_stream, write_json},
    },
};

use crate::scene::{GOOD, Scene, peak_memory, ping, post, post_bytes};

/// Small limits, so that a test reaches them soon.
const LIMITS: &str = "[limits]\nresponse_bytes = 65536\nsse_event_bytes = 65536";

/// The result that the agent must not let through unseen.
const RESULT: &str = "must-not-pass-unseen";

/// The records of the only `ping` with this id, once its end is there.
fn ended_call(agent: &Agent<'_>, id: u32) -> Call {
    let is_it = |call: &Call| *call.request.mcp("id") == json!(id);
    let records = agent.records_once(&format!("the end of ping {id}"), |records| {
        records.calls("ping").iter().any(|call| is_it(call) && call.response.is_some())
    });
    records.calls("ping").into_iter().find(is_it).expect("a call")
}

fn answer(play: impl Fn(&mut dyn Wire) -> io::Result<Then> + Send + Sync + 'static) -> Answer {
    Arc::new(move |_, wire| play(wire))
}

/// What an application gets for its call: the body, and whether it came to its end; nothing when the connection broke before
/// the head was whole.
fn call(scene: &Scene, server: &RawServer, id: u32, plays: Answer) -> Option<(String, bool)> {
    server.answers(plays);
    let reply = scene.client().ask(&post(&ping(id))).ok()??;
    Some((String::from_utf8_lossy(&reply.body).into_owned(), reply.whole))
}

#[test]
fn a_server_that_dies_breaks_the_call() {
    let scene = Scene::new("dies");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();

    let at_once = call(&scene, &server, 1, answer(|_| Ok(Then::Die)));
    assert_eq!(at_once, None, "nothing was answered");

    let in_json = answer(|wire| {
        wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{\"jsonrpc\"")?;
        wire.flush()?;
        Ok(Then::Die)
    });
    let in_json = call(&scene, &server, 2, in_json);
    assert!(in_json.as_ref().is_none_or(|(_, whole)| !whole), "{in_json:?}");

    let in_head = answer(|wire| {
        wire.write_all(b"HTTP/1.1 200 O")?;
        Ok(Then::Close)
    });
    assert_eq!(call(&scene, &server, 3, in_head), None);

    for id in [1, 2, 3] {
        assert_eq!(ended_call(&agent, id).outcome(), "broken", "ping {id}");
    }
    server.answers(server::ok());
    scene.still_works(&agent, &server);
}

#[test]
fn a_stream_that_breaks_off_breaks_the_call_after_what_had_come() {
    const PROGRESS: &str = "data: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/progress\",\"params\":{\"progressToken\":1,\"progress\":1}}\n\n";
    let scene = Scene::new("midstream");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();

    for (id, then) in [(1, Then::Die), (2, Then::Close)] {
        let (seen, is_seen) = channel();
        let is_seen = Mutex::new(is_seen);
        server.answers(answer(move |wire| {
            wire.write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
            )?;
            write!(wire, "{:x}\r\n{PROGRESS}\r\n", PROGRESS.len())?;
            wire.flush()?;
            let _ = is_seen.lock().expect("a lock").recv_timeout(PATIENCE);
            Ok(then)
        }));
        let mut client = scene.client();
        client.send(&post(&ping(id))).expect("send");
        let begun = client.read_until(PROGRESS.as_bytes()).expect("an event");
        assert!(begun.ends_with(PROGRESS.as_bytes()), "{}", String::from_utf8_lossy(&begun));
        seen.send(()).expect("the server waits");
        let rest = client.drain().expect("an end");
        assert!(!rest.ends_with(b"0\r\n\r\n"), "the stream did not end in order: {}", String::from_utf8_lossy(&rest));
        let call = ended_call(&agent, id);
        assert_eq!(call.outcome(), "broken");
        assert_eq!(call.answer().mcp("events")["count"], 1, "{}", call.answer().line);
    }

    // A stream that ends in order without a response is no response either.
    let silent_end = answer(|wire| {
        write_event_stream(wire)?;
        wire.write_all(PROGRESS.as_bytes())?;
        Ok(Then::Close)
    });
    assert_eq!(call(&scene, &server, 3, silent_end), Some((PROGRESS.to_owned(), true)));
    assert_eq!(ended_call(&agent, 3).outcome(), "broken");

    server.answers(server::ok());
    scene.still_works(&agent, &server);
}

#[test]
fn a_session_call_that_breaks_is_recorded_at_the_latest_when_the_agent_stops() {
    let scene = Scene::new("adrift");
    let server = scene.serve_good();
    let mut agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();

    server.answers(answer(|_| Ok(Then::Die)));
    let in_session = post_bytes(ping(1).to_string().as_bytes(), "mcp-session-id: s1\r\n");
    assert_eq!(scene.client().ask(&in_session).unwrap_or_default(), None);
    assert!(agent.terminate().success());
    assert_eq!(ended_call(&agent, 1).outcome(), "broken");
    agent.verify();
}

#[test]
fn a_stream_that_never_ends_a_line_is_cut_at_the_limit() {
    /// Far more than the agent may hold, and than sockets buffer.
    const FLOOD: u64 = 512 << 20;
    let scene = Scene::new("endless");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();
    let before = peak_memory(agent.pid());

    for (id, line) in [(1, b"data: ".as_slice()), (2, b"".as_slice()), (3, b": ".as_slice())] {
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let plays = answer(move |wire| {
            write_event_stream(wire)?;
            wire.write_all(line)?;
            let block = [b'x'; 64 << 10];
            while counter.load(Ordering::Relaxed) < FLOOD {
                wire.write_all(&block)?;
                counter.fetch_add(block.len() as u64, Ordering::Relaxed);
            }
            Ok(Then::Close)
        });
        let cut = call(&scene, &server, id, plays);
        let length = cut.as_ref().map_or(0, |(body, _)| body.len());
        assert!(length <= 65536, "{line:?}: {length} bytes of an unfinished event were passed on");
        assert_eq!(ended_call(&agent, id).outcome(), "broken", "{line:?}");
        assert!(sent.load(Ordering::Relaxed) < FLOOD, "{line:?}: the server was never cut off");
    }
    let grown = peak_memory(agent.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the agent grew by {grown} bytes");

    server.answers(server::ok());
    scene.still_works(&agent, &server);
}

#[test]
fn a_response_beyond_the_limit_is_cut() {
    let scene = Scene::new("oversized");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();

    let big = "x".repeat(1 << 20);
    let plays = answer(move |wire| {
        write_json(wire, &format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"result\":{{\"text\":\"{big}\"}}}}"))?;
        Ok(Then::KeepAlive)
    });
    let got = call(&scene, &server, 1, plays);
    assert!(got.as_ref().is_none_or(|(_, whole)| !whole), "{:?}", got.map(|(body, whole)| (body.len(), whole)));
    assert_eq!(ended_call(&agent, 1).outcome(), "broken");

    server.answers(server::ok());
    scene.still_works(&agent, &server);
}

#[test]
fn a_body_of_the_wrong_length_gives_no_result() {
    let scene = Scene::new("length");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();

    for (id, length) in [(1, 10), (2, 4000)] {
        let plays = answer(move |wire| {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
            wire.write_all(head.as_bytes())?;
            wire.write_all(format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}").as_bytes())?;
            wire.flush()?;
            Ok(Then::Close)
        });
        // Too short, the rest is not read; too long, the body never comes to its end.
        let got = call(&scene, &server, id, plays);
        assert!(
            got.as_ref().is_none_or(|(body, whole)| !whole || body.contains("refused by Weir")),
            "{length}: {got:?}"
        );
        let outcome = ended_call(&agent, id).outcome().to_owned();
        assert!(["broken", "error", "refused"].contains(&outcome.as_str()), "{length}: {outcome}");
    }
    server.answers(server::ok());
    scene.still_works(&agent, &server);
}

/// What some clients read as a result of `ping` and the agent cannot parse, under the content type it came with.
fn unreadable_results(id: u32) -> Vec<(&'static str, String, &'static str)> {
    let result = format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{\"text\":\"{RESULT}\"}}}}");
    vec![
        ("application/json", result.replacen("\"id\"", "\"id\":0,\"id\"", 1), "the id twice"),
        ("application/json", result.replacen("\"result\"", "\"result\":1,\"result\"", 1), "the result twice"),
        ("application/json", format!("\u{feff}{result}"), "a byte order mark"),
        ("application/json", format!("{result} trailing"), "trailing text"),
        (
            "text/event-stream",
            format!("data: {}\n\n", result.replacen("\"id\"", "\"id\":0,\"id\"", 1)),
            "twice, as event",
        ),
        ("text/event-stream", format!("data: {result}\n"), "no empty line at the end"),
        ("application/jsonl", result.clone(), "a type that begins like JSON's"),
        ("text/x; application/json", result.clone(), "a type that mentions JSON"),
    ]
}

#[test]
fn no_result_reaches_the_client_that_the_log_does_not_hold() {
    let scene = Scene::new("unseen");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", LIMITS);
    scene.enter_scope();

    let mut unseen = Vec::new();
    for (id, at) in (1..).zip(0..unreadable_results(0).len()) {
        let (kind, body, what) = unreadable_results(id).remove(at);
        let plays = answer(move |wire| {
            let length = body.len();
            let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n{body}");
            wire.write_all(head.as_bytes())?;
            Ok(Then::Close)
        });
        let delivered = call(&scene, &server, id, plays).is_some_and(|(body, _)| body.contains(RESULT));
        let end = ended_call(&agent, id);
        if delivered && !end.answer().line.contains(RESULT) {
            unseen.push(what);
        }
    }
    assert!(unseen.is_empty(), "delivered and not recorded: {unseen:?}");
    server.answers(server::ok());
    scene.still_works(&agent, &server);
}
