//! Cgroups that appear: told by the kernel as their directories are made.

use std::{
    io,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
};

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::{Interest, unix::AsyncFd};

use super::CgroupTree;

/// Signs that a cgroup has appeared in one of the places that are watched.
#[derive(Debug)]
pub struct Appearing(AsyncFd<OwnedFd>);

impl Appearing {
    /// Watches nothing yet. To be called in a runtime.
    ///
    /// # Errors
    ///
    /// When the system gives no way to watch directories.
    #[expect(unsafe_code, reason = "the only way to wait for a descriptor without an owner that tokio knows")]
    pub fn new() -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        // SAFETY: an `OwnedFd` gives the same open descriptor for as long as it lives, and it is closed after its registration.
        unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map(Self).map_err(io::Error::from)
    }

    /// Watches where a cgroup of this path would appear, or the first of its ancestors that is not there. Again and again is
    /// as good as once.
    ///
    /// # Errors
    ///
    /// As the system says.
    pub fn watch(&self, cgroups: &CgroupTree, path: &str) -> io::Result<()> {
        let Some(above) = cgroups.dir(path).ok().and_then(|dir| nearest_above(&dir)) else { return Ok(()) };
        inotify::add_watch(&self.0, &above, WatchFlags::CREATE | WatchFlags::ONLYDIR)?;
        Ok(())
    }

    /// Waits for a sign, and takes all that there are.
    ///
    /// # Errors
    ///
    /// When the runtime ends.
    pub async fn wait(&self) -> io::Result<()> {
        let mut ready = self.0.readable().await?;
        let mut told = [0; 4096];
        while rustix::io::read(&self.0, &mut told).is_ok_and(|len| len > 0) {}
        ready.clear_ready();
        Ok(())
    }
}

/// The nearest directory above `dir` that is there.
fn nearest_above(dir: &Path) -> Option<PathBuf> {
    dir.ancestors().skip(1).find(|above| above.is_dir()).map(Path::to_owned)
}
