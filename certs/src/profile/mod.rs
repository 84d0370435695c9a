//! The chain that workloads see: root → intermediate → leaf, each step able to do less and for less time.
//!
//! | | life | may sign | extensions |
//! |---|---|---|---|
//! | root | 5 years | intermediates | CA, path length 1, keyCertSign + cRLSign, SKI |
//! | intermediate | 7 days | leaves for the registered hosts | CA, path length 0, keyCertSign + cRLSign, critical name constraints, AKI, SKI |
//! | leaf | 24 hours | nothing | CA:false, digitalSignature, serverAuth, one SAN, AKI, SKI |
//!
//! All keys are P-256 and all serials 128 random bits. A validity begins five minutes early, for clocks that are behind,
//! and never exceeds its issuer's. The chain satisfies RFC 5280 as strictly as OpenSSL's `-x509_strict` and Python's
//! `VERIFY_X509_STRICT` read it.

mod intermediate;
mod params;
mod root;
#[cfg(test)]
mod tests;

use std::time::{Duration, SystemTime};

pub use intermediate::{Intermediate, Leaf};
pub(crate) use params::{ca_params, leaf_params, random_tag};
pub use root::Root;

/// Life of a root.
pub const ROOT_LIFE: Duration = Duration::from_hours(5 * 365 * 24);
/// Life of an intermediate.
pub const INTERMEDIATE_LIFE: Duration = Duration::from_hours(7 * 24);
/// Life of a leaf.
pub const LEAF_LIFE: Duration = Duration::from_hours(24);
/// How far before its issuance a certificate becomes valid.
pub const BACKDATE: Duration = Duration::from_mins(5);

/// When a certificate is valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// First moment.
    pub not_before: SystemTime,
    /// Last moment.
    pub not_after: SystemTime,
}

impl Period {
    /// `life` counted from the backdated beginning, so that the whole is never longer than `life`.
    fn starting(now: SystemTime, life: Duration) -> Self {
        let not_before = now - BACKDATE;
        Self { not_before, not_after: not_before + life }
    }

    /// The part of this period that lies within `outer`.
    fn within(self, outer: Self) -> Self {
        Self { not_before: self.not_before.max(outer.not_before), not_after: self.not_after.min(outer.not_after) }
    }

    /// The middle of the period: when to renew.
    pub fn half_life(&self) -> SystemTime {
        let life = self.not_after.duration_since(self.not_before).unwrap_or_default();
        self.not_before + life / 2
    }

    /// Whether `moment` lies within.
    pub fn contains(&self, moment: SystemTime) -> bool {
        (self.not_before..=self.not_after).contains(&moment)
    }
}
