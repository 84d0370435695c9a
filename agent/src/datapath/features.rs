//! What the datapath needs of the kernel, tried rather than guessed from a version.

use std::{error::Error, fs, path::Path};

use serde::Serialize;

use super::{
    CgroupPath, CgroupTree, Netns,
    attach::{self, Tried},
    pins,
    sock_diag::SockDiag,
};

/// One prerequisite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Feature {
    /// What is needed.
    pub name: String,
    /// Whether it is there.
    pub ok: bool,
    /// What was found, or what the kernel said.
    pub detail: String,
    /// What to do about it; empty when it is there.
    pub fix: String,
}

impl Feature {
    fn new(name: &str, found: Result<String, String>, fix: &str) -> Self {
        match found {
            Ok(detail) => Self { name: name.to_owned(), ok: true, detail, fix: String::new() },
            Err(detail) => Self { name: name.to_owned(), ok: false, detail, fix: fix.to_owned() },
        }
    }
}

/// Tries everything that the datapath needs; whether the link layer can be denied only counts where that is asked for.
/// Attaches and leaves nothing.
#[must_use]
pub fn kernel_features(cgroup_base: &str, bpffs: &Path, deny_link_layer: bool) -> Vec<Feature> {
    let cgroups = CgroupTree::open(cgroup_base);
    let mut features = vec![
        Feature::new("btf", btf(), "use a kernel built with CONFIG_DEBUG_INFO_BTF"),
        Feature::new(
            "cgroup2",
            cgroups.as_ref().map(|tree| format!("base has id {}", tree.base_id().0)).map_err(text),
            "mount the host's cgroup2 root: mount -t cgroup2 none /sys/fs/cgroup",
        ),
        Feature::new(
            "bpffs",
            pins::require_bpffs(bpffs).map(|()| bpffs.display().to_string()).map_err(text),
            "mount -t bpf bpf /sys/fs/bpf, or set intercept.bpffs",
        ),
        Feature::new(
            "netns_cookie",
            Netns::current().and_then(|netns| netns.cookie()).map(|cookie| cookie.0.to_string()).map_err(text),
            "use Linux 6.1 or later",
        ),
    ];
    features.push(Feature::new(
        "sock_destroy",
        SockDiag::open().and_then(|sockets| sockets.can_destroy()).map(|()| "connections can be ended".to_owned()).map_err(text),
        "run with CAP_NET_ADMIN, on a kernel with CONFIG_INET_DIAG_DESTROY; without it, connections from before the agent \
         stall instead of being made again",
    ));
    if let Ok(tree) = &cgroups {
        features.push(Feature::new("cgroup_handles", cgroup_handles(tree), "run with CAP_DAC_READ_SEARCH"));
    }
    let tried = attach::try_programs(|name, loaded| {
        let found = loaded.map(|()| ACCEPTED.to_owned()).map_err(text);
        features.push(Feature::new(name, found, PROGRAM_FIX));
    });
    match tried {
        Ok(Tried { at_exec, link_layer }) => {
            let found = at_exec.map_or_else(without_exec, |()| ACCEPTED.to_owned());
            features.push(Feature::new("weir_exec", Ok(found), ""));
            let found = link_layer.map(|()| ACCEPTED.to_owned()).map_err(text);
            let found =
                if deny_link_layer { found } else { found.or_else(|error| Ok(format!("not possible here: {error}"))) };
            features.push(Feature::new("link_layer", found, LINK_LAYER_FIX));
        }
        Err(error) => features.push(Feature::new("ebpf", Err(text(error)), PROGRAM_FIX)),
    }
    features
}

const ACCEPTED: &str = "accepted by the verifier";

const PROGRAM_FIX: &str = "use Linux 6.1 or later with CONFIG_CGROUP_BPF, and run as root or with CAP_BPF, CAP_NET_ADMIN \
                           and CAP_PERFMON";

const LINK_LAYER_FIX: &str = "boot with `bpf` in `lsm=`, or set intercept.link_layer = \"allow\"";

/// Nothing is let through for the lack of it.
fn without_exec(error: impl Error) -> String {
    format!("done without: new namespaces are found at their first socket, not at exec: {}", text(error))
}

fn btf() -> Result<String, String> {
    const BTF: &str = "/sys/kernel/btf/vmlinux";
    fs::metadata(BTF).map(|_| BTF.to_owned()).map_err(|error| format!("{BTF}: {error}"))
}

fn cgroup_handles(tree: &CgroupTree) -> Result<String, String> {
    match tree.path_of(tree.base_id()) {
        Ok(Some(CgroupPath::Inside(path) | CgroupPath::Outside(path))) => Ok(format!("base found as {path}")),
        Ok(None) => Err("the base's id leads nowhere".to_owned()),
        Err(error) => Err(text(error)),
    }
}

/// An error with its causes, on one line and of a length that a terminal shows.
fn text(error: impl Error) -> String {
    const MAX_CHARS: usize = 400;
    let text = error.to_string().replace('\n', " ");
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text,
    }
}
