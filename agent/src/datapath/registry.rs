//! What is taken from whom: cgroups in scope, registered destinations.

use std::{collections::HashMap, net::SocketAddr};

use weir_ebpf::{MAX_ENDPOINTS, ScopeRule};

use super::{CgroupId, Datapath, EndpointIndex, address, maps::MapsError};

impl EndpointIndex {
    /// The index of the `n`th configured endpoint, from 0; none beyond the 1,023 that can be counted.
    #[must_use]
    pub fn of_endpoint(n: usize) -> Option<Self> {
        let index = u32::try_from(n).ok()?.checked_add(1)?;
        (index < MAX_ENDPOINTS).then_some(Self(index))
    }

    /// Which configured endpoint it is, from 0; none for what nobody registered.
    #[must_use]
    pub fn place(self) -> Option<usize> {
        usize::try_from(self.0).ok()?.checked_sub(1)
    }
}

impl Datapath {
    /// Says which subtrees of cgroups are intercepted. On each path the deepest named cgroup decides, and one that is
    /// named both ways is excluded. Replaces what was said before, without a moment in between.
    ///
    /// # Errors
    ///
    /// [`MapsError`], with more than 4,096 cgroups among other reasons.
    pub fn set_scope(&self, include: &[CgroupId], exclude: &[CgroupId]) -> Result<(), MapsError> {
        let included = include.iter().map(|id| (id.0, ScopeRule::Include as u32));
        let excluded = exclude.iter().map(|id| (id.0, ScopeRule::Exclude as u32));
        self.maps.scope.replace(&included.chain(excluded).collect())
    }

    /// Says which destinations are registered. Replaces what was said before: an address that stays is never missing in
    /// between.
    ///
    /// # Errors
    ///
    /// [`MapsError`], with more than 65,536 destinations among other reasons.
    pub fn set_destinations(&self, destinations: &HashMap<SocketAddr, EndpointIndex>) -> Result<(), MapsError> {
        let wanted: HashMap<_, _> =
            destinations.iter().map(|(addr, endpoint)| (address::to_kernel(*addr), endpoint.0)).collect();
        let mut hosts = HashMap::new();
        for (address, endpoint) in &wanted {
            // What has no port belongs to one of the address's endpoints, always the same.
            hosts.entry(address.ip).and_modify(|first: &mut u32| *first = (*first).min(*endpoint)).or_insert(*endpoint);
        }
        self.maps.destinations.replace(&wanted)?;
        self.maps.hosts.replace(&hosts)
    }
}
