//! The maps. Hash maps never evict: a forgotten flow is a lost destination, and a full map is noticed.

use core::ptr;

use aya_ebpf::{
    bindings::{BPF_F_NO_PREALLOC, BPF_SK_STORAGE_GET_F_CREATE, bpf_sock},
    btf_maps::SkStorage,
    helpers::generated::{bpf_sk_storage_delete, bpf_sk_storage_get},
    macros::{btf_map, map},
    maps::{Array, HashMap, LruHashMap, PerCpuArray, RingBuf},
};
use weir_ebpf::{
    Address, Agent, Denial, EndpointCounters, FailedOpen, Flow, FlowKey, ListenerPorts, MAX_ENDPOINTS, MAX_NAME,
    MAX_OPEN, MAX_PENDING, MAX_WORKLOADS, Origin, PendingKey, Settings, WorkloadKey,
    dns::{DnsCount, HashKey, Learnt, LearntKey, MAX_LEARNT, Pattern, Questions, Quota, Resolver},
};

/// Running agents.
#[map]
pub(crate) static AGENTS: HashMap<Agent, u32> = HashMap::with_max_entries(64, 0);

/// The cgroups of running agents: a packet knows its socket's cgroup, but no task.
#[map]
pub(crate) static AGENT_CGROUPS: HashMap<u64, u32> = HashMap::with_max_entries(64, 0);

/// Cgroup id to `ScopeRule`.
#[map]
pub(crate) static SCOPE: HashMap<u64, u32> = HashMap::with_max_entries(4096, BPF_F_NO_PREALLOC);

/// Registered destinations, to their endpoint's index.
#[map]
pub(crate) static DESTINATIONS: HashMap<Address, u32> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// The addresses of registered destinations without their ports, to one of their endpoints' indexes: for packets that have
/// no port.
#[map]
pub(crate) static HOSTS: HashMap<[u32; 4], u32> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// Registered destinations of one network namespace, as its own resolvers and hosts files gave them.
#[map]
pub(crate) static LEARNT: HashMap<LearntKey, Learnt> = HashMap::with_max_entries(MAX_LEARNT, BPF_F_NO_PREALLOC);

/// How many entries of `LEARNT` there are of whom.
#[map]
pub(crate) static QUOTAS: HashMap<Quota, u64> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// The registered names, by their hash doubled; of those below a name (`*.name`), the name's, doubled plus one.
#[map]
pub(crate) static PATTERNS: HashMap<u64, Pattern> = HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

/// What names are hashed with.
#[map]
pub(crate) static NAME_KEY: Array<HashKey> = Array::with_max_entries(1, 0);

/// Whose answers are believed.
#[map]
pub(crate) static RESOLVERS: HashMap<Resolver, u32> = HashMap::with_max_entries(65_536, BPF_F_NO_PREALLOC);

/// What a socket has asked. Dies with the socket.
#[btf_map]
pub(crate) static QUESTIONS: SkStorage<Questions> = SkStorage::new();

/// Indexed by `DnsCount`.
#[map]
pub(crate) static DNS_COUNTS: PerCpuArray<u64> = PerCpuArray::with_max_entries(DnsCount::ALL.len() as u32, 0);

/// Network namespace cookie to the listeners in it.
#[map]
pub(crate) static LISTENERS: HashMap<u64, ListenerPorts> = HashMap::with_max_entries(16_384, BPF_F_NO_PREALLOC);

/// Flows on their way to a listener. `sock_ops` puts them in before the SYN. Whoever takes one out answers for it: `sock_ops`
/// does, when the listener makes the connection, or when the application's socket closes before.
#[map]
pub(crate) static PENDING: HashMap<PendingKey, Flow> = HashMap::with_max_entries(MAX_PENDING, BPF_F_NO_PREALLOC);

/// How many flows in `PENDING` a cgroup has; under `OTHERS`, those of all cgroups that found no room here.
#[map]
pub(crate) static HOLDERS: HashMap<u64, u64> = HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// Flows that a listener made a connection of. `sock_ops` puts them in; the agent takes each out once its record is written.
#[map]
pub(crate) static OPEN: HashMap<FlowKey, Flow> = HashMap::with_max_entries(MAX_OPEN, BPF_F_NO_PREALLOC);

#[map]
pub(crate) static SETTINGS: Array<Settings> = Array::with_max_entries(1, 0);

/// By endpoint, over all workloads.
#[map]
pub(crate) static ENDPOINTS: PerCpuArray<EndpointCounters> = PerCpuArray::with_max_entries(MAX_ENDPOINTS + 1, 0);

