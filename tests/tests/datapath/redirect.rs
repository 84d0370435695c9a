//! Whose connections are redirected, and where to.

use std::{
    io::{ErrorKind, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    process,
};

use socket2::{Domain, Protocol, Socket, Type};
use weir::datapath::{EndpointIndex, Netns, OriginalDst};
use weir_tests::world::Running;

use crate::scene::{NOBODY_MAPPED, NOBODY_V4, NOBODY_V6, Scene, addr, assert_direct, endpoint, eventually, server};

#[test]
fn connections_of_every_family_are_redirected_and_look_direct() {
    let scene = Scene::new("families");
    scene.register(&[addr(NOBODY_V4), addr(NOBODY_V6)]);
    for (destination, index) in [(NOBODY_V4, 0), (NOBODY_V6, 1), (NOBODY_MAPPED, 0)] {
        let (mut client, mut server, facts) = scene.redirected(destination);
        assert_eq!(client.peer_addr().unwrap(), addr(destination), "getpeername shows the real server");
        assert_eq!(facts.endpoint, endpoint(index));
        client.write_all(b"ping").unwrap();
        let mut received = [0; 4];
        server.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"ping");
    }
    let counts = scene.datapath.counts(endpoint(0)).unwrap();
    assert_eq!((counts.seen, counts.redirected, counts.denied), (2, 2, 0));
    assert_eq!(scene.datapath.counts(endpoint(1)).unwrap().redirected, 1);
}

#[test]
fn other_cgroups_are_left_alone() {
    let mut scene = Scene::new("scope");
    let neighbour = scene.world.neighbour();
    for ip in neighbour.addresses() {
        let (server, place) = server(&neighbour, ip);
        scene.register(&[addr(&place)]);

        scene.world.enter("/elsewhere");
        assert_direct(&scene, &server, &place);

        scene.datapath.set_scope(&[scene.cgroup("/app")], &[scene.cgroup("/app/quiet")]).unwrap();
        scene.world.enter("/app/quiet/deep");
        assert_direct(&scene, &server, &place);

        scene.world.enter("/app/other");
        scene.redirected(&place);
    }
}

#[test]
fn unregistered_destinations_are_left_alone() {
    let mut scene = Scene::new("unregistered");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let (registered, other) = (server(&neighbour, ip), server(&neighbour, ip));
    scene.register(&[addr(&registered.1)]);
    assert_direct(&scene, &other.0, &other.1);

    scene.register(&[addr(&other.1)]);
    scene.redirected(&other.1);
    assert_direct(&scene, &registered.0, &registered.1);
}

#[test]
fn the_agents_own_connections_pass_and_nobody_elses() {
    let mut scene = Scene::new("own");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let (server, place) = server(&neighbour, ip);
    scene.register(&[addr(&place)]);
    scene.datapath.set_scope(&[scene.cgroups.base_id()], &[]).unwrap();

    scene.world.enter("/agent");
    let registration = scene.datapath.register_agent(&scene.cgroups).unwrap();
    assert_eq!((registration.cgroup(), registration.tgid()), (scene.cgroup("/agent"), process::id()));
    // Registering found no other agent alive, so the listeners that it opened before went too.
    scene.listeners = scene.datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    assert_direct(&scene, &server, &place);

    // Another process in the agent's cgroup is not the agent.
    let connect = format!("exec 3<>/dev/tcp/{}/{}; read <&3", addr(&place).ip(), addr(&place).port());
    let intruder = Running(scene.world.command("/agent", "bash").args(["-c", &connect]).spawn().unwrap());
    let (_, facts) = scene.accept_v4();
    assert_eq!(facts.unwrap().tgid, intruder.0.id());

    // Nor is the agent's process in another cgroup.
    scene.world.enter("/app");
    scene.redirected(&place);

    scene.world.enter("/agent");
    drop(registration);
    scene.redirected(&place);
}

