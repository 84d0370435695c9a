//! The root: what stores trust. Its key is read to sign an intermediate and forgotten.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::SystemTime,
};

use rcgen::{CidrSubnet, GeneralSubtree, Issuer, NameConstraints, PublicKeyData};
use rustls_pki_types::CertificateDer;

use super::{INTERMEDIATE_LIFE, Intermediate, Period, ROOT_LIFE, ca_params, random_tag};
use crate::{Error, Facts, Host, Key, facts::NO_NAME, first_certificate};

/// A root with its key. It can sign intermediates only.
pub struct Root {
    issuer: Issuer<'static, Key>,
    certificate: CertificateDer<'static>,
    facts: Facts,
}

impl Root {
    /// A new root, valid from `now` less five minutes.
    ///
    /// # Errors
    /// [`Error::Sign`] and [`Error::Random`].
    pub fn generate(now: SystemTime) -> Result<Self, Error> {
        let key = Key::generate()?;
        let params = ca_params(&format!("Weir root {}", random_tag()?), Period::starting(now, ROOT_LIFE), 1)?;
        let certificate = params.self_signed(&key)?.der().clone();
        Self::new(certificate, key)
    }

    /// A root from its two PEM texts.
    ///
    /// # Errors
    /// When either cannot be parsed, when they are not a pair, or when the certificate is not a CA with room for
    /// intermediates.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        Self::new(first_certificate(certificate)?, Key::from_pem(key)?)
    }

    fn new(certificate: CertificateDer<'static>, key: Key) -> Result<Self, Error> {
        let facts = Facts::of(&certificate)?;
        if facts.public_key != key.subject_public_key_info() {
            return Err(Error::KeyMismatch);
        }
        if !matches!(facts.ca, Some(None | Some(1..))) {
            return Err(Error::WrongKind(facts.subject, "root CA that can sign intermediates"));
        }
        Ok(Self { issuer: Issuer::from_ca_cert_der(&certificate, key)?, certificate, facts })
    }

    /// Signs a new intermediate with a new key that permits `hosts` and nothing else. No hosts permit nothing.
    ///
    /// # Errors
    /// [`Error::IssuerExpired`] when the root is no longer valid; [`Error::Sign`] and [`Error::Random`].
    pub fn issue(&self, hosts: &[Host], now: SystemTime) -> Result<Intermediate, Error> {
        let root = Period { not_before: self.facts.not_before, not_after: self.facts.not_after };
        if now > root.not_after {
            return Err(Error::IssuerExpired(self.facts.subject.clone()));
        }
        let period = Period::starting(now, INTERMEDIATE_LIFE).within(root);
        let mut params = ca_params(&format!("Weir intermediate {}", random_tag()?), period, 0)?;
        params.name_constraints = Some(constraints(hosts));
        let key = Key::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        Intermediate::new(certificate.der().clone(), key)
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
}

/// Constraints that leave `hosts` and nothing else.
///
/// A kind of name that no permitted subtree mentions is unconstrained (RFC 5280 §4.2.1.10), and some verifiers count IPv4
/// and IPv6 as two kinds. So each kind that `hosts` lacks is given one that cannot exist. Excluding all of a kind would
/// say the same, but Java 17 fails on an address of one family beside an excluded range of the other.
fn constraints(hosts: &[Host]) -> NameConstraints {
    let mut names: BTreeSet<&str> = hosts.iter().filter_map(dns_name).collect();
    if names.is_empty() {
        names.insert(NO_NAME);
    }
    let mut addresses: BTreeSet<IpAddr> = hosts.iter().filter_map(address).collect();
    for nowhere in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        if !addresses.iter().any(|address| address.is_ipv4() == nowhere.is_ipv4()) {
            addresses.insert(nowhere);
        }
    }
    let names = names.into_iter().map(|name| GeneralSubtree::DnsName(name.into()));
    let addresses = addresses.into_iter().map(|address| GeneralSubtree::IpAddress(exactly(address)));
    NameConstraints { permitted_subtrees: names.chain(addresses).collect(), excluded_subtrees: Vec::new() }
}

fn exactly(address: IpAddr) -> CidrSubnet {
    match address {
        IpAddr::V4(address) => CidrSubnet::V4(address.octets(), [0xff; 4]),
        IpAddr::V6(address) => CidrSubnet::V6(address.octets(), [0xff; 16]),
    }
}

fn dns_name(host: &Host) -> Option<&str> {
    match host {
        Host::Name(name) | Host::Suffix(name) => Some(name),
        Host::Ip(_) => None,
    }
}

fn address(host: &Host) -> Option<IpAddr> {
    match host {
        Host::Ip(address) => Some(*address),
        Host::Name(_) | Host::Suffix(_) => None,
    }
}
