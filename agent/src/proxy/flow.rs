//! One flow, from `accept` to its last byte: sniff, decide, verify the server, and only then promise the application
//! anything.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, OnceLock},
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use rustls::AlertDescription;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use uuid::Uuid;

use super::{
    Shared,
    intercept::{self, Named, Plain},
    metadata,
    opening::Opening,
    splice,
    stream::Traffic,
    unregistered,
    upstream::{DialError, connect},
    way::Way,
};
use crate::{
    audit::event::{self, FlowEnd, Route, Shadow},
    config::Registered,
    datapath::{Binding, EndpointIndex, FlowFacts, Netns, NetnsCookie, OriginalDst},
    identity::Workload,
    policy::Principal,
    tls::{ClientHello, fatal_alert},
};

/// What stays true of a flow while it lives.
#[derive(Debug)]
pub(crate) struct FlowContext {
    /// Names the flow in every record.
    pub(crate) id: Uuid,
    /// Who opened it.
    pub(crate) workload: Workload,
    /// The same for policies, once one is asked.
    principal: OnceLock<Principal>,
    /// The application's socket, as the listener sees it: at a loopback address.
    src: SocketAddr,
    /// From where its bytes leave the namespace, once a server is connected.
    leaves_from: OnceLock<IpAddr>,
    /// Where it meant to go.
    pub(crate) dst: OriginalDst,
    /// The namespace it lives in.
    pub(crate) netns: Netns,
    /// That namespace's cookie.
    pub(crate) netns_cookie: NetnsCookie,
    /// What the kernel knew of it.
    facts: FlowFacts,
    /// Its bytes.
    pub(crate) traffic: Arc<Traffic>,
    /// Whether that is a registered destination.
    is_registered: bool,
    opened: Instant,
}

/// How a flow ended.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) end: FlowEnd,
    pub(super) reason: Option<String>,
    pub(super) protocol: &'static str,
    pub(super) endpoint: Option<String>,
    pub(super) hostname: Option<String>,
    pub(super) shadow: Option<Shadow>,
}

impl FlowContext {
    /// A flow that was just accepted.
    pub(crate) fn new(id: Uuid, facts: FlowFacts, workload: Workload, netns: Netns) -> Self {
        Self {
            id,
            workload,
            principal: OnceLock::new(),
            src: facts.client.0,
            leaves_from: OnceLock::new(),
            dst: facts.original_dst,
            netns,
            netns_cookie: facts.netns,
            is_registered: facts.endpoint != EndpointIndex::UNREGISTERED,
            facts,
            traffic: Arc::default(),
            opened: Instant::now(),
        }
    }

    /// Who opened it, as policies see it.
    pub(crate) fn principal(&self) -> &Principal {
        self.principal.get_or_init(|| Principal::from(&self.workload))
    }

    /// What the application bound its socket to: the agent's connections are bound likewise.
    pub(crate) fn binding(&self) -> Binding {
        self.facts.binding
    }

    /// A connection to the flow's destination, or the proxy there, as the application would have made it.
    ///
    /// # Errors
    /// As [`connect`].
    pub(super) async fn dial(&self, patience: Duration) -> io::Result<TcpStream> {
        let server = connect(&self.netns, &self.binding(), self.dst.0, patience).await?;
        self.left_from(server.local_addr()?.ip());
        Ok(server)
    }

    /// Its bytes leave from this address, which a socket that was not redirected would have had.
    pub(super) fn left_from(&self, address: IpAddr) {
        // The first counts: the flow's records name one.
        let _ = self.leaves_from.set(address);
    }

    /// The flow's addresses, as records state them.
    pub(crate) fn route(&self, hostname: Option<String>) -> Route {
        let ip = self.leaves_from.get().copied().unwrap_or(self.src.ip());
        Route { src: SocketAddr::new(ip, self.src.port()), dst: self.dst.0, hostname, flow_id: self.id }
    }
}

