//! Types that the eBPF programs and the agent share: the layout of every map's keys and values.
//!
//! All of them are `repr(C)` without implicit padding, so that a key compares by its bytes. Whoever changes one raises
//! [`ABI`], which names the directory that an agent pins under: an agent never reads another layout's maps.
#![no_std]

pub mod dns;
#[cfg(feature = "user")]
mod user;

/// The version of everything in this file. Part of the pin path.
pub const ABI: u32 = 5;

/// How many cgroup levels below the hierarchy's root [`ScopeRule`]s are looked for.
pub const MAX_CGROUP_LEVEL: i32 = 16;

/// How many endpoints can be counted, the unregistered one included.
pub const MAX_ENDPOINTS: u32 = 1024;

/// The endpoint index of [`Address::CANARY`], beyond those of endpoints.
pub const CANARY: u32 = MAX_ENDPOINTS;

/// An agent that has not stamped for longer than this, in nanoseconds, is taken for dead.
pub const MAX_SILENCE_NS: u64 = 5_000_000_000;

/// The stamp of no agent: the programs ask for no sign of life.
pub const NO_HEARTBEAT: u64 = 0;

/// The stamp of an agent that has ended in order: long ago.
pub const ENDED: u64 = 1;

/// How many connections can be on their way to a listener: their SYN has left, and the listener has not made them yet.
pub const MAX_PENDING: u32 = 65_536;

/// How many of these one cgroup may have; the rest is kept for the others.
pub const PENDING_SHARE: u32 = MAX_PENDING / 2;

/// Whose share those cgroups' connections count in that find no room to be told apart. There is always a place for it.
pub const OTHERS: u64 = 0;

/// How many connections can be open: made by the listener, and not yet recorded as ended.
pub const MAX_OPEN: u32 = 131_072;

/// How many workloads (pairs of endpoint and cgroup) are counted one by one. Those beyond are in the endpoints' counts only.
pub const MAX_WORKLOADS: u32 = 16_384;

/// How long an endpoint's name can be, in bytes.
pub const MAX_NAME: usize = 64;

/// The endpoint index of destinations that are taken although nobody registered them (`tcp = "all"`).
pub const UNREGISTERED: u32 = 0;

/// An IPv4 or IPv6 address and a port. IPv4 is held in its v4-mapped form.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Address {
    /// The address, each word in network byte order.
    pub ip: [u32; 4],
    /// The port, in host byte order, below 65,536.
    pub port: u32,
}

