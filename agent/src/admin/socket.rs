//! A Unix socket's file: bound beside its place and then moved there, so that there is always somebody to answer when one
//! agent follows another.

use std::{
    fs::{self, Permissions},
    io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    time::Duration,
};

use tokio::{
    net::{UnixListener, UnixStream},
    time::timeout,
};

/// Longest wait to see whether another agent has the socket.
const PROBE: Duration = Duration::from_secs(1);

/// Why the socket cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Somebody answers there.
    #[error("another agent listens at {}: stop it first", .0.display())]
    InUse(PathBuf),
    /// Something else is there.
    #[error("{} exists and is not a socket: move it away, or change `admin.listen`", .0.display())]
    NotASocket(PathBuf),
    /// The system refused.
    #[error("cannot listen at {}: {source}", path.display())]
    System {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Who may connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Root.
    Root,
    /// Root and a group.
    Group(u32),
    /// Every user.
    Everybody,
}

impl Mode {
    /// Root, and a group where there is one.
    pub(super) fn of(group: Option<u32>) -> Self {
        group.map_or(Self::Root, Self::Group)
    }
}

/// See the module. The file is removed when this is dropped, if it is still this one's.
#[derive(Debug)]
pub(super) struct SocketFile {
    listener: UnixListener,
    path: PathBuf,
    /// Where it is until it is put in its place.
    aside: Option<PathBuf>,
    inode: u64,
}

impl SocketFile {
    /// Binds the socket beside its place. Its directory is made when missing.
    ///
    /// # Errors
    /// As [`BindError`] says.
    pub(super) fn bind_aside(path: &Path, mode: Mode) -> Result<Self, BindError> {
        let mut name = path.as_os_str().to_owned();
        name.push(format!(".{}", std::process::id()));
        let aside = PathBuf::from(name);
        let bind = || {
            if let Some(dir) = path.parent() {
                fs::create_dir_all(dir)?;
            }
            // Left by a process of the same id.
            match fs::remove_file(&aside) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let listener = UnixListener::bind(&aside)?;
            let inode = fs::symlink_metadata(&aside)?.ino();
            let socket = Self { listener, path: path.to_owned(), aside: Some(aside.clone()), inode };
            let bits = match mode {
                Mode::Root => 0o600,
                Mode::Group(group) => {
                    chown(&aside, None, Some(group))?;
                    0o660
                }
                Mode::Everybody => 0o666,
            };
            fs::set_permissions(&aside, Permissions::from_mode(bits))?;
            Ok(socket)
        };
        bind().map_err(|source| BindError::System { path: path.to_owned(), source })
    }

    /// Moves the socket to its place. Whoever connects there reaches either the one before or this one.
    ///
    /// # Errors
    /// The system refused.
    pub(super) fn put_in_place(&mut self) -> Result<(), BindError> {
        let Some(aside) = &self.aside else { return Ok(()) };
        fs::rename(aside, &self.path).map_err(|source| BindError::System { path: self.path.clone(), source })?;
        self.aside = None;
        Ok(())
    }

    /// What listens there.
    pub(super) fn listener(&self) -> &UnixListener {
        &self.listener
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let place = self.aside.as_ref().unwrap_or(&self.path);
        if fs::symlink_metadata(place).is_ok_and(|file| file.ino() == self.inode) {
            let _ = fs::remove_file(place);
        }
    }
}

/// Whether the place is free: nothing is there, or a socket that nobody answers.
///
/// # Errors
/// As [`BindError`] says.
pub(super) async fn is_free(path: &Path) -> Result<(), BindError> {
    let system = |source| BindError::System { path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(system(source)),
        Ok(file) if !file.file_type().is_socket() => return Err(BindError::NotASocket(path.to_owned())),
        Ok(_) => {}
    }
    match timeout(PROBE, UnixStream::connect(path)).await {
        Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(Err(source)) => Err(system(source)),
        Ok(Ok(_)) | Err(_) => Err(BindError::InUse(path.to_owned())),
    }
}
