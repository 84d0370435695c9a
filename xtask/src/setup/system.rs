//! Debian packages.

use std::{env, path::Path};

use anyhow::{Result, bail};

use crate::{privilege::Privilege, task::Task, workspace::Workspace};

/// Something the system must have, how to see that it does, and the package that brings it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requirement {
    probe: Probe,
    package: &'static str,
}

#[derive(Debug, Clone, Copy)]
enum Probe {
    /// A program on `PATH` or in an administrator's directory.
    Program(&'static str),
    /// A file or directory.
    File(&'static str),
}

const fn program(name: &'static str, package: &'static str) -> Requirement {
    Requirement { probe: Probe::Program(name), package }
}

const fn file(path: &'static str, package: &'static str) -> Requirement {
    Requirement { probe: Probe::File(path), package }
}

/// What bpf-linker is built with: LLVM, and the libraries that LLVM itself links.
pub(super) const LLVM: &[Requirement] = &[
    file("/usr/lib/llvm-22/include/llvm-c/Core.h", "llvm-22-dev"),
    file("/usr/include/zlib.h", "zlib1g-dev"),
    file("/usr/include/zstd.h", "libzstd-dev"),
    program("c++", "g++"),
];

/// A Rust toolchain that comes with the sources of its standard library.
pub(super) const RUST: &[Requirement] = &[
    file("/usr/bin/rustc", "rustc-web"),
    file("/usr/bin/cargo", "cargo-web"),
    file("/usr/lib/rustlib/src/rust/library/core", "rust-web-src"),
];

/// What libFuzzer is compiled with.
pub(super) const FUZZING: &[Requirement] = &[program("c++", "g++")];

/// What the demonstration uses.
pub(super) const DEMO: &[Requirement] =
    &[program("openssl", "openssl"), file("/etc/ssl/certs/ca-certificates.crt", "ca-certificates")];

/// What the benchmark uses.
pub(super) const BENCH: &[Requirement] = &[
    program("ip", "iproute2"),
    program("unshare", "util-linux"),
    program("curl", "curl"),
    program("openssl", "openssl"),
    program("nginx", "nginx-light"),
    program("wrk", "wrk"),
];

/// Peers and tools of the tests.
pub(super) const TESTS: &[Requirement] = &[
    program("ip", "iproute2"),
    program("unshare", "util-linux"),
    program("runc", "runc"),
    program("bpftool", "bpftool"),
    program("curl", "curl"),
    program("openssl", "openssl"),
    program("nginx", "nginx-light"),
    program("wrk", "wrk"),
    program("qemu-system-x86_64", "qemu-system-x86"),
    program("systemd-analyze", "systemd"),
    program("python3", "python3"),
    program("chromium-headless-shell", "chromium-headless-shell"),
    file("/bin/busybox", "busybox-static"),
    file("/etc/ssl/certs/ca-certificates.crt", "ca-certificates"),
];

/// The interpreter of the Python peers; `ensurepip` is what Debian leaves out of `python3`.
pub(super) const PYTHON: &[Requirement] =
    &[file("/usr/bin/python3", "python3"), file("/usr/share/python-wheels", "python3-venv")];

impl Requirement {
    fn is_met(&self) -> bool {
        match self.probe {
            Probe::Program(name) => {
                let path = env::var("PATH").unwrap_or_default();
                let dirs = path.split(':').chain(["/usr/local/sbin", "/usr/sbin", "/sbin"]);
                dirs.into_iter().any(|dir| Path::new(dir).join(name).is_file())
            }
            Probe::File(path) => Path::new(path).exists(),
        }
    }
}

/// Installs the packages of requirements that are not met; does nothing when all are.
///
/// # Errors
/// No apt, no way to become root, or apt failed.
pub(super) fn install(workspace: &Workspace, requirements: &[Requirement]) -> Result<()> {
    let missing: Vec<&str> = requirements.iter().filter(|need| !need.is_met()).map(|need| need.package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!("this system has no apt-get; install what these Debian packages hold: {}", missing.join(" "));
    }
    let root = Privilege::acquire(&format!("installing {}", missing.join(" ")))?;
    refresh(workspace)?;

    let mut install = root.command("env");
    install.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--quiet"]);
    // Nothing that the machine already has is removed to make room.
    install.args(["--no-install-recommends", "--no-remove"]).args(&missing);
    let advice = "a package that apt cannot find is in another Debian release: see CONTRIBUTING.md, What setup needs";
    Task::new(&format!("installing {}", missing.join(" ")), advice).run(workspace, install)
}

/// Fetches the lists of what apt can install.
pub(crate) fn refresh(workspace: &Workspace) -> Result<()> {
    let mut update = Privilege::acquire("refreshing the package lists")?.command("apt-get");
    update.args(["update", "--quiet"]);
    Task::new("refreshing the package lists", "check the network and /etc/apt").run(workspace, update)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_requirement_is_met_by_what_the_system_holds() {
        assert!(program("sh", "dash").is_met());
        assert!(!program("no-such-program", "none").is_met());
        assert!(file("/etc/passwd", "base-passwd").is_met());
        assert!(!file("/no/such/file", "none").is_met());
    }
}
