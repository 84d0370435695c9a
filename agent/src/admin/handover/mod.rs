//! From a running agent to the next, without a connection refused or a record lost: `weir run` beside a running agent.
//!
//! They talk over `handover.sock` in the state directory (mode 0600, and the peer must be the same user):
//!
//! | step | the new agent | the running agent | if it fails here |
//! |---|---|---|---|
//! | 1 | says hello, with what must be the same for both | agrees, or says why not | nothing has changed |
//! | 2 | attaches its programs, registers itself | serves | it has its own programs attached again |
//! | 3 | asks for what it needs | sends every namespace's listeners, and the known addresses | the same |
//! | 4 | asks for the log | lets go of it; what it would append waits | it opens the log again, in its epoch, and goes on |
//! | 5 | opens the log, records that it took over | waits | the same; one that hangs is killed |
//! | 6 | says that it serves | accepts no more, sends its records there from now on | its open flows are cut; connects wait, then are denied |
//! | 7 | accepts | drains: what is open goes on for up to `limits.drain_ms` | its open calls end as `unknown` |
//!
//! At every step one of them has the log, and only that one can let a call through. Until step 6 the running agent is the one
//! that serves; from then on the new one is. [`offer`] is the running agent's part, [`take`] the new one's.

pub(super) mod offer;
pub(super) mod take;
mod wire;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{audit::relay::Answer, config::Config, datapath::ABI, proxy::KnownAddress};

/// The version of this conversation. Agents of different versions do not hand over: the newer one says so and ends.
const PROTOCOL: u32 = 1;

/// Longest wait for the other agent where it has little to do.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest wait for a new agent that has the log: its tail is checked meanwhile, and calls wait.
const OPENING: Duration = Duration::from_secs(30);

/// Where the running agent listens for the next.
pub(super) fn socket_path(state_dir: &Path) -> PathBuf {
    state_dir.join("handover.sock")
}

/// What both agents must agree on: they share the kernel's side and the log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Terms {
    protocol: u32,
    abi: u32,
    bpffs: PathBuf,
    base: String,
    audit: PathBuf,
}

impl Terms {
    /// This agent's.
    pub(super) fn of(config: &Config) -> Self {
        Self {
            protocol: PROTOCOL,
            abi: ABI,
            bpffs: config.intercept.bpffs.clone(),
            base: config.intercept.base.clone(),
            audit: config.audit_dir(),
        }
    }

    /// Why they cannot be agreed on; none if they can.
    fn differ_from(&self, running: &Self) -> Option<String> {
        let Self { protocol, abi, bpffs, base, audit } = self;
        let differs = |what: &str, is: &dyn std::fmt::Debug, was: &dyn std::fmt::Debug| {
            let log = running.audit.display();
            Some(format!(
                "the running agent, with its log in {log}, has another {what} ({was:?}, not {is:?}): stop it first"
            ))
        };
        if *protocol != running.protocol {
            differs("way to hand over", protocol, &running.protocol)
        } else if *abi != running.abi {
            differs("layout of eBPF maps", abi, &running.abi)
        } else if *bpffs != running.bpffs {
            differs("intercept.bpffs", bpffs, &running.bpffs)
        } else if *base != running.base {
            differs("intercept.base", base, &running.base)
        } else if *audit != running.audit {
            differs("audit.dir", audit, &running.audit)
        } else {
            None
        }
    }
}

/// What the new agent says.
#[derive(Debug, Serialize, Deserialize)]
enum New {
    Hello {
        version: String,
        terms: Terms,
    },
    /// Asks for the namespaces and addresses.
    Take,
    /// Asks for the log.
    Release,
    /// It has everything.
    Serves,
    /// What became of the records that it was sent.
    Kept(Vec<Answer>),
}

/// What the running agent says.
#[derive(Debug, Serialize, Deserialize)]
enum Running {
    Welcome {
        version: String,
    },
    Refused {
        why: String,
    },
    /// With descriptors: the namespace, its listeners.
    Namespace {
        witness: Option<(u32, u64)>,
    },
    /// There are no more namespaces; these addresses are known.
    Known {
        addresses: Vec<KnownAddress>,
    },
    /// The log is free.
    Released,
    /// It accepts no more.
    Left,
    /// Records of what still runs there.
    Records(Vec<Box<RawValue>>),
}

/// Why agents could not hand over to each other.
#[derive(Debug, thiserror::Error)]
pub(super) enum HandoverError {
    /// The connection failed, or the other agent has ended.
    #[error("{doing}: {source}")]
    Wire {
        /// What was attempted.
        doing: &'static str,
        /// What happened.
        source: std::io::Error,
    },
    /// The other agent will not.
    #[error("the running agent does not hand over: {0}")]
    Refused(String),
    /// The other agent said something else than what comes next.
    #[error("{doing}: the other agent said something unexpected")]
    Unexpected {
        /// What was expected.
        doing: &'static str,
    },
    /// Not one's own.
    #[error("the agent at the other end runs as user {0}")]
    Stranger(u32),
    /// The log could not be passed on.
    #[error("the audit log cannot be handed over: {0}")]
    Log(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn agents_that_would_not_share_log_and_kernel_side_do_not_hand_over() {
        let config: Config = Config::parse("", Path::new("weir.toml")).expect("the defaults");
        let running = Terms::of(&config);
        assert_eq!(running.differ_from(&running), None);
        let other = |change: fn(&mut Terms)| {
            let mut terms = running.clone();
            change(&mut terms);
            terms.differ_from(&running).expect("a difference")
        };
        assert!(other(|terms| terms.protocol += 1).contains("another way to hand over"));
        assert!(other(|terms| terms.abi += 1).contains("another layout of eBPF maps"));
        assert!(other(|terms| terms.bpffs.push("x")).contains("intercept.bpffs"));
        assert!(other(|terms| terms.base.push('x')).contains("intercept.base"));
        assert!(other(|terms| terms.audit.push("x")).contains("audit.dir"));
    }
}
