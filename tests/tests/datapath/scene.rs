//! What the tests have in common: an agent, an application, and ways to bring them together.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use weir::datapath::{
    AttachOptions, Attached, CgroupId, CgroupTree, ClientAddr, Datapath, EndpointIndex, FlowFacts, Listeners, Netns,
    Verbosity,
};
use weir_tests::world::{Neighbour, World};

/// Nobody has these (RFC 5737, RFC 3849).
pub(crate) const NOBODY_V4: &str = "192.0.2.1:443";
pub(crate) const NOBODY_V6: &str = "[2001:db8::1]:443";
pub(crate) const NOBODY_MAPPED: &str = "[::ffff:192.0.2.1]:443";
/// Longer than any machine needs; no test passes because it is over.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

pub(crate) fn endpoint(n: usize) -> EndpointIndex {
    EndpointIndex::of_endpoint(n).unwrap()
}

/// An agent, and this process as an application in scope. Fields drop in this order.
pub(crate) struct Scene {
    pub(crate) listeners: Listeners,
    pub(crate) datapath: Datapath,
    pub(crate) cgroups: CgroupTree,
    pub(crate) world: World,
}

pub(crate) fn attach(world: &World, cgroups: &CgroupTree, max_pending: Option<u32>) -> Attached {
    let bpffs = world.bpffs().join("weir");
    let verbosity = Verbosity::Denials;
    let options = AttachOptions {
        cgroups,
        bpffs,
        take_all: false,
        allow_raw: false,
        deny_link_layer: false,
        verbosity,
        max_pending,
    };
    Datapath::attach(&options).unwrap()
}

impl Scene {
    /// Attached, listening in this namespace, `/app` in scope with this process in it, nothing registered.
    pub(crate) fn new(name: &str) -> Self {
        Self::with_room_for(name, None)
    }

    pub(crate) fn with_room_for(name: &str, max_pending: Option<u32>) -> Self {
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

    pub(crate) fn cgroup(&self, path: &str) -> CgroupId {
        self.world.make_cgroup(path);
        self.cgroups.id_of(path).unwrap()
    }

    pub(crate) fn register(&self, destinations: &[SocketAddr]) {
        let numbered = destinations.iter().enumerate().map(|(n, addr)| (*addr, endpoint(n)));
        self.datapath.set_destinations(&numbered.collect()).unwrap();
    }

    pub(crate) fn accept_v4(&self) -> (TcpStream, Option<FlowFacts>) {
        accept(&self.datapath, &self.listeners.v4)
    }

    pub(crate) fn accept_v6(&self) -> (TcpStream, Option<FlowFacts>) {
        accept(&self.datapath, self.listeners.v6.as_ref().unwrap())
    }

    /// Connects to `destination`, and gives both ends with what was known of the flow.
    pub(crate) fn redirected(&self, destination: &str) -> (TcpStream, TcpStream, FlowFacts) {
        let client = TcpStream::connect(destination).unwrap();
        let is_v6 = client.local_addr().unwrap().ip().to_canonical().is_ipv6();
        let (server, facts) = if is_v6 { self.accept_v6() } else { self.accept_v4() };
        (client, server, facts.expect("the flow is known"))
    }

    pub(crate) fn assert_denied(&self, destination: &str) {
        let error = TcpStream::connect(destination).expect_err("the connection is denied");
        assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
        assert_eq!(self.datapath.pending_flows().unwrap(), 0);
    }
}

/// What a listener of the agent's accepts next, with what is known of it, of which it is then told that it is recorded.
pub(crate) fn accept(datapath: &Datapath, listener: &TcpListener) -> (TcpStream, Option<FlowFacts>) {
    let (stream, peer) = accepted(listener);
    let facts = datapath.take_flow(&stream).unwrap();
    if let Some(facts) = &facts {
        assert_eq!(facts.client, ClientAddr(peer));
        datapath.settle_flow(facts).unwrap();
    }
    (stream, facts)
}

/// What a non-blocking listener accepts next.
pub(crate) fn accepted(listener: &TcpListener) -> (TcpStream, SocketAddr) {
    let (stream, peer) = eventually(|| match listener.accept() {
        Ok(accepted) => Some(accepted),
        Err(error) if error.kind() == ErrorKind::WouldBlock => None,
        Err(error) => panic!("accept: {error}"),
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    (stream, peer)
}

pub(crate) fn eventually<T>(mut attempt: impl FnMut() -> Option<T>) -> T {
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
pub(crate) fn server(neighbour: &Neighbour, ip: IpAddr) -> (TcpListener, String) {
    let listener = neighbour.run(|| TcpListener::bind((ip, 0)).unwrap());
    listener.set_nonblocking(true).unwrap();
    let place = listener.local_addr().unwrap().to_string();
    (listener, place)
}

/// Connects for real: the server sees it, and the programs have no part in it.
pub(crate) fn assert_direct(scene: &Scene, server: &TcpListener, place: &str) {
    let client = TcpStream::connect(place).unwrap();
    let (_, peer) = accepted(server);
    assert_eq!(peer, client.local_addr().unwrap());
    assert_eq!(client.peer_addr().unwrap(), addr(place));
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
}

/// How many flows are entered as open.
pub(crate) fn open_flows(datapath: &Datapath) -> usize {
    datapath.open_flows().unwrap().expect("a list").len()
}
