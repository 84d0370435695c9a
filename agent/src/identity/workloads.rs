//! From a flow's facts to a [`Workload`].

use std::{
    fmt,
    num::NonZeroUsize,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lru::LruCache;

use super::{
    EcsTask, Pod, Process, Workload, WorkloadKind, caller::FetchError, cgroup::Owner, ecs::EcsAgent, kubelet::Kubelet,
    process, spire::Spire,
};
use crate::{
    config::Config,
    datapath::{CgroupId, FlowFacts},
};

/// Cgroups remembered. At some 300 bytes each, about 2.5 MiB when full.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(8192).expect("not zero");

/// The initial cgroup namespace's inode (`PROC_CGROUP_INIT_INO` in the kernel's `proc_ns.h`).
const INITIAL_CGROUP_NAMESPACE: &str = "cgroup:[4026531835]";

/// Finds a cgroup's path, relative to the configured base; `None` when it is gone or outside the base.
type FindPath = dyn Fn(CgroupId) -> Option<String> + Send + Sync;

/// Tells who opened a flow.
///
/// A cgroup's id is unique for the kernel's boot and its path never changes (cgroup2 has no rename), so what was found
/// once is kept, also past the cgroup's own end: a process that was gone before its second flow was looked at still
/// resolves. The least recently used of 8,192 cgroups makes room; failures are not kept.
///
/// [`resolve`](Self::resolve) makes some fifteen short system calls on procfs and cgroupfs, which wait for no disk, and
/// holds no lock meanwhile. Measured at 80 µs in a debug build, so async code calls it directly.
pub struct Workloads {
    base: String,
    initial_namespace: bool,
    find_path: Box<FindPath>,
    kubelet: Option<Kubelet>,
    ecs: Option<EcsAgent>,
    spire: Option<Spire>,
    known: Mutex<LruCache<CgroupId, Arc<Placed>>>,
}

/// A cgroup's path and what it says.
#[derive(Debug)]
struct Placed {
    path: String,
    owner: Owner,
}

impl fmt::Debug for Workloads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workloads").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Workloads {
    /// `base` is `intercept.base`, as configured; `find_path` gives paths relative to it, each beginning with `/`.
    pub fn new(base: &str, find_path: impl Fn(CgroupId) -> Option<String> + Send + Sync + 'static) -> Self {
        let namespace = std::fs::read_link("/proc/self/ns/cgroup").ok();
        Self {
            base: base.trim_end_matches('/').to_owned(),
            initial_namespace: namespace.is_some_and(|link| link.as_os_str() == INITIAL_CGROUP_NAMESPACE),
            find_path: Box::new(find_path),
            kubelet: None,
            ecs: None,
            spire: None,
            known: Mutex::new(LruCache::new(REMEMBERED)),
        }
    }

    /// The same, with names from whom the configuration says.
    ///
    /// # Errors
    /// When the roots that verify the kubelet cannot be read.
    pub fn with_names(mut self, config: &Config) -> Result<Self, FetchError> {
        self.kubelet = config.kubernetes.as_ref().map(Kubelet::new).transpose()?;
        self.ecs = config.ecs.as_ref().map(EcsAgent::new).transpose()?;
        self.spire = config.spire.as_ref().map(|spire| Spire::new(&spire.socket));
        Ok(self)
    }

    /// Adds the names of a workload's pod, task and container, and its process's SPIFFE ID, where somebody knows them; waits at
    /// most 2 s for each of these. What is not known stays absent.
    pub async fn name(&self, mut workload: Workload) -> Workload {
        if let Some(spire) = &self.spire {
            workload.spiffe_id = spire.id_of(&workload.process).await;
        }
        match (&workload.pod, &workload.container, &self.kubelet, &self.ecs) {
            (Some(_), _, Some(kubelet), _) => kubelet.name(&mut workload).await,
            (None, Some(_), _, Some(ecs)) => ecs.name(&mut workload).await,
            _ => return workload,
        }
        if let Some(name) = stable_name(&workload) {
            workload.name = name;
        }
        workload
    }

    /// Asks for names anew where that is due. Returns at once.
    pub(crate) fn refresh(self: &Arc<Self>) {
        let workloads = Arc::clone(self);
        if workloads.kubelet.is_some() || workloads.ecs.is_some() {
            tokio::spawn(async move {
                if let Some(kubelet) = &workloads.kubelet {
                    kubelet.refresh().await;
                }
                if let Some(ecs) = &workloads.ecs {
                    ecs.refresh().await;
                }
            });
        }
    }

    /// Tells who opened the flow: the cgroup of the task that called `connect()` decides, not that of the socket, which
    /// may have been passed from elsewhere. What cannot be known is absent.
    #[must_use]
    pub fn resolve(&self, facts: &FlowFacts) -> Workload {
        let placed = self.place(facts.task_cgroup);
        let details =
            placed.as_deref().and_then(|placed| process::details(facts, |reported| self.is_at(reported, &placed.path)));
        let process = Process {
            pid: facts.tgid,
            uid: facts.uid,
            comm: facts.comm.clone(),
            started_ns: details.as_ref().and_then(|details| u64::try_from(details.started.as_nanos()).ok()),
            audit_session: details.as_ref().and_then(|details| details.audit_session),
            exe: details.and_then(|details| details.exe),
        };
        workload(facts.task_cgroup, placed.as_deref(), process)
    }

    /// The workload of a cgroup, where no task is known: pid 0 and no name.
    #[must_use]
    pub fn of_cgroup(&self, cgroup: CgroupId, uid: u32) -> Workload {
        let process = Process { pid: 0, uid, comm: String::new(), exe: None, started_ns: None, audit_session: None };
        workload(cgroup, self.place(cgroup).as_deref(), process)
    }

    /// The same for a process that has connected to a socket of the agent's by `now`, as time since boot, with the user who
    /// logged in. None where it is not certain, and in a cgroup namespace that hides where the process is.
    pub(super) fn resolve_peer(&self, pid: u32, uid: u32, now: Duration) -> Option<(Workload, Option<u32>)> {
        let process::Peer { details, comm, cgroup, login_uid } = process::peer(pid, uid, now)?;
        let path = cgroup.strip_prefix(&self.base).filter(|path| self.initial_namespace && path.starts_with('/'))?;
        let process = Process {
            pid,
            uid,
            comm,
            exe: details.exe,
            started_ns: u64::try_from(details.started.as_nanos()).ok(),
            audit_session: details.audit_session,
        };
        let placed = Placed { owner: Owner::of(path), path: path.to_owned() };
        Some((workload(CgroupId(0), Some(&placed), process), login_uid))
    }

    /// Whether the process that opened a flow is still the one that has its pid.
    #[must_use]
    pub fn is_still(&self, workload: &Workload) -> bool {
        process::started(workload.process.pid)
            .is_some_and(|started| Some(started.as_nanos()) == workload.process.started_ns.map(u128::from))
    }

    fn place(&self, id: CgroupId) -> Option<Arc<Placed>> {
        if let Some(placed) = self.lock().get(&id) {
            return Some(Arc::clone(placed));
        }
        let path = (self.find_path)(id)?;
        let placed = Arc::new(Placed { owner: Owner::of(&path), path });
        self.lock().put(id, Arc::clone(&placed));
        Some(placed)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, LruCache<CgroupId, Arc<Placed>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether `/proc/<pid>/cgroup` reports the cgroup at `path`. In a cgroup namespace of its own the agent sees paths
    /// relative to its own root (`/../../x.service`), so that only their tail can be compared.
    fn is_at(&self, reported: &str, path: &str) -> bool {
        let expected = format!("{}{}", self.base, path.trim_end_matches('/'));
        let reported = reported.trim_end_matches('/');
        if self.initial_namespace {
            return reported == expected;
        }
        let mut tail = reported;
        while let Some(rest) = tail.strip_prefix("/..") {
            tail = rest;
        }
        expected.ends_with(tail)
    }
}

/// As SPIFFE's Kubernetes attestors name a pod; a task by its definition.
fn stable_name(workload: &Workload) -> Option<String> {
    if let Some(Pod { namespace: Some(namespace), service_account, .. }) = &workload.pod {
        return Some(format!("ns/{namespace}/sa/{}", service_account.as_deref().unwrap_or("default")));
    }
    let EcsTask { cluster, family, .. } = workload.container.as_ref()?.task.as_ref()?;
    Some(format!("ecs/{cluster}/{family}"))
}

fn workload(cgroup_id: CgroupId, placed: Option<&Placed>, process: Process) -> Workload {
    let mut workload = Workload {
        kind: WorkloadKind::Unknown,
        id: "unknown".to_owned(),
        name: "unknown".to_owned(),
        cgroup: placed.map(|placed| placed.path.clone()),
        cgroup_id,
        spiffe_id: None,
        unit: None,
        container: None,
        pod: None,
        process,
    };
    let Some(Placed { path, owner }) = placed else { return workload };
    match owner.clone() {
        Owner::Pod { uid, container } => {
            workload.kind = WorkloadKind::Pod;
            workload.id = match &container {
                Some(container) => format!("pod/{uid}/{}", container.id),
                None => format!("pod/{uid}"),
            };
            workload.container = container;
            workload.pod = Some(Pod { uid, ..Pod::default() });
        }
        Owner::Container(container) => {
            workload.kind = WorkloadKind::Container;
            workload.id = format!("container/{}", container.id);
            workload.container = Some(container);
        }
        Owner::Unit(unit) => {
            workload.kind = WorkloadKind::Unit;
            workload.id = format!("systemd/{unit}");
            workload.unit = Some(unit);
        }
        Owner::User { uid, unit } => {
            workload.kind = WorkloadKind::User;
            workload.id = format!("user/{uid}");
            workload.unit = unit;
        }
        Owner::Nobody => {
            workload.kind = WorkloadKind::Process;
            workload.id = format!("process{path}");
        }
    }
    workload.name.clone_from(&workload.id);
    workload
}

#[cfg(test)]
mod tests;
