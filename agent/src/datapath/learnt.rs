//! What the programs know of names: which are registered, whose answers are believed, and which addresses each network
//! namespace has learnt.

use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use serde::Serialize;
use thiserror::Error;
pub use weir_ebpf::dns::LearntFrom;
use weir_ebpf::dns::{
    DnsCount, HOLDERS, HashKey, Learnt, LearntKey, MAX_LEARNT, MAX_NAME, MAX_PORTS, NameHash, Pattern, PatternPort,
    Resolver, Taker,
};

use super::{
    CgroupId, Datapath, EndpointIndex, NetnsCookie, address,
    flows::since_boot,
    maps::MapsError,
    room::{Holder, Room, takers},
};

/// How many steps a listing of what has been learnt takes at most: others change it meanwhile.
const LISTED: usize = 2 * MAX_LEARNT as usize;

/// A name, or every name below it, and where its hosts are registered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamePattern {
    /// In lower case, without the final dot.
    pub name: String,
    /// Whether the names below it are meant, rather than itself.
    pub below: bool,
    /// Its ports, each with the endpoint there. The programs take 16.
    pub ports: Vec<(u16, EndpointIndex)>,
}

/// An address that a namespace has learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LearntAddress {
    /// The namespace.
    pub netns: NetnsCookie,
    /// The address, with a registered port.
    pub addr: SocketAddr,
    /// The endpoint there.
    pub endpoint: EndpointIndex,
    /// The first registered name that led to it; none if several did.
    pub host: Option<String>,
    /// How it was learnt.
    pub from: LearntFrom,
}

/// Why an address could not be learnt.
#[derive(Debug, Error)]
pub enum LearnError {
    /// A map could not be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// A share is used up.
    #[error("cgroup {}, or one above it, has taken all of its share of the room for addresses", .0.0)]
    NoRoom(CgroupId),
}

/// What became of questions and answers about registered names, over all CPUs, since the maps were made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DnsCounts {
    /// Answers that were believed.
    pub believed: u64,
    /// Answers from servers that the namespace is not configured with: passed, not believed.
    pub stranger: u64,
    /// Answers dropped because there was no room, or no quota left, for their addresses.
    pub no_room: u64,
    /// Answers dropped because they could not be read to their end.
    pub unread: u64,
    /// Questions refused because they could not be remembered.
    pub refused: u64,
}

