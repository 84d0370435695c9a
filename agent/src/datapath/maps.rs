//! The maps, typed. Each is locked for as long as one system call takes: aya's writers take `&mut`.

use std::{
    collections::HashMap as StdHashMap,
    fmt,
    hash::Hash,
    sync::{Mutex, MutexGuard, PoisonError},
};

use aya::{
    Ebpf, Pod,
    maps::{Array, HashMap, Map, MapData, MapError, PerCpuArray, SkStorage},
};
use thiserror::Error;
use weir_ebpf::{
    Address, Agent, EndpointCounters, FailedOpen, Flow, FlowKey, ListenerPorts, MAX_NAME, Origin, PendingKey, Settings,
    WorkloadKey,
    dns::{HashKey, Learnt, LearntKey, Pattern, Quota, Resolver},
};

/// `BPF_NOEXIST`, include/uapi/linux/bpf.h.
const BPF_NOEXIST: u8 = 1;

/// The maps that are pinned, so that they outlive the agent.
pub(super) const PINNED: [&str; 28] = [
    "AGENTS",
    "AGENT_CGROUPS",
    "SCOPE",
    "DESTINATIONS",
    "HOSTS",
    "LISTENERS",
    "PENDING",
    "HOLDERS",
    "OPEN",
    "SETTINGS",
    "HEARTBEAT",
    "FAILED_OPEN",
    "ENDPOINTS",
    "WORKLOADS",
    "NAMES",
    "COUNTERS_ID",
    "DENIALS",
    "FLOW",
    "ARRIVED",
    "ORIGIN",
    "OWN_LISTENERS",
    "LEARNT",
    "QUOTAS",
    "PATTERNS",
    "NAME_KEY",
    "RESOLVERS",
    "QUESTIONS",
    "DNS_COUNTS",
];

/// A map could not be read or written.
#[derive(Debug, Error)]
#[error("cannot use the eBPF map {name}: {source}")]
pub struct MapsError {
    pub(super) name: &'static str,
    pub(super) source: MapError,
}

/// One map.
pub(super) struct Shared<M> {
    name: &'static str,
    map: Mutex<M>,
}

impl<M> fmt::Debug for Shared<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl<M> Shared<M> {
    /// A panic elsewhere leaves no half-written map behind: the kernel's own are the ones that count.
    pub(super) fn lock(&self) -> MutexGuard<'_, M> {
        self.map.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Names the map in an error.
    pub(super) fn failed(&self) -> impl Fn(MapError) -> MapsError {
        let name = self.name;
        move |source| MapsError { name, source }
    }
}

type Hashed<K, V> = Shared<HashMap<MapData, K, V>>;

/// Every map that the agent uses.
#[derive(Debug)]
pub(super) struct Maps {
    pub(super) agents: Hashed<Agent, u32>,
    pub(super) agent_cgroups: Hashed<u64, u32>,
    pub(super) scope: Hashed<u64, u32>,
    pub(super) destinations: Hashed<Address, u32>,
    pub(super) hosts: Hashed<[u32; 4], u32>,
    pub(super) listeners: Hashed<u64, ListenerPorts>,
    pub(super) pending: Hashed<PendingKey, Flow>,
    pub(super) holders: Hashed<u64, u64>,
    pub(super) open: Hashed<FlowKey, Flow>,
    pub(super) settings: Shared<Array<MapData, Settings>>,
    pub(super) heartbeat: Shared<Array<MapData, u64>>,
    pub(super) failed_open: Shared<PerCpuArray<MapData, FailedOpen>>,
    pub(super) endpoints: Shared<PerCpuArray<MapData, EndpointCounters>>,
    pub(super) workloads: Hashed<WorkloadKey, EndpointCounters>,
    pub(super) names: Shared<Array<MapData, [u8; MAX_NAME]>>,
    pub(super) counters_id: Shared<Array<MapData, u64>>,
    pub(super) denials: Shared<PerCpuArray<MapData, u64>>,
    pub(super) arrived: Shared<SkStorage<MapData, Flow>>,
    pub(super) origin: Shared<SkStorage<MapData, Origin>>,
    pub(super) own_listeners: Shared<SkStorage<MapData, u32>>,
    pub(super) learnt: Hashed<LearntKey, Learnt>,
    pub(super) quotas: Hashed<Quota, u64>,
    pub(super) patterns: Hashed<u64, Pattern>,
    pub(super) name_key: Shared<Array<MapData, HashKey>>,
    pub(super) resolvers: Hashed<Resolver, u32>,
    pub(super) dns_counts: Shared<PerCpuArray<MapData, u64>>,
}

