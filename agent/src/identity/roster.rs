//! What a local authority (the kubelet, the ECS agent) says of the containers on this host, asked as seldom as can be.
//!
//! It is asked in a task of its own, one question at a time, whoever waits for the answer or goes away; while it is slow, a
//! connection waits 2 s for it and goes on without. What was learnt is kept past the container's end: a connection may be looked
//! at after its container has gone. The least recently used of 4,096 make room.

use std::{
    fmt::Display,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use lru::LruCache;
use tokio::sync::OwnedMutexGuard;

/// Containers or pods remembered.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");
/// Time between two questions, however many are unknown.
const COOLDOWN: Duration = Duration::from_secs(1);
/// The same after one that was not answered, in time or at all.
const COOLDOWN_FAILED: Duration = Duration::from_secs(5);
/// What is known is asked anew after this time, for labels change.
const REFRESH: Duration = Duration::from_secs(60);
/// Longest wait of a connection for a name.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whom to ask.
pub(super) trait Authority: Send + Sync + 'static {
    /// In messages: `the kubelet`.
    const NAME: &'static str;
    /// What it says of one container or pod.
    type Known: Send + Sync + 'static;
    /// Why it says nothing.
    type Error: Display + Send;

    /// All that it has to say, by the names that cgroups have.
    fn list(&self) -> impl Future<Output = Result<Vec<(String, Self::Known)>, Self::Error>> + Send;
}

/// See the module.
#[derive(Debug)]
pub(super) struct Roster<A: Authority> {
    authority: A,
    known: Mutex<LruCache<String, Arc<A::Known>>>,
    /// When it may be asked again, and when it is to be; held while it is asked.
    asked: Arc<tokio::sync::Mutex<Asked>>,
}

#[derive(Debug, Default)]
struct Asked(Option<(Instant, Duration)>);

impl Asked {
    /// Whether it was not asked lately.
    fn may_be_again(&self) -> bool {
        self.0.is_none_or(|(at, cooldown)| at.elapsed() >= cooldown)
    }

    fn is_long_ago(&self) -> bool {
        self.0.is_none_or(|(at, _)| at.elapsed() >= REFRESH)
    }
}

impl<A: Authority> Roster<A> {
    pub(super) fn new(authority: A) -> Arc<Self> {
        Arc::new(Self { authority, known: Mutex::new(LruCache::new(REMEMBERED)), asked: Arc::default() })
    }

    /// What is known of `key`, if it is `enough`; else the authority is asked, once for all who wait.
    pub(super) async fn find(self: &Arc<Self>, key: &str, enough: impl Fn(&A::Known) -> bool) -> Option<Arc<A::Known>> {
        let is_enough = || self.known(key).is_some_and(|known| enough(&known));
        if !is_enough() {
            let ask = async {
                let asked = Arc::clone(&self.asked).lock_owned().await;
                if !is_enough() && asked.may_be_again() {
                    let _ = tokio::spawn(Arc::clone(self).learn(asked)).await;
                }
            };
            // Where there is no answer in time, less is said, never something else.
            let _ = tokio::time::timeout(PATIENCE, ask).await;
        }
        self.known(key)
    }

    /// Asks anew if it was long ago and is not being done.
    pub(super) async fn refresh(self: &Arc<Self>) {
        let Ok(asked) = Arc::clone(&self.asked).try_lock_owned() else { return };
        if asked.is_long_ago() {
            Arc::clone(self).learn(asked).await;
        }
    }

    async fn learn(self: Arc<Self>, mut asked: OwnedMutexGuard<Asked>) {
        let cooldown = match self.authority.list().await {
            Ok(listed) => {
                let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                for (key, value) in listed.into_iter().take(REMEMBERED.get()) {
                    known.put(key, Arc::new(value));
                }
                COOLDOWN
            }
            Err(error) => {
                tracing::warn!(%error, "{} does not say what runs on this host", A::NAME);
                COOLDOWN_FAILED
            }
        };
        *asked = Asked(Some((Instant::now(), cooldown)));
    }

    fn known(&self, key: &str) -> Option<Arc<A::Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(key).map(Arc::clone)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Answers after a time: first `a`, then `b`, then not at all.
    #[derive(Default)]
    struct Test {
        asked: AtomicUsize,
        takes: Duration,
    }

    impl Authority for Test {
        const NAME: &'static str = "a test";
        type Known = u32;
        type Error = &'static str;

        async fn list(&self) -> Result<Vec<(String, u32)>, &'static str> {
            let time = self.asked.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(self.takes).await;
            match time {
                0 => Ok(vec![("a".to_owned(), 1)]),
                1 => Ok(vec![("b".to_owned(), 2)]),
                _ => Err("no"),
            }
        }
    }

    fn roster(takes: Duration) -> Arc<Roster<Test>> {
        Roster::new(Test { takes, ..Test::default() })
    }

    fn ask(roster: &Arc<Roster<Test>>, key: &'static str) -> tokio::task::JoinHandle<Option<u32>> {
        let roster = Arc::clone(roster);
        tokio::spawn(async move { roster.find(key, |_| true).await.map(|value| *value) })
    }

    #[tokio::test]
    async fn many_who_wait_ask_once_and_what_has_gone_is_remembered() {
        let roster = roster(Duration::from_millis(20));
        let asked = || roster.authority.asked.load(Ordering::SeqCst);
        for answer in (0..50).map(|_| ask(&roster, "a")).collect::<Vec<_>>() {
            assert_eq!(answer.await.unwrap(), Some(1));
        }
        assert_eq!(ask(&roster, "unknown").await.unwrap(), None);
        assert_eq!(asked(), 1, "unknown ones wait for the cooldown");
        tokio::time::sleep(COOLDOWN).await;
        assert_eq!(ask(&roster, "b").await.unwrap(), Some(2));
        assert_eq!((ask(&roster, "a").await.unwrap(), asked()), (Some(1), 2));
        tokio::time::sleep(COOLDOWN).await;
        assert_eq!(ask(&roster, "c").await.unwrap(), None);
        tokio::time::sleep(COOLDOWN).await;
        assert_eq!((ask(&roster, "c").await.unwrap(), asked()), (None, 3), "a failure is remembered for longer");
    }

    #[tokio::test]
    async fn one_that_is_slow_is_asked_once_and_answers_whoever_comes_later() {
        let roster = roster(PATIENCE * 3 / 2);
        let asked = || roster.authority.asked.load(Ordering::SeqCst);
        assert_eq!(ask(&roster, "a").await.unwrap(), None, "nobody waits longer than 2 s");
        assert_eq!((ask(&roster, "a").await.unwrap(), asked()), (Some(1), 1));
    }
}
