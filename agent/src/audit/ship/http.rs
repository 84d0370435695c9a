//! One connection to one URL, for posting: HTTP/1.1, with TLS where the URL says so.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Request, StatusCode, Uri,
    header::{CONTENT_TYPE, HOST},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const ANSWER: Duration = Duration::from_secs(60);
/// Most bytes of an answer.
const MOST: usize = 64 << 10;

/// Posts to one URL.
pub(crate) struct Poster {
    uri: Uri,
    header: Option<(HeaderName, HeaderValue)>,
    tls: Option<TlsConnector>,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Poster {
    /// A poster to `url`, with one more header, and roots besides the system's.
    ///
    /// # Errors
    /// What is wrong with the URL or the roots.
    pub(crate) fn new(url: &str, header: Option<(HeaderName, HeaderValue)>, ca: Option<&Path>) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("{url}: {error}"))?;
        let tls = if uri.scheme_str() == Some("https") { Some(tls(ca)?) } else { None };
        Ok(Self { uri, header, tls, connection: None })
    }

    /// Posts JSON, and returns the answer.
    ///
    /// # Errors
    /// What went wrong on the way.
    pub(crate) async fn post(&mut self, body: Bytes) -> Result<(StatusCode, Bytes), String> {
        let mut connection = match self.connection.take().filter(|connection| !connection.is_closed()) {
            Some(connection) => connection,
            None => match timeout(CONNECT, self.connect()).await {
                Ok(connected) => connected?,
                Err(_) => return Err(format!("{}: no connection within {} s", self.uri, CONNECT.as_secs())),
            },
        };
        let failed = |error: hyper::Error| format!("{}: {error}", self.uri);
        let exchange = async {
            connection.ready().await.map_err(failed)?;
            let answer = connection.send_request(self.request(body)?).await.map_err(failed)?;
            let status = answer.status();
            let body = Limited::new(answer.into_body(), MOST).collect().await;
            Ok((status, body.map_err(|error| format!("{}: {error}", self.uri))?.to_bytes()))
        };
        let answer: Result<_, String> = match timeout(ANSWER, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(format!("{}: no answer within {} s", self.uri, ANSWER.as_secs())),
        };
        if answer.is_ok() {
            self.connection = Some(connection);
        }
        answer
    }

    fn request(&self, body: Bytes) -> Result<Request<Full<Bytes>>, String> {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = self.uri.authority().map_or("", |authority| authority.as_str());
        let mut request = Request::post(path).header(HOST, authority).header(CONTENT_TYPE, "application/json");
        if let Some((name, value)) = &self.header {
            request = request.header(name, value);
        }
        request.body(Full::new(body)).map_err(|error| error.to_string())
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let host = self.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = self.uri.port_u16().unwrap_or(if self.tls.is_some() { 443 } else { 80 });
        let failed = |error: std::io::Error| format!("cannot connect to {host}:{port}: {error}");
        let tcp = TcpStream::connect((host, port)).await.map_err(failed)?;
        match &self.tls {
            None => handshake(tcp).await,
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned()).map_err(|error| format!("{host}: {error}"))?;
                handshake(tls.connect(name, tcp).await.map_err(failed)?).await
            }
        }
    }
}

async fn handshake(
    io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static,
) -> Result<SendRequest<Full<Bytes>>, String> {
    let (sender, connection) = http1::handshake(TokioIo::new(io)).await.map_err(|error| error.to_string())?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a sink's connection ended");
        }
    });
    Ok(sender)
}

fn tls(ca: Option<&Path>) -> Result<TlsConnector, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
        roots.add_parsable_certificates(certificates);
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
