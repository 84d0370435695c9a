//! Who opened a flow: from the cgroup id that the kernel captured at `connect()` to a [`Workload`], never from what the
//! client says.
//!
//! [`cgroup`] reads a cgroup's path from the root, `process` reads `/proc` for what the kernel hooks do not tell, and
//! [`Workloads`] joins them. `kubelet` and `ecs` add names to ids, through one `roster` each; `spire` adds SPIFFE IDs; `host` says what
//! instance this is. [`caller`] verifies tokens, `login` binds people to login sessions. Where they cannot be sure they say less, never
//! something else.

pub mod caller;
pub mod cgroup;
mod ecs;
pub(crate) mod fetch;
mod host;
mod kubelet;
pub(crate) mod login;
mod process;
mod roster;
mod spire;
mod workloads;

use std::collections::BTreeMap;

use serde::{Serialize, Serializer};

pub use caller::{Caller, Callers};
pub use host::{HostFacts, host_facts};
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
    /// A name that stays the same over restarts and replicas, like the path of a SPIFFE ID: `ns/<namespace>/sa/<service
    /// account>`, `ecs/<cluster>/<family>`, or else the `id`.
    pub name: String,
    /// The SPIFFE ID of its process, where SPIRE's agent is asked and has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
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

impl WorkloadKind {
    /// As records write it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pod => "pod",
            Self::Container => "container",
            Self::Unit => "unit",
            Self::User => "user",
            Self::Process => "process",
            Self::Unknown => "unknown",
        }
    }
}

/// `event.workload.container`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Container {
    /// The runtime's container id, usually 64 hex digits.
    pub id: String,
    /// `docker`, `containerd`, `cri-o`, `podman`, or what the path could not tell: `unknown`.
    pub runtime: &'static str,
    /// Its name in its pod or task.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its image, as the pod's status says.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The ECS task that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub task: Option<EcsTask>,
}

impl Container {
    /// A container of which only the path is known.
    pub(crate) fn of_path(id: &str, runtime: &'static str) -> Self {
        Self { id: id.to_owned(), runtime, name: None, image: None, task: None }
    }
}

/// `event.workload.container.task`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EcsTask {
    /// Its ARN.
    pub arn: String,
    /// The cluster.
    pub cluster: String,
    /// The task definition's family.
    pub family: String,
    /// The task definition's revision.
    pub revision: String,
}

/// `event.workload.pod`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pod {
    /// The pod's uid, with dashes; of a static pod the hash of its manifest.
    pub uid: String,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its namespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The service account that it runs as.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_account: Option<String>,
    /// Its labels, at most 64; written as `key=value`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", serialize_with = "as_pairs")]
    pub labels: BTreeMap<String, String>,
    /// What controls it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<PodOwner>,
}

fn as_pairs<S: Serializer>(labels: &BTreeMap<String, String>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(labels.iter().map(|(key, value)| format!("{key}={value}")))
}

/// `event.workload.pod.owner`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PodOwner {
    /// `ReplicaSet`, `StatefulSet`, `Job` …
    pub kind: String,
    /// Its name.
    pub name: String,
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
