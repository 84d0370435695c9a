//! Network namespaces joined by cables.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd as _, OwnedFd},
    process::{self, Child, Command},
    thread,
};

use nix::sched::{CloneFlags, unshare};
use weir::datapath::Netns;

/// Another network namespace, reachable from the world that made it at both its addresses.
#[derive(Debug)]
pub struct Neighbour {
    netns: Netns,
    number: u8,
}

impl Neighbour {
    pub(super) fn new(number: u8) -> Self {
        let file = new_namespace();
        let path = format!("/proc/{}/fd/{}", process::id(), file.as_raw_fd());
        ip(&format!("link add weir{number} type veth peer name weir0 netns {path}"));
        let netns = Netns::from_fd(file).expect("examine a namespace");
        let neighbour = Self { netns, number };
        let cable = format!("weir{number}");
        set_up(&cable, neighbour.here());
        let there = neighbour.addresses();
        neighbour.run(|| {
            ip("link set lo up");
            set_up("weir0", there);
        });
        neighbour
    }

    /// Makes another namespace, joined to this one by a cable; its number tells its addresses from those of all others.
    #[must_use]
    pub fn neighbour(&self, number: u8) -> Self {
        self.run(|| Self::new(number))
    }

    /// The namespace.
    #[must_use]
    pub fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Its addresses, IPv4 and IPv6.
    #[must_use]
    pub fn addresses(&self) -> [IpAddr; 2] {
        addresses(self.number, 2)
    }

    /// The addresses of the world's end of the cable.
    #[must_use]
    pub fn here(&self) -> [IpAddr; 2] {
        addresses(self.number, 1)
    }

    /// The world's end of the cable.
    #[must_use]
    pub fn device(&self) -> String {
        format!("weir{}", self.number)
    }

    /// Calls `f` in there: what it opens stays there.
    ///
    /// # Panics
    ///
    /// When the namespace cannot be entered.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns.run(f).expect("enter a namespace")
    }

    /// Starts a process in there.
    ///
    /// # Panics
    ///
    /// When it cannot be started.
    pub fn spawn(&self, command: &mut Command) -> Child {
        self.run(|| command.spawn()).unwrap_or_else(|error| panic!("run {command:?}: {error}"))
    }
}

fn addresses(network: u8, host: u8) -> [IpAddr; 2] {
    let v4 = Ipv4Addr::new(10, 77, network, host);
    let v6 = Ipv6Addr::new(0xfd77, 0, 0, network.into(), 0, 0, 0, host.into());
    [v4.into(), v6.into()]
}

fn set_up(device: &str, [v4, v6]: [IpAddr; 2]) {
    ip(&format!("addr add {v4}/24 dev {device}"));
    ip(&format!("addr add {v6}/64 dev {device} nodad"));
    ip(&format!("link set {device} up"));
}

/// A namespace lives as long as a descriptor of it; the thread that made it may end.
pub(crate) fn new_namespace() -> OwnedFd {
    let make = || {
        unshare(CloneFlags::CLONE_NEWNET).expect("make a network namespace");
        std::fs::File::open("/proc/thread-self/ns/net").expect("open a network namespace").into()
    };
    thread::spawn(make).join().expect("make a network namespace")
}

/// Runs `ip` here; arguments are separated by single blanks.
///
/// # Panics
///
/// When it fails.
pub fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("run ip (package iproute2)");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}
