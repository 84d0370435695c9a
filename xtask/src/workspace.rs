//! Where things are: the sources, and what xtask keeps under `target/`.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

/// The root of the workspace and the places below it.
#[derive(Debug)]
pub(crate) struct Workspace {
    root: PathBuf,
}

impl Workspace {
    /// The workspace that this program was built from.
    pub(crate) fn here() -> Self {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        Self { root: manifest.parent().unwrap_or(manifest).to_owned() }
    }

    /// The root of the sources.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// What setup installs and builds lives here, whatever `CARGO_TARGET_DIR` says.
    pub(crate) fn cache(&self) -> PathBuf {
        self.root.join("target")
    }

    /// `cargo install --root`.
    pub(crate) fn tools(&self) -> PathBuf {
        self.cache().join("tools")
    }

    /// An installed tool.
    pub(crate) fn tool(&self, name: &str) -> PathBuf {
        self.tools().join("bin").join(name)
    }

    /// The installed peers; [`Self::peer_sources`] says what they are.
    pub(crate) fn peers(&self) -> PathBuf {
        self.cache().join("peers")
    }

    /// The peers' programs and their pinned dependencies.
    pub(crate) fn peer_sources(&self) -> PathBuf {
        self.root.join("tests/peers")
    }

    /// Output of the failed command goes here, one file per step.
    pub(crate) fn logs(&self) -> PathBuf {
        self.cache().join("xtask/logs")
    }

    /// The agent, as `cargo build` leaves it: `debug` or `release`.
    pub(crate) fn agent(&self, profile: &str) -> PathBuf {
        let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| self.cache(), |dir| self.root.join(dir));
        target.join(profile).join("weir")
    }

    /// Cargo, as the developer would call it in the root of the workspace: without the variables that `cargo run`
    /// gave this program, which would make build scripts run again and again.
    pub(crate) fn cargo(&self) -> Command {
        let mut cargo = Command::new("cargo");
        cargo.current_dir(&self.root);
        for (name, _) in env::vars_os() {
            let Some(text) = name.to_str() else { continue };
            let from_cargo_run = text == "CARGO"
                || ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"]
                    .iter()
                    .any(|prefix| text.starts_with(prefix));
            if from_cargo_run {
                cargo.env_remove(&name);
            }
        }
        cargo.env("PATH", self.path());
        cargo
    }

    /// `PATH` with the installed tools first, and with the administrator's directories, which Debian leaves out for
    /// ordinary users.
    pub(crate) fn path(&self) -> String {
        let inherited = env::var("PATH").unwrap_or_default();
        format!("{}:{inherited}:/usr/local/sbin:/usr/sbin:/sbin", self.tools().join("bin").display())
    }
}
