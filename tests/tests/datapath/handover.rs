//! From `connect()` to `accept()`: what was known of a flow reaches the agent, and leaves nothing.

use std::{
    collections::HashMap,
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    process, thread,
    time::Duration,
};

use rustix::net::connect_unspec;
use socket2::{Domain, Socket, Type};
use weir::datapath::{Attached, CgroupPath, CgroupTree, FlowFacts, Netns, OriginalDst};
use weir_tests::world::World;

use crate::scene::{
    NOBODY_MAPPED, NOBODY_V4, NOBODY_V6, Scene, accepted, addr, attach, endpoint, eventually, open_flows, server,
};

#[test]
fn the_facts_say_who_connected_and_where_to() {
    let scene = Scene::new("facts");
    scene.register(&[addr(NOBODY_V4)]);
    let (client, _server, facts) = thread::scope(|scope| {
        let worker = thread::Builder::new().name("billing-worker".into());
        worker.spawn_scoped(scope, || scene.redirected(NOBODY_MAPPED)).unwrap().join().unwrap()
    });
    assert_eq!(facts.original_dst, OriginalDst(addr(NOBODY_V4)), "v4-mapped destinations come out as IPv4");
    assert_eq!(facts.task_cgroup, scene.cgroup("/app"));
    assert_eq!(facts.socket_cgroup, Some(scene.cgroup("/app")));
    assert_eq!(facts.tgid, process::id());
    assert_ne!(facts.tid, facts.tgid, "the thread is told from its process");
    assert_eq!(facts.comm, "billing-worker");
    assert_eq!((facts.uid, facts.gid), (0, 0));
    assert_eq!(facts.netns, scene.listeners.netns());
    assert_eq!(facts.cookie.0, Socket::from(client).cookie().unwrap());
    assert_eq!(
        scene.cgroups.path_of(facts.task_cgroup).unwrap(),
        Some(CgroupPath::Inside("/app".to_owned())),
        "the cgroup is found by its id"
    );
}

#[test]
fn an_application_that_is_gone_before_accept_is_still_known() {
    let scene = Scene::new("gone");
    scene.register(&[addr(NOBODY_V4)]);
    let mut client = TcpStream::connect(NOBODY_V4).unwrap();
    client.write_all(b"last words").unwrap();
    drop(client);

    let (mut server, facts) = scene.accept_v4();
    assert_eq!(facts.unwrap().original_dst, OriginalDst(addr(NOBODY_V4)));
    let mut said = String::new();
    server.read_to_string(&mut said).unwrap();
    assert_eq!(said, "last words");
}

#[test]
fn facts_are_taken_once_and_leave_nothing() {
    let scene = Scene::new("once");
    scene.register(&[addr(NOBODY_V4)]);
    let client = TcpStream::connect(NOBODY_V4).unwrap();
    assert_eq!((scene.datapath.pending_flows().unwrap(), open_flows(&scene.datapath)), (0, 1));
    let (server, facts) = scene.accept_v4();
    assert!(facts.is_some());
    assert_eq!(open_flows(&scene.datapath), 0);
    assert!(scene.datapath.take_flow(&server).unwrap().is_none());
    assert_eq!(client.peer_addr().unwrap(), addr(NOBODY_V4), "still the real server");

    // Somebody who connects to the listener itself is nobody's flow.
    let _stray = TcpStream::connect(scene.listeners.v4.local_addr().unwrap()).unwrap();
    let (_, facts) = scene.accept_v4();
    assert!(facts.is_none());
}

#[test]
fn a_connection_that_never_comes_about_is_forgotten() {
    let world = World::new("failed");
    // One waiting connection fills the queue, and the next SYNs are dropped.
    fs::write("/proc/sys/net/core/somaxconn", "1").unwrap();
    let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
    let Attached { datapath, .. } = attach(&world, &cgroups, None);
    let _listeners = datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    datapath.set_scope(&[cgroups.base_id()], &[]).unwrap();
    datapath.set_destinations(&HashMap::from([(addr(NOBODY_V4), endpoint(0))])).unwrap();

    let mut connected = Vec::new();
    let waiting = loop {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let started = socket.connect(&addr(NOBODY_V4).into());
        assert!(started.is_err_and(|error| error.raw_os_error() == Some(115 /* EINPROGRESS */)));
        thread::sleep(Duration::from_millis(20));
        if socket.peer_addr().is_err() {
            break socket;
        }
        connected.push(socket);
        assert!(connected.len() < 10, "the queue fills up");
    };
    let redirected = connected.len() as u64 + 1;
    let arrived = open_flows(&datapath) as u64;
    assert_eq!(arrived + datapath.pending_flows().unwrap() as u64, redirected);
    assert!(arrived < redirected);
    drop(waiting);
    drop(connected);
    // What the listener never made a connection of is counted as refused, and nothing is left of it.
    eventually(|| (datapath.pending_flows().unwrap() == 0).then_some(()));
    let counts = datapath.counts(endpoint(0)).unwrap();
    assert_eq!((counts.redirected, counts.arrived, counts.refused), (redirected, arrived, redirected - arrived));
    assert_eq!(open_flows(&datapath) as u64, arrived, "the rest is for the agent to account for");
}

#[test]
fn a_socket_used_again_shows_its_new_server() {
    let mut scene = Scene::new("reuse");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let (server, place) = server(&neighbour, ip);
    scene.register(&[addr(NOBODY_V4)]);

    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.connect(&addr(NOBODY_V4).into()).unwrap();
    assert_eq!(socket.peer_addr().unwrap().as_socket(), Some(addr(NOBODY_V4)));
    connect_unspec(&socket).unwrap();
    socket.connect(&addr(&place).into()).unwrap();
    assert_eq!(socket.peer_addr().unwrap().as_socket(), Some(addr(&place)));

    accepted(&server);
    let (_, facts) = scene.accept_v4();
    assert_eq!(facts.unwrap().original_dst, OriginalDst(addr(NOBODY_V4)), "the first connection keeps its facts");
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
}

#[test]
fn quick_connections_from_many_threads_are_all_known() {
    const THREADS: usize = 8;
    const EACH: usize = 250;
    let scene = Scene::new("many");
    scene.register(&[addr(NOBODY_V4), addr(NOBODY_V6)]);
    thread::scope(|scope| {
        for n in 0..THREADS {
            scope.spawn(move || {
                let destination = if n % 2 == 0 { NOBODY_V4 } else { NOBODY_V6 };
                for _ in 0..EACH {
                    let mut client = TcpStream::connect(destination).unwrap();
                    client.write_all(b"x").unwrap();
                }
            });
        }
        let accept_all = |accept: fn(&Scene) -> (TcpStream, Option<FlowFacts>)| {
            let misses = (0..THREADS * EACH / 2).filter(|_| accept(&scene).1.is_none()).count();
            assert_eq!(misses, 0);
        };
        scope.spawn(move || accept_all(Scene::accept_v4));
        accept_all(Scene::accept_v6);
    });
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
    let denials = scene.datapath.denials().unwrap();
    assert_eq!(denials.unpublished, 0);
}
