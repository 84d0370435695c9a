//! What the kernel suite boots (`tests/tests/kernels`): Debian's kernels of the lines that users have, each with the modules
//! that the suites want, and one guest, an initramfs of busybox, the agent and the suites. All of it is in
//! `target/kernels`:
//!
//! | file | holds |
//! |---|---|
//! | `<line>/vmlinuz`, `<line>/modules.cpio` | a kernel of [`LINES`]; fetched once, removed by hand for a newer one |
//! | `guest.cpio` | the guest, made anew for each run |
//! | `suites.json` | where the suites' programs are, for the test to compare with |

use std::{
    env::consts::ARCH,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

mod guest;
mod modules;
mod package;
mod suites;

/// The lines of Linux that Amazon Linux 2023 ships, and the Debian packages that lead to their newest.
const LINES: [(&str, &str); 2] = [("6.1", "linux-image-cloud-amd64"), ("6.12", "linux-image-6.12-cloud-amd64")];

/// Where all of it is.
pub(crate) fn of(workspace: &Workspace) -> PathBuf {
    workspace.cache().join("kernels")
}

/// Fetches what is not there yet, and makes the guest from what was built.
pub(crate) fn prepare(workspace: &Workspace) -> Result<()> {
    if ARCH != "x86_64" {
        eprintln!("! the kernel suite is for x86-64: on {ARCH} it is NOT run");
        return Ok(());
    }
    for (line, package) in LINES {
        package::fetch(workspace, line, package)?;
    }
    guest::pack(workspace, &suites::built(workspace)?)
}

/// Makes an archive that the kernel unpacks (`initramfs-buffer-format.rst`) of what is in a directory, owned by root.
fn archive(dir: &Path, cpio: &Path) -> Result<()> {
    let list = "busybox find . | busybox cpio -o -H newc -R 0:0 > \"$0\"";
    let mut sh = Command::new("sh");
    sh.args(["-c", list]).arg(cpio).current_dir(dir).stderr(Stdio::null());
    if !sh.status().context("cannot start sh")?.success() {
        bail!("cannot pack {} into {}", dir.display(), cpio.display());
    }
    Ok(())
}

/// Makes a directory, empty.
fn empty(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot remove {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}
