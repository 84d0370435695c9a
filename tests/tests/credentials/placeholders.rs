//! Workloads whose only credentials are those of the metadata services, which the agent answers: what they sign works through
//! Weir, and nowhere else. The real service is in a namespace of its own, and counts who comes.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::{Value, json};
use weir_tests::{
    fixture::{APP, Agent, Aws, Client, ConfigToml, Curl, OUTSIDE, Signer},
    world::{Neighbour, ip},
};

use crate::{scan::assert_no_key_in, trial::Trial};

const OTHER: &str = "/other";
const IMDS: &str = "http://169.254.169.254";
const SERVICES: [&str; 3] = ["169.254.169.254", "169.254.170.2", "169.254.170.23"];

/// The real metadata services, as far as connections go: each is noted by the first line that it brings.
struct Real {
    came: Arc<Mutex<Vec<String>>>,
    _neighbour: Neighbour,
}

impl Real {
    fn new(trial: &mut Trial) -> Self {
        let neighbour = trial.stage.world_mut().neighbour();
        let [gate, gate6] = neighbour.addresses();
        for service in SERVICES {
            ip(&format!("route add {service}/32 via {gate}"));
        }
        ip(&format!("route add fd00:ec2::/64 via {gate6}"));
        let came: Arc<Mutex<Vec<String>>> = Arc::default();
        neighbour.run(|| {
            for service in SERVICES {
                ip(&format!("addr add {service}/32 dev lo"));
            }
            ip("addr add fd00:ec2::254/128 dev lo nodad");
            for address in ["0.0.0.0:80", "[fd00:ec2::254]:80"] {
                let listener = TcpListener::bind(address).expect("listen");
                let came = Arc::clone(&came);
                thread::spawn(move || {
                    for mut stream in listener.incoming().map_while(Result::ok) {
                        let mut line = String::new();
                        let _ = BufReader::new(&stream).read_line(&mut line);
                        came.lock().expect("a list").push(line.trim().to_owned());
                        let _ =
                            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nreal");
                    }
                });
            }
        });
        Self { came, _neighbour: neighbour }
    }

    fn came(&self) -> Vec<String> {
        self.came.lock().expect("a list").clone()
    }
}

/// Both applications are in scope; the first has opted in.
fn config(trial: &Trial, more: &str) -> ConfigToml {
    let own = format!("credentials = {}", trial.role(""));
    ConfigToml::of(&[])
        .endpoint(&trial.server, &own)
        .scope(&[APP, OTHER])
        .and(&format!("[placeholder]\nworkloads = [\"process/app\"]\nregion = \"us-east-1\"\n{more}"))
}

fn agent(trial: &Trial) -> Agent<'_> {
    trial.agent_with(&config(trial, "other_calls = \"fail\""))
}

fn works(answer: &Value) {
    assert_eq!(answer["status"], 200, "{answer}");
    assert!(answer["body"].as_str().is_some_and(|body| body.contains("result")), "{answer}");
}

