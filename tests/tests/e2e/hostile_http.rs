//! HTTP that two readers could read differently, or that is too much: refused, recorded, and nothing of it reaches the server.

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use weir_tests::{
    fixture::{APP, Agent, Curl, eventually},
    raw::{
        client::RawClient,
        http1::Http1,
        server::{RawServer, Speaks},
    },
};

use crate::scene::{GOOD, HOST, Scene, denied_by, flows_to, ping, post, post_bytes, rule_of};

/// In what an attacker hides; the server must never see it.
const MARK: &str = "smuggled";

const LIMITS: &str = "[limits]\nrequest_bytes = 65536\nheader_bytes = 16384";

/// What must become of a hostile request.
enum Fate {
    /// An error with this rule, and a record of it.
    Rule(&'static str),
    /// No good answer, and a record of some kind: what cannot be parsed at all is answered by the HTTP library.
    Refused,
}

/// A request and its fate.
struct Case {
    what: &'static str,
    bytes: Vec<u8>,
    fate: Fate,
}

fn rule(what: &'static str, rule: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { what, bytes: bytes.into(), fate: Fate::Rule(rule) }
}

fn refused(what: &'static str, bytes: impl Into<Vec<u8>>) -> Case {
    Case { what, bytes: bytes.into(), fate: Fate::Refused }
}

/// A POST with these header lines and body.
fn with(headers: &str, body: &str) -> String {
    format!("POST /mcp HTTP/1.1\r\nhost: {HOST}\r\ncontent-type: application/json\r\n{headers}\r\n{body}")
}

/// Plays the cases, each on a connection of its own.
fn play(scene: &Scene, agent: &Agent<'_>, server: &RawServer, cases: Vec<Case>) {
    // What came before has its record.
    eventually("no flow is open", || (agent.status()["flows"]["open"] == 0).then_some(()));
    for Case { what, bytes, fate } in cases {
        let (seen, before) = (server.seen().len(), agent.records());
        let (flows, denied) = (flows_to(&before, GOOD).len(), before.0.iter().filter_map(denied_by).count());
        let mut client = scene.client();
        let reply = client.ask(&bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        drop(client);
        let records =
            agent.records_once(&format!("{what}: the flow's end"), |records| flows_to(records, GOOD).len() > flows);
        let denied: Vec<&str> = records.0.iter().filter_map(denied_by).skip(denied).collect();
        assert_eq!(server.seen().len(), seen, "{what}: the server saw {:?}", server.seen().last());
        match fate {
            Fate::Rule(rule) => {
                let reply = reply.unwrap_or_else(|| panic!("{what}: no response, denied by {denied:?}"));
                assert_eq!((rule_of(&reply).as_str(), denied.as_slice()), (rule, &[rule][..]), "{what}: {reply:?}");
                is_clear(what, &reply);
            }
            Fate::Refused => {
                let status = reply.as_ref().map_or(0, Http1::status);
                assert!(status == 0 || (400..500).contains(&status), "{what}: {reply:?}");
                let reason = &flows_to(&records, GOOD)[flows].1;
                assert!(!denied.is_empty() || !reason.is_empty(), "{what}: no record says why: {reply:?}");
            }
        }
    }
    let smuggled = server.seen().into_iter().filter(|seen| format!("{seen:?}").contains(MARK)).count();
    assert_eq!(smuggled, 0);
    scene.still_works(agent, server);
}

/// What the client's user is shown says who refused and why.
fn is_clear(what: &str, reply: &Http1) {
    let body = reply.json();
    let error = if body.is_array() { &body[0]["error"] } else { &body["error"] };
    let message = error["message"].as_str().unwrap_or_default();
    assert!(message.contains("Weir") && message.len() > 20, "{what}: {message:?}");
    assert!(error["code"].is_i64(), "{what}: {body}");
}

#[test]
fn ambiguous_framing_is_refused() {
    let hidden = format!("POST /mcp HTTP/1.1\r\nhost: {HOST}\r\nx: {MARK}\r\ncontent-length: 0\r\n\r\n");
    let message = ping(1).to_string();
    let chunk = format!("{:x}\r\n{message}\r\n0\r\n\r\n", message.len());
    let length = message.len();
    let cl = format!("content-length: {length}\r\n");
    let te = "transfer-encoding: chunked\r\n";
    let cases = vec![
        refused("CL.TE", with(&format!("content-length: {}\r\n{te}", 5 + hidden.len()), &format!("0\r\n\r\n{hidden}"))),
        refused("TE.CL", with(&format!("{te}content-length: 4\r\n"), &format!("{chunk}{hidden}"))),
        refused("TE.TE", with(&format!("{te}transfer-encoding: identity\r\n"), &chunk)),
        refused("TE twice", with(&format!("{te}{te}"), &chunk)),
        refused("TE list", with("transfer-encoding: chunked, chunked\r\n", &chunk)),
        refused("TE gzip", with("transfer-encoding: gzip, chunked\r\n", &chunk)),
        refused("TE unknown", with("transfer-encoding: xchunked\r\n", &chunk)),
        refused("TE space", with("transfer-encoding : chunked\r\n", &chunk)),
        refused("TE tab", with("transfer-encoding:\u{b}chunked\r\n", &chunk)),
        refused("TE quoted", with("transfer-encoding: \"chunked\"\r\n", &chunk)),
        refused("TE in 1.0", with(te, &chunk).replace("HTTP/1.1", "HTTP/1.0")),
        refused("CL.CL same", with(&format!("{cl}{cl}"), &message)),
        refused("CL.CL", with(&format!("{cl}content-length: 0\r\n"), &message)),
        refused("CL list", with(&format!("content-length: {length}, {length}\r\n"), &message)),
        refused("CL plus", with(&format!("content-length: +{length}\r\n"), &message)),
        refused("CL minus", with("content-length: -1\r\n", &message)),
        refused("CL hex", with(&format!("content-length: {length:#x}\r\n"), &message)),
        refused("CL overflow", with("content-length: 18446744073709551617\r\n", &message)),
        refused("bare LF in the head", with(&cl, &message).replacen("\r\n", "\n", 2)),
        refused("bare LF everywhere", with(&cl, &message).replace("\r\n", "\n")),
        refused("bare CR", with(&format!("x: a\rb\r\n{cl}"), &message)),
        refused("folded header", with(&format!("x: a\r\n b\r\n{cl}"), &message)),
        refused("NUL in a header", with(&format!("x: a\0b\r\n{cl}"), &message)),
        refused("NUL in a name", with(&format!("x\0y: a\r\n{cl}"), &message)),
        refused("no colon", with(&format!("nonsense\r\n{cl}"), &message)),
        refused("space in the target", with(&cl, &message).replace("/mcp ", "/mcp x ")),
        refused("chunk extension", with(te, &format!("{length:x};x=y\r\n{message}\r\n0\r\n\r\n"))),
        refused("chunk size LF", with(te, &format!("{length:x}\n{message}\r\n0\r\n\r\n"))),
        refused("chunk size 0x", with(te, &format!("{length:#x}\r\n{message}\r\n0\r\n\r\n"))),
        refused("chunk size space", with(te, &format!("{length:x} \r\n{message}\r\n0\r\n\r\n"))),
        refused("chunk overflow", with(te, &format!("ffffffffffffffff\r\n{message}\r\n0\r\n\r\n"))),
        refused("chunk too short", with(te, &format!("{:x}\r\n{message}\r\n0\r\n\r\n", length - 1))),
        refused("bad trailer", with(te, &format!("{length:x}\r\n{message}\r\n0\r\nx: y\n\r\n"))),
        refused("not HTTP", "POST /mcp\r\n\r\n"),
        refused("HTTP/3.0", with(&cl, &message).replace("HTTP/1.1", "HTTP/3.0")),
    ];
    let scene = Scene::new("framing");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", LIMITS);
    scene.enter_scope();
    play(&scene, &agent, &server, cases);
}

#[test]
fn a_request_for_another_host_is_refused() {
    let good = String::from_utf8(post(&ping(1))).expect("text");
    let host = format!("host: {HOST}\r\n");
    let cases = vec![
        rule("another Host", "http-misdirected", good.replace(&host, "host: other.test\r\n")),
        rule("another port", "http-misdirected", good.replace(&host, &format!("host: {HOST}:8443\r\n"))),
        rule("an address", "http-misdirected", good.replace(&host, "host: 10.77.1.2\r\n")),
        rule("a longer name", "http-misdirected", good.replace(&host, &format!("host: {HOST}.other.test\r\n"))),
        rule("two Hosts", "http-authority", good.replace(&host, &format!("{host}host: other.test\r\n"))),
        rule("Host twice", "http-authority", good.replace(&host, &host.repeat(2))),
        rule("no Host", "http-authority", good.replace(&host, "")),
        rule("an empty Host", "http-authority", good.replace(&host, "host: \r\n")),
        rule("userinfo", "http-authority", good.replace(&host, &format!("host: {HOST}@other.test\r\n"))),
        rule("absolute form", "http-authority", good.replace("/mcp", "https://other.test/mcp")),
        rule(
            "absolute form, both elsewhere",
            "http-misdirected",
            good.replace("/mcp", "https://other.test/mcp").replace(&host, "host: other.test\r\n"),
        ),
    ];
    let scene = Scene::new("host");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", LIMITS);
    scene.enter_scope();
    let status = scene.client().ask(&cases[0].bytes).expect("a response").map(|reply| reply.status());
    assert_eq!(status, Some(421));
    play(&scene, &agent, &server, cases);
}

#[test]
fn a_tunnel_or_a_way_round_is_refused() {
    let good = String::from_utf8(post(&ping(1))).expect("text");
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    let get = format!("GET /mcp HTTP/1.1\r\nhost: {HOST}\r\n{upgrade}sec-websocket-version: 13\r\n\r\n");
    let cases = vec![
        refused("CONNECT", format!("CONNECT {HOST}:443 HTTP/1.1\r\nhost: {HOST}:443\r\n\r\n")),
        refused("an upgrade", get),
        rule("another path", "other-paths", good.replace("/mcp", "/admin")),
        refused("dots", good.replace("/mcp", "/mcp/../admin")),
        refused("coded dots", good.replace("/mcp", "/mcp/%2e%2e/admin")),
        refused("coded slash", good.replace("/mcp", "/mcp%2f..%2fadmin")),
        rule("a longer word", "other-paths", good.replace("/mcp", "/mcpx")),
        refused("PUT", good.replace("POST", "PUT")),
        refused("PATCH", good.replace("POST", "PATCH")),
        refused("a method of its own", good.replace("POST", "MCP")),
        refused("GET with a message", good.replace("POST", "GET")),
    ];
    let scene = Scene::new("tunnel");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]\nother_paths = \"deny\"", LIMITS);
    scene.enter_scope();
    play(&scene, &agent, &server, cases);
}

