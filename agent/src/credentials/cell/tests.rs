use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);
const AHEAD: Duration = Duration::from_secs(300);

/// Counts how often it is asked, and answers once it is let.
#[derive(Clone, Default)]
struct Service {
    asked: Arc<AtomicU32>,
    gate: Arc<Flight<()>>,
}

impl Service {
    async fn fetch(self) -> Result<Lease<u32>, CredentialError> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed) + 1;
        drop(self.gate.lock().await);
        Ok(Lease::of(number, HOUR, AHEAD))
    }

    fn asked(&self) -> u32 {
        self.asked.load(Ordering::Relaxed)
    }
}

fn empty() -> Kept<u32> {
    Kept { lease: None, failures: 0, failed: None }
}

fn down() -> CredentialError {
    CredentialError::Agent("down".into())
}

#[tokio::test]
async fn many_who_ask_at_once_are_one_request() {
    let (cell, service) = (Cell::new(), Service::default());
    let closed = Arc::clone(&service.gate).lock_owned().await;
    let ask = || {
        let (cell, service) = (Arc::clone(&cell), service.clone());
        tokio::spawn(async move { cell.get(|| service.fetch()).await })
    };
    let mut asking: Vec<_> = (0..100).map(|_| ask()).collect();
    while service.asked() == 0 {
        tokio::task::yield_now().await;
    }
    // Who goes away does not end what the others wait for.
    asking.remove(0).abort();
    drop(closed);
    for asked in asking {
        assert_eq!(asked.await.expect("a task").as_deref(), Ok(&1));
    }
    assert_eq!(service.asked(), 1);
    cell.forget();
    assert_eq!(cell.get(|| service.clone().fetch()).await.as_deref(), Ok(&1), "got just now");
}

#[test]
fn who_refuses_each_value_does_not_have_one_fetched_each_time() {
    let (mut kept, now) = (empty(), Instant::now());
    assert!(kept.settle(now, Ok(Lease::from(now, 7, HOUR, AHEAD))).is_ok());
    kept.forget(now + SETTLES / 2);
    assert!(matches!(kept.look(now + SETTLES / 2), Look::Fresh(_)));
    kept.forget(now + SETTLES);
    assert!(matches!(kept.look(now + SETTLES), Look::Nothing));
}

#[tokio::test]
async fn what_ages_is_fetched_again_and_nobody_waits() {
    let (cell, service) = (Cell::new(), Service::default());
    let aged = Instant::now().checked_sub(HOUR - Duration::from_secs(200)).expect("up for an hour");
    cell.lock().lease = Some(Lease::from(aged, 0, HOUR, AHEAD));
    let closed = Arc::clone(&service.gate).lock_owned().await;
    for _ in 0..10 {
        assert_eq!(cell.get(|| service.clone().fetch()).await.as_deref(), Ok(&0), "still the old one, at once");
        tokio::task::yield_now().await;
    }
    assert_eq!(service.asked(), 1);
    drop(closed);
    while cell.get(|| service.clone().fetch()).await.as_deref() == Ok(&0) {
        tokio::task::yield_now().await;
    }
    assert_eq!(service.asked(), 1);
}

#[tokio::test]
async fn a_fetch_that_panics_has_failed_and_is_not_begun_again_at_once() {
    let (cell, begun) = (Cell::<u32>::new(), Arc::new(AtomicU32::new(0)));
    for _ in 0..3 {
        let begun = Arc::clone(&begun);
        let fetched = cell.get(|| async move {
            begun.fetch_add(1, Ordering::Relaxed);
            panic!("as a library might")
        });
        assert_eq!(fetched.await.err(), Some(CredentialError::BrokenOff));
    }
    assert_eq!(begun.load(Ordering::Relaxed), 1);
}

#[test]
fn no_lifetime_is_too_long() {
    let (mut kept, now) = (empty(), Instant::now());
    assert!(kept.settle(now, Ok(Lease::from(now, 7, Duration::MAX, AHEAD))).is_ok());
    assert!(matches!(kept.look(now + LIFETIME - AHEAD * 2), Look::Fresh(_)));
    assert!(matches!(kept.look(now + LIFETIME), Look::Nothing));
}

#[test]
fn a_value_ages_before_it_ends() {
    let (mut kept, now) = (empty(), Instant::now());
    assert!(matches!(kept.look(now), Look::Nothing));
    assert!(kept.settle(now, Ok(Lease::from(now, 7, HOUR, AHEAD))).is_ok());
    let at = |left: u64| kept.look(now + HOUR - Duration::from_secs(left));
    assert!(matches!(at(301), Look::Fresh(_)));
    assert!(matches!(at(299), Look::Ageing(_)));
    assert!(matches!(at(1), Look::Ageing(_)));
    assert!(matches!(at(0), Look::Nothing));
    // Short ones are not fetched all the time.
    assert!(kept.settle(now, Ok(Lease::from(now, 8, Duration::from_secs(100), AHEAD))).is_ok());
    assert!(matches!(kept.look(now + Duration::from_secs(79)), Look::Fresh(_)));
    assert!(matches!(kept.look(now + Duration::from_secs(81)), Look::Ageing(_)));
}

#[test]
fn after_a_failure_nobody_asks_for_a_while_and_longer_each_time() {
    let (mut kept, mut now) = (empty(), Instant::now());
    for round in 0..10 {
        let longest = LONGEST.min(FIRST * 2_u32.pow(round));
        assert_eq!(kept.settle(now, Err(down())).err(), Some(down()));
        assert!(matches!(kept.look(now + longest.mul_f64(0.49)), Look::Failed(_)), "{round}");
        now += longest;
        assert!(matches!(kept.look(now), Look::Nothing), "{round}");
    }
    assert!(kept.settle(now, Ok(Lease::from(now, 1, HOUR, AHEAD))).is_ok());
    assert!(matches!(kept.look(now), Look::Fresh(_)));
    assert!(kept.settle(now, Err(down())).is_err());
    kept.lease = None;
    assert!(matches!(kept.look(now + FIRST), Look::Nothing), "a success forgets the failures before it");
}

#[test]
fn what_is_still_good_outlives_failures_until_its_end() {
    let (mut kept, now) = (empty(), Instant::now());
    assert!(kept.settle(now, Ok(Lease::from(now, 7, HOUR, AHEAD))).is_ok());
    let late = now + HOUR - Duration::from_secs(100);
    assert!(kept.settle(late, Err(down())).is_err());
    assert!(matches!(kept.look(late), Look::Fresh(_)), "not asked again at once");
    assert!(matches!(kept.look(late + FIRST), Look::Ageing(_)));
    let ended = now + HOUR;
    assert!(kept.settle(ended, Err(down())).is_err());
    assert!(matches!(kept.look(ended), Look::Failed(_)));
}
