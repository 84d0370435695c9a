//! `tcp = "all"`: an endpoint is an endpoint at whatever address, and through whatever proxy in clear text.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use weir_tests::{
    fixture::{APP, Agent, Curl, Records, Reply},
    raw::{
        client::{RawClient, Trust, post},
        proxy::Proxy,
        server::{self, RawServer, Speaks},
    },
    world::Neighbour,
};

use crate::scene::{GOOD, HOST, Scene, flows_to, ping, post_bytes};

/// A name that no endpoint has.
const OTHER: &str = "other.test";
/// Where the scene's neighbour is: the registered address.
const REGISTERED: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 1, 2));

/// A scene, and a neighbour that nobody has registered.
fn scene_with_elsewhere(name: &str) -> (Scene, Neighbour) {
    let mut scene = Scene::new(name);
    let elsewhere = scene.stage.world_mut().neighbour();
    (scene, elsewhere)
}

fn agent<'s>(scene: &'s Scene, ports: &[u16]) -> Agent<'s> {
    Agent::start(&scene.stage, &scene.config(ports, "", "").intercept("tcp = \"all\""))
}

fn serve(at: &Neighbour, port: u16, speaks: Speaks) -> RawServer {
    at.run(|| RawServer::start(at.addresses()[0], port, speaks))
}

fn calls_at(records: &Records, ip: IpAddr) -> usize {
    let ip = ip.to_string();
    records.phase("request").filter(|record| record.event()["dst_endpoint"]["ip"] == ip.as_str()).count()
}

#[test]
fn a_registered_name_at_an_unknown_address_is_the_endpoint() {
    let (scene, elsewhere) = scene_with_elsewhere("unlearnt");
    let certificate = scene.certificate(&[HOST]);
    let server = serve(&elsewhere, GOOD, server::tls(&certificate, &["http/1.1"]));
    let agent = agent(&scene, &[GOOD]);
    scene.enter_scope();
    let addr = SocketAddr::new(elsewhere.addresses()[0], GOOD);
    // Trusts nobody but the agent.
    let mut client = RawClient::tls(addr, HOST, &scene.trust()).expect("TLS");
    let reply = client.ask(&post_bytes(ping(1).to_string().as_bytes(), "")).expect("a response").expect("a response");
    assert_eq!(reply.status(), 200);
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.connections(), 1, "the connection that was dialled while the application spoke is used");
    let records = agent.records_once("the call", |records| calls_at(records, addr.ip()) == 1);
    assert_eq!(records.calls("ping")[0].request.mcp("endpoint"), "mcp");
    agent.verify();
}

#[test]
fn a_server_that_is_not_the_endpoint_gains_nothing_by_its_name() {
    let (scene, elsewhere) = scene_with_elsewhere("lyingname");
    let certificate = scene.certificate(&[OTHER]);
    let server = serve(&elsewhere, GOOD, server::tls(&certificate, &["http/1.1"]));
    let agent = agent(&scene, &[GOOD]);
    scene.enter_scope();
    let addr = SocketAddr::new(elsewhere.addresses()[0], GOOD);
    assert!(RawClient::tls(addr, HOST, &scene.trust()).is_err());
    let records = agent.records_once("the flow", |records| !flows_to(records, GOOD).is_empty());
    assert_eq!(flows_to(&records, GOOD)[0].0, "upstream_tls");
    assert_eq!(server.spoken_to(), 0);

    // Under its own name it is passed through: the client sees its certificate, not the agent's.
    let theirs = Trust::file(Some(&scene.stage.server_ca()), &["http/1.1"]);
    let mut client = RawClient::tls(addr, OTHER, &theirs).expect("TLS with the server itself");
    assert!(client.ask(&post(OTHER, "/x", "", b"{}")).expect("a response").is_some());
    drop(client);
    let records = agent.records_once("the flow", |records| flows_to(records, GOOD).len() == 2);
    let flow = records.filter(|record| record.event()["flow"]["end"] == "spliced").next().expect("a flow");
    assert_eq!(flow.event()["dst_endpoint"]["hostname"], OTHER, "{}", flow.line);
}

#[test]
fn a_host_in_clear_text_is_the_endpoints_from_the_first_request_or_not_at_all() {
    const PLAIN: u16 = 80;
    let (scene, elsewhere) = scene_with_elsewhere("plainhost");
    let server = serve(&elsewhere, PLAIN, Speaks::Plain);
    let agent = agent(&scene, &[PLAIN]);
    scene.enter_scope();
    let addr = SocketAddr::new(elsewhere.addresses()[0], PLAIN);
    let body = ping(1).to_string();
    let to = |host: &str| post(host, "/mcp", "", body.as_bytes());

    let mut client = RawClient::plain(addr).expect("connect");
    assert_eq!(client.ask(&to(HOST)).expect("a response").expect("a response").status(), 200);
    agent.records_once("the call", |records| calls_at(records, addr.ip()) == 1);
    drop(client);

    let mut client = RawClient::plain(addr).expect("connect");
    assert_eq!(client.ask(&to(OTHER)).expect("a response").expect("a response").status(), 200);
    let seen = server.seen().len();
    assert_eq!(client.ask(&to(HOST)).expect("a response").expect("a refusal").status(), 403);
    drop(client);
    assert_eq!(server.seen().len(), seen, "nothing of it was passed on");
    let refused = |records: &Records| flows_to(records, PLAIN).iter().filter(|(end, _)| end == "refused").count() == 1;
    agent.records_once("the refusal", refused);
}

