//! Connections older than the agent: ended, so that the application makes them again, through the agent.

use std::{collections::HashMap, io};

use thiserror::Error;
use weir_ebpf::ScopeRule;

use super::{
    CgroupError, CgroupId, CgroupTree, ClientAddr, Datapath, EndpointIndex, Netns, NetnsCookie, NetnsError,
    OriginalDst, address,
    maps::MapsError,
    sock_diag::{Entry, SockDiag},
};

/// Why old connections could not be ended. Those that are left cannot send anything: the guard stops it.
#[derive(Debug, Error)]
pub enum OldConnectionsError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// A map could not be read.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// A socket's cgroup could not be found.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The sockets could not be listed.
    #[error("cannot list TCP sockets: {0} (needs a kernel with CONFIG_INET_DIAG)")]
    List(io::Error),
    /// A connection could not be ended.
    #[error(
        "cannot end the connection to {peer}: {source} (needs CAP_NET_ADMIN, and a kernel with CONFIG_INET_DIAG_DESTROY)"
    )]
    Destroy {
        /// The registered address.
        peer: OriginalDst,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A connection that was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldConnection {
    /// The cgroup in which its socket was created.
    pub cgroup: CgroupId,
    /// The user who owns the socket, in the initial user namespace.
    pub uid: u32,
    /// The application's end.
    pub local: ClientAddr,
    /// The registered address.
    pub peer: OriginalDst,
    /// Which endpoint that is.
    pub endpoint: EndpointIndex,
}

/// What became of the connections in one namespace.
#[derive(Debug, Default)]
pub struct OldConnections {
    /// Those that were ended.
    pub ended: Vec<OldConnection>,
    /// Why others were not.
    pub failed: Vec<OldConnectionsError>,
}

impl Datapath {
    /// Ends the TCP connections in one namespace that go straight from a socket in scope to a registered destination, as
    /// everybody or this namespace knows them. The agents' own are left alone. To be called once scope and destinations are
    /// set; blocks for as long as the kernel takes to list the namespace's TCP sockets.
    ///
    /// A socket whose cgroup is gone is left to the guard, which still knows where it belonged.
    ///
    /// # Errors
    ///
    /// [`OldConnectionsError`], when nothing could be tried. One connection's failure leaves the others to be ended.
    pub fn close_old_connections(
        &self,
        netns: &Netns,
        cgroups: &CgroupTree,
    ) -> Result<OldConnections, OldConnectionsError> {
        let cookie = netns.cookie()?;
        let mut scope = Scope::read(self, cgroups)?;
        let sockets = netns.run(SockDiag::open)?.map_err(OldConnectionsError::List)?;
        let (mut found, mut old) = (Vec::new(), OldConnections::default());
        sockets
            .for_each_tcp(|entry| match self.registered(&entry, cookie) {
                Ok(Some(connection)) => found.push((entry, connection)),
                Ok(None) => {}
                Err(error) => old.failed.push(error.into()),
            })
            .map_err(OldConnectionsError::List)?;
        for (entry, connection) in found {
            let OldConnection { cgroup, peer, .. } = connection;
            let destroy = || sockets.destroy(&entry).map_err(|source| OldConnectionsError::Destroy { peer, source });
            let in_scope = scope.includes(cgroup).map_err(OldConnectionsError::from);
            match in_scope.and_then(|in_scope| Ok(in_scope && destroy()?)) {
                Ok(true) => old.ended.push(connection),
                Ok(false) => {}
                Err(error) => old.failed.push(error),
            }
        }
        Ok(old)
    }

    /// A socket as a connection to a registered destination, if it is one and not an agent's.
    fn registered(&self, entry: &Entry, netns: NetnsCookie) -> Result<Option<OldConnection>, MapsError> {
        let peer = entry.peer();
        let Some(cgroup) = entry.cgroup else { return Ok(None) };
        let everywhere = self.maps.destinations.get(&address::to_kernel(peer))?.map(EndpointIndex);
        let here = || Ok::<_, MapsError>(self.learnt_at(netns, peer)?.map(|learnt| learnt.endpoint));
        let Some(endpoint) = everywhere.map_or_else(here, |endpoint| Ok(Some(endpoint)))? else { return Ok(None) };
        if self.maps.agent_cgroups.get(&cgroup.0)?.is_some() {
            return Ok(None);
        }
        let (local, peer) = (ClientAddr(entry.local()), OriginalDst(peer));
        Ok(Some(OldConnection { cgroup, uid: entry.uid, local, peer, endpoint }))
    }
}

/// The scope as the programs have it, for cgroups by their id.
struct Scope<'a> {
    rules: HashMap<u64, u32>,
    cgroups: &'a CgroupTree,
    known: HashMap<CgroupId, bool>,
}

impl<'a> Scope<'a> {
    fn read(datapath: &Datapath, cgroups: &'a CgroupTree) -> Result<Self, MapsError> {
        let scope = &datapath.maps.scope;
        let rules = scope.lock().iter().collect::<Result<_, _>>().map_err(scope.failed())?;
        Ok(Self { rules, cgroups, known: HashMap::new() })
    }

    /// The deepest rule on the cgroup's path decides.
    fn includes(&mut self, cgroup: CgroupId) -> Result<bool, CgroupError> {
        if let Some(known) = self.known.get(&cgroup) {
            return Ok(*known);
        }
        let lineage = self.cgroups.lineage(cgroup)?.unwrap_or_default();
        let deepest = lineage.iter().rev().find_map(|ancestor| self.rules.get(&ancestor.0));
        let included = deepest == Some(&(ScopeRule::Include as u32));
        self.known.insert(cgroup, included);
        Ok(included)
    }
}
