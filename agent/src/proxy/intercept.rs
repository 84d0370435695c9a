//! A flow that is an endpoint's: the server is reached and verified, and only then is anything promised to the application.

use std::sync::Arc;

use bytes::Bytes;
use rustls::{AlertDescription, pki_types::ServerName};
use tokio::{net::TcpStream, time::timeout};
use tokio_rustls::LazyConfigAcceptor;

use super::{
    Shared,
    flow::{Ending, FlowContext, alert, reset},
    http::Connection,
    stream::AppStream,
    upstream::{Affinity, DialError, H2, HTTP11, Server, ServerTls},
    way::Way,
};
use crate::{audit::event::FlowEnd, config::Registered, tls::ClientHello};

/// What a TLS flow to an endpoint asks for.
pub(super) struct Named {
    /// Its hello.
    pub(super) hello: ClientHello,
    /// The endpoint's host.
    pub(super) host: String,
    /// The way there.
    pub(super) way: Way,
}

/// What a plain-HTTP flow to an endpoint asks for.
pub(super) struct Plain {
    /// Whether it is HTTP/2 with prior knowledge.
    pub(super) h2: bool,
    /// The host, where it decided whose the flow is.
    pub(super) host: Option<String>,
    /// The way there.
    pub(super) way: Way,
}

/// Serves a plain-HTTP flow.
pub(super) async fn plain(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    stream: TcpStream,
    first: Bytes,
    endpoint: &Arc<Registered>,
    Plain { h2, host, way }: Plain,
) -> Ending {
    let server = Arc::new(Server {
        affinity: affinity(flow, endpoint, None, &way),
        netns: flow.netns.clone(),
        addresses: vec![way.addr],
        port: way.port,
        tunnel: way.tunnel,
        open: way.open.into(),
        tls: None,
        plain_h2: h2,
        patience: shared.connect_patience(),
    });
    // The application's connect() has succeeded already; a server that does not answer must look like one.
    match server.connection(&shared.pool).await {
        Ok(conn) => {
            flow.left_from(conn.local);
            shared.pool.put(&server.affinity, conn);
        }
        Err(error) => {
            reset(stream);
            return Ending::from_dial(&error, "http", endpoint, host);
        }
    }
    let stream = AppStream::new(first, stream, Arc::clone(&flow.traffic));
    let connection = Connection::new(Arc::clone(shared), Arc::clone(flow), Arc::clone(endpoint), None, server);
    let reason = connection.serve(stream, h2).await;
    Ending {
        end: FlowEnd::Closed,
        reason,
        protocol: "http",
        endpoint: Some(endpoint.name().to_owned()),
        hostname: host,
        shadow: None,
    }
}

/// Serves a TLS flow.
pub(super) async fn tls(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    mut stream: TcpStream,
    first: Bytes,
    endpoint: &Arc<Registered>,
    Named { hello, host, way }: Named,
) -> Ending {
    let Ok(name) = ServerName::try_from(host.clone()) else {
        alert(&mut stream, AlertDescription::UnrecognisedName).await;
        return Ending::refused("tls", format!("{host:?} is not a server name"));
    };
    let offered: Vec<Vec<u8>> = hello.alpn.iter().filter(|p| [H2, HTTP11].contains(&p.as_slice())).cloned().collect();
    if offered.is_empty() && !hello.alpn.is_empty() {
        alert(&mut stream, AlertDescription::NoApplicationProtocol).await;
        return Ending::refused("tls", "the application offers no HTTP in ALPN".into());
    }
    let wants_h2 = offered.iter().any(|protocol| protocol == H2);
    let server = Arc::new(Server {
        affinity: affinity(flow, endpoint, Some((host.clone(), wants_h2)), &way),
        netns: flow.netns.clone(),
        addresses: way.candidates(&shared.names, flow.netns_cookie, &host),
        port: way.port,
        tunnel: way.tunnel,
        open: way.open.into(),
        tls: Some(ServerTls { name: name.clone(), alpn: offered, verifier: shared.verifier_of(endpoint) }),
        plain_h2: false,
        patience: shared.connect_patience(),
    });

    // The server is verified before a certificate is minted: its failure is the application's failure, of the same kind.
    let alpn = match server.connection(&shared.pool).await {
        Ok(conn) => {
            flow.left_from(conn.local);
            let alpn = (!hello.alpn.is_empty()).then(|| conn.alpn());
            shared.pool.put(&server.affinity, conn);
            alpn
        }
        Err(error) => {
            match &error {
                DialError::Tls(_, tls) => alert(&mut stream, tls.client_alert()).await,
                DialError::Connect(..) | DialError::Http(..) => reset(stream),
            }
            return Ending::from_dial(&error, "tls", endpoint, Some(host));
        }
    };
    let config = match shared.minter.server_config(&name, alpn) {
        Ok(config) => config,
        Err(error) => {
            alert(&mut stream, AlertDescription::InternalError).await;
            return Ending { endpoint: Some(endpoint.name().to_owned()), ..Ending::refused("tls", error.to_string()) };
        }
    };
    let ended = |end, reason| Ending {
        end,
        reason,
        protocol: "tls",
        endpoint: Some(endpoint.name().to_owned()),
        hostname: Some(host.clone()),
        shadow: None,
    };
    let stream = AppStream::new(first, stream, Arc::clone(&flow.traffic));
    let handshake = async {
        let start = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), stream).await?;
        start.into_stream(config).await
    };
    let patience = shared.connect_patience();
    let tls = match timeout(patience, handshake).await {
        Ok(Ok(tls)) => tls,
        Ok(Err(error)) => return ended(FlowEnd::ClientTls, Some(format!("the application ended TLS: {error}"))),
        Err(_) => return ended(FlowEnd::ClientTls, Some("the application did not complete TLS in time".into())),
    };
    let h2 = tls.get_ref().1.alpn_protocol() == Some(H2);
    let connection =
        Connection::new(Arc::clone(shared), Arc::clone(flow), Arc::clone(endpoint), Some(host.clone()), server);
    let reason = connection.serve(tls, h2).await;
    ended(FlowEnd::Closed, reason)
}

fn affinity(flow: &FlowContext, endpoint: &Registered, tls: Option<(String, bool)>, way: &Way) -> Affinity {
    Affinity {
        netns: flow.netns_cookie.0,
        binding: flow.binding(),
        workload: flow.workload.id.clone(),
        endpoint: endpoint.name().to_owned(),
        tls,
        addr: way.addr,
        tunnel: way.tunnel.clone(),
    }
}
