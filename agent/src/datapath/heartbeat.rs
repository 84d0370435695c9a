//! The agent's sign of life, and what went past while there was none.

use std::time::Duration;

use aya::{maps::PerCpuValues, util::nr_cpus};
use weir_ebpf::{ENDED, FailedOpen, MAX_SILENCE_NS, Settings};

use super::{
    Datapath,
    flows::since_boot,
    maps::{MapsError, Shared},
};

/// An agent that has not said for this long that it is alive is taken for dead.
pub const MAX_SILENCE: Duration = Duration::from_nanos(MAX_SILENCE_NS);

/// What went past while no agent was alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unwatched {
    /// How many connections, datagrams, and packets of sockets that belong to neither.
    pub connections: u64,
    /// How long ago the first did.
    pub first: Duration,
    /// How long ago the last did.
    pub last: Duration,
}

impl Datapath {
    /// Says that the agent is alive. From the first time on, it is to be said at least every [`MAX_SILENCE`].
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn beat(&self) -> Result<(), MapsError> {
        self.stamp(u64::try_from(since_boot().as_nanos()).unwrap_or(u64::MAX))
    }

    /// Says that the agent ends, so that nobody need wait to find out.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn fall_silent(&self) -> Result<(), MapsError> {
        self.stamp(ENDED)
    }

    fn stamp(&self, stamp: u64) -> Result<(), MapsError> {
        let heartbeat = &self.maps.heartbeat;
        heartbeat.lock().set(0, stamp, 0).map_err(heartbeat.failed())
    }

    /// Whether connections are let through, and counted, while no agent is alive.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn set_fail_open(&self, fail_open: bool) -> Result<(), MapsError> {
        self.set(|settings| Settings { fail_open: fail_open.into(), ..settings })
    }

    /// What went past unwatched since this was last asked; none when nothing did. To be asked by an agent that is alive: what
    /// goes past meanwhile may be missed.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn take_unwatched(&self) -> Result<Option<Unwatched>, MapsError> {
        let failed_open: &Shared<_> = &self.maps.failed_open;
        let mut map = failed_open.lock();
        let per_cpu = map.get(&0, 0).map_err(failed_open.failed())?;
        let seen = || per_cpu.iter().filter(|cpu| cpu.connections > 0);
        let (Some(first), Some(last)) = (seen().map(|cpu| cpu.first_ns).min(), seen().map(|cpu| cpu.last_ns).max())
        else {
            return Ok(None);
        };
        let connections = seen().map(|cpu| cpu.connections).sum();
        let cpus = nr_cpus().map_err(|(_, error)| failed_open.failed()(error.into()))?;
        let nothing = PerCpuValues::try_from(vec![FailedOpen::default(); cpus]);
        let nothing = nothing.map_err(|error| failed_open.failed()(error.into()))?;
        map.set(0, nothing, 0).map_err(failed_open.failed())?;
        let now = since_boot();
        let ago = |ns| now.saturating_sub(Duration::from_nanos(ns));
        Ok(Some(Unwatched { connections, first: ago(first), last: ago(last) }))
    }
}
