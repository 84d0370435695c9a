//! Which addresses are a registered endpoint's: the configured hosts, resolved and refreshed before their answers expire,
//! and pushed into the kernel.
//!
//! An address that was learnt stays registered for [`KEEP`] after the last answer that named it: applications cache answers
//! longer than their TTL, and forgetting early would open a gap.

use std::{
    collections::{BTreeSet, HashMap},
    net::{IpAddr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::runtime::TokioRuntimeProvider,
    system_conf::parse_resolv_conf,
};
use serde::{Deserialize, Serialize};
use tokio::task::{JoinError, JoinSet};

use crate::{
    config::{Endpoint, Endpoints, EndpointsError, Host, OtherNames, Registered},
    datapath::{Datapath, EndpointIndex},
};

/// How long an address outlives the last answer that named it.
const KEEP: Duration = Duration::from_secs(3600);

/// Bounds on the time between two resolutions of a name.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How soon a name that did not resolve is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Most names asked for at the same time.
const LOOKUPS_AT_ONCE: usize = 32;

/// Most addresses learnt per host name; further ones are reported and not learnt.
const ADDRESSES_PER_HOST: usize = 256;

/// The registered endpoints and what is known of their addresses.
#[derive(Debug)]
pub(crate) struct Names {
    endpoints: Endpoints,
    positions: HashMap<String, EndpointIndex>,
    learnt: RwLock<HashMap<IpAddr, HashMap<Host, Instant>>>,
}

impl Names {
    /// Knows no address yet.
    ///
    /// # Errors
    /// When the endpoints contradict each other, or are more than the kernel can count.
    pub(crate) fn new(endpoints: &[Endpoint]) -> Result<Self, NamesError> {
        let position = |(n, endpoint): (usize, &Endpoint)| {
            Ok((endpoint.name.clone(), EndpointIndex::of_endpoint(n).ok_or(NamesError::TooMany)?))
        };
        Ok(Self {
            endpoints: Endpoints::new(endpoints)?,
            positions: endpoints.iter().enumerate().map(position).collect::<Result<_, NamesError>>()?,
            learnt: RwLock::default(),
        })
    }

    /// The endpoint that a host name at a port belongs to.
    pub(crate) fn endpoint_for(&self, host: &str, port: u16) -> Option<Arc<Registered>> {
        self.endpoints.by_host(host, port).cloned()
    }

    /// The one endpoint at an address; `None` when there is none, or more than one.
    pub(crate) fn endpoint_at(&self, addr: SocketAddr) -> Option<Arc<Registered>> {
        let hosts = self.hosts_at(addr);
        let mut at: Vec<_> = hosts.iter().filter_map(|host| self.endpoint_for(host, addr.port())).collect();
        at.dedup_by(|a, b| Arc::ptr_eq(a, b));
        (at.len() == 1).then(|| at.remove(0))
    }

    /// The one registered host at an address; `None` when there is none, or more than one.
    pub(crate) fn only_host_at(&self, addr: SocketAddr) -> Option<String> {
        let mut hosts = self.hosts_at(addr);
        (hosts.len() == 1).then(|| hosts.remove(0))
    }

    /// The registered hosts that have been seen at an address.
    pub(crate) fn hosts_at(&self, addr: SocketAddr) -> Vec<String> {
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let hosts = learnt.get(&addr.ip()).into_iter().flat_map(HashMap::keys).map(Host::to_string);
        let mut hosts: Vec<String> = hosts.filter(|host| self.endpoint_for(host, addr.port()).is_some()).collect();
        hosts.sort();
        hosts
    }

    /// Whether an endpoint at an address wants names that are not registered refused there.
    pub(crate) fn denies_other_names(&self, addr: SocketAddr) -> bool {
        let endpoints = self.hosts_at(addr).into_iter().filter_map(|host| self.endpoint_for(&host, addr.port()));
        endpoints.into_iter().any(|registered| registered.endpoint.other_names == OtherNames::Deny)
    }

    /// Where to dial for a flow: its original destination, then the other addresses of the host that it asked for.
    pub(crate) fn candidates(&self, host: Option<&str>, dst: SocketAddr) -> Vec<SocketAddr> {
        let host: Option<Host> = host.and_then(|host| host.parse().ok());
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let of_host = |hosts: &HashMap<Host, Instant>| host.as_ref().is_some_and(|host| hosts.contains_key(host));
        let mut others: Vec<SocketAddr> = learnt
            .iter()
            .filter(|(_, hosts)| of_host(hosts))
            .map(|(ip, _)| SocketAddr::new(*ip, dst.port()))
            .filter(|addr| *addr != dst && addr.is_ipv4() == dst.is_ipv4())
            .collect();
        others.sort();
        std::iter::once(dst).chain(others).collect()
    }

    /// The addresses that have been learnt for an endpoint.
    pub(crate) fn addresses_of(&self, endpoint: &str) -> Vec<IpAddr> {
        let Some(index) = self.positions.get(endpoint) else { return Vec::new() };
        let of_it = self.destinations().into_iter().filter(|(_, of)| of == index);
        of_it.map(|(addr, _)| addr.ip()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// Every registered address with its endpoint, as the kernel keeps them.
    fn destinations(&self) -> HashMap<SocketAddr, EndpointIndex> {
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let mut destinations = HashMap::new();
        for (host, port, endpoint) in self.endpoints.exact() {
            let Some(index) = self.positions.get(endpoint.name()) else { continue };
            let addresses = learnt.iter().filter(|(_, hosts)| hosts.contains_key(host));
            destinations.extend(addresses.map(|(ip, _)| (SocketAddr::new(*ip, port), *index)));
        }
        destinations
    }

    /// What is known, for another agent.
    pub(crate) fn known(&self) -> Vec<KnownAddress> {
        let learnt = self.learnt.read().unwrap_or_else(PoisonError::into_inner);
        let known = learnt.iter().flat_map(|(ip, hosts)| {
            hosts.iter().map(|(host, seen)| KnownAddress { ip: *ip, host: host.to_string(), age: seen.elapsed() })
        });
        known.collect()
    }

    /// What another agent knew. Of hosts that are not registered any more it is without effect.
    pub(crate) fn adopt(&self, known: Vec<KnownAddress>) {
        let now = Instant::now();
        let mut learnt = self.learnt.write().unwrap_or_else(PoisonError::into_inner);
        for KnownAddress { ip, host, age } in known {
            if let (Ok(host), Some(seen)) = (host.parse::<Host>(), now.checked_sub(age)) {
                learnt.entry(ip).or_default().entry(host).or_insert(seen);
            }
        }
    }

    fn learn(&self, host: &Host, ip: IpAddr) {
        let ip = ip.to_canonical();
        let mut learnt = self.learnt.write().unwrap_or_else(PoisonError::into_inner);
        let known = learnt.values().filter(|hosts| hosts.contains_key(host)).count();
        if known >= ADDRESSES_PER_HOST && !learnt.get(&ip).is_some_and(|hosts| hosts.contains_key(host)) {
            tracing::warn!(%host, %ip, limit = ADDRESSES_PER_HOST, "an address was not learnt: the host has too many");
            return;
        }
        learnt.entry(ip).or_default().insert(host.clone(), Instant::now());
    }

    fn forget_old(&self) {
        let mut learnt = self.learnt.write().unwrap_or_else(PoisonError::into_inner);
        learnt.retain(|_, hosts| {
            hosts.retain(|_, seen| seen.elapsed() < KEEP);
            !hosts.is_empty()
        });
    }

    /// Learns what the hosts file says and tells the kernel; returns the names that it knows.
    pub(crate) fn learn_listed(&self, datapath: &Datapath) -> BTreeSet<Host> {
        let text = std::fs::read_to_string("/etc/hosts").unwrap_or_default();
        let registered: BTreeSet<&Host> = self.endpoints.exact().map(|(host, ..)| host).collect();
        let mut listed = BTreeSet::new();
        for (ip, host) in hosts_file(&text).filter(|(_, host)| registered.contains(host)) {
            self.learn(&host, ip);
            listed.insert(host);
        }
        self.tell(datapath);
        listed
    }

    /// Asks for every name that is `wanted`, and tells the kernel; returns how long the answers hold and which names did not
    /// resolve.
    pub(crate) async fn resolve(&self, datapath: &Datapath, wanted: impl Fn(&Host) -> bool) -> Resolved {
        let hosts: BTreeSet<&Host> =
            self.endpoints.exact().map(|(host, ..)| host).filter(|host| wanted(host)).collect();
        let mut resolved = Resolved { holds: REFRESH.1, unresolved: Vec::new() };
        // Made anew each time, so that a changed resolv.conf counts from the next refresh on.
        let resolver = system_resolver();
        let mut lookups = JoinSet::new();
        for host in hosts {
            if lookups.len() == LOOKUPS_AT_ONCE {
                self.take_answer(lookups.join_next().await, &mut resolved);
            }
            let (resolver, host) = (resolver.clone(), host.clone());
            lookups.spawn(async move { (lookup(resolver.as_ref(), &host).await, host) });
        }
        while let Some(answer) = lookups.join_next().await {
            self.take_answer(Some(answer), &mut resolved);
        }
        if !resolved.unresolved.is_empty() {
            resolved.holds = resolved.holds.min(RETRY);
        }
        self.forget_old();
        self.tell(datapath);
        resolved.holds = resolved.holds.clamp(REFRESH.0, REFRESH.1);
        resolved
    }

    fn take_answer(&self, answer: Option<Result<(LookupResult, Host), JoinError>>, resolved: &mut Resolved) {
        match answer {
            Some(Ok((Ok((addresses, holds)), host))) => {
                addresses.into_iter().for_each(|ip| self.learn(&host, ip));
                resolved.holds = resolved.holds.min(holds);
            }
            Some(Ok((Err(reason), host))) => resolved.unresolved.push((host.to_string(), reason)),
            Some(Err(error)) => tracing::error!(%error, "a name's resolution ended early"),
            None => {}
        }
    }

    fn tell(&self, datapath: &Datapath) {
        if let Err(error) = datapath.set_destinations(&self.destinations()) {
            tracing::error!(%error, "registered addresses could not be given to the kernel");
        }
    }
}

/// An address of a registered host, as one agent tells the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownAddress {
    ip: IpAddr,
    host: String,
    /// Since an answer last named it.
    age: Duration,
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
}

/// What one round of resolution gave.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Until the next round.
    pub(crate) holds: Duration,
    /// Names without an answer, and why.
    pub(crate) unresolved: Vec<(String, String)>,
}

fn system_resolver() -> Result<TokioResolver, String> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let (config, options) = parse_resolv_conf(with_nameserver(text)).map_err(|e| e.to_string())?;
    let mut builder = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default()).with_options(options);
    let options = builder.options_mut();
    options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    // Read apart, since an application in another mount namespace may ask where the host need not.
    options.use_hosts_file = ResolveHosts::Never;
    builder.build().map_err(|e| e.to_string())
}

