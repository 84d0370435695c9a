//! The keys that the auditor gave, and for whom each may sign.

use std::collections::{BTreeSet, HashMap};

use super::{
    super::checkpoint::{KeyId, PublicKey, statement::Host},
    fault::Fault,
    report::{LogReport, Spot},
};

/// Most hosts of one key that are named.
const NAMED: usize = 8;

/// A public key that checkpoints may be signed with.
#[derive(Debug, Clone)]
pub struct GivenKey {
    /// The key.
    pub key: PublicKey,
    /// Whose it is.
    pub signer: KeyHolder,
}

/// Who may sign with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyHolder {
    /// One host, whichever: two that sign with it are a finding.
    OneHost,
    /// This log, or the host of this id or name.
    Named(String),
    /// Any, as with a key in KMS that a fleet shares.
    Anybody,
}

impl From<PublicKey> for GivenKey {
    fn from(key: PublicKey) -> Self {
        Self { key, signer: KeyHolder::OneHost }
    }
}

impl KeyHolder {
    /// Whether a checkpoint of `log` that states `host` may be signed with its key.
    pub(super) fn is(&self, log: &str, host: &Host) -> bool {
        match self {
            Self::OneHost | Self::Anybody => true,
            Self::Named(name) => name == log || *name == host.id || *name == host.name,
        }
    }
}

/// Names the logs whose key signs for several hosts and was not given as such.
pub(super) fn name_shared(logs: &mut [LogReport]) {
    let mut hosts: HashMap<KeyId, BTreeSet<String>> = HashMap::new();
    for key in logs.iter().flat_map(|log| &log.keys).filter(|key| key.is_of_one_host) {
        hosts.entry(key.id).or_default().extend(key.hosts.iter().cloned());
    }
    hosts.retain(|_, hosts| hosts.len() > 1);
    for log in logs {
        for key in log.keys.iter().map(|key| key.id) {
            let Some(hosts) = hosts.get(&key) else { continue };
            let fault = Fault::KeyShared { key, hosts: hosts.iter().take(NAMED).cloned().collect() };
            let name = log.host.as_ref().map_or("", |host| &host.name);
            log.findings.add(Some(log.first_seq), Spot { file: name, offset: 0 }, &fault);
        }
    }
}
