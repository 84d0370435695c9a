//! Answers that must not be believed, and workloads that must not be in each other's way.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use weir::datapath::LearnError;
use weir_tests::{
    dns::{NameServer, Question, Record},
    world::Neighbour,
};

use crate::{
    learning::{DEEP, HOST, Named, asker, at, holder, netns, nobody, pattern, question, received},
    scene::PATIENCE,
};

fn answer(question: &Question, ip: IpAddr) -> Vec<u8> {
    question.answer(&[Record::address(&question.name, 60, ip)])
}

#[test]
fn only_the_answer_to_what_was_asked_is_believed() {
    let named = Named::new("spoofed");
    let [v4, _] = named.there.addresses();
    let server = named.there.run(|| UdpSocket::bind((v4, 53)).unwrap());
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let stranger = named.there.run(|| UdpSocket::bind((v4, 5353)).unwrap());
    let asker = asker(false);
    asker.send_to(&question(0x1234, HOST).message(), (v4, 53)).unwrap();
    let (_, from) = server.recv_from(&mut [0; 512]).unwrap();

    let asked = question(0x1234, HOST);
    let sent = |socket: &UdpSocket, message: &[u8]| {
        socket.send_to(message, from).unwrap();
        received(&asker).expect("it arrives all the same");
    };
    sent(&server, &answer(&question(0x1235, HOST), nobody(1)));
    sent(&server, &answer(&question(0x1234, "a.tools.test"), nobody(2)));
    sent(&server, &answer(&question(0x1234, "other.test"), nobody(3)));
    sent(&stranger, &answer(&asked, nobody(4)));
    // A question, however it is filled.
    sent(&server, &asked.answer_with(0x0100, &[Record::address(HOST, 60, nobody(5))], true));
    sent(&server, &answer(&asked, nobody(6)));
    for n in [1, 2, 3, 4, 5] {
        assert!(named.learnt(at(nobody(n))).is_none(), "{n}");
    }
    assert!(named.learnt(at(nobody(6))).is_some());

    // Nobody asked.
    let silent = UdpSocket::bind((named.there.here()[0], 0)).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    server.send_to(&answer(&asked, nobody(8)), silent.local_addr().unwrap()).unwrap();
    received(&silent).unwrap();
    assert!(named.learnt(at(nobody(8))).is_none());
}

/// As musl does it: one socket asks every server at once, and passes over what is neither an answer nor "no such name".
/// Whichever the application reads, it is learnt.
#[test]
fn every_server_that_was_asked_may_answer() {
    let [answered, failed, no_such_name, refused] = [0x8180, 0x8182, 0x8183, 0x8185];
    let named = Named::new("several");
    let (near, far): (IpAddr, _) = ("127.0.0.53".parse().unwrap(), named.there.addresses()[0]);
    named.scene.datapath.set_resolvers(netns(), &[near, far]).unwrap();
    let servers = [UdpSocket::bind((near, 53)).unwrap(), named.there.run(|| UdpSocket::bind((far, 53)).unwrap())];
    servers.iter().for_each(|server| server.set_read_timeout(Some(PATIENCE)).unwrap());
    let cases = [refused, failed, no_such_name, answered].map(|first| [first, answered]);
    for (id, codes) in (1..).zip(cases) {
        let (asker, asked) = (asker(false), question(id, HOST));
        for ip in [near, far] {
            asker.send_to(&asked.message(), (ip, 53)).unwrap();
        }
        for (n, (server, code)) in (1..).zip(servers.iter().zip(codes)) {
            let (_, from) = server.recv_from(&mut [0; 512]).unwrap();
            let place = nobody(id * 10 + n);
            let records = [Record::address(HOST, 60, place)];
            let records = if code == answered { &records[..] } else { &[] };
            server.send_to(&asked.answer_with(code, records, true), from).unwrap();
            received(&asker).expect("it arrives");
            assert_eq!(named.learnt(at(place)).is_some(), code == answered, "{codes:x?}, answer {n}");
        }
    }
}

