//! OAuth discovery and challenges pass through unchanged, and are recorded as the HTTP that they are.

use weir_tests::fixture::{APP, Agent, Client, ConfigToml, Curl, OUTSIDE, Server, ServerKind, Stage};

use crate::story::initialize;

const AUTH: [&str; 2] = ["--auth", "https://mcp.test/mcp"];
const METADATA: &str = "/.well-known/oauth-protected-resource/mcp";

fn stage_with_auth(name: &str) -> (Stage, Server) {
    let mut stage = Stage::new(name);
    let server = stage.serve_with(ServerKind::Python, "mcp.test", true, &AUTH);
    (stage, server)
}

#[test]
fn a_challenge_reaches_the_client_unchanged() {
    let (stage, server) = stage_with_auth("challenge");
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    let (direct, through) = (curl.run(&stage, OUTSIDE), curl.run(&stage, APP));
    assert_eq!((direct.status, through.status), (401, 401));
    let challenge = direct.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("resource_metadata="), "{challenge}");
    assert_eq!(through.header("www-authenticate"), Some(challenge));
    assert_eq!(direct.body, through.body);

    let log = agent.records_once("the end of the refused call", |log| log.calls("initialize")[0].response.is_some());
    assert_eq!(log.calls("initialize")[0].outcome(), "error");
    agent.verify();
}

#[test]
fn metadata_passes_and_is_recorded_as_http() {
    let (stage, server) = stage_with_auth("metadata");
    for (number, paths) in ["paths = [\"/mcp\"]", ""].into_iter().enumerate() {
        let config = ConfigToml::of(&[]).endpoint(&server, paths);
        let mut agent = Agent::start(&stage, &config);
        let curl = Curl::get(&format!("https://{}{METADATA}", server.name()));
        let (direct, through) = (curl.run(&stage, OUTSIDE), curl.run(&stage, APP));
        assert_eq!((direct.status, &direct.body), (through.status, &through.body));
        assert_eq!(direct.message()["resource"], "https://mcp.test/mcp");

        let path = |record: &weir_tests::fixture::Record| {
            record.event()["class_uid"] == 4002 && record.event()["http_request"]["url"]["path"] == METADATA
        };
        let answered = |record: &weir_tests::fixture::Record| record.event()["http_response"]["code"] == 200;
        let is_answer = |record: &weir_tests::fixture::Record| path(record) && answered(record);
        let records = agent.records_once("the metadata's answer", |log| log.filter(is_answer).count() > number);
        assert!(records.filter(path).all(|record| record.mcp("endpoint") == server.name()));
        agent.verify();
        agent.terminate();
    }
}

#[test]
fn a_client_with_the_token_gets_in() {
    let (stage, server) = stage_with_auth("token");
    let client = Client::python(&server.url())
        .header("authorization", "Bearer opensesame")
        .call("add", &serde_json::json!({ "a": 19, "b": 23 }));
    let direct = client.run(&stage, OUTSIDE);
    assert!(direct.succeeded, "{direct:#?}\n{}", server.complaints());
    let agent = Agent::start(&stage, &ConfigToml::of(&[&server]));
    assert_eq!(direct, client.run(&stage, APP));
    assert_eq!(agent.files_with("opensesame"), Vec::<std::path::PathBuf>::new());
}
