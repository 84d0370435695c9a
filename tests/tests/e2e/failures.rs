//! The server cannot be reached, or cannot be trusted: the application sees a failure of the same kind as it would without
//! the agent, and a record says why.

use std::{net::Ipv4Addr, process::Command};

use weir_certs::pki::{self, TestPki, Validity};
use weir_tests::{
    fixture::{APP, Agent, Curl, OUTSIDE},
    raw::server::{self, Speaks},
};

use crate::scene::{GOOD, HOST, Scene, flows_to, ping};

/// curl's exit codes for a failed TLS handshake and a certificate that does not verify.
const TLS: [i32; 2] = [35, 60];

/// curl's exit codes for connections that could not be made, or broke before an answer.
const CONNECTION: [i32; 5] = [7, 28, 35, 52, 56];

/// Waits, after a failure, for one flow record for each failed connection, all with this end and a reason that says this.
fn says_why(agent: &Agent<'_>, port: u16, count: usize, end: &str, reason: &str) {
    let what = format!("{count} flows to {port} that ended {end}");
    let records = agent.records_once(&what, |records| flows_to(records, port).len() >= count);
    let flows = flows_to(&records, port);
    assert!(
        flows.iter().all(|(was, why)| was == end && why.contains(reason)),
        "port {port}: {end} because of {reason:?} expected: {flows:?}"
    );
}

#[test]
fn a_server_that_is_down_looks_down() {
    const DOWN: u16 = 8443;
    let scene = Scene::new("down");
    let good = scene.serve_good();
    let agent = scene.agent(&[GOOD, DOWN], "", "");

    assert_eq!(scene.python(OUTSIDE, DOWN).kind, "connect");
    let python = scene.python(APP, DOWN);
    assert!(["connect", "connection", "tls"].contains(&python.kind.as_str()), "{python:?}");
    let curl = scene.curl(APP, DOWN);
    assert!(CONNECTION.contains(&curl.exit) && curl.status == 0, "{curl:?}");

    says_why(&agent, DOWN, 2, "upstream_unreachable", "refused");
    scene.enter_scope();
    scene.still_works(&agent, &good);
}

#[test]
fn a_server_that_never_answers_is_given_up_in_bounded_time() {
    const LOST: &str = "lost.test";
    let scene = Scene::new("lost");
    let good = scene.serve_good();
    // Routed to the neighbour, which drops what is for there without a word.
    let address = Ipv4Addr::new(10, 99, 0, 1);
    let gateway = scene.there.addresses()[0];
    scene.there.run(|| ip(&format!("route add blackhole {address}/32")));
    ip(&format!("route add {address}/32 via {gateway}"));
    scene.stage.world().add_hosts(&format!("{address} {LOST}"));
    let ca = scene.stage.server_ca();
    let endpoint = format!("[[endpoint]]\nname = \"lost\"\nhosts = [\"{LOST}\"]\nupstream_ca = {ca:?}");
    let agent = scene.agent(&[GOOD], "", &format!("{endpoint}\n[limits]\nconnect_timeout_ms = 300"));

    // curl itself would wait for a minute: an earlier end is the agent's.
    let curl = Curl::post(&format!("https://{LOST}/mcp"), &ping(1)).run(&scene.stage, APP);
    assert!(CONNECTION.contains(&curl.exit) && curl.exit != 28 && curl.status == 0, "{curl:?}");

    let records = agent.records_once("a flow that ended", |records| !flows_to(records, GOOD).is_empty());
    let [(end, reason)] = &flows_to(&records, GOOD)[..] else { panic!("one flow in {}", records.summary()) };
    assert_eq!(end, "upstream_unreachable");
    assert!(reason.contains("timed out"), "{reason}");
    scene.enter_scope();
    scene.still_works(&agent, &good);
}

/// One way for a server to fail TLS.
struct Broken {
    port: u16,
    speaks: Speaks,
    /// What Python calls it without the agent; with it, it is one of these too.
    kinds: &'static [&'static str],
    /// What a flow record says of it.
    reason: &'static str,
}

fn broken(scene: &Scene) -> Vec<Broken> {
    let served = |port, server: pki::Server, reason| Broken {
        port,
        speaks: server::tls(&server, &["http/1.1"]),
        kinds: &["tls"],
        reason,
    };
    let raw = |port, opening, kinds, reason| Broken { port, speaks: Speaks::Raw(opening), kinds, reason };
    let pki = scene.pki();
    let stranger = TestPki::new().expect("make a root");
    vec![
        served(8001, pki.server(&[HOST], Validity::Expired).expect("issue"), "has expired"),
        served(8002, pki.server(&[HOST], Validity::NotYetValid).expect("issue"), "not valid yet"),
        served(8003, pki.server(&["other.test"], Validity::Valid).expect("issue"), "another host"),
        served(8004, TestPki::self_signed(&[HOST]).expect("issue"), "trusted root"),
        served(8005, TestPki::self_signed_ca(&[HOST]).expect("issue"), "trusted root"),
        served(8006, stranger.server(&[HOST], Validity::Valid).expect("issue"), "trusted root"),
        served(8007, pki.incomplete_chain(&[HOST]).expect("issue"), "trusted root"),
        raw(8008, server::tls_1_1_only(), &["tls"], "no handshake"),
        Broken {
            port: 8009,
            speaks: server::tls(&scene.certificate(&[HOST]), &["acme-tls/1"]),
            kinds: &["tls"],
            reason: "NoApplicationProtocol",
        },
        raw(8010, server::cut_handshake(), &["tls", "connection"], "closed the connection within the handshake"),
    ]
}

#[test]
fn a_server_that_fails_tls_is_a_tls_failure_never_an_http_answer() {
    let scene = Scene::new("badtls");
    let good = scene.serve_good();
    let cases = broken(&scene);
    let ports: Vec<u16> = std::iter::once(GOOD).chain(cases.iter().map(|case| case.port)).collect();
    let agent = scene.agent(&ports, "", "");

    for Broken { port, speaks, kinds, reason } in cases {
        let server = scene.serve(port, speaks);
        for cgroup in [OUTSIDE, APP] {
            let python = scene.python(cgroup, port);
            assert!(kinds.contains(&python.kind.as_str()), "{reason}, {cgroup}: {python:?}");
            let curl = scene.curl(cgroup, port);
            assert!(TLS.contains(&curl.exit) && curl.status == 0, "{reason}, {cgroup}: {curl:?}");
        }
        assert_eq!(server.spoken_to(), 0, "{reason}: nothing was said to a server that is not trusted");
        says_why(&agent, port, 2, "upstream_tls", reason);
    }
    scene.enter_scope();
    scene.still_works(&agent, &good);
}

#[test]
fn a_handshake_that_never_ends_is_given_up_in_bounded_time() {
    const SILENT: u16 = 8011;
    let scene = Scene::new("silent");
    let good = scene.serve_good();
    let _silent = scene.serve(SILENT, Speaks::Raw(server::silence()));
    let agent = scene.agent(&[GOOD, SILENT], "", "[limits]\nconnect_timeout_ms = 300");

    let curl = scene.curl(APP, SILENT);
    assert!(TLS.contains(&curl.exit) && curl.status == 0, "{curl:?}");
    says_why(&agent, SILENT, 1, "upstream_tls", "did not end in time");
    scene.enter_scope();
    scene.still_works(&agent, &good);
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("run ip (package iproute2)");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
