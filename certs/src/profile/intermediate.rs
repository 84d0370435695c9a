//! The intermediate, whose key the running agent holds, and the leaves that it signs.

use std::time::SystemTime;

use rcgen::{Issuer, PublicKeyData};
use rustls_pki_types::{CertificateDer, ServerName};

use super::{LEAF_LIFE, Period, leaf_params};
use crate::{Error, Facts, Host, Key, first_certificate};

/// A name-constrained intermediate with its key. It can sign leaves only.
pub struct Intermediate {
    issuer: Issuer<'static, Key>,
    certificate: CertificateDer<'static>,
    facts: Facts,
}

/// A server certificate for one name, with its key.
pub struct Leaf {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its private key.
    pub key: Key,
    /// When it is valid.
    pub period: Period,
}

impl Intermediate {
    /// An intermediate from its two PEM texts.
    ///
    /// # Errors
    /// When either cannot be parsed, when they are not a pair, or when the certificate is not a name-constrained CA of
    /// path length 0.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        Self::new(first_certificate(certificate)?, Key::from_pem(key)?)
    }

    pub(super) fn new(certificate: CertificateDer<'static>, key: Key) -> Result<Self, Error> {
        let facts = Facts::of(&certificate)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(Error::KeyMismatch);
        }
        if facts.ca != Some(Some(0)) || facts.permitted.is_none() {
            return Err(Error::WrongKind(facts.subject, "name-constrained intermediate CA"));
        }
        Ok(Self { issuer: Issuer::from_ca_cert_der(&certificate, key)?, certificate, facts })
    }

    /// Signs a leaf with a new key for `name` alone.
    ///
    /// # Errors
    /// [`Error::NotPermitted`] when no client would accept it; [`Error::IssuerExpired`]; [`Error::Sign`] and
    /// [`Error::Random`].
    pub fn leaf(&self, name: &ServerName<'_>, now: SystemTime) -> Result<Leaf, Error> {
        if !self.permitted().iter().any(|host| host.permits(name)) {
            let permitted = self.permitted().iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::NotPermitted { name: name.to_str().into_owned(), permitted });
        }
        self.sign(name, now)
    }

    /// Signs without looking at the constraints, which the verifier does again.
    pub(super) fn sign(&self, name: &ServerName<'_>, now: SystemTime) -> Result<Leaf, Error> {
        if now > self.facts.not_after {
            return Err(Error::IssuerExpired(self.facts.subject.clone()));
        }
        let period = Period::starting(now, LEAF_LIFE).within(self.period());
        let key = Key::generate()?;
        let certificate = leaf_params(std::slice::from_ref(name), period)?.signed_by(&key, &self.issuer)?;
        Ok(Leaf { certificate: certificate.der().clone(), key, period })
    }

    /// The certificate.
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The private key.
    pub fn key(&self) -> &Key {
        self.issuer.key()
    }

    /// What the certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// When it is valid.
    pub fn period(&self) -> Period {
        Period { not_before: self.facts.not_before, not_after: self.facts.not_after }
    }

    /// Whether it may sign for everything that `host` stands for.
    pub fn covers(&self, host: &Host) -> bool {
        self.permitted().iter().any(|permitted| permitted.covers(host))
    }

    /// The hosts that it may sign for. A wildcard appears as the name that it is below.
    pub fn permitted(&self) -> &[Host] {
        self.facts.permitted.as_deref().unwrap_or_default()
    }
}