/// The reason for which a call is refused, as the client reads it.
fn reason(answer: &Value) -> String {
    let body: Value = serde_json::from_str(answer["body"].as_str().expect("a body")).expect("JSON");
    body["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

#[test]
fn a_client_with_nothing_but_the_instance_metadata_gets_through() {
    let mut trial = Trial::new("ph-instance", &[], &[]);
    let real = Real::new(&mut trial);
    let agent = agent(&trial);
    let gates = trial.stage.gates("gates");
    let arguments = ["--service", "bedrock-agentcore", "--region", "us-east-1"];
    let url = "https://mcp.test/mcp";
    let mut client = Client::aws_proxy_of_the_instance(&trial.stage, APP, url, &gates.gate("end"), &arguments);
    client.until("result");
    assert_no_key_in(&trial, &agent, APP);
    gates.open("end");
    let transcript = client.finish();
    assert_eq!(transcript.text(), "42", "{transcript:#?}\n{}", agent.log());

    let seen = trial.seen();
    assert!(!seen.is_empty() && seen.iter().all(|seen| seen.0["verified"].is_object()), "{seen:#?}");
    let key = seen[0].0["verified"]["key"].as_str().expect("a key");
    assert!(!key.starts_with("WEIR"), "{key}");
    let records =
        agent.records_once("the call's end", |log| log.tool_calls("add").iter().any(|c| c.response.is_some()));
    let credential = records.only_call("add").request.event()["credential"].clone();
    assert_eq!((&credential["presented"], &credential["access_key_id"]), (&json!("placeholder"), &json!(key)));
    let told = records.filter(|record| {
        record.event()["dst_endpoint"]["ip"] == "169.254.169.254" && record.line.contains("1 placeholders")
    });
    assert!(told.count() >= 1, "{}", records.summary());
    assert_eq!(real.came(), Vec::<String>::new(), "nobody asked the real service");
    trial.assert_nothing_leaked(&agent, &[]);
    agent.verify();
}

#[test]
fn clients_in_containers_get_through_by_their_own_services() {
    let mut trial = Trial::new("ph-container", &[], &[]);
    let real = Real::new(&mut trial);
    let agent = agent(&trial);
    for environment in [
        &[("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/v2/credentials/0a1b")][..],
        &[
            ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://169.254.170.23/v1/credentials"),
            ("AWS_CONTAINER_AUTHORIZATION_TOKEN", "a-pods-token"),
        ],
    ] {
        let mut client = Signer::start(&trial.stage, APP, environment);
        let keys = client.keys();
        assert_eq!(keys["method"], "container-role", "{keys}");
        works(&client.call("https://mcp.test/rpc", "", &Value::Null));
        works(&client.call("https://mcp.test/rpc", "unsigned-payload", &Value::Null));
    }
    assert_eq!(real.came(), Vec::<String>::new(), "nobody asked the real services");
    agent.verify();
}

#[test]
fn a_placeholder_is_worth_nothing_anywhere_else() {
    let mut trial = Trial::new("ph-worthless", &["plain.test"], &[]);
    let _real = Real::new(&mut trial);
    let ca = trial.stage.server_ca();
    let plain = format!("[[endpoint]]\nname = \"plain\"\nhosts = [\"plain.test\"]\nupstream_ca = {ca:?}");
    let config = config(&trial, "other_calls = \"fail\"").and(&plain);
    let mut agent = Agent::start_in(&trial.stage, &config, &Aws::ENVIRONMENT);
    let url = "https://mcp.test/rpc";
    let mut client = Signer::start(&trial.stage, APP, &[]);
    let keys = client.keys();
    assert!(keys["id"].as_str().is_some_and(|id| id.starts_with("WEIR")), "{keys}");
    assert_eq!(keys["method"], "iam-role");
    works(&client.call(url, "", &Value::Null));
    let before = trial.seen().len();

    let altered = reason(&client.call(url, "altered", &Value::Null));
    assert!(altered.contains("not the one that was signed"), "{altered}");
    let presigned = reason(&client.call(url, "presigned", &Value::Null));
    assert!(presigned.contains("in the query"), "{presigned}");
    let mut forged = keys.clone();
    forged["token"] = json!("weir.key.9999999999.cHJvY2Vzcy9hcHA.AAAA");
    let forged = reason(&client.call(url, "", &forged));
    assert!(forged.contains("did not give it out"), "{forged}");
    let stolen = reason(&Signer::start(&trial.stage, OTHER, &[]).call(url, "", &keys));
    assert!(stolen.contains("another workload, process/app"), "{stolen}");
    let useless = reason(&client.call("https://plain.test/rpc", "", &Value::Null));
    assert!(useless.contains("no credentials to put in its place"), "{useless}");
    assert_eq!(trial.seen().len(), before, "nothing of it went out");
    let records = agent.records();
    let refused: Vec<_> = records.filter(|r| r.event()["verdict"]["policy"] == "credential-placeholder").collect();
    let presented = refused.iter().filter(|record| record.event()["credential"]["presented"] == "placeholder").count();
    assert_eq!((refused.len(), presented), (5, 4), "{}", records.summary());

    // Past Weir: to the server itself, which asks AWS's keys.
    let past = Signer::start(&trial.stage, OUTSIDE, &[]).call(url, "", &keys);
    assert_eq!(past["status"], 403, "{past}");
    assert_eq!(trial.seen().last().map(|seen| seen.0["refused"].clone()), Some(json!("the key is not known")));

    // It outlives the agent that gave it, and is the next one's too.
    agent.terminate();
    agent.restart();
    works(&client.call(url, "", &keys));
    agent.upgrade();
    works(&client.call(url, "", &keys));
    let secret = keys["secret"].as_str().expect("a secret");
    assert!(agent.files_with(secret).is_empty(), "not even a placeholder's secret is written");
    agent.verify();
}

#[test]
fn the_real_service_is_out_of_reach_of_who_opted_in_and_of_nobody_else() {
    out_of_reach("ph-reach", "tcp = \"registered\"");
}

#[test]
fn so_it_is_where_every_connection_is_taken() {
    out_of_reach("ph-reach-all", "tcp = \"all\"");
}

fn out_of_reach(name: &str, intercept: &str) {
    let mut trial = Trial::new(name, &[], &[]);
    let real = Real::new(&mut trial);
    let agent = trial.agent_with(&config(&trial, "other_calls = \"fail\"").intercept(intercept));
    let role = format!("{IMDS}/latest/meta-data/iam/security-credentials/");
    assert_eq!(Curl::get(&role).run(&trial.stage, APP).status, 401, "version 1 is not spoken");
    let token = Curl::get(&format!("{IMDS}/latest/api/token"))
        .with(&["--request", "PUT"])
        .header("x-aws-ec2-metadata-token-ttl-seconds", "60");
    let forwarded = token.clone().header("x-forwarded-for", "10.0.0.1").run(&trial.stage, APP);
    assert_eq!(forwarded.status, 403);
    let token = token.run(&trial.stage, APP);
    assert_eq!((token.status, token.peer.as_str()), (200, "169.254.169.254"));
    let with_token = |path: &str| {
        Curl::get(&format!("{IMDS}{path}")).header("x-aws-ec2-metadata-token", &token.body).run(&trial.stage, APP)
    };
    assert_eq!(with_token("/latest/user-data").status, 404);
    assert_eq!(with_token("/latest/meta-data/placement/region").body, "us-east-1");
    for other in ["http://[fd00:ec2::254]/latest/user-data", "http://[::ffff:169.254.169.254]/latest/user-data"] {
        assert_eq!(Curl::get(other).run(&trial.stage, APP).status, 401, "{other}");
    }
    let datagram =
        "import socket; socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('169.254.169.254', 80))";
    let mut command = trial.stage.world().command(APP, "python3");
    let output = command.args(["-c", datagram]).output().expect("run python");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("Operation not permitted"), "{said}");
    assert_eq!(real.came(), Vec::<String>::new(), "none of it arrived");

    for (cgroup, expected) in [(OTHER, 1), (OUTSIDE, 2)] {
        let reply = Curl::get(&role).run(&trial.stage, cgroup);
        assert_eq!((reply.body.as_str(), real.came().len()), ("real", expected), "{cgroup}");
    }
    agent.verify();
}

#[test]
fn others_can_be_kept_from_the_hosts_credentials() {
    let mut trial = Trial::new("ph-others", &[], &[]);
    let real = Real::new(&mut trial);
    let agent = trial.agent_with(&config(&trial, "other_calls = \"fail\"\nothers = \"deny\""));
    assert_ne!(Curl::get(IMDS).run(&trial.stage, OTHER).exit, 0);
    assert_eq!(real.came(), Vec::<String>::new());
    agent.records_once("the refusal", |log| {
        log.filter(|record| record.line.contains("placeholder.others")).next().is_some()
    });
    agent.verify();
}

#[test]
fn other_calls_of_the_workload_are_signed_again_and_those_that_give_keys_are_refused() {
    let hosts = ["dynamodb", "s3", "sts"].map(|service| format!("{service}.us-east-1.amazonaws.com"));
    let mut trial = Trial::new("ph-services", &hosts.each_ref().map(String::as_str), &[]);
    let _real = Real::new(&mut trial);
    let ca = trial.stage.server_ca();
    let [dynamodb, s3, sts] = &hosts;
    let config = config(&trial, "").and(&format!(
        "[[endpoint]]\nname = \"aws\"\nhosts = [\"*.amazonaws.com\", {dynamodb:?}, {s3:?}, {sts:?}]\nmcp = false\n\
         upstream_ca = {ca:?}\ncredentials = {{ sigv4 = {{}} }}"
    ));
    let agent = trial.agent_with(&config);
    let mut client = Signer::start(&trial.stage, APP, &[("AWS_STS_REGIONAL_ENDPOINTS", "regional")]);
    let ask = |client: &mut Signer, service: &str, operation: &str, arguments: Value| {
        client.ask(&json!({ "do": "client", "service": service, "operation": operation, "arguments": arguments }))
    };
    // A target header, which must be signed; no body; a body in chunks, with a checksum behind.
    let put = json!({ "Bucket": "b", "Key": "k", "Body": 9_000_000, "Metadata": { "own": "1" } });
    for (service, operation, arguments) in [
        ("dynamodb", "ListTables", json!({})),
        ("s3", "HeadObject", json!({ "Bucket": "b", "Key": "a b/ü+1" })),
        ("s3", "PutObject", put),
    ] {
        let answer = ask(&mut client, service, operation, arguments);
        let is_well = answer["answer"].as_u64().is_some_and(|status| status < 300);
        assert!(is_well, "{operation}: {answer}\n{}", trial.server.complaints());
    }
    let seen = trial.seen();
    assert!(seen.iter().all(|seen| seen.0["verified"]["key"] == Aws::KEY_ID), "{seen:#?}");
    assert!(seen.iter().any(|seen| seen.header("x-amz-target").is_some_and(|of| of.contains("ListTables"))));
    let upload = seen.last().expect("a request");
    assert_eq!(upload.header("x-amz-content-sha256"), Some("STREAMING-UNSIGNED-PAYLOAD-TRAILER"));
    assert_eq!(upload.header("x-amz-meta-own"), Some("1"));
    let assume = json!({ "RoleArn": "arn:aws:iam::111122223333:role/x", "RoleSessionName": "xx" });
    for (operation, arguments) in [("AssumeRole", assume), ("GetSessionToken", json!({}))] {
        let refused = ask(&mut client, "sts", operation, arguments);
        let why = refused["error"].as_str().unwrap_or_default();
        assert!(why.contains("which the workload is not to have"), "{refused}");
    }
    assert_eq!(trial.seen().len(), seen.len(), "no key is asked for");
    let records = agent.records();
    let http = records.filter(|record| record.event()["credential"]["presented"] == "placeholder").count();
    assert!(http >= 5, "{}", records.summary());
    // Whoever brings other keys is not helped.
    let keys = json!({ "id": "AKIATHEIROWN00000001", "secret": "theirs", "token": null });
    let theirs = client.ask(&json!({ "do": "client", "service": "dynamodb", "operation": "ListTables", "keys": keys }));
    assert_eq!(theirs["status"], 403, "{theirs}");
    trial.assert_nothing_leaked(&agent, &[]);
    agent.verify();
}
