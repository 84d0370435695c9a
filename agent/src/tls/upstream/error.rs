//! How a handshake with an upstream server fails, and what the client is told.

use std::{error::Error, io};

use rustls::{AlertDescription, CertificateError, PeerIncompatible};

/// Why no TLS connection to the server came about.
#[derive(Debug, thiserror::Error)]
pub enum UpstreamTlsError {
    /// The certificate's validity has ended.
    #[error("the server's certificate has expired")]
    Expired,
    /// The certificate's validity has not begun.
    #[error("the server's certificate is not valid yet")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("the server's certificate is for another host: {0}")]
    WrongHost(String),
    /// No known root leads to the certificate: it is self-signed, its root is not trusted, or its chain is incomplete.
    #[error("the server's certificate is not signed by a trusted root; for a private CA set `upstream_ca`")]
    UnknownIssuer,
    /// The certificate was revoked.
    #[error("the server's certificate has been revoked")]
    Revoked,
    /// The certificate cannot be accepted for another reason.
    #[error("the server's certificate cannot be accepted: {detail}")]
    BadCertificate {
        /// What is wrong with it.
        detail: String,
        /// The alert for it.
        alert: AlertDescription,
    },
    /// The server ended the handshake with an alert.
    #[error("the server refused the handshake with the alert {0:?}")]
    Alert(AlertDescription),
    /// No common version, cipher or protocol, or something that is not TLS.
    #[error("no handshake with the server is possible: {detail}")]
    Protocol {
        /// What is wrong.
        detail: String,
        /// The alert for it.
        alert: AlertDescription,
    },
    /// The server closed the connection within the handshake.
    #[error("the server closed the connection within the handshake")]
    Closed,
    /// The connection failed within the handshake.
    #[error("the connection failed within the handshake: {0}")]
    Io(io::Error),
    /// The handshake did not end in time.
    #[error("the handshake did not end in time")]
    Timeout,
}

impl UpstreamTlsError {
    /// The alert that gives the client a TLS failure of the same kind.
    ///
    /// Where the server sent or deserved one, it is that one. A connection that broke without one becomes `internal_error`:
    /// the client's own connection is fine, and it must not take the silence for the end of the data.
    pub fn client_alert(&self) -> AlertDescription {
        match self {
            Self::Expired | Self::NotYetValid => AlertDescription::CertificateExpired,
            Self::WrongHost(_) => AlertDescription::BadCertificate,
            Self::UnknownIssuer => AlertDescription::UnknownCA,
            Self::Revoked => AlertDescription::CertificateRevoked,
            Self::BadCertificate { alert, .. } | Self::Protocol { alert, .. } | Self::Alert(alert) => *alert,
            Self::Closed | Self::Io(_) | Self::Timeout => AlertDescription::InternalError,
        }
    }
}

impl From<io::Error> for UpstreamTlsError {
    fn from(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(tls) => Self::from(tls),
            None if error.kind() == io::ErrorKind::UnexpectedEof => Self::Closed,
            None => Self::Io(error),
        }
    }
}

impl From<&rustls::Error> for UpstreamTlsError {
    fn from(error: &rustls::Error) -> Self {
        let alert = match error {
            rustls::Error::InvalidCertificate(certificate) => return Self::from(certificate),
            rustls::Error::AlertReceived(alert) => return Self::Alert(*alert),
            rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                AlertDescription::ProtocolVersion
            }
            rustls::Error::InvalidMessage(_) => AlertDescription::DecodeError,
            rustls::Error::PeerMisbehaved(_) => AlertDescription::IllegalParameter,
            _ => AlertDescription::HandshakeFailure,
        };
        Self::Protocol { detail: error.to_string(), alert }
    }
}

impl From<&CertificateError> for UpstreamTlsError {
    fn from(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Self::WrongHost(error.to_string())
            }
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::Revoked => Self::Revoked,
            CertificateError::Other(other) if is_ca_used_as_server(other) => Self::UnknownIssuer,
            other => Self::BadCertificate { detail: other.to_string(), alert: other.clone().into() },
        }
    }
}

/// A certificate marked as a CA is what self-signed servers usually present; the verifier stops at the mark before it looks
/// for an issuer.
fn is_ca_used_as_server(other: &rustls::OtherError) -> bool {
    other.source().and_then(|source| source.downcast_ref()) == Some(&webpki::Error::CaUsedAsEndEntity)
}
