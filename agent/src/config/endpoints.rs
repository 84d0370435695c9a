//! Which endpoint a host and a port belong to.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};

use super::{Endpoint, Host, HostError, HostPattern, PathRefusal, Paths};

/// The registered endpoints, found by host and port. A host and port belong to one endpoint at most.
#[derive(Debug, Default)]
pub struct Endpoints {
    exact: HashMap<(Host, u16), Arc<Registered>>,
    /// Suffixes with their leading dot, the longest first.
    below: Vec<(String, u16, Arc<Registered>)>,
}

/// Ports, each with the endpoint there.
pub type PortEndpoints = Vec<(u16, Arc<Registered>)>;

/// An endpoint, ready to be asked about paths.
#[derive(Debug)]
pub struct Registered {
    /// As configured.
    pub endpoint: Endpoint,
    paths: Paths,
}

/// Why endpoints cannot be indexed. [`super::load`] reports all of these with their place; they occur here only for a
/// configuration that was not validated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointsError {
    /// Not a host.
    #[error("endpoint `{endpoint}`: {error}")]
    Host {
        /// The endpoint's name.
        endpoint: String,
        /// What is wrong with the host.
        error: HostError,
    },
    /// Not a path prefix.
    #[error("endpoint `{endpoint}`: {error}")]
    Path {
        /// The endpoint's name.
        endpoint: String,
        /// What is wrong with the prefix.
        error: PathRefusal,
    },
    /// Two endpoints claim the same host and port.
    #[error("endpoints `{first}` and `{second}` both register {host} port {port}")]
    Claimed {
        /// The earlier endpoint's name.
        first: String,
        /// The later endpoint's name.
        second: String,
        /// The host, as its canonical pattern.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Registered {
    /// The endpoint's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// Whether a request target (path and query) is the endpoint's, rather than something else's on the same host.
    ///
    /// # Errors
    /// A path that servers read in different ways; the request is to be refused.
    pub fn covers(&self, target: &str) -> Result<bool, PathRefusal> {
        self.paths.cover(target)
    }
}

impl Endpoints {
    /// Indexes the endpoints.
    ///
    /// # Errors
    /// A host or path is malformed, or two endpoints claim the same host and port.
    pub fn new(endpoints: &[Endpoint]) -> Result<Self, EndpointsError> {
        let mut index = Self::default();
        for endpoint in endpoints {
            index.register(endpoint)?;
        }
        index.below.sort_by_key(|(suffix, ..)| std::cmp::Reverse(suffix.len()));
        Ok(index)
    }

    fn register(&mut self, endpoint: &Endpoint) -> Result<(), EndpointsError> {
        let name = || endpoint.name.clone();
        let paths = Paths::new(endpoint.paths.iter().map(String::as_str))
            .map_err(|error| EndpointsError::Path { endpoint: name(), error })?;
        let registered = Arc::new(Registered { endpoint: endpoint.clone(), paths });
        for host in &endpoint.hosts {
            let pattern: HostPattern =
                host.parse().map_err(|error| EndpointsError::Host { endpoint: name(), error })?;
            for &port in &endpoint.ports {
                if let Some(earlier) = self.claim(&pattern, port, &registered) {
                    let first = earlier.endpoint.name.clone();
                    return Err(EndpointsError::Claimed { first, second: name(), host: pattern.to_string(), port });
                }
            }
        }
        Ok(())
    }

    /// Gives a pattern and port to an endpoint, unless another one has it: that one is returned.
    fn claim(&mut self, pattern: &HostPattern, port: u16, by: &Arc<Registered>) -> Option<Arc<Registered>> {
        let earlier = match pattern {
            HostPattern::Exact(host) => self.exact.insert((host.clone(), port), Arc::clone(by)),
            HostPattern::Below(suffix) => {
                let suffix = format!(".{suffix}");
                let earlier = self.below.iter().find(|(s, p, _)| *s == suffix && *p == port);
                let earlier = earlier.map(|(.., endpoint)| Arc::clone(endpoint));
                self.below.push((suffix, port, Arc::clone(by)));
                earlier
            }
        };
        earlier.filter(|earlier| !Arc::ptr_eq(earlier, by))
    }

    /// The endpoint of a host, as SNI, `Host` or an address gives it, and a port. An exact host wins over a wildcard, a
    /// longer wildcard over a shorter one.
    #[must_use]
    pub fn by_host(&self, host: &str, port: u16) -> Option<&Arc<Registered>> {
        let host: Host = host.parse().ok()?;
        let key = (host, port);
        self.exact.get(&key).or_else(|| {
            let (Host::Name(name), port) = &key else { return None };
            self.by_suffix(name, *port)
        })
    }

