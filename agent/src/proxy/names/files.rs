//! Hosts files, and the servers of names that a namespace is configured with.
//!
//! A container writes its files itself: what they say counts in its network namespace alone, and they are read as a stranger's.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use tokio::runtime::Handle;

use super::{KEEP, Names};
use crate::{
    config::Host,
    datapath::{CgroupTree, FileError, Holder, Member, NetnsCookie, NetnsId, ProcessRoot},
};

/// Longest file that is read.
const MAX_LEN: u64 = 64 * 1024;

/// Most servers taken from one file; the C library asks three.
const SERVERS: usize = 8;

/// Most addresses learnt from the hosts file of one namespace at a time.
const LISTED_PER_NETNS: usize = 256;

/// Most namespaces whose files are being read at the same time.
const READ_AT_ONCE: usize = 16;

const HOSTS: &str = "/etc/hosts";
const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The servers that systemd-resolved itself asks.
const BEHIND_RESOLVED: &str = "/run/systemd/resolve/resolv.conf";

/// A served namespace, as far as its files are concerned.
#[derive(Debug, Default)]
pub(super) struct Namespace {
    /// Whether its files are being read: whoever serves them may take any time.
    is_being_read: bool,
    /// What could not be read has been reported.
    is_reported: bool,
}

impl Names {
    /// Reads the files of a namespace that is served, soon. Its witness is a process in it; the agent's own needs none.
    pub(crate) fn read_files(
        self: &Arc<Self>,
        runtime: &Handle,
        cgroups: &Arc<CgroupTree>,
        netns: NetnsCookie,
        id: NetnsId,
        witness: Option<Member>,
    ) {
        {
            let mut namespaces = self.namespaces();
            let reading = namespaces.values().filter(|namespace| namespace.is_being_read).count();
            let namespace = namespaces.entry(netns).or_default();
            if namespace.is_being_read || reading >= READ_AT_ONCE {
                return;
            }
            namespace.is_being_read = true;
        }
        let (names, cgroups) = (Arc::clone(self), Arc::clone(cgroups));
        runtime.spawn_blocking(move || {
            let read = match witness {
                Some(witness) => names.read_of_process(&cgroups, netns, id, witness),
                None => names.read_own(netns, id),
            };
            let mut namespaces = names.namespaces();
            let Some(namespace) = namespaces.get_mut(&netns) else { return };
            namespace.is_being_read = false;
            match read {
                // Another process vouches for the namespace soon, or nobody is left.
                Ok(()) | Err(FileError::Gone(_)) => {}
                Err(error) if !namespace.is_reported => {
                    namespace.is_reported = true;
                    tracing::warn!(%error, netns = netns.0, "a namespace's hosts and servers of names are not known");
                }
                Err(_) => {}
            }
        });
    }

    /// A namespace is served no more.
    pub(crate) fn forget_files(&self, netns: NetnsCookie) {
        self.namespaces().remove(&netns);
    }

    fn read_of_process(
        &self,
        cgroups: &CgroupTree,
        netns: NetnsCookie,
        id: NetnsId,
        Member { pid, cgroup }: Member,
    ) -> Result<(), FileError> {
        let root = ProcessRoot::open(pid, id)?;
        let Ok(Some(holder)) = Holder::of(cgroups, cgroup) else { return Err(FileError::Gone(pid)) };
        let hosts = present(root.read(HOSTS, MAX_LEN))?;
        let registered = hosts_file(&hosts).filter_map(|(ip, host)| match host {
            Host::Name(name) => Some((ip, self.pattern_of(&name)?.clone(), name)),
            Host::Ip(_) => None,
        });
        for (ip, pattern, name) in registered.take(LISTED_PER_NETNS) {
            if let Err(error) = self.datapath.learn_listed(netns, &holder, &name, &pattern, ip, KEEP) {
                tracing::error!(%error, netns = netns.0, name, "a listed address could not be given to the kernel");
            }
        }
        let servers = name_servers(&present(root.read(RESOLV_CONF, MAX_LEN))?);
        self.believe(netns, &servers);
        Ok(())
    }

