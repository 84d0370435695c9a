//! `cargo xtask run`: a real MCP server behind TLS, the agent, and an unmodified client whose every call is recorded.
//!
//! Only the demonstration's own cgroup is in scope, and the programs are attached no higher than its parent, so nothing
//! else on the machine is touched. Everything made is removed at the end.

use std::{
    env,
    path::PathBuf,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use self::place::Place;
use crate::{
    cgroups, ebpf,
    interrupt::Interrupt,
    part::{Part, in_cgroup},
    pki,
    privilege::Privilege,
    setup::{self, peers::Peers},
    task::Task,
    workspace::Workspace,
};

mod place;

/// A server or an agent that is not ready by then is broken.
const READY_WITHIN: Duration = Duration::from_secs(30);
/// The client's scenario takes about two seconds.
const CLIENT_WITHIN: Duration = Duration::from_secs(60);
/// The printed log looks for new records every 100 ms.
const TAIL_SETTLES: Duration = Duration::from_millis(400);

/// How to run it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// End after the demonstration, with an error if any part of it failed
    #[arg(long)]
    once: bool,
    /// Everything is built already: how this program calls itself as root
    #[arg(long, hide = true)]
    prepared: bool,
}

/// Sets up, builds and runs the demonstration.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    if !args.prepared {
        setup::for_demo(workspace)?;
        ebpf::build(workspace)?;
        let mut build = workspace.cargo();
        build.args(["build", "--locked", "--package", "weir"]);
        Task::new("building the agent", "the compiler's message is above").run_in_sight(build)?;
    }
    match Privilege::acquire("the agent loads eBPF programs, which")? {
        Privilege::Root => demonstrate(workspace, args.once),
        Privilege::Sudo => run_as_root(workspace, args.once),
    }
}

/// Calls this program again, as root. What cargo builds stays the developer's own.
fn run_as_root(workspace: &Workspace, once: bool) -> Result<()> {
    let mut sudo = Command::new("sudo");
    sudo.arg("env").arg(format!("PATH={}", workspace.path())).arg(env::current_exe()?).args(["run", "--prepared"]);
    if once {
        sudo.arg("--once");
    }
    let status = sudo.status().context("cannot start sudo")?;
    ensure!(status.success(), "the demonstration failed ({status})");
    Ok(())
}

fn demonstrate(workspace: &Workspace, once: bool) -> Result<()> {
    let interrupt = Interrupt::listen()?;
    cgroups::remove_leftovers()?;
    let place = Place::make(workspace)?;
    let outcome =
        Demo { place: &place, peers: Peers::of(workspace), weir: workspace.agent("debug"), interrupt }.show(once);
    place.remove();
    outcome
}

struct Demo<'a> {
    place: &'a Place,
    peers: Peers,
    weir: PathBuf,
    interrupt: Interrupt,
}

