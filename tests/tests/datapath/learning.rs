//! Addresses that only an answer gave are intercepted at the first connect after it.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket},
    time::Duration,
};

use weir::datapath::{Holder, LearntAddress, LearntFrom, NamePattern, Netns, NetnsCookie};
use weir_tests::{
    dns::{A, AAAA, NameServer, Question, Record},
    world::Neighbour,
};

use crate::scene::{PATIENCE, Scene, endpoint};

pub(crate) const HOST: &str = "mcp.test";
pub(crate) const WILD: &str = "tools.test";

/// Below the last level that has a share of its own, whatever the world's base is.
pub(crate) const DEEP: &str = "/app/1/2/3/4";

/// A cgroup of the scene's, as whose hosts file is read.
pub(crate) fn holder(scene: &Scene, cgroup: &str) -> Holder {
    Holder::of(&scene.cgroups, scene.cgroup(cgroup)).unwrap().expect("it is there")
}

/// A scene with a server of names at a neighbour, that the world is configured with.
pub(crate) struct Named {
    pub(crate) there: Neighbour,
    pub(crate) scene: Scene,
}

pub(crate) fn netns() -> NetnsCookie {
    Netns::current().unwrap().cookie().unwrap()
}

pub(crate) fn pattern(name: &str, below: bool, n: usize) -> NamePattern {
    NamePattern { name: name.to_owned(), below, ports: vec![(443, endpoint(n)), (8443, endpoint(n + 1))] }
}

impl Named {
    pub(crate) fn new(name: &str) -> Self {
        let mut scene = Scene::new(name);
        let there = scene.world.neighbour();
        let [v4, v6] = there.addresses();
        scene.world.set_file("/etc/resolv.conf", &format!("nameserver {v4}\n"));
        scene.datapath.set_patterns(&[pattern(HOST, false, 0), pattern(WILD, true, 2)]).unwrap();
        scene.datapath.set_resolvers(netns(), &[v4, v6]).unwrap();
        Self { there, scene }
    }

    /// Answers at the neighbour's address of a family.
    pub(crate) fn serve(&self, v6: bool, answers: impl Fn(&Question) -> Vec<Vec<u8>> + Send + 'static) -> NameServer {
        let ip = self.there.addresses()[usize::from(v6)];
        self.there.run(move || NameServer::start(ip, answers))
    }

    pub(crate) fn learnt(&self, addr: SocketAddr) -> Option<LearntAddress> {
        self.scene.datapath.learnt_at(netns(), addr).unwrap()
    }

    /// Asks as a client of its own would, and gives what came.
    pub(crate) fn ask(&self, question: &Question, v6: bool) -> Option<Vec<u8>> {
        let socket = asker(v6);
        socket.connect((self.there.addresses()[usize::from(v6)], 53)).unwrap();
        socket.send(&question.message()).unwrap();
        received(&socket)
    }

    /// Whether a connection goes to the agent.
    pub(crate) fn is_taken(&self, addr: SocketAddr) -> bool {
        match TcpStream::connect_timeout(&addr, PATIENCE) {
            Ok(_client) => {
                let (_, facts) = if addr.is_ipv4() { self.scene.accept_v4() } else { self.scene.accept_v6() };
                facts.is_some_and(|facts| facts.original_dst.0 == addr)
            }
            Err(_) => false,
        }
    }
}

pub(crate) fn asker(v6: bool) -> UdpSocket {
    let any: IpAddr = if v6 { [0; 16].into() } else { [0; 4].into() };
    let socket = UdpSocket::bind((any, 0)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(if v6 { 5000 } else { 300 }))).unwrap();
    socket
}

pub(crate) fn received(socket: &UdpSocket) -> Option<Vec<u8>> {
    let mut bytes = vec![0; 8192];
    let len = socket.recv(&mut bytes).ok()?;
    bytes.truncate(len);
    Some(bytes)
}

pub(crate) fn question(id: u16, name: &str) -> Question {
    Question { id, name: name.to_owned(), kind: A }
}

/// Nobody has these (RFC 5737).
pub(crate) fn nobody(n: u16) -> IpAddr {
    let [high, low] = n.to_be_bytes();
    Ipv4Addr::new(198, 18 + (high >> 7), high & 0x7f, low).into()
}

pub(crate) fn at(ip: IpAddr) -> SocketAddr {
    SocketAddr::new(ip, 443)
}

/// The C library's resolver, a fresh address each time, and no time between the answer and the connect.
#[test]
fn a_fresh_address_is_taken_at_the_first_connect() {
    const ROUNDS: u16 = 200;
    let named = Named::new("fresh");
    let count = std::sync::atomic::AtomicU16::new(0);
    let _server = named.serve(false, move |question| {
        let fresh = nobody(count.fetch_add(1, std::sync::atomic::Ordering::Relaxed));
        // Of IPv6 there is none; of IPv4 it must not be cached at all, by its TTL.
        let records = [Record::address(&question.name, 0, fresh)];
        vec![question.answer(if question.kind == A { &records } else { &[] })]
    });
    let mut cached = Vec::new();
    for n in 0..ROUNDS {
        let host = if n % 2 == 0 { HOST.to_owned() } else { format!("{n}.Deep.{WILD}") };
        let addr = (host.as_str(), 443).to_socket_addrs().unwrap().next().unwrap();
        assert!(named.is_taken(addr), "{host} at {addr}");
        let LearntAddress { host: learnt, from, endpoint: of, .. } = named.learnt(addr).unwrap();
        assert_eq!(learnt, Some(host.to_ascii_lowercase()));
        assert_eq!((from, of), (LearntFrom::Answer, endpoint(if n % 2 == 0 { 0 } else { 2 })));
        cached.push(addr);
    }
    // Cached beyond its TTL, and swept: still there.
    assert!(!named.scene.datapath.sweep_learnt(|_| true).unwrap().is_empty());
    assert!(cached.iter().step_by(20).all(|addr| named.is_taken(*addr)));
    // The other port too, and no port that is not registered.
    let other = |port| SocketAddr::new(cached[0].ip(), port);
    assert!(named.is_taken(other(8443)) && named.learnt(other(80)).is_none());
    let counts = named.scene.datapath.dns_counts().unwrap();
    assert_eq!((counts.no_room, counts.unread, counts.stranger), (0, 0, 0), "{counts:?}");
}

