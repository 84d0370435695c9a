//! Packet sockets and TUN devices, where they are refused to the scope.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::PathBuf,
};

use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use socket2::{Domain, Socket, Type};
use weir::datapath::{AttachError, AttachOptions, Attached, CgroupTree, Datapath, Verbosity, links};
use weir_tests::world::World;

const AF_XDP: i32 = 44;
const EPERM: Option<i32> = Some(1);

fn options<'c>(world: &World, cgroups: &'c CgroupTree, deny_link_layer: bool) -> AttachOptions<'c> {
    AttachOptions {
        cgroups,
        bpffs: world.bpffs().join("weir"),
        take_all: false,
        allow_raw: true,
        deny_link_layer,
        verbosity: Verbosity::Denials,
        max_pending: None,
    }
}

/// Attached, with `/app` in scope; none where the kernel does not run what it takes, which the refusal then says.
fn attach(world: &World, cgroups: &CgroupTree) -> Option<Datapath> {
    match Datapath::attach(&options(world, cgroups, true)) {
        Ok(Attached { datapath, .. }) => {
            world.make_cgroup("/app");
            datapath.set_scope(&[cgroups.id_of("/app").unwrap()], &[]).unwrap();
            Some(datapath)
        }
        Err(AttachError::LinkLayer(reason)) => {
            println!("not here: {reason}");
            // The kernels that the suite boots have it.
            let booted_with = fs::read_to_string("/proc/cmdline").unwrap();
            assert!(!booted_with.split(' ').any(|argument| argument.starts_with("lsm=") && argument.contains("bpf")));
            assert!(
                links(&world.bpffs().join("weir"), cgroups).unwrap().iter().all(|link| !link.ok),
                "nothing is left"
            );
            None
        }
        Err(other) => panic!("{other}"),
    }
}

fn packet_socket() -> io::Result<Socket> {
    Socket::new(Domain::PACKET, Type::DGRAM, None)
}

/// The device's file, made here: a container's file system may have none.
fn tun(world: &World) -> PathBuf {
    let path = world.dir().join("tun");
    if !path.exists() {
        mknod(&path, SFlag::S_IFCHR, Mode::S_IRWXU, makedev(10, 200)).unwrap();
    }
    path
}

fn open(path: &PathBuf) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).open(path)
}

fn is_refused<T>(result: io::Result<T>) -> bool {
    result.is_err_and(|error| error.raw_os_error() == EPERM)
}

#[test]
fn the_scope_gets_neither_packet_sockets_nor_tun_devices_and_others_do() {
    let world = World::new("link-layer");
    let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
    let tun = tun(&world);
    let Some(datapath) = attach(&world, &cgroups) else { return };
    world.enter("/other");
    drop(packet_socket().unwrap());
    assert!(!is_refused(open(&tun)), "not in scope");

    world.enter("/app");
    assert!(is_refused(packet_socket()));
    assert!(is_refused(Socket::new(Domain::PACKET, Type::RAW, None)));
    assert!(is_refused(Socket::new(Domain::from(AF_XDP), Type::RAW, None)));
    assert!(is_refused(open(&tun)));
    assert!(is_refused(File::open(&tun)));
    // What else a process opens.
    drop(File::open("/dev/null").unwrap());
    drop(Socket::new(Domain::UNIX, Type::STREAM, None).unwrap());
    drop(Socket::new(Domain::IPV4, Type::RAW, Some(socket2::Protocol::ICMPV4)).unwrap());
    assert_eq!(datapath.denials().unwrap().link_layer, 5);
    assert_eq!(datapath.misplaced_links().unwrap(), Vec::<&str>::new());

    // The agent's death changes nothing; another that allows it does.
    drop(datapath);
    assert!(is_refused(packet_socket()));
    world.enter("/agent");
    let next = Datapath::attach(&options(&world, &cgroups, false)).unwrap().datapath;
    next.retire_others().unwrap();
    world.enter("/app");
    drop(packet_socket().unwrap());
    assert!(!is_refused(open(&tun)));
}
