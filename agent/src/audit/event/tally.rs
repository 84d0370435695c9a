//! The kernel's counters beside the log's own count of flow records, so that a reader can tell whether a connection went
//! without a record.
//!
//! Per endpoint, at any one time, `seen = redirected + denied + guarded + failed_open` and
//! `redirected = flows_closed + flows_open + refused_before_accept`, all counted from the same beginning.

use serde::{Deserialize, Serialize};

/// The endpoint of a tally for destinations that are no endpoint's (`tcp = "all"`). No endpoint can have this name.
pub const UNREGISTERED: &str = "*";

/// What became of every attempt to reach an endpoint, at one time. `event.reconciliation`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reconciliation {
    /// Names the set of counters, in hex: it began at zero when the programs' maps were made, at the first start after a boot,
    /// a detach, or an upgrade that changed their layout.
    pub counters: String,
    /// The epoch whose flow records are counted. In a record of another epoch, which can hold one that waited for a new agent
    /// to take the log over, it is not settled.
    pub epoch: u64,
    /// Whether the books begin here: what was counted before belongs to no earlier tally, because the set is new or its
    /// endpoints were renumbered by another configuration.
    pub opens: bool,
    /// Whether nothing moved while it was taken. One that is not settled may be off by what was moving.
    pub settled: bool,
    /// Attempts that were denied or guarded since the tally before by the same agent; none in its first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<u64>,
    /// By endpoint, in the order of the configuration.
    pub endpoints: Vec<EndpointTally>,
}

impl Reconciliation {
    /// Attempts that were denied or guarded since an earlier tally of the same counters.
    pub fn stopped_since(&self, earlier: &Self) -> Option<u64> {
        let stopped = |tally: &Self| -> u64 {
            tally.endpoints.iter().map(|endpoint| endpoint.counts.denied + endpoint.counts.guarded).sum()
        };
        (self.counters == earlier.counters).then(|| stopped(self).saturating_sub(stopped(earlier)))
    }
}

/// What became of the attempts to reach one endpoint. The kernel's counts go on across agents; `flows_closed` does not.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EndpointTally {
    /// Its name, or [`UNREGISTERED`].
    pub endpoint: String,
    /// The kernel's counts.
    #[serde(flatten)]
    pub counts: Counts,
    /// Redirected connections that have no record of their end yet: on their way to the agent, waiting for it, or in its hands.
    pub flows_open: u64,
    /// Flow records since the agent's start, of connections that the kernel counted for this endpoint.
    pub flows_closed: u64,
    /// The kernel's counts by workload, of those with the most.
    #[serde(default)]
    pub workloads: Vec<WorkloadTally>,
    /// How many more workloads the kernel counts one by one.
    #[serde(default)]
    pub workloads_left_out: u64,
}

/// One workload's part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkloadTally {
    /// Its cgroup.
    pub cgroup_id: u64,
    /// That cgroup's path, relative to the configured base, while it is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The kernel's counts.
    #[serde(flatten)]
    pub counts: Counts,
}

/// The kernel's counts. An attempt is a `connect()` of TCP that was denied or whose SYN was about to leave, a datagram that was
/// to be sent, or a packet that the guard stopped (retransmissions included).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Counts {
    /// Attempts in scope.
    pub seen: u64,
    /// Connections whose SYN was about to leave for the agent's listener.
    pub redirected: u64,
    /// Refused with `EPERM`.
    pub denied: u64,
    /// Packets that the egress guard stopped.
    pub guarded: u64,
    /// Let through because no agent was alive, where that was configured.
    pub failed_open: u64,
    /// Redirected ones that ended before the listener made a connection of them: given up or reset in the handshake, the
    /// listener full or gone, or no room to remember them.
    pub refused_before_accept: u64,
}
