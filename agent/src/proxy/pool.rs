//! Idle upstream connections, kept for a while for the same workload, endpoint and address.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use super::upstream::{Affinity, Conn};
use crate::datapath::NetnsCookie;

/// Most idle connections kept per affinity.
const PER_AFFINITY: usize = 32;

/// The idle connections.
#[derive(Debug)]
pub(crate) struct Pool {
    keep: Duration,
    idle: Mutex<HashMap<Affinity, Vec<(Instant, Conn)>>>,
}

impl Pool {
    /// A pool that keeps a connection for at most `keep` without use.
    pub(crate) fn new(keep: Duration) -> Self {
        Self { keep, idle: Mutex::default() }
    }

    /// The most recently used connection that is still open.
    pub(crate) fn take(&self, affinity: &Affinity) -> Option<Conn> {
        let mut idle = self.lock();
        let connections = idle.get_mut(affinity)?;
        let mut found = None;
        // An HTTP/1.1 connection whose last response has just ended may need a moment before it is ready: it stays.
        connections.retain(|(since, conn)| since.elapsed() < self.keep && !conn.is_closed());
        if let Some(at) = connections.iter().rposition(|(_, conn)| conn.is_ready()) {
            let (_, conn) = connections.swap_remove(at);
            connections.extend(conn.share().map(|shared| (Instant::now(), shared)));
            found = Some(conn);
        }
        if connections.is_empty() {
            idle.remove(affinity);
        }
        found
    }

    /// Keeps a connection that can take another request.
    pub(crate) fn put(&self, affinity: &Affinity, conn: Conn) {
        if conn.is_closed() {
            return;
        }
        let mut idle = self.lock();
        let connections = idle.entry(affinity.clone()).or_default();
        let already_shared = conn.is_shared() && connections.iter().any(|(_, conn)| conn.is_shared());
        if connections.len() < PER_AFFINITY && !already_shared {
            connections.push((Instant::now(), conn));
        }
    }

    /// Closes what has been idle too long.
    pub(crate) fn sweep(&self) {
        let keep = self.keep;
        self.lock().retain(|_, connections| {
            connections.retain(|(since, conn)| since.elapsed() < keep && !conn.is_closed());
            !connections.is_empty()
        });
    }

    /// Closes what is idle in a namespace, which it would keep alive.
    pub(crate) fn forget(&self, netns: NetnsCookie) {
        self.lock().retain(|affinity, _| affinity.netns != netns.0);
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Affinity, Vec<(Instant, Conn)>>> {
        // A panic elsewhere cannot leave the map half-changed: every critical section is a single map operation.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
