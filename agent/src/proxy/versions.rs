//! Which protocol revision a session settled on: requests of the oldest sessions do not say it again.

use std::{
    num::NonZeroUsize,
    sync::{Mutex, PoisonError},
};

use lru::LruCache;

use super::calls::{OpenCall, Scope};
use crate::mcp::Answer;

/// Most sessions remembered; of one forgotten, records lack the revision where a request does not name it.
const SESSIONS: NonZeroUsize = NonZeroUsize::new(16 << 10).expect("not zero");

/// The revisions that sessions settled on, the most recently used.
#[derive(Debug)]
pub(crate) struct Versions(Mutex<LruCache<Scope, String>>);

impl Versions {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self(Mutex::new(LruCache::new(SESSIONS)))
    }

    /// Notes what the answer to `initialize` settles on.
    pub(crate) fn learn(&self, scope: &Scope, call: &OpenCall, answer: &Answer) {
        if call.method != "initialize" {
            return;
        }
        let began = call.session.get().map(|session| Scope::of_session(&call.facts, session));
        let scope = began.unwrap_or_else(|| scope.clone());
        if let (true, Some(version)) = (scope.outlives_exchange(), answer.protocol_version()) {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).put(scope, version);
        }
    }

    /// What a session settled on.
    pub(crate) fn of(&self, scope: &Scope) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(scope).cloned()
    }
}
