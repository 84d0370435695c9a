//! The cgroup2 tree, and what earlier runs left in it.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};

/// Cgroups of tests, demonstrations and benchmarks carry these names, followed by the pid of the process that made them.
const PREFIXES: [&str; 3] = ["weir-test-", "weir-demo-", "weir-bench-"];

/// Where cgroup2 is mounted; on a hybrid host that is not `/sys/fs/cgroup`.
///
/// # Errors
/// It is not mounted.
pub(crate) fn mount_point() -> Result<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("cannot read /proc/self/mountinfo")?;
    find_mount(&mounts).context("cgroup2 is not mounted: `mount -t cgroup2 none <dir>` mounts it")
}

/// Mount point is field 5; the file system's type follows the lone dash (`proc_pid_mountinfo(5)`).
fn find_mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_cgroup2 = file_system.split(' ').next() == Some("cgroup2");
        is_cgroup2.then(|| mount.split(' ').nth(4).map(PathBuf::from))?
    })
}

/// Removes the cgroups of tests and demonstrations whose process is gone, and ends what still runs in them.
pub(crate) fn remove_leftovers() -> Result<()> {
    let root = mount_point()?;
    for entry in fs::read_dir(&root).with_context(|| format!("cannot read {}", root.display()))? {
        let entry = entry?;
        let Some(pid) = entry.file_name().to_str().and_then(owner) else { continue };
        if Path::new("/proc").join(pid.to_string()).exists() {
            continue;
        }
        match remove(&entry.path()) {
            Ok(()) => eprintln!("• removed {}, left by an earlier run", entry.path().display()),
            Err(error) => eprintln!("• cannot remove {}, left by an earlier run: {error}", entry.path().display()),
        }
    }
    Ok(())
}

fn owner(name: &str) -> Option<u32> {
    let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix))?;
    rest.split('-').next()?.parse().ok()
}

/// Ends what runs in a cgroup, then removes it and its children, deepest first.
pub(crate) fn remove(cgroup: &Path) -> io::Result<()> {
    fs::write(cgroup.join("cgroup.kill"), "1")?;
    remove_tree(cgroup)
}

fn remove_tree(cgroup: &Path) -> io::Result<()> {
    for entry in fs::read_dir(cgroup)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    remove_when_empty(cgroup)
}

/// Killed processes leave their cgroup a moment later.
fn remove_when_empty(cgroup: &Path) -> io::Result<()> {
    let mut last = fs::remove_dir(cgroup);
    for _ in 0..50 {
        match &last {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {}
            _ => break,
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
        last = fs::remove_dir(cgroup);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_owner_is_the_pid_in_the_name() {
        assert_eq!(owner("weir-test-4711-audit"), Some(4711));
        assert_eq!(owner("weir-demo-12"), Some(12));
        assert_eq!(owner("weir-test-audit"), None);
        assert_eq!(owner("system.slice"), None);
    }

    #[test]
    fn cgroup2_is_found_on_a_hybrid_host() {
        let mounts = "29 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                      30 29 0:27 / /sys/fs/cgroup/unified rw,nosuid - cgroup2 cgroup2 rw\n\
                      31 29 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n";
        assert_eq!(find_mount(mounts), Some(PathBuf::from("/sys/fs/cgroup/unified")));
        assert_eq!(find_mount("29 23 0:26 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"), None);
    }
}
