//! How issuing and reading certificates fails.

use std::{io, path::PathBuf};

/// Why a certificate or key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A host is neither a DNS name, a wildcard nor an address.
    #[error("`{0}` is not a host: write a DNS name, `*.` and a DNS name, or an IP address")]
    BadHost(String),
    /// What should be a PEM certificate is not.
    #[error("not a PEM certificate that can be parsed: {0}")]
    BadCertificate(String),
    /// What should be a PEM private key (PKCS #8, P-256) is not. Says nothing of its content.
    #[error("not a PEM private key (PKCS #8, P-256)")]
    BadKey,
    /// Key and certificate are of different pairs.
    #[error("the private key does not belong to the certificate")]
    KeyMismatch,
    /// The certificate may not sign others, or not as this kind of issuer.
    #[error("the certificate `{0}` is not a {1}")]
    WrongKind(String, &'static str),
    /// The issuer's own validity has ended.
    #[error("the issuer `{0}` has expired")]
    IssuerExpired(String),
    /// A leaf was asked for outside the intermediate's name constraints.
    #[error("the intermediate does not permit `{name}`, only {permitted}: issue one for the present hosts")]
    NotPermitted {
        /// The name asked for.
        name: String,
        /// What the intermediate permits.
        permitted: String,
    },
    /// The signature or the encoding failed.
    #[error("cannot sign a certificate: {0}")]
    Sign(#[from] rcgen::Error),
    /// The random generator failed.
    #[error("the system's random generator failed")]
    Random,
    /// A file could not be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}
