//! HTTP as clients and servers really speak it.

use std::{collections::HashSet, fs};

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, OUTSIDE, ServerKind, Stage};

use crate::story::{assert_recorded, initialize, stage_with, tool_call};

#[test]
fn a_plain_http_endpoint_is_intercepted_too() {
    let mut stage = Stage::new("plain");
    let server = stage.serve_plain(ServerKind::Python, "mcp.test");
    let client = Client::python(&server.url()).call("add", &json!({ "a": 19, "b": 23 }));
    let direct = client.run(&stage, OUTSIDE);
    assert!(direct.succeeded, "{direct:#?}");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    assert_eq!(direct, client.run(&stage, APP));
    let call = agent.records().only_call("add");
    assert_recorded(&call, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
    agent.verify();
}

#[test]
fn an_ipv6_endpoint_is_intercepted() {
    let (stage, server) = stage_with(ServerKind::Node, "ipv6");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let [_, v6] = server.addresses();
    let hello = Curl::post(&server.url_at(&server.name6()), &initialize("2025-06-18")).run(&stage, APP);
    assert_eq!((hello.exit, hello.status), (0, 200), "{hello:#?}");
    assert_eq!((hello.peer, hello.peer_port), (v6.to_string(), 443));
    let [_, client] = server.client_addresses();
    assert_eq!(server.seen().last().expect("a request").peer(), client);
    let call = &agent.records().calls("initialize")[0];
    assert_eq!(call.request.event()["dst_endpoint"]["ip"], v6.to_string());
    assert_eq!(call.outcome(), "ok");
}

#[test]
fn a_v4_mapped_address_is_the_ipv4_endpoint() {
    let (stage, server) = stage_with(ServerKind::Node, "mapped");
    let [v4, _] = server.addresses();
    let resolve = format!("mcp.test:443:[::ffff:{v4}]");
    let curl = Curl::post(&server.url(), &initialize("2025-06-18")).with(&["--resolve", &resolve]);
    let direct = curl.run(&stage, OUTSIDE);
    assert_eq!((direct.exit, direct.status), (0, 200), "{direct:#?}");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let through = curl.run(&stage, APP);
    assert_eq!((&direct.peer, direct.peer_port), (&through.peer, through.peer_port));
    assert_eq!(direct.message(), through.message());
    let call = &agent.records().calls("initialize")[0];
    assert_eq!(call.request.event()["dst_endpoint"]["ip"], v4.to_string());
}

#[test]
fn trailers_arrive() {
    let mut stage = Stage::new("trailers");
    let server = stage.serve_with(ServerKind::Node, "mcp.test", true, &["--trailers"]);
    let _agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    for option in ["--http1.1", "--http2"] {
        let curl = Curl::post(&server.url(), &initialize("2025-06-18")).with(&[option]).header("te", "trailers");
        let direct = curl.run(&stage, OUTSIDE);
        assert_eq!(direct.header("x-checksum"), Some("0123456789abcdef"), "{direct:#?}");
        let through = curl.run(&stage, APP);
        assert_eq!(through.header("x-checksum"), Some("0123456789abcdef"), "{through:#?}");
        assert_eq!(direct.message(), through.message());
    }
}

#[test]
fn a_client_that_expects_100_continue_gets_it() {
    let (stage, server) = stage_with(ServerKind::Node, "expect");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let hello = Curl::post(&server.url(), &initialize("2025-06-18")).run(&stage, APP);
    let session = hello.header("mcp-session-id").expect("a session").to_owned();

    let long = "weir ".repeat(400_000);
    let body = stage.world().dir().join("body.json");
    fs::write(&body, tool_call(1, "echo", &json!({ "text": long })).to_string()).expect("write a body");
    let curl = Curl::post_file(&server.url(), &body)
        .with(&["--http1.1"])
        .header("expect", "100-continue")
        .header("mcp-session-id", &session);
    for cgroup in [OUTSIDE, APP] {
        let reply = curl.run(&stage, cgroup);
        assert_eq!(reply.headers[0], "HTTP/1.1 100 Continue", "{cgroup}");
        assert_eq!(reply.message()["result"]["content"][0]["text"], long, "{cgroup}");
    }
    // Longer than what a record keeps: cut, and marked.
    let call = agent.records().only_call("echo");
    assert_eq!(call.request.event()["metadata"]["is_truncated"], true);
    assert_eq!(call.outcome(), "ok");
    agent.verify();
}

#[test]
fn connections_are_kept_alive_and_reused() {
    let (stage, server) = stage_with(ServerKind::Python, "keepalive");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let mut client = Client::python(&server.url());
    for number in 0..20 {
        client = client.call("echo", &json!({ "text": format!("call {number}") }));
    }
    assert!(client.run(&stage, APP).succeeded);
    let seen = server.seen();
    let connections: HashSet<u64> = seen.iter().map(weir_tests::fixture::Seen::connection).collect();
    assert!(seen.len() > 20 && connections.len() <= 2, "{} requests on {} connections", seen.len(), connections.len());
    assert_eq!(agent.records().tool_calls("echo").len(), 20);
}
