//! `audit.max_bytes`: how large the log may grow, and what happens then.
//!
//! The last sixteenth is kept for what must follow: the ends of calls that have left already, connections that end. What
//! begins something is refused before that. The agent's own records are always written: one of them is what lets shipped
//! segments be deleted.

use std::fmt;

use super::{
    event::{Event, Phase, What},
    log::AppendError,
};
use crate::config::OnFull;

/// Why the oldest segment stays although the quota is short.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Held {
    /// There is no sink.
    #[default]
    NoSink,
    /// A sink does not have it.
    Unshipped,
    /// It could not be synced.
    Unsynced,
    /// A call that began in it is still open.
    OpenCall,
    /// It is the only one.
    Current,
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoSink => "nothing can be deleted because no sink is configured; configure one, or raise it",
            Self::Unshipped => {
                "nothing can be deleted because it is not shipped; raise it, or mend the sink that `weir status` names"
            }
            Self::Unsynced => "nothing can be deleted because the log cannot be synced; `weir status` says why",
            Self::OpenCall => {
                "nothing can be deleted because calls that began long ago are still open; raise it, or end them"
            }
            Self::Current => "all of it is one segment; raise it, or lower audit.segment_bytes",
        })
    }
}

/// The log's quota.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quota {
    most: u64,
    on_full: OnFull,
}

impl Quota {
    /// At most `most` bytes.
    pub(super) fn new(most: u64, on_full: OnFull) -> Self {
        Self { most, on_full }
    }

    /// Whether a log of `bytes` has reached it.
    pub(super) fn is_reached(&self, bytes: u64) -> bool {
        bytes >= self.most - self.most / 16
    }

    /// Whether a log of `bytes` keeps what calls contain.
    pub(super) fn keeps_payloads(&self, bytes: u64) -> bool {
        self.on_full != OnFull::Metadata || !self.is_reached(bytes)
    }

    /// Whether a log of `bytes` takes this record; `held` is why there are not less.
    ///
    /// # Errors
    /// [`AppendError::Full`].
    pub(super) fn admits(&self, event: &Event, bytes: u64, held: Held) -> Result<(), AppendError> {
        if self.on_full == OnFull::Metadata
            || matches!(event.what, What::Agent(_) | What::Attestation(_) | What::Unfinished(_))
        {
            return Ok(());
        }
        let full = if begins(event) { self.is_reached(bytes) } else { bytes >= self.most };
        if full { Err(AppendError::Full { most: self.most, held: held.to_string() }) } else { Ok(()) }
    }
}

/// Whether something is done only after this record.
fn begins(event: &Event) -> bool {
    match &event.what {
        What::Call(call) => matches!(call.mcp.phase, Phase::Request | Phase::ServerRequest),
        What::Http(http) => http.duration.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::audit::{
        event::Outcome,
        samples::{request, response, small},
    };

    #[test]
    fn calls_are_refused_before_their_ends_are_and_the_agent_never() {
        let quota = Quota::new(1600, OnFull::Refuse);
        let id = Uuid::nil();
        let admits = |event: Event, bytes| quota.admits(&event, bytes, Held::NoSink).is_ok();
        for (bytes, call, end) in [(0, true, true), (1499, true, true), (1500, false, true), (1600, false, false)] {
            assert_eq!(admits(request(id), bytes), call, "{bytes}");
            assert_eq!(admits(response(id, Outcome::Ok), bytes), end, "{bytes}");
            assert!(admits(small(), bytes));
            assert!(quota.keeps_payloads(bytes));
        }
    }

    #[test]
    fn with_metadata_nothing_is_refused_and_payloads_go() {
        let quota = Quota::new(1600, OnFull::Metadata);
        assert!(quota.admits(&request(Uuid::nil()), 99_999, Held::NoSink).is_ok());
        assert!(quota.keeps_payloads(1499));
        assert!(!quota.keeps_payloads(1500));
    }
}
