//! The certificate that stands in for the real server's, made when that one has been verified.

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

use lru::LruCache;
use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::sign::any_ecdsa_type,
    pki_types::{PrivateKeyDer, ServerName},
    server::NoServerSessionStorage,
    sign::{CertifiedKey, SingleCertAndKey},
};
use weir_certs::profile::{Intermediate, Leaf};

use super::{VERSIONS, provider};

/// Mints leaves under one intermediate and keeps them, a bounded number, until half of their life is over.
pub struct Minter {
    shelf: Mutex<Shelf>,
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter").finish_non_exhaustive()
    }
}

/// One lock for both, so that no leaf of an old intermediate appears beside a new one. A leaf costs about 0.1 ms, which is
/// how long the lock is held.
struct Shelf {
    intermediate: Arc<Intermediate>,
    leaves: LruCache<ServerName<'static>, Minted>,
}

struct Minted {
    key: Arc<CertifiedKey>,
    renew_at: SystemTime,
}

/// Why no leaf could be minted.
#[derive(Debug, thiserror::Error)]
pub enum MintError {
    /// The intermediate does not permit the name, or has expired.
    #[error("cannot mint a certificate: {0}")]
    Issue(#[from] weir_certs::Error),
    /// TLS does not take the minted certificate.
    #[error("cannot use the minted certificate: {0}")]
    Tls(#[from] rustls::Error),
}

impl Minter {
    /// A minter under `intermediate` that keeps at most `capacity` leaves, the most recently used.
    pub fn new(intermediate: Arc<Intermediate>, capacity: NonZeroUsize) -> Self {
        Self { shelf: Mutex::new(Shelf { intermediate, leaves: LruCache::new(capacity) }) }
    }

    /// The intermediate in use.
    pub fn intermediate(&self) -> Arc<Intermediate> {
        Arc::clone(&self.shelf().intermediate)
    }

    /// Replaces the intermediate. Handshakes that have begun finish under the old one.
    pub fn replace(&self, intermediate: Arc<Intermediate>) {
        let mut shelf = self.shelf();
        shelf.intermediate = intermediate;
        shelf.leaves.clear();
    }

    /// What serves one client as `name`: a leaf for that name alone, the intermediate behind it, and `alpn` as the only
    /// protocol, or none.
    ///
    /// # Errors
    /// As [`MintError`] says.
    pub fn server_config(&self, name: &ServerName<'_>, alpn: Option<&[u8]>) -> Result<Arc<ServerConfig>, MintError> {
        let key = self.certified_key(name, SystemTime::now())?;
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(VERSIONS)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
        config.alpn_protocols = alpn.map(<[u8]>::to_vec).into_iter().collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    fn certified_key(&self, name: &ServerName<'_>, now: SystemTime) -> Result<Arc<CertifiedKey>, MintError> {
        let name = canonical(name);
        let mut shelf = self.shelf();
        if let Some(minted) = shelf.leaves.get(&name)
            && now < minted.renew_at
        {
            return Ok(Arc::clone(&minted.key));
        }
        let leaf = shelf.intermediate.leaf(&name, now)?;
        let renew_at = leaf.period.half_life();
        let key = Arc::new(certified(&leaf, &shelf.intermediate)?);
        shelf.leaves.put(name, Minted { key: Arc::clone(&key), renew_at });
        Ok(key)
    }

    /// Nothing that runs under the lock leaves the shelf half changed, so a panic elsewhere does not spoil it.
    fn shelf(&self) -> std::sync::MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn canonical(name: &ServerName<'_>) -> ServerName<'static> {
    match name {
        ServerName::DnsName(name) => ServerName::DnsName(name.to_lowercase_owned()),
        other => other.to_owned(),
    }
}

fn certified(leaf: &Leaf, intermediate: &Intermediate) -> Result<CertifiedKey, rustls::Error> {
    let key = any_ecdsa_type(&PrivateKeyDer::Pkcs8(leaf.key.as_pkcs8()))?;
    Ok(CertifiedKey::new(vec![leaf.certificate.clone(), intermediate.certificate().clone()], key))
}

#[cfg(test)]
mod tests {
    use std::{thread, time::Duration};

    use weir_certs::profile::Root;

    use super::*;

    fn name(text: &str) -> ServerName<'static> {
        ServerName::try_from(text.to_owned()).unwrap()
    }

    fn intermediate() -> Arc<Intermediate> {
        let hosts = ["example.com".parse().unwrap()];
        Arc::new(Root::generate(SystemTime::now()).unwrap().issue(&hosts, SystemTime::now()).unwrap())
    }

    fn minter(capacity: usize) -> Minter {
        Minter::new(intermediate(), NonZeroUsize::new(capacity).unwrap())
    }

    #[test]
    fn one_name_is_minted_once_however_many_ask_and_however_it_is_written() {
        let minter = minter(8);
        let keys: Vec<_> = thread::scope(|scope| {
            let asking: Vec<_> = (0..8)
                .map(|asker| {
                    let name = name(if asker % 2 == 0 { "mcp.example.com" } else { "MCP.Example.COM" });
                    let minter = &minter;
                    scope.spawn(move || minter.certified_key(&name, SystemTime::now()).unwrap())
                })
                .collect();
            asking.into_iter().map(|asked| asked.join().unwrap()).collect()
        });
        assert!(keys.iter().all(|key| Arc::ptr_eq(key, &keys[0])));
    }

    #[test]
    fn the_shelf_is_bounded_and_keeps_what_is_used() {
        let minter = minter(2);
        let now = SystemTime::now();
        let kept = minter.certified_key(&name("kept.example.com"), now).unwrap();
        for other in 0..10 {
            minter.certified_key(&name(&format!("n{other}.example.com")), now).unwrap();
            assert!(Arc::ptr_eq(&kept, &minter.certified_key(&name("kept.example.com"), now).unwrap()));
        }
        assert_eq!(minter.shelf().leaves.len(), 2);
    }

    #[test]
    fn a_leaf_is_renewed_well_before_it_expires() {
        let minter = minter(8);
        let now = SystemTime::now();
        let first = minter.certified_key(&name("a.example.com"), now).unwrap();
        let soon = minter.certified_key(&name("a.example.com"), now + Duration::from_hours(11)).unwrap();
        let later = minter.certified_key(&name("a.example.com"), now + Duration::from_hours(13)).unwrap();
        assert!(Arc::ptr_eq(&first, &soon));
        assert!(!Arc::ptr_eq(&first, &later));
    }

    #[test]
    fn a_new_intermediate_signs_everything_from_then_on() {
        let minter = minter(8);
        let now = SystemTime::now();
        minter.certified_key(&name("a.example.com"), now).unwrap();
        let renewed = intermediate();
        minter.replace(Arc::clone(&renewed));
        let key = minter.certified_key(&name("a.example.com"), now).unwrap();
        assert_eq!(&key.cert[1], renewed.certificate());
    }

    #[test]
    fn what_the_intermediate_does_not_permit_is_not_minted() {
        let error = minter(8).server_config(&name("example.net"), None).unwrap_err();
        assert!(matches!(error, MintError::Issue(weir_certs::Error::NotPermitted { .. })), "{error}");
    }
}
