//! A Rust toolchain that can build for BPF: that target has no ready-made `core`, so it must bring `core`'s sources.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Result, bail};

use super::system;
use crate::workspace::Workspace;

/// bpf-linker reads the bitcode that rustc writes, so rustc's LLVM may not be newer than bpf-linker's.
pub(super) const LLVM_MAJOR: u32 = 22;
/// `rust-version` of the workspace.
const OLDEST: (u32, u32) = (1, 95);

/// The toolchain that builds the eBPF programs.
#[derive(Debug)]
pub(crate) enum BpfToolchain {
    /// rustup's nightly, with the `rust-src` component.
    Nightly(Version),
    /// Debian's `rustc-web`, a stable release, with `rust-web-src`.
    Debian(Version),
}

/// What `rustc -vV` says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Version {
    release: String,
    llvm_major: u32,
}

impl BpfToolchain {
    /// Finds one of the two, or installs Debian's.
    ///
    /// # Errors
    /// Neither is there and Debian's cannot be installed.
    pub(crate) fn find_or_install(workspace: &Workspace) -> Result<Self> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        system::install(workspace, system::RUST)?;
        match Self::find() {
            Some(found) => Ok(found),
            None => bail!(
                "found no Rust toolchain for eBPF: /usr/bin/rustc is too old, or newer than LLVM {LLVM_MAJOR}; \
                 `rustup component add rust-src --toolchain nightly` is the other way"
            ),
        }
    }

    fn find() -> Option<Self> {
        if let Some(version) = usable("rustup", &["run", "nightly", "rustc"]) {
            return Some(Self::Nightly(version));
        }
        usable("/usr/bin/rustc", &[]).map(Self::Debian)
    }

    /// The name for people.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Nightly(version) => format!("rustup's nightly ({})", version.release),
            Self::Debian(version) => format!("Debian's rustc-web ({})", version.release),
        }
    }

    /// Its cargo, free of what the cargo and the rustup around this program put into the environment.
    pub(crate) fn cargo(&self, workspace: &Workspace) -> Command {
        let mut cargo = match self {
            Self::Nightly(_) => {
                let mut rustup = Command::new("rustup");
                rustup.args(["run", "nightly", "cargo"]);
                rustup
            }
            Self::Debian(_) => Command::new("/usr/bin/cargo"),
        };
        for (name, _) in std::env::vars_os() {
            if name.to_str().is_some_and(steers_a_build) {
                cargo.env_remove(name);
            }
        }
        if matches!(self, Self::Debian(_)) {
            // A stable release builds `core` only when it is told to accept unstable options.
            cargo.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
        }
        cargo.current_dir(workspace.root());
        cargo
    }
}

/// Whether an environment variable changes what cargo builds, or with which toolchain. Where to keep downloads and how
/// to reach the network stays as the developer set it.
fn steers_a_build(name: &str) -> bool {
    const KEPT: [&str; 6] =
        ["CARGO_HOME", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_", "RUSTUP_HOME"];
    let of_rust = name.starts_with("CARGO") || name.starts_with("RUST") || name == "LD_LIBRARY_PATH";
    of_rust && !KEPT.iter().any(|kept| name.starts_with(kept))
}

fn usable(program: &str, args: &[&str]) -> Option<Version> {
    let ask = |question: &[&str]| {
        let output = Command::new(program).args(args).args(question).env_remove("RUSTUP_TOOLCHAIN").output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let version = Version::parse(&ask(&["-vV"])?)?;
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?.trim_end());
    let has_sources = sysroot.join("lib/rustlib/src/rust/library/core").exists();
    (has_sources && version.is_usable()).then_some(version)
}

impl Version {
    fn parse(text: &str) -> Option<Self> {
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let release = field("release:")?.to_owned();
        let llvm_major = field("LLVM version:")?.split('.').next()?.parse().ok()?;
        Some(Self { release, llvm_major })
    }

    fn is_usable(&self) -> bool {
        let mut numbers = self.release.split('.').map_while(|part| part.parse().ok());
        let release = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        release >= OLDEST && self.llvm_major <= LLVM_MAJOR
    }
}

/// Where Debian keeps the LLVM that bpf-linker is built with.
pub(super) fn llvm_prefix() -> PathBuf {
    Path::new("/usr/lib").join(format!("llvm-{LLVM_MAJOR}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(release: &str, llvm: &str) -> Version {
        Version::parse(&format!("rustc x\nhost: h\nrelease: {release}\nLLVM version: {llvm}\n")).unwrap()
    }

    #[test]
    fn a_toolchain_must_be_new_enough_and_its_llvm_not_too_new() {
        assert!(version("1.96.0", "22.1.8").is_usable());
        assert!(version("1.97.0-nightly", "22.1.4").is_usable());
        assert!(!version("1.63.0", "14.0.6").is_usable());
        assert!(!version("1.99.0-nightly", "23.1.0").is_usable());
    }

    #[test]
    fn the_build_is_not_steered_from_outside_but_reaches_the_network_as_before() {
        for name in ["RUSTUP_TOOLCHAIN", "RUSTFLAGS", "CARGO", "CARGO_ENCODED_RUSTFLAGS", "LD_LIBRARY_PATH"] {
            assert!(steers_a_build(name), "{name}");
        }
        for name in ["CARGO_HOME", "CARGO_HTTP_CAINFO", "CARGO_NET_OFFLINE", "RUSTUP_HOME", "PATH"] {
            assert!(!steers_a_build(name), "{name}");
        }
    }
}
