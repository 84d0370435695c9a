//! Flows that are not an endpoint's: passed through untouched, byte for byte and half-close for half-close.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use rustls::pki_types::ServerName;
use tokio::{io::copy_bidirectional_with_sizes, net::TcpStream, time::Instant};

use super::{
    Shared,
    flow::{FlowContext, reset},
    stream::AppStream,
    unregistered::Watch,
};

/// How a splice ended.
pub(crate) enum Spliced {
    /// Both sides are done, or one broke.
    Ended,
    /// The destination could not be reached.
    Unreachable(io::Error),
}

/// Bytes held in each direction of a splice.
const BUFFER: usize = 16 << 10;

/// A server that has gone without a word is noticed after a few of these: the application's own keep-alive ends here.
const KEEPALIVE: Duration = Duration::from_secs(60);

/// Passes a flow through to its original destination.
pub(crate) async fn run(shared: &Shared, flow: &FlowContext, stream: TcpStream, first: Bytes) -> Spliced {
    match flow.dial(shared.connect_patience()).await {
        Ok(server) => {
            join(shared, flow, AppStream::new(first, stream, Arc::clone(&flow.traffic)), server).await;
            Spliced::Ended
        }
        Err(error) => {
            reset(stream);
            Spliced::Unreachable(error)
        }
    }
}

/// Passes bytes both ways until both sides are done; where one breaks, both are reset. Gives back what the application's
/// side saw, if it was watched, and the application's socket where the watch broke it off.
pub(crate) async fn join(
    shared: &Shared,
    flow: &FlowContext,
    mut app: AppStream,
    mut server: TcpStream,
) -> (Option<TcpStream>, Option<Box<Watch>>) {
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let _ = socket2::SockRef::from(&server).set_tcp_keepalive(&keepalive);
    let broke = tokio::select! {
        ended = copy_bidirectional_with_sizes(&mut app, &mut server, BUFFER, BUFFER) => ended.err(),
        () = shared.drain.expired() => None,
    };
    let (app, watch) = app.into_parts();
    let Some(error) = broke else { return (None, watch) };
    tracing::debug!(%error, flow = %flow.id, "a spliced flow broke");
    reset(server);
    if watch.as_ref().is_some_and(|watch| watch.objection().is_some()) {
        return (Some(app), watch);
    }
    reset(app);
    (None, watch)
}

/// Whether the server at the flow's destination proves to be another one than the registered: it presents, for `host`, a
/// certificate that verifies and that is good for none of the names registered at this address.
///
/// # Errors
/// Why not, in words.
pub(crate) async fn is_another_server(shared: &Shared, flow: &FlowContext, host: &str) -> Result<(), String> {
    let name = ServerName::try_from(host.to_owned()).map_err(|_| format!("{host:?} is not a server name"))?;
    let tcp = flow.dial(shared.connect_patience()).await.map_err(|e| format!("the server could not be asked: {e}"))?;
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