#[test]
fn a_socket_is_in_scope_where_it_was_made_and_where_it_connects() {
    let scene = Scene::new("origin");
    scene.register(&[addr(NOBODY_V4)]);
    for (made, connected) in [("/app", "/elsewhere"), ("/elsewhere", "/app")] {
        scene.world.enter(made);
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        scene.world.enter(connected);
        socket.connect(&addr(NOBODY_V4).into()).unwrap();
        let (_, facts) = scene.accept_v4();
        let facts = facts.unwrap();
        assert_eq!(facts.socket_cgroup, Some(scene.cgroup(made)));
        assert_eq!(facts.task_cgroup, scene.cgroup(connected));
    }
}

#[test]
fn everything_is_taken_when_asked() {
    let scene = Scene::new("all");
    scene.register(&[addr(NOBODY_V4)]);
    scene.datapath.set_take_all(true).unwrap();
    assert_eq!(scene.redirected(NOBODY_V4).2.endpoint, endpoint(0));
    for destination in [NOBODY_V6, "127.0.0.1:9", "[::1]:9"] {
        let (_, _, facts) = scene.redirected(destination);
        assert_eq!(facts.endpoint, EndpointIndex::UNREGISTERED);
        assert_eq!(facts.original_dst, OriginalDst(addr(destination)));
    }
    // Except the listeners themselves.
    let _stray = TcpStream::connect(scene.listeners.v4.local_addr().unwrap()).unwrap();
    assert!(scene.accept_v4().1.is_none());

    // A link-local address says too little to be dialled again.
    let unreachable = TcpStream::connect("[fe80::1]:9").unwrap_err();
    assert_ne!(unreachable.kind(), ErrorKind::PermissionDenied);

    // QUIC falls back to TCP; other datagrams pass, and so does what goes nowhere.
    let before = scene.datapath.counts(EndpointIndex::UNREGISTERED).unwrap();
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let sent = |to: &str| socket.send_to(b"x", to).map_err(|error| error.kind());
    assert_eq!(sent("192.0.2.77:443"), Err(ErrorKind::PermissionDenied));
    assert_ne!(sent("192.0.2.77:53"), Err(ErrorKind::PermissionDenied));
    assert_eq!(sent("127.0.0.1:443"), Ok(1));
    let after = scene.datapath.counts(EndpointIndex::UNREGISTERED).unwrap();
    assert_eq!((after.seen, after.denied), (before.seen + 1, before.denied + 1));

    scene.datapath.set_take_all(false).unwrap();
    let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn no_connection_is_opened_past_connect_where_all_are_taken() {
    let mut scene = Scene::new("pastconnect");
    let neighbour = scene.world.neighbour();
    let datapath = scene.datapath.clone();
    let guarded = || datapath.counts(EndpointIndex::UNREGISTERED).unwrap().guarded;
    // A server that takes nothing more, and so is asked again.
    let server = neighbour.run(|| {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::new(neighbour.addresses()[0], 0).into()).unwrap();
        socket.listen(0).unwrap();
        socket
    });
    let at = server.local_addr().unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let client = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            client.set_nonblocking(true).unwrap();
            let _ = client.connect(&at);
            client
        })
        .collect();
    assert_eq!(guarded(), 0);
    scene.datapath.set_take_all(true).unwrap();
    eventually(|| (guarded() > 0).then_some(()));
    drop(clients);
}

#[test]
fn the_unspecified_address_is_this_host() {
    let scene = Scene::new("unspecified");
    scene.register(&[addr("127.0.0.1:443"), addr("[::1]:443")]);
    for destination in ["0.0.0.0:443", "[::]:443"] {
        scene.redirected(destination);
    }
}

#[test]
fn udp_passes() {
    let scene = Scene::new("udp");
    scene.register(&[addr(NOBODY_V4)]);
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let error = socket.connect(NOBODY_V4).map_err(|error| error.kind());
    assert_ne!(error, Err(ErrorKind::PermissionDenied));
    assert_eq!(scene.datapath.counts(endpoint(0)).unwrap().seen, 0);
}

#[test]
fn multipath_tcp_is_redirected_too() {
    let scene = Scene::new("mptcp");
    scene.register(&[addr(NOBODY_V4)]);
    let socket = match Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::MPTCP)) {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("no MPTCP here: {error}");
            return;
        }
    };
    socket.connect(&addr(NOBODY_V4).into()).unwrap();
    let (_, facts) = scene.accept_v4();
    assert_eq!(facts.unwrap().original_dst, OriginalDst(addr(NOBODY_V4)));
}
