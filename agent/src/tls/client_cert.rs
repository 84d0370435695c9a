//! The certificate that the agent shows a server, read again when its files change.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    SignatureScheme,
    client::ResolvesClientCert,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

use super::provider;
use crate::config::ClientCertificate;

/// Shows the certificate in two files to every server that asks for one. A server asks after it has proven its own name.
pub(super) struct ClientCert {
    files: ClientCertificate,
    shown: Mutex<(Stamps, Arc<CertifiedKey>)>,
}

/// Which files were read: replaced or written to, they differ.
type Stamps = [(u64, u64, i64, i64); 2];

/// Why a certificate cannot be shown.
#[derive(Debug, thiserror::Error)]
#[error("cannot use {path}: {reason}")]
pub struct ClientCertError {
    path: PathBuf,
    reason: String,
}

impl ClientCert {
    /// Reads the files.
    ///
    /// # Errors
    /// They cannot be read, or do not belong together.
    pub(super) fn load(files: &ClientCertificate) -> Result<Self, ClientCertError> {
        let shown = (stamps(files)?, Arc::new(read(files)?));
        Ok(Self { files: files.clone(), shown: Mutex::new(shown) })
    }

    fn current(&self) -> Arc<CertifiedKey> {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let renewed = stamps(&self.files)
            .and_then(|now| if now == shown.0 { Ok(None) } else { Ok(Some((now, Arc::new(read(&self.files)?)))) });
        match renewed {
            Ok(None) => {}
            Ok(Some(renewed)) => *shown = renewed,
            // Somebody may be half-way through replacing them.
            Err(error) => tracing::warn!(%error, "a client certificate could not be read again; the last one is shown"),
        }
        Arc::clone(&shown.1)
    }
}

impl ResolvesClientCert for ClientCert {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        let current = self.current();
        current.key.choose_scheme(schemes).map(|_| current)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for ClientCert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientCert").field("files", &self.files).finish_non_exhaustive()
    }
}

fn read(ClientCertificate { cert, key }: &ClientCertificate) -> Result<CertifiedKey, ClientCertError> {
    let chain = CertificateDer::pem_file_iter(cert).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let chain = chain.map_err(|error| unusable(cert, &error))?;
    let key_der = PrivateKeyDer::from_pem_file(key).map_err(|error| unusable(key, &error))?;
    CertifiedKey::from_der(chain, key_der, &provider()).map_err(|error| unusable(key, &error))
}

fn stamps(ClientCertificate { cert, key }: &ClientCertificate) -> Result<Stamps, ClientCertError> {
    let stamp = |path: &Path| -> io::Result<_> {
        let meta = fs::metadata(path)?;
        Ok((meta.dev(), meta.ino(), meta.mtime(), meta.mtime_nsec()))
    };
    let of = |path| stamp(path).map_err(|error| unusable(path, &error));
    Ok([of(cert)?, of(key)?])
}

fn unusable(path: &Path, reason: &dyn fmt::Display) -> ClientCertError {
    ClientCertError { path: path.to_owned(), reason: reason.to_string() }
}
