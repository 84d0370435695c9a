//! A role's sessions: one for each workload and caller, named after them, so that `CloudTrail` names them too.
//!
//! What tells sessions apart is what is said about them at STS, and who vouches for the caller ([`Session`]): two workloads share
//! one only if STS could not tell them apart either. At most [`SESSIONS`] of an endpoint are kept (some 9 KiB of resident memory
//! each), the least recently used goes first; at most [`AT_ONCE`] are asked for at a time.

mod ask;
mod session;

use std::{
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
};

use aws_credential_types::Credentials as AwsCredentials;
use lru::LruCache;
use tokio::sync::Semaphore;

use self::ask::Asker;
pub(super) use self::session::Session;
use super::{Asking, CredentialError, Used, aws::Aws, cell::Cell};
use crate::config::{Role, RoleProof};

/// Most sessions kept for one endpoint.
const SESSIONS: NonZeroUsize = NonZeroUsize::new(16_384).expect("not zero");
/// Most requests to STS under way for one endpoint.
const AT_ONCE: usize = 32;
/// Most bytes of a token in a workload's file; STS takes 20,000.
pub(super) const TOKEN_BYTES: usize = 20_000;

/// One endpoint's role.
pub(super) struct Sts {
    asker: Arc<Asker>,
    endpoint: String,
    sessions: Mutex<LruCache<Session, Arc<Cell<AwsCredentials>>>>,
}

impl Sts {
    /// `region` is where STS is asked, if it is configured.
    pub(super) fn new(role: Role, region: Option<String>, endpoint: &str, aws: &Arc<Aws>) -> Self {
        Self::keeping(SESSIONS, role, region, endpoint, aws)
    }

    fn keeping(most: NonZeroUsize, role: Role, region: Option<String>, endpoint: &str, aws: &Arc<Aws>) -> Self {
        let asker = Asker { role, region, aws: Arc::clone(aws), at_once: Semaphore::new(AT_ONCE) };
        Self { asker: Arc::new(asker), endpoint: endpoint.to_owned(), sessions: Mutex::new(LruCache::new(most)) }
    }

    /// What will be used.
    pub(super) fn intended(&self, asking: &Asking<'_>) -> Used {
        let session = self.session_of(asking);
        let (role_arn, session_name) = (Some(self.asker.role.arn.clone()), Some(session.name));
        Used { role_arn, session_name, ..Used::of("sigv4") }
    }

    /// A session's keys. `region` is where it will be used: where STS is asked, unless the configuration says.
    ///
    /// # Errors
    /// [`CredentialError::Sts`], or why STS could not be asked.
    pub(super) async fn session(
        &self,
        region: &str,
        asking: &Asking<'_>,
    ) -> Result<Arc<AwsCredentials>, CredentialError> {
        let session = self.session_of(asking);
        let cell = self.cell(&session);
        // Read before the flight begins: it is in a task of its own, which knows nothing of the workload.
        let token = || match &self.asker.role.proof {
            RoleProof::Agent { .. } => None,
            RoleProof::WebIdentity { token_file } => Some(ask::Token::read(token_file, asking.file)),
        };
        let (asker, region) = (Arc::clone(&self.asker), region.to_owned());
        cell.get(|| {
            let token = token();
            async move { asker.ask(session, &region, token).await }
        })
        .await
    }

    fn session_of(&self, asking: &Asking<'_>) -> Session {
        Session::new(&self.asker.role.proof, &self.endpoint, asking)
    }

    fn cell(&self, session: &Session) -> Arc<Cell<AwsCredentials>> {
        let mut sessions = self.sessions.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(sessions.get_or_insert_ref(session, Cell::new))
    }
}

#[cfg(test)]
mod tests;
