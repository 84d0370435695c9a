//! One flow, from `accept` to its last byte: sniff, decide, verify the server, and only then promise the application
//! anything.

use std::{
    io,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use jiff::Timestamp;
use rustls::{AlertDescription, pki_types::ServerName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::LazyConfigAcceptor;
use uuid::Uuid;

use super::{
    Shared,
    http::Connection,
    splice,
    stream::{AppStream, Traffic},
    upstream::{Affinity, DialError, H2, HTTP11, Server, ServerTls},
};
use crate::{
    audit::event::{self, FlowEnd, Route, What},
    config::Registered,
    datapath::{FlowFacts, Netns, NetnsCookie, OriginalDst},
    identity::Workload,
    tls::{ClientHello, Sniff, fatal_alert},
};

/// What stays true of a flow while it lives.
#[derive(Debug)]
pub(crate) struct FlowContext {
    /// Names the flow in every record.
    pub(crate) id: Uuid,
    /// Who opened it.
    pub(crate) workload: Workload,
    /// Where the application's socket is.
    pub(crate) src: SocketAddr,
    /// Where it meant to go.
    pub(crate) dst: OriginalDst,
    /// The namespace it lives in.
    pub(crate) netns: Netns,
    /// That namespace's cookie.
    pub(crate) netns_cookie: NetnsCookie,
    /// Its bytes.
    pub(crate) traffic: Arc<Traffic>,
    opened: Instant,
}

/// How a flow ended.
#[derive(Debug)]
struct Ending {
    end: FlowEnd,
    reason: Option<String>,
    protocol: &'static str,
    endpoint: Option<String>,
    hostname: Option<String>,
}

/// What the first bytes are.
enum Opening {
    Tls(ClientHello),
    /// Plain HTTP; whether it is HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http {
        h2: bool,
    },
    /// Anything else, in words.
    Other(&'static str),
}

/// RFC 9113 §3.4.
const H2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Methods that open a plain-HTTP flow; a longest one is seven bytes and a space.
const METHODS: [&[u8]; 9] =
    [b"GET ", b"POST ", b"DELETE ", b"HEAD ", b"OPTIONS ", b"PUT ", b"PATCH ", b"CONNECT ", b"TRACE "];

impl FlowContext {
    /// A flow that was just accepted.
    pub(crate) fn new(facts: &FlowFacts, workload: Workload, src: SocketAddr, netns: Netns) -> Self {
        Self {
            id: Uuid::now_v7(),
            workload,
            src,
            dst: facts.original_dst,
            netns,
            netns_cookie: facts.netns,
            traffic: Arc::default(),
            opened: Instant::now(),
        }
    }

    /// The flow's addresses, as records state them.
    pub(crate) fn route(&self, hostname: Option<String>) -> Route {
        Route { src: self.src, dst: self.dst.0, hostname, flow_id: self.id }
    }
}

/// Runs one flow and records its end.
pub(crate) async fn run(shared: Arc<Shared>, flow: Arc<FlowContext>, stream: TcpStream) {
    let ending = serve(&shared, &flow, stream).await;
    let record = event::Flow {
        workload: flow.workload.clone(),
        route: flow.route(ending.hostname),
        endpoint: ending.endpoint,
        end: ending.end,
        reason: ending.reason,
        duration: flow.opened.elapsed(),
        bytes_out: flow.traffic.bytes_out(),
        bytes_in: flow.traffic.bytes_in(),
        protocol: ending.protocol,
    };
    let event = event::Event { time: Timestamp::now(), what: What::Flow(Box::new(record)) };
    if let Err(error) = shared.log.append(event).await {
        tracing::error!(%error, flow = %flow.id, "the end of a flow could not be recorded");
    }
}

async fn serve(shared: &Arc<Shared>, flow: &Arc<FlowContext>, mut stream: TcpStream) -> Ending {
    let _ = stream.set_nodelay(true);
    let mut first = BytesMut::with_capacity(4096);
    let patience = Duration::from_millis(shared.config.limits.sniff_timeout_ms);
    let opening = match timeout(patience, sniff(&mut stream, &mut first)).await {
        Ok(Ok(opening)) => opening,
        Ok(Err(error)) => return Ending::refused("opaque", format!("the application's stream broke: {error}")),
        Err(_) => Opening::Other("the application said nothing that opens TLS or HTTP in time"),
    };
    let first = first.freeze();
    match opening {
        Opening::Tls(hello) => serve_tls(shared, flow, stream, first, hello).await,
        Opening::Http { h2 } => serve_plain(shared, flow, stream, first, h2).await,
        Opening::Other(what) => {
            reset(stream);
            Ending::refused("opaque", format!("{what}, and {} belongs to a registered endpoint", flow.dst))
        }
    }
}

/// Reads until the first bytes tell what they are.
async fn sniff(stream: &mut TcpStream, first: &mut BytesMut) -> io::Result<Opening> {
    loop {
        if stream.read_buf(first).await? == 0 {
            return Ok(Opening::Other("the application closed before it said anything that opens TLS or HTTP"));
        }
        match ClientHello::sniff(first) {
            Sniff::Hello(hello) => return Ok(Opening::Tls(hello)),
            Sniff::Invalid(_) => return Ok(Opening::Other("the ClientHello is not valid TLS")),
            Sniff::Incomplete => {}
            Sniff::NotTls => match sniff_http(first) {
                Some(opening) => return Ok(opening),
                None => continue,
            },
        }
    }
}

fn sniff_http(first: &[u8]) -> Option<Opening> {
    if first.starts_with(H2_PREFACE) {
        return Some(Opening::Http { h2: true });
    }
    if METHODS.iter().any(|method| first.starts_with(method)) {
        return Some(Opening::Http { h2: false });
    }
    let undecided = H2_PREFACE.starts_with(first) || METHODS.iter().any(|method| method.starts_with(first));
    (!undecided).then_some(Opening::Other("the application speaks neither TLS nor HTTP"))
}

async fn serve_plain(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    stream: TcpStream,
    first: Bytes,
    h2: bool,
) -> Ending {
    let Some(endpoint) = shared.names.endpoint_at(flow.netns_cookie, flow.dst.0) else {
        if shared.names.is_registered(flow.netns_cookie, flow.dst.0) {
            reset(stream);
            return Ending::refused("http", format!("plain HTTP, and {} belongs to several endpoints", flow.dst));
        }
        return splice::run(shared, flow, stream, first).await.into_ending("http", None);
    };
    let server = Arc::new(Server {
        affinity: affinity(flow, &endpoint, None),
        netns: flow.netns.clone(),
        addresses: vec![flow.dst.0],
        tls: None,
        plain_h2: h2,
        patience: shared.connect_patience(),
    });
    // The application's connect() has succeeded already; a server that does not answer must look like one.
    match server.connection(&shared.pool).await {
        Ok(conn) => shared.pool.put(&server.affinity, conn),
        Err(error) => {
            reset(stream);
            return Ending::from_dial(&error, "http", &endpoint, None);
        }
    }
    let stream = AppStream::new(first, stream, Arc::clone(&flow.traffic));
    let connection = Connection::new(Arc::clone(shared), Arc::clone(flow), Arc::clone(&endpoint), None, server);
    let reason = connection.serve(stream, h2).await;
    Ending {
        end: FlowEnd::Closed,
        reason,
        protocol: "http",
        endpoint: Some(endpoint.name().to_owned()),
        hostname: None,
    }
}

async fn serve_tls(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    mut stream: TcpStream,
    first: Bytes,
    hello: ClientHello,
) -> Ending {
    let Some(host) = hello.sni.clone().or_else(|| shared.names.only_host_at(flow.netns_cookie, flow.dst.0)) else {
        alert(&mut stream, AlertDescription::UnrecognisedName).await;
        return Ending::refused("tls", format!("no server name, and {} has several registered names", flow.dst));
    };
    let Some(endpoint) = shared.names.endpoint_for(&host, flow.dst.0.port()) else {
        return serve_foreign_name(shared, flow, stream, first, &host, hello.ech).await;
    };
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
        affinity: affinity(flow, &endpoint, Some((host.clone(), wants_h2))),
        netns: flow.netns.clone(),
        addresses: shared.names.candidates(flow.netns_cookie, Some(&host), flow.dst.0),
        tls: Some(ServerTls { name: name.clone(), alpn: offered, verifier: shared.verifier_of(&endpoint) }),
        plain_h2: false,
        patience: shared.connect_patience(),
    });

    // The server is verified before a certificate is minted: its failure is the application's failure, of the same kind.
    let alpn = match server.connection(&shared.pool).await {
        Ok(conn) => {
            let alpn = (!hello.alpn.is_empty()).then(|| conn.alpn());
            shared.pool.put(&server.affinity, conn);
            alpn
        }
        Err(error) => {
            match &error {
                DialError::Tls(_, tls) => alert(&mut stream, tls.client_alert()).await,
                DialError::Connect(..) | DialError::Http(..) => reset(stream),
            }
            return Ending::from_dial(&error, "tls", &endpoint, Some(host));
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
        Connection::new(Arc::clone(shared), Arc::clone(flow), Arc::clone(&endpoint), Some(host.clone()), server);
    let reason = connection.serve(tls, h2).await;
    ended(FlowEnd::Closed, reason)
}

/// A name that is not registered, at an address that is. A shared address is common; a lie is possible: a server that
/// answers under any name would let a workload talk to it uninspected. So the server must prove, with a certificate
/// for that name and for no registered one, that the name is another's; otherwise the flow is refused.
async fn serve_foreign_name(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    mut stream: TcpStream,
    first: Bytes,
    host: &str,
    ech: bool,
) -> Ending {
    let proven = if shared.names.denies_other_names(flow.netns_cookie, flow.dst.0) {
        Err("its endpoint takes no other names (other_names = \"deny\")".to_owned())
    } else if ech {
        // The name that counts may be another one, the registered one for example.
        Err("the hello may hide another name (Encrypted Client Hello)".to_owned())
    } else {
        splice::is_another_server(shared, flow, host).await
    };
    match proven {
        Ok(()) => splice::run(shared, flow, stream, first).await.into_ending("tls", Some(host.to_owned())),
        Err(why) => {
            alert(&mut stream, AlertDescription::UnrecognisedName).await;
            let reason = format!("{host} is not registered, {} is, and {why}", flow.dst);
            Ending { hostname: Some(host.to_owned()), ..Ending::refused("tls", reason) }
        }
    }
}

fn affinity(flow: &FlowContext, endpoint: &Registered, tls: Option<(String, bool)>) -> Affinity {
    Affinity {
        netns: flow.netns_cookie.0,
        workload: flow.workload.id.clone(),
        endpoint: endpoint.name().to_owned(),
        tls,
        addr: flow.dst.0,
    }
}

impl Ending {
    fn refused(protocol: &'static str, reason: String) -> Self {
        Self { end: FlowEnd::Refused, reason: Some(reason), protocol, endpoint: None, hostname: None }
    }

    fn from_dial(error: &DialError, protocol: &'static str, endpoint: &Registered, hostname: Option<String>) -> Self {
        let end = match error {
            DialError::Connect(..) | DialError::Http(..) => FlowEnd::UpstreamUnreachable,
            DialError::Tls(..) => FlowEnd::UpstreamTls,
        };
        let reason = Some(error.to_string());
        Self { end, reason, protocol, endpoint: Some(endpoint.name().to_owned()), hostname }
    }
}

impl splice::Spliced {
    fn into_ending(self, protocol: &'static str, hostname: Option<String>) -> Ending {
        match self {
            Self::Ended => Ending { end: FlowEnd::Spliced, reason: None, protocol, endpoint: None, hostname },
            Self::Unreachable(error) => Ending {
                end: FlowEnd::UpstreamUnreachable,
                reason: Some(error.to_string()),
                protocol,
                endpoint: None,
                hostname,
            },
        }
    }
}

/// Ends a flow the way an absent server would: with a reset instead of an orderly close.
fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// Ends a flow with a TLS alert, before any handshake.
async fn alert(stream: &mut TcpStream, description: AlertDescription) {
    let _ = timeout(Duration::from_secs(1), async {
        stream.write_all(&fatal_alert(description)).await?;
        stream.shutdown().await?;
        // Closing with unread bytes would turn the alert into a reset before the application reads it.
        let mut rest = [0_u8; 1024];
        while stream.read(&mut rest).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}
