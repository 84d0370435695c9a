//! `cargo xtask`: sets up, builds, runs and tests Weir.
//!
//! It needs a Debian machine with rustup's stable toolchain and a C linker, and root (or sudo) where it installs
//! packages or starts the agent. What it downloads or builds is kept under `target/`; a second run finds it there.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use workspace::Workspace;

mod bench;
mod cgroups;
mod demo;
mod ebpf;
mod fuzz;
mod interrupt;
mod kernels;
mod part;
mod pki;
mod privilege;
mod rootfs;
mod setup;
mod stamp;
mod task;
mod testing;
mod workspace;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "Sets up, builds, runs and tests Weir")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find or install everything that building, running and testing need
    Setup,
    /// Set up, build and show Weir at work: a real server, the agent, an unmodified client
    Run(demo::Args),
    /// Build the eBPF programs into target/ebpf/weir-ebpf.o
    BuildEbpf,
    /// Set up, build and run every test
    Test(testing::Args),
    /// Set up, build and fuzz the parsers that read what peers send
    Fuzz(fuzz::Args),
    /// Set up, build and measure what Weir costs, beside no proxy and beside nginx
    Bench(bench::Args),
    /// Assemble the image's root file system in target/rootfs
    Rootfs(rootfs::Args),
}

fn main() -> ExitCode {
    match execute(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<()> {
    let workspace = Workspace::here();
    match command {
        Command::Setup => setup::everything(&workspace),
        Command::Run(args) => demo::run(&workspace, &args),
        Command::BuildEbpf => ebpf::build(&workspace),
        Command::Test(args) => testing::run(&workspace, &args),
        Command::Fuzz(args) => fuzz::run(&workspace, &args),
        Command::Bench(args) => bench::run(&workspace, &args),
        Command::Rootfs(args) => rootfs::assemble(&workspace, &args),
    }
}
