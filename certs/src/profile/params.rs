//! Certificate parameters, the parts that profiles and the test PKI share.

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SanType, SerialNumber,
};
use rustls_pki_types::ServerName;

use super::Period;
use crate::{Error, facts::hex};

/// A CA that may sign `path_length` levels of CAs below it.
pub(crate) fn ca_params(common_name: &str, period: Period, path_length: u8) -> Result<CertificateParams, Error> {
    let mut params = params(common_name, period)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// A server's certificate.
///
/// The subject is a constant: host names belong in the SAN, they may exceed a common name's 64 characters, and OpenSSL
/// holds a common name that looks like a host against the issuer's name constraints.
pub(crate) fn leaf_params(names: &[ServerName<'_>], period: Period) -> Result<CertificateParams, Error> {
    let mut params = params("Weir leaf", period)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.subject_alt_names = names.iter().map(san).collect::<Result<_, _>>()?;
    Ok(params)
}

fn params(common_name: &str, period: Period) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "Weir");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.not_before = period.not_before.into();
    params.not_after = period.not_after.into();
    params.serial_number = Some(SerialNumber::from_slice(&random::<16>()?));
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn san(name: &ServerName<'_>) -> Result<SanType, Error> {
    match name {
        ServerName::DnsName(name) => Ok(SanType::DnsName(name.as_ref().to_ascii_lowercase().try_into()?)),
        ServerName::IpAddress(address) => Ok(SanType::IpAddress((*address).into())),
        other => Err(Error::BadHost(other.to_str().into_owned())),
    }
}

/// Eight random hex digits, which tell apart the subjects of CAs of one kind.
pub(crate) fn random_tag() -> Result<String, Error> {
    random::<4>().map(|bytes| hex(&bytes))
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}
