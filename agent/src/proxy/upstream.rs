//! The way to the server: the original destination is dialled from the application's own namespace, its certificate is
//! verified before anything is promised to the application, and idle connections are reused by the same workload only.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use http::{
    HeaderValue, Uri, Version,
    header::HOST,
    uri::{Authority, Scheme},
};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::{TrySendError, http1, http2},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::ServerName;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpSocket, TcpStream},
    time::{Instant, timeout},
};

use super::{
    body::{Body, BoxError},
    pool::Pool,
    tunnel::Tunnel,
};
use crate::{
    credentials::CredentialError,
    datapath::{Binding, Netns},
    tls::{Upstream, UpstreamTlsError},
};

/// The ALPN name of HTTP/2 (RFC 9113 §3.1).
pub(crate) const H2: &[u8] = b"h2";
/// The ALPN name of HTTP/1.1 (RFC 7301 §6).
pub(crate) const HTTP11: &[u8] = b"http/1.1";

/// Who may share a connection with whom: nobody who differs in any of these.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Affinity {
    /// The namespace's cookie.
    pub(crate) netns: u64,
    /// What the application bound its socket to, which may decide the way.
    pub(crate) binding: Binding,
    /// The workload's id.
    pub(crate) workload: String,
    /// The endpoint's name.
    pub(crate) endpoint: String,
    /// The verified name and ALPN choice; `None` for plain HTTP.
    pub(crate) tls: Option<(String, bool)>,
    /// The address that the application dialled.
    pub(crate) addr: SocketAddr,
    /// How the proxy there was asked for the server, where there is a proxy.
    pub(crate) tunnel: Option<Arc<Tunnel>>,
}

/// How TLS to a server is spoken.
#[derive(Debug)]
pub(crate) struct ServerTls {
    /// The name that the certificate must be good for.
    pub(crate) name: ServerName<'static>,
    /// ALPN protocols to offer, in the application's order; empty when it offered none.
    pub(crate) alpn: Vec<Vec<u8>>,
    /// Verifies this endpoint.
    pub(crate) verifier: Upstream,
}

/// A server as one flow reaches it.
#[derive(Debug)]
pub(crate) struct Server {
    /// Who may share its connections.
    pub(crate) affinity: Affinity,
    /// Where sockets are made.
    pub(crate) netns: Netns,
    /// The original destination first, then the name's other addresses.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Its port, as requests must name it.
    pub(crate) port: u16,
    /// How the proxy at its address is asked for it.
    pub(crate) tunnel: Option<Arc<Tunnel>>,
    /// A connection to its first address that is there already, tunnel included.
    pub(crate) open: OpenConnection,
    /// `None` speaks plain HTTP.
    pub(crate) tls: Option<ServerTls>,
    /// Plain HTTP only: whether the application spoke HTTP/2 with prior knowledge.
    pub(crate) plain_h2: bool,
    /// Bound on each connect and each handshake.
    pub(crate) patience: Duration,
}

/// A connection that waits for its first use.
#[derive(Debug)]
pub(crate) struct OpenConnection(Mutex<Option<TcpStream>>);

impl From<Option<TcpStream>> for OpenConnection {
    fn from(open: Option<TcpStream>) -> Self {
        Self(Mutex::new(open))
    }
}

