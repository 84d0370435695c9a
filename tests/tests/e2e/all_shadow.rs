//! `tcp = "all"`: MCP at servers that nobody registered is seen, reported once, and refused where that is asked for.

use serde_json::json;
use weir_tests::{
    fixture::{APP, Agent, Client, ConfigToml, Curl, Record, Records, ServerKind, Stage},
    raw::{
        client::{RawClient, Trust},
        server,
    },
};

use crate::scene::{GOOD, Scene, ping};

fn all(unregistered: &str) -> ConfigToml {
    ConfigToml::of(&[]).intercept(&format!("tcp = \"all\"\nunregistered = \"{unregistered}\""))
}

fn sightings(records: &Records) -> Vec<&Record> {
    records.filter(|record| record.event()["is_alert"] == true).collect()
}

#[test]
fn mcp_with_a_python_server_is_reported_once_and_works_on() {
    is_reported_once_and_works_on(ServerKind::Python, "shadowpython");
}

#[test]
fn mcp_with_a_node_server_is_reported_once_and_works_on() {
    is_reported_once_and_works_on(ServerKind::Node, "shadownode");
}

fn is_reported_once_and_works_on(kind: ServerKind, name: &str) {
    let mut stage = Stage::new(name);
    let server = stage.serve_plain(kind, "shadow.test");
    let agent = Agent::start(&stage, &all("allow"));
    let client = Client::python(&server.url()).call("echo", &json!({ "text": "s3cret" }));
    for _ in 0..2 {
        assert_eq!(client.run(&stage, APP).text(), "s3cret");
    }
    let marked = |record: &Record| {
        record.event()["flow"]["end"] == "spliced" && record.event()["flow"]["shadow"]["kind"] == "mcp"
    };
    let records = agent.records_once("flows with MCP", |records| records.filter(marked).count() >= 2);
    let reports = sightings(&records);
    assert_eq!(reports.len(), 1, "{}", records.summary());
    let event = reports[0].event();
    assert_eq!((&event["class_uid"], &event["count"]), (&json!(4001), &json!(1)), "{}", reports[0].line);
    assert_eq!(event["dst_endpoint"]["hostname"], "shadow.test");
    assert_eq!(event["verdict"]["action"], "allow");
    assert_eq!(reports[0].workload("cgroup"), APP);
    assert!(agent.status()["unregistered"]["shadow_mcp"].as_u64() >= Some(2), "{}", agent.status());
    assert!(agent.files_with("s3cret").is_empty(), "nothing of the messages is kept");
    agent.verify();
}

#[test]
fn mcp_in_clear_text_is_refused_where_asked_and_other_http_is_not() {
    let mut stage = Stage::new("denymcp");
    let server = stage.serve_plain(ServerKind::Python, "shadow.test");
    let agent = Agent::start(&stage, &all("deny-mcp"));
    assert_eq!(Curl::get("http://shadow.test/nothing").run(&stage, APP).status, 404);
    let seen = server.seen().len();

    let reply =
        Curl::post(&server.url(), &json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/list" })).run(&stage, APP);
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.body.contains("not registered"), "{reply:?}");
    assert!(!Client::python(&server.url()).call("echo", &json!({ "text": "x" })).run(&stage, APP).succeeded);
    // A head may have gone before the body told what it was.
    assert!(server.seen()[seen..].iter().all(|seen| seen.body().is_empty()), "no message got there");
    let records = agent.records_once("a report", |records| !sightings(records).is_empty());
    let report = sightings(&records)[0];
    assert_eq!(report.event()["verdict"]["action"], "deny", "{}", report.line);
    agent.verify();
}

#[test]
fn likely_names_over_tls_are_reported_as_likely() {
    let scene = Scene::new("likely");
    let name = "mcp.vendor.example";
    let server = scene.serve(8443, server::tls(&scene.certificate(&[name]), &["http/1.1"]));
    let agent = Agent::start(&scene.stage, &scene.config(&[GOOD], "", "").intercept("tcp = \"all\""));
    scene.enter_scope();
    let theirs = Trust::file(Some(&scene.stage.server_ca()), &["http/1.1"]);
    for _ in 0..3 {
        let mut client = RawClient::tls(server.addr(), name, &theirs).expect("TLS with the server itself");
        let request = weir_tests::raw::client::post(name, "/mcp", "", ping(1).to_string().as_bytes());
        assert!(client.ask(&request).expect("a response").is_some());
    }
    let marked = |record: &Record| record.event()["flow"]["end"] == "spliced";
    let records = agent.records_once("three flows", |records| records.filter(marked).count() == 3);
    let reports = sightings(&records);
    assert_eq!(reports.len(), 1, "{}", records.summary());
    assert_eq!(reports[0].event()["flow"]["shadow"]["kind"], "likely_mcp", "{}", reports[0].line);
    assert!(records.filter(marked).all(|record| record.event()["flow"]["shadow"]["kind"] == "likely_mcp"));
    assert_eq!(agent.status()["unregistered"]["likely_mcp"], 3);
}

#[test]
fn deny_leaves_endpoints_and_loopback() {
    let scene = Scene::new("denyall");
    let good = scene.serve_good();
    let other = scene.serve(80, server::Speaks::Plain);
    let config = scene.config(&[GOOD], "", "").intercept("tcp = \"all\"\nunregistered = \"deny\"");
    let agent = Agent::start(&scene.stage, &config);
    scene.enter_scope();
    scene.still_works(&agent, &good);

    let reply = Curl::get(&format!("http://{}/", other.addr())).run(&scene.stage, APP);
    assert_eq!((reply.exit, reply.status), (56, 0), "a reset: {reply:?}");
    assert_eq!(other.connections(), 0, "not even dialled");
    let refused = |record: &Record| record.event()["flow"]["end"] == "refused";
    let records = agent.records_once("a refusal", |records| records.filter(refused).count() == 1);
    let reason = records.filter(refused).next().expect("a record").event()["status_detail"].clone();
    assert!(reason.as_str().is_some_and(|reason| reason.contains("intercept.unregistered")), "{reason}");

    let local = server_on_loopback();
    assert!(
        RawClient::plain(local.addr())
            .expect("connect")
            .ask(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
            .expect("a response")
            .is_some()
    );
}

fn server_on_loopback() -> server::RawServer {
    server::RawServer::start(std::net::Ipv4Addr::LOCALHOST.into(), 8081, server::Speaks::Plain)
}
