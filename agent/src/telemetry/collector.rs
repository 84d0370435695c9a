//! The way to an OTLP collector: HTTP or HTTPS, carried by the agent's runtime.

use std::{io, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use opentelemetry_http::{HttpClient, HttpError};
use rustls::RootCertStore;
use tokio::{runtime::Handle, time::timeout};

use super::TelemetryError;
use crate::config;

/// Longest wait for the collector's answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Most of an answer that is read.
const ANSWER_BYTES: usize = 64 << 10;

/// Sends what exporters hand over. Their threads are not the runtime's, so requests are.
#[derive(Debug, Clone)]
pub(super) struct Collector {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    runtime: Handle,
}

impl Collector {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// The system's roots cannot be read, where they are needed; or there is no runtime.
    pub(super) fn new(otlp: &config::Otlp) -> Result<Self, TelemetryError> {
        let failed = |error: &dyn std::fmt::Display| TelemetryError::Collector(error.to_string());
        let runtime = Handle::try_current().map_err(|error| failed(&error))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let https = otlp.endpoint.scheme() == "https";
        let tls = if https {
            HttpsConnectorBuilder::new().with_provider_and_native_roots(provider).map_err(|error| failed(&error))?
        } else {
            // The system's roots, which a host may lack, are not needed.
            let tls =
                rustls::ClientConfig::builder_with_provider(provider.into()).with_safe_default_protocol_versions();
            let tls = tls.map_err(|error| failed(&error))?.with_root_certificates(RootCertStore::empty());
            HttpsConnectorBuilder::new().with_tls_config(tls.with_no_client_auth())
        };
        let connector = if https { tls.https_only() } else { tls.https_or_http() };
        let client = Client::builder(TokioExecutor::new()).build(connector.enable_http1().build());
        Ok(Self { client, runtime })
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let response = self.client.request(request.map(Full::new));
        let exchange = async move {
            let (head, body) = response.await?.into_parts();
            let body = Limited::new(body, ANSWER_BYTES).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // The timer, too, is made on the runtime.
        let answered = self.runtime.spawn(async { timeout(PATIENCE, exchange).await }).await?;
        answered.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}
