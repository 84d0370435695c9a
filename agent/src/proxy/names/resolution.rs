//! The agent's own resolution: through the servers that the host is configured with, refreshed before answers expire.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, Instant},
};

use hickory_resolver::{
    TokioResolver,
    config::{LookupIpStrategy, ResolveHosts},
    net::runtime::TokioRuntimeProvider,
    system_conf::parse_resolv_conf,
};
use tokio::task::{JoinError, JoinSet};

use super::Names;
use crate::config::Host;

/// Bounds on the time between two resolutions of a name.
const REFRESH: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(300));

/// How soon a name that did not resolve is tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Most names asked for at the same time.
const LOOKUPS_AT_ONCE: usize = 32;

/// What one round of resolution gave.
#[derive(Debug)]
pub(crate) struct Resolved {
    /// Until the next round.
    pub(crate) holds: Duration,
    /// Names without an answer, and why.
    pub(crate) unresolved: Vec<(String, String)>,
}

impl Names {
    /// Asks for every name that is `wanted`, and tells the kernel; returns how long the answers hold and which names did not
    /// resolve.
    pub(crate) async fn resolve(&self, wanted: impl Fn(&Host) -> bool) -> Resolved {
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
        self.tell();
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
}
