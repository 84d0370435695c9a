//! The same over HTTP/2: another authority, too many headers, a body that is too large.

use weir_tests::fixture::{APP, Agent, ConfigToml, Curl, Reply, ServerKind, Stage};

use crate::scene::{denied_by, ping};

#[test]
fn what_http1_refuses_http2_refuses() {
    let mut stage = Stage::new("h2");
    let server = stage.serve(ServerKind::Node, "mcp.test");
    let limits = "[limits]\nrequest_bytes = 65536\nheader_bytes = 16384";
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, "paths = [\"/mcp\"]").and(limits));
    let post = || Curl::post(&server.url(), &ping(1)).with(&["--http2"]);
    let refused = |what: &str, reply: &Reply, status: u16, rule: &str| {
        assert_eq!((reply.http.as_str(), reply.status), ("2", status), "{what}: {reply:?}");
        agent.records_once(&format!("{what} denied by {rule}"), |records| {
            records.0.iter().filter_map(denied_by).next_back() == Some(rule)
        });
        assert!(server.seen().is_empty(), "{what}: the server saw {:?}", server.seen());
    };

    refused("another authority", &post().header("host", "other.test").run(&stage, APP), 421, "http-misdirected");
    let big = format!("@{}", big_message(&stage));
    let oversized = Curl::get(&server.url()).with(&["--http2", "--json", &big]).run(&stage, APP);
    refused("a body", &oversized, 413, "request-too-large");

    let headers = post().header("x", &"x".repeat(40_000)).run(&stage, APP);
    assert!(headers.status == 431 || headers.exit != 0, "{headers:?}");
    assert!(server.seen().is_empty(), "the server saw {:?}", server.seen());
    agent.records_once("the end of all three flows", |records| {
        records.filter(|record| record.event()["class_uid"] == 4001).count() == 3
    });

    let reply = post().run(&stage, APP);
    assert_eq!(server.seen().len(), 1, "{reply:?}");
    agent.verify();
}

/// A file with a message beyond the limit.
fn big_message(stage: &Stage) -> String {
    let path = stage.world().dir().join("big.json");
    let text = "x".repeat(1 << 20);
    let message = format!("{{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"ping\",\"params\":{{\"x\":\"{text}\"}}}}");
    std::fs::write(&path, message).expect("write a file");
    path.display().to_string()
}
