//! The legacy transport's streams, by the paths that they announced for messages.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hyper::body::Frame;

use super::{body::Feed, calls::Scope};
use crate::mcp;

/// The message paths that legacy streams have announced, and the streams, while they are open.
#[derive(Debug)]
pub(super) struct LegacyPaths {
    limit: usize,
    open: Mutex<HashMap<Scope, Feed>>,
}

impl LegacyPaths {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, open: Mutex::default() }
    }

    pub(super) fn add(&self, scope: Scope, stream: Feed) {
        let mut open = self.lock();
        if open.len() < self.limit {
            open.insert(scope, stream);
        }
    }

    pub(super) fn remove(&self, scope: &Scope) {
        self.lock().remove(scope);
    }

    pub(super) fn contains(&self, scope: &Scope) -> bool {
        self.lock().contains_key(scope)
    }

    /// Breaks a stream off.
    pub(super) async fn cut(&self, scope: &Scope, why: &mcp::Refusal) {
        let stream = self.lock().get(scope).cloned();
        if let Some(stream) = stream {
            let _ = stream.send(Err(why.to_string().into())).await;
        }
    }

    /// Puts an event of the agent's own on a stream; false when the stream has gone.
    pub(super) async fn tell(&self, scope: &Scope, event: Bytes) -> bool {
        let stream = self.lock().get(scope).cloned();
        match stream {
            Some(stream) => stream.send(Ok(Frame::data(event))).await.is_ok(),
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Feed>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
