//! What became of the attempts to reach endpoints that the programs saw.

use serde::Serialize;
use weir_ebpf::{Denial, EndpointCounters};

use super::{Datapath, EndpointIndex, maps::MapsError};

/// One endpoint's counts, over all CPUs, since its maps were made: `seen = redirected + denied + guarded + failed_open`.
/// They go on across agents that take over. An attempt is a `connect()` of TCP, a datagram that `sendmsg` was to send, or a
/// packet that the guard stopped (retransmissions included); none is counted as two of them.
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
        Ok(per_cpu.iter().fold(EndpointCounts::default(), |sum, counters| {
            let EndpointCounters { seen, redirected, denied, guarded, failed_open } = counters;
            EndpointCounts {
                seen: sum.seen + seen,
                redirected: sum.redirected + redirected,
                denied: sum.denied + denied,
                guarded: sum.guarded + guarded,
                failed_open: sum.failed_open + failed_open,
            }
        }))
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
        })
    }
}
