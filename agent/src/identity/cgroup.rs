//! What a cgroup's path says about who owns it.
//!
//! A path is read from the root, each component against what may stand at that place, and the first component that names
//! a container, a unit or a user ends the reading. Whoever owns that component may create any cgroup below it, so what
//! is below proves nothing: a service with `Delegate=yes` that creates `kubepods.slice/…` stays that service, and a
//! user's rootless container stays that user.
//!
//! Sources: systemd's `CONTROL_GROUP_INTERFACE` and `systemd.slice(5)`, the kubelet's `cgroup_manager_linux.go`, and
//! the cgroup parents that containerd, CRI-O, Docker, podman and the ECS agent choose.

use super::Container;

/// Who owns a cgroup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// A Kubernetes pod, and which of its containers.
    Pod {
        /// The pod's uid, with dashes.
        uid: String,
        /// Absent for a cgroup of the pod itself, such as its runtime's monitor.
        container: Option<Container>,
    },
    /// A container outside Kubernetes, or one whose pod the path does not tell.
    Container(Container),
    /// A systemd system unit, e.g. `billing.service`.
    Unit(String),
    /// A user's slice.
    User {
        /// From `user-<uid>.slice`.
        uid: u32,
        /// The system manager's unit below the slice: `session-3.scope` or `user@1000.service`.
        unit: Option<String>,
    },
    /// Nobody that the path names.
    Nobody,
}

/// How runtimes name a container's systemd scope: `<prefix><64 hex digits>.scope`.
const SCOPES: [(&str, &str); 5] = [
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("nerdctl-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
];

/// The unit types that have processes of their own.
const UNITS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];

impl Owner {
    /// Reads a path relative to the host's root cgroup, e.g. `/system.slice/billing.service`.
    #[must_use]
    pub fn of(path: &str) -> Self {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let owner = match parts.as_slice() {
            ["user.slice", rest @ ..] => user(rest),
            ["kubepods.slice", rest @ ..] => pod_below_slice("kubepods", rest),
            ["kubelet.slice", "kubelet-kubepods.slice", rest @ ..] => pod_below_slice("kubelet-kubepods", rest),
            ["kubepods", rest @ ..] | ["kubelet", "kubepods", rest @ ..] => pod_below_directory(rest),
            ["docker", id, ..] => container("docker", id),
            ["k8s.io", id, ..] => container("containerd", id),
            ["libpod_parent", name, ..] => name.strip_prefix("libpod-").and_then(|id| container("podman", id)),
            ["ecs", task, id, ..] => ecs_container(task, id),
            parts => unit(parts),
        };
        owner.unwrap_or(Self::Nobody)
    }
}

/// `/user.slice/user-1000.slice/…`.
fn user(rest: &[&str]) -> Option<Owner> {
    let (slice, below) = rest.split_first()?;
    let uid = slice.strip_prefix("user-")?.strip_suffix(".slice")?;
    if !uid.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let unit = below.first().filter(|name| is_unit(name)).map(|&name| name.to_owned());
    Some(Owner::User { uid: uid.parse().ok()?, unit })
}

/// The systemd driver: `kubepods[-<qos>].slice/kubepods[-<qos>]-pod<uid with _>.slice/<runtime>-<id>.scope`.
fn pod_below_slice(stem: &str, rest: &[&str]) -> Option<Owner> {
    let (&first, below) = rest.split_first()?;
    for qos in ["burstable", "besteffort"] {
        let nested = format!("{stem}-{qos}");
        if first.strip_suffix(".slice") == Some(&nested) {
            return pod_in_slice(&nested, below);
        }
    }
    pod_in_slice(stem, rest)
}

fn pod_in_slice(stem: &str, rest: &[&str]) -> Option<Owner> {
    let (&slice, below) = rest.split_first()?;
    let uid = slice.strip_prefix(stem)?.strip_prefix("-pod")?.strip_suffix(".slice")?;
    let uid = pod_uid(&uid.replace('_', "-"))?;
    Some(Owner::Pod { uid, container: below.first().and_then(|name| scope(name)) })
}

/// The cgroupfs driver: `kubepods[/<qos>]/pod<uid>/<id>`.
fn pod_below_directory(rest: &[&str]) -> Option<Owner> {
    let rest = match rest {
        ["burstable" | "besteffort", below @ ..] => below,
        rest => rest,
    };
    let (&pod, below) = rest.split_first()?;
    let uid = pod_uid(pod.strip_prefix("pod")?)?;
    let container = below.first().and_then(|&name| match name.strip_prefix("crio-") {
        Some(id) => named("cri-o", id),
        None => named("unknown", name),
    });
    Some(Owner::Pod { uid, container })
}

/// The ECS agent on cgroupfs: `/ecs/<task>/<container>`; under systemd its tasks are slices, which [`unit`] reads.
fn ecs_container(task: &str, id: &str) -> Option<Owner> {
    let is_task = is_hex(task, 32) || is_uuid(task);
    if is_task { container("docker", id) } else { None }
}

/// systemd's slices, and the unit or container scope at their end.
fn unit(parts: &[&str]) -> Option<Owner> {
    let mut parent: Option<&str> = None;
    for part in parts {
        let Some(slice) = part.strip_suffix(".slice") else {
            return scope(part)
                .map(Owner::Container)
                .or_else(|| is_unit(part).then(|| Owner::Unit((*part).to_owned())));
        };
        if !is_slice_below(parent, slice) {
            return None;
        }
        parent = Some(slice);
    }
    None
}

/// A slice's name spells its parents: `a-b.slice` can only be below `a.slice`.
fn is_slice_below(parent: Option<&str>, slice: &str) -> bool {
    let own = match parent {
        None => Some(slice),
        Some(parent) => slice.strip_prefix(parent).and_then(|rest| rest.strip_prefix('-')),
    };
    own.is_some_and(|own| !own.is_empty() && !own.contains('-'))
}

fn scope(name: &str) -> Option<Container> {
    let name = name.strip_suffix(".scope")?;
    SCOPES.iter().find_map(|(prefix, runtime)| named(runtime, name.strip_prefix(prefix)?))
}

fn container(runtime: &'static str, id: &str) -> Option<Owner> {
    named(runtime, id).map(Owner::Container)
}

fn named(runtime: &'static str, id: &str) -> Option<Container> {
    is_hex(id, 64).then(|| Container::of_path(id, runtime))
}

fn is_unit(name: &str) -> bool {
    UNITS.iter().any(|suffix| name.strip_suffix(suffix).is_some_and(|stem| !stem.is_empty()))
}

/// A pod's uid is a UUID, or, for a static pod, the 32 hex digits of its manifest's hash.
fn pod_uid(text: &str) -> Option<String> {
    (is_uuid(text) || is_hex(text, 32)).then(|| text.to_owned())
}

fn is_uuid(text: &str) -> bool {
    let groups = text.split('-');
    groups.clone().count() == 5 && groups.zip([8, 4, 4, 4, 12]).all(|(group, len)| is_hex(group, len))
}

fn is_hex(text: &str, len: usize) -> bool {
    text.len() == len && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests;
