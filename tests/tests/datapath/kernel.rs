//! Cgroups, namespaces, what the kernel offers, and the worlds of these tests.

use std::{
    fs, io,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::MetadataExt as _,
    process::Command,
};

use socket2::Socket;
use weir::datapath::{Binding, CgroupPath, CgroupTree, Netns, kernel_features};
use weir_tests::world::{Running, World};

use crate::scene::accepted;

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
    let sleeper = Running(neighbour.spawn(Command::new("sleep").arg("60")));
    assert_eq!(Netns::of_process(sleeper.0.id()).unwrap(), *neighbour.netns());
    assert_eq!(neighbour.run(|| Netns::current().unwrap()), *neighbour.netns());
    assert_eq!(neighbour.run(|| here.cookie().unwrap()), here.cookie().unwrap());
    assert_ne!(neighbour.netns().cookie().unwrap(), here.cookie().unwrap());

    // A socket made inside stays inside.
    let [ip, _] = neighbour.addresses();
    let server = neighbour.run(|| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    server.set_nonblocking(true).unwrap();
    let socket = Socket::from(neighbour.netns().tcp_socket(ip, &Binding::default()).unwrap());
    let started = socket.connect(&server.local_addr().unwrap().into());
    assert!(started.is_ok() || started.is_err_and(|error| error.raw_os_error() == Some(115 /* EINPROGRESS */)));
    accepted(&server);
}

#[test]
fn this_kernel_has_what_it_takes() {
    let world = World::new("features");
    let features = kernel_features(world.cgroup_base(), &world.bpffs(), false);
    assert!(features.iter().any(|feature| feature.name == "weir_connect6"));
    for feature in features {
        assert!(feature.ok && feature.fix.is_empty(), "{feature:?}");
    }
    let lacking = kernel_features("/not-there", world.dir(), false);
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