/// The third word of a v4-mapped address.
const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// `127.0.0.1`, in network byte order.
    pub const LOOPBACK_V4: u32 = 0x7f00_0001_u32.to_be();
    /// The last word of `::1`, in network byte order.
    pub const LOOPBACK_V6_LAST: u32 = 1_u32.to_be();

    /// Where the agent connects to see that it is redirected: `0.87.69.82:1`. The kernel sends nothing to `0.0.0.0/8`
    /// (`__mkroute_output`, net/ipv4/route.c), so without the redirect it fails at once.
    pub const CANARY: Self = Self::v4(0x0057_4552_u32.to_be(), 1);

    /// Whether this is [`Self::CANARY`].
    #[inline(always)]
    #[must_use]
    pub const fn is_canary(&self) -> bool {
        self.is_v4() && self.ip[3] == Self::CANARY.ip[3] && self.port == Self::CANARY.port
    }

    /// From an IPv4 address in network byte order and a port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v4(ip: u32, port: u32) -> Self {
        Self { ip: [0, 0, MAPPED, ip], port }
    }

    /// From an IPv6 address, each word in network byte order, and a port in host byte order.
    #[inline(always)]
    #[must_use]
    pub const fn v6(ip: [u32; 4], port: u32) -> Self {
        Self { ip, port }
    }

    /// Whether this is an IPv4 address.
    #[inline(always)]
    #[must_use]
    pub const fn is_v4(&self) -> bool {
        self.ip[0] == 0 && self.ip[1] == 0 && self.ip[2] == MAPPED
    }

    /// Whether this is `127.0.0.0/8` or `::1`.
    #[inline(always)]
    #[must_use]
    pub const fn is_loopback(&self) -> bool {
        let ip = self.ip;
        if self.is_v4() {
            u32::from_be(ip[3]) >> 24 == 127
        } else {
            ip[0] == 0 && ip[1] == 0 && ip[2] == 0 && ip[3] == Self::LOOPBACK_V6_LAST
        }
    }

    /// Whether this is in `fe80::/10`.
    #[inline(always)]
    #[must_use]
    pub const fn is_link_local_v6(&self) -> bool {
        u32::from_be(self.ip[0]) >> 22 == 0xfe80 >> 6
    }

    /// Whether an agent's listener is here.
    #[inline(always)]
    #[must_use]
    pub const fn is_listener_of(&self, ports: &ListenerPorts) -> bool {
        if self.is_v4() {
            self.ip[3] == Self::LOOPBACK_V4 && self.port == ports.v4
        } else {
            self.is_loopback() && self.port == ports.v6
        }
    }

    /// Whether a listener bound to this address gets connections to `other`, which is not an unspecified address.
    #[inline(always)]
    #[must_use]
    pub const fn accepts_at(&self, other: &Self) -> bool {
        let Self { ip, port } = *self;
        let is_any = ip[3] == 0 && ip[0] == 0 && ip[1] == 0 && (ip[2] == 0 || (ip[2] == MAPPED && other.is_v4()));
        let is_same = ip[0] == other.ip[0] && ip[1] == other.ip[1] && ip[2] == other.ip[2] && ip[3] == other.ip[3];
        port == other.port && (is_any || is_same)
    }

    /// Where a `connect()` to this address ends: the unspecified address means this host.
    #[inline(always)]
    #[must_use]
    pub const fn connected(&self) -> Self {
        let Self { ip, port } = *self;
        if ip[3] != 0 {
            *self
        } else if self.is_v4() {
            Self::v4(Self::LOOPBACK_V4, port)
        } else if ip[0] == 0 && ip[1] == 0 && ip[2] == 0 {
            Self::v6([0, 0, 0, Self::LOOPBACK_V6_LAST], port)
        } else {
            *self
        }
    }
}

/// What was known of a flow when its `connect()` ran.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flow {
    /// The connecting socket.
    pub cookie: u64,
    /// The socket's network namespace.
    pub netns: u64,
    /// The cgroup of the task that called `connect()`.
    pub task_cgroup: u64,
    /// The cgroup of the task that created the socket; 0 if that was not seen.
    pub socket_cgroup: u64,
    /// Nanoseconds since boot, suspend included.
    pub boot_ns: u64,
    /// Whose share of [`MAX_PENDING`] it counts in: the task's cgroup, or [`OTHERS`].
    pub holder: u64,
    /// The log's next seq when the agent was about to record the flow's end; 0 before.
    pub recording_from: u64,
    /// Where the application meant to go, as it said it.
    pub destination: Address,
    /// Where the connection comes from; zeros until its SYN leaves.
    pub source: Address,
    /// The listener's port, in host byte order; 0 until the SYN leaves, and when nobody waits for the connection any more.
    pub listener_port: u32,
    /// Which endpoint that is.
    pub endpoint: u32,
    /// Thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
    /// Real user id, in the initial user namespace.
    pub uid: u32,
    /// Real group id, in the initial user namespace.
    pub gid: u32,
    /// The index of the network device that the socket was bound to (`SO_BINDTODEVICE`); 0 for none.
    pub device: u32,
    /// The socket's mark (`SO_MARK`), by which routes can be chosen.
    pub mark: u32,
    /// The task's name, padded with zeros.
    pub comm: [u8; 16],
}

