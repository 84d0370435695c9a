//! A value that is fetched when it is first asked for, once for all who wait for it, again ahead of its end, and after a
//! failure not before some time has passed.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use aws_lc_rs::rand;
use tokio::{
    sync::{Mutex as Flight, OwnedMutexGuard},
    task::JoinHandle,
};

use super::CredentialError;

/// After the first failure, nobody asks again for about this long; twice as long after each further one.
const FIRST: Duration = Duration::from_secs(1);
/// Most of that.
const LONGEST: Duration = Duration::from_secs(60);
/// Nothing is kept for longer, whatever its source says.
const LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);
/// A value that was got this lately is not forgotten: what gets a new one after each refusal would ask all the time.
const SETTLES: Duration = Duration::from_secs(5);

/// See the module.
pub(super) struct Cell<T> {
    kept: Mutex<Kept<T>>,
    flight: Arc<Flight<()>>,
}

struct Kept<T> {
    lease: Option<Lease<T>>,
    failures: u32,
    failed: Option<(CredentialError, Instant)>,
}

/// A value, and how long it is good for.
pub(super) struct Lease<T> {
    value: Arc<T>,
    since: Instant,
    /// When it is fetched again.
    ages: Instant,
    ends: Instant,
}

enum Look<T> {
    Fresh(Arc<T>),
    /// Still good, and to be fetched again.
    Ageing(Arc<T>),
    Failed(CredentialError),
    Nothing,
}

impl<T> Lease<T> {
    /// A value that is good for `lifetime`; fetched again when a fifth of that, and at most `ahead`, is left.
    pub(super) fn of(value: T, lifetime: Duration, ahead: Duration) -> Self {
        Self::from(Instant::now(), value, lifetime, ahead)
    }

    fn from(now: Instant, value: T, lifetime: Duration, ahead: Duration) -> Self {
        let lifetime = lifetime.min(LIFETIME);
        let ends = now + lifetime;
        Self { value: Arc::new(value), since: now, ages: ends - ahead.min(lifetime / 5), ends }
    }
}

impl<T> Kept<T> {
    fn look(&self, now: Instant) -> Look<T> {
        let waits = self.failed.as_ref().filter(|(_, until)| now < *until);
        match &self.lease {
            Some(Lease { value, ages, ends, since: _ }) if now < *ends => {
                let value = Arc::clone(value);
                if now < *ages || waits.is_some() { Look::Fresh(value) } else { Look::Ageing(value) }
            }
            _ => waits.map_or(Look::Nothing, |(error, _)| Look::Failed(error.clone())),
        }
    }

    fn forget(&mut self, now: Instant) {
        self.lease.take_if(|lease| now.saturating_duration_since(lease.since) >= SETTLES);
    }

    fn settle(&mut self, now: Instant, fetched: Result<Lease<T>, CredentialError>) -> Result<Arc<T>, CredentialError> {
        match fetched {
            Ok(lease) => {
                let value = Arc::clone(&lease.value);
                *self = Self { lease: Some(lease), failures: 0, failed: None };
                Ok(value)
            }
            Err(error) => {
                let wait = FIRST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
                self.failures = self.failures.saturating_add(1);
                // Those that failed together do not come back together.
                self.failed = Some((error.clone(), now + wait.mul_f64(0.5 + random() / 2.0)));
                Err(error)
            }
        }
    }
}

impl<T: Send + Sync + 'static> Cell<T> {
    /// Empty.
    pub(super) fn new() -> Arc<Self> {
        let kept = Kept { lease: None, failures: 0, failed: None };
        Arc::new(Self { kept: Mutex::new(kept), flight: Arc::default() })
    }

    /// The value, which `fetch` gets where it must be got. Who needs it waits for whoever is fetching; a value that only
    /// ages is fetched in the background.
    ///
    /// # Errors
    /// As the last attempt's.
    pub(super) async fn get<F>(self: &Arc<Self>, fetch: impl FnOnce() -> F) -> Result<Arc<T>, CredentialError>
    where
        F: Future<Output = Result<Lease<T>, CredentialError>> + Send + 'static,
    {
        match self.look() {
            Look::Fresh(value) => return Ok(value),
            Look::Ageing(value) => {
                if let Ok(flying) = Arc::clone(&self.flight).try_lock_owned() {
                    drop(self.fly(flying, fetch()));
                }
                return Ok(value);
            }
            Look::Failed(error) => return Err(error),
            Look::Nothing => {}
        }
        let flying = Arc::clone(&self.flight).lock_owned().await;
        match self.look() {
            Look::Fresh(value) | Look::Ageing(value) => return Ok(value),
            Look::Failed(error) => return Err(error),
            Look::Nothing => {}
        }
        self.fly(flying, fetch()).await.unwrap_or_else(|_| Err(CredentialError::BrokenOff))
    }

    /// Fetches in a task of its own: whoever asked may go away while others wait for the answer. In another within that, so that
    /// one that panics has failed as any other.
    fn fly<F>(self: &Arc<Self>, flying: OwnedMutexGuard<()>, fetching: F) -> JoinHandle<Result<Arc<T>, CredentialError>>
    where
        F: Future<Output = Result<Lease<T>, CredentialError>> + Send + 'static,
    {
        let cell = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = tokio::spawn(fetching).await.unwrap_or(Err(CredentialError::BrokenOff));
            let settled = cell.settle(fetched);
            drop(flying);
            settled
        })
    }

    /// Forgets the value, unless it is quite new: the next one who asks fetches it.
    pub(super) fn forget(&self) {
        self.lock().forget(Instant::now());
    }

    fn look(&self) -> Look<T> {
        self.lock().look(Instant::now())
    }

    fn settle(&self, fetched: Result<Lease<T>, CredentialError>) -> Result<Arc<T>, CredentialError> {
        let settled = self.lock().settle(Instant::now(), fetched);
        if let Err(error) = &settled {
            tracing::warn!(%error, "credentials could not be fetched");
        }
        settled
    }

    fn lock(&self) -> MutexGuard<'_, Kept<T>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Evenly from 0 to 1; without random bytes, 1.
fn random() -> f64 {
    let mut bytes = [0; 4];
    rand::fill(&mut bytes).map_or(1.0, |()| f64::from(u32::from_ne_bytes(bytes)) / f64::from(u32::MAX))
}

#[cfg(test)]
mod tests;
