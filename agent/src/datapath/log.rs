//! What the programs say, into `tracing`. Workloads cause these lines, so they are limited.

use std::{
    io,
    sync::Mutex,
    sync::PoisonError,
    time::{Duration, Instant},
};

use aya::Ebpf;
use aya_log::EbpfLogger;
use log::{Level, Log, Metadata, Record};
use thiserror::Error;
use tokio::io::{Interest, unix::AsyncFd};

pub(super) use aya_log::LEVEL;

/// Lines forwarded in each [`WINDOW`]; the rest is counted.
const LINES_PER_WINDOW: u32 = 100;
const WINDOW: Duration = Duration::from_secs(1);

/// How much the programs say. Decided when they are loaded: what is off costs nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Verbosity {
    /// Denials, and what the guard stopped.
    #[default]
    Denials,
    /// Each redirect too.
    Flows,
}

impl Verbosity {
    /// As the programs compare it.
    pub(super) fn level(self) -> &'static u8 {
        match self {
            Self::Denials => &(aya_log::Level::Warn as u8),
            Self::Flows => &(aya_log::Level::Debug as u8),
        }
    }
}

/// The programs' log could not be opened or read.
#[derive(Debug, Error)]
pub enum LogError {
    /// The object has no log.
    #[error("cannot open the eBPF programs' log: {0}")]
    Open(#[from] aya_log::Error),
    /// The ring buffer could not be waited for.
    #[error("cannot read the eBPF programs' log: {0}")]
    Read(#[from] io::Error),
}

/// What the programs say, until forwarded.
pub struct KernelLog {
    logger: EbpfLogger<Forwarder>,
}

impl std::fmt::Debug for KernelLog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KernelLog").finish_non_exhaustive()
    }
}

impl KernelLog {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, LogError> {
        Ok(Self { logger: EbpfLogger::init_with_logger(ebpf, Forwarder::default())? })
    }

    /// Forwards lines into `tracing` until dropped.
    ///
    /// # Errors
    ///
    /// [`LogError::Read`] when the ring buffer fails; it does not return otherwise.
    pub async fn forward(self) -> Result<std::convert::Infallible, LogError> {
        let mut logger = register(self.logger)?;
        loop {
            let mut guard = logger.readable_mut().await?;
            guard.get_inner_mut().flush();
            guard.clear_ready();
        }
    }
}

#[expect(unsafe_code, reason = "the only way to wait for a descriptor that a foreign type owns")]
fn register(logger: EbpfLogger<Forwarder>) -> io::Result<AsyncFd<EbpfLogger<Forwarder>>> {
    // SAFETY: the logger owns the ring buffer's descriptor, shows the same one always, and closes it when dropped.
    unsafe { AsyncFd::register_with_interest(logger, Interest::READABLE) }.map_err(io::Error::from)
}

/// Takes `log` records, as aya-log makes them, and gives `tracing` events.
struct Forwarder {
    window: Mutex<Window>,
}

struct Window {
    since: Instant,
    lines: u32,
}

impl Default for Forwarder {
    fn default() -> Self {
        Self { window: Mutex::new(Window { since: Instant::now(), lines: 0 }) }
    }
}

impl Window {
    /// Whether one more line may pass, and how many were held back in the window that just ended.
    fn admit(&mut self, now: Instant) -> (bool, u32) {
        let mut held_back = 0;
        if now.duration_since(self.since) >= WINDOW {
            held_back = self.lines.saturating_sub(LINES_PER_WINDOW);
            *self = Self { since: now, lines: 0 };
        }
        self.lines = self.lines.saturating_add(1);
        (self.lines <= LINES_PER_WINDOW, held_back)
    }
}

impl Log for Forwarder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let (admitted, held_back) = self.window.lock().unwrap_or_else(PoisonError::into_inner).admit(Instant::now());
        if held_back > 0 {
            tracing::warn!(target: "weir::kernel", lines = held_back, "lines of the eBPF programs were left out");
        }
        if !admitted {
            return;
        }
        match record.level() {
            Level::Error => tracing::error!(target: "weir::kernel", "{}", record.args()),
            Level::Warn => tracing::warn!(target: "weir::kernel", "{}", record.args()),
            Level::Info => tracing::info!(target: "weir::kernel", "{}", record.args()),
            Level::Debug => tracing::debug!(target: "weir::kernel", "{}", record.args()),
            Level::Trace => tracing::trace!(target: "weir::kernel", "{}", record.args()),
        }
    }

    fn flush(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_noisy_workload_is_cut_short_and_counted() {
        let start = Instant::now();
        let mut window = Window { since: start, lines: 0 };
        let admitted = (0..250).filter(|_| window.admit(start).0).count();
        assert_eq!(admitted, 100);
        assert_eq!(window.admit(start + WINDOW), (true, 150));
        assert_eq!(window.admit(start + WINDOW), (true, 0));
    }
}