/// A socket that asks much: questions that were answered make room for others.
#[test]
fn what_was_answered_makes_room_on_its_socket() {
    let named = Named::new("busy");
    let _server = named.serve(false, |question| vec![answer(question, nobody(question.id))]);
    let asker = asker(false);
    asker.connect((named.there.addresses()[0], 53)).unwrap();
    for id in 1..100 {
        asker.send(&question(id, HOST).message()).unwrap();
        received(&asker).expect("an answer");
        assert!(named.learnt(at(nobody(id))).is_some(), "{id}");
    }
    assert_eq!(named.scene.datapath.dns_counts().unwrap().refused, 0);
}

#[test]
fn only_configured_servers_are_believed_once_they_are_known() {
    let named = Named::new("stranger");
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let _server = NameServer::start(local, |question| vec![answer(question, nobody(question.id))]);
    let ask = |id| {
        let socket = asker(false);
        socket.connect((local, 53)).unwrap();
        socket.send(&question(id, HOST).message()).unwrap();
        received(&socket).expect("the application gets its answer")
    };
    ask(1);
    assert!(named.learnt(at(nobody(1))).is_none());
    assert_eq!(named.scene.datapath.dns_counts().unwrap().stranger, 1);

    // In a namespace of which nothing is known yet, the server that was asked is believed.
    named.scene.datapath.keep_resolvers(|_| false).unwrap();
    ask(2);
    assert!(named.learnt(at(nobody(2))).is_some());
    named.scene.datapath.set_resolvers(netns(), &[local]).unwrap();
    ask(3);
    assert!(named.learnt(at(nobody(3))).is_some());
}

#[test]
fn out_of_scope_nothing_is_learnt_and_names_that_are_not_registered_pass() {
    let named = Named::new("elsewhere");
    let server = named.serve(false, |question| vec![answer(question, nobody(question.id))]);
    for (id, host) in [(1, "test"), (2, "xmcp.test"), (3, "mcp.test.example"), (4, "tools.test"), (5, "xtools.test")] {
        named.ask(&question(id, host), false).expect("an answer");
        assert!(named.learnt(at(nobody(id))).is_none(), "{host}");
    }
    named.scene.world.enter("/elsewhere");
    named.ask(&question(6, HOST), false).expect("an answer");
    assert!(named.learnt(at(nobody(6))).is_none());
    assert_eq!(server.asked().len(), 6);
    assert_eq!(named.scene.datapath.dns_counts().unwrap(), weir::datapath::DnsCounts::default());
}

/// What one namespace learns counts in no other.
#[test]
fn a_namespace_cannot_teach_another() {
    let named = Named::new("others");
    let _server = named.serve(false, |question| vec![answer(question, nobody(question.id))]);
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let lying = named.there.run(|| NameServer::start(local, |question| vec![answer(question, nobody(question.id))]));
    named.there.run(|| {
        let socket = asker(false);
        socket.connect((local, 53)).unwrap();
        socket.send(&question(1, HOST).message()).unwrap();
        received(&socket).expect("an answer");
    });
    drop(lying);
    let there = named.there.netns().cookie().unwrap();
    assert!(named.scene.datapath.learnt_at(there, at(nobody(1))).unwrap().is_some());
    assert!(named.learnt(at(nobody(1))).is_none());
}

