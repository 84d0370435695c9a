//! The datapath on the running kernel: real programs, real sockets, in a world of their own. Needs root.
//!
//! The test's own process is the application; it moves between cgroups. Destinations are addresses of a neighbour or of
//! nobody: what is redirected never gets there.

use std::{
    collections::HashMap,
    fs,
    io::{self, ErrorKind, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    process, thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};
use weir::datapath::{
    AttachOptions, Attached, CgroupId, CgroupPath, CgroupTree, ClientAddr, Datapath, EndpointIndex, FlowFacts,
    Listeners, Netns, OriginalDst, Verbosity, detach, kernel_features, links,
};
use weir_tests::world::{Neighbour, Running, World};

/// Nobody has these (RFC 5737, RFC 3849).
const NOBODY_V4: &str = "192.0.2.1:443";
const NOBODY_V6: &str = "[2001:db8::1]:443";
const NOBODY_MAPPED: &str = "[::ffff:192.0.2.1]:443";
/// Longer than any machine needs; no test passes because it is over.
const PATIENCE: Duration = Duration::from_secs(20);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn endpoint(n: usize) -> EndpointIndex {
    EndpointIndex::of_endpoint(n).unwrap()
}

/// An agent, and this process as an application in scope. Fields drop in this order.
struct Scene {
    listeners: Listeners,
    datapath: Datapath,
    cgroups: CgroupTree,
    world: World,
}

fn attach(world: &World, cgroups: &CgroupTree, max_pending: Option<u32>) -> Attached {
    let bpffs = world.bpffs().join("weir");
    let verbosity = Verbosity::Denials;
    Datapath::attach(&AttachOptions { cgroups, bpffs, take_all: false, verbosity, max_pending }).unwrap()
}

impl Scene {
    /// Attached, listening in this namespace, `/app` in scope with this process in it, nothing registered.
    fn new(name: &str) -> Self {
        Self::with_room_for(name, None)
    }

    fn with_room_for(name: &str, max_pending: Option<u32>) -> Self {
        let world = World::new(name);
        let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
        let Attached { datapath, takeover, .. } = attach(&world, &cgroups, max_pending);
        assert!(!takeover);
        let listeners = datapath.open_listeners(&Netns::current().unwrap()).unwrap();
        let scene = Self { listeners, datapath, cgroups, world };
        scene.datapath.set_scope(&[scene.cgroup("/app")], &[]).unwrap();
        scene.world.enter("/app");
        scene
    }

    fn cgroup(&self, path: &str) -> CgroupId {
        self.world.make_cgroup(path);
        self.cgroups.id_of(path).unwrap()
    }

    fn register(&self, destinations: &[SocketAddr]) {
        let numbered = destinations.iter().enumerate().map(|(n, addr)| (*addr, endpoint(n)));
        self.datapath.set_destinations(&numbered.collect()).unwrap();
    }

    fn accept_v4(&self) -> (TcpStream, Option<FlowFacts>) {
        accept(&self.datapath, &self.listeners, &self.listeners.v4)
    }

    fn accept_v6(&self) -> (TcpStream, Option<FlowFacts>) {
        accept(&self.datapath, &self.listeners, self.listeners.v6.as_ref().unwrap())
    }

    /// Connects to `destination`, and gives both ends with what was known of the flow.
    fn redirected(&self, destination: &str) -> (TcpStream, TcpStream, FlowFacts) {
        let client = TcpStream::connect(destination).unwrap();
        let is_v6 = client.local_addr().unwrap().ip().to_canonical().is_ipv6();
        let (server, facts) = if is_v6 { self.accept_v6() } else { self.accept_v4() };
        (client, server, facts.expect("the flow is known"))
    }

    fn assert_denied(&self, destination: &str) {
        let error = TcpStream::connect(destination).expect_err("the connection is denied");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(self.datapath.pending_flows().unwrap(), 0);
    }
}

fn accept(datapath: &Datapath, listeners: &Listeners, listener: &TcpListener) -> (TcpStream, Option<FlowFacts>) {
    let (stream, peer) = eventually(|| match listener.accept() {
        Ok(accepted) => Some(accepted),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("accept: {error}"),
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let facts = datapath.take_flow(listeners.netns(), ClientAddr(peer), port).unwrap();
    (stream, facts)
}

fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(value) = attempt() {
            return value;
        }
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        thread::sleep(Duration::from_millis(1));
    }
}

/// A real server at a neighbour.
fn server(neighbour: &Neighbour, ip: IpAddr) -> (TcpListener, String) {
    let listener = neighbour.run(|| TcpListener::bind((ip, 0)).unwrap());
    let place = listener.local_addr().unwrap().to_string();
    (listener, place)
}

/// Connects for real: the server sees it, and the programs have no part in it.
fn assert_direct(scene: &Scene, server: &TcpListener, place: &str) {
    let client = TcpStream::connect(place).unwrap();
    let (_, peer) = server.accept().unwrap();
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), addr(place));
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
}

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
fn the_facts_say_who_connected_and_where_to() {
    let scene = Scene::new("facts");
    scene.register(&[addr(NOBODY_V4)]);
    let (client, _server, facts) =
        thread::Builder::new().name("billing-worker".into()).spawn_scoped_here(|| scene.redirected(NOBODY_MAPPED));
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

/// Runs on a named thread, and waits for it.
trait SpawnHere {
    fn spawn_scoped_here<T: Send>(self, f: impl FnOnce() -> T + Send) -> T;
}

impl SpawnHere for thread::Builder {
    fn spawn_scoped_here<T: Send>(self, f: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| self.spawn_scoped(scope, f).unwrap().join().unwrap())
    }
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
    assert_eq!(scene.datapath.pending_flows().unwrap(), 1);
    let (server, facts) = scene.accept_v4();
    assert!(facts.is_some());
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
    let peer = ClientAddr(server.peer_addr().unwrap());
    let port = server.local_addr().unwrap().port();
    assert!(scene.datapath.take_flow(scene.listeners.netns(), peer, port).unwrap().is_none());
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
    assert_eq!(datapath.pending_flows().unwrap(), connected.len() + 1);
    drop(waiting);
    assert_eq!(datapath.pending_flows().unwrap(), connected.len());

    // Those that a dead agent never accepts are swept.
    drop(connected);
    assert_eq!(datapath.sweep(Duration::from_secs(3600)).unwrap(), 0);
    assert!(datapath.sweep(Duration::ZERO).unwrap() > 0);
    assert_eq!(datapath.pending_flows().unwrap(), 0);
}

