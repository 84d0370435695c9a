//! Attaching, taking over, detaching.

use std::{fs, io::ErrorKind, net::TcpStream};

use weir::datapath::{ABI, AttachOptions, Attached, CgroupTree, Datapath, Detached, Netns, Verbosity, detach, links};
use weir_tests::world::World;

use crate::scene::{NOBODY_V4, PATIENCE, Scene, accept, addr, assert_direct, attach, endpoint, eventually, server};

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
    let (_, facts) = accept(&next, &scene.listeners.v4);
    assert!(facts.is_some());
    drop(in_flight);
    scene.redirected(NOBODY_V4);

    // The new agent's listeners take over; the old one's end does not take them down.
    let listeners = next.open_listeners(&Netns::current().unwrap()).unwrap();
    let Scene { listeners: old, datapath, .. } = &scene;
    assert_ne!(old.v4.local_addr().unwrap(), listeners.v4.local_addr().unwrap());
    let _client = TcpStream::connect(NOBODY_V4).unwrap();
    assert!(accept(datapath, &listeners.v4).1.is_some());
}

#[test]
fn listeners_that_another_agent_took_over_can_be_taken_back() {
    let scene = Scene::new("renew");
    scene.register(&[addr(NOBODY_V4)]);
    let other = scene.datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    drop(other);
    scene.assert_denied(NOBODY_V4);
    scene.listeners.published.renew().unwrap();
    scene.redirected(NOBODY_V4);
}

/// An upgrade to another layout: nothing of what the new maps are to say is known yet.
#[test]
fn another_layouts_programs_deny_until_they_are_retired() {
    let Scene { listeners, datapath, cgroups, world } = Scene::new("layout");
    let destinations = [(addr(NOBODY_V4), endpoint(0))].into();
    datapath.set_destinations(&destinations).unwrap();
    drop((listeners, datapath));
    let is_denied = || TcpStream::connect_timeout(&addr(NOBODY_V4), PATIENCE).unwrap_err().kind();
    assert_eq!(is_denied(), ErrorKind::PermissionDenied);

    let bpffs = world.bpffs().join("weir");
    let (own, other) = (bpffs.join(format!("abi-{ABI}")), bpffs.join("abi-0"));
    fs::rename(&own, &other).unwrap();
    let Attached { datapath, takeover, .. } = attach(&world, &cgroups, None);
    assert!(!takeover);
    assert_eq!(is_denied(), ErrorKind::PermissionDenied, "the new maps are empty");
    let listeners = datapath.open_listeners(&Netns::current().unwrap()).unwrap();
    let scene = Scene { listeners, datapath, cgroups, world };
    scene.datapath.set_destinations(&destinations).unwrap();
    scene.datapath.set_scope(&[scene.cgroup("/app")], &[]).unwrap();
    assert_eq!(is_denied(), ErrorKind::PermissionDenied, "what either denies is denied");
    assert_eq!((scene.datapath.counts(endpoint(0)).unwrap().seen, scene.datapath.pending_flows().unwrap()), (0, 0));

    scene.datapath.retire_others().unwrap();
    assert!(own.exists() && !other.exists());
    let (client, _, facts) = scene.redirected(NOBODY_V4);
    assert_eq!((client.peer_addr().unwrap(), facts.original_dst.0), (addr(NOBODY_V4), addr(NOBODY_V4)));
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

/// As when a link is not what its name says: the kernel refuses to swap a program for one of another kind.
#[test]
fn links_that_do_not_take_the_program_are_replaced() {
    let scene = Scene::new("refused");
    scene.register(&[addr(NOBODY_V4)]);
    let bpffs = scene.world.bpffs().join("weir");
    let link = |program: &str| bpffs.join(format!("abi-{ABI}/links/{program}"));
    // What is left of an earlier attempt is in nobody's way.
    fs::rename(link("weir_bind6"), link("new_weir_connect4")).unwrap();
    fs::rename(link("weir_connect4"), link("aside")).unwrap();
    fs::rename(link("weir_sock_ops"), link("weir_connect4")).unwrap();
    fs::rename(link("aside"), link("weir_sock_ops")).unwrap();
    let Attached { datapath: next, takeover, .. } = attach(&scene.world, &scene.cgroups, None);
    assert!(takeover, "of the others");
    next.retire_others().unwrap();
    assert_eq!(next.misplaced_links().unwrap(), Vec::<&str>::new());
    assert_eq!(fs::read_dir(bpffs.join(format!("abi-{ABI}/links"))).unwrap().count(), 13);
    scene.redirected(NOBODY_V4);
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
    assert_eq!(detached.programs.len(), 13);
    assert!(detached.programs.contains(&"weir_connect4".to_owned()));
    assert!(detached.maps > 0);
    assert!(!bpffs.exists());
    assert_direct(&scene, &server, &place);
    assert_eq!(detach(&bpffs).unwrap(), Detached::default(), "nothing more to remove");
}

#[test]
fn a_directory_that_is_no_bpffs_is_refused_with_the_remedy() {
    let world = World::new("no-bpffs");
    let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
    let options = AttachOptions {
        cgroups: &cgroups,
        bpffs: world.dir().join("plain/weir"),
        take_all: false,
        allow_raw: false,
        deny_link_layer: false,
        verbosity: Verbosity::Denials,
        max_pending: None,
    };
    let error = Datapath::attach(&options).unwrap_err().to_string();
    assert!(error.contains("mount -t bpf"), "{error}");
    assert!(!world.dir().join("plain").exists());
}