/// Whoever makes namespaces, and cgroups below its own, has no more room for it; and who is beside it has no less.
#[test]
fn namespaces_and_nested_cgroups_bring_no_more_room() {
    // What a cgroup on the last level that has a share can have, and what one can have in one namespace; three entries for
    // each address.
    const SHARE: usize = 4096 / 3;
    const IN_ONE: usize = 2048 / 3;
    let mut named = Named::new("crowd");
    let local: IpAddr = "127.0.0.1".parse().unwrap();
    let rooms: Vec<_> = (0..3).map(|_| named.scene.world.neighbour()).collect();
    let ask_in = |room: &Neighbour, id, host| {
        room.run(|| {
            let socket = asker(false);
            socket.connect((local, 53)).unwrap();
            socket.send(&question(id, host).message()).unwrap();
            received(&socket)
        })
    };
    let of_crowd = || {
        let learnt = named.scene.datapath.sweep_learnt(|_| true).unwrap();
        learnt.iter().filter(|learnt| learnt.addr.port() == 443 && learnt.host.as_deref() == Some(HOST)).count()
    };
    for (n, room) in rooms.iter().enumerate() {
        let _server = room.run(|| {
            NameServer::start(local, |question| {
                let places = (0..100).map(|n| nobody(question.id * 100 + n));
                let many: Vec<_> = places.map(|place| Record::address(HOST, 60, place)).collect();
                vec![if question.name == HOST { question.answer(&many) } else { answer(question, nobody(60_000)) }]
            })
        });
        named.scene.world.enter(&format!("{DEEP}/{n}"));
        let answered = (1..10).filter(|id| ask_in(room, *id, HOST).is_some()).count();
        assert_eq!(answered, if n < 2 { IN_ONE / 100 } else { 0 }, "namespace {n}");
        assert_eq!(of_crowd(), (IN_ONE * (n + 1)).min(SHARE));

        named.scene.world.enter("/app/beside");
        ask_in(room, 10, "beside.tools.test").expect("an answer");
    }
    // Hosts files take from the same share.
    let listed = |cgroup| {
        let (netns, holder) = (rooms[0].netns().cookie().unwrap(), holder(&named.scene, cgroup));
        let datapath = &named.scene.datapath;
        datapath.learn_listed(netns, &holder, HOST, &pattern(HOST, false, 0), nobody(50_000), Duration::ZERO)
    };
    assert!(matches!(listed(DEEP), Err(LearnError::NoRoom(_))));
    listed("/app/beside").unwrap();
}

/// A workload that floods the map meets its own limit; its answers are dropped, and another's go on.
#[test]
fn a_flood_stops_at_its_own_limit() {
    let named = Named::new("flood");
    let _server = named.serve(false, |question| {
        let first = question.id.wrapping_mul(100);
        let many: Vec<_> =
            (0..100).map(|n| Record::address(&question.name, 60, nobody(first.wrapping_add(n)))).collect();
        vec![if question.name == HOST { question.answer(&many) } else { answer(question, nobody(60_000)) }]
    });
    named.scene.world.enter("/app/flood");
    let answered = (0..16).filter(|id| named.ask(&question(*id, HOST), false).is_some()).count();
    // Three entries for each address: two ports, and none.
    assert_eq!(answered, 2048 / 300, "the rest was dropped");
    let counts = named.scene.datapath.dns_counts().unwrap();
    assert_eq!(counts.no_room, 16 - answered as u64);

    // A flood of questions over one socket: the oldest open ones are not pushed out.
    let [v4, _] = named.there.addresses();
    let socket = asker(false);
    socket.connect((v4, 54)).unwrap();
    socket.connect((v4, 53)).unwrap();
    let sent = (100..200).map(|id| socket.send(&question(id, "unanswered.tools.test").message())).filter(Result::is_ok);
    assert!((16..100).contains(&sent.count()));
    assert!(named.scene.datapath.dns_counts().unwrap().refused > 0);

    named.scene.world.enter("/app/other");
    named.ask(&question(7, "other.tools.test"), false).expect("an answer");
    assert!(named.is_taken(at(nobody(60_000))));
    let unasked = SocketAddr::new(nobody(50_000), 443);
    assert!(named.learnt(unasked).is_none());

    // What the flood learnt stays within its limit when it is counted again, and room comes back when it has gone.
    named.scene.datapath.sweep_learnt(|_| true).unwrap();
    named.scene.world.enter("/app/flood");
    assert!(named.ask(&question(30, HOST), false).is_none());
}
