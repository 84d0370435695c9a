//! A server that plays a script.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustls::{
    ConfigBuilder, ServerConfig, ServerConnection, StreamOwned,
    crypto::aws_lc_rs::default_provider,
    server::{ResolvesServerCertUsingSni, WantsServerCert},
    sign::CertifiedKey,
};
use socket2::SockRef;
use weir_certs::pki;

use super::{
    PATIENCE, Wire,
    http1::{self, Http1},
};

/// What becomes of a connection after an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Then {
    /// The next request.
    KeepAlive,
    /// An orderly end.
    Close,
    /// A reset, as a process that died leaves it.
    Die,
}

/// Answers one request on the wire itself: it owes nobody valid HTTP.
pub type Answer = Arc<dyn Fn(&Http1, &mut dyn Wire) -> io::Result<Then> + Send + Sync>;

/// Plays the whole of a connection before any protocol.
pub type Opening = Arc<dyn Fn(&mut TcpStream) -> io::Result<()> + Send + Sync>;

/// How a connection begins.
#[derive(Clone)]
pub enum Speaks {
    /// HTTP at once.
    Plain,
    /// TLS 1.2 or 1.3 first.
    Tls(Arc<ServerConfig>),
    /// What the test wants; HTTP never.
    Raw(Opening),
}

/// A running server; ends with this value.
pub struct RawServer {
    addr: SocketAddr,
    stage: Arc<Stage>,
    accepting: Option<JoinHandle<()>>,
}

struct Stage {
    speaks: Speaks,
    answer: Mutex<Answer>,
    seen: Mutex<Vec<Http1>>,
    /// One entry a connection: whether it got as far as HTTP.
    connections: Mutex<Vec<bool>>,
    stopping: AtomicBool,
}

impl RawServer {
    /// Listens on an address and answers every request with [`ok`].
    ///
    /// # Panics
    /// When the address cannot be taken.
    #[must_use]
    pub fn start(ip: IpAddr, port: u16, speaks: Speaks) -> Self {
        let listener = TcpListener::bind((ip, port)).unwrap_or_else(|error| panic!("listen on {ip}:{port}: {error}"));
        let addr = listener.local_addr().expect("a listener has an address");
        let stage = Arc::new(Stage {
            speaks,
            answer: Mutex::new(ok()),
            seen: Mutex::default(),
            connections: Mutex::default(),
            stopping: AtomicBool::new(false),
        });
        listener.set_nonblocking(true).expect("make a listener non-blocking");
        let theirs = Arc::clone(&stage);
        let accepting = thread::spawn(move || accept(&listener, &theirs));
        Self { addr, stage, accepting: Some(accepting) }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// From now on, requests are answered so.
    pub fn answers(&self, answer: Answer) {
        *lock(&self.stage.answer) = answer;
    }

    /// The requests that came in so far.
    #[must_use]
    pub fn seen(&self) -> Vec<Http1> {
        lock(&self.stage.seen).clone()
    }

    /// How many connections were accepted so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        lock(&self.stage.connections).len()
    }

    /// How many of them spoke HTTP.
    #[must_use]
    pub fn spoken_to(&self) -> usize {
        lock(&self.stage.connections).iter().filter(|spoke| **spoke).count()
    }
}