#[test]
fn an_offer_to_change_to_http2_in_plain_text_is_left_alone() {
    const PLAIN: u16 = 8080;
    let scene = Scene::new("h2c");
    let good = scene.serve_good();
    let plain = scene.serve(PLAIN, Speaks::Plain);
    let agent = scene.agent(&[GOOD, PLAIN], "paths = [\"/mcp\"]", LIMITS);
    let reply = Curl::post(&format!("http://{HOST}:{PLAIN}/mcp"), &ping(1)).with(&["--http2"]).run(&scene.stage, APP);
    assert_eq!((reply.exit, reply.status, reply.http.as_str()), (0, 200, "1.1"), "{reply:?}");
    let seen = plain.seen();
    assert!(seen.len() == 1 && seen[0].header("upgrade").is_none(), "{seen:?}");
    assert!(seen[0].header("http2-settings").is_none(), "{seen:?}");
    scene.enter_scope();
    scene.still_works(&agent, &good);
}

#[test]
fn headers_that_belong_to_the_request_cannot_be_taken_off_it() {
    let scene = Scene::new("nominated");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", LIMITS);
    scene.enter_scope();

    let message = ping(1).to_string();
    for name in ["host", "content-type", "content-encoding", "mcp-session-id", "authorization"] {
        let before = server.seen().len();
        let more = format!("connection: {name}\r\nmcp-session-id: s\r\nauthorization: Bearer t\r\n");
        let _ = scene.client().ask(&post_bytes(message.as_bytes(), &more)).expect("an end");
        // Refused or whole; never without what the sender put on it.
        for seen in &server.seen()[before..] {
            assert_eq!(seen.header("host"), Some(HOST), "connection: {name}");
            assert_eq!(seen.header("content-type"), Some("application/json"), "connection: {name}");
        }
    }
    scene.still_works(&agent, &server);
}

