//! SPIFFE IDs of processes, from SPIRE's agent on this host.
//!
//! The SPIFFE Workload API tells a process its own identity: asked by this agent, it would answer for this agent. What is asked
//! instead is the [Delegated Identity API] on SPIRE's admin socket, which attests the process that a pid names. The answer comes
//! with the identity's key, which is dropped unread.
//!
//! [Delegated Identity API]: https://spiffe.io/docs/latest/deploying/spire_agent/#delegated-identity-api

use std::{
    num::NonZeroUsize,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;
use spire_api::{DelegateAttestationRequest, DelegatedIdentityClient, DelegatedIdentityError};

use super::Process;

/// Processes remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// An identity is asked for anew after this time.
const HOLDS: Duration = Duration::from_secs(60);
/// So is one that was not there, or whose question failed.
const NONE_HOLDS: Duration = Duration::from_secs(5);
/// Longest wait of a connection for an identity.
const PATIENCE: Duration = Duration::from_secs(2);

/// A process: its pid, and when it started.
type Key = (u32, u64);

/// See the module.
pub(super) struct Spire {
    /// `unix:<path>`.
    endpoint: String,
    known: Mutex<LruCache<Key, Known>>,
    /// Held while it is asked, so that all who wait for one process ask once.
    client: tokio::sync::Mutex<Option<DelegatedIdentityClient>>,
}

#[derive(Clone)]
struct Known {
    id: Option<String>,
    since: Instant,
}

impl std::fmt::Debug for Spire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spire").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

impl Spire {
    /// Asks at an admin socket, from the first question on.
    pub(super) fn new(socket: &Path) -> Self {
        Self {
            endpoint: format!("unix:{}", socket.display()),
            known: Mutex::new(LruCache::new(REMEMBERED)),
            client: tokio::sync::Mutex::default(),
        }
    }

    /// The SPIFFE ID of a process; none where SPIRE has none, or does not answer within 2 s.
    ///
    /// `is_still` says whether the pid is still that process's: an answer about another one is dropped.
    pub(super) async fn id_of(&self, process: &Process, is_still: impl Fn() -> bool) -> Option<String> {
        let key = (process.pid, process.started_ns?);
        if let Some(known) = self.known(key) {
            return known.id;
        }
        let ask = async {
            let mut client = self.client.lock().await;
            if let Some(known) = self.known(key) {
                return known.id;
            }
            let id = match ask(&self.endpoint, &mut client, process.pid).await {
                Ok(id) => id,
                Err(error) => {
                    tracing::warn!(%error, pid = process.pid, "SPIRE does not say who a process is");
                    *client = None;
                    None
                }
            };
            let id = id.filter(|_| is_still());
            self.lock().put(key, Known { id: id.clone(), since: Instant::now() });
            id
        };
        // Where there is no answer in time, less is said, never something else.
        tokio::time::timeout(PATIENCE, ask).await.ok().flatten()
    }

    fn known(&self, key: Key) -> Option<Known> {
        let known = self.lock().get(&key)?.clone();
        let holds = if known.id.is_some() { HOLDS } else { NONE_HOLDS };
        (known.since.elapsed() < holds).then_some(known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<Key, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn ask(
    endpoint: &str,
    client: &mut Option<DelegatedIdentityClient>,
    pid: u32,
) -> Result<Option<String>, DelegatedIdentityError> {
    let client = match client {
        Some(client) => client,
        None => client.insert(DelegatedIdentityClient::connect_to(endpoint).await?),
    };
    match client.fetch_x509_svid(DelegateAttestationRequest::for_pid(pid)?).await {
        Ok(svid) => Ok(Some(svid.spiffe_id().to_string())),
        // It has no entry for this process.
        Err(DelegatedIdentityError::EmptyResponse) => Ok(None),
        Err(error) => Err(error),
    }
}