impl Flow {
    /// How the flow is known until the listener has made its connection.
    #[inline(always)]
    #[must_use]
    pub const fn pending_key(&self) -> PendingKey {
        PendingKey {
            netns: self.netns,
            source_ip: self.source.ip,
            source_port: self.source.port,
            listener_port: self.listener_port,
        }
    }

    /// How the flow is known from then on.
    #[inline(always)]
    #[must_use]
    pub const fn key(&self) -> FlowKey {
        FlowKey { cookie: self.cookie, boot_ns: self.boot_ns }
    }
}

/// Names a flow, once and for all of this boot: a socket may be connected more than once.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowKey {
    /// The connecting socket.
    pub cookie: u64,
    /// Nanoseconds since boot at its `connect()`.
    pub boot_ns: u64,
}

/// Names a workload's counters.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WorkloadKey {
    /// The cgroup of the task that connected or sent; of a packet, that of its socket.
    pub cgroup: u64,
    /// The endpoint.
    pub endpoint: u32,
    /// Zero.
    pub reserved: u32,
}

/// Names a flow for the accepting side: the connection's source, and the listener that it goes to.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PendingKey {
    /// The network namespace that both ends live in.
    pub netns: u64,
    /// The source address, v4-mapped where it is IPv4, each word in network byte order.
    pub source_ip: [u32; 4],
    /// The source port, in host byte order.
    pub source_port: u32,
    /// The listener's port, in host byte order.
    pub listener_port: u32,
}

/// What is remembered of a socket from its creation; of one whose creation was not seen, from its first `connect()` by a task in
/// scope, its first SYN, or its first datagram to a server of names (then without cgroup and tgid).
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// The cgroup of the task that created the socket; 0 if that was not seen.
    pub cgroup: u64,
    /// The socket's network namespace.
    pub netns: u64,
    /// That task's thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// 1 if that cgroup was in scope then, or a task in scope has connected the socket since; 2 if that connection was let
    /// through and counted because no agent was alive; else 0.
    pub in_scope: u32,
    /// 1 if a task in scope has used it to ask a server of names; else 0.
    pub asks: u32,
    /// Zero.
    pub reserved: u32,
}

/// A running agent: its connects pass. Both must match.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Agent {
    /// The agent's own leaf cgroup.
    pub cgroup: u64,
    /// The agent's thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// Zero.
    pub reserved: u32,
}

/// The ports of the listeners that a namespace's flows are sent to, in host byte order; 0 where there is none.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListenerPorts {
    /// On `127.0.0.1`.
    pub v4: u32,
    /// On `::1`.
    pub v6: u32,
}

/// Whether a subtree of cgroups is intercepted. The deepest rule on a task's path decides; without one it is not.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScopeRule {
    /// The subtree is left alone.
    Exclude = 0,
    /// The subtree is intercepted.
    Include = 1,
}

/// What the agent can change while the programs run.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// 1 if every TCP destination is taken, 0 if only registered ones are.
    pub take_all: u32,
    /// 1 if tasks in scope may make raw IP sockets, else 0.
    pub allow_raw: u32,
    /// 1 if connections are let through while no agent is alive, else 0.
    pub fail_open: u32,
}

/// What was let through while no agent was alive, on one CPU.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FailedOpen {
    /// How many connections, datagrams, and packets of sockets that belong to neither.
    pub connections: u64,
    /// The first: nanoseconds since boot, suspend included.
    pub first_ns: u64,
    /// The last.
    pub last_ns: u64,
}

/// The namespace of an [`Announcement`] that could not tell it. No namespace has this cookie.
pub const ANY_NETNS: u64 = 0;

/// A task in scope is in a network namespace that may not be served yet.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The namespace's cookie, or [`ANY_NETNS`].
    pub netns: u64,
    /// The task's cgroup.
    pub cgroup: u64,
    /// Nanoseconds since boot, suspend included.
    pub boot_ns: u64,
    /// Thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// Thread id, in the initial pid namespace.
    pub tid: u32,
}

