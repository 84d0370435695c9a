//! What outlives the agent: links and maps pinned in a bpffs, so that a dead agent leaves registered endpoints
//! unreachable rather than unwatched, and the next agent carries on.
//!
//! `<dir>/abi-<N>/links/<program>` and `<dir>/abi-<N>/maps/<MAP>`. Another layout of the shared types is another
//! directory, so no agent reads maps that it would misunderstand. What is attached from there stays until this layout's
//! maps say what is to be denied.

use std::{
    ffi::CString,
    fs::{self, DirBuilder, File},
    io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::{ffi::OsStrExt, fs::DirBuilderExt},
    },
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock, statfs};
use thiserror::Error;
use weir_ebpf::ABI;

use super::sys;

/// Why the pins could not be used.
#[derive(Debug, Error)]
pub enum PinError {
    /// The directory is not on a bpffs.
    #[error("{path} is not on a bpffs: mount one (mount -t bpf bpf /sys/fs/bpf), or set intercept.bpffs")]
    NotBpffs {
        /// The directory, or its nearest ancestor that exists.
        path: PathBuf,
    },
    /// A file or directory on the bpffs could not be used.
    #[error("cannot {action} {path}: {source}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
}

impl PinError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }
}

/// What [`detach`] removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct Detached {
    /// The programs that were attached.
    pub programs: Vec<String>,
    /// How many maps were kept.
    pub maps: usize,
}

/// This layout's pins, locked against other agents that attach or detach at the same time.
#[derive(Debug)]
pub(super) struct Pins {
    dir: PathBuf,
    _lock: File,
}

impl Pins {
    /// Makes the directories, `0700`, and takes the lock.
    pub(super) fn open(dir: &Path) -> Result<Self, PinError> {
        require_bpffs(dir)?;
        let pins = Self { dir: dir.to_owned(), _lock: lock(dir)? };
        create(&pins.links())?;
        create(&pins.maps())?;
        Ok(pins)
    }

    fn version(&self) -> PathBuf {
        self.dir.join(format!("abi-{ABI}"))
    }

    fn links(&self) -> PathBuf {
        self.version().join("links")
    }

    fn maps(&self) -> PathBuf {
        self.version().join("maps")
    }

    pub(super) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// The pinned link of a program, if there is one.
    pub(super) fn link(&self, program: &str) -> Result<Option<OwnedFd>, PinError> {
        let path = self.links().join(program);
        match sys::open_pinned(&c_path(&path)?) {
            Ok(link) => Ok(Some(link)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(PinError::io("open", &path)(source)),
        }
    }

    pub(super) fn pin_link(&self, program: &str, link: BorrowedFd<'_>) -> Result<(), PinError> {
        let path = self.links().join(program);
        sys::pin(link, &c_path(&path)?).map_err(PinError::io("pin", &path))
    }

    /// Pins a program's link in the place of another one, which is detached. What fails in between leaves one of them attached,
    /// or both.
    pub(super) fn replace_link(&self, program: &str, link: BorrowedFd<'_>) -> Result<(), PinError> {
        let (path, aside) = (self.links().join(program), self.links().join(format!("new_{program}")));
        if aside.exists() {
            detach_link(&aside)?;
        }
        sys::pin(link, &c_path(&aside)?).map_err(PinError::io("pin", &aside))?;
        detach_link(&path)?;
        fs::rename(&aside, &path).map_err(PinError::io("rename", &aside))
    }

    pub(super) fn detach_link(&self, program: &str) -> Result<(), PinError> {
        detach_link(&self.links().join(program))
    }

    /// Removes what agents with other layouts, or with other programs in this layout, left attached.
    pub(super) fn remove_others(&self, programs: &[&str]) -> Result<(), PinError> {
        let version = self.version();
        for other in entries(&self.dir)? {
            if other != version {
                remove_version(&other)?;
            }
        }
        for link in entries(&self.links())? {
            if !programs.iter().any(|program| link.ends_with(program)) {
                detach_link(&link)?;
            }
        }
        Ok(())
    }
}

/// Detaches every program that an agent pinned under `dir`, and forgets its maps: the break-glass. Registered endpoints
/// are then reached directly and unwatched.
///
/// # Errors
///
/// [`PinError`]; what could be removed until then is removed.
pub fn detach(dir: &Path) -> Result<Detached, PinError> {
    require_bpffs(dir)?;
    if !dir.exists() {
        return Ok(Detached::default());
    }
    let _lock = lock(dir)?;
    let mut detached = Detached::default();
    for version in entries(dir)? {
        let Detached { programs, maps } = remove_version(&version)?;
        detached.programs.extend(programs);
        detached.maps += maps;
    }
    detached.programs.sort();
    fs::remove_dir(dir).map_err(PinError::io("remove", dir))?;
    Ok(detached)
}

fn remove_version(version: &Path) -> Result<Detached, PinError> {
    let mut detached = Detached::default();
    let links = version.join("links");
    let mut attached = entries(&links)?;
    // The redirect goes first: without the others it would hand flows over to nobody.
    attached.sort_by_key(|link| !link.to_string_lossy().contains("connect"));
    for link in attached {
        detach_link(&link)?;
        detached.programs.extend(link.file_name().map(|name| name.to_string_lossy().into_owned()));
    }
    let maps = version.join("maps");
    for map in entries(&maps)? {
        remove(&map)?;
        detached.maps += 1;
    }
    for dir in [&links, &maps, version] {
        match fs::remove_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(PinError::io("remove", dir)(error)),
            _ => {}
        }
    }
    Ok(detached)
}

/// Whether `dir`, or the nearest ancestor that exists, is on a bpffs.
pub(super) fn require_bpffs(dir: &Path) -> Result<(), PinError> {
    let existing = dir.ancestors().find(|ancestor| ancestor.exists()).unwrap_or(Path::new("/"));
    let stat = statfs(existing).map_err(|errno| PinError::io("examine", existing)(errno.into()))?;
    if stat.f_type == libc::BPF_FS_MAGIC { Ok(()) } else { Err(PinError::NotBpffs { path: existing.to_owned() }) }
}

fn create(dir: &Path) -> Result<(), PinError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(PinError::io("create", dir))
}

fn lock(dir: &Path) -> Result<File, PinError> {
    create(dir)?;
    let file = File::open(dir).map_err(PinError::io("open", dir))?;
    flock(file.as_fd(), FlockOperation::LockExclusive).map_err(|errno| PinError::io("lock", dir)(errno.into()))?;
    Ok(file)
}

fn entries(dir: &Path) -> Result<Vec<PathBuf>, PinError> {
    let listing = match fs::read_dir(dir) {
        Ok(listing) => listing,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(PinError::io("list", dir)(error)),
    };
    listing.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>().map_err(PinError::io("list", dir))
}

fn detach_link(path: &Path) -> Result<(), PinError> {
    let link = sys::open_pinned(&c_path(path)?).map_err(PinError::io("open", path))?;
    sys::detach(link.as_fd()).map_err(PinError::io("detach", path))?;
    remove(path)
}

fn remove(path: &Path) -> Result<(), PinError> {
    fs::remove_file(path).map_err(PinError::io("remove", path))
}

fn c_path(path: &Path) -> Result<CString, PinError> {
    CString::new(path.as_os_str().as_bytes()).map_err(|error| PinError::io("use", path)(error.into()))
}
