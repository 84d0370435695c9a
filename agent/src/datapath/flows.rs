//! Who is behind an accepted connection: the facts that the programs left for it.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use weir_ebpf::{Flow, PendingKey};

use super::{
    CgroupId, ClientAddr, Datapath, EndpointIndex, FlowFacts, NetnsCookie, OriginalDst, SocketCookie, address,
    maps::MapsError,
};

impl Datapath {
    /// The facts of an accepted connection; they can be taken once. `netns` and `listener_port` are those of the listener
    /// that accepted it, `client` is its peer.
    ///
    /// The facts are there before the SYN, so that they are there at every `accept()`, even if the application has closed
    /// by then. None means that the connection was not redirected here by the programs: it must be closed.
    /// Takes two system calls; does not block.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn take_flow(
        &self,
        netns: NetnsCookie,
        client: ClientAddr,
        listener_port: u16,
    ) -> Result<Option<FlowFacts>, MapsError> {
        let source = address::to_kernel(client.0);
        let key = PendingKey {
            netns: netns.0,
            source_ip: source.ip,
            source_port: source.port,
            listener_port: listener_port.into(),
        };
        let flow = self.maps.pending.get(&key)?;
        if flow.is_some() {
            self.maps.pending.remove(&key)?;
        }
        Ok(flow.map(FlowFacts::from))
    }

    /// How many flows wait to be accepted.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn pending_flows(&self) -> Result<usize, MapsError> {
        let pending = &self.maps.pending;
        let keys = pending.lock().keys().collect::<Result<Vec<_>, _>>().map_err(pending.failed())?;
        Ok(keys.len())
    }

    /// Forgets flows that nobody accepted for `age`: their listener is gone. Says how many. To be called now and then.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn sweep(&self, age: Duration) -> Result<usize, MapsError> {
        let oldest = since_boot().saturating_sub(age);
        self.maps.pending.remove_where(|_, flow| Duration::from_nanos(flow.boot_ns) < oldest)
    }
}

/// The clock of [`FlowFacts::connected_at`].
pub(crate) fn since_boot() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

impl From<Flow> for FlowFacts {
    fn from(flow: Flow) -> Self {
        let Flow {
            cookie,
            netns,
            task_cgroup,
            socket_cgroup,
            boot_ns,
            destination,
            endpoint,
            tgid,
            tid,
            uid,
            gid,
            comm,
        } = flow;
        let name = comm.split(|byte| *byte == 0).next().unwrap_or_default();
        Self {
            cookie: SocketCookie(cookie),
            netns: NetnsCookie(netns),
            task_cgroup: CgroupId(task_cgroup),
            socket_cgroup: (socket_cgroup != 0).then_some(CgroupId(socket_cgroup)),
            tgid,
            tid,
            uid,
            gid,
            comm: String::from_utf8_lossy(name).into_owned(),
            connected_at: Duration::from_nanos(boot_ns),
            original_dst: OriginalDst(address::from_kernel(destination)),
            endpoint: EndpointIndex(endpoint),
        }
    }
}
