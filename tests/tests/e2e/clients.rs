//! Unmodified clients get the same results directly and through Weir, and every call leaves its two records.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, OUTSIDE, ServerKind, Stage, script};

use crate::story::{assert_recorded, direct_and_through, initialize, stage_with, tool_call};

fn common_steps(client: Client) -> Client {
    client
        .then(script::list())
        .call("add", &json!({ "a": 19, "b": 23 }))
        .call("echo", &json!({ "text": "grüße \u{1f4a7} \"quoted\" \\ \u{2028} end" }))
        .call("fail", &json!({}))
        .call("no-such-tool", &json!({}))
}

#[test]
fn python_sdk_2_speaks_the_modern_era() {
    let (stage, server) = stage_with(ServerKind::Python, "py-modern");
    let client = common_steps(Client::python(&server.url()));
    let (direct, through, agent) = direct_and_through(&stage, &server, &client);
    assert!(direct.succeeded, "{direct:#?}");
    assert_eq!(direct, through);

    let records = agent.records_once("five calls answered", |log| {
        log.calls("tools/call").iter().filter(|call| call.response.is_some()).count() == 4
    });
    let add = records.only_call("add");
    assert_recorded(&add, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
    assert_eq!(add.request.mcp("era"), "modern");
    assert_eq!(add.request.mcp("protocol_version"), "2026-07-28");
    assert!(add.request.mcp("session_id").is_null());
    assert_eq!(records.only_call("fail").outcome(), "error");
    assert_eq!(records.only_call("no-such-tool").outcome(), "error");
    assert_eq!(records.calls("server/discover").len(), 1);
    agent.verify();
}

#[test]
fn python_sdk_2_speaks_the_session_era() {
    let (stage, server) = stage_with(ServerKind::Python, "py-session");
    let client = common_steps(Client::python_session(&server.url()));
    let (direct, through, agent) = direct_and_through(&stage, &server, &client);
    assert!(direct.succeeded, "{direct:#?}");
    assert_eq!(direct, through);

    let records = agent.records();
    let add = records.only_call("add");
    assert_recorded(&add, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
    assert_session_era(&add.request, &server);
    agent.verify();
}

#[test]
fn npm_sdk_1_speaks_the_session_era() {
    let (stage, server) = stage_with(ServerKind::Node, "npm-session");
    let client = common_steps(Client::node(&server.url()));
    let (direct, through, agent) = direct_and_through(&stage, &server, &client);
    assert!(direct.succeeded, "{direct:#?}");
    assert_eq!(direct, through);

    let records = agent.records();
    let add = records.only_call("add");
    assert_recorded(&add, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
    assert_session_era(&add.request, &server);
    let exe = add.request.workload("process")["exe"].as_str().unwrap_or_default();
    assert!(exe.ends_with("/node"), "{exe}");
    agent.verify();
}

/// The record's session and revision are those that the server saw with the last request.
fn assert_session_era(record: &weir_tests::fixture::Record, server: &weir_tests::fixture::Server) {
    assert_eq!(record.mcp("era"), "session");
    assert_eq!(record.mcp("protocol_version"), "2025-11-25");
    let seen = server.seen();
    let session = seen.iter().rev().find_map(|request| request.header("mcp-session-id"));
    assert_eq!(record.mcp("session_id").as_str(), session);
}

#[test]
fn curl_speaks_http_1_by_hand() {
    converse_by_hand("--http1.1", "1.1");
}

#[test]
fn curl_speaks_http_2_by_hand() {
    converse_by_hand("--http2", "2.0");
}

fn converse_by_hand(option: &str, version: &str) {
    let (stage, server) = stage_with(ServerKind::Node, "curl");
    let converse = |cgroup| {
        let hello = Curl::post(&server.url(), &initialize("2025-06-18")).with(&[option]).run(&stage, cgroup);
        let session = hello.header("mcp-session-id").unwrap_or_default().to_owned();
        let say = |message| {
            let post = Curl::post(&server.url(), &message).with(&[option]).header("mcp-session-id", &session);
            post.header("mcp-protocol-version", "2025-06-18").run(&stage, cgroup)
        };
        let list = say(json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" }));
        let call = say(tool_call(2, "add", &json!({ "a": 19, "b": 23 })));
        [hello, list, call]
    };
    let direct = converse(OUTSIDE);
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let through = converse(APP);
    for (direct, through) in direct.iter().zip(&through) {
        assert_eq!(direct.exit, 0, "{direct:#?}");
        assert_eq!((direct.status, direct.message()), (through.status, through.message()));
        assert_eq!(direct.http, through.http);
        assert_eq!(direct.header("content-type"), through.header("content-type"));
        // The socket's own view: the real server.
        assert_eq!((&direct.peer, direct.peer_port), (&through.peer, through.peer_port));
    }
    assert_eq!(server.seen().last().expect("a request").http_version(), version);

    let call = agent.records().only_call("add");
    assert_recorded(&call, &server, "add", &json!({ "a": 19, "b": 23 }), "42");
    let exe = call.request.workload("process")["exe"].as_str().unwrap_or_default();
    assert!(exe.ends_with("/curl"), "{exe}");
    agent.verify();
}

#[test]
fn the_server_sees_the_application_address() {
    let mut stage = Stage::new("addresses");
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let client = Client::python(&server.url()).call("add", &json!({ "a": 1, "b": 1 }));
    assert_eq!(client.run(&stage, APP).text(), "2");
    let [v4, _] = server.client_addresses();
    assert!(server.seen().iter().all(|request| request.peer() == v4));
    let call = agent.records().only_call("add");
    assert_eq!(call.request.event()["dst_endpoint"]["ip"], server.addresses()[0].to_string());
    assert_eq!(call.request.event()["dst_endpoint"]["hostname"], "mcp.test");
}
