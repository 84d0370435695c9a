//! What a certificate says of itself, for people and for checks.

use std::{
    fmt::Write,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use aws_lc_rs::digest;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate,
    extensions::{GeneralName, GeneralSubtree},
    prelude::FromDer,
};

use crate::{Error, Host};

/// A name that cannot exist (RFC 6761 §6.4). It and the unspecified addresses stand in constraints for "none of this kind".
pub(crate) const NO_NAME: &str = "invalid";

/// The parts of a certificate that Weir shows or decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The subject, as text.
    pub subject: String,
    /// The issuer, as text.
    pub issuer: String,
    /// The serial number in hex.
    pub serial: String,
    /// SHA-256 of the DER, in lower-case hex.
    pub fingerprint: String,
    /// First moment of validity.
    pub not_before: SystemTime,
    /// Last moment of validity.
    pub not_after: SystemTime,
    /// For a CA certificate its path length, where it has one.
    pub ca: Option<Option<u32>>,
    /// What the name constraints permit; `None` when there are none.
    pub permitted: Option<Vec<Host>>,
    /// The `SubjectPublicKeyInfo`, DER.
    pub public_key: Vec<u8>,
}

impl Facts {
    /// Reads a certificate.
    ///
    /// # Errors
    /// [`Error::BadCertificate`] when it cannot be parsed.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, Error> {
        let bad = |error: &dyn std::fmt::Display| Error::BadCertificate(error.to_string());
        let (_, x509) = X509Certificate::from_der(certificate).map_err(|error| bad(&error))?;
        let constraints = x509.basic_constraints().map_err(|error| bad(&error))?;
        let names = x509.name_constraints().map_err(|error| bad(&error))?;
        Ok(Self {
            subject: x509.subject().to_string(),
            issuer: x509.issuer().to_string(),
            serial: hex(x509.raw_serial()),
            fingerprint: hex(digest::digest(&digest::SHA256, certificate).as_ref()),
            not_before: moment(x509.validity().not_before.timestamp()),
            not_after: moment(x509.validity().not_after.timestamp()),
            ca: constraints.filter(|found| found.value.ca).map(|found| found.value.path_len_constraint),
            permitted: names
                .map(|found| found.value.permitted_subtrees.iter().flatten().filter_map(permitted_host).collect()),
            public_key: x509.public_key().raw.to_vec(),
        })
    }
}

/// Only exact addresses are ever permitted by a Weir intermediate, so a subtree's mask is not kept.
fn permitted_host(subtree: &GeneralSubtree<'_>) -> Option<Host> {
    match &subtree.base {
        GeneralName::DNSName(NO_NAME) => None,
        GeneralName::DNSName(name) => Some(Host::Name((*name).to_owned())),
        GeneralName::IPAddress(bytes) => {
            let address = match bytes.len() {
                8 => IpAddr::from(<[u8; 4]>::try_from(&bytes[..4]).ok()?),
                32 => IpAddr::from(<[u8; 16]>::try_from(&bytes[..16]).ok()?),
                _ => return None,
            };
            Some(Host::Ip(address)).filter(|_| !address.is_unspecified())
        }
        _ => None,
    }
}

fn moment(unix_seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(unix_seconds.unsigned_abs());
    if unix_seconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