/// When an agent last said that it is alive: nanoseconds since boot, suspend included.
#[map]
pub(crate) static HEARTBEAT: Array<u64> = Array::with_max_entries(1, 0);

/// What was let through without an agent, until an agent has recorded it.
#[map]
pub(crate) static FAILED_OPEN: PerCpuArray<FailedOpen> = PerCpuArray::with_max_entries(1, 0);

/// The same by workload, of those that there is room for. Never evicted: an entry goes when the agent finds its cgroup gone.
#[map]
pub(crate) static WORKLOADS: HashMap<WorkloadKey, EndpointCounters> =
    HashMap::with_max_entries(MAX_WORKLOADS, BPF_F_NO_PREALLOC);

/// The endpoints' names by their index, padded with zeros: whose the counters are, for an agent with another configuration.
/// The programs do not read it.
#[map]
pub(crate) static NAMES: Array<[u8; MAX_NAME]> = Array::with_max_entries(MAX_ENDPOINTS, 0);

/// Names this set of counters, which begins at zero. Random; 0 until the first agent has chosen. The programs do not read it.
#[map]
pub(crate) static COUNTERS_ID: Array<u64> = Array::with_max_entries(1, 0);

/// Indexed by `Denial`.
#[map]
pub(crate) static DENIALS: PerCpuArray<u64> = PerCpuArray::with_max_entries(Denial::ALL.len() as u32, 0);

/// Namespaces that the agent should serve. Each agent reads its own: not pinned.
#[map]
pub(crate) static ANNOUNCEMENTS: RingBuf = RingBuf::with_byte_size(1 << 18, 0);

/// When a namespace was last announced, by its cookie. One that is evicted is merely announced again.
#[map]
pub(crate) static ANNOUNCED: LruHashMap<u64, u64> = LruHashMap::with_max_entries(4096, 0);

/// Announcements that found no room.
#[map]
pub(crate) static ANNOUNCEMENTS_LOST: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// The flow that a redirected socket carries. Dies with the socket, so that nothing has to clean up after a `connect()`
/// that failed before any callback.
#[btf_map]
pub(crate) static FLOW: SkStorage<Flow> = SkStorage::new();

/// The flow that a listener's connection carries, for the agent that accepts it.
#[btf_map]
pub(crate) static ARRIVED: SkStorage<Flow> = SkStorage::new();

/// When each CPU last reported what it refused.
#[map]
pub(crate) static REPORTED: PerCpuArray<u64> = PerCpuArray::with_max_entries(1, 0);

/// Where a socket was created, or that a task in scope has connected it.
#[btf_map]
pub(crate) static ORIGIN: SkStorage<Origin> = SkStorage::new();

/// Marks the listeners that an agent opened; only the agent writes it.
#[btf_map]
pub(crate) static OWN_LISTENERS: SkStorage<u32> = SkStorage::new();

/// The value that `map` holds for `sk`, if any.
#[inline(always)]
pub(crate) unsafe fn stored<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock) -> Option<&'static T> {
    unsafe { storage(map, sk, 0).as_ref() }
}

/// Where `map` holds something for `sk`; null if it does not.
#[inline(always)]
pub(crate) unsafe fn place<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock) -> *mut T {
    unsafe { storage(map, sk, 0) }
}

/// Where `map` holds something for `sk`, made if need be; null when memory is short.
#[inline(always)]
pub(crate) unsafe fn make_place<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock) -> *mut T {
    unsafe { storage(map, sk, BPF_SK_STORAGE_GET_F_CREATE.into()) }
}

/// Has `map` hold `value` for `sk`.
#[inline(always)]
pub(crate) unsafe fn store<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock, value: T) -> Result<(), ()> {
    let place = unsafe { make_place(map, sk) };
    if place.is_null() {
        return Err(());
    }
    unsafe { ptr::write(place, value) };
    Ok(())
}

/// Makes a place for `sk` in `map`, of zeros, unless there is one. Fails when memory is short.
#[inline(always)]
pub(crate) unsafe fn create<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock) {
    unsafe { storage(map, sk, BPF_SK_STORAGE_GET_F_CREATE.into()) };
}

/// Forgets what `map` holds for `sk`.
#[inline(always)]
pub(crate) unsafe fn unstore<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock) {
    unsafe { bpf_sk_storage_delete(ptr::from_ref(map).cast_mut().cast(), sk.cast()) };
}

#[inline(always)]
unsafe fn storage<T>(map: &'static SkStorage<T>, sk: *mut bpf_sock, flags: u64) -> *mut T {
    unsafe { bpf_sk_storage_get(ptr::from_ref(map).cast_mut().cast(), sk.cast(), ptr::null_mut(), flags) }.cast()
}
