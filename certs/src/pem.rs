//! PEM, read and written without leaving copies of what it holds: PEM libraries do, and the same code writes keys.

use base64::{Engine, engine::general_purpose::STANDARD};
use rustls_pki_types::{CertificateDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::Error;

/// The first certificate of a PEM text.
///
/// # Errors
/// [`Error::BadCertificate`] when there is none.
pub fn first_certificate(pem: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(pem.as_bytes()).map_err(|error| Error::BadCertificate(error.to_string()))
}

/// A certificate as PEM.
pub fn certificate_pem(certificate: &CertificateDer<'_>) -> String {
    String::clone(&encode("CERTIFICATE", certificate))
}

/// RFC 7468, lines of 64.
pub(crate) fn encode(label: &str, der: &[u8]) -> Zeroizing<String> {
    const LINE: usize = 64;
    // Room for everything, so that the buffers never grow and leave a copy.
    let mut body = Zeroizing::new(String::with_capacity(der.len() * 2 + 4));
    STANDARD.encode_string(der, &mut body);
    let mut pem = Zeroizing::new(String::with_capacity(body.len() * 2 + 2 * label.len() + 64));
    pem.extend(["-----BEGIN ", label, "-----\n"]);
    for start in (0..body.len()).step_by(LINE) {
        pem.extend([&body[start..body.len().min(start + LINE)], "\n"]);
    }
    pem.extend(["-----END ", label, "-----\n"]);
    pem
}
