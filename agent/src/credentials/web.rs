//! HTTP to an authorisation server. Redirects are not followed: what is sent is a secret.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Request, Response};
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
use tokio::time::timeout;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most bytes of an answer.
const MOST: usize = 64 << 10;

/// See the module. Clones share connections.
#[derive(Clone)]
pub(super) struct Web(Client<HttpsConnector<HttpConnector>, Full<Bytes>>);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum WebError {
    /// No connection, or it broke.
    #[error("it cannot be reached")]
    Unreachable(#[source] hyper_util::client::legacy::Error),
    /// Too slow.
    #[error("no answer in time")]
    Timeout,
    /// Too much, or it broke off.
    #[error("its answer is too long, or broke off")]
    Broken,
}

impl Web {
    /// With the system's roots, and those of a PEM file.
    ///
    /// # Errors
    /// The file cannot be used.
    pub(super) fn new(ca: Option<&Path>) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if let Some(path) = ca {
            let unusable = |error: String| format!("cannot use the roots in {}: {error}", path.display());
            for root in CertificateDer::pem_file_iter(path).map_err(|error| unusable(error.to_string()))? {
                let root = root.map_err(|error| unusable(error.to_string()))?;
                roots.add(root).map_err(|error| unusable(error.to_string()))?;
            }
        }
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let tls = ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
        let tls = tls.map_err(|error| error.to_string())?.with_root_certificates(roots).with_no_client_auth();
        // Which of the two is the configuration's, which takes plain text on the loopback only.
        let connector = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().build();
        Ok(Self(Client::builder(TokioExecutor::new()).build(connector)))
    }

    /// One exchange.
    ///
    /// # Errors
    /// [`WebError`].
    pub(super) async fn send(&self, request: Request<Vec<u8>>) -> Result<Response<Vec<u8>>, WebError> {
        let exchange = async {
            let answer = self.0.request(request.map(|body| Full::new(Bytes::from(body)))).await;
            let (head, body) = answer.map_err(WebError::Unreachable)?.into_parts();
            let body = Limited::new(body, MOST).collect().await.map_err(|_| WebError::Broken)?;
            Ok(Response::from_parts(head, body.to_bytes().into()))
        };
        timeout(PATIENCE, exchange).await.unwrap_or(Err(WebError::Timeout))
    }
}
