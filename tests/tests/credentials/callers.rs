//! Callers and workloads that prove who they are, at an endpoint that takes nothing unsigned.

use serde_json::json;
use weir_tests::fixture::{APP, Agent, Aws, Client, ConfigToml, Curl, eventually};

use crate::trial::{ROLE, Trial, ping};

const AUDIENCE: &str = "https://mcp.test/mcp";

#[test]
fn a_caller_by_token_has_a_session_of_their_own_and_shows_nobody_else_the_token() {
    let trial = Trial::new("caller-role", &[], &[]);
    let idp = trial.stage.idp(AUDIENCE);
    let caller = format!("{{ issuer = \"{}\", audience = \"{AUDIENCE}\", required = true }}", idp.issuer());
    let role = trial.role("tags = [\"caller\", \"caller_issuer\"]");
    let own = format!("paths = [\"/mcp\"]\ncaller = {caller}\ncredentials = {role}");
    let agent = trial.agent_with(&ConfigToml::of(&[]).endpoint(&trial.server, &own));

    // A server that speaks SigV4 knows nothing of tokens: the agent tells clients where to get one.
    let refused = Curl::post(AUDIENCE, &ping(1)).run(&trial.stage, APP);
    let metadata = "https://mcp.test/.well-known/oauth-protected-resource/mcp";
    let challenge = format!("Bearer resource_metadata=\"{metadata}\"");
    assert_eq!((refused.status, refused.header("www-authenticate")), (401, Some(challenge.as_str())), "{refused:#?}");
    let metadata = Curl::get(metadata).run(&trial.stage, APP);
    assert_eq!(metadata.message()["authorization_servers"], json!([idp.issuer()]), "{metadata:#?}");
    assert!(trial.seen().is_empty() && trial.aws.asked().is_empty(), "nobody was asked for a session yet");

    let token = idp.service_token(&trial.stage, AUDIENCE);
    let client = Client::python_session(AUDIENCE).header("authorization", &format!("Bearer {token}"));
    let transcript = client.call("add", &json!({ "a": 19, "b": 23 })).run(&trial.stage, APP);
    assert_eq!(transcript.text(), "42", "{transcript:#?}");

    let asked = trial.aws.asked();
    assert_eq!(asked.len(), 1, "one session for one caller: {asked:#?}");
    let session = "service+process=app";
    assert_eq!((&asked[0]["RoleArn"], &asked[0]["RoleSessionName"]), (&json!(ROLE), &json!(session)));
    assert_eq!(asked[0]["SourceIdentity"], "service");
    let tag = |number: usize| {
        (&asked[0][format!("Tags.member.{number}.Key")], &asked[0][format!("Tags.member.{number}.Value")])
    };
    assert_eq!(tag(1), (&json!("weir-caller"), &json!("service")));
    assert_eq!(tag(2), (&json!("weir-caller-issuer"), &json!(idp.issuer())));
    for seen in trial.seen() {
        assert!(seen.0["verified"].is_object(), "{seen:#?}");
        assert!(!seen.header("authorization").is_some_and(|value| value.contains(&token)), "the token went upstream");
    }
    let log = agent.records_once("the call", |log| !log.tool_calls("add").is_empty());
    let call = log.only_call("add");
    let record = call.request.event();
    assert_eq!((&record["caller"]["sub"], &record["credential"]["session_name"]), (&json!("service"), &json!(session)));
    trial.assert_nothing_leaked(&agent, &[]);
    agent.verify();
}

#[test]
fn a_container_proves_itself_with_the_token_in_its_own_files() {
    const TOKEN: &str = "of-the-pod-0a1b2c3d4e5f.6071829a.b3c4d5e6f708";
    const THERE: &str = "10.88.0.1";
    let trial = Trial::new("web-identity", &[], &[]);
    trial.stage.secret(TOKEN);
    trial.stage.world().add_hosts(&format!("{THERE} mcp.test"));
    let role = trial.role("web_identity_token_file = \"/etc/token\"");
    let own = format!("paths = [\"/mcp\"]\ncredentials = {role}");
    let config = ConfigToml::of(&[]).endpoint(&trial.server, &own).scope(&["/docker"]);
    // Without a key of its own.
    let agent = Agent::start_in(&trial.stage, &config, &Aws::ENVIRONMENT[2..]);
    let container = trial.stage.container('a').cable(&trial.server, "10.88.0.2", THERE);
    let add = |a: u32| Client::python_session(AUDIENCE).call("add", &json!({ "a": a, "b": 1 }));
    let without = container.play(&add(1)).finish();
    assert!(!without.succeeded, "there is no token yet: {without:#?}");
    assert!(trial.aws.asked().is_empty() && trial.seen().is_empty());

    container.put("etc/token", &format!("{TOKEN}\n"));
    eventually("the token is looked for again", || container.play(&add(2)).finish().succeeded.then_some(()));
    let asked = trial.aws.asked();
    assert_eq!(asked.len(), 1, "{asked:#?}");
    assert_eq!(asked[0]["Action"], "AssumeRoleWithWebIdentity");
    assert_eq!((&asked[0]["WebIdentityToken"], &asked[0]["RoleArn"]), (&json!(TOKEN), &json!(ROLE)));
    let name = asked[0]["RoleSessionName"].as_str().expect("a name");
    assert!(name.starts_with("container=aaaa"), "{name}");
    assert!(trial.seen().iter().all(|seen| seen.0["verified"].is_object()), "{:#?}", trial.seen());
    trial.assert_nothing_leaked(&agent, &[TOKEN]);
    agent.verify();
}