impl Announcement {
    /// From the bytes that the programs wrote; none if they are not as many.
    #[must_use]
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; size_of::<Self>()] = bytes.try_into().ok()?;
        let (wide, narrow) = bytes.split_at(24);
        let mut wide = wide.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word));
        let mut narrow = narrow.as_chunks().0.iter().map(|word| u32::from_ne_bytes(*word));
        let (netns, cgroup, boot_ns) = (wide.next()?, wide.next()?, wide.next()?);
        Some(Self { netns, cgroup, boot_ns, tgid: narrow.next()?, tid: narrow.next()? })
    }
}

/// What became of the attempts to reach one endpoint: `seen = redirected + denied + guarded + failed_open`, and
/// `redirected = refused + arrived + those on their way`.
///
/// An attempt is a `connect()` of TCP that was denied, or whose SYN is about to leave; a datagram that `sendmsg` was asked to
/// send to the endpoint; or a packet that the guard stopped. What `connect()` or `sendmsg` already refused never becomes a
/// packet, so nothing counts twice; but one that got past them counts once per packet, retransmissions included. A
/// `connect()` that the kernel itself gives up before its SYN (no route, no port) is no attempt: nothing was sent.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndpointCounters {
    /// Attempts in scope to reach a registered destination (or any, where every destination is taken).
    pub seen: u64,
    /// Connections to the agent's listener whose SYN was about to leave.
    pub redirected: u64,
    /// Refused with `EPERM`.
    pub denied: u64,
    /// Packets that the egress guard stopped on the way out.
    pub guarded: u64,
    /// Let through because no agent was alive and the operator chose so.
    pub failed_open: u64,
    /// Redirected ones that the listener made a connection of. From here on the agent answers for them.
    pub arrived: u64,
    /// Redirected ones that ended before: given up or reset during the handshake, or without room to be remembered.
    pub refused: u64,
}

/// Why a system call was refused, or why a flow that was redirected cannot be attributed.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Denial {
    /// No agent listens in the socket's network namespace.
    NoListener = 0,
    /// What listens on the agent's port is not the agent.
    DeadListener = 1,
    /// There was no room to remember the flow.
    NoRoom = 2,
    /// Not a refusal: the flow was redirected, but its facts could not be handed over. The agent closes it. Also counted as
    /// `refused` of its endpoint.
    Unpublished = 3,
    /// A datagram to a registered destination. Also counted as `denied` of its endpoint.
    Datagram = 4,
    /// A raw IP socket. Belongs to no endpoint.
    RawSocket = 5,
    /// `bind()` to the port of an agent's listener by somebody else. Belongs to no endpoint.
    ReservedPort = 6,
    /// The agent listens, and has shown no sign of life for too long.
    StaleAgent = 7,
    /// A packet socket, or a TUN device. Belongs to no endpoint.
    LinkLayer = 8,
    /// The socket is bound to a network device, and the task may not undo that.
    BoundDevice = 9,
}

impl Denial {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::NoListener,
        Self::DeadListener,
        Self::NoRoom,
        Self::Unpublished,
        Self::Datagram,
        Self::RawSocket,
        Self::ReservedPort,
        Self::StaleAgent,
        Self::LinkLayer,
        Self::BoundDevice,
    ];
}

const _: () = {
    assert!(size_of::<Address>() == 20);
    assert!(size_of::<Flow>() == 144);
    assert!(size_of::<PendingKey>() == 32);
    assert!(size_of::<Origin>() == 32);
    assert!(size_of::<Agent>() == 16);
    assert!(size_of::<ListenerPorts>() == 8);
    assert!(size_of::<Settings>() == 12);
    assert!(size_of::<FailedOpen>() == 24);
    assert!(size_of::<Announcement>() == 32);
    assert!(size_of::<EndpointCounters>() == 56);
    assert!(size_of::<FlowKey>() == 16);
    assert!(size_of::<WorkloadKey>() == 16);
};
