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

use hickory_resolver::{TokioResolver, config::LookupIpStrategy};

use crate::{
    config::{Endpoint, Endpoints, EndpointsError, Host, Registered},
    datapath::{Datapath, EndpointIndex},
};

/// How long an address outlives the last answer that named it.
const KEEP: Duration = Duration::from_secs(3600);

/// Bounds on the time between two resolutions of a name.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How soon a name that did not resolve is tried again.
const RETRY: Duration = Duration::from_secs(5);

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

    /// Resolves every name once and tells the kernel; returns how long the answers hold and which names did not resolve.
    pub(crate) async fn resolve(&self, datapath: &Datapath) -> Resolved {
        let hosts: BTreeSet<&Host> = self.endpoints.exact().map(|(host, ..)| host).collect();
        let mut resolved = Resolved { holds: REFRESH.1, unresolved: Vec::new() };
        // Made anew each time, so that a changed resolv.conf or hosts file counts from the next refresh on.
        let resolver = system_resolver();
        for host in hosts {
            match lookup(resolver.as_ref(), host).await {
                Ok((addresses, holds)) => {
                    addresses.into_iter().for_each(|ip| self.learn(host, ip));
                    resolved.holds = resolved.holds.min(holds);
                }
                Err(reason) => resolved.unresolved.push((host.to_string(), reason)),
            }
        }
        if !resolved.unresolved.is_empty() {
            resolved.holds = resolved.holds.min(RETRY);
        }
        self.forget_old();
        if let Err(error) = datapath.set_destinations(&self.destinations()) {
            tracing::error!(%error, "registered addresses could not be given to the kernel");
        }
        resolved.holds = resolved.holds.clamp(REFRESH.0, REFRESH.1);
        resolved
    }
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
    let mut builder = TokioResolver::builder_tokio().map_err(|e| e.to_string())?;
    builder.options_mut().ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
    builder.build().map_err(|e| e.to_string())
}

async fn lookup(resolver: Result<&TokioResolver, &String>, host: &Host) -> Result<(Vec<IpAddr>, Duration), String> {
    let name = match host {
        Host::Ip(ip) => return Ok((vec![*ip], REFRESH.1)),
        Host::Name(name) => name,
    };
    // The trailing dot keeps the search list out: a registered name is a full name. The hosts file knows names without.
    let full = if name.contains('.') { format!("{name}.") } else { name.clone() };
    let found = resolver.map_err(String::clone)?.lookup_ip(full).await.map_err(|e| e.to_string())?;
    let holds = found.valid_until().saturating_duration_since(Instant::now());
    Ok((found.iter().collect(), holds))
}
