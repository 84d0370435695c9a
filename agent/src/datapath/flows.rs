//! Who is behind an accepted connection: the facts that the programs left for it. And which flows are open: the programs
//! enter each when its connection is made, and it stays entered, whatever becomes of the agent, until an agent has recorded
//! its end.

use std::{
    os::fd::{AsFd, AsRawFd},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};
use weir_ebpf::{CANARY, Flow, FlowKey, MAX_OPEN, MAX_PENDING};

use super::{
    CgroupId, ClientAddr, Datapath, EndpointIndex, FlowFacts, NetnsCookie, OriginalDst, SocketCookie, address,
    binding::Binding,
    maps::{MapsError, found},
};

/// A flow that is entered as open.
#[derive(Debug, Clone)]
pub struct OpenFlow {
    /// What was known of it at its `connect()`.
    pub facts: FlowFacts,
    /// The log's next seq when an agent was about to record its end: from there on that record may be there.
    pub recording_from: Option<u64>,
}

/// The flows between their SYN and the record of their end, at one time.
#[derive(Debug, Clone, Default)]
pub struct FlowsInHand {
    /// Their endpoints, each as often as it has flows.
    pub endpoints: Vec<EndpointIndex>,
}

impl Datapath {
    /// The facts of an accepted connection; it is then this agent that answers for the flow, until [`Self::settle_flow`].
    ///
    /// The facts are there from the moment that the kernel makes the connection, even if the application has closed by then.
    /// None means that the connection was not redirected here by the programs, or is accounted for already: it must be closed.
    /// Takes two system calls; does not block.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn take_flow(&self, connection: &impl AsFd) -> Result<Option<FlowFacts>, MapsError> {
        let arrived = &self.maps.arrived;
        let flow = found(arrived.lock().get(&connection.as_fd().as_raw_fd(), 0)).map_err(arrived.failed())?;
        let Some(flow) = flow else { return Ok(None) };
        if flow.endpoint == CANARY {
            // Nobody's flow: it is in no books.
            return Ok(Some(flow.into()));
        }
        Ok(self.maps.open.get(&flow.key())?.map(FlowFacts::from))
    }

    /// Says that the flow's end is about to be recorded, with a seq of at least `recording_from`. Should the agent die before
    /// [`Self::settle_flow`], the next one looks for that record.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn begin_recording(&self, facts: &FlowFacts, recording_from: u64) -> Result<(), MapsError> {
        let Some(flow) = self.maps.open.get(&facts.key())? else { return Ok(()) };
        self.maps.open.insert(&facts.key(), &Flow { recording_from, ..flow })
    }

    /// Forgets a flow whose end is recorded.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn settle_flow(&self, facts: &FlowFacts) -> Result<(), MapsError> {
        self.maps.open.remove(&facts.key())
    }

    /// Every open flow, accepted or not; none when they changed too fast to be listed.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn open_flows(&self) -> Result<Option<Vec<OpenFlow>>, MapsError> {
        let open = self.maps.open.entries(2 * MAX_OPEN as usize)?;
        // `connect()` tries for room with an entry that no flow has.
        let real = |entries: Vec<(FlowKey, Flow)>| entries.into_iter().filter(|(key, _)| key.boot_ns != 0);
        let read = |(_, flow): (FlowKey, Flow)| OpenFlow {
            recording_from: (flow.recording_from != 0).then_some(flow.recording_from),
            facts: flow.into(),
        };
        Ok(open.map(|entries| real(entries).map(read).collect()))
    }

    /// How many flows are on their way to a listener.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn pending_flows(&self) -> Result<usize, MapsError> {
        Ok(self.pending()?.map_or(0, |pending| pending.len()))
    }

    /// The flows between their SYN and the record of their end; none when they changed too fast to be listed.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn flows_in_hand(&self) -> Result<Option<FlowsInHand>, MapsError> {
        // In this order: one that arrives in between is seen twice, not missed.
        let (Some(pending), Some(open)) = (self.pending()?, self.open_flows()?) else { return Ok(None) };
        let on_their_way = pending.iter().map(|flow| (flow.key(), EndpointIndex(flow.endpoint)));
        let open = open.iter().map(|OpenFlow { facts, .. }| (facts.key(), facts.endpoint));
        let all: std::collections::HashMap<FlowKey, EndpointIndex> = on_their_way.chain(open).collect();
        Ok(Some(FlowsInHand { endpoints: all.into_values().collect() }))
    }

    fn pending(&self) -> Result<Option<Vec<Flow>>, MapsError> {
        let entries = self.maps.pending.entries(2 * MAX_PENDING as usize)?;
        let real = |(_, flow): (_, Flow)| (flow.listener_port != 0).then_some(flow);
        Ok(entries.map(|entries| entries.into_iter().filter_map(real).collect()))
    }
}

impl FlowFacts {
    /// Names the flow for as long as the host is up.
    pub(super) fn key(&self) -> FlowKey {
        let boot_ns = u64::try_from(self.connected_at.as_nanos()).unwrap_or(u64::MAX);
        FlowKey { cookie: self.cookie.0, boot_ns }
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
            holder: _,
            recording_from: _,
            destination,
            source,
            listener_port: _,
            endpoint,
            tgid,
            tid,
            uid,
            gid,
            device,
            mark,
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
            client: ClientAddr(address::from_kernel(source)),
            binding: Binding::new(device, mark, address::from_kernel(source).ip()),
            original_dst: OriginalDst(address::from_kernel(destination)),
            endpoint: EndpointIndex(endpoint),
        }
    }
}
