//! `cargo xtask rootfs`: the root file system of Weir's image, assembled without an image builder. `deploy/Containerfile`
//! adds nothing to it, so what is tested from here is what an image holds.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use crate::{ebpf, task::Task, workspace::Workspace};

/// Mount points and directories that the agent expects.
const DIRECTORIES: [&str; 8] = ["dev", "etc/weir", "proc", "run/weir", "sys", "tmp", "var/lib/weir", "usr/bin"];
/// The roots that verify upstream servers.
const ROOTS: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What to put into it.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The agent as tests build it, rather than optimised
    #[arg(long)]
    dev: bool,
}

/// Builds the agent and assembles `target/rootfs` anew.
pub(crate) fn assemble(workspace: &Workspace, args: &Args) -> Result<()> {
    ebpf::build(workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--locked", "--package", "weir"]);
    if !args.dev {
        build.arg("--release");
    }
    Task::new("building the agent", "the compiler's message is above").run_in_sight(build)?;
    fill(workspace, if args.dev { "debug" } else { "release" })
}

/// Where it is assembled.
pub(crate) fn of(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("rootfs")
}

/// Assembles it anew around the agent that was built for `profile`.
pub(crate) fn fill(workspace: &Workspace, profile: &str) -> Result<()> {
    let root = of(workspace);
    if root.exists() {
        fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    }
    for dir in DIRECTORIES {
        fs::create_dir_all(root.join(dir)).with_context(|| format!("cannot create {}/{dir}", root.display()))?;
    }
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777))?;
    fs::set_permissions(root.join("var/lib/weir"), fs::Permissions::from_mode(0o700))?;
    let agent = workspace.agent(profile);
    copy(&agent, &root.join("usr/bin/weir"))?;
    for library in libraries(&agent)? {
        copy(&library, &below(&root, &library))?;
    }
    copy(Path::new(ROOTS), &below(&root, Path::new(ROOTS)))?;
    eprintln!("✓ {}", root.display());
    Ok(())
}

/// The shared libraries that a program is linked with, and its loader, where the loader looks for them.
pub(crate) fn libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    if !output.status.success() {
        bail!("ldd {}: {}", program.display(), String::from_utf8_lossy(&output.stderr).trim());
    }
    parse_ldd(&String::from_utf8_lossy(&output.stdout))
}

/// `name => /path (0x…)`, `/path (0x…)` for the loader, and `linux-vdso.so.1 (0x…)`, which is no file.
fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim) {
        let place = line.split_once("=> ").map_or(line, |(_, place)| place);
        if place.starts_with("not found") {
            bail!("a library is missing: {line}");
        }
        let path = place.split(' ').next().unwrap_or_default();
        if path.starts_with('/') {
            found.push(PathBuf::from(path));
        }
    }
    Ok(found)
}

pub(crate) fn below(root: &Path, absolute: &Path) -> PathBuf {
    root.join(absolute.strip_prefix("/").unwrap_or(absolute))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_and_the_loader_are_found_and_a_missing_one_is_an_error() {
        let text = "\tlinux-vdso.so.1 (0x00007ffd)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f)\n\
                    \t/lib64/ld-linux-x86-64.so.2 (0x00007f)\n";
        let found = parse_ldd(text).unwrap();
        let expected = ["/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"].map(PathBuf::from);
        assert_eq!(found, expected);
        assert!(parse_ldd("\tlibz.so.1 => not found\n").is_err());
    }
}
