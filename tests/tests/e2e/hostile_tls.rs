//! What a client can do wrong, or on purpose, before any HTTP: half a hello, half a handshake, no trust, another name.

use std::{
    io::{self, Write as _},
    net::Shutdown,
};

use weir_certs::pki::{self, TestPki, Validity};
use weir_tests::{
    fixture::{APP, Agent},
    raw::{
        client::{RawClient, Trust, dial},
        server::{self, RawServer, Speaks},
    },
};

use crate::scene::{GOOD, HOST, Scene, flows_to, ping, post};

/// A name that no endpoint has.
const OTHER: &str = "other.test";

/// The flow records, once there are so many.
fn ends(agent: &Agent<'_>, count: usize) -> Vec<(String, String)> {
    let records = agent.records_once("a flow that ended", |records| flows_to(records, GOOD).len() >= count);
    flows_to(&records, GOOD)
}

/// A whole `ClientHello` in its record.
fn client_hello() -> Vec<u8> {
    Trust::file(None, &["http/1.1"]).hello(HOST)
}

#[test]
fn half_a_hello_and_silence_is_refused_and_recorded() {
    let scene = Scene::new("halfhello");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "[limits]\nsniff_timeout_ms = 200");
    scene.enter_scope();

    let hello = client_hello();
    let openings: [&[u8]; 4] = [b"", &hello[..1], &hello[..hello.len() / 2], &hello[..hello.len() - 1]];
    for (opening, count) in openings.iter().zip(1..) {
        let mut stream = dial(scene.addr(GOOD)).expect("connect");
        stream.write_all(opening).expect("send");
        let read = io::copy(&mut stream, &mut io::sink());
        assert!(read.as_ref().is_ok_and(|n| *n == 0) || read.is_err_and(|e| weir_tests::raw::is_end(&e)));
        let ends = ends(&agent, count);
        assert_eq!(ends[count - 1].0, "refused", "{} bytes: {ends:?}", opening.len());
        assert!(ends[count - 1].1.contains("in time"), "{} bytes: {ends:?}", opening.len());
    }
    assert_eq!(server.connections(), 0, "the server was not bothered");
    scene.still_works(&agent, &server);
}

#[test]
fn a_hello_that_makes_no_sense_is_refused_and_recorded() {
    let scene = Scene::new("badhello");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");
    scene.enter_scope();

    let mut corrupt = client_hello();
    corrupt[5] = 2;
    let mut endless = vec![22, 3, 1, 0x40, 0];
    endless.extend([1, 0xff, 0xff, 0xff]);
    endless.extend([0; 0x4000 - 4]);
    let endless = endless.repeat(6);
    for (opening, count) in [corrupt.as_slice(), &endless, b"SSH-2.0-OpenSSH_9.6\r\n", &[0; 64]].into_iter().zip(1..) {
        let mut stream = dial(scene.addr(GOOD)).expect("connect");
        // The agent may have gone before the last byte.
        let _ = stream.write_all(opening);
        let _ = io::copy(&mut stream, &mut io::sink());
        let ends = ends(&agent, count);
        assert_eq!(ends[count - 1].0, "refused", "{:?}…: {ends:?}", &opening[..8]);
    }
    assert_eq!(server.connections(), 0, "the server was not bothered");
    scene.still_works(&agent, &server);
}

#[test]
fn a_handshake_that_the_client_leaves_is_recorded_as_the_clients() {
    let scene = Scene::new("halfshake");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "[limits]\nconnect_timeout_ms = 500");
    scene.enter_scope();

    // Gone at once, and silent.
    let mut gone = dial(scene.addr(GOOD)).expect("connect");
    gone.write_all(&client_hello()).expect("send");
    gone.shutdown(Shutdown::Write).expect("close");
    let _ = io::copy(&mut gone, &mut io::sink());
    assert_eq!(ends(&agent, 1)[0].0, "client_tls");

    let mut silent = dial(scene.addr(GOOD)).expect("connect");
    silent.write_all(&client_hello()).expect("send");
    let _ = io::copy(&mut silent, &mut io::sink());
    let (end, reason) = ends(&agent, 2).remove(1);
    assert_eq!(end, "client_tls");
    assert!(reason.contains("in time"), "{reason}");

    assert_eq!(server.spoken_to(), 0);
    scene.still_works(&agent, &server);
}

