//! A PKI for tests: servers with good certificates, and one for each way to be wrong. Everything is made when asked for;
//! what is written goes where the caller says.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, Issuer};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use crate::{
    Error, Key, certificate_pem,
    profile::{Period, ca_params, leaf_params, random_tag},
};

const DAY: Duration = Duration::from_hours(24);

/// A root and what it signs. Another `TestPki` is an untrusted root.
pub struct TestPki {
    certificate: CertificateDer<'static>,
    issuer: Issuer<'static, Key>,
}

/// When a test server's certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// From yesterday to tomorrow.
    Valid,
    /// Ended yesterday.
    Expired,
    /// Begins tomorrow.
    NotYetValid,
}

/// What a test server presents.
pub struct Server {
    chain: Vec<CertificateDer<'static>>,
    key: Key,
}

impl TestPki {
    /// A new root.
    ///
    /// # Errors
    /// [`Error::Sign`] and [`Error::Random`].
    pub fn new() -> Result<Self, Error> {
        let key = Key::generate()?;
        let params = ca_params(&format!("Weir test root {}", random_tag()?), years(), 1)?;
        let certificate = params.self_signed(&key)?.der().clone();
        Ok(Self { certificate, issuer: Issuer::new(params, key) })
    }

    /// A server with a certificate for `names` (DNS names and addresses), signed by the root. A certificate for other
    /// names than the client asks for is a wrong host.
    ///
    /// # Errors
    /// [`Error::BadHost`], [`Error::Sign`] and [`Error::Random`].
    pub fn server(&self, names: &[&str], validity: Validity) -> Result<Server, Error> {
        let (params, key) = server_params(names, validity)?;
        Ok(Server { chain: vec![params.signed_by(&key, &self.issuer)?.der().clone()], key })
    }

    /// A server whose chain holds an intermediate, as public servers' do.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn server_with_intermediate(&self, names: &[&str]) -> Result<Server, Error> {
        let ca_key = Key::generate()?;
        let ca = ca_params(&format!("Weir test intermediate {}", random_tag()?), years(), 0)?;
        let ca_certificate = ca.signed_by(&ca_key, &self.issuer)?.der().clone();
        let (params, key) = server_params(names, Validity::Valid)?;
        let leaf = params.signed_by(&key, &Issuer::new(ca, ca_key))?.der().clone();
        Ok(Server { chain: vec![leaf, ca_certificate], key })
    }

    /// A server that leaves out the intermediate that its certificate needs.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn incomplete_chain(&self, names: &[&str]) -> Result<Server, Error> {
        let mut server = self.server_with_intermediate(names)?;
        server.chain.truncate(1);
        Ok(server)
    }

    /// A server whose certificate is signed by its own key.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn self_signed(names: &[&str]) -> Result<Server, Error> {
        let (params, key) = server_params(names, Validity::Valid)?;
        Ok(Server { chain: vec![params.self_signed(&key)?.der().clone()], key })
    }

    /// As [`self_signed`](Self::self_signed), marked as a CA as well: what `openssl req -x509` makes.
    ///
    /// # Errors
    /// As [`server`](Self::server).
    pub fn self_signed_ca(names: &[&str]) -> Result<Server, Error> {
        let (mut params, key) = server_params(names, Validity::Valid)?;
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        Ok(Server { chain: vec![params.self_signed(&key)?.der().clone()], key })
    }

    /// The root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The root certificate as PEM.
    pub fn root_pem(&self) -> String {
        certificate_pem(&self.certificate)
    }

    /// Writes the root certificate to `<dir>/<stem>.pem` and returns that path.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write_root(&self, dir: &Path, stem: &str) -> Result<PathBuf, Error> {
        write(dir.join(format!("{stem}.pem")), &self.root_pem(), 0o644)
    }
}

impl Server {
    /// The chain, the server's own certificate first.
    pub fn chain(&self) -> Vec<CertificateDer<'static>> {
        self.chain.clone()
    }

    /// The private key.
    pub fn key(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(self.key.as_pkcs8().clone_key())
    }

    /// The chain as PEM.
    pub fn chain_pem(&self) -> String {
        self.chain.iter().map(|certificate| certificate_pem(certificate)).collect()
    }

    /// Writes `<dir>/<stem>.pem` (the chain, 0644) and `<dir>/<stem>.key` (0600) and returns the two paths.
    ///
    /// # Errors
    /// [`Error::Write`].
    pub fn write(&self, dir: &Path, stem: &str) -> Result<(PathBuf, PathBuf), Error> {
        let chain = write(dir.join(format!("{stem}.pem")), &self.chain_pem(), 0o644)?;
        let key = write(dir.join(format!("{stem}.key")), &self.key.to_pem(), 0o600)?;
        Ok((chain, key))
    }
}

fn server_params(names: &[&str], validity: Validity) -> Result<(CertificateParams, Key), Error> {
    let names = names
        .iter()
        .map(|name| ServerName::try_from(*name).map_err(|_| Error::BadHost((*name).to_owned())))
        .collect::<Result<Vec<_>, _>>()?;
    let now = SystemTime::now();
    let period = match validity {
        Validity::Valid => Period { not_before: now - DAY, not_after: now + DAY },
        Validity::Expired => Period { not_before: now - 2 * DAY, not_after: now - DAY },
        Validity::NotYetValid => Period { not_before: now + DAY, not_after: now + 2 * DAY },
    };
    Ok((leaf_params(&names, period)?, Key::generate()?))
}

/// Long enough to have signed what expired yesterday.
fn years() -> Period {
    let now = SystemTime::now();
    Period { not_before: now - 365 * DAY, not_after: now + 365 * DAY }
}

fn write(path: PathBuf, text: &str, mode: u32) -> Result<PathBuf, Error> {
    let written = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()));
    match written {
        Ok(()) => Ok(path),
        Err(source) => Err(Error::Write { path, source }),
    }
}
