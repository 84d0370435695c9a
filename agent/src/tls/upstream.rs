//! The real server, believed only when its certificate verifies.

mod error;
/// Whether the certificate that a server presented is good for `host` too. What cannot be told counts as yes.
#[must_use]
pub fn certificate_covers(connection: &ClientConnection, host: &str) -> bool {
    let presented = connection.peer_certificates().and_then(|chain| ParsedCertificate::try_from(chain.first()?).ok());
    match (presented, ServerName::try_from(host)) {
        (Some(certificate), Ok(name)) => verify_server_name(&certificate, &name).is_ok(),
        _ => true,
    }
}

#[cfg(test)]
mod tests;

use std::{
    collections::HashSet,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    ClientConfig, ClientConnection, RootCertStore,
    client::{Resumption, verify_server_name},
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    server::ParsedCertificate,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};

pub use self::error::UpstreamTlsError;
use super::{
    VERSIONS,
    client_cert::{ClientCert, ClientCertError},
    provider,
};
use crate::config::ClientCertificate;

/// The roots that may verify upstream servers, without the agent's own: a certificate that another agent of the same root
/// minted must not pass for the real server's.
pub struct Upstreams {
    roots: RootCertStore,
    own_keys: HashSet<Vec<u8>>,
}

/// Connects to the servers of one endpoint, or of all that need no further roots. Cheap to clone.
#[derive(Clone)]
pub struct Upstream {
    connector: TlsConnector,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Upstream").finish_non_exhaustive()
    }
}

/// Why a set of roots could not be made.
#[derive(Debug, thiserror::Error)]
pub enum RootsError {
    /// A configured file could not be read or holds no certificate.
    #[error("cannot read upstream roots from {path}: {reason}; give a PEM file with at least one certificate")]
    File {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A configured file holds a certificate that cannot be a root.
    #[error("a certificate in {path} cannot be an upstream root: {reason}")]
    Root {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The agent's own root cannot be parsed.
    #[error("the agent's own root cannot be parsed: {0}")]
    OwnRoot(String),
    /// The client certificate cannot be shown.
    #[error("the client certificate: {0}")]
    ClientCert(#[from] ClientCertError),
    /// The TLS library refused the configuration.
    #[error("cannot set up TLS for upstream servers: {0}")]
    Tls(#[from] rustls::Error),
}

impl Upstreams {
    /// The system's roots (or those of `SSL_CERT_FILE` and `SSL_CERT_DIR`, where set) and those of the `configured` PEM
    /// files, less `own`. Certificates of the system's store that cannot be parsed are skipped and logged.
    ///
    /// # Errors
    /// As [`RootsError`] says; never for the system's store.
    pub fn load(own: &[CertificateDer<'_>], configured: &[PathBuf]) -> Result<Self, RootsError> {
        let mut upstreams = Self::without_system_roots(own)?;
        let system = rustls_native_certs::load_native_certs();
        for error in &system.errors {
            tracing::warn!(%error, "part of the system's trust store could not be read");
        }
        for root in system.certs {
            if let Err(error) = upstreams.add(root) {
                tracing::debug!(%error, "a certificate of the system's trust store cannot be a root");
            }
        }
        for path in configured {
            upstreams.add_file(path)?;
        }
        if upstreams.roots.is_empty() {
            tracing::warn!("no upstream roots found: only endpoints with an `upstream_ca` can be verified");
        }
        Ok(upstreams)
    }

    /// No roots at all; each [`endpoint`](Self::endpoint) brings its own.
    ///
    /// # Errors
    /// [`RootsError::OwnRoot`].
    pub fn without_system_roots(own: &[CertificateDer<'_>]) -> Result<Self, RootsError> {
        let mut own_roots = RootCertStore::empty();
        for root in own {
            own_roots.add(root.clone().into_owned()).map_err(|error| RootsError::OwnRoot(error.to_string()))?;
        }
        let own_keys = own_roots.roots.iter().map(|root| root.subject_public_key_info.to_vec()).collect();
        Ok(Self { roots: RootCertStore::empty(), own_keys })
    }

    /// The connector of an endpoint that may also be verified by the roots in `upstream_ca`, and is shown a certificate.
    ///
    /// # Errors
    /// As [`RootsError`] says.
    pub fn endpoint(
        &self,
        upstream_ca: Option<&Path>,
        shows: Option<&ClientCertificate>,
    ) -> Result<Upstream, RootsError> {
        let mut own = Self { roots: self.roots.clone(), own_keys: self.own_keys.clone() };
        if let Some(path) = upstream_ca {
            own.add_file(path)?;
        }
        let config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_root_certificates(own.roots);
        let mut config = match shows {
            None => config.with_no_client_auth(),
            Some(files) => config.with_client_cert_resolver(Arc::new(ClientCert::load(files)?)),
        };
        config.resumption = Resumption::disabled();
        Ok(Upstream { connector: TlsConnector::from(Arc::new(config)) })
    }

    fn add_file(&mut self, path: &Path) -> Result<(), RootsError> {
        let unreadable = |reason: String| RootsError::File { path: path.to_owned(), reason };
        let mut found = false;
        for root in CertificateDer::pem_file_iter(path).map_err(|error| unreadable(error.to_string()))? {
            let root = root.map_err(|error| unreadable(error.to_string()))?;
            self.add(root).map_err(|error| RootsError::Root { path: path.to_owned(), reason: error.to_string() })?;
            found = true;
        }
        if found { Ok(()) } else { Err(unreadable("no certificate in it".into())) }
    }

    /// Adds a root unless its key is the agent's own: compared by key, so that no other certificate of it slips in.
    fn add(&mut self, root: CertificateDer<'_>) -> Result<(), rustls::Error> {
        self.roots.add(root.into_owned())?;
        if self.roots.roots.last().is_some_and(|added| self.own_keys.contains(added.subject_public_key_info.as_ref())) {
            self.roots.roots.pop();
        }
        Ok(())
    }
}

impl Upstream {
    /// Does the handshake as a client of `name`, offering `alpn` in that order, and verifies the server. Ends at `deadline`
    /// at the latest. What was agreed on is in the stream's connection (`alpn_protocol`).
    ///
    /// # Errors
    /// As [`UpstreamTlsError`] says; [`UpstreamTlsError::client_alert`] tells the client.
    pub async fn connect<IO>(
        &self,
        io: IO,
        name: ServerName<'static>,
        alpn: &[Vec<u8>],
        deadline: Instant,
    ) -> Result<TlsStream<IO>, UpstreamTlsError>
    where
        IO: AsyncRead + AsyncWrite + Unpin,
    {
        let handshake = self.connector.with_alpn(alpn.to_vec()).connect(name, io);
        let outcome: io::Result<_> = timeout_at(deadline, handshake).await.map_err(|_| UpstreamTlsError::Timeout)?;
        outcome.map_err(UpstreamTlsError::from)
    }
}
