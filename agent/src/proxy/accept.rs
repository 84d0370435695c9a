//! Listeners: every accepted connection is matched with what the kernel knew of it, and becomes a flow.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};
use tokio_util::sync::CancellationToken;

use super::{Shared, flow};
use crate::datapath::{EndpointIndex, FlowFacts, Netns, NetnsCookie};

/// A listener, and the namespace it is in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The namespace.
    pub(crate) netns: Netns,
    /// Its cookie.
    pub(crate) cookie: NetnsCookie,
    /// Closes it.
    pub(crate) end: CancellationToken,
    /// The namespace's place among `limits.namespaces`.
    pub(crate) _permit: Arc<OwnedSemaphorePermit>,
}

/// Accepts until the place ends or the drain begins.
pub(crate) async fn run(shared: Arc<Shared>, place: Place, listener: Arc<TcpListener>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = place.end.cancelled() => return,
            () = shared.drain.started() => return,
        };
        match accepted {
            Ok((stream, peer)) => admit(&shared, &place, stream, peer).await,
            // Somebody in the namespace with the capability to do so has shut the listener down. It is opened again when
            // it is missed.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                tracing::error!(%error, netns = place.cookie.0, "a listener was shut down");
                place.end.cancel();
                return;
            }
            Err(error) => {
                // Out of descriptors or memory: waiting is all that helps, and refusing is what closed means.
                tracing::error!(%error, "accepting a connection failed");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// Makes a flow of a connection. Waits only when many are refused at once, for the log to take their records.
async fn admit(shared: &Arc<Shared>, place: &Place, stream: TcpStream, peer: SocketAddr) {
    let Some(facts) = facts_of(shared, &stream) else {
        shared.counters.unattributed();
        tracing::warn!(%peer, "a connection to the listener has no original destination and is closed");
        return;
    };
    if facts.endpoint == EndpointIndex::CANARY {
        // Hanging up is the answer.
        shared.counters.canary();
        return;
    }
    let id = shared.ledger.flow_id(&facts);
    if !shared.ledger.claim(id) {
        tracing::warn!(%peer, "a connection was given up before it was accepted, and is closed");
        return;
    }
    let permit = Arc::clone(&shared.places).try_acquire_owned();
    let (task, netns) = (Arc::clone(shared), place.netns.clone());
    let Ok(permit) = permit else {
        drop(stream);
        refuse(task, facts, place).await;
        return;
    };
    shared.tasks.spawn(async move {
        let shared = task;
        let workload = shared.workloads.resolve(&facts);
        let Some(_share) = shared.ledger.share_of(&workload) else {
            drop((stream, permit));
            shared.counters.over_limit();
            tracing::warn!(%peer, workload = workload.id, "a connection is refused: its workload has half of limits.flows");
            shared.refuse_flow(&facts, workload, "as many flows of its workload are open as its share allows").await;
            return;
        };
        // With its share taken: whoever tells names may be slow.
        let workload = shared.workloads.name(workload).await;
        let context = Arc::new(flow::FlowContext::new(id, facts, workload, netns));
        flow::run(shared, context, stream).await;
        drop(permit);
    });
}

/// Records a flow for which there is no place. A flood of them waits here for the log, and then in the listener's queue.
async fn refuse(shared: Arc<Shared>, facts: FlowFacts, place: &Place) {
    shared.counters.over_limit();
    tracing::warn!(peer = %facts.client.0, "a connection is refused: as many flows are open as limits.flows allows");
    let turn = Arc::clone(&shared.refusals).acquire_owned();
    let turn = tokio::select! {
        turn = turn => turn,
        // Whoever comes next accounts for it.
        () = place.end.cancelled() => return,
        () = shared.drain.started() => return,
    };
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let _turn = turn;
        let workload = shared.workloads.resolve(&facts);
        shared.refuse_flow(&facts, workload, "as many flows are open as limits.flows allows").await;
    });
}

fn facts_of(shared: &Shared, stream: &TcpStream) -> Option<FlowFacts> {
    match shared.datapath.take_flow(stream) {
        Ok(facts) => facts,
        Err(error) => {
            tracing::error!(%error, "a flow's facts could not be read");
            None
        }
    }
}

/// A listener of the standard library, ready for this runtime.
///
/// # Errors
/// When the runtime does not take it.
pub(crate) fn adopt(listener: std::net::TcpListener) -> io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}