/// A proxy elsewhere that finds the registered name at the registered address.
fn proxy_at(elsewhere: &Neighbour) -> Proxy {
    // The namespaces are joined through the world alone.
    elsewhere.run(|| weir_tests::world::ip("route add default via 10.77.2.1"));
    let lookup = |host: &str| (host == HOST).then_some(REGISTERED);
    elsewhere.run(|| Proxy::start(elsewhere.addresses()[0], lookup))
}

fn let_neighbours_meet(scene: &Scene) {
    std::fs::write("/proc/sys/net/ipv4/ip_forward", "1").expect("forward");
    scene.there.run(|| weir_tests::world::ip("route add default via 10.77.1.1"));
}

fn through(scene: &Scene, url: &str, options: &[&str]) -> Reply {
    Curl::post(url, &ping(1)).with(options).run(&scene.stage, APP)
}

#[test]
fn an_endpoint_behind_connect_is_intercepted_and_others_pass() {
    let (scene, elsewhere) = scene_with_elsewhere("connect");
    let_neighbours_meet(&scene);
    let server = scene.serve_good();
    let other = scene.serve(4443, server::tls(&scene.certificate(&[HOST, OTHER]), &["http/1.1"]));
    let proxy = proxy_at(&elsewhere);
    let agent = agent(&scene, &[GOOD]);
    let (url, at) = (format!("https://{HOST}/mcp"), format!("http://u:pw@{}", proxy.addr()));

    let reply = through(&scene, &url, &["--proxy", &at]);
    assert_eq!(reply.status, 200, "{reply:?}");
    // On one connection: asked, refused, asked again with a password.
    let reply = through(&scene, &url, &["--proxy", &at, "--proxy-anyauth"]);
    assert_eq!(reply.status, 200, "{reply:?}");
    // By an address that hides the name from the proxy, and not from the agent.
    let reply = through(&scene, &url, &["--proxy", &at, "--connect-to", &format!("{HOST}:443:{REGISTERED}:443")]);
    assert_eq!(reply.status, 200, "{reply:?}");
    assert_eq!(server.seen().len(), 3);
    let records = agent.records_once("the calls", |records| calls_at(records, elsewhere.addresses()[0]) == 3);
    let calls = records.calls("ping");
    assert!(calls.iter().all(|call| call.request.mcp("endpoint") == "mcp"), "{}", records.summary());
    assert!(agent.files_with("dTpwdw==").is_empty(), "the proxy's password is written nowhere");

    // A port that is no endpoint's.
    let reply = through(&scene, &format!("https://{HOST}:4443/x"), &["--proxy", &at]);
    assert_eq!((reply.status, other.seen().len()), (200, 1), "{reply:?}");
    let asked = proxy.asked();
    assert!(asked.iter().all(|line| line.starts_with("CONNECT ")), "{asked:?}");
    agent.verify();
}

#[test]
fn an_endpoint_behind_other_proxies_is_refused_and_others_pass() {
    let (scene, elsewhere) = scene_with_elsewhere("socks");
    let_neighbours_meet(&scene);
    let server = scene.serve_good();
    let plain = scene.serve(80, Speaks::Plain);
    let unregistered = scene.serve(8080, Speaks::Plain);
    let proxy = proxy_at(&elsewhere);
    let agent = agent(&scene, &[GOOD, 80]);
    let (https, http) = (format!("https://{HOST}/mcp"), format!("http://{HOST}/mcp"));
    let at = proxy.addr().to_string();

    for url in [&https, &http] {
        let reply = through(&scene, url, &["--socks5-hostname", &at]);
        assert_eq!((reply.exit, reply.status), (97, 0), "curl hears the proxy's refusal: {reply:?}");
        let reply = through(&scene, url, &["--socks5", &at]);
        assert_eq!((reply.exit, reply.status), (97, 0), "{reply:?}");
        let reply = through(&scene, url, &["--socks4a", &at]);
        assert_eq!((reply.exit, reply.status), (97, 0), "{reply:?}");
    }
    let reply = through(&scene, &http, &["--proxy", &format!("http://{at}")]);
    assert_eq!(reply.status, 403, "{reply:?}");
    assert!(reply.body.contains("without a proxy"), "{reply:?}");
    assert_eq!((server.connections(), plain.connections()), (0, 0));
    assert_eq!(proxy.asked(), Vec::<String>::new(), "the proxy was asked for nothing");
    let port = proxy.addr().port();
    let refused = |records: &Records| flows_to(records, port).iter().filter(|(end, _)| end == "refused").count() == 7;
    agent.records_once("seven refusals", refused);

    let reply = through(&scene, &format!("http://{HOST}:8080/x"), &["--socks5-hostname", &at]);
    assert_eq!((reply.status, unregistered.seen().len()), (200, 1), "{reply:?}");
    let reply = through(&scene, &format!("http://{HOST}:8080/x"), &["--proxy", &format!("http://{at}")]);
    assert_eq!((reply.status, unregistered.seen().len()), (200, 2), "{reply:?}");
    agent.verify();
}