impl OpenConnection {
    fn take(&self) -> Option<TcpStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Why a server could not be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DialError {
    /// TCP said no.
    #[error("connecting to {0}: {1}")]
    Connect(SocketAddr, #[source] io::Error),
    /// TLS or the certificate failed.
    #[error("TLS with {0}: {1}")]
    Tls(SocketAddr, #[source] UpstreamTlsError),
    /// HTTP's own opening failed.
    #[error("opening HTTP to {0}: {1}")]
    Http(SocketAddr, #[source] hyper::Error),
}

/// A connection that can take one more request.
#[derive(Debug)]
pub(crate) struct Conn {
    sender: Sender,
    /// Its own address, in the application's namespace.
    pub(crate) local: IpAddr,
}

#[derive(Debug)]
enum Sender {
    /// HTTP/1.1: one request at a time.
    H1(http1::SendRequest<Body>),
    /// HTTP/2: shared by streams.
    H2(http2::SendRequest<Body>),
}

impl Conn {
    /// The ALPN protocol that this connection speaks.
    pub(crate) fn alpn(&self) -> &'static [u8] {
        if self.is_shared() { H2 } else { HTTP11 }
    }

    /// Whether requests share it, as in HTTP/2.
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self.sender, Sender::H2(_))
    }

    /// Whether it can take a request now.
    pub(crate) fn is_ready(&self) -> bool {
        match &self.sender {
            Sender::H1(h1) => h1.is_ready(),
            Sender::H2(h2) => h2.is_ready(),
        }
    }

    /// Whether it will never take one again.
    pub(crate) fn is_closed(&self) -> bool {
        match &self.sender {
            Sender::H1(h1) => h1.is_closed(),
            Sender::H2(h2) => h2.is_closed(),
        }
    }

    /// For HTTP/2, another handle to the same connection.
    pub(crate) fn share(&self) -> Option<Self> {
        match &self.sender {
            Sender::H1(_) => None,
            Sender::H2(h2) => Some(Self { sender: Sender::H2(h2.clone()), local: self.local }),
        }
    }

    async fn try_send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        match &mut self.sender {
            Sender::H1(h1) => h1.try_send_request(request).await,
            Sender::H2(h2) => h2.try_send_request(request).await,
        }
    }
}

impl Server {
    /// The name that every connection to it is verified for; none for plain HTTP.
    pub(crate) fn verified_name(&self) -> Option<&str> {
        self.affinity.tls.as_ref().map(|(name, _)| name.as_str())
    }

    /// A connection for the next request: an idle one of the same affinity, or a new one.
    ///
    /// # Errors
    /// [`DialError`], for the last address tried.
    pub(crate) async fn connection(&self, pool: &Pool) -> Result<Conn, DialError> {
        match pool.take(&self.affinity) {
            Some(conn) => Ok(conn),
            None => self.dial().await,
        }
    }

    /// Sends one request, once. A pooled connection that closed before it took the request is replaced by a new one;
    /// a request that may have been seen by the server is never sent again.
    ///
    /// # Errors
    /// What broke, as the application should see it: a broken connection.
    pub(crate) async fn send(
        &self,
        mut request: Request<Body>,
        pool: &Pool,
    ) -> Result<(Response<Incoming>, Conn), SendError> {
        let mut conn = self.connection(pool).await?;
        for _ in 0..2 {
            fit_to_version(&mut request, &conn, if self.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP });
            match conn.try_send(request).await {
                Ok(response) => return Ok((response, conn)),
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(SendError::Broken(failed.into_error())),
                },
            }
            conn = self.dial().await?;
        }
        Err(SendError::Refused)
    }

    /// A new connection to the first address that answers.
    ///
    /// # Errors
    /// [`DialError`], for the last address tried.
    pub(crate) async fn dial(&self) -> Result<Conn, DialError> {
        let mut last = None;
        for &addr in &self.addresses {
            match self.dial_one(addr).await {
                Ok(conn) => return Ok(conn),
                // Another address may be up; a certificate that does not verify is an answer.
                Err(error @ DialError::Connect(..)) => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| DialError::Connect(self.affinity.addr, io::ErrorKind::AddrNotAvailable.into())))
    }

    async fn dial_one(&self, addr: SocketAddr) -> Result<Conn, DialError> {
        let tcp = match self.open.take() {
            Some(open) => open,
            None => self.reach(addr).await.map_err(|e| DialError::Connect(addr, e))?,
        };
        let local = tcp.local_addr().map_err(|e| DialError::Connect(addr, e))?.ip();
        let conn = |sender| Conn { sender, local };
        let Some(tls) = &self.tls else {
            return open(tcp, self.plain_h2).await.map(conn).map_err(|e| DialError::Http(addr, e));
        };
        let deadline = Instant::now() + self.patience;
        let handshake = tls.verifier.connect(tcp, tls.name.clone(), &tls.alpn, deadline);
        let stream = handshake.await.map_err(|e| DialError::Tls(addr, e))?;
        let h2 = stream.get_ref().1.alpn_protocol() == Some(H2);
        open(stream, h2).await.map(conn).map_err(|e| DialError::Http(addr, e))
    }
}

