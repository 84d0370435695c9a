//! Which addresses are a registered endpoint's, and which of its hosts is at an address.
//!
//! | learnt from | counts | kept |
//! |---|---|---|
//! | the host's hosts file, and the agent's own resolution (`resolution`), refreshed before its answers expire | everywhere | an hour beyond the last answer, and over the agent's restart (`kept`) |
//! | literal addresses | everywhere | as long as they are configured |
//! | the hosts file of a container (`files`) | in its network namespace | an hour beyond the line's removal, and then until its room is wanted |
//! | the answers that applications get: the programs learn them on their way in | in the asker's network namespace | an hour beyond the TTL, and then until its room is wanted |
//!
//! Whose answers the programs believe is said here, namespace by namespace, from its `resolv.conf`. Applications cache
//! answers longer than their TTL, and forgetting early would open a gap.

mod files;
mod kept;
mod resolution;

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use self::{
    files::Namespace,
    kept::{Kept, Known},
};
use crate::{
    config::{Endpoint, Endpoints, EndpointsError, Host, HostPattern, OtherNames, Registered},
    datapath::{Datapath, DnsCounts, EndpointIndex, LearntAddress, LearntFrom, NamePattern, NetnsCookie},
};

/// How long an address outlives the last answer, or line, that named it.
const KEEP: Duration = Duration::from_secs(3600);

/// Most addresses that the agent learns for a host name; further ones are reported and not learnt.
const ADDRESSES_PER_HOST: usize = 256;

/// The registered endpoints and what is known of their addresses.
#[derive(Debug)]
pub(crate) struct Names {
    endpoints: Endpoints,
    positions: HashMap<String, EndpointIndex>,
    /// Exact names, then those of wildcards, the longest first.
    patterns: Vec<NamePattern>,
    datapath: Datapath,
    /// Destinations that are no host's: registered as they are.
    more: HashMap<SocketAddr, EndpointIndex>,
    /// For every namespace.
    known: RwLock<HashMap<IpAddr, HashMap<Host, Instant>>>,
    /// The same for the next agent.
    kept: Kept,
    /// What namespaces had learnt by the last sweep.
    learnt: RwLock<Vec<LearntAddress>>,
    namespaces: Mutex<HashMap<NetnsCookie, Namespace>>,
}

/// The registered hosts at an address.
#[derive(Debug, Default)]
struct HostsAt {
    hosts: Vec<String>,
    /// Whether there are others, which nobody can name any more.
    and_others: bool,
}

/// An address of a registered host, as one agent tells the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    ip: IpAddr,
    host: String,
    /// Since an answer last named it.
    age: Duration,
}

/// How many addresses of an endpoint were learnt in which way.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// All of them.
    pub all: BTreeSet<IpAddr>,
    /// By the agent's own resolution, the host's hosts file, or as the configuration says.
    pub known: usize,
    /// From the answers that applications got, over all namespaces.
    pub answered: usize,
    /// From hosts files of containers, over all namespaces.
    pub listed: usize,
}

/// Why the endpoints cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum NamesError {
    /// They contradict each other.
    #[error(transparent)]
    Endpoints(#[from] EndpointsError),
    /// The kernel counts 1,023 at most.
    #[error("more than 1,023 endpoints are configured")]
    TooMany,
    /// The kernel keeps 16 ports for a host.
    #[error("{0} is registered at more than {max} ports, wildcards over it included", max = NamePattern::MAX_PORTS)]
    TooManyPorts(String),
}

impl Names {
    /// Knows no address yet. Those that it will know are kept in the state directory.
    ///
    /// # Errors
    /// When the endpoints contradict each other, or are more than the kernel can hold.
    pub(crate) fn new(endpoints: &[Endpoint], datapath: Datapath, state_dir: &Path) -> Result<Self, NamesError> {
        let position = |(n, endpoint): (usize, &Endpoint)| {
            Ok((endpoint.name.clone(), EndpointIndex::of_endpoint(n).ok_or(NamesError::TooMany)?))
        };
        let positions = endpoints.iter().enumerate().map(position).collect::<Result<_, NamesError>>()?;
        let endpoints = Endpoints::new(endpoints)?;
        Ok(Self {
            patterns: patterns(&endpoints, &positions)?,
            endpoints,
            positions,
            datapath,
            more: HashMap::new(),
            known: RwLock::default(),
            kept: Kept::new(state_dir),
            learnt: RwLock::default(),
            namespaces: Mutex::default(),
        })
    }

