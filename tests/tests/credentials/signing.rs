//! Every request that leaves is signed as botocore would sign it.

use std::fs;

use serde_json::json;
use weir_tests::fixture::{APP, Aws, ConfigToml, Curl, Seen};

use crate::trial::{Trial, ping};

/// Kinds of endpoint: host, path, service, region.
const KINDS: [(&str, &str, &str, &str); 7] = [
    ("gw-1.gateway.bedrock-agentcore.us-east-1.amazonaws.com", "/mcp-rpc", "bedrock-agentcore", "us-east-1"),
    (
        "bedrock-agentcore.us-west-2.amazonaws.com",
        "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-west-2%3A111122223333%3Aruntime%2Fmy_agent-1/invocations?qualifier=DEFAULT",
        "bedrock-agentcore",
        "us-west-2",
    ),
    ("aws-mcp.us-east-1.api.aws", "/rpc", "aws-mcp", "us-east-1"),
    ("abc123.lambda-url.eu-west-1.on.aws", "/", "lambda", "eu-west-1"),
    ("a1b2.execute-api.eu-central-1.amazonaws.com", "/prod/tools", "execute-api", "eu-central-1"),
    ("tools-0f.7d67968.vpc-lattice-svcs.us-east-2.on.aws", "/rpc", "vpc-lattice-svcs", "us-east-2"),
    ("mcp.internal.test", "/rpc", "execute-api", "ap-south-1"),
];

fn trial(name: &str) -> (Trial, ConfigToml) {
    let aliases: Vec<_> = KINDS.iter().map(|(host, ..)| *host).collect();
    let trial = Trial::new(name, &aliases, &[]);
    let ca = trial.stage.server_ca();
    let mut config = ConfigToml::of(&[]);
    for (number, (host, _, service, region)) in KINDS.iter().enumerate() {
        let told = if host.ends_with(".test") {
            format!("service = \"{service}\", region = \"{region}\"")
        } else {
            String::new()
        };
        let own = format!("credentials = {{ sigv4 = {{ {told} }} }}");
        config = config
            .and(&format!("[[endpoint]]\nname = \"e{number}\"\nhosts = [\"{host}\"]\nupstream_ca = {ca:?}\n{own}"));
    }
    (trial, config)
}

fn last(trial: &Trial) -> Seen {
    let last = trial.seen().pop().expect("a request");
    assert_eq!(last.0["refused"], json!(null), "{:#}", last.0);
    last
}

#[test]
fn every_kind_of_endpoint_by_both_versions_of_http() {
    let (trial, config) = trial("sign-kinds");
    let agent = trial.agent_with(&config);
    for version in ["--http1.1", "--http2"] {
        for (number, (host, path, service, region)) in KINDS.iter().enumerate() {
            let curl =
                Curl::post(&format!("https://{host}{path}"), &ping(number as u64)).with(&[version, "--path-as-is"]);
            let reply = curl.run(&trial.stage, APP);
            assert_eq!(reply.status, 200, "{host}: {reply:#?}\n{:#?}", trial.seen().last());
            let seen = last(&trial);
            let verified = &seen.0["verified"];
            assert_eq!((&verified["service"], &verified["region"]), (&json!(service), &json!(region)), "{verified}");
            assert_eq!(seen.http_version(), if version == "--http2" { "2" } else { "1.1" });
            let payload = seen.header("x-amz-content-sha256");
            assert_eq!(payload, (*service == "vpc-lattice-svcs").then_some("UNSIGNED-PAYLOAD"));
        }
    }
    let records = agent.records();
    let call = records.calls("ping").remove(0);
    assert_eq!(call.request.event()["credential"], json!({ "kind": "sigv4", "access_key_id": Aws::KEY_ID }));
    trial.assert_nothing_leaked(&agent, &[]);
    agent.verify();
}

/// Each kind of endpoint with a path of its own and the version of HTTP that is its turn.
fn kinds() -> impl Iterator<Item = (&'static str, [&'static str; 2])> {
    KINDS.iter().enumerate().map(|(number, (host, ..))| {
        let versions = ["--http1.1", "--http2"];
        (*host, [versions[number % 2], versions[(number + 1) % 2]])
    })
}

