//! A client that sends what it is told.

use std::{
    io::{self, Read, Write},
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, ConfigBuilder, RootCertStore, StreamOwned, WantsVerifier, WantsVersions,
    client::{EchGreaseConfig, EchMode},
    crypto::aws_lc_rs::{default_provider, hpke::ALL_SUPPORTED_SUITES},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
};

use super::{
    PATIENCE, Wire,
    http1::{self, Http1},
};

/// A connection, opened and silent.
pub struct RawClient {
    wire: Box<dyn Wire>,
}

/// What a client trusts, and what it offers in ALPN.
#[derive(Debug, Clone)]
pub struct Trust {
    config: Arc<ClientConfig>,
}

impl Trust {
    /// In the certificates of a PEM file; in nobody when it is `None`.
    ///
    /// # Panics
    /// When the file holds no certificates.
    #[must_use]
    pub fn file(roots: Option<&Path>, alpn: &[&str]) -> Self {
        Self::new(builder().with_safe_default_protocol_versions().expect("TLS 1.2 and 1.3"), roots, alpn)
    }

    /// The same, with an extension for Encrypted Client Hello that hides nothing (RFC 9849 §6.2).
    ///
    /// # Panics
    /// As [`file`](Self::file).
    #[must_use]
    pub fn with_ech_grease(roots: Option<&Path>, alpn: &[&str]) -> Self {
        let suite = ALL_SUPPORTED_SUITES[0];
        let (key, _) = suite.generate_key_pair().expect("a key");
        let grease = EchMode::Grease(EchGreaseConfig::new(suite, key));
        Self::new(builder().with_ech(grease).expect("TLS 1.3"), roots, alpn)
    }

    fn new(builder: ConfigBuilder<ClientConfig, WantsVerifier>, roots: Option<&Path>, alpn: &[&str]) -> Self {
        let mut store = RootCertStore::empty();
        if let Some(path) = roots {
            for certificate in CertificateDer::pem_file_iter(path).expect("a PEM file") {
                store.add(certificate.expect("a certificate")).expect("a root");
            }
        }
        let mut config = builder.with_root_certificates(store).with_no_client_auth();
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Self { config: Arc::new(config) }
    }

    /// The first bytes that a client sends for `sni`: a `ClientHello` in its record.
    ///
    /// # Panics
    /// When `sni` is no server name.
    #[must_use]
    pub fn hello(&self, sni: &str) -> Vec<u8> {
        let mut hello = Vec::new();
        self.session(sni).expect("a session").write_tls(&mut hello).expect("write to memory");
        hello
    }

    fn session(&self, sni: &str) -> io::Result<ClientConnection> {
        let name = ServerName::try_from(sni.to_owned()).map_err(io::Error::other)?;
        ClientConnection::new(Arc::clone(&self.config), name).map_err(io::Error::other)
    }
}

fn builder() -> ConfigBuilder<ClientConfig, WantsVersions> {
    ClientConfig::builder_with_provider(Arc::new(default_provider()))
}

impl RawClient {
    /// Connects, and speaks no TLS.
    ///
    /// # Errors
    /// The socket's.
    pub fn plain(addr: SocketAddr) -> io::Result<Self> {
        Ok(Self { wire: Box::new(dial(addr)?) })
    }

    /// Connects and completes TLS for `sni`.
    ///
    /// # Errors
    /// The socket's and TLS's.
    pub fn tls(addr: SocketAddr, sni: &str, trust: &Trust) -> io::Result<Self> {
        Self::tls_over(dial(addr)?, sni, trust)
    }

    /// Completes TLS for `sni` on a connection.
    ///
    /// # Errors
    /// The socket's and TLS's.
    pub fn tls_over(mut socket: TcpStream, sni: &str, trust: &Trust) -> io::Result<Self> {
        let mut session = trust.session(sni)?;
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Self { wire: Box::new(StreamOwned::new(session, socket)) })
    }

    /// Sends bytes and reads one response; `None` when the peer ended the connection instead. Interim responses are
    /// skipped.
    ///
    /// # Errors
    /// When nothing comes within [`PATIENCE`], or what comes is not HTTP/1.1.
    pub fn ask(&mut self, bytes: &[u8]) -> io::Result<Option<Http1>> {
        self.send(bytes)?;
        self.hear()
    }

    /// Sends bytes; the peer may have gone already, which [`hear`](Self::hear) shows.
    ///
    /// # Errors
    /// When the peer takes nothing within [`PATIENCE`].
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.wire.write_all(bytes).and_then(|()| self.wire.flush()) {
            Err(error) if !super::is_end(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Reads one response.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn hear(&mut self) -> io::Result<Option<Http1>> {
        loop {
            match http1::read(&mut *self.wire)? {
                Some(interim) if (100..200).contains(&interim.status()) => {}
                heard => return Ok(heard),
            }
        }
    }

    /// Reads up to and including some bytes, or to the end of the connection.
    ///
    /// # Errors
    /// When neither comes within [`PATIENCE`].
    pub fn read_until(&mut self, needle: &[u8]) -> io::Result<Vec<u8>> {
        let (mut read, mut byte) = (Vec::new(), [0]);
        while !read.ends_with(needle) {
            match self.wire.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => read.push(byte[0]),
                Err(error) if super::is_end(&error) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(read)
    }

    /// Reads to the end of the connection, orderly or not.
    ///
    /// # Errors
    /// When the end does not come within [`PATIENCE`].
    pub fn drain(&mut self) -> io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        match self.wire.read_to_end(&mut rest) {
            Err(error) if !super::is_end(&error) => Err(error),
            _ => Ok(rest),
        }
    }
}

/// Connects to an address, with every wait bounded.
///
/// # Errors
/// The socket's.
pub fn dial(addr: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&addr, PATIENCE)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// A `POST` of a JSON body with what every MCP client sends, and more headers (each with its CRLF).
#[must_use]
pub fn post(host: &str, path: &str, more: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {host}\r\naccept: application/json, text/event-stream\r\n\
         content-type: application/json\r\ncontent-length: {length}\r\n{more}\r\n"
    );
    [head.as_bytes(), body].concat()
}
