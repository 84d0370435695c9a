//! Tools that cargo builds: bpf-linker, cargo-nextest, cargo-deny, ferrokinesis.

use std::{path::Path, process::Command};

use anyhow::Result;

use super::{bpf_toolchain, system};
use crate::{stamp::Stamp, task::Task, workspace::Workspace};

/// A binary crate, exactly as it is installed.
struct Tool {
    name: &'static str,
    version: &'static str,
    features: &'static [&'static str],
}

const BPF_LINKER: Tool =
    Tool { name: "bpf-linker", version: "0.13.0", features: &["--no-default-features", "--features", "llvm-22"] };
const NEXTEST: Tool = Tool {
    name: "cargo-nextest",
    version: "0.9.143",
    features: &["--no-default-features", "--features", "default-no-update"],
};
const FERROKINESIS: Tool = Tool { name: "ferrokinesis", version: "0.7.0", features: &[] };
const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", features: &[] };

/// Links the eBPF object. Built here against Debian's LLVM, so that it reads what the toolchain writes.
pub(super) fn bpf_linker(workspace: &Workspace) -> Result<()> {
    system::install(workspace, system::LLVM)?;
    let prefix = bpf_toolchain::llvm_prefix();
    install(workspace, &BPF_LINKER, |cargo| {
        // One is read by bpf-linker's own build script, the other by llvm-sys.
        cargo.env("LLVM_PREFIX", &prefix).env("LLVM_SYS_221_PREFIX", &prefix);
    })
}

/// Runs the tests, each in its own process.
pub(super) fn cargo_nextest(workspace: &Workspace) -> Result<()> {
    install_unless_on_path(workspace, &NEXTEST)
}

/// Emulates Kinesis, with its throttling. Built to be as fast as what is measured against it.
pub(super) fn ferrokinesis(workspace: &Workspace) -> Result<()> {
    install(workspace, &FERROKINESIS, |cargo| {
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1").env("CARGO_PROFILE_RELEASE_DEBUG", "none");
    })
}

/// Checks licences, sources and advisories of the dependencies.
pub(super) fn cargo_deny(workspace: &Workspace) -> Result<()> {
    install_unless_on_path(workspace, &DENY)
}

fn install_unless_on_path(workspace: &Workspace, tool: &Tool) -> Result<()> {
    let path = std::env::var("PATH").unwrap_or_default();
    if path.split(':').any(|dir| Path::new(dir).join(tool.name).is_file()) {
        return Ok(());
    }
    install(workspace, tool, |cargo| {
        // These are run a few times, and waited for on every fresh machine: build them fast rather than well.
        cargo.env("CARGO_PROFILE_RELEASE_LTO", "off");
        cargo.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
        cargo.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        cargo.env("CARGO_PROFILE_RELEASE_DEBUG", "none");
    })
}

fn install(workspace: &Workspace, tool: &Tool, adjust: impl FnOnce(&mut Command)) -> Result<()> {
    let Tool { name, version, features } = tool;
    let stamp = Stamp::new(workspace.tools().join(".stamps").join(name), format!("{version} {}", features.join(" ")));
    if stamp.is_current() && workspace.tool(name).exists() {
        return Ok(());
    }
    let mut cargo = workspace.cargo();
    cargo.args(["install", name, "--version", version, "--locked", "--root"]).arg(workspace.tools()).args(*features);
    adjust(&mut cargo);
    let advice = "its output above says what is missing; `cargo xtask setup` goes on from here";
    Task::new(&format!("building {name} {version} (some minutes, once)"), advice).run(workspace, cargo)?;
    stamp.write()
}
