//! Callers by bearer token: a real provider's tokens, forged ones, and what clients see of a refusal.

use std::time::Instant;

use serde_json::{Value, json};
use weir_tests::fixture::{
    APP, Agent, Client, ConfigToml, Curl, Idp, OUTSIDE, Reply, Server, ServerKind, Stage, eventually,
};

use crate::story::initialize;

const AUDIENCE: &str = "https://mcp.test/mcp";
const METADATA: &str = "https://mcp.test/.well-known/oauth-protected-resource/mcp";

fn stage_with_idp(name: &str) -> (Stage, Server, Idp) {
    let mut stage = Stage::new(name);
    let server = stage.serve(ServerKind::Python, "mcp.test");
    let idp = stage.idp(AUDIENCE);
    (stage, server, idp)
}

fn config(server: &Server, idp: &Idp, keys: &str) -> ConfigToml {
    let caller = format!("{{ issuer = \"{}\", audience = \"{AUDIENCE}\", required = true{keys} }}", idp.issuer());
    ConfigToml::of(&[]).endpoint(server, &format!("paths = [\"/mcp\"]\ncaller = {caller}"))
}

fn ask(stage: &Stage, server: &Server, token: Option<&str>) -> Reply {
    let curl = Curl::post(&server.url(), &initialize("2025-06-18"));
    let curl = match token {
        None => curl,
        Some(token) => curl.header("authorization", &format!("Bearer {token}")),
    };
    curl.run(stage, APP)
}

fn add() -> Value {
    json!({ "a": 19, "b": 23 })
}

#[test]
fn a_token_of_the_provider_lets_its_caller_in_and_ends_at_the_agent() {
    let (stage, server, idp) = stage_with_idp("caller-token");
    let agent = Agent::start(&stage, &config(&server, &idp, ", allowed_groups = [\"robots\"]"));
    let token = idp.service_token(&stage, AUDIENCE);
    let header = format!("Bearer {token}");
    for client in [Client::python(&server.url()), Client::python_session(&server.url()), Client::node(&server.url())] {
        let transcript = client.header("authorization", &header).call("add", &add()).run(&stage, APP);
        assert!(transcript.succeeded, "{transcript:#?}\n{}", server.complaints());
    }
    assert!(server.seen().iter().all(|seen| seen.header("authorization").is_none()), "the token went upstream");
    let log = agent.records_once("the ends of three calls", |log| {
        log.tool_calls("add").iter().filter(|call| call.response.is_some()).count() == 3
    });
    for call in log.tool_calls("add") {
        for record in [&call.request, call.answer()] {
            let caller = json!({ "sub": "service", "issuer": idp.issuer(), "groups": ["robots"] });
            assert_eq!(record.event()["caller"], caller, "{}", record.line);
        }
        assert_eq!(call.request.mcp("edits"), &json!(["authorization"]), "{}", call.request.line);
    }
    let signature = token.rsplit('.').next().expect("a signature");
    assert_eq!(agent.files_with(signature), Vec::<std::path::PathBuf>::new(), "the token was kept");
    agent.verify();
}

#[test]
fn clients_without_a_token_are_told_where_to_get_one() {
    let (stage, server, idp) = stage_with_idp("caller-missing");
    let agent = Agent::start(&stage, &config(&server, &idp, ""));
    let reply = ask(&stage, &server, None);
    assert_eq!(reply.status, 401, "{reply:#?}");
    assert_eq!(reply.header("www-authenticate"), Some(format!("Bearer resource_metadata=\"{METADATA}\"").as_str()));
    assert_eq!(reply.message()["error"]["data"]["rule"], "caller-required");

    // What the challenge names is served, though the server knows nothing of it.
    assert_ne!(Curl::get(METADATA).run(&stage, OUTSIDE).status, 200);
    let metadata = Curl::get(METADATA).run(&stage, APP);
    assert_eq!(metadata.status, 200, "{metadata:#?}");
    assert_eq!(metadata.message()["resource"], AUDIENCE);
    assert_eq!(metadata.message()["authorization_servers"], json!([idp.issuer()]));

    // The SDKs as they ship: no hang, no fallback to another era, an error that says what is missing.
    for (client, kind) in [(Client::python(&server.url()), "python"), (Client::node(&server.url()), "node")] {
        let transcript = client.call("add", &add()).run(&stage, APP);
        assert!(!transcript.succeeded, "{kind}: {transcript:#?}");
        let said = transcript.events.last().expect("an error")["message"].to_string();
        assert!(said.contains("caller-required"), "{kind}: {said}");
    }
    assert!(server.seen().iter().all(|seen| seen.method() != "POST"), "something reached the server");
    let log = agent.records_once("the refused call", |log| !log.calls("initialize").is_empty());
    let refused = &log.calls("initialize")[0].request;
    assert_eq!(refused.event()["verdict"]["action"], "deny", "{}", refused.line);
    assert_eq!(refused.event()["verdict"]["policy"], "caller-required", "{}", refused.line);
    agent.verify();
}

#[test]
fn a_stream_needs_a_caller_as_a_call_does() {
    let (stage, server, idp) = stage_with_idp("caller-stream");
    let _agent = Agent::start(&stage, &config(&server, &idp, ""));
    for method in ["GET", "DELETE"] {
        let reply = Curl::get(&server.url()).with(&["--request", method]).run(&stage, APP);
        assert_eq!(reply.status, 401, "{method}: {reply:#?}");
    }
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn where_every_path_is_the_endpoints_none_leads_around_the_caller() {
    let (stage, server, idp) = stage_with_idp("caller-around");
    let caller = format!("caller = {{ issuer = \"{}\", audience = \"{AUDIENCE}\", required = true }}", idp.issuer());
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, &caller));
    for path in ["/../../mcp", "/%2e%2e/%2e%2e/mcp", "/..%2f..%2fmcp", "/..;/..;/mcp"] {
        let url = format!("https://mcp.test/.well-known/openid-configuration{path}");
        let reply = Curl::get(&url).with(&["--path-as-is"]).run(&stage, APP);
        assert_eq!(reply.status, 401, "{path}: {reply:#?}");
    }
    assert_eq!(server.seen().len(), 0, "one was served");
    agent.verify();
}

