//! Where the benchmark happens: a directory, cgroups, a bpffs and the servers, all of its own.

use std::{
    fs, io,
    net::TcpStream,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result, ensure};

use super::leg::{LOAD_PORT, NGINX_PORT, STREAM_PORT};
use crate::{
    cgroups,
    part::{Part, in_cgroup},
    pki,
    workspace::Workspace,
};

/// `audit.durability`; an agent runs for each.
pub(super) const DURABILITIES: [&str; 2] = ["sync", "process"];

/// Made at the start, removed at the end.
pub(super) struct Stage {
    pub(super) dir: PathBuf,
    name: String,
    cgroup: PathBuf,
    sources: PathBuf,
    programs: PathBuf,
}

/// The processes.
pub(super) struct Parts {
    _upstream: Part,
    _streams: Part,
    pub(super) nginx: Part,
    /// In the order of [`DURABILITIES`].
    pub(super) agents: Vec<Part>,
}

impl Stage {
    /// Makes directory, cgroups and bpffs. Must run in a mount and network namespace of its own.
    pub(super) fn make(workspace: &Workspace) -> Result<Self> {
        let name = format!("weir-bench-{}", process::id());
        let cgroup = cgroups::mount_point()?.join(&name);
        let programs = workspace.agent("release").parent().context("no directory of programs")?.to_owned();
        let dir = workspace.cache().join("bench");
        let stage = Self { dir, name, cgroup, sources: workspace.root().join("tests/bench"), programs };
        if stage.dir.exists() {
            fs::remove_dir_all(&stage.dir).with_context(|| format!("cannot remove {}", stage.dir.display()))?;
        }
        let made = stage.fill();
        if made.is_err() {
            stage.remove(false);
        }
        made.map(|()| stage)
    }

    fn fill(&self) -> Result<()> {
        let mut dirs = vec![self.bpffs()];
        for durability in DURABILITIES {
            dirs.extend([self.app(durability), self.agent_cgroup(durability)]);
        }
        for dir in dirs {
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        run(Command::new("mount").args(["-t", "bpf", "bpf"]).arg(self.bpffs()))?;
        run(Command::new("ip").args(["link", "set", "lo", "up"]))?;
        pki::create(&self.dir)?;
        for file in ["upstream.conf", "proxy.conf", "call.lua"] {
            fs::copy(self.source(file), self.dir.join(file)).with_context(|| format!("cannot copy {file}"))?;
        }
        DURABILITIES.iter().try_for_each(|durability| self.write_config(durability))
    }

    /// Starts everything, and returns when it answers.
    pub(super) fn start(&self, wait: impl Fn(&Part, &dyn Fn() -> bool) -> Result<()>) -> Result<Parts> {
        let start = |name: &str, command, port: u16| {
            let part = Part::start(name, command, &self.dir)?;
            wait(&part, &|| TcpStream::connect(("127.0.0.1", port)).is_ok())?;
            Ok::<_, anyhow::Error>(part)
        };
        let upstream = start("upstream server", self.nginx("upstream.conf"), LOAD_PORT)?;
        let nginx = start("nginx proxy", self.nginx("proxy.conf"), NGINX_PORT)?;
        let mut peer = Command::new(self.program("sse_peer"));
        peer.arg(self.dir.join("server.pem")).arg(self.dir.join("server.key"));
        let streams = start("stream server", peer, STREAM_PORT)?;
        let mut agents = Vec::new();
        for durability in DURABILITIES {
            self.weir(durability, &["ca", "init"])?;
            let mut agent = Command::new(self.program("weir"));
            agent.arg("run").arg("--config").arg(self.config(durability));
            let name = format!("agent with durability {durability}");
            let part = Part::start(&name, in_cgroup(&self.agent_cgroup(durability), &agent), &self.dir)?;
            wait(&part, &|| self.weir(durability, &["status"]).is_ok())?;
            agents.push(part);
        }
        Ok(Parts { _upstream: upstream, _streams: streams, nginx, agents })
    }

    /// The cgroup that an agent has in scope.
    pub(super) fn app(&self, durability: &str) -> PathBuf {
        self.cgroup.join(durability).join("app")
    }

    fn agent_cgroup(&self, durability: &str) -> PathBuf {
        self.cgroup.join(durability).join("agent")
    }

    /// The root that an agent's clients trust.
    pub(super) fn agent_root(&self, durability: &str) -> PathBuf {
        self.state(durability).join("ca/root.pem")
    }

    /// An agent's audit log.
    pub(super) fn audit(&self, durability: &str) -> PathBuf {
        self.state(durability).join("audit")
    }

    /// A program of this workspace.
    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.programs.join(name)
    }

    /// Runs a `weir` command to its end and returns what it printed.
    pub(super) fn weir(&self, durability: &str, args: &[&str]) -> Result<String> {
        let mut weir = Command::new(self.program("weir"));
        run(weir.args(args).arg("--config").arg(self.config(durability)))
    }

    fn state(&self, durability: &str) -> PathBuf {
        self.dir.join(durability)
    }

    fn config(&self, durability: &str) -> PathBuf {
        self.dir.join(durability).with_extension("toml")
    }

    fn bpffs(&self) -> PathBuf {
        self.dir.join("bpf")
    }

    fn source(&self, name: &str) -> PathBuf {
        self.sources.join(name)
    }

    fn nginx(&self, config: &str) -> Command {
        let mut nginx = Command::new("nginx");
        nginx.arg("-p").arg(&self.dir).arg("-c").arg(self.dir.join(config)).args(["-e", "stderr"]);
        nginx
    }

    fn write_config(&self, durability: &str) -> Result<()> {
        let Self { dir, name, .. } = self;
        let endpoint = |name: &str, port: u16| {
            let ca = pki::root(dir);
            format!(
                "[[endpoint]]\nname = {name:?}\nhosts = [\"localhost\"]\nports = [{port}]\nupstream_ca = {ca:?}\n\n"
            )
        };
        let text = format!(
            "state_dir = {state:?}\n\n\
             [intercept]\nbase = \"/{name}/{durability}\"\ncgroups = [\"/app\"]\nbpffs = {bpffs:?}\n\n\
             {load}{stream}\
             [audit]\ndurability = \"{durability}\"\n\n\
             [admin]\nlisten = \"unix:{dir}/{durability}.sock\"\n",
            state = self.state(durability),
            bpffs = self.bpffs().join(durability),
            load = endpoint("load", LOAD_PORT),
            stream = endpoint("stream", STREAM_PORT),
            dir = dir.display(),
        );
        let config = self.config(durability);
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))
    }

    /// Removes cgroups, bpffs and, when all went well, the directory; otherwise what the parts printed stays for a look.
    pub(super) fn remove(&self, all: bool) {
        if let Err(error) = run(Command::new("umount").arg(self.bpffs())) {
            eprintln!("! {error:#}");
        }
        report(&self.cgroup, cgroups::remove(&self.cgroup));
        if all {
            report(&self.dir, fs::remove_dir_all(&self.dir));
            return;
        }
        for durability in DURABILITIES {
            // The logs of a load are large.
            report(&self.audit(durability), fs::remove_dir_all(self.audit(durability)));
        }
    }
}

fn report(path: &Path, removed: io::Result<()>) {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("! cannot remove {}: {error}", path.display());
        }
        _ => {}
    }
}

fn run(command: &mut Command) -> Result<String> {
    let program = command.get_program().display().to_string();
    let output = command.output().with_context(|| format!("cannot start {program}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    ensure!(output.status.success(), "{program} failed:\n{}{}", text(&output.stdout), text(&output.stderr));
    Ok(text(&output.stdout))
}
