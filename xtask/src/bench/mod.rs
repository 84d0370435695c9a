//! `cargo xtask bench`: what Weir costs. The same load goes direct, through nginx as a TLS reverse proxy and through Weir,
//! in turns, so that a slow minute of the machine is slow for all; and streams are timed event by event.
//!
//! Everything runs in a network and mount namespace and in cgroups made for it: no traffic of the machine is touched.

use std::{env, process::Command, thread, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use self::{
    leg::Leg,
    report::{Report, Settings},
    stage::Stage,
};
use crate::{
    cgroups, ebpf,
    interrupt::Interrupt,
    part::{Part, in_cgroup},
    privilege::Privilege,
    setup,
    task::Task,
    workspace::Workspace,
};

mod cpu;
mod evidence;
mod judging;
mod leg;
mod load;
mod masking;
mod presidio;
mod report;
mod shipping;
mod stage;
mod statistics;
mod streams;

/// How to measure.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// What to measure: the calls through the proxy, what judging or masking one costs, how fast records are shipped, or that a
    /// million of them arrive whatever fails on the way
    #[arg(long, value_enum, default_value_t = What::Calls)]
    part: What,
    /// Records of the part `soak`
    #[arg(long, default_value_t = 1_000_000)]
    records: u64,
    /// How often the part `soak` kills the writer
    #[arg(long, default_value_t = 20)]
    kills: u64,
    /// Rounds; in each of them every leg is run once
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    /// Seconds of load per leg and round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=3600))]
    seconds: u32,
    /// Connections that the load keeps open
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1024))]
    connections: u32,
    /// Streams per leg whose first event is timed
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(5..=10_000))]
    streams: u32,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
    /// Everything is built already: how this program calls itself as root, in namespaces of its own
    #[arg(long, hide = true)]
    prepared: bool,
}

/// A part of the benchmark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// Calls through the proxy
    Calls,
    /// Records to a Kinesis emulator, live and from a backlog
    Ship,
    /// The long run of the shipper
    Soak,
    /// A thousand policies on one call
    Judging,
    /// What masks cost
    Masks,
    /// The detectors beside Presidio, which is installed for this part alone
    Presidio,
}

impl Args {
    fn settings(&self) -> Settings {
        Settings { rounds: self.rounds, seconds: self.seconds, connections: self.connections, streams: self.streams }
    }
}

/// Sets up, builds and measures.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if args.prepared {
        return measure(workspace, args);
    }
    setup::for_bench(workspace)?;
    ebpf::build(workspace)?;
    match args.part {
        What::Calls => {}
        What::Judging => return judging::measure(workspace),
        What::Ship | What::Soak => return shipping::measure(workspace, args),
        What::Masks => return masking::measure(workspace),
        What::Presidio => return presidio::measure(workspace),
    }
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--locked", "--package", "weir", "--package", "weir-tests", "--bins"]);
    Task::new("building the agent and the peers for release", "the compiler's message is above").run_in_sight(build)?;
    apart(workspace, args)
}

/// Calls this program again, as root, in new network and mount namespaces.
fn apart(workspace: &Workspace, args: &Args) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    let privilege = Privilege::acquire("the agent loads eBPF programs, which")?;
    let mut command = privilege.command("env");
    command.arg(format!("PATH={}", workspace.path())).args(["unshare", "--net", "--mount", "--"]);
    command.arg(env::current_exe()?).args(["bench", "--prepared"]);
    for (name, value) in [
        ("--rounds", args.rounds),
        ("--seconds", args.seconds),
        ("--connections", args.connections),
        ("--streams", args.streams),
    ] {
        command.arg(name).arg(value.to_string());
    }
    if args.json {
        command.arg("--json");
    }
    let mut child = command.spawn().context("cannot start unshare")?;
    let mut asked_to_end = false;
    loop {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "the benchmark failed ({status})");
            return Ok(());
        }
        if asked_to_end {
            thread::sleep(Duration::from_millis(50));
        } else if interrupt.check().is_err() {
            // Ctrl-C reached it already, a signal to this process alone did not; it cleans up and ends.
            asked_to_end = true;
            if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
    }
}