#[test]
fn a_token_ends_at_the_agent_where_none_is_asked_for_too() {
    let (stage, server, idp) = stage_with_idp("caller-unasked");
    let caller = format!("caller = {{ issuer = \"{}\", audience = \"{AUDIENCE}\", required = true }}", idp.issuer());
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, &caller));
    let bearer = format!("Bearer {}", idp.service_token(&stage, AUDIENCE));
    let discovery = "https://mcp.test/.well-known/openid-configuration";
    for (method, url) in [("OPTIONS", AUDIENCE), ("GET", discovery)] {
        let options = ["--request", method, "--header", "x-kept: yes"];
        let _ = Curl::get(url).header("authorization", &bearer).with(&options).run(&stage, APP);
        let seen = server.has_seen(method, |seen| seen.method() == method);
        assert_eq!((seen.header("authorization"), seen.header("x-kept")), (None, Some("yes")), "{method}");
    }
    agent.verify();
}

#[test]
fn forged_expired_and_foreign_tokens_are_refused_and_ask_the_provider_once() {
    let (stage, server, idp) = stage_with_idp("caller-forged");
    let agent = Agent::start(&stage, &config(&server, &idp, ", allowed_groups = [\"developers\"]"));
    assert_eq!(ask(&stage, &server, Some(&idp.token(&stage, "good", "jane"))).status, 200);
    let (before, began) = (idp.key_fetches(&stage), Instant::now());
    for kind in ["expired", "audience", "none", "hs"] {
        let reply = ask(&stage, &server, Some(&idp.token(&stage, kind, "jane")));
        assert_eq!(reply.status, 401, "{kind}: {reply:#?}");
        let challenge = reply.header("www-authenticate").expect("a challenge");
        assert!(challenge.contains("error=\"invalid_token\"") && challenge.contains(METADATA), "{kind}: {challenge}");
    }
    assert_eq!(idp.key_fetches(&stage), before, "known keys are not fetched again");
    let flood: Vec<_> = (0..20).map(|_| idp.token(&stage, "kid", "jane")).collect();
    std::thread::scope(|scope| {
        for token in &flood {
            scope.spawn(|| assert_eq!(ask(&stage, &server, Some(token)).status, 401));
        }
    });
    let fetches = idp.key_fetches(&stage) - before;
    // One in ten seconds, however long a busy host took for all of this.
    let most = 1 + began.elapsed().as_secs() / 10;
    assert!(fetches <= most, "twenty unknown keys cost {fetches} fetches, more than {most}");
    assert_eq!(ask(&stage, &server, Some("opaque")).status, 401);

    let reply = ask(&stage, &server, Some(&idp.token(&stage, "good", "joe")));
    assert_eq!(reply.status, 403, "{reply:#?}");
    let challenge = reply.header("www-authenticate").expect("a challenge");
    assert!(challenge.contains("error=\"insufficient_scope\""), "{challenge}");
    assert!(server.seen().len() <= 1, "only the good one reached the server");
    agent.verify();
}

#[test]
fn keys_rotate_and_outlive_their_provider() {
    let (stage, server, mut idp) = stage_with_idp("caller-rotation");
    let mut agent = Agent::start(&stage, &config(&server, &idp, ""));
    let old = idp.service_token(&stage, AUDIENCE);
    assert_eq!(ask(&stage, &server, Some(&old)).status, 200);
    idp.rotate(&stage);
    let new = idp.service_token(&stage, AUDIENCE);
    eventually("the new key is fetched", || (ask(&stage, &server, Some(&new)).status == 200).then_some(()));
    assert_eq!(ask(&stage, &server, Some(&old)).status, 401, "what is published no more is believed no more");

    let unknown = idp.token(&stage, "kid", "jane");
    idp.stop();
    std::thread::scope(|scope| {
        // Those with keys that nobody can look up now hold up none that are known.
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(ask(&stage, &server, Some(&unknown)).status, 401));
            scope.spawn(|| {
                let reply = ask(&stage, &server, Some(&new));
                assert_eq!(reply.status, 200, "known keys hold while the provider is down");
            });
        }
    });
    agent.terminate();
    agent.restart();
    let reply = ask(&stage, &server, Some(&new));
    assert_eq!(reply.message()["error"]["data"]["rule"], "caller-unverifiable", "closed without keys: {reply:#?}");
    idp.start(&stage);
    let token = idp.service_token(&stage, AUDIENCE);
    eventually("the provider is back", || (ask(&stage, &server, Some(&token)).status == 200).then_some(()));
    agent.verify();
}

#[test]
fn a_token_that_is_the_servers_too_is_passed_on() {
    let (stage, server, idp) = stage_with_idp("caller-passthrough");
    let _agent = Agent::start(&stage, &config(&server, &idp, ", passthrough = true"));
    let token = idp.service_token(&stage, AUDIENCE);
    assert_eq!(ask(&stage, &server, Some(&token)).status, 200);
    let seen = server.has_seen("the call", |seen| seen.message()["method"] == "initialize");
    assert_eq!(seen.header("authorization"), Some(format!("Bearer {token}").as_str()));
    // Its metadata is the server's own then, which has none.
    assert_ne!(Curl::get(METADATA).run(&stage, APP).status, 200);
}
