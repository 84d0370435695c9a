//! Debian's kernel packages: downloaded and unpacked, not installed.

use std::{
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

use super::{archive, empty, modules, of};
use crate::{setup, stamp::Stamp, task::Task, workspace::Workspace};

const ADVICE: &str = "it is in Debian 12; check the network and /etc/apt";

/// Puts the newest kernel that `package` leads to into `target/kernels/<line>`, unless there is one.
pub(super) fn fetch(workspace: &Workspace, line: &str, package: &str) -> Result<()> {
    let dir = of(workspace).join(line);
    let stamp = Stamp::new(dir.join("stamp"), format!("{package} {}", modules::WANTED.join(" ")));
    if stamp.is_current() {
        return Ok(());
    }
    let unpacked = dir.join("unpacked");
    empty(&unpacked)?;
    let deb = match download(workspace, line, package, &dir) {
        Ok(deb) => deb,
        // Old lists name packages that are gone.
        Err(_) => {
            setup::refresh_package_lists(workspace)?;
            download(workspace, line, package, &dir)?
        }
    };
    let mut unpack = Command::new("dpkg-deb");
    unpack.arg("--extract").arg(&deb).arg(&unpacked);
    Task::new(&format!("unpacking Linux {line}"), "remove target/kernels and try again").run(workspace, unpack)?;

    fs::copy(only_entry(&unpacked.join("boot"), "vmlinuz-")?, dir.join("vmlinuz")).context("cannot copy the kernel")?;
    let chosen = dir.join("chosen");
    empty(&chosen)?;
    modules::choose(&only_entry(&unpacked.join("lib/modules"), "")?, &chosen.join("modules"))?;
    archive(&chosen, &dir.join("modules.cpio"))?;
    for done_with in [unpacked, chosen] {
        fs::remove_dir_all(&done_with).with_context(|| format!("cannot remove {}", done_with.display()))?;
    }
    fs::remove_file(&deb).with_context(|| format!("cannot remove {}", deb.display()))?;
    stamp.write()
}

fn download(workspace: &Workspace, line: &str, package: &str, dir: &Path) -> Result<PathBuf> {
    let output = Command::new("apt-cache").args(["depends", "--important", package]).output();
    let output = output.context("cannot start apt-cache")?;
    let kernel = depended_on(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("apt knows no {package}; {ADVICE}"))?;
    let mut download = Command::new("apt-get");
    // As root, apt would become a user who cannot write here.
    download.args(["download", "--quiet", "-o", "APT::Sandbox::User=root", &kernel]).current_dir(dir);
    Task::new(&format!("downloading Linux {line}"), ADVICE).run(workspace, download)?;
    only_entry(dir, "linux-image-")
}

/// The kernel among what a package that leads to one depends on.
fn depended_on(text: &str) -> Option<String> {
    let mut names = text.lines().filter_map(|line| line.trim().strip_prefix("Depends: "));
    names.find(|name| name.starts_with("linux-image-")).map(str::to_owned)
}

/// The only entry of a directory whose name begins so.
fn only_entry(dir: &Path, prefix: &str) -> Result<PathBuf> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    let begins = |path: &PathBuf| path.file_name().and_then(OsStr::to_str).is_some_and(|name| name.starts_with(prefix));
    let found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(begins).collect();
    match found.as_slice() {
        [only] => Ok(only.clone()),
        _ => bail!("{} entries {prefix}… in {} instead of one; remove target/kernels", found.len(), dir.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_what_the_package_depends_on() {
        let text = "linux-image-cloud-amd64\n  Depends: linux-base\n  Depends: linux-image-6.1.0-56-cloud-amd64\n";
        assert_eq!(depended_on(text), Some("linux-image-6.1.0-56-cloud-amd64".to_owned()));
        assert_eq!(depended_on(""), None);
    }
}
