//! What is counted of whom, where a connection ends before the agent has it, and that nobody takes another's place.

use std::{fs, io::ErrorKind, net::TcpStream, process, thread, time::Duration};

use socket2::{Domain, SockRef, Socket, Type};
use weir::datapath::{CgroupId, Datapath, EndpointCounts, Listeners, Netns};

use crate::scene::{NOBODY_V4, NOBODY_V6, Scene, addr, attach, endpoint, eventually, open_flows};

fn counts(datapath: &Datapath) -> EndpointCounts {
    datapath.counts(endpoint(0)).unwrap()
}

/// What is counted of a cgroup at the first endpoint.
fn counts_of(datapath: &Datapath, cgroup: CgroupId) -> EndpointCounts {
    let all = datapath.workload_counts().unwrap();
    let own = all.iter().find(|workload| workload.cgroup == cgroup && workload.endpoint == endpoint(0));
    own.map(|workload| workload.counts).unwrap_or_default()
}

#[test]
fn each_workload_is_counted_for_itself_and_all_of_them_together() {
    let scene = Scene::new("workloads");
    scene.register(&[addr(NOBODY_V4), addr(NOBODY_V6)]);
    for (cgroup, times) in [("/app/one", 3), ("/app/other", 2)] {
        scene.world.enter(cgroup);
        for _ in 0..times {
            scene.redirected(NOBODY_V4);
        }
    }
    let (one, other) = (scene.cgroup("/app/one"), scene.cgroup("/app/other"));
    let whole = |counts: EndpointCounts| (counts.is_whole(), counts.seen, counts.redirected, counts.arrived);
    assert_eq!(whole(counts_of(&scene.datapath, one)), (true, 3, 3, 3));
    assert_eq!(whole(counts_of(&scene.datapath, other)), (true, 2, 2, 2));
    assert_eq!(whole(counts(&scene.datapath)), (true, 5, 5, 5));

    // The counters go with the cgroup once they are asked to; the sum stays.
    scene.world.enter("/app");
    fs::remove_dir(scene.world.make_cgroup("/app/other")).unwrap();
    scene.datapath.forget_gone_workloads(&scene.cgroups).unwrap();
    assert_eq!(counts_of(&scene.datapath, other).seen, 0);
    assert_eq!(counts_of(&scene.datapath, one).seen, 3);
    assert_eq!(counts(&scene.datapath).seen, 5);
}

#[test]
fn a_connection_that_the_kernel_gives_up_before_its_syn_is_no_attempt() {
    let scene = Scene::new("no-syn");
    scene.register(&[addr(NOBODY_V4)]);
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    let _first = scene.redirected(NOBODY_V4);
    let error = TcpStream::connect(NOBODY_V4).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
    assert_eq!((counts(&scene.datapath).seen, counts(&scene.datapath).redirected), (1, 1));
    assert_eq!(scene.datapath.pending_flows().unwrap(), 0);
}

#[test]
fn what_is_reset_while_it_waits_keeps_its_facts_and_what_uses_its_port_again_has_its_own() {
    let scene = Scene::new("reset");
    scene.register(&[addr(NOBODY_V4)]);
    fs::write("/proc/sys/net/ipv4/ip_local_port_range", "40000 40000").unwrap();
    let mut tids = Vec::new();
    // One port: each comes after the one before was reset, and all wait for `accept()`.
    for name in ["first", "second", "third"] {
        let connect = || {
            let client = TcpStream::connect(NOBODY_V4).unwrap();
            SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        };
        thread::Builder::new().name(name.into()).spawn(connect).unwrap().join().unwrap();
        tids.push(name);
    }
    for name in tids {
        let (_, facts) = scene.accept_v4();
        assert_eq!(facts.expect("its own facts").comm, name);
    }
    let counts = counts(&scene.datapath);
    assert_eq!((counts.redirected, counts.arrived, counts.refused), (3, 3, 0));
    assert_eq!((scene.datapath.pending_flows().unwrap(), open_flows(&scene.datapath)), (0, 0));
}

