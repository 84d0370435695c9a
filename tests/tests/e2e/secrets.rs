//! Secrets stay inside: nothing that was masked, and no credential, is in any byte that the agent wrote.

use std::path::PathBuf;

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, ServerKind, Stage};

use crate::story::{initialize, stage_with, tool_call};

const NOWHERE: [PathBuf; 0] = [];

const MASK: &str = r#"
[[mask]]
name = "cards"
paths = ["$.params.arguments.card"]
"#;

#[test]
fn a_masked_value_reaches_the_server_and_nobody_else() {
    let (stage, server) = stage_with(ServerKind::Python, "mask");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(MASK));
    let card = "4929123412341234";
    let client = Client::python(&server.url()).call("pay", &json!({ "card": card, "amount": 5 }));
    assert_eq!(client.run(&stage, APP).text(), "charged 5 to a card of 16 digits");
    server.has_seen("the card in the clear", |request| request.message()["params"]["arguments"]["card"] == card);

    let call = agent.records().only_call("pay");
    assert_eq!(call.request.mcp("params")["arguments"]["amount"], 5);
    let recorded = call.request.mcp("params")["arguments"]["card"].clone();
    assert!(recorded.is_string() && recorded != card, "{recorded}");
    assert_eq!(call.request.event()["masked"]["cards"], 1, "{}", call.request.line);
    assert_eq!(agent.files_with(card), NOWHERE);
    agent.verify();
}

#[test]
fn equal_values_are_masked_alike_and_others_are_not() {
    let (stage, server) = stage_with(ServerKind::Python, "mask-alike");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]).and(MASK));
    let (mine, yours) = ("4929123412341234", "5105105105105100");
    let mut client = Client::python(&server.url());
    for card in [mine, yours, mine] {
        client = client.call("pay", &json!({ "card": card, "amount": 5 }));
    }
    assert!(client.run(&stage, APP).succeeded);
    let calls = agent.records().tool_calls("pay");
    let masked: Vec<_> = calls.iter().map(|call| &call.request.mcp("params")["arguments"]["card"]).collect();
    assert_eq!(masked[0], masked[2]);
    assert_ne!(masked[0], masked[1]);
    assert_eq!(agent.files_with(mine), NOWHERE);
    assert_eq!(agent.files_with(yours), NOWHERE);
}

#[test]
fn credentials_are_nowhere_in_what_the_agent_writes() {
    let (stage, server) = stage_with(ServerKind::Node, "credentials");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let secrets = [
        ("authorization", "Bearer bearer-5f1c0a77e2"),
        ("cookie", "session=cookie-91b2d04c6e"),
        ("x-amz-security-token", "amz-7d3e90ab15"),
        ("x-amz-content-sha256", "sha-c0ffee5512"),
        ("proxy-authorization", "Basic proxy-44aa90cc1b"),
    ];
    for option in ["--http1.1", "--http2"] {
        let mut hello = Curl::post(&server.url(), &initialize("2025-06-18")).with(&[option]);
        let mut metadata =
            Curl::get("https://mcp.test/.well-known/openid-configuration?code=query-60be11d2a9").with(&[option]);
        for (name, value) in secrets {
            hello = hello.header(name, value);
            metadata = metadata.header(name, value);
        }
        let reply = hello.run(&stage, APP);
        assert_eq!(reply.status, 200, "{reply:#?}");
        let _ = metadata.run(&stage, APP);
        let session = reply.header("mcp-session-id").expect("a session");
        let call = tool_call(1, "add", &json!({ "a": 1, "b": 2 }));
        let _ = Curl::post(&server.url(), &call).header("mcp-session-id", session).run(&stage, APP);
    }
    let seen = server.seen();
    for (name, value) in &secrets[..4] {
        assert!(seen.iter().any(|request| request.header(name) == Some(value)), "{name} did not reach the server");
    }
    agent.records_once("the calls", |log| log.tool_calls("add").len() == 2);
    for secret in ["bearer-5f1c", "cookie-91b2", "amz-7d3e", "sha-c0ff", "proxy-44aa", "query-60be"] {
        assert_eq!(agent.files_with(secret), NOWHERE, "{secret}");
    }
}

#[test]
fn the_log_is_for_root_only() {
    use std::os::unix::fs::PermissionsExt as _;

    let stage: Stage = Stage::new("modes");
    let agent = Agent::start(&stage, &ConfigToml::of(&[]));
    let mode = |path: &std::path::Path| std::fs::metadata(path).expect("look at a file").permissions().mode() & 0o777;
    assert_eq!(mode(&agent.audit_dir()), 0o700);
    for entry in std::fs::read_dir(agent.audit_dir()).expect("list the log").flatten() {
        assert_eq!(mode(&entry.path()) & 0o077, 0, "{}", entry.path().display());
    }
}
