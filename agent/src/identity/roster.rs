//! What a local authority (the kubelet, the ECS agent) says of the containers on this host, asked as seldom as can be.
//!
//! What was learnt is kept past the container's end: a connection may be looked at after its container has gone. The least
//! recently used of 4,096 make room.

use std::{
    fmt::Display,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;

/// Containers or pods remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Time between two questions, however many are unknown.
const COOLDOWN: Duration = Duration::from_secs(1);
/// What is known is asked anew after this time, for labels change.
const REFRESH: Duration = Duration::from_secs(60);
/// Longest wait of a connection for a name.
const PATIENCE: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Roster<V> {
    /// In messages: `the kubelet`.
    who: &'static str,
    known: Mutex<LruCache<String, Arc<V>>>,
    /// When it was last asked; held while it is.
    asked: tokio::sync::Mutex<Option<Instant>>,
}

impl<V> Roster<V> {
    pub(super) fn new(who: &'static str) -> Self {
        Self { who, known: Mutex::new(LruCache::new(REMEMBERED)), asked: tokio::sync::Mutex::new(None) }
    }

    /// What is known of `key`, if it is `enough`; else `list` is asked, once for all who wait.
    pub(super) async fn find<E: Display>(
        &self,
        key: &str,
        enough: impl Fn(&V) -> bool,
        list: impl AsyncFnOnce() -> Result<Vec<(String, V)>, E>,
    ) -> Option<Arc<V>> {
        if let Some(known) = self.known(key).filter(|known| enough(known)) {
            return Some(known);
        }
        let ask = async {
            let mut asked = self.asked.lock().await;
            let is_new = self.known(key).is_some_and(|known| enough(&known));
            if !is_new && asked.is_none_or(|at| at.elapsed() >= COOLDOWN) {
                self.learn(&mut asked, list).await;
            }
        };
        // Where there is no answer in time, less is said, never something else.
        let _ = tokio::time::timeout(PATIENCE, ask).await;
        self.known(key)
    }

    /// Asks anew if it was long ago and is not being done.
    pub(super) async fn refresh<E: Display>(&self, list: impl AsyncFnOnce() -> Result<Vec<(String, V)>, E>) {
        let Ok(mut asked) = self.asked.try_lock() else { return };
        if asked.is_none_or(|at| at.elapsed() >= REFRESH) {
            self.learn(&mut asked, list).await;
        }
    }

    async fn learn<E: Display>(
        &self,
        asked: &mut Option<Instant>,
        list: impl AsyncFnOnce() -> Result<Vec<(String, V)>, E>,
    ) {
        match list().await {
            Ok(listed) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                for (key, value) in listed.into_iter().take(REMEMBERED.get()) {
                    known.put(key, Arc::new(value));
                }
            }
            Err(error) => tracing::warn!(%error, "{} does not say what runs on this host", self.who),
        }
        *asked = Some(Instant::now());
    }

    fn known(&self, key: &str) -> Option<Arc<V>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use std::{
        convert::Infallible,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use super::*;

    #[tokio::test]
    async fn many_who_wait_ask_once_and_what_has_gone_is_remembered() {
        let (roster, asked) = (Arc::new(Roster::new("a test")), Arc::new(AtomicUsize::new(0)));
        let ask = |key: &'static str| {
            let (roster, asked) = (Arc::clone(&roster), Arc::clone(&asked));
            tokio::spawn(async move {
                let list = async || {
                    let time = asked.fetch_add(1, Ordering::SeqCst);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    // The second time, `a` has gone.
                    Ok::<_, Infallible>(if time == 0 { vec![("a".to_owned(), 1)] } else { vec![("b".to_owned(), 2)] })
                };
                roster.find(key, |_| true, list).await.map(|value| *value)
            })
        };
        for answer in (0..50).map(|_| ask("a")).collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), Some(1));
        }
        assert_eq!(ask("unknown").await.unwrap(), None);
        assert_eq!(asked.load(Ordering::SeqCst), 1, "unknown ones wait for the cooldown");
        tokio::time::sleep(COOLDOWN).await;
        assert_eq!(ask("b").await.unwrap(), Some(2));
        assert_eq!((ask("a").await.unwrap(), asked.load(Ordering::SeqCst)), (Some(1), 2));
    }
}
