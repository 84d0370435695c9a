//! Where the demonstration happens: a directory, two cgroups and a place in bpffs, all of its own.

use std::{
    ffi::OsStr,
    fs, io,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{self, Command},
};

use anyhow::{Context, Result, ensure};

use crate::{cgroups, part::text_of, pki, workspace::Workspace};

/// What clients find by themselves, where it is free.
const PORT: u16 = 8443;
/// The system's roots, as Debian keeps them.
const SYSTEM_ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// Made at the start, removed at the end.
pub(super) struct Place {
    dir: PathBuf,
    peers: PathBuf,
    name: String,
    cgroup: PathBuf,
}

impl Place {
    /// Makes the directory and the cgroups. The agent and the client each get a leaf, because the agent tells its own
    /// connections by its cgroup.
    pub(super) fn make(workspace: &Workspace) -> Result<Self> {
        let dir = workspace.cache().join("demo");
        let name = format!("weir-demo-{}", process::id());
        let cgroup = cgroups::mount_point()?.join(&name);
        let place = Self { dir, peers: workspace.peer_sources(), name, cgroup };
        // Of a demonstration that was killed.
        let _ = run("umount", &["--quiet".as_ref(), place.bpffs().as_os_str()]);
        if place.dir.exists() {
            fs::remove_dir_all(&place.dir).with_context(|| format!("cannot remove {}", place.dir.display()))?;
        }
        for dir in [place.dir(), place.bpffs(), place.agent(), place.app()] {
            fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        }
        run("mount", &["-t".as_ref(), "bpf".as_ref(), "weir-demo".as_ref(), place.bpffs().as_os_str()])?;
        Ok(place)
    }

    /// Configuration, keys, the log and what the parts print.
    pub(super) fn dir(&self) -> PathBuf {
        self.dir.clone()
    }

    /// The agent's cgroup.
    pub(super) fn agent(&self) -> PathBuf {
        self.cgroup.join("agent")
    }

    /// The cgroup in scope.
    pub(super) fn app(&self) -> PathBuf {
        self.cgroup.join("app")
    }

    /// `weir.toml`.
    pub(super) fn config(&self) -> PathBuf {
        self.dir.join("weir.toml")
    }

    /// The audit log's directory.
    pub(super) fn audit(&self) -> PathBuf {
        self.state().join("audit")
    }

    /// A peer's program.
    pub(super) fn peer(&self, name: &str) -> PathBuf {
        self.peers.join(name)
    }

    fn state(&self) -> PathBuf {
        self.dir.join("state")
    }

    /// A bpffs of its own: what is pinned there goes when it is unmounted.
    fn bpffs(&self) -> PathBuf {
        self.dir.join("bpffs")
    }

    /// The usual port, or any that is free.
    pub(super) fn free_port(&self) -> Result<u16> {
        let listener = TcpListener::bind(("127.0.0.1", PORT)).or_else(|_| TcpListener::bind(("127.0.0.1", 0)));
        Ok(listener.context("found no free port on 127.0.0.1")?.local_addr()?.port())
    }

    /// Writes `weir.toml` for the server at `url`.
    pub(super) fn write_config(&self, url: &str) -> Result<()> {
        let port = port_of(url).with_context(|| format!("no port in {url}"))?;
        let Self { dir, name, .. } = self;
        let text = format!(
            "state_dir = {state:?}\n\n\
             [intercept]\nbase = \"/{name}\"\ncgroups = [\"/app\"]\nbpffs = {bpffs:?}\n\n\
             [[endpoint]]\nname = \"demo\"\nhosts = [\"localhost\"]\nports = [{port}]\nupstream_ca = {ca:?}\n\n\
             [admin]\nlisten = \"unix:{dir}/admin.sock\"\n",
            state = self.state(),
            bpffs = self.bpffs().join("weir"),
            ca = pki::root(dir),
            dir = dir.display(),
        );
        fs::write(self.config(), text).with_context(|| format!("cannot write {}", self.config().display()))
    }

    /// Writes the bundle that a workload trusts: the system's roots and the agent's.
    pub(super) fn write_bundle(&self) -> Result<PathBuf> {
        let root = self.state().join("ca/root.pem");
        let root = fs::read_to_string(&root).with_context(|| format!("cannot read {}", root.display()))?;
        let bundle = self.dir.join("trusted.pem");
        let text = text_of(Path::new(SYSTEM_ROOTS)) + &root;
        fs::write(&bundle, text).with_context(|| format!("cannot write {}", bundle.display()))?;
        Ok(bundle)
    }

    /// Removes the cgroups, and the pins of an agent that could not remove them itself. The directory stays, for a look.
    pub(super) fn remove(&self) {
        report(&self.cgroup, cgroups::remove(&self.cgroup));
        if let Err(error) = run("umount", &[self.bpffs().as_os_str()]) {
            eprintln!("! cannot unmount {}: {error:#}", self.bpffs().display());
        }
    }
}

fn run(program: &str, args: &[&OsStr]) -> Result<()> {
    let output = Command::new(program).args(args).output().with_context(|| format!("cannot start {program}"))?;
    ensure!(output.status.success(), "{program} failed: {}", String::from_utf8_lossy(&output.stderr).trim_end());
    Ok(())
}

fn report(path: &Path, removed: io::Result<()>) {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            eprintln!("! cannot remove {}: {error}", path.display())
        }
        _ => {}
    }
}

/// The port of `https://host:port/path`.
fn port_of(url: &str) -> Option<u16> {
    url.split('/').nth(2)?.rsplit_once(':')?.1.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_read_from_what_the_server_announces() {
        assert_eq!(port_of("https://localhost:8443/mcp"), Some(8443));
        assert_eq!(port_of("https://[::1]:9000/mcp"), Some(9000));
        assert_eq!(port_of("https://localhost/mcp"), None);
    }
}
