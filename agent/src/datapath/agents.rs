//! The agent's own connections pass: it registers itself, and clears away what agents that died left behind.

use std::{collections::HashSet, os::fd::AsFd, process, sync::Arc};

use rustix::net::AddressFamily;
use thiserror::Error;
use weir_ebpf::Agent;

use super::{
    CgroupError, CgroupId, CgroupTree, Datapath,
    maps::{Maps, MapsError, found},
    netns::tcp_socket,
};

/// Why the agent could not register itself.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// A socket could not be made to learn how the kernel sees this process.
    #[error("cannot make a socket: {0}")]
    Socket(std::io::Error),
    /// The programs did not see this process.
    #[error(
        "this process is not below the cgroup that the programs are attached to: move it into a cgroup of its own there"
    )]
    OutsideBase,
    /// A map could not be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// Other agents' cgroups could not be looked at.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

/// While this lives, this process's connects from its present cgroup pass. What sockets from that cgroup send passes the
/// guard until the next agent registers: closing connections takes longer than an agent lives.
#[derive(Debug)]
pub struct Registration {
    maps: Arc<Maps>,
    agent: Agent,
    alone: bool,
}

impl Registration {
    /// The agent's own cgroup.
    #[must_use]
    pub fn cgroup(&self) -> CgroupId {
        CgroupId(self.agent.cgroup)
    }

    /// The agent's thread group id in the initial pid namespace.
    #[must_use]
    pub fn tgid(&self) -> u32 {
        self.agent.tgid
    }
}

impl Registration {
    /// Whether no other agent was alive when this one registered. Then nothing is redirected until it opens listeners, and the
    /// flows that are open belong to agents that are gone.
    #[must_use]
    pub fn alone(&self) -> bool {
        self.alone
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let Err(error) = self.maps.agents.remove(&self.agent) {
            tracing::warn!(%error, "the agent stays registered until the next one starts");
        }
    }
}

impl Datapath {
    /// Registers this process. It must already be in its own cgroup, below the base. Entries of agents that died are
    /// removed; if no other agent is alive, so are the listeners that they left. Their flows stay, to be accounted for.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn register_agent(&self, cgroups: &CgroupTree) -> Result<Registration, RegisterError> {
        let agent = self.identify()?;
        let alone = self.remove_dead_agents(cgroups, &agent)?;
        self.maps.agent_cgroups.insert(&agent.cgroup, &1)?;
        self.maps.agents.insert(&agent, &1)?;
        let _ = self.own.set(agent);
        Ok(Registration { maps: Arc::clone(&self.maps), agent, alone })
    }

    /// Whether no other agent is alive; false before this one is registered.
    ///
    /// # Errors
    ///
    /// [`RegisterError`].
    pub fn is_only_agent(&self, cgroups: &CgroupTree) -> Result<bool, RegisterError> {
        let Some(own) = self.own.get() else { return Ok(false) };
        Ok(!self.forget_dead_agents(cgroups, own)?)
    }

    /// How the programs see this process: pid namespaces hide the tgid that they compare, so a socket is made and its
    /// origin read back.
    fn identify(&self) -> Result<Agent, RegisterError> {
        let socket = tcp_socket(AddressFamily::INET).map_err(RegisterError::Socket)?;
        let origin = &self.maps.origin;
        let seen = found(origin.lock().get(&std::os::fd::AsRawFd::as_raw_fd(&socket.as_fd()), 0));
        let seen = seen.map_err(origin.failed())?.ok_or(RegisterError::OutsideBase)?;
        Ok(Agent { cgroup: seen.cgroup, tgid: seen.tgid, reserved: 0 })
    }

    /// Whether this agent is then the only one.
    fn remove_dead_agents(&self, cgroups: &CgroupTree, own: &Agent) -> Result<bool, RegisterError> {
        let others_alive = self.forget_dead_agents(cgroups, own)?;
        let agents = &self.maps.agents;
        let alive: HashSet<u64> = agents.lock().keys().filter_map(Result::ok).map(|agent| agent.cgroup).collect();
        self.maps.agent_cgroups.remove_where(|cgroup, _| *cgroup != own.cgroup && !alive.contains(cgroup))?;
        if !others_alive {
            self.maps.listeners.remove_where(|_, _| true)?;
        }
        Ok(!others_alive)
    }

    /// Whether others are alive.
    fn forget_dead_agents(&self, cgroups: &CgroupTree, own: &Agent) -> Result<bool, RegisterError> {
        // From inside a pid namespace other agents' pids read as 0, and only an empty cgroup is proof.
        let pids_are_initial = own.tgid == process::id();
        let is_alive = |agent: &Agent| -> Result<bool, CgroupError> {
            let processes = cgroups.processes(CgroupId(agent.cgroup))?.unwrap_or_default();
            Ok(if pids_are_initial { processes.contains(&agent.tgid) } else { !processes.is_empty() })
        };
        let agents = &self.maps.agents;
        let held = agents.lock().keys().collect::<Result<Vec<_>, _>>().map_err(agents.failed())?;
        let mut others_alive = false;
        for agent in held.iter().filter(|agent| *agent != own) {
            if is_alive(agent)? {
                others_alive = true;
            } else {
                agents.remove(agent)?;
            }
        }
        Ok(others_alive)
    }
}
