//! What happens to the agent between its start and its stop: one agent's work passes to the next, the kernel's side is
//! looked after.

use jiff::Timestamp;

use super::Catalogue;
use crate::audit::chain::Hash;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// It took over from an agent that was serving.
    TookOver {
        /// That agent's process id, as this one sees it; 0 where it does not.
        pid: u32,
        /// Its version.
        version: String,
    },
    /// It was to hand over to another agent, which failed: it serves as before.
    KeptOn {
        /// How the other failed.
        reason: String,
    },
    /// The agent that it took over from has ended.
    Drained {
        /// That agent's process id, as this one sees it; 0 where it does not.
        pid: u32,
        /// Calls that it left open, each answered by an `unknown` response record.
        open_calls: u64,
    },
    /// While no agent was alive, connections went past (`on_failure = "open"`).
    FailedOpen {
        /// How many connections, datagrams and packets.
        connections: u64,
        /// The first.
        since: Timestamp,
        /// The last.
        until: Timestamp,
    },
    /// The watchdog sees one of the things that it checks in another state than before.
    Watched {
        /// What it checks: `links`, `maps`, `canary`.
        check: &'static str,
        /// Whether that is as it should be.
        healthy: bool,
        /// What it found, in words.
        detail: String,
    },
    /// The log's first segments, which every sink has, are being deleted.
    Retired {
        /// The last record that goes.
        through_seq: u64,
        /// Its hash, which the first record that stays is linked to.
        through_hash: Hash,
        /// Segments that go.
        segments: u64,
        /// Their bytes.
        bytes: u64,
    },
    /// From now on other policies are asked.
    PoliciesChanged {
        /// Their version.
        policy_version: String,
        /// How many there are.
        policies: u64,
    },
    /// The files of policies were changed, and are not taken: the policies before stay in force.
    PoliciesRefused {
        /// The version that stays in force.
        policy_version: String,
        /// What is wrong with the new ones, with its place.
        reason: String,
    },
    /// Definitions of tools, prompts and templates.
    Catalogue(Catalogue),
}