    /// Registers destinations that are no host's, counted as the endpoint at `place`.
    ///
    /// # Errors
    /// [`NamesError::TooMany`].
    pub(crate) fn with_more(
        self,
        addresses: impl Iterator<Item = SocketAddr>,
        place: usize,
    ) -> Result<Self, NamesError> {
        let index = EndpointIndex::of_endpoint(place).ok_or(NamesError::TooMany)?;
        Ok(Self { more: addresses.map(|address| (address, index)).collect(), ..self })
    }

    /// Tells the programs which names are registered, and what can be known of their addresses at once: what the agent before this
    /// one knew, literals, and what the hosts file lists.
    pub(crate) fn begin(&self) {
        self.register();
        match self.kept.read() {
            Ok(known) => {
                let age = Duration::ZERO;
                self.adopt(known.into_iter().map(|(ip, host)| KnownAddress { ip, host, age }).collect());
            }
            Err(error) => tracing::error!(%error, "addresses that were known before are not, until they are resolved"),
        }
        self.learn_listed();
    }

    /// Tells the programs which names are registered.
    pub(crate) fn register(&self) {
        if let Err(error) = self.datapath.set_patterns(&self.patterns) {
            tracing::error!(%error, "registered names could not be given to the kernel");
        }
    }

    /// The endpoint that a host name at a port belongs to.
    pub(crate) fn endpoint_for(&self, host: &str, port: u16) -> Option<Arc<Registered>> {
        self.endpoints.by_host(host, port).cloned()
    }

    /// The one endpoint at an address, in a namespace; `None` when there is none, or more than one.
    pub(crate) fn endpoint_at(&self, netns: NetnsCookie, addr: SocketAddr) -> Option<Arc<Registered>> {
        let HostsAt { hosts, and_others } = self.look_up(netns, addr);
        let mut at: Vec<_> = hosts.iter().filter_map(|host| self.endpoint_for(host, addr.port())).collect();
        at.dedup_by(|a, b| Arc::ptr_eq(a, b));
        (at.len() == 1 && !and_others).then(|| at.remove(0))
    }

    /// The one registered host at an address; `None` when there is none, or more than one.
    pub(crate) fn only_host_at(&self, netns: NetnsCookie, addr: SocketAddr) -> Option<String> {
        let HostsAt { mut hosts, and_others } = self.look_up(netns, addr);
        (hosts.len() == 1 && !and_others).then(|| hosts.remove(0))
    }

    /// Whether any registered host has been seen at an address.
    pub(crate) fn is_registered(&self, netns: NetnsCookie, addr: SocketAddr) -> bool {
        let HostsAt { hosts, and_others } = self.look_up(netns, addr);
        !hosts.is_empty() || and_others
    }

    /// Names of which a server at an address must not be able to prove any, to be another one than the registered: the
    /// registered hosts that were seen there. Where some of these are not known any more, all that are registered at the port.
    pub(crate) fn names_at(&self, netns: NetnsCookie, addr: SocketAddr) -> Vec<String> {
        let HostsAt { mut hosts, and_others } = self.look_up(netns, addr);
        if and_others {
            let at_port = self.patterns.iter().filter(|of| of.ports.iter().any(|(port, _)| *port == addr.port()));
            hosts.extend(at_port.map(|NamePattern { name, below, .. }| {
                // Any name below it stands for all: certificates cover them all, or name each.
                if *below { format!("any.{name}") } else { name.clone() }
            }));
        }
        hosts
    }

