//! The kernel side as the rest of the agent sees it: programs attached and pinned, flows looked up, namespaces entered,
//! cgroups resolved. The only room beside `trust` that may be unsafe.

use std::{fmt, net::SocketAddr, time::Duration};

use serde::Serialize;

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
    /// Effective user id, in the initial user namespace.
    pub uid: u32,
    /// Effective group id, in the initial user namespace.
    pub gid: u32,
    /// The task's name, at most 15 bytes.
    pub comm: String,
    /// When `connect()` ran: `CLOCK_BOOTTIME` since boot.
    pub connected_at: Duration,
    /// Where the application meant to go.
    pub original_dst: OriginalDst,
}
