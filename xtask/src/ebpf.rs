//! Builds the eBPF programs.

use std::{fs, path::PathBuf};

use anyhow::{Context, Result};

use crate::{setup, task::Task, workspace::Workspace};

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";

/// Sets up the toolchain, builds `agent-ebpf`'s programs and puts the object where the agent's build looks for it.
/// The object's file changes only when its content does, so that the agent is not built again for nothing.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::for_ebpf(workspace)?;
    let out = workspace.cache().join("ebpf");
    let linker = workspace.tool("bpf-linker");
    let flags = ["-Cdebuginfo=2".into(), "-Clink-arg=--btf".into(), format!("-Clinker={}", linker.display())];

    let mut cargo = toolchain.cargo(workspace);
    cargo.args(["build", "--release", "--locked", "--package", "weir-ebpf", "--bin", "weir-ebpf"]);
    cargo.args(["--target", "bpfel-unknown-none", "-Zbuild-std=core", "--target-dir"]).arg(&out);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR));
    let what = format!("building the eBPF programs with {}", toolchain.describe());
    Task::new(&what, "the compiler's or linker's message is above").run(workspace, cargo)?;

    let built = out.join("bpfel-unknown-none/release/weir-ebpf");
    copy_if_changed(&built, &out.join("weir-ebpf.o"))
}

fn copy_if_changed(from: &PathBuf, to: &PathBuf) -> Result<()> {
    let object = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|present| present == object) {
        return Ok(());
    }
    fs::write(to, object).with_context(|| format!("cannot write {}", to.display()))
}
