//! `cargo xtask test`.

use std::{
    env::{self, consts::ARCH},
    process::Command,
};

use anyhow::Result;

use crate::{
    cgroups, ebpf, fuzz, kernels,
    privilege::Privilege,
    rootfs,
    setup::{self, peers::Peers},
    task::Task,
    workspace::Workspace,
};

/// What to test.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// First check formatting, lints, and the dependencies' licences, sources and advisories
    #[arg(long)]
    ci: bool,
    /// Passed on to `cargo nextest run`, such as a filter
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    nextest: Vec<String>,
}

/// Sets up, builds and runs the tests.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let privilege = Privilege::acquire("testing: the tests load eBPF programs and make namespaces, which")?;
    setup::for_tests(workspace)?;
    ebpf::build(workspace)?;
    if args.ci {
        check(workspace)?;
    }
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--locked"]);
    Task::new("building the workspace", "the compiler's message is above").run_in_sight(build)?;

    if args.ci {
        fuzz::run(workspace, &fuzz::Args::briefly())?;
    }
    rootfs::fill(workspace, "debug")?;
    kernels::prepare(workspace)?;
    cgroups::remove_leftovers()?;
    Task::new("running the tests", "the failed tests are listed above").run_in_sight(tests(workspace, privilege, args))
}

/// `cargo nextest run` with what the tests want to know.
fn tests(workspace: &Workspace, privilege: Privilege, args: &Args) -> Command {
    let peers = Peers::of(workspace);
    let mut nextest = workspace.cargo();
    nextest.args(["nextest", "run", "--workspace", "--locked"]);
    if args.ci {
        nextest.args(["--profile", "ci"]);
    }
    nextest.args(&args.nextest);
    nextest.env("WEIR_BIN", workspace.agent("debug"));
    nextest.env("WEIR_ROOTFS", rootfs::of(workspace));
    nextest.env("WEIR_KERNELS", kernels::of(workspace));
    nextest.env("WEIR_PEERS", workspace.peer_sources());
    nextest.env("WEIR_PY", peers.python).env("WEIR_PY1", peers.python_1);
    nextest.env("WEIR_NODE", peers.node).env("WEIR_LINT", peers.linters).env("WEIR_READER", peers.reader);
    nextest.env("WEIR_AWS", peers.aws).env("WEIR_FASTMCP", peers.fastmcp).env("WEIR_RUST", peers.rust);
    if privilege == Privilege::Sudo {
        // Cargo stays the developer's own; only the test programs run as root. sudo resets PATH even with -E.
        let runner = format!("sudo -E env PATH={}", workspace.path());
        nextest.env(format!("CARGO_TARGET_{}_UNKNOWN_LINUX_GNU_RUNNER", ARCH.to_uppercase()), runner);
    }
    nextest
}

/// What continuous integration asks of every change.
fn check(workspace: &Workspace) -> Result<()> {
    setup::for_checks(workspace)?;
    let cargo = |args: &[&str]| {
        let mut command = workspace.cargo();
        command.args(args);
        command
    };
    Task::new("checking the format", "`cargo fmt` mends it").run_in_sight(cargo(&["fmt", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    Task::new("linting", "mend what clippy lists above").run_in_sight(cargo(&clippy))?;
    let deny = ["deny", "--log-level", "error", "check", "bans", "licenses", "sources"];
    Task::new("checking dependencies", "deny.toml says what is allowed").run_in_sight(cargo(&deny))?;
    check_advisories(workspace, cargo)
}

/// The advisory database is not in the crates registry: a network may reach the one and not the other.
fn check_advisories(workspace: &Workspace, cargo: impl Fn(&[&str]) -> Command) -> Result<()> {
    let fetched = Task::new("fetching the advisory database", "it is a git repository; is it reachable?")
        .run(workspace, cargo(&["deny", "fetch", "db"]));
    match fetched {
        Ok(()) => {
            let check = cargo(&["deny", "check", "--disable-fetch", "advisories"]);
            Task::new("checking advisories", "update or replace what is listed above").run_in_sight(check)
        }
        Err(error) if env::var_os("WEIR_REQUIRE_ADVISORIES").is_some() => Err(error),
        Err(_) => {
            eprintln!("! advisories were NOT checked; WEIR_REQUIRE_ADVISORIES=1 makes this an error");
            Ok(())
        }
    }
}