/// Where no server is named, the C library asks the local machine (resolv.conf(5)); names in the hosts file need none.
fn with_nameserver(mut resolv_conf: String) -> String {
    if !resolv_conf.lines().any(|line| line.trim_start().starts_with("nameserver")) {
        resolv_conf.push_str("\nnameserver 127.0.0.1\n");
    }
    resolv_conf
}

/// The addresses and names of a hosts file (hosts(5)).
fn hosts_file(text: &str) -> impl Iterator<Item = (IpAddr, Host)> {
    text.lines().flat_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let ip: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
        words.filter_map(move |word| Some((ip?, word.parse().ok()?)))
    })
}

/// Addresses and how long they hold, or why there are none.
type LookupResult = Result<(Vec<IpAddr>, Duration), String>;

async fn lookup(resolver: Result<&TokioResolver, &String>, host: &Host) -> LookupResult {
    let name = match host {
        Host::Ip(ip) => return Ok((vec![*ip], REFRESH.1)),
        Host::Name(name) => name,
    };
    // The trailing dot keeps the search list out: a registered name is a full name.
    let full = if name.contains('.') { format!("{name}.") } else { name.clone() };
    let found = resolver.map_err(String::clone)?.lookup_ip(full).await.map_err(|e| e.to_string())?;
    let holds = found.valid_until().saturating_duration_since(Instant::now());
    Ok((found.iter().collect(), holds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_name_server_the_local_machine_is_asked() {
        for text in ["", "# nameserver 192.0.2.1\nsearch example.com"] {
            let (config, _) = parse_resolv_conf(with_nameserver(text.into())).unwrap();
            let servers: Vec<_> = config.name_servers().iter().map(|server| server.ip).collect();
            assert_eq!(servers, [IpAddr::from([127, 0, 0, 1])], "{text:?}");
        }
        let named = "nameserver 192.0.2.1\n".to_owned();
        assert_eq!(with_nameserver(named.clone()), named);
    }

    #[test]
    fn a_hosts_file_is_read_with_its_comments_and_aliases() {
        let text = "# 192.0.2.9 no.test\n192.0.2.1 mcp.test alias.test # not.test\n::1\nnonsense mcp.test\n fd00::1\tMCP.test\n";
        let read: Vec<_> = hosts_file(text).map(|(ip, host)| format!("{ip} {host}")).collect();
        assert_eq!(read, ["192.0.2.1 mcp.test", "192.0.2.1 alias.test", "fd00::1 mcp.test"]);
    }
}