impl Demo<'_> {
    fn show(&self, once: bool) -> Result<()> {
        let (_server, url) = self.start_server()?;
        let direct = self.run_client("the client, directly", &url, None)?;

        self.place.write_config(&url)?;
        let root = self.create_ca()?;
        let agent = self.start_agent()?;
        let log = self.follow_log()?;

        say(&format!("an unmodified client calls {url} from {}", self.place.app().display()));
        let through_weir = self.run_client("the client, through Weir", &url, Some(&root))?;
        thread::sleep(TAIL_SETTLES);
        ensure!(direct == through_weir, "the client got other results through Weir than directly");
        say("the client got the same results, byte for byte, as without Weir");
        self.check_records()?;
        self.verify()?;

        if !once {
            self.invite(&url, &root);
            self.interrupt.wait();
            self.verify()?;
        }
        drop(log);
        self.finish(agent)
    }

    fn start_server(&self) -> Result<(Part, String)> {
        let pki = pki::create(&self.place.dir())?;
        let mut server = Command::new(&self.peers.python);
        server.arg(self.place.peer("py/server.py")).args(["--port", &self.place.free_port()?.to_string()]);
        server.arg("--cert").arg(&pki.certificate).arg("--key").arg(&pki.key);
        let part = Part::start("server", server, &self.place.dir())?;
        let announced = || part.output().lines().find_map(|line| line.strip_prefix("listening on ")).map(str::to_owned);
        let url = self.wait_until(&part, announced)?;
        say(&format!("a Python SDK server listens on {url}"));
        Ok((part, url))
    }

    /// Runs the client's scenario to its end and returns its transcript. `root` puts it into the app's cgroup.
    fn run_client(&self, what: &str, url: &str, root: Option<&PathBuf>) -> Result<String> {
        let mut client = Command::new(&self.peers.python);
        client.arg(self.place.peer("py/client.py")).arg(url);
        let trusted = root.cloned().unwrap_or_else(|| pki::root(&self.place.dir()));
        client.env("SSL_CERT_FILE", trusted).env_remove("SSL_CERT_DIR");
        if root.is_some() {
            client = in_cgroup(&self.place.app(), &client);
        }
        let part = Part::start(what, client, &self.place.dir())?;
        let deadline = Instant::now() + CLIENT_WITHIN;
        loop {
            if let Some(status) = part.ended()? {
                ensure!(status.success(), "{what} failed ({status}):\n{}", part.output());
                return Ok(part.output());
            }
            ensure!(
                Instant::now() < deadline,
                "{what} did not end in {} s:\n{}",
                CLIENT_WITHIN.as_secs(),
                part.output()
            );
            self.interrupt.check()?;
        }
    }

    /// `weir ca init`; gives the bundle that clients trust: the system's roots and this one.
    fn create_ca(&self) -> Result<PathBuf> {
        self.weir(&["ca", "init"])?;
        self.place.write_bundle()
    }

    fn start_agent(&self) -> Result<Part> {
        let mut agent = Command::new(&self.weir);
        agent.arg("run").arg("--config").arg(self.place.config());
        let part = Part::start("agent", in_cgroup(&self.place.agent(), &agent), &self.place.dir())?;
        self.wait_until(&part, || self.weir(&["status"]).ok())?;
        say(&format!("the agent runs; its log is in {}", self.place.audit().display()));
        Ok(part)
    }

    /// Prints records as they are written.
    fn follow_log(&self) -> Result<Part> {
        let mut tail = Command::new(&self.weir);
        tail.args(["audit", "tail", "--follow", "--config"]).arg(self.place.config());
        Part::start_in_sight("audit tail", tail)
    }

    /// A client that was not intercepted gets the same results too: only its records show the difference.
    fn check_records(&self) -> Result<()> {
        let records = self.weir(&["audit", "tail", "--json", "--lines", "1000"])?;
        let requests = records.lines().filter(|line| line.contains(r#""phase":"request""#));
        let of_tools = requests.filter(|line| line.contains(r#""method":"tools/call""#)).count();
        ensure!(of_tools > 0, "the client's tool calls are not in the log");
        say(&format!("{of_tools} tool calls are in the log"));
        Ok(())
    }

    fn verify(&self) -> Result<()> {
        println!("{}", self.weir(&["audit", "verify"])?.trim_end());
        Ok(())
    }

    fn invite(&self, url: &str, root: &std::path::Path) {
        let app = self.place.app();
        let (app, root) = (app.display(), root.display());
        println!(
            "\nTry a client of your own on {url}; this shell is in scope and trusts the CA:\n\n  \
             sudo sh -c 'echo $$ > {app}/cgroup.procs && exec env SSL_CERT_FILE={root} REQUESTS_CA_BUNDLE={root} \
             CURL_CA_BUNDLE={root} NODE_EXTRA_CA_CERTS={root} bash'\n\nCtrl-C ends the demonstration.\n"
        );
    }

    /// Removes what the agent pinned, then ends it: its last record says so.
    fn finish(&self, mut agent: Part) -> Result<()> {
        self.weir(&["detach"])?;
        let status = agent.stop()?;
        ensure!(status.success(), "the agent ended with {status}:\n{}", agent.output());
        self.verify()
    }

    /// Runs a `weir` command to its end and returns what it printed.
    fn weir(&self, args: &[&str]) -> Result<String> {
        let mut weir = Command::new(&self.weir);
        let output = weir.args(args).arg("--config").arg(self.place.config()).output();
        let output = output.with_context(|| format!("cannot start {}", self.weir.display()))?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            bail!("weir {} failed ({}):\n{stdout}{stderr}", args.join(" "), output.status);
        }
        Ok(stdout)
    }

    fn wait_until<T>(&self, part: &Part, mut ready: impl FnMut() -> Option<T>) -> Result<T> {
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(value) = ready() {
                return Ok(value);
            }
            if !part.is_alive() || Instant::now() > deadline {
                bail!("the {} did not get ready:\n{}", part.name(), part.output());
            }
            self.interrupt.check()?;
        }
    }
}

fn say(text: &str) {
    println!("• {text}");
}
