//! What leaves, and what does not: the guard, and connections older than the agent. That nothing gets past is the bypass
//! suite's to show; here, that what should pass does.

use std::{
    fs,
    io::{ErrorKind, Read as _, Write as _},
    net::{IpAddr, SocketAddr, SocketAddrV6, TcpListener, TcpStream, UdpSocket},
};

use rustix::net::netdevice::name_to_index;
use socket2::{Domain, Protocol, Socket, Type};
use weir::datapath::{ClientAddr, NamePattern, Netns, OldConnection, OldConnections, OriginalDst};
use weir_tests::world::{Neighbour, ip};

use crate::{
    learning::{HOST, holder},
    scene::{NOBODY_V6, PATIENCE, Scene, accepted, addr, endpoint, eventually, server},
};

/// Connected before anybody registered its destination.
fn connect_first(place: &str, server: &TcpListener) -> (TcpStream, TcpStream) {
    let client = TcpStream::connect(place).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    (client, accepted(server).0)
}

fn assert_alive((client, server): &mut (TcpStream, TcpStream)) {
    client.write_all(b"ping").unwrap();
    server.read_exact(&mut [0; 4]).unwrap();
}

#[test]
fn older_connections_stall_until_they_are_ended() {
    let mut scene = Scene::new("older");
    let neighbour = scene.world.neighbour();
    let [v4, v6] = neighbour.addresses();
    let (server_v4, place_v4) = server(&neighbour, v4);
    let (server_v6, place_v6) = server(&neighbour, v6);
    let mapped = format!("[::ffff:{v4}]:{}", addr(&place_v4).port());
    let registration = {
        scene.world.enter("/agent");
        scene.datapath.register_agent(&scene.cgroups).unwrap()
    };
    let mut agents_own = connect_first(&place_v4, &server_v4);
    scene.world.enter("/elsewhere");
    let mut elsewhere = connect_first(&place_v4, &server_v4);
    scene.world.enter("/app/deep");
    let mut older = [(&place_v4, &server_v4), (&place_v6, &server_v6), (&mapped, &server_v4)]
        .map(|(place, server)| connect_first(place, server));
    scene.register(&[addr(&place_v4), addr(&place_v6)]);
    scene.datapath.set_scope(&[scene.cgroup("/app"), registration.cgroup()], &[]).unwrap();

    for (client, server) in &mut older {
        client.write_all(b"unwatched").unwrap();
        server.set_nonblocking(true).unwrap();
    }
    for (n, packets) in [(0, 2), (1, 1)] {
        eventually(|| (scene.datapath.counts(endpoint(n)).unwrap().guarded >= packets).then_some(()));
    }
    for (_, server) in &mut older {
        assert_eq!(server.read(&mut [0; 9]).unwrap_err().kind(), ErrorKind::WouldBlock);
        server.set_nonblocking(false).unwrap();
    }

    let here = Netns::current().unwrap();
    let close = |netns| {
        let OldConnections { ended, failed } = scene.datapath.close_old_connections(netns, &scene.cgroups).unwrap();
        assert!(failed.is_empty(), "{failed:?}");
        ended
    };
    let mut ended = close(&here);
    ended.sort_by_key(|connection| connection.local.0.port());
    let mut expected: Vec<_> = older
        .iter()
        .map(|(client, server)| OldConnection {
            uid: 0,
            cgroup: scene.cgroup("/app/deep"),
            local: ClientAddr(unmapped(client.local_addr().unwrap())),
            peer: OriginalDst(server.local_addr().unwrap()),
            endpoint: endpoint(usize::from(server.local_addr().unwrap().is_ipv6())),
        })
        .collect();
    expected.sort_by_key(|connection| connection.local.0.port());
    assert_eq!(ended, expected);
    for (client, server) in &mut older {
        assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
        // The server is told: a reset passes.
        assert_eq!(server.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    assert_alive(&mut agents_own);
    assert_alive(&mut elsewhere);
    assert!(close(&here).is_empty() && close(neighbour.netns()).is_empty());
    let counts = scene.datapath.counts(endpoint(0)).unwrap();
    assert_eq!(counts.seen, counts.guarded);
}

/// What failed open, or is older than the agent, may go to an address that only its own network has learnt.
#[test]
fn older_connections_to_learnt_addresses_are_ended() {
    let mut scene = Scene::new("older-learnt");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let (server, place) = server(&neighbour, ip);
    let (mut client, _server) = connect_first(&place, &server);
    let ports = vec![(addr(&place).port(), endpoint(3))];
    let pattern = NamePattern { name: HOST.into(), below: false, ports };
    let learn = |netns: &Netns| {
        let (netns, holder) = (netns.cookie().unwrap(), holder(&scene, "/app"));
        scene.datapath.learn_listed(netns, &holder, HOST, &pattern, ip, PATIENCE).unwrap();
    };
    let here = Netns::current().unwrap();
    let ended = || scene.datapath.close_old_connections(&here, &scene.cgroups).unwrap().ended;
    learn(neighbour.netns());
    assert!(ended().is_empty(), "what another network has learnt counts there");
    learn(&here);
    let ended = ended();
    assert_eq!((ended.len(), ended[0].endpoint, ended[0].peer.0), (1, endpoint(3), addr(&place)));
    assert_eq!(client.read(&mut [0; 1]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
}

fn unmapped(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}

#[test]
fn what_is_not_registered_passes() {
    let mut scene = Scene::new("passes");
    let neighbour = scene.world.neighbour();
    for ip in neighbour.addresses() {
        let (server, place) = server(&neighbour, ip);
        let registered = SocketAddr::new(ip, 443);
        scene.register(&[registered]);

        // Another port of the same address: TCP, and datagrams both ways.
        drop(connect_first(&place, &server));
        let receiver = receiver(&neighbour, ip);
        let sender = UdpSocket::bind((unspecified(ip), 0)).unwrap();
        sender.send_to(b"named", receiver.local_addr().unwrap()).unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        sender.send(b"connected").unwrap();
        for expected in [&b"named"[..], b"connected"] {
            let mut received = [0; 16];
            let len = receiver.recv(&mut received).unwrap();
            assert_eq!(&received[..len], expected);
        }
        ping(&neighbour, registered);

        // A resolver's probe: which address would be used?
        let probe = UdpSocket::bind((unspecified(ip), 0)).unwrap();
        probe.connect(registered).unwrap();
        let [here_v4, here_v6] = neighbour.here();
        assert_eq!(probe.local_addr().unwrap().ip(), if ip.is_ipv4() { here_v4 } else { here_v6 });
        let counts = scene.datapath.counts(endpoint(0)).unwrap();
        assert_eq!(counts.guarded, u64::from(ip.is_ipv6()), "none of this was stopped");
        // What it would send is refused at once.
        assert_eq!(probe.send(b"data").unwrap_err().kind(), ErrorKind::PermissionDenied);
        assert_eq!(scene.datapath.counts(endpoint(0)).unwrap().guarded, counts.guarded + 1);
    }
}

/// It means nothing without its interface, so it cannot be registered; what else is taken changes nothing.
#[test]
fn a_link_local_destination_with_its_scope_is_left_alone() {
    const HERE: &str = "fe80::77:1";
    const THERE: &str = "fe80::77:2";
    let mut scene = Scene::new("link-local");
    let neighbour = scene.world.neighbour();
    scene.register(&[addr(NOBODY_V6)]);
    ip(&format!("addr add {HERE}/64 dev {} nodad", neighbour.device()));
    neighbour.run(|| ip(&format!("addr add {THERE}/64 dev weir0 nodad")));
    let index = |device: &str| name_to_index(UdpSocket::bind("[::]:0").unwrap(), device).unwrap();
    let there = |scope| SocketAddrV6::new(THERE.parse().unwrap(), 443, 0, scope);
    let server = neighbour.run(|| TcpListener::bind(there(index("weir0"))).unwrap());
    server.set_nonblocking(true).unwrap();
    let place = there(index(&neighbour.device()));
    for take_all in [false, true] {
        scene.datapath.set_take_all(take_all).unwrap();
        let client = TcpStream::connect(place).unwrap();
        let mut both = (client, accepted(&server).0);
        assert_eq!(both.0.peer_addr().unwrap(), place.into(), "scope included");
        assert_alive(&mut both);
    }
    scene.redirected(NOBODY_V6);
}

#[test]
fn the_agents_own_packets_pass() {
    let mut scene = Scene::new("agents-packets");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let receiver = receiver(&neighbour, ip);
    let place = receiver.local_addr().unwrap();
    scene.register(&[place]);
    scene.datapath.set_scope(&[scene.cgroups.base_id()], &[]).unwrap();
    scene.world.enter("/agent");
    let _registration = scene.datapath.register_agent(&scene.cgroups).unwrap();
    let sender = UdpSocket::bind((unspecified(ip), 0)).unwrap();
    sender.send_to(b"named", place).unwrap();
    sender.connect(place).unwrap();
    sender.send(b"connected").unwrap();
    for _ in 0..2 {
        receiver.recv(&mut [0; 16]).unwrap();
    }
    assert_eq!(scene.datapath.counts(endpoint(0)).unwrap().seen, 0);
}

fn receiver(neighbour: &Neighbour, ip: IpAddr) -> UdpSocket {
    let socket = neighbour.run(|| UdpSocket::bind((ip, 0)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

fn unspecified(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { [0; 4].into() } else { [0; 16].into() }
}

/// An echo request as unprivileged `ping` sends it (`icmp(7)`), and its answer.
fn ping(neighbour: &Neighbour, to: SocketAddr) {
    fs::write("/proc/sys/net/ipv4/ping_group_range", "0 0").unwrap();
    let (domain, protocol, kind) = match neighbour.addresses()[0] == to.ip() {
        true => (Domain::IPV4, Protocol::ICMPV4, 8),
        false => (Domain::IPV6, Protocol::ICMPV6, 128),
    };
    let mut socket = Socket::new(domain, Type::DGRAM, Some(protocol)).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.connect(&SocketAddr::new(to.ip(), 0).into()).unwrap();
    socket.write_all(&[kind, 0, 0, 0, 0, 0, 0, 1]).unwrap();
    assert_eq!(socket.read(&mut [0; 64]).unwrap(), 8);
}
