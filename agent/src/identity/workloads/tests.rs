use std::{
    net::SocketAddr,
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::datapath::{EndpointIndex, NetnsCookie, OriginalDst, SocketCookie};

/// A real process that lives as long as the value.
struct Sleeper(Child);

impl Sleeper {
    fn start() -> Self {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().expect("sleep runs");
        Self(child)
    }

    /// Its cgroup's path, once `sleep` has replaced the fork of this test.
    fn cgroup(&self) -> String {
        let comm = format!("/proc/{}/comm", self.0.id());
        while std::fs::read_to_string(&comm).expect("the process lives").trim() != "sleep" {
            std::thread::yield_now();
        }
        let text = std::fs::read_to_string(format!("/proc/{}/cgroup", self.0.id())).expect("readable");
        text.lines().find_map(|line| line.strip_prefix("0::")).expect("cgroup2 is mounted").to_owned()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn now() -> Duration {
    let now = clock_gettime(ClockId::Boottime);
    Duration::new(now.tv_sec.cast_unsigned(), u32::try_from(now.tv_nsec).expect("below a second"))
}

fn facts(tgid: u32, connected_at: Duration) -> FlowFacts {
    FlowFacts {
        cookie: SocketCookie(1),
        netns: NetnsCookie(1),
        task_cgroup: CgroupId(42),
        socket_cgroup: None,
        tgid,
        tid: tgid,
        uid: rustix::process::getuid().as_raw(),
        gid: 0,
        comm: "sleep".into(),
        connected_at,
        client: crate::datapath::ClientAddr(([127, 0, 0, 1], 4000).into()),
        binding: crate::datapath::Binding::default(),
        original_dst: OriginalDst(SocketAddr::from(([192, 0, 2, 1], 443))),
        endpoint: EndpointIndex::UNREGISTERED,
    }
}

fn at(path: &str) -> Workloads {
    let path = path.to_owned();
    Workloads::new("/", move |_| Some(path.clone()))
}

#[test]
fn a_living_process_is_described() {
    let sleeper = Sleeper::start();
    let cgroup = sleeper.cgroup();
    let before = now();

    let workload = at(&cgroup).resolve(&facts(sleeper.0.id(), before));

    let exe = workload.process.exe.expect("its executable is readable");
    assert!(exe.contains("sleep") || exe.contains("busybox") || exe.contains("coreutils"), "{exe}");
    assert!(u128::from(workload.process.started_ns.expect("its start is readable")) <= before.as_nanos());
    assert_eq!(workload.cgroup.as_deref(), Some(cgroup.as_str()));
}

#[test]
fn whoever_is_not_the_same_process_leaves_only_kernel_facts() {
    let sleeper = Sleeper::start();
    let cgroup = sleeper.cgroup();
    let pid = sleeper.0.id();
    let kernel_facts = Process {
        pid,
        uid: rustix::process::getuid().as_raw(),
        comm: "sleep".into(),
        exe: None,
        started_ns: None,
        audit_session: None,
    };

    // It started after the connection: the pid was reused.
    let earlier = facts(pid, Duration::from_nanos(1));
    assert_eq!(at(&cgroup).resolve(&earlier).process, kernel_facts);

    // It is in another cgroup.
    assert_eq!(at("/elsewhere.service").resolve(&facts(pid, now())).process, kernel_facts);

    // Another user owns it.
    let mut other_user = facts(pid, now());
    other_user.uid += 1;
    assert_eq!(at(&cgroup).resolve(&other_user).process, Process { uid: other_user.uid, ..kernel_facts.clone() });

    // Its cgroup could not be found, so that nothing can be compared.
    let lost = Workloads::new("/", |_| None).resolve(&facts(pid, now()));
    assert_eq!((lost.kind, lost.id.as_str(), &lost.process), (WorkloadKind::Unknown, "unknown", &kernel_facts));

    // It has gone.
    drop(sleeper);
    assert_eq!(at(&cgroup).resolve(&facts(pid, now())).process, kernel_facts);
}

#[test]
fn a_cgroup_that_went_away_still_resolves() {
    let calls = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&calls);
    let workloads = Workloads::new("/", move |_| match counted.fetch_add(1, Ordering::SeqCst) {
        0 => None,
        1 => Some("/system.slice/billing.service".into()),
        _ => None,
    });
    let flow = facts(u32::MAX, now());
    assert_eq!(workloads.resolve(&flow).kind, WorkloadKind::Unknown);
    for _ in 0..3 {
        assert_eq!(workloads.resolve(&flow).id, "systemd/billing.service");
    }
    assert_eq!(calls.load(Ordering::SeqCst), 2, "a failure is tried again, a success is kept");
}

#[test]
fn what_is_kept_is_bounded() {
    let workloads = Workloads::new("/", |id| Some(format!("/system.slice/u{}.service", id.0)));
    for id in 0..20_000 {
        workloads.place(CgroupId(id));
    }
    assert_eq!(workloads.lock().len(), REMEMBERED.get());
}

#[test]
fn paths_are_compared_below_the_base_and_across_namespaces() {
    let mut workloads = Workloads::new("/docker/abc", |_| None);
    workloads.initial_namespace = true;
    assert!(workloads.is_at("/docker/abc/system.slice/x.service", "/system.slice/x.service"));
    assert!(workloads.is_at("/docker/abc", "/"));
    assert!(!workloads.is_at("/system.slice/x.service", "/system.slice/x.service"));

    workloads.initial_namespace = false;
    assert!(workloads.is_at("/../../system.slice/x.service", "/system.slice/x.service"));
    assert!(!workloads.is_at("/../../system.slice/y.service", "/system.slice/x.service"));
    assert!(!workloads.is_at("/../../x.service", "/system.slice/yx.service"));
}

#[test]
fn each_owner_has_its_name() {
    let id = "a".repeat(64);
    let uid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    let cases = [
        (format!("/kubepods/burstable/pod{uid}/{id}"), WorkloadKind::Pod, format!("pod/{uid}/{id}")),
        (format!("/kubepods/burstable/pod{uid}"), WorkloadKind::Pod, format!("pod/{uid}")),
        (format!("/docker/{id}"), WorkloadKind::Container, format!("container/{id}")),
        ("/system.slice/x.service/a".into(), WorkloadKind::Unit, "systemd/x.service".into()),
        ("/user.slice/user-7.slice/session-1.scope".into(), WorkloadKind::User, "user/7".into()),
        ("/workers/a".into(), WorkloadKind::Process, "process/workers/a".into()),
        ("/".into(), WorkloadKind::Process, "process/".into()),
    ];
    for (path, kind, name) in cases {
        let workload = at(&path).resolve(&facts(u32::MAX, now()));
        assert_eq!((workload.kind, workload.id, workload.cgroup), (kind, name, Some(path)));
    }
}
