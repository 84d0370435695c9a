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
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;
use spire_api::{DelegateAttestationRequest, DelegatedIdentityClient, DelegatedIdentityError};
use tokio::sync::Semaphore;

use super::{Process, process};

/// Processes remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// An identity is asked for anew after this time.
const HOLDS: Duration = Duration::from_secs(60);
/// So is one that was not there, or whose question failed or was not answered in time.
const NONE_HOLDS: Duration = Duration::from_secs(5);
/// Longest wait of a connection for an identity, and of a question for its answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Most questions under way. While SPIRE is slow, who comes beyond these goes without an identity.
const AT_ONCE: usize = 64;

/// A process: its pid, and when it started.
type Key = (u32, u64);

/// What is known of one process; held while it is asked for, so that all who wait for it ask once.
type Place = Arc<tokio::sync::Mutex<Option<Known>>>;

/// See the module.
pub(super) struct Spire {
    asker: Arc<Asker>,
    places: Mutex<LruCache<Key, Place>>,
}

struct Asker {
    /// `unix:<path>`.
    endpoint: String,
    client: tokio::sync::Mutex<Option<DelegatedIdentityClient>>,
    at_once: Semaphore,
}

struct Known {
    id: Option<String>,
    since: Instant,
}

impl Known {
    fn holds(&self) -> bool {
        self.since.elapsed() < if self.id.is_some() { HOLDS } else { NONE_HOLDS }
    }
}

impl std::fmt::Debug for Spire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spire").field("endpoint", &self.asker.endpoint).finish_non_exhaustive()
    }
}

impl Spire {
    /// Asks at an admin socket, from the first question on.
    pub(super) fn new(socket: &Path) -> Self {
        let endpoint = format!("unix:{}", socket.display());
        let asker = Asker { endpoint, client: tokio::sync::Mutex::default(), at_once: Semaphore::new(AT_ONCE) };
        Self { asker: Arc::new(asker), places: Mutex::new(LruCache::new(REMEMBERED)) }
    }

    /// The SPIFFE ID of a process; none where SPIRE has none, or does not answer within 2 s.
    pub(super) async fn id_of(&self, process: &Process) -> Option<String> {
        let key = (process.pid, process.started_ns?);
        let place =
            Arc::clone(self.places.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(key, Place::default));
        let ask = async {
            let mut known = place.lock_owned().await;
            if let Some(known) = known.as_ref().filter(|known| known.holds()) {
                return known.id.clone();
            }
            // In a task of its own: what was asked is remembered, whoever waits for it.
            let asker = Arc::clone(&self.asker);
            let asked = tokio::spawn(async move {
                let id = asker.id_of(key).await;
                *known = Some(Known { id: id.clone(), since: Instant::now() });
                id
            });
            asked.await.ok().flatten()
        };
        // Where there is no answer in time, less is said, never something else.
        tokio::time::timeout(PATIENCE, ask).await.ok().flatten()
    }
}

impl Asker {
    async fn id_of(&self, (pid, started_ns): Key) -> Option<String> {
        let id = match tokio::time::timeout(PATIENCE, self.ask(pid)).await {
            Ok(Ok(id)) => id,
            Ok(Err(error)) => {
                tracing::warn!(%error, pid, "SPIRE does not say who a process is");
                *self.client.lock().await = None;
                None
            }
            Err(_) => {
                tracing::warn!(pid, "SPIRE does not say in time who a process is");
                None
            }
        };
        // What it said may be about another one, which has the pid by now.
        id.filter(|_| process::started(pid).is_some_and(|started| started.as_nanos() == u128::from(started_ns)))
    }

    async fn ask(&self, pid: u32) -> Result<Option<String>, DelegatedIdentityError> {
        let _turn = self.at_once.acquire().await;
        let client = self.client().await?;
        match client.fetch_x509_svid(DelegateAttestationRequest::for_pid(pid)?).await {
            Ok(svid) => Ok(Some(svid.spiffe_id().to_string())),
            // It has no entry for this process.
            Err(DelegatedIdentityError::EmptyResponse) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn client(&self) -> Result<DelegatedIdentityClient, DelegatedIdentityError> {
        let mut client = self.client.lock().await;
        match &*client {
            Some(client) => Ok(client.clone()),
            None => Ok(client.insert(DelegatedIdentityClient::connect_to(&self.endpoint).await?).clone()),
        }
    }
}
