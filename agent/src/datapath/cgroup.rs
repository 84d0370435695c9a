//! The cgroup2 hierarchy: where it is mounted, and ids to paths and back.

use std::{
    fs::{self, File},
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::fs::MetadataExt,
    },
    path::{Component, Path, PathBuf},
};

use thiserror::Error;
use weir_ebpf::MAX_CGROUP_LEVEL;

use super::{CgroupId, sys};

/// The mount table of the calling thread.
const MOUNTINFO: &str = "/proc/thread-self/mountinfo";
/// The id of every cgroup2 hierarchy's root directory.
const ROOT_ID: u64 = 1;

/// Why a cgroup could not be found.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// The mount table could not be read.
    #[error("cannot read {MOUNTINFO}: {0}")]
    MountTable(io::Error),
    /// No cgroup2 file system is mounted from its root.
    #[error(
        "no mount of the host's cgroup2 root in {MOUNTINFO}: mount it (mount -t cgroup2 none <dir>), or in a container \
         mount the host's into it"
    )]
    NotMounted,
    /// There is no such cgroup.
    #[error("cannot open the cgroup {path}: {source}")]
    Open {
        /// The directory.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// A path that leaves the hierarchy.
    #[error("the cgroup path {0} must not contain `..`")]
    Escapes(String),
    /// The programs look at the upper levels only.
    #[error("the cgroup {0} is more than {MAX_CGROUP_LEVEL} levels deep: name one of its ancestors")]
    TooDeep(String),
    /// A cgroup id could not be looked up.
    #[error("cannot look up cgroup {}: {source} (needs CAP_DAC_READ_SEARCH)", id.0)]
    LookUp {
        /// The id.
        id: CgroupId,
        /// What the kernel said.
        source: io::Error,
    },
}

/// Where a cgroup is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CgroupPath {
    /// Below the configured base: its path from there, `/` for the base itself.
    Inside(String),
    /// Elsewhere: its path from the hierarchy's root. It must not be read as if it were below the base.
    Outside(String),
}

/// The host's cgroup2 hierarchy, seen from a base that counts as its root.
#[derive(Debug)]
pub struct CgroupTree {
    mount: PathBuf,
    mount_dir: OwnedFd,
    base: PathBuf,
    base_dir: OwnedFd,
    base_id: CgroupId,
}

impl CgroupTree {
    /// Opens the hierarchy. `base` is relative to its root: `/` for all of it.
    ///
    /// # Errors
    ///
    /// [`CgroupError::NotMounted`] where only a part of the hierarchy is mounted: programs attached there would miss
    /// sockets from elsewhere.
    pub fn open(base: &str) -> Result<Self, CgroupError> {
        let mount = find_mount()?;
        let mount_dir = open_dir(&mount)?;
        let base = below(&mount, base)?;
        let base_dir = open_dir(&base)?;
        let base_id = id_of_dir(&base)?;
        Ok(Self { mount, mount_dir, base, base_dir, base_id })
    }

    /// The base's directory.
    #[must_use]
    pub fn base_dir(&self) -> BorrowedFd<'_> {
        self.base_dir.as_fd()
    }

    /// The base's id.
    #[must_use]
    pub fn base_id(&self) -> CgroupId {
        self.base_id
    }

    /// The file-system path of a cgroup given relative to the base.
    ///
    /// # Errors
    ///
    /// [`CgroupError::Escapes`] when `path` contains `..`.
    pub fn dir(&self, path: &str) -> Result<PathBuf, CgroupError> {
        below(&self.base, path)
    }

    /// The id of a cgroup given relative to the base.
    ///
    /// # Errors
    ///
    /// When there is no such cgroup, or it is too deep for a scope rule.
    pub fn id_of(&self, path: &str) -> Result<CgroupId, CgroupError> {
        let dir = self.dir(path)?;
        let depth = dir.strip_prefix(&self.mount).map_or(0, |below| below.components().count());
        if depth > MAX_CGROUP_LEVEL as usize {
            return Err(CgroupError::TooDeep(path.to_owned()));
        }
        id_of_dir(&dir)
    }

    /// Where the cgroup with this id is now; none if it is gone. One system call, however deep the tree.
    ///
    /// # Errors
    ///
    /// [`CgroupError::LookUp`] without `CAP_DAC_READ_SEARCH`.
    pub fn path_of(&self, id: CgroupId) -> Result<Option<CgroupPath>, CgroupError> {
        let dir = match sys::open_cgroup(self.mount_dir.as_fd(), id.0) {
            Ok(dir) => dir,
            Err(error) if error.raw_os_error() == Some(libc::ESTALE) => return Ok(None),
            Err(source) => return Err(CgroupError::LookUp { id, source }),
        };
        let link = format!("/proc/thread-self/fd/{}", dir.as_raw_fd());
        let path = fs::read_link(link).map_err(|source| CgroupError::LookUp { id, source })?;
        // A directory that is being removed reads as `<path> (deleted)`, which another cgroup may be called.
        if path.to_string_lossy().ends_with(" (deleted)") && id_of_dir(&path).ok() != Some(id) {
            return Ok(None);
        }
        Ok(Some(match path.strip_prefix(&self.base) {
            Ok(inside) => CgroupPath::Inside(rooted(inside)),
            Err(_) => CgroupPath::Outside(rooted(path.strip_prefix(&self.mount).unwrap_or(&path))),
        }))
    }

    /// The ids on a cgroup's path, from the hierarchy's root to itself. None if it is gone.
    pub(super) fn lineage(&self, id: CgroupId) -> Result<Option<Vec<CgroupId>>, CgroupError> {
        let Some(dir) = self.dir_of(id)? else { return Ok(None) };
        let lineage = dir.ancestors().take_while(|dir| dir.starts_with(&self.mount)).map(id_of_dir);
        let mut lineage = match lineage.collect::<Result<Vec<_>, _>>() {
            // It went meanwhile.
            Err(CgroupError::Open { source, .. }) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            lineage => lineage?,
        };
        lineage.reverse();
        Ok(Some(lineage))
    }

    /// A cgroup's directory. None if the cgroup is gone.
    pub(super) fn dir_of(&self, id: CgroupId) -> Result<Option<PathBuf>, CgroupError> {
        Ok(match self.path_of(id)? {
            None => None,
            Some(CgroupPath::Inside(path)) => Some(below(&self.base, &path)?),
            Some(CgroupPath::Outside(path)) => Some(below(&self.mount, &path)?),
        })
    }

    /// The processes directly in a cgroup, by their pid here; 0 for one that this pid namespace does not show. None if
    /// the cgroup is gone.
    pub(super) fn processes(&self, id: CgroupId) -> Result<Option<Vec<u32>>, CgroupError> {
        let Some(path) = self.dir_of(id)? else { return Ok(None) };
        match fs::read_to_string(path.join("cgroup.procs")) {
            Ok(pids) => Ok(Some(pids.lines().filter_map(|pid| pid.parse().ok()).collect())),
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENODEV)) => Ok(None),
            Err(source) => Err(CgroupError::LookUp { id, source }),
        }
    }
}