/// Runs one flow and records its end.
pub(crate) async fn run(shared: Arc<Shared>, flow: Arc<FlowContext>, stream: TcpStream) {
    let ending = serve(&shared, &flow, stream).await;
    let record = event::Flow {
        workload: flow.workload.clone(),
        route: flow.route(ending.hostname),
        endpoint: ending.endpoint,
        tally: None,
        end: ending.end,
        reason: ending.reason,
        duration: flow.opened.elapsed(),
        bytes_out: flow.traffic.bytes_out(),
        bytes_in: flow.traffic.bytes_in(),
        protocol: ending.protocol,
        shadow: ending.shadow,
    };
    shared.close_flow(&flow.facts, record).await;
}

async fn serve(shared: &Arc<Shared>, flow: &Arc<FlowContext>, stream: TcpStream) -> Ending {
    let _ = stream.set_nodelay(true);
    let stream = match metadata::serve(shared, flow, stream).await {
        Ok(ending) => return ending,
        Err(stream) => stream,
    };
    if flow.is_registered {
        serve_registered(shared, flow, stream).await
    } else {
        unregistered::serve(shared, flow, stream).await
    }
}

/// A flow to an address that belongs to an endpoint.
async fn serve_registered(shared: &Arc<Shared>, flow: &Arc<FlowContext>, mut stream: TcpStream) -> Ending {
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
        if let Some(opening) = Opening::read(first) {
            return Ok(opening);
        }
    }
}

async fn serve_plain(
    shared: &Arc<Shared>,
    flow: &Arc<FlowContext>,
    stream: TcpStream,
    first: Bytes,
    h2: bool,
) -> Ending {
    let Some(endpoint) = shared.names.endpoint_at(flow.netns_cookie, flow.dst.0) else {
        // None is known there any more, or it is not known which: the kernel holds it for an endpoint's.
        reset(stream);
        return Ending::refused("http", format!("plain HTTP, and {} belongs to no one endpoint", flow.dst));
    };
    let way = Way::straight(flow.dst);
    intercept::plain(shared, flow, stream, first, &endpoint, Plain { h2, way, host: None }).await
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
    let way = Way::straight(flow.dst);
    intercept::tls(shared, flow, stream, first, &endpoint, Named { hello, host, way }).await
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

impl Ending {
    pub(super) fn refused(protocol: &'static str, reason: String) -> Self {
        Self { end: FlowEnd::Refused, reason: Some(reason), protocol, endpoint: None, hostname: None, shadow: None }
    }

    pub(super) fn from_dial(
        error: &DialError,
        protocol: &'static str,
        endpoint: &Registered,
        hostname: Option<String>,
    ) -> Self {
        let end = match error {
            DialError::Connect(..) | DialError::Http(..) => FlowEnd::UpstreamUnreachable,
            DialError::Tls(..) => FlowEnd::UpstreamTls,
        };
        let reason = Some(error.to_string());
        Self { end, reason, protocol, endpoint: Some(endpoint.name().to_owned()), hostname, shadow: None }
    }
}

impl splice::Spliced {
    pub(super) fn into_ending(self, protocol: &'static str, hostname: Option<String>) -> Ending {
        match self {
            Self::Ended => {
                Ending { end: FlowEnd::Spliced, reason: None, protocol, endpoint: None, hostname, shadow: None }
            }
            Self::Unreachable(error) => Ending {
                end: FlowEnd::UpstreamUnreachable,
                reason: Some(error.to_string()),
                protocol,
                endpoint: None,
                hostname,
                shadow: None,
            },
        }
    }
}

/// Ends a flow the way an absent server would: with a reset instead of an orderly close.
pub(super) fn reset(stream: TcpStream) {
    let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
    drop(stream);
}

/// Ends a flow with a TLS alert, before any handshake.
pub(super) async fn alert(stream: &mut TcpStream, description: AlertDescription) {
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