impl Datapath {
    /// Says which names are registered. What has been learnt of names that still are is kept, the rest is forgotten.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn set_patterns(&self, patterns: &[NamePattern]) -> Result<(), MapsError> {
        let key = self.name_key()?;
        let wanted: HashMap<u64, Pattern> =
            patterns.iter().map(|pattern| (pattern.id(&key), pattern.ports())).collect();
        self.maps.patterns.replace(&wanted)?;
        for (key, learnt) in self.maps.learnt.listed(LISTED)? {
            let known = wanted.get(&learnt.pattern).and_then(|pattern| endpoint_at(pattern, key.port));
            match known {
                Some(endpoint) if endpoint == learnt.endpoint => {}
                Some(endpoint) => self.maps.learnt.insert(&key, &Learnt { endpoint, ..learnt })?,
                None => self.maps.learnt.remove(&key)?,
            }
        }
        Ok(())
    }

    /// The secret that names are hashed with: an earlier agent's, since what it learnt is still there.
    fn name_key(&self) -> Result<HashKey, MapsError> {
        let map = &self.maps.name_key;
        let mut map_now = map.lock();
        let present = map_now.get(&0, 0).map_err(map.failed())?;
        if present.point != 0 {
            return Ok(present);
        }
        let mut bits = [0; 8];
        // `getrandom(2)` with these arguments does not fail.
        let _ = aws_lc_rs::rand::fill(&mut bits);
        let key = HashKey::from_random(u64::from_ne_bytes(bits));
        map_now.set(0, key, 0).map_err(map.failed())?;
        Ok(key)
    }

    /// Says whose answers are believed in a namespace, instead of those that were said before.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn set_resolvers(&self, netns: NetnsCookie, servers: &[IpAddr]) -> Result<(), MapsError> {
        let resolvers = &self.maps.resolvers;
        let key =
            |ip: IpAddr| Resolver { netns: netns.0, ip: address::to_kernel(SocketAddr::new(ip, 0)).connected().ip };
        let wanted: Vec<Resolver> = servers.iter().map(|ip| key(*ip)).collect();
        for resolver in &wanted {
            resolvers.insert(resolver, &1)?;
        }
        // From here on nobody else is.
        let known = Resolver { netns: netns.0, ip: [0; 4] };
        resolvers.insert(&known, &1)?;
        resolvers.remove_where(|held, _| held.netns == netns.0 && *held != known && !wanted.contains(held)).map(drop)
    }

    /// Forgets whose answers are believed in namespaces that are served no more.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn keep_resolvers(&self, served: impl Fn(NetnsCookie) -> bool) -> Result<(), MapsError> {
        self.maps.resolvers.remove_where(|held, _| !served(NetnsCookie(held.netns))).map(drop)
    }

    /// Registers a host's address for one namespace, as the hosts file of `holder` there says, until `keep` has passed.
    ///
    /// # Errors
    ///
    /// [`LearnError`].
    pub fn learn_listed(
        &self,
        netns: NetnsCookie,
        holder: &Holder,
        host: &str,
        pattern: &NamePattern,
        ip: IpAddr,
        keep: Duration,
    ) -> Result<(), LearnError> {
        let key = self.name_key()?;
        let wire = wire(host);
        let mut text = [0; 256];
        text[..wire.len()].copy_from_slice(&wire);
        let until = since_boot() + keep;
        let learnt = holder.holding(Learnt {
            until_ns: u64::try_from(until.as_nanos()).unwrap_or(u64::MAX),
            cgroup: 0,
            holders: [0; HOLDERS],
            name: hash(&key, &wire),
            pattern: pattern.id(&key),
            endpoint: 0,
            from: LearntFrom::HostsFile as u32,
            several: 0,
            len: wire.len() as u32,
            text,
        });
        let ports = pattern.ports();
        let at = address::to_kernel(SocketAddr::new(ip, 0)).connected();
        let mut entries = Vec::new();
        let mut missing = 0;
        for port in std::iter::once(0).chain(pattern.ports.iter().map(|(port, _)| u32::from(*port))) {
            let key = LearntKey { netns: netns.0, ip: at.ip, port, reserved: 0 };
            let Some(endpoint) = endpoint_at(&ports, port) else { continue };
            let learnt = match self.maps.learnt.get(&key)? {
                Some(known) => {
                    let several = u32::from(known.several != 0 || known.name != learnt.name);
                    Learnt { until_ns: known.until_ns.max(learnt.until_ns), several, ..known }
                }
                None => {
                    missing += 1;
                    Learnt { endpoint, ..learnt }
                }
            };
            entries.push((key, learnt));
        }
        if missing > 0 && !self.take_room(netns, &learnt, missing)? {
            return Err(LearnError::NoRoom(holder.cgroup()));
        }
        entries.iter().try_for_each(|(key, learnt)| self.maps.learnt.insert(key, learnt)).map_err(Into::into)
    }

    /// Takes room for so many entries from all whose room they take, or from nobody; says which.
    fn take_room(&self, netns: NetnsCookie, learnt: &Learnt, entries: u64) -> Result<bool, MapsError> {
        let quotas = &self.maps.quotas;
        let mut taken = Vec::new();
        for Taker { quota, most } in takers(netns.0, learnt) {
            let held = quotas.get(&quota)?.unwrap_or_default() + entries;
            if held > most {
                return Ok(false);
            }
            taken.push((quota, held));
        }
        // The programs may count meanwhile; the sweep counts again.
        taken.iter().try_for_each(|(quota, held)| quotas.insert(quota, held)).map(|()| true)
    }

    /// What a namespace has learnt of an address.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn learnt_at(&self, netns: NetnsCookie, addr: SocketAddr) -> Result<Option<LearntAddress>, MapsError> {
        let address = address::to_kernel(addr).connected();
        let key = LearntKey { netns: netns.0, ip: address.ip, port: address.port, reserved: 0 };
        Ok(self.maps.learnt.get(&key)?.map(|learnt| known(key, &learnt)))
    }

    /// Counts who has learnt how much, forgets what has outlived its time where others may want its room, and says what is left.
    ///
    /// Applications may cache an address for as long as they live. So one is forgotten only after its time, and then only
    /// when its namespace is not `served` any more, or its room is scarce. When more than half of all the room is taken, what
    /// belongs to namespaces that are not served goes before its time.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn sweep_learnt(&self, served: impl Fn(NetnsCookie) -> bool) -> Result<Vec<LearntAddress>, MapsError> {
        let maps = &self.maps;
        let mut entries = maps.learnt.listed(LISTED)?;
        let now = u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX);
        let room = Room::of(&entries);
        let goes = |key: &LearntKey, learnt: &Learnt| {
            let served = served(NetnsCookie(key.netns));
            if learnt.until_ns < now { !served || room.is_scarce(key, learnt) } else { !served && room.is_crowded() }
        };
        for (key, _) in entries.extract_if(|key, learnt| goes(key, learnt)) {
            maps.learnt.remove(&key)?;
        }
        maps.quotas.replace(&Room::of(&entries).into_quotas())?;
        Ok(entries.iter().filter(|(key, _)| key.port != 0).map(|(key, learnt)| known(*key, learnt)).collect())
    }

    /// What became of questions and answers.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn dns_counts(&self) -> Result<DnsCounts, MapsError> {
        let counts = &self.maps.dns_counts;
        let count = |what: DnsCount| -> Result<u64, MapsError> {
            let per_cpu = counts.lock().get(&(what as u32), 0).map_err(counts.failed())?;
            Ok(per_cpu.iter().sum())
        };
        Ok(DnsCounts {
            believed: count(DnsCount::Believed)?,
            stranger: count(DnsCount::Stranger)?,
            no_room: count(DnsCount::NoRoom)?,
            unread: count(DnsCount::Unread)?,
            refused: count(DnsCount::Refused)?,
        })
    }
}