/// `/`-rooted text of a relative path.
fn rooted(path: &Path) -> String {
    format!("/{}", path.to_string_lossy())
}

fn below(root: &Path, path: &str) -> Result<PathBuf, CgroupError> {
    let mut joined = root.to_owned();
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => joined.push(name),
            Component::RootDir | Component::CurDir => {}
            Component::ParentDir | Component::Prefix(_) => return Err(CgroupError::Escapes(path.to_owned())),
        }
    }
    Ok(joined)
}

fn open_dir(path: &Path) -> Result<OwnedFd, CgroupError> {
    File::open(path).map(OwnedFd::from).map_err(|source| CgroupError::Open { path: path.to_owned(), source })
}

fn id_of_dir(path: &Path) -> Result<CgroupId, CgroupError> {
    let metadata = fs::metadata(path).map_err(|source| CgroupError::Open { path: path.to_owned(), source })?;
    Ok(CgroupId(metadata.ino()))
}

/// Where the whole hierarchy is mounted. A mount of a part of it has another inode at its top.
fn find_mount() -> Result<PathBuf, CgroupError> {
    let table = fs::read_to_string(MOUNTINFO).map_err(CgroupError::MountTable)?;
    let is_root = |path: &PathBuf| fs::metadata(path).is_ok_and(|metadata| metadata.ino() == ROOT_ID);
    cgroup2_mounts(&table).find(is_root).ok_or(CgroupError::NotMounted)
}

/// The mount points of type cgroup2 in a mount table, as `proc_pid_mountinfo(5)` lays it out.
fn cgroup2_mounts(table: &str) -> impl Iterator<Item = PathBuf> + '_ {
    table.lines().filter_map(|line| {
        let (mount, file_system) = line.split_once(" - ")?;
        let is_cgroup2 = file_system.split(' ').next() == Some("cgroup2");
        let path = mount.split(' ').nth(4)?;
        is_cgroup2.then(|| PathBuf::from(unescape(path)))
    })
}

/// Undoes the octal escapes of blanks and backslashes.
fn unescape(path: &str) -> String {
    path.replace("\\040", " ").replace("\\011", "\t").replace("\\012", "\n").replace("\\134", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_cgroup2_among_other_mounts() {
        let table = "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n\
                     32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime shared:9 - cgroup2 cgroup2 rw\n\
                     42 31 0:38 /a /mnt/part\\040of\\134it rw master:1 propagate_from:2 - cgroup2 none rw\n";
        let found: Vec<_> = cgroup2_mounts(table).collect();
        assert_eq!(found, [PathBuf::from("/sys/fs/cgroup/unified"), PathBuf::from("/mnt/part of\\it")]);
    }

    #[test]
    fn paths_stay_below_their_root() {
        let root = Path::new("/cg");
        assert_eq!(below(root, "/").unwrap(), root);
        assert_eq!(below(root, "/a//b/.").unwrap(), Path::new("/cg/a/b"));
        assert!(matches!(below(root, "a/../../etc"), Err(CgroupError::Escapes(_))));
    }
}