impl Drop for RawServer {
    fn drop(&mut self) {
        self.stage.stopping.store(true, Ordering::Release);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

/// TLS with a certificate, and these protocols in ALPN.
///
/// # Panics
/// When the certificate and its key do not go together.
#[must_use]
pub fn tls(server: &pki::Server, alpn: &[&str]) -> Speaks {
    let config = tls_config().with_single_cert(server.chain(), server.key()).expect("a certificate and its key");
    speaks(config, alpn)
}

/// TLS with a certificate for each name that a client may ask for.
///
/// # Panics
/// When a certificate is not for its name.
#[must_use]
pub fn tls_by_name(servers: &[(&str, &pki::Server)], alpn: &[&str]) -> Speaks {
    let mut by_name = ResolvesServerCertUsingSni::new();
    for (name, server) in servers {
        let certified = CertifiedKey::from_der(server.chain(), server.key(), &default_provider());
        by_name.add(name, certified.expect("a certificate and its key")).expect("a certificate for this name");
    }
    speaks(tls_config().with_cert_resolver(Arc::new(by_name)), alpn)
}

fn tls_config() -> ConfigBuilder<ServerConfig, WantsServerCert> {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider has TLS 1.2 and 1.3")
        .with_no_client_auth()
}

fn speaks(mut config: ServerConfig, alpn: &[&str]) -> Speaks {
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Speaks::Tls(Arc::new(config))
}

/// A good answer to any JSON-RPC request: an empty result under its id; 202 to what has no id.
#[must_use]
pub fn ok() -> Answer {
    Arc::new(|request, wire| {
        let id = &request.json()["id"];
        if id.is_null() {
            wire.write_all(b"HTTP/1.1 202 Accepted\r\ncontent-length: 0\r\n\r\n")?;
        } else {
            write_json(wire, &format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}"))?;
        }
        Ok(Then::KeepAlive)
    })
}

/// Writes a JSON response with status 200.
///
/// # Errors
/// The stream's.
pub fn write_json(wire: &mut dyn Wire, body: &str) -> io::Result<()> {
    let length = body.len();
    write!(wire, "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}")?;
    wire.flush()
}

/// Writes the head of an event stream that ends with the connection.
///
/// # Errors
/// The stream's.
pub fn write_event_stream(wire: &mut dyn Wire) -> io::Result<()> {
    wire.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")?;
    wire.flush()
}

/// Answers a `ClientHello` with the `ServerHello` of a server that knows nothing newer than TLS 1.1.
#[must_use]
pub fn tls_1_1_only() -> Opening {
    // Version, random, no session id, TLS_RSA_WITH_AES_128_CBC_SHA, no compression; no extensions, which TLS 1.1 allows.
    let mut hello = vec![2, 0, 0, 38, 3, 2];
    hello.extend([7; 32]);
    hello.extend([0, 0x00, 0x2f, 0]);
    let mut record = vec![22, 3, 2, 0, 42];
    record.extend(hello);
    after_hello(move |stream| {
        stream.write_all(&record)?;
        read_to_end(stream)
    })
}

/// Reads a `ClientHello`, sends the first bytes of a `ServerHello` record, and goes.
#[must_use]
pub fn cut_handshake() -> Opening {
    after_hello(|stream| stream.write_all(&[22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3]))
}

/// Reads some bytes and answers nothing, until the peer gives up.
#[must_use]
pub fn silence() -> Opening {
    after_hello(read_to_end)
}

fn after_hello(then: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Sync + 'static) -> Opening {
    Arc::new(move |stream| {
        let mut header = [0; 5];
        stream.read_exact(&mut header)?;
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        stream.read_exact(&mut hello)?;
        then(stream)
    })
}

fn read_to_end(stream: &mut TcpStream) -> io::Result<()> {
    io::copy(stream, &mut io::sink()).map(drop)
}

fn accept(listener: &TcpListener, stage: &Arc<Stage>) {
    while !stage.stopping.load(Ordering::Acquire) {
        match listener.accept() {
            Ok((stream, _)) => {
                let stage = Arc::clone(stage);
                thread::spawn(move || {
                    // A broken connection is what many scripts are about.
                    let _ = stage.serve(stream);
                });
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => thread::sleep(Duration::from_millis(2)),
            Err(error) => panic!("accept: {error}"),
        }
    }
}

impl Stage {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let number = {
            let mut connections = lock(&self.connections);
            connections.push(false);
            connections.len() - 1
        };
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        match &self.speaks {
            Speaks::Raw(opening) => opening(&mut stream),
            Speaks::Plain => {
                let socket = stream.try_clone()?;
                self.converse(number, &mut stream, &socket)
            }
            Speaks::Tls(config) => {
                let session = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
                let socket = stream.try_clone()?;
                let mut tls = StreamOwned::new(session, stream);
                let conversed = self.converse(number, &mut tls, &socket);
                if matches!(conversed, Ok(())) {
                    tls.conn.send_close_notify();
                    let _ = tls.flush();
                }
                conversed
            }
        }
    }

    fn converse(&self, number: usize, wire: &mut dyn Wire, socket: &TcpStream) -> io::Result<()> {
        while let Some(request) = http1::read(wire)? {
            lock(&self.connections)[number] = true;
            lock(&self.seen).push(request.clone());
            let answer = Arc::clone(&lock(&self.answer));
            let then = answer(&request, wire)?;
            wire.flush()?;
            match then {
                Then::KeepAlive => {}
                Then::Close => return Ok(()),
                Then::Die => {
                    SockRef::from(socket).set_linger(Some(Duration::ZERO))?;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
            }
        }
        Ok(())
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