#[test]
fn odd_paths_and_queries_at_every_kind_of_endpoint() {
    let (trial, config) = trial("sign-odd");
    let agent = trial.agent_with(&config);
    let targets = [
        "/a%20b/%C3%BC/~x/!$&'()*,;=:@/%2525",
        "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-west-2%3A111122223333%3Aruntime%2Fmy_agent-1/invocations",
        "/runtimes/arn%253Aaws%253Abedrock-agentcore/%252F/invocations?qualifier=a%252Fb%2526",
        "/x?b=2&a=1&a=0&empty=&none&%C3%A9=%E2%82%AC&s=a%20b%2Bc%26d%3De&t=~_.-&u=a:b/c?d",
        "/x?&&a=1&",
        "/JBDvjfGEIAMCERw%3D/@connections",
        "//double//slashes/",
        "/a/./b/../c",
    ];
    for (host, versions) in kinds() {
        for (number, target) in targets.into_iter().enumerate() {
            let curl = Curl::post(&format!("https://{host}{target}"), &ping(1));
            let reply = curl.with(&[versions[number % 2], "--path-as-is", "--globoff"]).run(&trial.stage, APP);
            assert_eq!(reply.status, 200, "{host}{target}: {reply:#?}\n{:#?}", trial.seen().last());
            let seen = last(&trial);
            let (path, query) = target.split_once('?').unwrap_or((target, ""));
            assert_eq!((&seen.0["path"], &seen.0["query"]), (&json!(path), &json!(query)), "byte for byte");
        }
    }
    agent.verify();
}

#[test]
fn odd_headers_at_every_kind_of_endpoint() {
    let (trial, config) = trial("sign-headers");
    let agent = trial.agent_with(&config);
    for (host, versions) in kinds() {
        let curl = Curl::post(&format!("https://{host}/x"), &ping(1))
            .header("accept", "text/plain")
            .header("mcp-param-spaces", "a   b    c")
            .header("mcp-param-city", "Zürich")
            .header("mcp-param-list", "one, two,three")
            .header("mcp-param-twice", "first")
            .header("mcp-param-twice", "second  one")
            .header("x-own", "ünsigned")
            .header("x-amzn-bedrock-agentcore-runtime-session-id", "0123456789012345678901234567890123")
            .header("mcp-session-id", "session-1");
        for version in versions {
            let reply = curl.clone().with(&[version]).run(&trial.stage, APP);
            assert_eq!(reply.status, 200, "{host}: {reply:#?}\n{:#?}", trial.seen().last());
            let seen = last(&trial);
            assert_eq!(seen.header("mcp-session-id"), Some("session-1"));
            assert_eq!(seen.header("mcp-param-city"), Some("Zürich"));
            let signed = seen.0["verified"]["signed"].to_string();
            let runtime = "x-amzn-bedrock-agentcore-runtime-session-id";
            for name in ["mcp-session-id", "mcp-param-spaces", "mcp-param-twice", "mcp-param-list", runtime, "accept"] {
                assert!(signed.contains(name), "{name}: {signed}");
            }
        }
    }
    // A header that goes on in the next line reads in two ways, so it goes no further.
    let before = trial.seen().len();
    let folded = Curl::post("https://mcp.internal.test/x", &ping(1)).header("mcp-param-folded", "one\r\n two");
    let reply = folded.with(&["--http1.1"]).run(&trial.stage, APP);
    assert_eq!((reply.status, trial.seen().len()), (400, before), "{reply:#?}");
    agent.verify();
}

