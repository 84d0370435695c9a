//! Listeners: every accepted connection is matched with what the kernel knew of it, and becomes a flow.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    net::{TcpListener, TcpStream},
    sync::OwnedSemaphorePermit,
};
use tokio_util::sync::CancellationToken;

use super::{Shared, flow};
use crate::datapath::{ClientAddr, EndpointIndex, FlowFacts, Netns, NetnsCookie};

/// A listener, and the namespace it is in.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    /// The namespace.
    pub(crate) netns: Netns,
    /// Its cookie.
    pub(crate) cookie: NetnsCookie,
    /// The listener's port.
    pub(crate) port: u16,
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
            Ok((stream, peer)) => admit(&shared, &place, stream, peer),
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

fn admit(shared: &Arc<Shared>, place: &Place, stream: TcpStream, peer: SocketAddr) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // The facts are in the kernel before the SYN, so they are there now; they are taken even of a flow that is refused.
    let Some(facts) = facts_of(shared, place, peer) else {
        shared.counters.unattributed();
        tracing::warn!(%peer, "a connection to the listener has no original destination and is closed");
        return;
    };
    if facts.endpoint == EndpointIndex::CANARY {
        // Hanging up is the answer.
        shared.counters.canary();
        return;
    }
    let Ok(permit) = Arc::clone(&shared.places).try_acquire_owned() else {
        shared.counters.over_limit();
        tracing::warn!(%peer, "a connection is refused: as many flows are open as limits.flows allows");
        return;
    };
    let (shared, netns) = (Arc::clone(shared), place.netns.clone());
    let tasks = shared.tasks.clone();
    tasks.spawn(async move {
        let _permit = permit;
        let workload = shared.workloads.resolve(&facts);
        let context = Arc::new(flow::FlowContext::new(&facts, workload, peer, netns));
        flow::run(shared, context, stream).await;
    });
}

fn facts_of(shared: &Shared, place: &Place, peer: SocketAddr) -> Option<FlowFacts> {
    match shared.datapath.take_flow(place.cookie, ClientAddr(peer), place.port) {
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
