//! A file as a process sees it, read from outside: the process, and whoever writes its files, is not trusted.

use std::{
    fs::File,
    io::{self, Read as _},
    os::fd::{AsRawFd as _, OwnedFd},
};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, fstatfs, openat, openat2};
use thiserror::Error;
use zeroize::Zeroizing;

use super::NetnsId;

/// `FUSE_SUPER_MAGIC`, include/uapi/linux/magic.h: who serves such a file decides when a read ends.
const FUSE: i64 = 0x6573_5546;

/// Why a file was not read.
#[derive(Debug, Error)]
pub enum FileError {
    /// The process has gone, or is another one by now.
    #[error("process {0} has gone")]
    Gone(u32),
    /// There is no such file.
    #[error("{0} is not there")]
    Missing(String),
    /// Not a file that can be read without a risk.
    #[error("{0} is not a regular file of at most {1} bytes on a file system of the kernel's")]
    Unfit(String, u64),
    /// The system refused.
    #[error("cannot read {path}: {source}")]
    Io {
        /// The file, as the process sees it.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
}

/// A process's root directory.
#[derive(Debug)]
pub struct ProcessRoot(OwnedFd);

impl ProcessRoot {
    /// Of a process or thread, by its id in the pid namespace that `/proc` shows, if it is in that network namespace.
    ///
    /// # Errors
    ///
    /// [`FileError::Gone`].
    pub fn open(pid: u32, netns: NetnsId) -> Result<Self, FileError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = openat(CWD, format!("/proc/{pid}/root"), flags, Mode::empty()).map_err(|_| FileError::Gone(pid))?;
        // Afterwards: whose root it is has been settled by now.
        match NetnsId::of_process(pid) {
            Ok(there) if there == netns => Ok(Self(root)),
            _ => Err(FileError::Gone(pid)),
        }
    }

    /// A small regular file. No link leads out of the root, and nothing that opening could set in motion is opened.
    ///
    /// # Errors
    ///
    /// [`FileError`].
    pub fn read(&self, path: &str, limit: u64) -> Result<String, FileError> {
        let failed = |errno: rustix::io::Errno| match errno {
            rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR => FileError::Missing(path.to_owned()),
            _ => FileError::Io { path: path.to_owned(), source: errno.into() },
        };
        let unfit = || FileError::Unfit(path.to_owned(), limit);
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let found = openat2(&self.0, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve).map_err(failed)?;
        let stat = fstat(&found).map_err(failed)?;
        let is_regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        if !is_regular || fstatfs(&found).map_err(failed)?.f_type == FUSE {
            return Err(unfit());
        }
        let link = format!("/proc/thread-self/fd/{}", found.as_raw_fd());
        let file = openat(CWD, link, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        // It may be a secret: wiped, and with room for all of it from the start, so that it is not moved about.
        let length = u64::try_from(stat.st_size).unwrap_or_default().min(limit) + 1;
        let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(length).unwrap_or_default()));
        let io = |source| FileError::Io { path: path.to_owned(), source };
        File::from(file.map_err(failed)?).take(limit + 1).read_to_end(&mut bytes).map_err(io)?;
        if bytes.len() as u64 > limit {
            return Err(unfit());
        }
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn links_stay_inside_and_only_small_regular_files_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let root = openat(CWD, dir.path(), OFlags::PATH | OFlags::DIRECTORY, Mode::empty()).map(ProcessRoot).unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let place = |name: &str| dir.path().join("etc").join(name);
        fs::write(place("inside"), "inside").unwrap();
        symlink("/etc/inside", place("absolute")).unwrap();
        symlink("../../../../etc/inside", place("upward")).unwrap();
        symlink("/proc/self/exe", place("magic")).unwrap();
        fs::write(place("large"), "12345678").unwrap();
        assert!(Command::new("mkfifo").arg(place("pipe")).status().unwrap().success());

        for name in ["inside", "absolute", "upward"] {
            assert_eq!(root.read(&format!("/etc/{name}"), 7).unwrap(), "inside", "{name}");
        }
        assert!(matches!(root.read("/etc/magic", 7), Err(FileError::Missing(_))));
        for name in ["large", "pipe", ""] {
            assert!(matches!(root.read(&format!("/etc/{name}"), 7), Err(FileError::Unfit(..))), "{name}");
        }
        assert!(matches!(ProcessRoot::open(u32::MAX, NetnsId::new(0, 0)), Err(FileError::Gone(_))));
    }
}
