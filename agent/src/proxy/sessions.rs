//! Which sessions servers have begun: a client can name any in its `Mcp-Session-Id`.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use super::{calls::Scope, record::ExchangeFacts};
use crate::mcp::Era;

/// Most sessions remembered; one that was idle longest counts as one that no server has begun.
const SESSIONS: NonZeroUsize = NonZeroUsize::new(65_536).expect("not zero");

/// The sessions whose beginning was seen, the most recently used.
#[derive(Debug)]
pub(crate) struct Sessions(Mutex<LruCache<Scope, ()>>);

impl Sessions {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(SESSIONS)))
    }

    /// Notes the session that the answer to an exchange names. One that the request itself has named is no news.
    pub(crate) fn learn(&self, facts: &ExchangeFacts, session: &str) {
        if facts.era == Era::Session && facts.session_id.is_none() {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put(Scope::of_session(facts, session), ());
        }
    }

    /// The session of an exchange, where the server has begun it: it was seen to name it, or to announce its message path.
    pub(crate) fn begun<'f>(&self, facts: &'f ExchangeFacts) -> Option<&'f str> {
        let session = facts.session_id.as_deref()?;
        let is_begun = match facts.era {
            // It has none, whatever a header says.
            Era::Modern => false,
            Era::Sse => true,
            Era::Session => {
                let scope = Scope::of_session(facts, session);
                self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&scope).is_some()
            }
        };
        is_begun.then_some(session)
    }
}