    fn look_up(&self, netns: NetnsCookie, addr: SocketAddr) -> HostsAt {
        let mut at = HostsAt::default();
        {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            at.hosts.extend(known.get(&addr.ip()).into_iter().flat_map(HashMap::keys).map(Host::to_string));
        }
        match self.datapath.learnt_at(netns, addr) {
            Ok(Some(LearntAddress { host: Some(host), .. })) => at.hosts.push(host),
            Ok(Some(LearntAddress { host: None, .. })) => at.and_others = true,
            Ok(None) => {}
            Err(error) => tracing::error!(%error, "what a namespace has learnt could not be read"),
        }
        at.hosts.retain(|host| self.endpoint_for(host, addr.port()).is_some());
        at.hosts.sort();
        at.hosts.dedup();
        at
    }

    /// Whether an endpoint at an address wants names that are not registered refused there.
    pub(crate) fn denies_other_names(&self, netns: NetnsCookie, addr: SocketAddr) -> bool {
        let hosts = self.names_at(netns, addr);
        let mut endpoints = hosts.into_iter().filter_map(|host| self.endpoint_for(&host, addr.port()));
        endpoints.any(|registered| registered.endpoint.other_names == OtherNames::Deny)
    }

    /// Where to dial for a flow: its original destination, then the other addresses of the host that it asked for, those of the
    /// same family first. Clients that race both families (RFC 8305) cannot fall back any more: their connection is made.
    pub(crate) fn candidates(&self, netns: NetnsCookie, host: Option<&str>, dst: SocketAddr) -> Vec<SocketAddr> {
        let mut others: BTreeSet<SocketAddr> = BTreeSet::new();
        if let Some(host) = host.and_then(|host| host.parse::<Host>().ok()) {
            let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
            let of_host = known.iter().filter(|(_, hosts)| hosts.contains_key(&host));
            others.extend(of_host.map(|(ip, _)| SocketAddr::new(*ip, dst.port())));
            let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
            let name = host.to_string();
            let of_host = learnt.iter().filter(|of| of.netns == netns && of.host.as_ref() == Some(&name));
            others.extend(of_host.map(|of| of.addr));
        }
        others.retain(|addr| addr.port() == dst.port());
        others.remove(&dst);
        let (like_it, unlike): (Vec<_>, Vec<_>) = others.into_iter().partition(|addr| addr.is_ipv4() == dst.is_ipv4());
        std::iter::once(dst).chain(like_it).chain(unlike).collect()
    }

    /// The addresses that have been learnt for an endpoint.
    pub(crate) fn addresses_of(&self, endpoint: &str) -> Addresses {
        let Some(index) = self.positions.get(endpoint) else { return Addresses::default() };
        let known: BTreeSet<IpAddr> =
            self.destinations().into_iter().filter(|(_, of)| of == index).map(|(addr, _)| addr.ip()).collect();
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let learnt_from = |from| {
            let of_it = learnt.iter().filter(move |learnt| learnt.endpoint == *index && learnt.from == from);
            of_it.map(|learnt| (learnt.netns.0, learnt.addr.ip())).collect::<BTreeSet<_>>()
        };
        let (answered, listed) = (learnt_from(LearntFrom::Answer), learnt_from(LearntFrom::HostsFile));
        Addresses {
            known: known.len(),
            answered: answered.len(),
            listed: listed.len(),
            all: answered.iter().chain(&listed).map(|(_, ip)| *ip).chain(known).collect(),
        }
    }

    /// What became of the questions and answers that the programs saw.
    pub(crate) fn dns_counts(&self) -> DnsCounts {
        self.datapath.dns_counts().unwrap_or_else(|error| {
            tracing::error!(%error, "questions and answers could not be counted");
            DnsCounts::default()
        })
    }

    /// Forgets what is old, and takes stock of what namespaces have learnt. Blocks for as long as the map is large.
    pub(crate) fn sweep(&self) {
        let served: BTreeSet<u64> = self.namespaces().keys().map(|netns| netns.0).collect();
        let is_served = |netns: NetnsCookie| served.contains(&netns.0);
        match self.datapath.sweep_learnt(is_served) {
            Ok(learnt) => *self.learnt.write().unwrap_or_else(PoisonError::into_inner) = learnt,
            Err(error) => tracing::error!(%error, "what namespaces have learnt could not be swept"),
        }
        if let Err(error) = self.datapath.keep_resolvers(is_served) {
            tracing::error!(%error, "servers of names of former namespaces could not be forgotten");
        }
    }

