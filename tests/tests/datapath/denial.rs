//! What cannot be redirected safely is denied.

use std::{
    io::ErrorKind,
    net::{TcpListener, TcpStream},
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
    let (_, facts) = accept(&scene.datapath, &listeners, &listeners.v4);
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
    let Listeners { published, v4, v6 } = scene.datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    let ports = [v4.local_addr().unwrap(), v6.as_ref().unwrap().local_addr().unwrap()];
    drop((v4, v6));
    scene.assert_denied(NOBODY_V4);

    let _harvesters = ports.map(|port| TcpListener::bind(port).unwrap());
    for destination in [NOBODY_V4, NOBODY_V6, NOBODY_MAPPED] {
        scene.assert_denied(destination);
    }
    assert_eq!(scene.datapath.denials().unwrap().dead_listener, 4);
    drop(published);
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