impl NamePattern {
    /// The most ports that the programs take.
    pub const MAX_PORTS: usize = MAX_PORTS;

    fn id(&self, key: &HashKey) -> u64 {
        hash(key, &wire(&self.name)) << 1 | u64::from(self.below)
    }

    fn ports(&self) -> Pattern {
        let mut ports = [PatternPort::default(); MAX_PORTS];
        for (place, (port, endpoint)) in ports.iter_mut().zip(&self.ports) {
            *place = PatternPort { port: u32::from(*port), endpoint: endpoint.0 };
        }
        Pattern { ports, len: self.ports.len().min(MAX_PORTS) as u32, reserved: 0 }
    }
}

/// The endpoint at a port; at port 0, the first one.
fn endpoint_at(pattern: &Pattern, port: u32) -> Option<u32> {
    let mut ports = pattern.ports.iter().take(pattern.len as usize);
    ports.find(|of| port == 0 || of.port == port).map(|of| of.endpoint)
}

fn known(key: LearntKey, learnt: &Learnt) -> LearntAddress {
    let LearntKey { netns, ip, port, .. } = key;
    let from = if learnt.from == LearntFrom::Answer as u32 { LearntFrom::Answer } else { LearntFrom::HostsFile };
    LearntAddress {
        netns: NetnsCookie(netns),
        addr: address::from_kernel(weir_ebpf::Address { ip, port }),
        endpoint: EndpointIndex(learnt.endpoint),
        host: if learnt.several == 0 { learnt.text.get(..learnt.len as usize).and_then(text) } else { None },
        from,
    }
}

fn hash(key: &HashKey, wire: &[u8]) -> u64 {
    let mut hash = NameHash::EMPTY;
    wire.iter().for_each(|byte| hash.push(key, *byte));
    hash.value()
}

/// A name's labels as on the wire, without the root. Host names are never longer than fits.
fn wire(name: &str) -> Vec<u8> {
    let label = |label: &str| {
        let len = u8::try_from(label.len()).unwrap_or(u8::MAX);
        std::iter::once(len).chain(label.bytes()).collect::<Vec<u8>>()
    };
    let mut wire: Vec<u8> = name.split('.').flat_map(label).collect();
    wire.truncate(MAX_NAME);
    wire
}

/// And back; none if a label is not of the letters that host names have.
fn text(mut wire: &[u8]) -> Option<String> {
    let mut labels = Vec::new();
    while let Some((len, rest)) = wire.split_first() {
        let (label, rest) = rest.split_at_checked(usize::from(*len))?;
        labels.push(std::str::from_utf8(label).ok().filter(|label| !label.contains('.'))?);
        wire = rest;
    }
    Some(labels.join("."))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_name_survives_the_wire(name in "[a-z0-9-]{1,63}(\\.[a-z0-9-]{1,60}){0,2}") {
            prop_assert_eq!(text(&wire(&name)), Some(name));
        }
    }

    #[test]
    fn what_is_no_host_name_has_no_text() {
        assert_eq!(text(b"\x05a"), None);
        assert_eq!(text(b"\x03a.b\x03com"), None);
        assert_eq!(text(b"\x01\xff"), None);
    }
}
