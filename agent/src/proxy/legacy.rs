//! The legacy transport's streams, by the paths that they announced for messages.

use std::{
    collections::HashMap,
    num::NonZeroUsize,
    sync::{Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use hyper::body::Frame;
use lru::LruCache;

use super::{body::Feed, calls::Scope};
use crate::{config::normal_path, mcp};

/// Most paths that are remembered, without their queries, when no stream is open any more.
const ANNOUNCED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// The message paths that legacy streams have announced, and the streams, while they are open.
#[derive(Debug)]
pub(super) struct LegacyPaths {
    limit: usize,
    /// Several streams may announce one path.
    open: Mutex<HashMap<Scope, Vec<Feed>>>,
    /// By endpoint, however a path is spelled.
    announced: Mutex<LruCache<PathOf, ()>>,
}

/// An endpoint, and a path's segments in the loose reading.
type PathOf = (String, Vec<Vec<u8>>);

/// Streams of the legacy transport fill their table.
#[derive(Debug, thiserror::Error)]
#[error("too many streams of the 2024-11-05 transport are open; try again later")]
pub(super) struct Full;

impl LegacyPaths {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, open: Mutex::default(), announced: Mutex::new(LruCache::new(ANNOUNCED)) }
    }

    /// Notes that a stream has announced its path.
    ///
    /// # Errors
    /// When there is no room. Its messages would pass for something else then, so it must end.
    pub(super) fn add(&self, scope: Scope, stream: Feed) -> Result<(), Full> {
        if let Scope::Legacy { endpoint, path, .. } = &scope {
            let mut announced = self.announced.lock().unwrap_or_else(PoisonError::into_inner);
            if let Ok(path) = normal_path(path) {
                announced.put((endpoint.clone(), path.loosely()), ());
            }
        }
        let mut open = self.lock();
        if open.values().map(Vec::len).sum::<usize>() >= self.limit {
            return Err(Full);
        }
        open.entry(scope).or_default().push(stream);
        Ok(())
    }

    /// Forgets a stream that has ended. Returns whether it was the last that had announced its path.
    pub(super) fn remove(&self, scope: &Scope, stream: &Feed) -> bool {
        let mut open = self.lock();
        let Some(streams) = open.get_mut(scope) else { return true };
        streams.retain(|open| !open.same_channel(stream));
        let is_last = streams.is_empty();
        if is_last {
            open.remove(scope);
        }
        is_last
    }

    /// Whether a server was seen to have messages sent to a path: what is sent there is its endpoint's, also when the stream has ended.
    pub(super) fn was_announced(&self, endpoint: &str, path: &str) -> bool {
        let Ok(path) = normal_path(path) else { return false };
        let key = (endpoint.to_owned(), path.loosely());
        self.announced.lock().unwrap_or_else(PoisonError::into_inner).get(&key).is_some()
    }

    pub(super) fn contains(&self, scope: &Scope) -> bool {
        self.lock().contains_key(scope)
    }

    /// Breaks a stream off.
    pub(super) async fn cut(&self, scope: &Scope, why: &mcp::Refusal) {
        let streams = self.lock().get(scope).cloned().unwrap_or_default();
        for stream in streams {
            let _ = stream.send(Err(why.to_string().into())).await;
        }
    }

    /// Puts an event of the agent's own on a stream; false when the stream has gone.
    pub(super) async fn tell(&self, scope: &Scope, event: Bytes) -> bool {
        let stream = self.lock().get(scope).and_then(|streams| streams.last().cloned());
        match stream {
            Some(stream) => stream.send(Ok(Frame::data(event))).await.is_ok(),
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Scope, Vec<Feed>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{super::body, *};

    fn scope(path: &str) -> Scope {
        Scope::Legacy { endpoint: "e".into(), workload: "w".into(), path: path.into() }
    }

    #[test]
    fn a_path_stays_the_endpoints_while_any_stream_has_it_and_after() {
        let paths = LegacyPaths::new(2);
        let ((one, _one), (other, _other), (third, _third)) = (body::fed(), body::fed(), body::fed());
        paths.add(scope("/m?s=1"), one.clone()).unwrap();
        paths.add(scope("/m?s=1"), other.clone()).unwrap();
        assert!(paths.add(scope("/n"), third).is_err(), "full");
        assert!(!paths.remove(&scope("/m?s=1"), &one) && paths.contains(&scope("/m?s=1")));
        assert!(paths.remove(&scope("/m?s=1"), &other) && !paths.contains(&scope("/m?s=1")));
        assert!(
            paths.was_announced("e", "/m")
                && paths.was_announced("e", "/%4D")
                && !paths.was_announced("f", "/m")
                && !paths.was_announced("e", "/")
        );
    }
}