#[test]
fn what_a_listener_never_accepts_stays_entered_when_the_listener_goes() {
    let Scene { listeners, datapath, world, .. } = Scene::new("left");
    datapath.set_destinations(&[(addr(NOBODY_V4), endpoint(0))].into()).unwrap();
    let clients: Vec<_> = (0..3).map(|_| TcpStream::connect(NOBODY_V4).unwrap()).collect();
    let Listeners { published, v4, v6 } = listeners;
    drop((published, v4, v6));
    drop(clients);
    let left = datapath.open_flows().unwrap().expect("a list");
    assert_eq!(left.len(), 3);
    for flow in &left {
        assert_eq!((flow.facts.tgid, flow.recording_from), (process::id(), None));
        datapath.begin_recording(&flow.facts, 41).unwrap();
    }
    // An agent that died while it recorded them leaves a note of where to look.
    let left = datapath.open_flows().unwrap().expect("a list");
    assert!(left.iter().all(|flow| flow.recording_from == Some(41)));
    left.iter().for_each(|flow| datapath.settle_flow(&flow.facts).unwrap());
    assert_eq!(open_flows(&datapath), 0);
    drop(world);
}

#[test]
fn counters_and_open_flows_outlive_the_agent_with_the_names_they_were_counted_by() {
    let scene = Scene::new("books");
    let mut books = scene.datapath.books().unwrap();
    assert_eq!((books.id, books.names.len()), (None, 0));
    (books.id, books.names) = (Some(7), vec!["billing".into(), "search".into()]);
    scene.datapath.set_books(&books).unwrap();
    scene.register(&[addr(NOBODY_V4)]);
    let _client = TcpStream::connect(NOBODY_V4).unwrap();

    let next = attach(&scene.world, &scene.cgroups, None).datapath;
    assert_eq!(next.books().unwrap(), books);
    assert_eq!((counts(&next).redirected, open_flows(&next)), (1, 1));
    books.names.truncate(1);
    next.set_books(&books).unwrap();
    assert_eq!(next.books().unwrap(), books);
}

#[test]
fn one_cgroup_cannot_take_the_room_of_another() {
    let mut scene = Scene::with_room_for("share", Some(8));
    scene.register(&[addr(NOBODY_V4)]);
    let queued = fill_the_queue(&mut scene);
    let before = counts(&scene.datapath);
    let fill = |cgroup: &str| -> (Vec<Socket>, usize) {
        scene.world.enter(cgroup);
        let (mut held, mut denied) = (Vec::new(), 0);
        for _ in 0..6 {
            match connecting() {
                Ok(socket) => held.push(socket),
                Err(()) => denied += 1,
            }
        }
        (held, denied)
    };
    let (flood, denied) = fill("/app/flood");
    assert_eq!((flood.len(), denied), (4, 2), "half of the room");
    let (other, denied) = fill("/app/other");
    assert_eq!((other.len(), denied), (4, 2), "the other half");
    assert_eq!(counts(&scene.datapath).denied - before.denied, 4);
    drop(flood);
    eventually(|| (scene.datapath.pending_flows().unwrap() == 4).then_some(()));
    let (flood, _) = fill("/app/flood");
    assert_eq!(flood.len(), 4, "what is given back can be taken again");
    drop((flood, other));
    eventually(|| (counts(&scene.datapath).refused - before.refused == 12).then_some(()));
    drop(queued);
}

#[test]
fn cgroups_that_are_not_told_apart_share_one_share() {
    let mut scene = Scene::with_room_for("others", Some(8));
    scene.register(&[addr(NOBODY_V4)]);
    let queued = fill_the_queue(&mut scene);
    // One of eight places is for these; with `/app`, seven others take the rest.
    for n in 0..6 {
        scene.world.enter(&format!("/app/{n}"));
        drop(connecting().expect("room"));
    }
    eventually(|| (scene.datapath.pending_flows().unwrap() == 0).then_some(()));
    let mut held = Vec::new();
    for cgroup in ["/app/late", "/app/later"] {
        scene.world.enter(cgroup);
        held.extend((0..3).filter_map(|_| connecting().ok()));
    }
    assert_eq!(held.len(), 4, "half of the room for both together");
    scene.world.enter("/app/0");
    let own = connecting().expect("room of its own");
    drop((held, own, queued));
}

/// A listener whose queue is full has SYNs wait; here are the connections in it.
fn fill_the_queue(scene: &mut Scene) -> Vec<Socket> {
    fs::write("/proc/sys/net/core/somaxconn", "1").unwrap();
    scene.listeners = scene.datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    let mut queued = Vec::new();
    loop {
        let socket = connecting().expect("room");
        thread::sleep(Duration::from_millis(20));
        if socket.peer_addr().is_err() {
            return queued;
        }
        queued.push(socket);
        assert!(queued.len() < 4, "the queue fills up");
    }
}

/// A socket that is connecting; none if it was denied.
fn connecting() -> Result<Socket, ()> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_nonblocking(true).unwrap();
    match socket.connect(&addr(NOBODY_V4).into()) {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Err(()),
        _ => Ok(socket),
    }
}