fn measure(workspace: &Workspace, args: &Args) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    cgroups::remove_leftovers()?;
    let stage = Stage::make(workspace)?;
    let bench = Bench { stage: &stage, interrupt, settings: args.settings() };
    let outcome = bench.measure();
    stage.remove(outcome.is_ok());
    let report = outcome?;
    if args.json { report.print_json() } else { report.print() }
}

/// One run of the benchmark.
struct Bench<'a> {
    stage: &'a Stage,
    interrupt: Interrupt,
    settings: Settings,
}

impl Bench<'_> {
    fn measure(&self) -> Result<Report> {
        let parts = self.stage.start(|part, ready| self.wait_until(part, ready))?;
        let legs = Leg::all(self.stage, &parts)?;
        let checks = self.check_answers(&legs)?;
        let rounds = load::measure(self, &legs)?;
        let streams = streams::measure(self, &legs)?;
        // The agents end before their logs are judged: every record that is to come has then come.
        for mut part in parts.agents {
            let status = part.stop()?;
            ensure!(status.success(), "the {} ended with {status}:\n{}", part.name(), part.output());
        }
        let evidence = evidence::check(self.stage, &self.settings, &legs, &rounds, checks)?;
        Ok(Report::of(self.settings, &legs, &rounds, &streams, evidence))
    }

    /// Every leg must give the same answer, through a certificate that its client trusts. Returns how often each was asked.
    fn check_answers(&self, legs: &[Leg]) -> Result<u64> {
        let mut expected = None;
        for leg in legs {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--fail", "--max-time", "10", "--cacert"]).arg(&leg.trusted);
            for header in [
                "Content-Type: application/json",
                "Accept: application/json, text/event-stream",
                "MCP-Protocol-Version: 2026-07-28",
                "Mcp-Method: tools/list",
            ] {
                curl.args(["--header", header]);
            }
            let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}"#;
            let call = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{{{meta}}}}}"#);
            curl.args(["--data", &call]).arg(leg.url());
            let output = leg.place(curl).output().context("cannot start curl")?;
            if !output.status.success() {
                bail!("{}: no answer: {}", leg.name, String::from_utf8_lossy(&output.stderr).trim());
            }
            let expected = expected.get_or_insert_with(|| output.stdout.clone());
            ensure!(*expected == output.stdout, "{}: another answer than direct", leg.name);
        }
        Ok(1)
    }

    /// Runs a client to its end and returns what it printed. Ctrl-C ends it.
    fn run_client(&self, what: &str, command: Command, within: Duration) -> Result<String> {
        let part = Part::start(what, command, &self.stage.dir)?;
        let deadline = std::time::Instant::now() + within;
        loop {
            if let Some(status) = part.ended()? {
                ensure!(status.success(), "the {what} failed ({status}):\n{}", part.output());
                return Ok(part.output());
            }
            ensure!(std::time::Instant::now() < deadline, "the {what} did not end:\n{}", part.output());
            self.interrupt.check()?;
        }
    }

    fn wait_until(&self, part: &Part, ready: &dyn Fn() -> bool) -> Result<()> {
        let deadline = std::time::Instant::now() + Duration::from_secs(30);
        while !ready() {
            if !part.is_alive() || std::time::Instant::now() > deadline {
                bail!("the {} did not get ready:\n{}", part.name(), part.output());
            }
            self.interrupt.check()?;
        }
        Ok(())
    }
}

impl Leg {
    /// The command, in the cgroup of this leg's clients.
    fn place(&self, command: Command) -> Command {
        match &self.cgroup {
            Some(cgroup) => in_cgroup(cgroup, &command),
            None => command,
        }
    }
}
