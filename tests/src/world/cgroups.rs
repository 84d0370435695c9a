//! A world's cgroups: `<cgroup2 root>/weir-test-<pid>-<name>/…`.

use std::{
    fs::{self, OpenOptions},
    io::Write as _,
    path::{Path, PathBuf},
    process, thread,
    time::Duration,
};

use weir::datapath::CgroupTree;

const PREFIX: &str = "weir-test-";
/// The kernel finishes killed processes on its own time.
const PATIENCE: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(5);

#[derive(Debug)]
pub(super) struct Cgroups {
    base: String,
    dir: PathBuf,
    /// Where this process came from.
    home: PathBuf,
}

impl Cgroups {
    pub(super) fn new(name: &str) -> Self {
        let tree = CgroupTree::open("/").expect("find the cgroup2 hierarchy");
        let root = tree.dir("/").expect("the root is a directory");
        remove_leftovers(&root);
        let base = format!("/{PREFIX}{}-{name}", process::id());
        let dir = root.join(&base[1..]);
        let home = tree.dir(&own_cgroup()).expect("this process has a cgroup");
        let cgroups = Self { base, dir, home };
        cgroups.make("/app");
        cgroups.enter("/agent");
        cgroups
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn make(&self, cgroup: &str) -> PathBuf {
        let dir = self.dir.join(cgroup.trim_start_matches('/'));
        fs::create_dir_all(&dir).unwrap_or_else(|error| panic!("make {}: {error}", dir.display()));
        dir
    }

    pub(super) fn enter(&self, cgroup: &str) {
        join(&self.make(cgroup)).unwrap_or_else(|error| panic!("enter {cgroup}: {error}"));
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        if let Err(error) = join(&self.home) {
            eprintln!("cannot leave {}: {error}", self.dir.display());
            return;
        }
        remove(&self.dir);
    }
}

fn own_cgroup() -> String {
    let cgroups = fs::read_to_string("/proc/self/cgroup").expect("read /proc/self/cgroup");
    cgroups.lines().find_map(|line| line.strip_prefix("0::")).expect("a cgroup2 entry").to_owned()
}

/// Moves this process.
fn join(dir: &Path) -> std::io::Result<()> {
    OpenOptions::new().write(true).open(dir.join("cgroup.procs"))?.write_all(b"0")
}

/// What tests that were killed left behind.
fn remove_leftovers(root: &Path) {
    for entry in fs::read_dir(root).expect("list cgroups").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let pid = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next());
        if pid.is_some_and(|pid| !Path::new("/proc").join(pid).exists()) {
            remove(&entry.path());
        }
    }
}

/// Kills what runs in a subtree, and removes it.
fn remove(dir: &Path) {
    let _ = fs::write(dir.join("cgroup.kill"), "1");
    let mut waited = Duration::ZERO;
    while let Err(error) = remove_subtree(dir) {
        if waited >= PATIENCE || error.kind() == std::io::ErrorKind::NotFound {
            break;
        }
        thread::sleep(STEP);
        waited += STEP;
    }
}

fn remove_subtree(dir: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_subtree(&entry.path())?;
        }
    }
    fs::remove_dir(dir)
}
