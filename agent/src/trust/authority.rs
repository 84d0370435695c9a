//! The root and its current intermediate on disk.

#[cfg(test)]
mod tests;

use std::{
    path::{Path, PathBuf},
    time::SystemTime,
};

use rustls::pki_types::CertificateDer;
use weir_certs::{
    certificate_pem, first_certificate,
    profile::{Intermediate, Root},
};

use super::{Facts, Host, TrustError, files};

/// The CA of one host: knows where the root's key is, and does not hold it.
#[derive(Debug, Clone)]
pub struct Authority {
    state_dir: PathBuf,
    root: CertificateDer<'static>,
    facts: Facts,
}

impl Authority {
    /// Makes a root in `<state_dir>/ca`.
    ///
    /// # Errors
    /// [`TrustError::CaExists`] when there is one, and when a file cannot be made.
    pub fn init(state_dir: &Path) -> Result<Self, TrustError> {
        let dir = ca_dir(state_dir);
        files::create_private_dir(&dir)?;
        files::check_dir(state_dir)?;
        files::check_dir(&dir)?;
        let _writing = files::lock(&dir)?;
        let certificate = dir.join("root.pem");
        if files::read(&certificate)?.is_some() {
            return Err(TrustError::CaExists(dir));
        }
        let root = Root::generate(SystemTime::now()).map_err(at(&dir))?;
        // The certificate comes last: it says that the CA is complete. A key alone has signed nothing that anybody trusts.
        files::write_whole(&dir.join("root.key"), &root.key().to_pem(), 0o600)?;
        files::write_whole(&certificate, &certificate_pem(root.certificate()), 0o644)?;
        Self::open(state_dir)
    }

    /// Opens the CA in `<state_dir>/ca`. Reads no key.
    ///
    /// # Errors
    /// [`TrustError::NoCa`] when there is none; when others could have replaced it; when the certificate cannot be read.
    pub fn open(state_dir: &Path) -> Result<Self, TrustError> {
        let dir = ca_dir(state_dir);
        let path = dir.join("root.pem");
        let pem = files::read(&path)?.ok_or_else(|| TrustError::NoCa(dir.clone()))?;
        files::check_dir(state_dir)?;
        files::check_dir(&dir)?;
        let root = first_certificate(&pem).map_err(at(&path))?;
        let facts = Facts::of(&root).map_err(at(&path))?;
        Ok(Self { state_dir: state_dir.to_owned(), root, facts })
    }

    /// Signs an intermediate for `hosts`, keeps it on disk in place of the one before and returns it. The root's key is
    /// read here and nowhere else.
    ///
    /// # Errors
    /// When a key is exposed, does not fit, or cannot be read or written; when the root has expired.
    pub fn issue_intermediate(&self, hosts: &[Host]) -> Result<Intermediate, TrustError> {
        let dir = self.dir();
        let _writing = files::lock(&dir)?;
        let key = files::read_key(&dir.join("root.key"))?;
        let root = Root::from_pem(&self.root_pem(), &key).map_err(at(&dir.join("root.key")))?;
        drop(key);
        let intermediate = root.issue(hosts, SystemTime::now()).map_err(at(&dir.join("root.pem")))?;
        drop(root);
        files::write_whole(&dir.join("intermediate.key"), &intermediate.key().to_pem(), 0o600)?;
        files::write_whole(&dir.join("intermediate.pem"), &certificate_pem(intermediate.certificate()), 0o644)?;
        Ok(intermediate)
    }

    /// The intermediate on disk with its key, when it can serve `hosts` now.
    ///
    /// # Errors
    /// [`TrustError::NoIntermediate`]; [`TrustError::Unfit`] when it is of another root, out of its time or lacks a host;
    /// when its key is exposed or does not fit.
    pub fn intermediate(&self, hosts: &[Host]) -> Result<Intermediate, TrustError> {
        let dir = self.dir();
        let _stable = files::lock(&dir)?;
        let path = dir.join("intermediate.pem");
        let pem = files::read(&path)?.ok_or_else(|| TrustError::NoIntermediate(dir.clone()))?;
        let key = files::read_key(&dir.join("intermediate.key"))?;
        let intermediate = Intermediate::from_pem(&pem, &key).map_err(at(&path))?;
        match self.unfitness(&intermediate, hosts) {
            None => Ok(intermediate),
            Some(reason) => Err(TrustError::Unfit { path, reason }),
        }
    }

    fn unfitness(&self, intermediate: &Intermediate, hosts: &[Host]) -> Option<String> {
        if intermediate.facts().issuer != self.facts.subject {
            return Some(format!(
                "it was signed by `{}`, not by `{}`",
                intermediate.facts().issuer,
                self.facts.subject
            ));
        }
        if !intermediate.period().contains(SystemTime::now()) {
            return Some("it is not valid at this time".into());
        }
        hosts.iter().find(|host| !intermediate.covers(host)).map(|host| format!("it does not permit `{host}`"))
    }

    /// What the intermediate on disk says, without its key; `None` when there is none.
    ///
    /// # Errors
    /// When the certificate cannot be read.
    pub fn intermediate_facts(&self) -> Result<Option<Facts>, TrustError> {
        let path = self.dir().join("intermediate.pem");
        let Some(pem) = files::read(&path)? else { return Ok(None) };
        first_certificate(&pem).and_then(|certificate| Facts::of(&certificate)).map(Some).map_err(at(&path))
    }

    /// The root certificate.
    pub fn root(&self) -> &CertificateDer<'static> {
        &self.root
    }

    /// The root certificate as PEM.
    pub fn root_pem(&self) -> String {
        certificate_pem(&self.root)
    }

    /// What the root certificate says.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// `<state_dir>/ca`.
    pub fn dir(&self) -> PathBuf {
        ca_dir(&self.state_dir)
    }

    /// The state directory that the CA is in.
    pub fn state_dir(&self) -> &Path {
        &self.state_dir
    }
}

fn ca_dir(state_dir: &Path) -> PathBuf {
    state_dir.join("ca")
}

fn at(path: &Path) -> impl FnOnce(weir_certs::Error) -> TrustError {
    let path = path.to_owned();
    move |source| TrustError::Certificate { path, source }
}