    /// Every pattern that is registered, with every port at which a name that matches it, and no closer one, belongs to an
    /// endpoint.
    #[must_use]
    pub fn patterns(&self) -> Vec<(HostPattern, PortEndpoints)> {
        let ports: BTreeSet<u16> =
            self.exact.keys().map(|(_, port)| *port).chain(self.below.iter().map(|(_, port, _)| *port)).collect();
        let exact: BTreeSet<&Host> = self.exact.keys().map(|(host, _)| host).collect();
        let below: BTreeSet<&str> = self.below.iter().map(|(suffix, ..)| suffix.as_str()).collect();
        let at_ports = |endpoint: &dyn Fn(u16) -> Option<Arc<Registered>>| {
            ports.iter().filter_map(|port| Some((*port, endpoint(*port)?))).collect()
        };
        let of_host = |host: &&Host| {
            let name = host.to_string();
            (HostPattern::Exact((*host).clone()), at_ports(&|port| self.by_host(&name, port).cloned()))
        };
        let of_suffix = |suffix: &&str| {
            let name = suffix.trim_start_matches('.').to_owned();
            (HostPattern::Below(name), at_ports(&|port| self.by_suffix(suffix, port).cloned()))
        };
        exact.iter().map(of_host).chain(below.iter().map(of_suffix)).collect()
    }

    /// The endpoint of the longest wildcard that a name, or a suffix with its leading dot, ends with.
    fn by_suffix(&self, name: &str, port: u16) -> Option<&Arc<Registered>> {
        let covers = |(suffix, p, _): &&(String, u16, _)| *p == port && name.ends_with(suffix.as_str());
        self.below.iter().find(covers).map(|(.., endpoint)| endpoint)
    }

    /// The hosts whose addresses can be learnt ahead: all but the wildcards.
    pub fn exact(&self) -> impl Iterator<Item = (&Host, u16, &Arc<Registered>)> {
        self.exact.iter().map(|((host, port), endpoint)| (host, *port, endpoint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, hosts: &[&str], ports: &[u16]) -> Endpoint {
        Endpoint {
            name: name.into(),
            hosts: hosts.iter().map(|&host| host.into()).collect(),
            ports: ports.to_vec(),
            paths: vec!["/mcp".into()],
            mcp: true,
            other_paths: super::super::OtherPaths::Pass,
            other_names: super::super::OtherNames::Verified,
            upstream_ca: None,
            caller: None,
            server_requests: crate::config::ServerRequests::default(),
            catalogue: None,
            budget: crate::config::Budget::default(),
            credentials: super::super::Credentials::Passthrough,
        }
    }

    #[test]
    fn the_most_specific_host_wins() {
        let index = Endpoints::new(&[
            endpoint("all", &["*.example.com"], &[443]),
            endpoint("tools", &["*.tools.example.com", "2001:db8::1"], &[443, 8443]),
            endpoint("one", &["a.tools.example.com"], &[443]),
        ])
        .expect("distinct");
        let name = |host, port| index.by_host(host, port).map(|found| found.endpoint.name.as_str());
        assert_eq!(name("a.tools.example.com", 443), Some("one"));
        assert_eq!(name("A.Tools.Example.com.", 443), Some("one"));
        assert_eq!(name("a.tools.example.com", 8443), Some("tools"));
        assert_eq!(name("x.y.tools.example.com", 443), Some("tools"));
        assert_eq!(name("tools.example.com", 443), Some("all"));
        assert_eq!(name("[2001:db8::0:1]", 443), Some("tools"));
        for (host, port) in [("example.com", 443), ("badexample.com", 443), ("b.example.com", 80), ("", 443)] {
            assert_eq!(name(host, port), None, "{host}");
        }
        assert_eq!(index.exact().count(), 3);
        let patterns = index.patterns().into_iter().map(|(pattern, ports)| {
            let ports: Vec<_> = ports.iter().map(|(port, of)| format!("{port} {}", of.name())).collect();
            format!("{pattern}: {}", ports.join(", "))
        });
        let expected = [
            "a.tools.example.com: 443 one, 8443 tools",
            "2001:db8::1: 443 tools, 8443 tools",
            "*.example.com: 443 all",
            "*.tools.example.com: 443 tools, 8443 tools",
        ];
        assert_eq!(patterns.collect::<Vec<_>>(), expected);
        assert_eq!(index.by_host("b.example.com", 443).map(|found| found.covers("/other")), Some(Ok(false)));
    }

    #[test]
    fn a_host_and_port_have_one_endpoint() {
        for host in ["x.example.com", "*.x.example.com"] {
            let twice = [endpoint("a", &[host], &[443]), endpoint("b", &[host], &[443])];
            let error = Endpoints::new(&twice).expect_err("claimed twice");
            assert_eq!(error.to_string(), format!("endpoints `a` and `b` both register {host} port 443"));
            let apart = [endpoint("a", &[host], &[443]), endpoint("b", &[host], &[8443])];
            assert!(Endpoints::new(&apart).is_ok());
        }
    }
}