#[test]
fn a_socket_used_again_shows_its_new_server() {
    let mut scene = Scene::new("reuse");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let (server, place) = server(&neighbour, ip);
    scene.register(&[addr(NOBODY_V4)]);

    // connect, disconnect with AF_UNSPEC, connect elsewhere; then say what getpeername says.
    let script = format!(
        "import ctypes, socket\n\
         s = socket.socket()\n\
         s.connect(('192.0.2.1', 443))\n\
         print(s.getpeername())\n\
         assert ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16) == 0\n\
         s.connect(('{}', {}))\n\
         print(s.getpeername())\n",
        addr(&place).ip(),
        addr(&place).port(),
    );
    let output = scene.world.command("/app", "/usr/bin/python3").args(["-c", &script]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, format!("('192.0.2.1', 443)\n('{ip}', {})\n", addr(&place).port()));
    server.accept().unwrap();
    let (_, facts) = scene.accept_v4();
    assert_eq!(facts.unwrap().original_dst, OriginalDst(addr(NOBODY_V4)), "the first connection keeps its facts");
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
}

#[test]
fn udp_passes() {
    let scene = Scene::new("udp");
    scene.register(&[addr(NOBODY_V4)]);
    let socket = std::net::UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
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

    scene.datapath.set_take_all(false).unwrap();
    let refused = TcpStream::connect("127.0.0.1:9").unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
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

#[test]
fn the_next_agent_takes_over_without_a_gap() {
    let scene = Scene::new("takeover");
    scene.register(&[addr(NOBODY_V4)]);
    let bpffs = scene.world.bpffs().join("weir");
    let before = links(&bpffs, &scene.cgroups).unwrap();
    let in_flight = TcpStream::connect(NOBODY_V4).unwrap();

    let Attached { datapath: next, takeover, .. } = attach(&scene.world, &scene.cgroups, None);
    assert!(takeover);
    let after = links(&bpffs, &scene.cgroups).unwrap();
    for (before, after) in before.iter().zip(&after) {
        assert!(before.ok && after.ok, "{after:?}");
        assert_ne!(before.program_id, after.program_id, "the new agent's program runs");
    }

    // Flows of the old programs, and new ones to the old listeners, are known to both.
    let (_, facts) = accept(&next, &scene.listeners, &scene.listeners.v4);
    assert!(facts.is_some());
    drop(in_flight);
    scene.redirected(NOBODY_V4);

    // The new agent's listeners take over; the old one's end does not take them down.
    let listeners = next.open_listeners(&Netns::current().unwrap()).unwrap();
    let Scene { listeners: old, datapath, .. } = &scene;
    assert_ne!(old.v4.local_addr().unwrap(), listeners.v4.local_addr().unwrap());
    let _client = TcpStream::connect(NOBODY_V4).unwrap();
    assert!(accept(datapath, &listeners, &listeners.v4).1.is_some());
}

#[test]
fn links_on_the_wrong_cgroup_are_replaced() {
    let world = World::new("astray");
    let below = format!("{}/below", world.cgroup_base());
    let dir = world.make_cgroup("/below");
    let gone = CgroupTree::open(&below).unwrap();
    let Attached { takeover, .. } = attach(&world, &gone, None);
    assert!(!takeover);

    let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
    let bpffs = world.bpffs().join("weir");
    assert!(links(&bpffs, &cgroups).unwrap().iter().all(|link| !link.ok && link.cgroup == Some(gone.base_id())));
    let Attached { takeover, .. } = attach(&world, &cgroups, None);
    assert!(!takeover);
    assert!(links(&bpffs, &cgroups).unwrap().iter().all(|link| link.ok));

    // A cgroup that was removed under its links.
    detach(&bpffs).unwrap();
    attach(&world, &gone, None);
    fs::remove_dir(dir).unwrap();
    eventually(|| links(&bpffs, &cgroups).unwrap().iter().all(|link| link.cgroup.is_none()).then_some(()));
    assert!(!attach(&world, &cgroups, None).takeover);
    assert!(links(&bpffs, &cgroups).unwrap().iter().all(|link| link.ok));
}

#[test]
fn detaching_leaves_nothing() {
    let mut scene = Scene::new("detach");
    let neighbour = scene.world.neighbour();
    let [ip, _] = neighbour.addresses();
    let (server, place) = server(&neighbour, ip);
    scene.register(&[addr(&place)]);
    scene.redirected(&place);

    let bpffs = scene.world.bpffs().join("weir");
    let detached = detach(&bpffs).unwrap();
    assert_eq!(detached.programs.len(), 6);
    assert!(detached.programs.contains(&"weir_connect4".to_owned()));
    assert!(detached.maps > 0);
    assert!(!bpffs.exists());
    assert_direct(&scene, &server, &place);
    assert_eq!(detach(&bpffs).unwrap(), weir::datapath::Detached::default(), "nothing more to remove");
}

#[test]
fn a_directory_that_is_no_bpffs_is_refused_with_the_remedy() {
    let world = World::new("no-bpffs");
    let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
    let options = AttachOptions {
        cgroups: &cgroups,
        bpffs: world.dir().join("plain/weir"),
        take_all: false,
        verbosity: Verbosity::Denials,
        max_pending: None,
    };
    let error = Datapath::attach(&options).unwrap_err().to_string();
    assert!(error.contains("mount -t bpf"), "{error}");
    assert!(!world.dir().join("plain").exists());
}

#[test]
fn cgroups_are_found_by_id_until_they_are_gone() {
    let world = World::new("cgroups");
    let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
    let dir = world.make_cgroup("/a b/c");
    let id = cgroups.id_of("/a b/c").unwrap();
    assert_eq!(id.0, fs::metadata(&dir).unwrap().ino());
    assert_eq!(cgroups.path_of(id).unwrap(), Some(CgroupPath::Inside("/a b/c".to_owned())));
    assert_eq!(cgroups.path_of(cgroups.base_id()).unwrap(), Some(CgroupPath::Inside("/".to_owned())));

    let elsewhere = CgroupTree::open(&format!("{}/app", world.cgroup_base())).unwrap();
    let outside = format!("{}/a b/c", world.cgroup_base());
    assert_eq!(elsewhere.path_of(id).unwrap(), Some(CgroupPath::Outside(outside)));

    fs::remove_dir(dir).unwrap();
    assert_eq!(cgroups.path_of(id).unwrap(), None);
    assert!(cgroups.id_of("/a b/c").unwrap_err().to_string().contains("/a b/c"));
    let deep = "/1".repeat(17);
    world.make_cgroup(&deep);
    assert!(cgroups.id_of(&deep).unwrap_err().to_string().contains("levels deep"));
}

#[test]
fn a_namespace_is_itself_whatever_led_to_it() {
    let mut world = World::new("netns");
    let neighbour = world.neighbour();
    let here = Netns::current().unwrap();
    assert_ne!(here, *neighbour.netns());
    let sleeper = Running(neighbour.spawn(process::Command::new("sleep").arg("60")));
    assert_eq!(Netns::of_process(sleeper.0.id()).unwrap(), *neighbour.netns());
    assert_eq!(neighbour.run(|| Netns::current().unwrap()), *neighbour.netns());
    assert_eq!(neighbour.run(|| here.cookie().unwrap()), here.cookie().unwrap());
    assert_ne!(neighbour.netns().cookie().unwrap(), here.cookie().unwrap());

    // A socket made inside stays inside.
    let [ip, _] = neighbour.addresses();
    let server = neighbour.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    let socket = Socket::from(neighbour.netns().tcp_socket(ip).unwrap());
    let started = socket.connect(&server.local_addr().unwrap().into());
    assert!(started.is_ok() || started.is_err_and(|error| error.raw_os_error() == Some(115 /* EINPROGRESS */)));
    server.accept().unwrap();
}

#[test]
fn this_kernel_has_what_it_takes() {
    let world = World::new("features");
    let features = kernel_features(world.cgroup_base(), &world.bpffs());
    assert!(features.iter().any(|feature| feature.name == "weir_connect6"));
    for feature in features {
        assert!(feature.ok && feature.fix.is_empty(), "{feature:?}");
    }
    let lacking = kernel_features("/not-there", world.dir());
    for name in ["cgroup2", "bpffs"] {
        let feature = lacking.iter().find(|feature| feature.name == name).unwrap();
        assert!(!feature.ok && !feature.fix.is_empty());
    }
}

#[test]
fn a_world_leaves_nothing_behind() -> io::Result<()> {
    let world = World::new("leftovers");
    let base = CgroupTree::open(world.cgroup_base()).unwrap().dir("/").unwrap();
    let dir = world.dir().to_owned();
    let mut sleeper = world.command("/app/deep", "sleep").arg("1000").spawn()?;
    assert!(base.exists() && dir.exists());
    drop(world);
    assert!(!sleeper.wait()?.success(), "what still ran was killed");
    assert!(!base.exists() && !dir.exists());
    Ok(())
}