#[test]
fn bodies_of_any_size_and_script_at_every_kind_of_endpoint() {
    let (trial, config) = trial("sign-bodies");
    let agent = trial.agent_with(&config);
    let path = trial.stage.world().dir().join("body.json");
    let of_size = |size: usize| {
        let message = |fill: &str| json!({ "jsonrpc": "2.0", "id": 1, "method": "ping", "params": { "_meta": { "fill": fill } } });
        let fill = "x".repeat(size.saturating_sub(message("").to_string().len()));
        message(&fill).to_string()
    };
    let odd = r#" {"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"Grüße":"日本語 😀 \u00fc \ud83d\ude00 \u0000","n":1.50e0}}} "#;
    for (host, versions) in kinds() {
        let bodies = [odd.to_owned(), of_size(1), of_size(65_537), of_size(1 << 20), of_size(8 << 20)];
        for (number, body) in bodies.into_iter().enumerate() {
            fs::write(&path, &body).expect("write a body");
            let curl = Curl::post_file(&format!("https://{host}/x"), &path).with(&[versions[number % 2]]);
            let reply = curl.run(&trial.stage, APP);
            assert_eq!(reply.status, 200, "{host}, {}: {reply:#?}", body.len());
            assert_eq!(last(&trial).0["length"], body.len());
        }
        // Without a body: a stream and a session's end.
        for version in versions {
            let url = format!("https://{host}/x");
            let get = Curl::get(&url).header("accept", "text/event-stream").with(&[version]);
            let delete = Curl::get(&url).with(&["--request", "DELETE", version]).header("mcp-session-id", "s");
            let [get, delete] = [get, delete].map(|curl| curl.run(&trial.stage, APP).status);
            assert_eq!((get, delete), (200, 200), "{:#?}", trial.seen());
            assert_eq!(last(&trial).0["length"], 0);
        }
    }
    assert!(trial.seen().iter().all(|seen| seen.0["verified"].is_object()), "none was refused");
    agent.verify();
}

#[test]
fn the_clients_own_signature_is_replaced_and_says_what_to_sign_for() {
    let trial = Trial::new("sign-again", &[], &[]);
    let agent = trial.agent("{ sigv4 = {} }");
    let scope = "AKIACLIENT/20261123/us-east-2/aws-mcp/aws4_request";
    let signed = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders=host;x-amz-date, Signature=00ff");
    let reply = Curl::post("https://mcp.test/rpc?x=1", &ping(1))
        .header("authorization", &signed)
        .header("x-amz-date", "20200101T000000Z")
        .header("x-amz-security-token", "their-token")
        .header("x-amz-content-sha256", "00")
        .run(&trial.stage, APP);
    assert_eq!(reply.status, 200, "{reply:#?}\n{:#?}", trial.seen());
    let seen = last(&trial);
    assert_eq!(seen.0["verified"]["service"], "aws-mcp");
    assert_eq!(seen.0["verified"]["region"], "us-east-2");
    assert_eq!(seen.header("x-amz-security-token"), None);
    assert_eq!(seen.header("x-amz-content-sha256"), None);

    let presigned = "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIACLIENT%2F20261123%2Feu-north-1%2Flambda%2Faws4_request\
                     &X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host&X-Amz-Signature=00ff";
    let reply = Curl::post(&format!("https://mcp.test/rpc?a=1&{presigned}&b=2"), &ping(2)).run(&trial.stage, APP);
    assert_eq!(reply.status, 200, "{reply:#?}");
    let seen = last(&trial);
    assert_eq!((&seen.0["query"], &seen.0["verified"]["service"]), (&json!("a=1&b=2"), &json!("lambda")));
    assert_eq!(agent.files_with("their-token").len(), 0);
}

#[test]
fn a_wrong_clock_is_corrected_by_the_servers_and_the_call_goes_through() {
    let trial = Trial::new("sign-clock", &[], &[]);
    let agent = trial.agent("{ sigv4 = { service = \"lambda\", region = \"us-east-1\" } }");
    for (off, requests) in [("7200", 2), ("7200", 1), ("-7200", 2), ("-7200", 1)] {
        trial.file("clock", off);
        let before = trial.seen().len();
        let reply = trial.ping();
        assert_eq!(reply.status, 200, "{off}: {reply:#?}");
        assert_eq!(trial.seen().len() - before, requests, "{off}: refused once, then known");
    }
    assert_eq!(agent.records().calls("ping").len(), 4, "a call is one call");
    agent.verify();
}
