//! The guest: everything the suites need and nothing else, in the places where they are on this machine.

use std::{
    env, fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{archive, empty, of, suites::Suites};
use crate::{
    rootfs::{below, copy, libraries},
    workspace::Workspace,
};

const INIT: &str = include_str!("init.sh");
const SUITES: &str = include_str!("suites.sh");
/// For the agent: that it could serve.
const CONFIG: &str = "state_dir = \"/var/lib/weir\"\n\n[[endpoint]]\nname = \"one\"\nhosts = [\"mcp.test\"]\n";

const DIRECTORIES: [&str; 9] = ["bin", "dev", "etc/weir", "proc", "run", "suites", "sys", "tools", "var/lib/weir"];
/// What busybox lacks, or does otherwise than the tests expect. The first in `PATH`.
const TOOLS: [&str; 5] = ["bash", "ip", "nsenter", "runc", "unshare"];

/// Makes `guest.cpio`.
pub(super) fn pack(workspace: &Workspace, suites: &Suites) -> Result<()> {
    let root = of(workspace).join("guest");
    empty(&root)?;
    for dir in DIRECTORIES {
        fs::create_dir_all(root.join(dir)).with_context(|| format!("cannot create {}/{dir}", root.display()))?;
    }
    for (file, text) in [("init", INIT), ("suites/run", SUITES)] {
        write(&root.join(file), text)?;
        fs::set_permissions(root.join(file), fs::Permissions::from_mode(0o755))?;
    }
    let files = [
        ("etc/weir/weir.toml", CONFIG),
        ("etc/hosts", "127.0.0.1 localhost\n"),
        ("etc/resolv.conf", ""),
        ("etc/passwd", "root:x:0:0::/:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
    ];
    for (file, text) in files {
        write(&root.join(file), text)?;
    }
    copy(Path::new("/bin/busybox"), &root.join("bin/busybox"))?;
    for tool in TOOLS {
        let found = find(workspace, tool)?;
        install(&found, &root.join("tools").join(tool), &root)?;
    }
    for (name, program) in [("weir", &suites.agent), ("bypass", &suites.bypass), ("datapath", &suites.datapath)] {
        install(program, &root.join("suites").join(name), &root)?;
    }
    // The one thing that is found by its path.
    fs::create_dir_all(below(&root, &suites.vectors))?;
    for vector in fs::read_dir(&suites.vectors).with_context(|| format!("cannot list {}", suites.vectors.display()))? {
        let vector = vector?.path();
        copy_stripped(&vector, &below(&root, &vector))?;
    }
    archive(&root, &of(workspace).join("guest.cpio"))?;
    let listed = serde_json::to_string_pretty(suites)?;
    write(&of(workspace).join("suites.json"), &listed)
}

/// Copies a program and the libraries that it is linked with.
fn install(program: &Path, to: &Path, root: &Path) -> Result<()> {
    copy_stripped(program, to)?;
    for library in libraries(program)? {
        let to = below(root, &library);
        if !to.exists() {
            copy(&library, &to)?;
        }
    }
    Ok(())
}

/// Copies a program, without its symbols.
fn copy_stripped(program: &Path, to: &Path) -> Result<()> {
    copy(program, to)?;
    let stripped = Command::new("strip").arg(to).status().context("cannot start strip (package binutils)")?;
    if !stripped.success() {
        bail!("cannot strip {}", to.display());
    }
    Ok(())
}

fn find(workspace: &Workspace, program: &str) -> Result<PathBuf> {
    let path = workspace.path();
    let found = env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file());
    found.with_context(|| format!("there is no {program}: `cargo xtask setup` installs it"))
}

fn write(file: &Path, text: &str) -> Result<()> {
    fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
}