#[test]
fn a_client_that_does_not_trust_the_ca_is_recorded_with_its_alert() {
    let scene = Scene::new("distrust");
    let server = scene.serve_good();
    let agent = scene.agent(&[GOOD], "", "");

    let python = {
        // Trusts the server's root and nothing else.
        let trust = std::fs::read(scene.stage.trust()).expect("read the roots");
        std::fs::write(scene.stage.trust(), scene.pki().root_pem()).expect("write the roots");
        let python = scene.python(APP, GOOD);
        std::fs::write(scene.stage.trust(), trust).expect("write the roots");
        python
    };
    assert_eq!((python.kind.as_str(), python.what.as_str()), ("tls", "CERTIFICATE_VERIFY_FAILED"));
    let (end, reason) = ends(&agent, 1).remove(0);
    assert_eq!(end, "client_tls");
    assert!(reason.contains("UnknownCA") || reason.contains("unknown_ca"), "the alert is named: {reason}");

    assert_eq!(server.spoken_to(), 0);
    scene.enter_scope();
    scene.still_works(&agent, &server);
}

/// An agent that may learn from the servers' root that a foreign name is another server's.
fn agent_with_roots(scene: &Scene) -> Agent<'_> {
    scene.agent(&[GOOD], "", &format!("[tls]\nupstream_roots = [{:?}]", scene.stage.server_ca()))
}

/// What a client of [`OTHER`] gets that trusts the servers' root only, so that it sees whether the agent stands between.
fn other_client(scene: &Scene) -> io::Result<RawClient> {
    let trust = Trust::file(Some(&scene.stage.server_ca()), &["http/1.1"]);
    RawClient::tls(scene.addr(GOOD), OTHER, &trust)
}

fn serve_two(scene: &Scene, mine: &pki::Server, others: &pki::Server) -> RawServer {
    scene.serve(GOOD, server::tls_by_name(&[(HOST, mine), (OTHER, others)], &["http/1.1"]))
}

#[test]
fn another_name_is_passed_through_when_the_server_proves_it() {
    let scene = Scene::new("foreign");
    let server = serve_two(&scene, &scene.certificate(&[HOST]), &scene.certificate(&[OTHER]));
    let agent = agent_with_roots(&scene);
    scene.enter_scope();

    let request = String::from_utf8(post(&ping(5))).expect("text").replace(HOST, OTHER);
    let reply = other_client(&scene).expect("TLS with the server itself").ask(request.as_bytes()).expect("a response");
    assert_eq!(reply.map(|reply| reply.status()), Some(200));
    let records = agent.records_once("a flow that ended", |records| !flows_to(records, GOOD).is_empty());
    assert_eq!(flows_to(&records, GOOD)[0].0, "spliced");
    assert!(records.calls("ping").is_empty(), "nothing was inspected");
    scene.still_works(&agent, &server);
}

#[test]
fn another_name_is_refused_where_none_is_wanted() {
    let scene = Scene::new("noneighbour");
    let server = serve_two(&scene, &scene.certificate(&[HOST]), &scene.certificate(&[OTHER]));
    let roots = format!("[tls]\nupstream_roots = [{:?}]", scene.stage.server_ca());
    let agent = scene.agent(&[GOOD], "other_names = \"deny\"", &roots);
    scene.enter_scope();

    let error = other_client(&scene).err().expect("the client is refused");
    assert!(error.to_string().contains("alert"), "{error}");
    let (end, reason) = ends(&agent, 1).remove(0);
    assert_eq!(end, "refused");
    assert!(reason.contains("other_names"), "{reason}");
    assert_eq!(server.spoken_to(), 0);
    scene.still_works(&agent, &server);
}