    /// Every registered address with its endpoint, as the kernel keeps them for all namespaces.
    fn destinations(&self) -> HashMap<SocketAddr, EndpointIndex> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut destinations = self.more.clone();
        for (host, port, endpoint) in self.endpoints.exact() {
            let Some(index) = self.positions.get(endpoint.name()) else { continue };
            let addresses = known.iter().filter(|(_, hosts)| hosts.contains_key(host));
            destinations.extend(addresses.map(|(ip, _)| (SocketAddr::new(*ip, port), *index)));
        }
        destinations
    }

    /// What is known, for another agent. What namespaces have learnt stays in the kernel.
    pub(crate) fn known(&self) -> Vec<KnownAddress> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let known = known.iter().flat_map(|(ip, hosts)| {
            hosts.iter().map(|(host, seen)| KnownAddress { ip: *ip, host: host.to_string(), age: seen.elapsed() })
        });
        known.collect()
    }

    /// What another agent knew. Of hosts that are not registered any more it is without effect.
    pub(crate) fn adopt(&self, others: Vec<KnownAddress>) {
        let now = Instant::now();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        for KnownAddress { ip, host, age } in others {
            if let (Ok(host), Some(seen)) = (host.parse::<Host>(), now.checked_sub(age)) {
                known.entry(ip).or_default().entry(host).or_insert(seen);
            }
        }
    }

    fn learn(&self, host: &Host, ip: IpAddr) {
        let ip = ip.to_canonical();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let of_host = known.values().filter(|hosts| hosts.contains_key(host)).count();
        if of_host >= ADDRESSES_PER_HOST && !known.get(&ip).is_some_and(|hosts| hosts.contains_key(host)) {
            tracing::warn!(%host, %ip, limit = ADDRESSES_PER_HOST, "an address was not learnt: the host has too many");
            return;
        }
        known.entry(ip).or_default().insert(host.clone(), Instant::now());
    }

    fn forget_old(&self) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, hosts| {
            hosts.retain(|_, seen| seen.elapsed() < KEEP);
            !hosts.is_empty()
        });
    }

    fn tell(&self) {
        // First: the kernel knows nothing that the next agent would not.
        if let Err(error) = self.kept.keep(self.known_hosts()) {
            tracing::error!(%error, "registered addresses could not be kept for the agent's next start");
        }
        if let Err(error) = self.datapath.set_destinations(&self.destinations()) {
            tracing::error!(%error, "registered addresses could not be given to the kernel");
        }
    }

    fn known_hosts(&self) -> Known {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().flat_map(|(ip, hosts)| hosts.keys().map(|host| (*ip, host.to_string()))).collect()
    }

    fn namespaces(&self) -> MutexGuard<'_, HashMap<NetnsCookie, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pattern that a host matches.
    fn pattern_of(&self, host: &str) -> Option<&NamePattern> {
        let matches = |pattern: &&NamePattern| match host.strip_suffix(pattern.name.as_str()) {
            Some("") => !pattern.below,
            Some(rest) => pattern.below && rest.ends_with('.'),
            None => false,
        };
        self.patterns.iter().find(matches)
    }
}

/// What the programs are to look for.
fn patterns(endpoints: &Endpoints, positions: &HashMap<String, EndpointIndex>) -> Result<Vec<NamePattern>, NamesError> {
    let mut patterns = Vec::new();
    for (pattern, ports) in endpoints.patterns() {
        if ports.len() > NamePattern::MAX_PORTS {
            return Err(NamesError::TooManyPorts(pattern.to_string()));
        }
        let (name, below) = match pattern {
            HostPattern::Exact(Host::Name(name)) => (name, false),
            HostPattern::Below(name) => (name, true),
            HostPattern::Exact(Host::Ip(_)) => continue,
        };
        let index = |(port, endpoint): &(u16, Arc<Registered>)| Some((*port, *positions.get(endpoint.name())?));
        patterns.push(NamePattern { name, below, ports: ports.iter().filter_map(index).collect() });
    }
    patterns.sort_by_key(|pattern| (pattern.below, std::cmp::Reverse(pattern.name.len())));
    Ok(patterns)
}
