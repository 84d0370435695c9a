//! Bearer tokens, OAuth, client certificates; and what must not be given to others.

use std::{
    fs,
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::{Value, json};
use weir_tests::{
    fixture::{APP, Agent, Aws, ConfigToml, Curl, ServerKind, Stage, eventually},
    raw::{
        Wire,
        http1::Http1,
        server::{RawServer, Speaks, Then},
    },
};

use crate::trial::{Trial, ping};

#[test]
fn a_bearer_token_comes_from_a_file_and_is_read_again() {
    let mut stage = Stage::new("bearer");
    let wanted = stage.world().dir().join("wanted");
    fs::write(&wanted, "Bearer first-4fa1").expect("write a token");
    let wanted_path = wanted.display().to_string();
    let server = stage.serve_with(
        ServerKind::Aws,
        "mcp.test",
        true,
        &["--bearer", &wanted_path, "--moved", "/moved", "--moved-to", "https://evil.test/"],
    );
    ["first-4fa1", "second-9bd2"].into_iter().for_each(|token| stage.agents_secret(token));
    let token = stage.world().dir().join("token");
    fs::write(&token, "first-4fa1\n").expect("write a token");
    let own = format!("paths = [\"/rpc\", \"/moved\"]\ncredentials = {{ bearer = {{ file = {token:?} }} }}");
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, &own));
    let call = Curl::post("https://mcp.test/rpc", &ping(1)).header("authorization", "Bearer theirs-77e0");
    assert_eq!(call.run(&stage, APP).status, 200, "{:#?}", server.seen());
    fs::write(&wanted, "Bearer second-9bd2").expect("write a token");
    assert_eq!(call.run(&stage, APP).status, 401, "the old one is not good any more");
    fs::write(&token, "second-9bd2\n").expect("write a token");
    assert_eq!(call.run(&stage, APP).status, 200, "{:#?}", server.seen());

    // What else lives on the host gets nothing, and what the client sent is left to it.
    let other = Curl::get("https://mcp.test/.well-known/x").header("authorization", "Bearer theirs-77e0");
    assert_eq!(other.run(&stage, APP).status, 401);
    assert_eq!(server.seen().pop().expect("a request").header("authorization"), Some("Bearer theirs-77e0"));
    // A redirect is the client's to follow, without the token.
    let before = server.seen().len();
    let moved = Curl::post("https://mcp.test/moved", &ping(1)).run(&stage, APP);
    assert_eq!((moved.status, moved.header("location")), (307, Some("https://evil.test/")), "{moved:#?}");
    assert_eq!(server.seen().len(), before + 1);

    let records = agent.records();
    assert_eq!(records.calls("ping")[0].request.event()["credential"], json!({ "kind": "bearer" }));
    for secret in ["first-4fa1", "second-9bd2", "theirs-77e0"] {
        assert!(agent.files_with(secret).is_empty(), "{secret}");
    }
    agent.verify();
}

#[test]
fn a_bearer_token_comes_from_secrets_manager() {
    let trial = Trial::new("managed", &[], &[]);
    trial.stage.agents_secret("managed-c0de77");
    let secret = json!({ "token": "managed-c0de77", "user": "weir" }).to_string();
    let created = Curl::get(&trial.aws.url())
        .header("content-type", "application/x-amz-json-1.1")
        .header("x-amz-target", "secretsmanager.CreateSecret")
        .header("authorization", "AWS4-HMAC-SHA256 Credential=x/20260101/us-east-1/secretsmanager/aws4_request, SignedHeaders=host, Signature=0")
        .with(&["--data-binary", &json!({ "Name": "mcp/token", "SecretString": secret, "ClientRequestToken": "0".repeat(32) }).to_string()])
        .run(&trial.stage, "/outside");
    assert_eq!(created.status, 200, "{created:#?}");
    let url = trial.aws.url();
    let agent = trial.agent(&format!(
        "{{ bearer = {{ secret_id = \"mcp/token\", key = \"token\", region = \"us-east-1\", endpoint_url = \"{url}\" }} }}"
    ));
    // This server wants a signature, and shows what it got instead.
    assert_eq!(trial.ping().status, 403);
    assert_eq!(trial.seen()[0].header("authorization"), Some("Bearer managed-c0de77"));
    trial.assert_nothing_leaked(&agent, &["managed-c0de77"]);
    agent.verify();
}