/// Another name is refused when this is what the server proves it with.
fn is_no_proof(name: &str, issue: impl Fn(&Scene) -> pki::Server) {
    let scene = Scene::new(name);
    let server = serve_two(&scene, &scene.certificate(&[HOST]), &issue(&scene));
    let agent = agent_with_roots(&scene);
    scene.enter_scope();

    let error = other_client(&scene).err().expect("the client is refused");
    assert!(error.to_string().contains("alert"), "{error}");
    let (end, reason) = ends(&agent, 1).remove(0);
    assert_eq!(end, "refused");
    assert!(reason.contains(OTHER), "{reason}");
    assert_eq!(server.spoken_to(), 0);
    scene.still_works(&agent, &server);
}

#[test]
fn a_certificate_for_both_names_is_no_proof_of_another_server() {
    is_no_proof("shared", |scene| scene.certificate(&[HOST, OTHER]));
}

#[test]
fn a_certificate_of_an_unknown_root_is_no_proof_of_another_server() {
    is_no_proof("untrusted", |_| {
        let stranger = TestPki::new().expect("make a root");
        stranger.server(&[OTHER], Validity::Valid).expect("issue a certificate")
    });
}

#[test]
fn an_expired_certificate_is_no_proof_of_another_server() {
    is_no_proof("expired", |scene| scene.pki().server(&[OTHER], Validity::Expired).expect("issue a certificate"));
}

#[test]
fn a_server_that_answers_to_any_name_proves_nothing() {
    let scene = Scene::new("anyname");
    // The same certificate, whatever is asked for.
    let server = scene.serve_good();
    let agent = agent_with_roots(&scene);
    scene.enter_scope();

    assert!(other_client(&scene).is_err());
    assert_eq!(ends(&agent, 1)[0].0, "refused");
    assert_eq!(server.spoken_to(), 0);
    scene.still_works(&agent, &server);
}

#[test]
fn a_name_that_was_encrypted_is_not_passed_through() {
    // The outer name is another server's, proven; the inner one may be anybody's, the registered one for example.
    let scene = Scene::new("ech");
    let server = serve_two(&scene, &scene.certificate(&[HOST]), &scene.certificate(&[OTHER]));
    let agent = agent_with_roots(&scene);
    scene.enter_scope();

    let trust = Trust::with_ech_grease(Some(&scene.stage.server_ca()), &["http/1.1"]);
    assert!(RawClient::tls(scene.addr(GOOD), OTHER, &trust).is_err());
    assert_eq!(ends(&agent, 1)[0].0, "refused");
    assert_eq!(server.spoken_to(), 0);
    scene.still_works(&agent, &server);
}

#[test]
fn plain_http_at_an_address_of_several_endpoints_does_not_pass_uninspected() {
    const PLAIN: u16 = 8080;
    let scene = Scene::new("twoplain");
    scene.stage.world().add_hosts(&format!("{} second.test", scene.there.addresses()[0]));
    let good = scene.serve_good();
    let plain = scene.serve(PLAIN, Speaks::Plain);
    let second = format!("[[endpoint]]\nname = \"second\"\nhosts = [\"second.test\"]\nports = [{PLAIN}]");
    let agent = scene.agent(&[GOOD, PLAIN], "", &second);
    scene.enter_scope();

    let request = String::from_utf8(post(&ping(1))).expect("text").replace(HOST, &format!("{HOST}:{PLAIN}"));
    let reply = RawClient::plain(scene.addr(PLAIN)).expect("connect").ask(request.as_bytes());
    let records = agent.records_once("a flow that ended", |records| !flows_to(records, PLAIN).is_empty());
    // Refused, or inspected: one call in the log for each that the server saw.
    assert_eq!(records.calls("ping").len(), plain.seen().len(), "{reply:?}: {}", records.summary());
    assert_ne!(flows_to(&records, PLAIN)[0].0, "spliced");
    scene.still_works(&agent, &good);
}
