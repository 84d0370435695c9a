//! Files that must be whole, private and the owner's.

use std::{
    fs::{self, DirBuilder, File, Metadata},
    io::{self, Read},
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::Path,
};

use rustix::fs::{FlockOperation, flock};
use zeroize::Zeroizing;

use super::TrustError;
use crate::whole_file;

/// Longest file read that is not secret, in bytes; a bundle of every public root is about 250 KiB.
const MAX_FILE: usize = 16 << 20;

/// Longest key file read, in bytes; a P-256 key is about 250.
const MAX_KEY: usize = 16 << 10;

/// Turns an I/O error into one that says what was done to which path.
pub(super) fn failed(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> TrustError {
    let path = path.to_owned();
    move |source| TrustError::Io { action, path, source }
}

/// Makes a private directory, and those above it, where they are missing.
pub(super) fn create_private_dir(dir: &Path) -> Result<(), TrustError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(failed("create", dir))
}

/// Makes a directory that everybody may read, and those above it, where they are missing.
pub(super) fn create_public_dir(dir: &Path) -> Result<(), TrustError> {
    DirBuilder::new().recursive(true).mode(0o755).create(dir).map_err(failed("create", dir))
}

/// Holds a directory for one writer until it is dropped. Waits for the writer before.
pub(super) fn lock(dir: &Path) -> Result<File, TrustError> {
    let handle = File::open(dir).map_err(failed("open", dir))?;
    flock(&handle, FlockOperation::LockExclusive).map_err(|error| failed("lock", dir)(error.into()))?;
    Ok(handle)
}

/// Refuses a directory in which others than its owner could put files of their own.
pub(super) fn check_dir(dir: &Path) -> Result<(), TrustError> {
    let metadata = fs::metadata(dir).map_err(failed("open", dir))?;
    check(dir, &metadata, 0o022, "replace what is in it", 0o700)
}

/// Reads a private key that nobody but its owner can.
pub(super) fn read_key(path: &Path) -> Result<Zeroizing<String>, TrustError> {
    let file = File::open(path).map_err(failed("read", path))?;
    let metadata = file.metadata().map_err(failed("read", path))?;
    check(path, &metadata, 0o077, "use the key", 0o600)?;
    // Room for everything, so that the buffer never grows and leaves a copy.
    let mut key = Zeroizing::new(String::with_capacity(2 * MAX_KEY));
    file.take(MAX_KEY as u64).read_to_string(&mut key).map_err(failed("read", path))?;
    Ok(key)
}

/// Reads a file that is not secret; `None` when there is none.
pub(super) fn read(path: &Path) -> Result<Option<String>, TrustError> {
    let mut text = String::new();
    match File::open(path).and_then(|file| file.take(MAX_FILE as u64).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed("read", path)(error)),
    }
}

/// Puts a file in place whole and durable, or leaves what was there. The caller is the only writer.
pub(super) fn write_whole(path: &Path, content: &str, mode: u32) -> Result<(), TrustError> {
    whole_file::replace(path, content.as_bytes(), mode).map_err(failed("write", path))
}

/// Removes a file and says whether there was one.
pub(super) fn remove(path: &Path) -> Result<bool, TrustError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(failed("remove", path)(error)),
    }
}

fn check(path: &Path, metadata: &Metadata, forbidden: u32, danger: &'static str, fix: u32) -> Result<(), TrustError> {
    let mode = metadata.mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(TrustError::Exposed { path: path.to_owned(), mode, danger, fix });
    }
    let (owner, expected) = (metadata.uid(), rustix::process::geteuid().as_raw());
    if owner != expected && owner != 0 {
        return Err(TrustError::Owner { path: path.to_owned(), owner, expected });
    }
    Ok(())
}