impl Maps {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapsError> {
        Ok(Self {
            agents: take(ebpf, "AGENTS")?,
            agent_cgroups: take(ebpf, "AGENT_CGROUPS")?,
            scope: take(ebpf, "SCOPE")?,
            destinations: take(ebpf, "DESTINATIONS")?,
            hosts: take(ebpf, "HOSTS")?,
            listeners: take(ebpf, "LISTENERS")?,
            pending: take(ebpf, "PENDING")?,
            holders: take(ebpf, "HOLDERS")?,
            open: take(ebpf, "OPEN")?,
            settings: take(ebpf, "SETTINGS")?,
            heartbeat: take(ebpf, "HEARTBEAT")?,
            failed_open: take(ebpf, "FAILED_OPEN")?,
            endpoints: take(ebpf, "ENDPOINTS")?,
            workloads: take(ebpf, "WORKLOADS")?,
            names: take(ebpf, "NAMES")?,
            counters_id: take(ebpf, "COUNTERS_ID")?,
            denials: take(ebpf, "DENIALS")?,
            arrived: take(ebpf, "ARRIVED")?,
            origin: take(ebpf, "ORIGIN")?,
            own_listeners: take(ebpf, "OWN_LISTENERS")?,
            learnt: take(ebpf, "LEARNT")?,
            quotas: take(ebpf, "QUOTAS")?,
            patterns: take(ebpf, "PATTERNS")?,
            name_key: take(ebpf, "NAME_KEY")?,
            resolvers: take(ebpf, "RESOLVERS")?,
            dns_counts: take(ebpf, "DNS_COUNTS")?,
        })
    }
}

pub(super) fn take<M: TryFrom<Map, Error = MapError>>(
    ebpf: &mut Ebpf,
    name: &'static str,
) -> Result<Shared<M>, MapsError> {
    let failed = |source| MapsError { name, source };
    let map = ebpf.take_map(name).ok_or_else(|| failed(MapError::InvalidName { name: name.to_owned() }))?;
    Ok(Shared { name, map: Mutex::new(M::try_from(map).map_err(failed)?) })
}

impl<K: Pod + Eq + Hash, V: Pod + PartialEq> Hashed<K, V> {
    /// Makes the map hold exactly `wanted`. What is in both never leaves it, and what is new is there before what is old
    /// goes.
    pub(super) fn replace(&self, wanted: &std::collections::HashMap<K, V>) -> Result<(), MapsError> {
        let mut map = self.lock();
        let held = map.iter().collect::<Result<std::collections::HashMap<K, V>, _>>().map_err(self.failed())?;
        for (key, value) in wanted {
            if held.get(key) != Some(value) {
                map.insert(key, value, 0).map_err(self.failed())?;
            }
        }
        for key in held.keys().filter(|key| !wanted.contains_key(key)) {
            remove_if_there(&mut map, key).map_err(self.failed())?;
        }
        Ok(())
    }

    /// Removes the entries that `is_stale` names, and says how many.
    pub(super) fn remove_where(&self, is_stale: impl Fn(&K, &V) -> bool) -> Result<usize, MapsError> {
        let mut map = self.lock();
        // Others change the map meanwhile: an entry that vanished while it was listed is no error.
        let stale: Vec<K> =
            map.iter().filter_map(Result::ok).filter(|(key, value)| is_stale(key, value)).map(|(key, _)| key).collect();
        for key in &stale {
            remove_if_there(&mut map, key).map_err(self.failed())?;
        }
        Ok(stale.len())
    }

    pub(super) fn insert(&self, key: &K, value: &V) -> Result<(), MapsError> {
        self.lock().insert(key, value, 0).map_err(self.failed())
    }

    /// Inserts an entry unless it is there.
    pub(super) fn insert_new(&self, key: &K, value: &V) -> Result<(), MapsError> {
        match self.lock().insert(key, value, BPF_NOEXIST.into()) {
            Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::EEXIST) => Ok(()),
            result => result.map_err(self.failed()),
        }
    }

    /// Removes one entry; it need not be there.
    pub(super) fn remove(&self, key: &K) -> Result<(), MapsError> {
        remove_if_there(&mut self.lock(), key).map_err(self.failed())
    }

    /// All entries; none when others changed the map too much meanwhile for `at_most` steps to see the end.
    pub(super) fn entries(&self, at_most: usize) -> Result<Option<Vec<(K, V)>>, MapsError> {
        let map = self.lock();
        let mut entries = Vec::new();
        // An entry that vanishes while it is listed is no error, but has the kernel start again from the first.
        for entry in map.iter() {
            if entries.len() == at_most {
                return Ok(None);
            }
            entries.extend(found(entry).map_err(self.failed())?);
        }
        Ok(Some(entries))
    }

    /// The entries that `at_most` steps see: all, unless others change the map very much meanwhile.
    pub(super) fn listed(&self, at_most: usize) -> Result<StdHashMap<K, V>, MapsError> {
        let map = self.lock();
        let mut listed = StdHashMap::new();
        for entry in map.iter().take(at_most) {
            listed.extend(found(entry).map_err(self.failed())?);
        }
        Ok(listed)
    }

    /// One entry, if it is there.
    pub(super) fn get(&self, key: &K) -> Result<Option<V>, MapsError> {
        found(self.lock().get(key, 0)).map_err(self.failed())
    }
}

fn remove_if_there<K: Pod, V: Pod>(map: &mut HashMap<MapData, K, V>, key: &K) -> Result<(), MapError> {
    found(map.remove(key)).map(drop)
}

/// Tells "not there" from failures.
pub(super) fn found<T>(result: Result<T, MapError>) -> Result<Option<T>, MapError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(MapError::KeyNotFound) => Ok(None),
        Err(MapError::SyscallError(error)) if error.io_error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
