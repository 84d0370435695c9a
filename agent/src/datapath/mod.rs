//! The kernel side as the rest of the agent sees it: programs attached and pinned, flows looked up, namespaces entered,
//! cgroups resolved. The only room beside `trust` that may be unsafe.
//!
//! In the order of an agent's life: [`CgroupTree::open`], [`Datapath::attach`], [`Datapath::register_agent`],
//! [`Datapath::open_listeners`] in each [`Netns`], [`Datapath::set_destinations`], [`Datapath::set_scope`],
//! [`Datapath::retire_others`], then [`Datapath::close_old_connections`] in each namespace, and [`Datapath::take_flow`] for
//! each accepted connection, with [`Datapath::settle_flow`] at its end. Which namespaces those are, [`CgroupTree::census`]
//! finds out and [`Announcements`] tell. When the agent ends, the programs stay, and deny; [`detach`] removes them.

mod address;
mod agents;
mod announcements;
mod appearing;
mod attach;
mod binding;
mod books;
mod census;
mod cgroup;
mod counters;
mod features;
mod flows;
mod heartbeat;
mod hooks;
mod learnt;
mod listeners;
mod log;
mod lsm;
mod maps;
mod netns;
mod old;
mod pins;
mod process_file;
mod registry;
mod room;
mod sock_diag;
mod sys;
mod watch;

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, OnceLock},
    time::Duration,
};

use serde::Serialize;
pub use weir_ebpf::ABI;

pub use self::{
    agents::{RegisterError, Registration},
    announcements::{Announced, Announcement, Announcements},
    appearing::Appearing,
    attach::{AttachError, AttachOptions, Attached, LinkState, links},
    binding::Binding,
    books::Books,
    census::{Census, Member, Scope},
    cgroup::{CgroupError, CgroupPath, CgroupTree},
    counters::{DenialCounts, EndpointCounts, WorkloadCounts},
    features::{Feature, kernel_features},
    flows::{FlowsInHand, OpenFlow},
    heartbeat::{MAX_SILENCE, Unwatched},
    learnt::{DnsCounts, LearnError, LearntAddress, LearntFrom, NamePattern},
    listeners::{ListenError, Listeners, Published},
    log::{KernelLog, LogError, Verbosity},
    maps::MapsError,
    netns::{Netns, NetnsError, NetnsId, Visitor},
    old::{OldConnection, OldConnections, OldConnectionsError},
    pins::{Detached, PinError, detach},
    process_file::{FileError, ProcessRoot},
    room::Holder,
};
pub(crate) use self::{flows::since_boot, sys::peer_pidfd};

/// Where `weir canary` connects: the kernel sends nothing there, the programs redirect it.
pub(crate) const CANARY_ADDRESS: (Ipv4Addr, u16) =
    (Ipv4Addr::from_bits(weir_ebpf::Address::CANARY.ip[3].swap_bytes()), weir_ebpf::Address::CANARY.port as u16);

/// The way to the programs' maps. Cheap to clone; ending it leaves the programs attached.
#[derive(Debug, Clone)]
pub struct Datapath {
    maps: Arc<maps::Maps>,
    /// This process as the programs see it, once it is registered.
    own: Arc<OnceLock<weir_ebpf::Agent>>,
    programs: Arc<hooks::Programs>,
}

/// A cgroup2 id: the inode of its directory, as `bpf_get_current_cgroup_id` returns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct CgroupId(pub u64);

/// A network namespace's cookie (`SO_NETNS_COOKIE`): unique for this boot, never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct NetnsCookie(pub u64);

/// A socket's cookie: unique for this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct SocketCookie(pub u64);

/// Which endpoint a destination belongs to. 0 is none: taken because every destination is (`tcp = "all"`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct EndpointIndex(pub(crate) u32);

impl EndpointIndex {
    /// The agent's own, made to see that it is redirected.
    pub const CANARY: Self = Self(weir_ebpf::CANARY);
    /// Taken, but registered by nobody.
    pub const UNREGISTERED: Self = Self(weir_ebpf::UNREGISTERED);
}

/// Where the application meant to connect. Never a v4-mapped address: those are unmapped here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct OriginalDst(pub SocketAddr);

/// The address that the application's socket connects from, as the accepting side sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub SocketAddr);

impl fmt::Display for OriginalDst {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What the kernel knew of a flow when its `connect()` ran.
#[derive(Debug, Clone)]
pub struct FlowFacts {
    /// The connecting socket.
    pub cookie: SocketCookie,
    /// The namespace that the connecting task's socket lives in.
    pub netns: NetnsCookie,
    /// The cgroup of the task that called `connect()`.
    pub task_cgroup: CgroupId,
    /// The cgroup in which the socket was created, where the kernel could tell.
    pub socket_cgroup: Option<CgroupId>,
    /// Thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// The task's name, at most 15 bytes.
    pub comm: String,
    /// When `connect()` ran: `CLOCK_BOOTTIME` since boot.
    pub connected_at: Duration,
    /// Where the connection comes from.
    pub client: ClientAddr,
    /// What the application bound its socket to.
    pub binding: Binding,
    /// Where the application meant to go.
    pub original_dst: OriginalDst,
    /// Which endpoint that is.
    pub endpoint: EndpointIndex,
}
