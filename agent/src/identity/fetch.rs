//! One HTTP request and its answer, to whom identities are asked of: bounded in time and size, without redirects.

use std::{
    io::Read as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use http::{
    HeaderValue, Request, Response, StatusCode,
    header::{ACCEPT, AUTHORIZATION},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use rustls::{
    ClientConfig, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject as _},
};
use url::Url;
use zeroize::Zeroizing;

/// Longest wait for a whole answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// Longest token in a file.
const TOKEN_BYTES: u64 = 16 << 10;

/// Asks servers that their certificates prove.
pub(crate) struct Fetcher {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// A file with the bearer token to show; it may change at any time.
    token_file: Option<PathBuf>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The roots cannot be read.
    #[error("cannot read roots from {path}: {reason}; give a PEM file with at least one certificate")]
    Roots {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The token to show cannot be read.
    #[error("cannot read a token from {path}: {reason}")]
    Token {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The TLS library refused the configuration.
    #[error("cannot set up TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// The exchange failed.
    #[error("{url}: {reason}")]
    Exchange {
        /// Where.
        url: String,
        /// How.
        reason: String,
    },
    /// Another answer than 200.
    #[error("{url} answered {status}")]
    Status {
        /// Where.
        url: String,
        /// What it answered.
        status: StatusCode,
    },
}

impl Fetcher {
    /// A fetcher that believes the system's roots and those of `ca`, and shows the token in `token_file`.
    ///
    /// # Errors
    /// [`FetchError::Roots`] and [`FetchError::Tls`].
    pub(crate) fn new(ca: Option<&Path>, token_file: Option<&Path>) -> Result<Self, FetchError> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            let unreadable = |reason: String| FetchError::Roots { path: path.to_owned(), reason };
            let certificates = CertificateDer::pem_file_iter(path)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| unreadable(error.to_string()))?;
            if roots.add_parsable_certificates(certificates).0 == 0 {
                return Err(unreadable("no certificate in it".into()));
            }
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let tls = tls.with_root_certificates(roots).with_no_client_auth();
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        // Fetches are minutes apart: no connection is kept.
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector);
        Ok(Self { client, token_file: token_file.map(Path::to_owned) })
    }

    /// Sends a request; the answer has at most `most` bytes.
    ///
    /// # Errors
    /// [`FetchError::Exchange`].
    pub(crate) async fn send(&self, request: Request<Bytes>, most: usize) -> Result<Response<Bytes>, FetchError> {
        let url = request.uri().to_string();
        let failed = |reason: String| FetchError::Exchange { url: url.clone(), reason };
        let exchange = async {
            let answer = self.client.request(request.map(Full::new)).await.map_err(|error| failed(causes(&error)))?;
            let (head, body) = answer.into_parts();
            let body = Limited::new(body, most).collect().await.map_err(|error| failed(error.to_string()))?;
            Ok(Response::from_parts(head, body.to_bytes()))
        };
        match tokio::time::timeout(PATIENCE, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(failed(format!("no answer within {} s", PATIENCE.as_secs()))),
        }
    }

    /// Gets JSON of at most `most` bytes.
    ///
    /// # Errors
    /// Every [`FetchError`] but those of setting up.
    pub(crate) async fn get(&self, url: &Url, most: usize) -> Result<Bytes, FetchError> {
        let mut request = Request::get(url.as_str()).header(ACCEPT, "application/json");
        if let Some(token) = self.token()? {
            request = request.header(AUTHORIZATION, token);
        }
        let failed = |error: http::Error| FetchError::Exchange { url: url.to_string(), reason: error.to_string() };
        let answer = self.send(request.body(Bytes::new()).map_err(failed)?, most).await?;
        match answer.status() {
            StatusCode::OK => Ok(answer.into_body()),
            status => Err(FetchError::Status { url: url.to_string(), status }),
        }
    }

    fn token(&self) -> Result<Option<HeaderValue>, FetchError> {
        let Some(path) = &self.token_file else { return Ok(None) };
        let unreadable = |reason: String| FetchError::Token { path: path.clone(), reason };
        let mut text = Zeroizing::new(String::new());
        let file = std::fs::File::open(path).map_err(|error| unreadable(error.to_string()))?;
        file.take(TOKEN_BYTES).read_to_string(&mut text).map_err(|error| unreadable(error.to_string()))?;
        let header = Zeroizing::new(format!("Bearer {}", text.trim()));
        let mut value = HeaderValue::from_str(&header).map_err(|_| unreadable("it is no token".into()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetcher").finish_non_exhaustive()
    }
}

/// An error with its causes: hyper's own text says little.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}
