//! Who opened a flow: from the cgroup id that the kernel captured at `connect()` to a [`Workload`], never from what the
//! client says.
//!
//! [`cgroup`] reads a cgroup's path from the root, `process` reads `/proc` for what the kernel hooks do not tell, and
//! [`Workloads`] joins them. Where they cannot be sure they say less, never something else.

pub mod caller;
pub mod cgroup;
pub(crate) mod fetch;
pub(crate) mod login;
mod process;
mod workloads;

use serde::Serialize;

pub use caller::{Caller, Callers};
pub use workloads::Workloads;

use crate::datapath::CgroupId;

/// Who opened a flow. Serialises as `event.workload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Workload {
    /// What kind of thing it is.
    pub kind: WorkloadKind,
    /// A stable name for policy and session names, e.g. `systemd/billing.service`, `container/<64 hex>`,
    /// `pod/<uid>/<container>`, `user/1000`, `process/<cgroup path>`, `unknown`.
    pub id: String,
    /// The cgroup's path relative to the configured base, when it could be resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cgroup: Option<String>,
    /// The cgroup's id, as the kernel captured it.
    pub cgroup_id: CgroupId,
    /// The systemd unit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
    /// The container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// The Kubernetes pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
    /// The process that called `connect()`.
    pub process: Process,
}

/// `event.workload.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WorkloadKind {
    /// A Kubernetes pod's container.
    Pod,
    /// A container outside Kubernetes.
    Container,
    /// A systemd system unit.
    Unit,
    /// A user's session or user manager.
    User,
    /// None of the above: a bare process.
    Process,
    /// The cgroup could not be resolved.
    Unknown,
}

/// `event.workload.container`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    /// The runtime's container id, usually 64 hex digits.
    pub id: String,
    /// `docker`, `containerd`, `cri-o`, `podman`, or what the path could not tell: `unknown`.
    pub runtime: &'static str,
}

/// `event.workload.pod`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// The pod's uid, with dashes.
    pub uid: String,
}

/// `event.workload.process`. Pid, uid and comm come from the kernel at `connect()`; the rest is read from `/proc` and is
/// absent when the process had gone or its pid had been reused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Process {
    /// Thread group id in the initial pid namespace; 0 where only the cgroup is known.
    pub pid: u32,
    /// Effective user id.
    pub uid: u32,
    /// The task's name.
    pub comm: String,
    /// The executable's path, as its own mount namespace names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exe: Option<String>,
    /// Start time in nanoseconds since boot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_ns: Option<u64>,
    /// The kernel's number for the login that it descends from (`/proc/<pid>/sessionid`); absent where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_session: Option<u32>,
}
