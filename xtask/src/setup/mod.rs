//! Finds what Weir needs, or installs it: system packages, an eBPF-capable Rust toolchain, cargo tools, and the MCP
//! peers that tests talk to. Everything but the system packages is kept under `target/`.

use std::path::PathBuf;

use anyhow::Result;

use crate::workspace::Workspace;

pub(crate) use bpf_toolchain::BpfToolchain;
pub(crate) use system::refresh as refresh_package_lists;

mod bpf_toolchain;
pub(crate) mod peers;
mod system;
mod tools;

/// Everything that building, running and testing need.
pub(crate) fn everything(workspace: &Workspace) -> Result<()> {
    for_tests(workspace)?;
    tools::cargo_deny(workspace)?;
    eprintln!("✓ everything is in place");
    Ok(())
}

/// What it takes to build the eBPF programs.
pub(crate) fn for_ebpf(workspace: &Workspace) -> Result<BpfToolchain> {
    let toolchain = BpfToolchain::find_or_install(workspace)?;
    tools::bpf_linker(workspace)?;
    Ok(toolchain)
}

/// What the demonstration needs.
pub(crate) fn for_demo(workspace: &Workspace) -> Result<()> {
    system::install(workspace, system::DEMO)?;
    peers::install_python(workspace)
}

/// What the benchmark needs.
pub(crate) fn for_bench(workspace: &Workspace) -> Result<()> {
    system::install(workspace, system::BENCH)
}

/// What the shipper's parts of the benchmark need besides.
pub(crate) fn for_shipping(workspace: &Workspace) -> Result<()> {
    tools::ferrokinesis(workspace)
}

/// The Python that has Presidio: 400 MB that only one part of the benchmark needs.
pub(crate) fn for_presidio(workspace: &Workspace) -> Result<PathBuf> {
    peers::install_presidio(workspace)
}

/// What the tests need besides.
pub(crate) fn for_tests(workspace: &Workspace) -> Result<()> {
    system::install(workspace, system::TESTS)?;
    for_ebpf(workspace)?;
    tools::cargo_nextest(workspace)?;
    tools::ferrokinesis(workspace)?;
    peers::install(workspace)
}

/// What it takes to build the fuzz targets.
pub(crate) fn for_fuzzing(workspace: &Workspace) -> Result<()> {
    system::install(workspace, system::FUZZING)?;
    for_ebpf(workspace).map(|_| ())
}

/// What the continuous integration checks need besides.
pub(crate) fn for_checks(workspace: &Workspace) -> Result<()> {
    tools::cargo_deny(workspace)
}
