//! Flows that are not an endpoint's: passed through untouched, byte for byte and half-close for half-close.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::{io::copy_bidirectional, net::TcpStream, time::Instant};

use super::{Shared, flow::FlowContext, stream::AppStream, upstream::connect};

/// How a splice ended.
pub(crate) enum Spliced {
    /// Both sides are done, or one broke.
    Ended,
    /// The destination could not be reached.
    Unreachable(io::Error),
}

/// Passes a flow through to its original destination.
pub(crate) async fn run(shared: &Shared, flow: &FlowContext, stream: TcpStream, first: Bytes) -> Spliced {
    let mut server = match connect(&flow.netns, flow.dst.0, shared.connect_patience()).await {
        Ok(server) => server,
        Err(error) => {
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            return Spliced::Unreachable(error);
        }
    };
    let mut app = AppStream::new(first, stream, Arc::clone(&flow.traffic));
    tokio::select! {
        ended = copy_bidirectional(&mut app, &mut server) => {
            if let Err(error) = ended {
                tracing::debug!(%error, flow = %flow.id, "a spliced flow broke");
            }
        }
        () = shared.drain.expired() => {}
    }
    Spliced::Ended
}

/// Whether the server at the flow's destination proves to be another one than the registered: it presents, for `host`, a
/// certificate that verifies and that is good for none of the names registered at this address.
///
/// # Errors
/// Why not, in words.
pub(crate) async fn is_another_server(shared: &Shared, flow: &FlowContext, host: &str) -> Result<(), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is not a server name"))?;
    let tcp = connect(&flow.netns, flow.dst.0, shared.connect_patience())
        .await
        .map_err(|e| format!("the server could not be asked: {e}"))?;
    let deadline = Instant::now() + shared.connect_patience();
    let stream = shared
        .system_roots
        .connect(tcp, name, &[], deadline)
        .await
        .map_err(|e| format!("the server does not prove that it is {host}: {e}"))?;
    for registered in shared.names.names_at(flow.netns_cookie, flow.dst.0) {
        if crate::tls::certificate_covers(stream.get_ref().1, &registered) {
            return Err(format!("the server's certificate for it is good for the registered {registered} as well"));
        }
    }
    Ok(())
}
