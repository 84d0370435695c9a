//! What became of the attempts to reach endpoints that the programs saw.

use serde::Serialize;
use weir_ebpf::{Denial, EndpointCounters, MAX_WORKLOADS, OTHERS};

use super::{CgroupId, CgroupTree, Datapath, EndpointIndex, maps::MapsError};

/// One endpoint's counts, over all CPUs, since its maps were made: `seen = redirected + denied + guarded + failed_open`.
/// They go on across agents that take over. An attempt is a `connect()` of TCP that was denied or whose SYN was about to
/// leave, a datagram that `sendmsg` was to send, or a packet that the guard stopped (retransmissions included); none is
/// counted as two of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct EndpointCounts {
    /// Attempts in scope.
    pub seen: u64,
    /// Sent to the agent.
    pub redirected: u64,
    /// Refused with `EPERM`.
    pub denied: u64,
    /// Packets that the egress guard stopped.
    pub guarded: u64,
    /// Let through because no agent was alive; 0 with `on_failure = "closed"`.
    pub failed_open: u64,
    /// Redirected ones that the listener made a connection of: the agent answers for them.
    pub arrived: u64,
    /// Redirected ones that ended before that.
    pub refused: u64,
}

/// One workload's counts at one endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadCounts {
    /// The endpoint.
    pub endpoint: EndpointIndex,
    /// The cgroup of the task that connected or sent; of guarded packets, that of their socket.
    pub cgroup: CgroupId,
    /// Its part of the endpoint's counts.
    pub counts: EndpointCounts,
}

impl EndpointCounts {
    /// Whether everything that was seen ended in one of the four ways. A reading while the programs count may be torn.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let Self { seen, redirected, denied, guarded, failed_open, .. } = self;
        *seen == redirected + denied + guarded + failed_open
    }

    fn add(&mut self, counters: &EndpointCounters) {
        let EndpointCounters { seen, redirected, denied, guarded, failed_open, arrived, refused } = counters;
        self.seen += seen;
        self.redirected += redirected;
        self.denied += denied;
        self.guarded += guarded;
        self.failed_open += failed_open;
        self.arrived += arrived;
        self.refused += refused;
    }
}

/// Why system calls were refused, over all endpoints and CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct DenialCounts {
    /// No listener in the namespace.
    pub no_listener: u64,
    /// The listener's port was not the agent's.
    pub dead_listener: u64,
    /// No room to remember the flow.
    pub no_room: u64,
    /// Redirected, but not attributable: closed by the agent, not by the programs.
    pub unpublished: u64,
    /// Datagrams to registered destinations.
    pub datagram: u64,
    /// Raw IP sockets.
    pub raw_socket: u64,
    /// Somebody else's `bind()` to a listener's port.
    pub reserved_port: u64,
    /// The agent had shown no sign of life for too long.
    pub stale_agent: u64,
    /// Packet sockets and TUN devices, where `link_layer = "deny"`.
    pub link_layer: u64,
    /// Sockets bound to a device, of tasks without `CAP_NET_RAW`.
    pub bound_device: u64,
}

impl Datapath {
    /// One endpoint's counts.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn counts(&self, endpoint: EndpointIndex) -> Result<EndpointCounts, MapsError> {
        let endpoints = &self.maps.endpoints;
        let per_cpu = endpoints.lock().get(&endpoint.0, 0).map_err(endpoints.failed())?;
        let mut counts = EndpointCounts::default();
        per_cpu.iter().for_each(|counters| counts.add(counters));
        Ok(counts)
    }

    /// The counts by workload. Those beyond the first 16,384 pairs of endpoint and cgroup, and those of cgroups that are gone
    /// and forgotten, are in [`Self::counts`] only.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn workload_counts(&self) -> Result<Vec<WorkloadCounts>, MapsError> {
        let entries = self.maps.workloads.entries(2 * MAX_WORKLOADS as usize)?.unwrap_or_default();
        let read = |(key, counters): (weir_ebpf::WorkloadKey, EndpointCounters)| {
            let mut counts = EndpointCounts::default();
            counts.add(&counters);
            WorkloadCounts { endpoint: EndpointIndex(key.endpoint), cgroup: CgroupId(key.cgroup), counts }
        };
        Ok(entries.into_iter().map(read).collect())
    }

    /// Makes room for the counts of new workloads by forgetting those whose cgroup is gone.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn forget_gone_workloads(&self, cgroups: &CgroupTree) -> Result<(), MapsError> {
        // When in doubt it is still there.
        let is_gone = |cgroup: u64| matches!(cgroups.path_of(CgroupId(cgroup)), Ok(None));
        self.maps.workloads.remove_where(|key, _| is_gone(key.cgroup))?;
        self.maps.holders.remove_where(|cgroup, held| *cgroup != OTHERS && *held == 0 && is_gone(*cgroup))?;
        Ok(())
    }

    /// Why system calls were refused.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn denials(&self) -> Result<DenialCounts, MapsError> {
        let denials = &self.maps.denials;
        let count = |reason: Denial| -> Result<u64, MapsError> {
            let per_cpu = denials.lock().get(&(reason as u32), 0).map_err(denials.failed())?;
            Ok(per_cpu.iter().sum())
        };
        Ok(DenialCounts {
            no_listener: count(Denial::NoListener)?,
            dead_listener: count(Denial::DeadListener)?,
            no_room: count(Denial::NoRoom)?,
            unpublished: count(Denial::Unpublished)?,
            datagram: count(Denial::Datagram)?,
            raw_socket: count(Denial::RawSocket)?,
            reserved_port: count(Denial::ReservedPort)?,
            stale_agent: count(Denial::StaleAgent)?,
            link_layer: count(Denial::LinkLayer)?,
            bound_device: count(Denial::BoundDevice)?,
        })
    }
}