#[test]
fn an_authorisation_server_grants_a_token_for_the_resource() {
    let trial = Trial::new("oauth", &[], &[]);
    let idp = RawServer::start("127.0.0.1".parse().expect("an address"), 9000, Speaks::Plain);
    idp.answers(Arc::new(|_: &Http1, wire: &mut dyn Wire| {
        let body = json!({ "access_token": "granted-55aa01", "token_type": "Bearer", "expires_in": 3600 }).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        wire.write_all((head + &body).as_bytes())?;
        Ok(Then::KeepAlive)
    }));
    ["hush-0b1e44", "granted-55aa01"].into_iter().for_each(|secret| trial.stage.agents_secret(secret));
    let secret = trial.file("client-secret", "hush-0b1e44\n");
    let agent = trial.agent(&format!(
        "{{ oauth = {{ token_url = \"http://127.0.0.1:9000/token\", client_id = \"weir\", \
         client_secret = {{ file = \"{secret}\" }}, client_auth = \"post\", resource = \"https://mcp.test/mcp\", \
         scopes = [\"tools\"] }} }}"
    ));
    for _ in 0..3 {
        assert_eq!(trial.ping().status, 403);
    }
    assert!(trial.seen().iter().all(|seen| seen.header("authorization") == Some("Bearer granted-55aa01")));
    let asked = idp.seen();
    assert_eq!(asked.len(), 1, "a token is used for as long as it is good");
    let form = String::from_utf8_lossy(&asked[0].body).into_owned();
    for part in
        ["grant_type=client_credentials", "resource=https%3A%2F%2Fmcp.test%2Fmcp", "scope=tools", "client_id=weir"]
    {
        assert!(form.contains(part), "{part}: {form}");
    }
    trial.assert_nothing_leaked(&agent, &["hush-0b1e44", "granted-55aa01"]);
    agent.verify();
}

#[test]
fn a_token_that_is_refused_is_asked_for_again_but_not_each_time() {
    let mut stage = Stage::new("oauth-again");
    let wanted = stage.world().dir().join("wanted");
    fs::write(&wanted, "Bearer granted-2-6cd0").expect("write a token");
    // It refuses in chunks, without a length.
    let server = stage.serve_with(ServerKind::Aws, "mcp.test", true, &["--bearer", &wanted.display().to_string()]);
    let idp = RawServer::start("127.0.0.1".parse().expect("an address"), 9000, Speaks::Plain);
    let granted = Arc::new(AtomicUsize::new(0));
    let number = Arc::clone(&granted);
    idp.answers(Arc::new(move |_: &Http1, wire: &mut dyn Wire| {
        let token = format!("granted-{}-6cd0", number.fetch_add(1, Ordering::SeqCst) + 1);
        // No clock goes so far.
        let body = json!({ "access_token": token, "token_type": "Bearer", "expires_in": u64::MAX }).to_string();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n", body.len());
        wire.write_all((head + &body).as_bytes())?;
        Ok(Then::KeepAlive)
    }));
    let secret = stage.world().dir().join("client-secret");
    fs::write(&secret, "hush-0b1e44\n").expect("write a secret");
    ["hush-0b1e44", "granted-1-6cd0", "granted-2-6cd0"].into_iter().for_each(|secret| stage.agents_secret(secret));
    let oauth = format!(
        "credentials = {{ oauth = {{ token_url = \"http://127.0.0.1:9000/token\", client_id = \"weir\", \
         client_secret = {{ file = {secret:?} }} }} }}"
    );
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, &oauth));
    let call = || Curl::post("https://mcp.test/rpc", &ping(1)).run(&stage, APP).status;
    for _ in 0..5 {
        assert_eq!(call(), 401);
    }
    assert_eq!(granted.load(Ordering::SeqCst), 1, "a new one for each refusal would be a flood");
    eventually("the next token", || (call() == 200).then_some(()));
    assert_eq!(granted.load(Ordering::SeqCst), 2);
    agent.verify();
}

#[test]
fn a_server_that_wants_a_client_certificate_gets_it() {
    let mut stage = Stage::new("mtls");
    let [cert, key] = ["client.pem", "client.key"].map(|name| stage.world().dir().join(name).display().to_string());
    let arguments = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=client";
    let mut openssl = Command::new("openssl");
    openssl.args(arguments.split(' ')).args(["-out", &cert, "-keyout", &key]).stderr(Stdio::null());
    assert!(openssl.status().expect("run openssl").success());
    let server = stage.serve_with(ServerKind::Aws, "mcp.test", true, &["--client-ca", &cert]);
    let call = Curl::post("https://mcp.test/rpc", &ping(1));
    assert_ne!(call.run(&stage, "/outside").exit, 0, "without one there is no connection");
    let own = format!("credentials = {{ mtls = {{ cert = {cert:?}, key = {key:?} }} }}");
    let agent = Agent::start(&stage, &ConfigToml::of(&[]).endpoint(&server, &own));
    let reply = call.header("authorization", "Bearer theirs").run(&stage, APP);
    assert_eq!(reply.status, 200, "{reply:#?}");
    assert_eq!(server.seen()[0].header("authorization"), Some("Bearer theirs"));
    let credential: Value = agent.records().calls("ping")[0].request.event()["credential"].clone();
    assert_eq!(credential, json!({ "kind": "mtls" }));
    agent.verify();
}

#[test]
fn nothing_is_put_on_plain_http() {
    let mut stage = Stage::new("plain");
    let server = stage.serve_plain(ServerKind::Python, "plain.test");
    let own = "credentials = { sigv4 = { service = \"lambda\", region = \"us-east-1\" } }";
    let agent = Agent::start_with(&stage, &ConfigToml::of(&[]).endpoint(&server, own), &Aws::ENVIRONMENT);
    let reply = Curl::post("http://plain.test/mcp", &ping(1)).run(&stage, APP);
    assert_eq!(reply.message()["error"]["data"]["rule"], "credential-plain-text", "{reply:#?}");
    assert!(server.seen().is_empty());
    agent.verify();
}