#[test]
fn too_much_is_refused() {
    let gzip = |plain: &[u8]| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(plain).expect("compress");
        encoder.finish().expect("compress")
    };
    let message = ping(1).to_string();
    let good = String::from_utf8(post(&ping(1))).expect("text");
    let coded = |coding: &str, body: &[u8]| post_bytes(body, &format!("content-encoding: {coding}\r\n"));
    let padded = |bytes: usize| {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"x\":\"{}\"}}}}", "x".repeat(bytes))
    };
    let big = padded(70_000);
    let chunked = with("transfer-encoding: chunked\r\n", &format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len()));
    let twice = [gzip(message.as_bytes()), gzip(message.as_bytes())].concat();
    let cases = vec![
        refused("a header block", post_bytes(message.as_bytes(), &format!("x: {}\r\n", "x".repeat(40_000)))),
        refused("a target", good.replace("/mcp", &format!("/mcp?{}", "x".repeat(40_000)))),
        refused("headers", post_bytes(message.as_bytes(), &"x: y\r\n".repeat(500))),
        rule("a body", "request-too-large", post_bytes(big.as_bytes(), "")),
        rule("chunks", "request-too-large", chunked),
        rule("a body beyond every buffer", "request-too-large", post_bytes(padded(8 << 20).as_bytes(), "")),
        rule("a gzip bomb", "request-too-large", coded("gzip", &gzip(padded(32 << 20).as_bytes()))),
        rule("two gzip members", "http-body", coded("gzip", &twice)),
        rule("what is not gzip", "http-body", coded("gzip", message.as_bytes())),
        rule("half of gzip", "http-body", coded("gzip", &gzip(message.as_bytes())[..20])),
        rule("an unknown coding", "http-body", coded("compress", message.as_bytes())),
        rule("two codings", "http-body", coded("gzip, gzip", &gzip(&gzip(message.as_bytes())))),
    ];
    let scene = Scene::new("toomuch");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "paths = [\"/mcp\"]", LIMITS);
    scene.enter_scope();
    // A good coded message goes through first, as it came.
    let coded = scene.client().ask(&coded("gzip", &gzip(message.as_bytes()))).expect("a response").expect("a response");
    assert_eq!(server.seen().last().map(|seen| seen.body.clone()), Some(gzip(message.as_bytes())), "{coded:?}");
    play(&scene, &agent, &server, cases);
}

#[test]
fn a_client_that_leaves_within_its_request_leaves_nothing_behind() {
    let scene = Scene::new("leaves");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "[limits]\nheader_timeout_ms = 300");
    scene.enter_scope();

    let whole = post(&ping(1));
    for length in [1, 20, whole.len() - 5] {
        let mut client = scene.client();
        client.send(&whole[..length]).expect("send");
    }
    // One that stays and says nothing more is sent away.
    let mut slow: RawClient = scene.client();
    slow.send(&whole[..20]).expect("send");
    slow.drain().expect("an end");

    agent.records_once("four flows that ended", |records| flows_to(records, GOOD).len() >= 4);
    assert_eq!(server.seen(), []);
    scene.still_works(&agent, &server);
}
