//! What cannot be redirected safely is denied.

use std::{
    io::ErrorKind,
    net::{IpAddr, Ipv6Addr, TcpListener, TcpStream, UdpSocket},
};

use weir::datapath::{Listeners, Netns};

use crate::scene::{NOBODY_MAPPED, NOBODY_V4, NOBODY_V6, Scene, accept, addr, endpoint};

#[test]
fn without_a_listener_connections_are_denied() {
    let mut scene = Scene::new("no-listener");
    let neighbour = scene.world.neighbour();
    scene.register(&[addr(NOBODY_V4), addr(NOBODY_V6)]);

    neighbour.run(|| {
        scene.assert_denied(NOBODY_V4);
        scene.assert_denied(NOBODY_V6);
    });
    let denials = scene.datapath.denials().unwrap();
    assert_eq!((denials.no_listener, denials.dead_listener), (2, 0));
    assert_eq!(scene.datapath.counts(endpoint(0)).unwrap().denied, 1);

    // With listeners in there, the same process in there is served there.
    let listeners = scene.datapath.open_listeners(neighbour.netns()).unwrap();
    let _client = neighbour.run(|| TcpStream::connect(NOBODY_V4).unwrap());
    let (_, facts) = accept(&scene.datapath, &listeners.v4);
    assert_eq!(facts.unwrap().netns, listeners.netns());
    assert_ne!(listeners.netns(), scene.listeners.netns());

    let Listeners { published, v4, v6 } = listeners;
    drop(published);
    neighbour.run(|| scene.assert_denied(NOBODY_V4));
    drop((v4, v6));
}

#[test]
fn a_dead_agents_port_serves_nobody_else() {
    let scene = Scene::new("dead-listener");
    scene.register(&[addr(NOBODY_V4), addr(NOBODY_V6)]);
    scene.world.enter("/agent");
    let registration = scene.datapath.register_agent(&scene.cgroups).unwrap();
    let Listeners { published, v4, v6 } = scene.datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    let ports = [v4.local_addr().unwrap(), v6.as_ref().unwrap().local_addr().unwrap()];
    drop((v4, v6));
    scene.world.enter("/app");
    scene.assert_denied(NOBODY_V4);

    // Nobody gets hold of it.
    let [v4, v6] = ports.map(|addr| addr.port());
    for (n, address) in ["127.0.0.1", "0.0.0.0", "::ffff:127.0.0.1", "::"].into_iter().enumerate() {
        let address: IpAddr = address.parse().unwrap();
        assert_eq!(TcpListener::bind((address, v4)).unwrap_err().kind(), ErrorKind::PermissionDenied, "{address}");
        assert_eq!(scene.datapath.denials().unwrap().reserved_port, n as u64 + 1);
    }
    assert_eq!(TcpListener::bind((Ipv6Addr::LOCALHOST, v6)).unwrap_err().kind(), ErrorKind::PermissionDenied);
    // Where it would harvest nothing, it is free.
    drop(TcpListener::bind(("127.0.0.2", v4)).unwrap());
    drop(UdpSocket::bind(("127.0.0.1", v4)).unwrap());

    // Whoever does all the same, as an agent might that lost its mark, harvests nothing.
    scene.world.enter("/agent");
    let _harvesters = ports.map(|port| TcpListener::bind(port).unwrap());
    scene.world.enter("/app");
    for destination in [NOBODY_V4, NOBODY_V6, NOBODY_MAPPED] {
        scene.assert_denied(destination);
    }
    assert_eq!(scene.datapath.denials().unwrap().dead_listener, 4);
    drop((published, registration));
}

#[test]
fn a_full_map_denies() {
    let scene = Scene::with_room_for("full", Some(8));
    scene.register(&[addr(NOBODY_V4)]);
    let clients: Vec<TcpStream> = (0..8).map(|_| TcpStream::connect(NOBODY_V4).unwrap()).collect();
    let error = TcpStream::connect(NOBODY_V4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_eq!(scene.datapath.denials().unwrap().no_room, 1);

    scene.accept_v4().1.expect("the flow is known");
    let _client = TcpStream::connect(NOBODY_V4).unwrap();
    drop(clients);
}
