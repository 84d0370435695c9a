//! A client that races IPv6 against IPv4 (RFC 8305). Both of its connections are made at once, by the agent, whatever the server
//! does; so the one that it keeps has to work where any of the host's addresses does.

use std::net::{Ipv6Addr, SocketAddr, TcpStream};

use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
};
use socket2::{Domain, Socket, Type};
use weir_certs::pki::Validity;
use weir_tests::{
    fixture::eventually,
    raw::{
        client::{self, RawClient},
        server::{self, RawServer},
    },
    world::ip,
};

use crate::scene::{GOOD, HOST, Scene, flows_to, ping};

/// Where only IPv4 is served.
const V4_ONLY: u16 = 8443;
/// Where the IPv6 address drops what it is sent, and its host.
const V6_DEAD: u16 = 9443;
const HALF_DEAD: &str = "half-dead.test";
const DEAD: Ipv6Addr = Ipv6Addr::new(0xfd99, 0, 0, 0, 0, 0, 0, 1);

/// Begins both connections without waiting, and gives the first that is made, then the other.
fn race(addresses: [SocketAddr; 2]) -> [TcpStream; 2] {
    let mut racing = addresses.map(|address| {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None).expect("a socket");
        socket.set_nonblocking(true).expect("set a flag");
        if let Err(error) = socket.connect(&address.into()) {
            assert_eq!(error.raw_os_error(), Some(Errno::INPROGRESS.raw_os_error()), "{address}: {error}");
        }
        socket
    });
    let mut waiting = [&racing[0], &racing[1]].map(|socket| PollFd::new(socket, PollFlags::OUT));
    poll(&mut waiting, None).expect("wait");
    let first = waiting.iter().position(|socket| !socket.revents().is_empty()).expect("one of them");
    assert!(racing[first].take_error().expect("ask").is_none());
    racing.rotate_left(first);
    racing.map(|socket| {
        socket.set_nonblocking(false).expect("set a flag");
        socket.into()
    })
}

#[test]
fn a_client_that_races_both_families_gets_one_connection_that_works() {
    let scene = Scene::new("eyeballs");
    let [v4, v6] = scene.there.addresses();
    scene.stage.world().add_hosts(&format!("{v6} {HOST}\n{v4} {HALF_DEAD}\n{DEAD} {HALF_DEAD}"));
    scene.there.run(|| ip(&format!("-6 route add blackhole {DEAD}/128")));
    ip(&format!("-6 route add {DEAD}/128 via {v6}"));
    let identity = scene.pki().server(&[HOST, HALF_DEAD], Validity::Valid).expect("issue a certificate");
    let serve = |ip, port| RawServer::start(ip, port, server::tls(&identity, &["http/1.1"]));
    let _servers = scene.there.run(|| [serve(v4, GOOD), serve(v6, GOOD), serve(v4, V4_ONLY), serve(v4, V6_DEAD)]);
    let ca = scene.stage.server_ca();
    let half_dead = format!("[[endpoint]]\nname = \"half-dead\"\nhosts = [\"{HALF_DEAD}\"]\nports = [{V6_DEAD}]");
    let tables = format!("{half_dead}\nupstream_ca = {ca:?}\n[limits]\nconnect_timeout_ms = 300");
    let agent = scene.agent(&[GOOD, V4_ONLY], "", &tables);
    scene.enter_scope();

    for (host, first, port) in [(HOST, v6, GOOD), (HOST, v6, V4_ONLY), (HALF_DEAD, DEAD.into(), V6_DEAD)] {
        let [winner, loser] = race([SocketAddr::new(first, port), SocketAddr::new(v4, port)]);
        drop(loser);
        let mut client = RawClient::tls_over(winner, host, &scene.trust()).expect("TLS");
        let call = client::post(&format!("{host}:{port}"), "/mcp", "", ping(1).to_string().as_bytes());
        let reply = client.ask(&call).expect("a response").expect("a response");
        assert_eq!(reply.status(), 200, "{host}:{port}: {reply:?}");
        drop(client);
        agent.records_once("both connections' ends", |records| flows_to(records, port).len() == 2);
    }
    eventually("nothing is open", || (agent.status()["flows"]["open"] == 0).then_some(()));
    agent.verify();
}
