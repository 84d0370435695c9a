//! A world of one's own for a test: network, mounts, bpffs and cgroups that nobody else sees, gone when the test ends.
//!
//! [`World::new`] takes the calling thread there: threads and processes that it starts afterwards are there too. So it
//! comes first in a test, before any runtime. Needs root. Worlds in other processes run beside it; in one process they
//! take turns, since a process is in one cgroup only.

mod cgroups;
mod netns;

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::{
    mount::{MntFlags, MsFlags, mount, umount2},
    sched::{CloneFlags, unshare},
};
use tempfile::TempDir;

use self::cgroups::Cgroups;
pub(crate) use self::netns::new_namespace;
pub use self::netns::{Neighbour, ip};

/// Shell: makes `/sys/fs/cgroup` version 2, in mounts of one's own. Where version 1 is mounted too, runc would use that.
pub const ONLY_CGROUP2: &str = "{ [ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup; }";

static TURN: Mutex<()> = Mutex::new(());

const NOTHING: Option<&str> = None;

/// See the module.
#[derive(Debug)]
pub struct World {
    cgroups: Cgroups,
    dir: TempDir,
    neighbours: u8,
    _turn: MutexGuard<'static, ()>,
}

impl World {
    /// Makes a world and moves there: this thread's network and mounts, this process's cgroup (`/agent`).
    ///
    /// # Panics
    ///
    /// When it cannot be made; not as root, for one.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        unshare(CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS).expect("unshare (tests of the kernel need root)");
        mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING).expect("make mounts private");
        ip("link set lo up");
        let dir = TempDir::with_prefix("weir-test-").expect("make a directory");
        let world = Self { cgroups: Cgroups::new(name), dir, neighbours: 0, _turn: turn };
        fs::create_dir(world.bpffs()).expect("make a directory");
        mount(Some("bpf"), &world.bpffs(), Some("bpf"), MsFlags::empty(), NOTHING).expect("mount a bpffs");
        world.set_file("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n");
        world.set_file("/etc/resolv.conf", "");
        world
    }

    /// A directory for whatever the test writes.
    #[must_use]
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The top of this world's bpffs.
    #[must_use]
    pub fn bpffs(&self) -> PathBuf {
        self.dir().join("bpf")
    }

    /// The cgroup that counts as the root here, from the cgroup2 mount: for `intercept.base`.
    #[must_use]
    pub fn cgroup_base(&self) -> &str {
        self.cgroups.base()
    }

    /// Moves this process to a cgroup of this world, made if need be.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn enter(&self, cgroup: &str) {
        self.cgroups.enter(cgroup);
    }

    /// Makes a cgroup, with its ancestors, and gives its directory.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn make_cgroup(&self, cgroup: &str) -> PathBuf {
        self.cgroups.make(cgroup)
    }

    /// A command that runs `program` in a cgroup of this world; give it arguments and so on as to any other.
    ///
    /// # Panics
    ///
    /// When the cgroup cannot be made.
    #[must_use]
    pub fn command(&self, cgroup: &str, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("sh");
        let move_and_run = "echo $$ > \"$0\" && exec \"$@\"";
        command.args(["-c", move_and_run]).arg(self.make_cgroup(cgroup).join("cgroup.procs")).arg(program);
        command
    }

    /// Puts `content` in a file's place, in this world only: over a file that exists.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn set_file(&self, path: &str, content: &str) {
        let place = fs::canonicalize(path).unwrap_or_else(|error| panic!("find {path}: {error}"));
        let own = self.dir().join(path.trim_start_matches('/').replace('/', "-"));
        let is_mounted = own.exists();
        fs::write(&own, content).expect("write a file");
        if !is_mounted {
            mount(Some(&own), &place, NOTHING, MsFlags::MS_BIND, NOTHING).expect("mount a file");
        }
    }

    /// Adds names to this world's `/etc/hosts`.
    ///
    /// # Panics
    ///
    /// When it cannot.
    pub fn add_hosts(&self, lines: &str) {
        let hosts = fs::read_to_string("/etc/hosts").expect("read /etc/hosts");
        self.set_file("/etc/hosts", &format!("{hosts}{lines}\n"));
    }

    /// Makes another network namespace, joined to this one by a cable and to nothing else.
    ///
    /// # Panics
    ///
    /// When it cannot.
    #[must_use]
    pub fn neighbour(&mut self) -> Neighbour {
        self.neighbours += 1;
        Neighbour::new(self.neighbours)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        // Unpins, and so detaches, whatever the test attached.
        let _ = umount2(&self.bpffs(), MntFlags::MNT_DETACH);
    }
}

/// A process that ends with this value.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