    /// The agent's own namespace, which is the host's: its own files, and in a container of its own those of the first process.
    fn read_own(&self, netns: NetnsCookie, id: NetnsId) -> Result<(), FileError> {
        let mut servers = BTreeSet::new();
        for pid in [std::process::id(), 1] {
            let Ok(root) = ProcessRoot::open(pid, id) else { continue };
            servers.extend(name_servers(&present(root.read(RESOLV_CONF, MAX_LEN))?));
            if let Ok(behind) = root.read(BEHIND_RESOLVED, MAX_LEN) {
                servers.extend(name_servers(&behind));
            }
        }
        self.believe(netns, &servers);
        Ok(())
    }

    fn believe(&self, netns: NetnsCookie, servers: &BTreeSet<IpAddr>) {
        let servers: Vec<IpAddr> = servers.iter().copied().collect();
        if let Err(error) = self.datapath.set_resolvers(netns, &servers) {
            tracing::error!(%error, netns = netns.0, "servers of names could not be given to the kernel");
        }
    }

    /// Learns literals and what the host's hosts file says, and tells the kernel; returns the hosts that it knows.
    pub(crate) fn learn_listed(&self) -> BTreeSet<Host> {
        let text = std::fs::read_to_string(HOSTS).unwrap_or_default();
        let mut listed = BTreeSet::new();
        for (host, ..) in self.endpoints.exact() {
            if let Host::Ip(ip) = host {
                self.learn(host, *ip);
                listed.insert(host.clone());
            }
        }
        let is_registered = |host: &Host| match host {
            Host::Name(name) => self.pattern_of(name).is_some_and(|pattern| !pattern.below),
            Host::Ip(_) => false,
        };
        for (ip, host) in hosts_file(&text).filter(|(_, host)| is_registered(host)) {
            self.learn(&host, ip);
            listed.insert(host);
        }
        self.tell();
        listed
    }
}

/// A file that is not there says nothing.
fn present(read: Result<String, FileError>) -> Result<String, FileError> {
    match read {
        Err(FileError::Missing(_)) => Ok(String::new()),
        read => read,
    }
}

/// The addresses and names of a hosts file (hosts(5)).
fn hosts_file(text: &str) -> impl Iterator<Item = (IpAddr, Host)> {
    text.lines().flat_map(|line| {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let ip: Option<IpAddr> = words.next().and_then(|word| word.parse().ok());
        words.filter_map(move |word| Some((ip?, word.parse().ok()?)))
    })
}

/// The servers that a resolv.conf names; where it names none, the C library asks the local machine (resolv.conf(5)).
fn name_servers(text: &str) -> BTreeSet<IpAddr> {
    let server = |line: &str| {
        let mut words = line.split_whitespace();
        let is_server = words.next() == Some("nameserver");
        // An IPv6 address may have a scope.
        let address = words.next().filter(|_| is_server)?.split('%').next()?;
        address.parse().ok()
    };
    let servers: BTreeSet<IpAddr> = text.lines().filter_map(server).take(SERVERS).collect();
    if servers.is_empty() { [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()].into() } else { servers }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_file_is_read_with_its_comments_and_aliases() {
        let text = "# 192.0.2.9 no.test\n192.0.2.1 mcp.test alias.test # not.test\n::1\nnonsense mcp.test\n fd00::1\tMCP.test\n";
        let read: Vec<_> = hosts_file(text).map(|(ip, host)| format!("{ip} {host}")).collect();
        assert_eq!(read, ["192.0.2.1 mcp.test", "192.0.2.1 alias.test", "fd00::1 mcp.test"]);
    }

    #[test]
    fn servers_of_names_are_read_as_the_c_library_does() {
        let servers = |text: &str| name_servers(text).iter().map(IpAddr::to_string).collect::<Vec<_>>();
        let text =
            "search a.test\nnameserver 192.0.2.1\n#nameserver 192.0.2.2\n nameserver\tfe80::1%eth0 # x\nnameserver x\n";
        assert_eq!(servers(text), ["192.0.2.1", "fe80::1"]);
        assert_eq!(servers("options edns0"), ["127.0.0.1", "::1"]);
        let many: String = (0..20).map(|n| format!("nameserver 192.0.2.{n}\n")).collect();
        assert_eq!(servers(&many).len(), SERVERS);
    }
}
