//! What should be: every network namespace with a process in scope.

use std::time::{Duration, Instant};

use crate::datapath::{Census, CgroupError, CgroupTree, Member, NetnsId, Scope};

/// The desired namespaces as one census saw them, each with a process that vouches for it.
#[derive(Debug)]
pub(super) struct Desired {
    /// What was found later than this may be missing.
    pub(super) began: Instant,
    /// How long the census took.
    pub(super) took: Duration,
    /// The namespaces.
    pub(super) census: Census,
}

impl Desired {
    /// Looks at every process in scope. Blocks.
    ///
    /// # Errors
    /// When the scope cannot be looked up.
    pub(super) fn look(cgroups: &CgroupTree, scope: &Scope) -> Result<Self, CgroupError> {
        let began = Instant::now();
        let census = cgroups.census(scope)?;
        Ok(Self { began, took: began.elapsed(), census })
    }
}

/// Whether a process, or thread, is still in the namespace that it vouched for.
pub(super) fn vouches(witness: Member, namespace: NetnsId) -> bool {
    NetnsId::of_process(witness.pid).is_ok_and(|there| there == namespace)
}