impl Server {
    async fn reach(&self, addr: SocketAddr) -> io::Result<TcpStream> {
        let deadline = Instant::now() + self.patience;
        let mut tcp = connect(&self.netns, &self.affinity.binding, addr, self.patience).await?;
        if let Some(tunnel) = &self.tunnel {
            tunnel.open(&mut tcp, deadline).await?;
        }
        Ok(tcp)
    }
}

/// A TCP connection from `netns`, bound as the application's is.
///
/// # Errors
/// As the kernel says, or [`io::ErrorKind::TimedOut`] after `patience`.
pub(crate) async fn connect(
    netns: &Netns,
    binding: &Binding,
    addr: SocketAddr,
    patience: Duration,
) -> io::Result<TcpStream> {
    let socket = netns.tcp_socket(addr.ip(), binding).map_err(io::Error::other)?;
    let socket = TcpSocket::from_std_stream(socket.into());
    let stream =
        timeout(patience, socket.connect(addr)).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why a request did not get its response.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// No connection.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The connection broke while the request was on its way or the response awaited.
    #[error("the server's connection broke: {0}")]
    Broken(#[source] hyper::Error),
    /// The server closed every connection before it took the request.
    #[error("the server closes its connections before it takes a request")]
    Refused,
    /// Its refusal broke off.
    #[error("the server's refusal broke off: {0}")]
    Refusal(#[source] BoxError),
    /// The endpoint's credentials could not be put on.
    #[error(transparent)]
    Unsigned(CredentialError),
}

/// HTTP/1.1 wants an origin-form target and a Host header, HTTP/2 a whole URI and none (RFC 9113 §8.3.1).
fn fit_to_version(request: &mut Request<Body>, conn: &Conn, scheme: Scheme) {
    match conn.sender {
        Sender::H1(_) => {
            *request.version_mut() = Version::HTTP_11;
            let Some(authority) = request.uri().authority().cloned() else { return };
            if let Ok(host) = HeaderValue::from_str(authority.as_str()) {
                request.headers_mut().entry(HOST).or_insert(host);
            }
            let path = request.uri().path_and_query().cloned();
            *request.uri_mut() = path.map_or_else(Uri::default, Uri::from);
        }
        Sender::H2(_) => {
            *request.version_mut() = Version::HTTP_2;
            let host = request.headers_mut().remove(HOST);
            let mut parts = request.uri().clone().into_parts();
            parts.authority = parts.authority.or_else(|| Authority::try_from(host?.as_bytes()).ok());
            parts.scheme = Some(scheme);
            if let Ok(uri) = Uri::from_parts(parts) {
                *request.uri_mut() = uri;
            }
        }
    }
}

async fn open<T>(io: T, h2: bool) -> Result<Sender, hyper::Error>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    if h2 {
        let (sender, connection) =
            http2::Builder::new(TokioExecutor::new()).timer(TokioTimer::new()).handshake(TokioIo::new(io)).await?;
        tokio::spawn(quietly(connection));
        return Ok(Sender::H2(sender));
    }
    let (sender, connection) = http1::Builder::new().preserve_header_case(true).handshake(TokioIo::new(io)).await?;
    tokio::spawn(quietly(connection));
    Ok(Sender::H1(sender))
}

/// The connection's own end; what it means for a call is reported where the call waits.
async fn quietly(connection: impl Future<Output = hyper::Result<()>>) {
    if let Err(error) = connection.await {
        tracing::debug!(%error, "an upstream connection ended");
    }
}