#[test]
fn names_lead_to_names_and_only_their_addresses_count() {
    let named = Named::new("chains");
    for compressed in [true, false] {
        let first: u16 = if compressed { 0 } else { 100 };
        let _server = named.serve(true, move |question| {
            let at = |n: u16| nobody(first + n);
            let cdn = format!("{}.cdn.example", "long-label".repeat(5));
            let records = [
                Record::address("unrelated.example", 60, at(9)),
                Record::alias(&question.name, 60, "alias.example"),
                Record::address(&question.name, 60, at(8)),
                Record::alias("alias.example", 60, &cdn),
                Record::address("alias.example", 60, at(7)),
                Record::address(&cdn.to_ascii_uppercase(), 60, at(1)),
                Record::address(&cdn, 60, at(2)),
                Record::address(&cdn, 60, format!("2001:db8::{first}").parse().unwrap()),
                Record::address("example", 60, at(6)),
            ];
            vec![question.answer_with(0x8180, &records, compressed)]
        });
        let asked = Question { kind: AAAA, ..question(7, "x.tools.test") };
        let answer = named.ask(&asked, true);
        assert!(answer.is_some(), "compressed: {compressed}, {:?}", named.scene.datapath.dns_counts());
        let is_learnt = |n: u16| named.learnt(at(nobody(first + n))).is_some();
        assert!(is_learnt(1) && is_learnt(2), "compressed: {compressed}");
        for unrelated in 6..=9 {
            assert!(!is_learnt(unrelated), "{unrelated}, compressed: {compressed}");
        }
        assert!(named.is_taken(format!("[2001:db8::{first}]:443").parse().unwrap()));
    }
}

#[test]
fn large_and_truncated_answers_are_learnt_as_far_as_they_go() {
    let named = Named::new("large");
    let _server = named.serve(false, |question| {
        let many = |owner: &str| (0..200).map(|n| Record::address(owner, 5, nobody(n))).collect::<Vec<_>>();
        let answer = question.answer_with(0x8180, &many(&question.name), false);
        match question.id {
            1 => vec![answer],
            // Cut within a record; the rest comes over TCP.
            2 => vec![question.answer_with(0x8380, &[Record::address(HOST, 5, nobody(300))], true), answer],
            // Cut, and not saying so.
            _ => vec![answer[..answer.len() - 2].to_vec()],
        }
    });
    assert!(named.ask(&question(1, HOST), false).is_some());
    assert!((0..200).all(|n| named.learnt(at(nobody(n))).is_some()));
    assert!(named.ask(&question(2, HOST), false).is_some());
    assert!(named.learnt(at(nobody(300))).is_some());
    assert!(named.ask(&question(3, HOST), false).is_none(), "what cannot be read is dropped");
    assert_eq!(named.scene.datapath.dns_counts().unwrap().unread, 1);
}

/// As systemd-resolved's stub does, in the application's own namespace.
#[test]
fn a_server_on_the_loopback_address_is_heard() {
    let named = Named::new("stub");
    let stub: IpAddr = "127.0.0.53".parse().unwrap();
    named.scene.datapath.set_resolvers(netns(), &[stub]).unwrap();
    named.scene.world.set_file("/etc/resolv.conf", "nameserver 127.0.0.53\noptions edns0 trust-ad\n");
    let _server = NameServer::start(stub, |question| {
        vec![question.answer(&[Record::address(&question.name, 1, nobody(question.kind))])]
    });
    for host in [HOST, "a.tools.test"] {
        let addr = (host, 443).to_socket_addrs().unwrap().next().unwrap();
        assert!(named.is_taken(addr), "{host}");
    }
}

#[test]
fn what_outlived_its_time_is_forgotten_only_when_its_room_is_wanted() {
    let named = Named::new("outlived");
    let Named { scene, .. } = &named;
    let (own, other) = (holder(scene, DEEP), holder(scene, "/app/other"));
    let learn_for = |holder: &Holder, range: std::ops::Range<u16>| {
        for n in range {
            let one = pattern(HOST, false, 0);
            scene.datapath.learn_listed(netns(), holder, HOST, &one, nobody(n), Duration::ZERO).unwrap();
        }
    };
    let learn = |range| learn_for(&own, range);
    learn(0..10);
    assert_eq!(scene.datapath.sweep_learnt(|_| true).unwrap().len(), 20);
    assert!(named.is_taken(at(nobody(3))));
    // Three entries for each address: with these, more than half of what a cgroup so deep may have is taken.
    learn(10..700);
    learn_for(&other, 2000..2010);
    assert_eq!(scene.datapath.sweep_learnt(|_| true).unwrap().len(), 20, "the others' stay");
    assert!(named.learnt(at(nobody(3))).is_none());
    assert!(named.is_taken(at(nobody(2003))));
    // What is gone gives its room back.
    learn(10..700);
    assert_eq!(scene.datapath.sweep_learnt(|_| true).unwrap().len(), 20);

    learn(0..10);
    assert_eq!(scene.datapath.sweep_learnt(|_| false).unwrap().len(), 0, "its namespace is served no more");
}
