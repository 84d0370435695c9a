//! A value that *is* a network namespace: made from a process or a descriptor, compared, entered, asked for sockets.

use std::{
    fs::File,
    hash::{Hash, Hasher},
    io,
    marker::PhantomData,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    panic::resume_unwind,
    path::Path,
    sync::Arc,
    thread,
};

use rustix::{
    fs::{fstat, stat},
    net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with},
    thread::{LinkNameSpaceType, move_into_link_name_space},
};
use thiserror::Error;

use super::{NetnsCookie, binding::Binding, sys};

/// Why a namespace could not be opened or entered.
#[derive(Debug, Error)]
pub enum NetnsError {
    /// The namespace's file could not be opened: the process has gone, or the agent may not look at it.
    #[error("cannot open the network namespace {path}: {source}")]
    Open {
        /// The file under `/proc`.
        path: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// `setns(2)` was refused.
    #[error("cannot enter the network namespace: {0} (needs CAP_SYS_ADMIN, and a descriptor of a network namespace)")]
    Enter(io::Error),
    /// The thread that would enter could not be started.
    #[error("cannot start a thread to enter the network namespace: {0}")]
    Thread(io::Error),
    /// A socket could not be made inside, or would not say where it is.
    #[error("cannot make a socket in the network namespace: {0}")]
    Socket(io::Error),
}

/// A network namespace, kept alive by this value. Equal when it is the same namespace, whatever path led to it.
#[derive(Debug, Clone)]
pub struct Netns {
    file: Arc<OwnedFd>,
    id: NetnsId,
}

/// Names a network namespace, for as long as something keeps it alive: device and inode of its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NetnsId {
    device: u64,
    inode: u64,
}

impl NetnsId {
    #[cfg(test)]
    pub(crate) fn new(device: u64, inode: u64) -> Self {
        Self { device, inode }
    }

    /// The namespace that a process, or a thread, is in, by its id in the pid namespace that `/proc` shows. Takes a few
    /// microseconds, and keeps nothing alive.
    ///
    /// # Errors
    ///
    /// When it has gone or may not be looked at.
    pub fn of_process(pid: u32) -> io::Result<Self> {
        let stat = stat(format!("/proc/{pid}/ns/net"))?;
        Ok(Self { device: stat.st_dev, inode: stat.st_ino })
    }
}

impl PartialEq for Netns {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Netns {}

impl Hash for Netns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Netns {
    /// The calling thread's namespace.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Open`] without `/proc`.
    pub fn current() -> Result<Self, NetnsError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace of a process, by its pid in the pid namespace that `/proc` shows.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Open`] when the process has gone or may not be looked at.
    pub fn of_process(pid: u32) -> Result<Self, NetnsError> {
        Self::open(Path::new(&format!("/proc/{pid}/ns/net")))
    }

    fn open(path: &Path) -> Result<Self, NetnsError> {
        let open = || Self::from_fd(File::open(path)?.into());
        open().map_err(|source| NetnsError::Open { path: path.display().to_string(), source })
    }

    /// From a descriptor of a namespace file. Whether it is a network namespace shows when it is entered.
    ///
    /// # Errors
    ///
    /// When the descriptor cannot be examined.
    pub fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        let stat = fstat(&fd)?;
        Ok(Self { file: Arc::new(fd), id: NetnsId { device: stat.st_dev, inode: stat.st_ino } })
    }

    /// A descriptor of the namespace's file.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }

    /// Which namespace this is.
    #[must_use]
    pub fn id(&self) -> NetnsId {
        self.id
    }

    /// Calls `f` inside this namespace.
    ///
    /// From elsewhere it runs on a thread of its own that ends with it: no thread can be left behind in the wrong
    /// namespace. Takes tens of microseconds; `f` should only make sockets.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Enter`] and [`NetnsError::Thread`].
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetnsError> {
        if Self::current()? == *self {
            return Ok(f());
        }
        let enter_and_call = || {
            self.enter()?;
            Ok(f())
        };
        thread::scope(|scope| {
            let visitor = thread::Builder::new().name("weir-netns".into());
            let visit = visitor.spawn_scoped(scope, enter_and_call).map_err(NetnsError::Thread)?;
            visit.join().unwrap_or_else(|panic| resume_unwind(panic))
        })
    }

    fn enter(&self) -> Result<(), NetnsError> {
        move_into_link_name_space(self.file.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(|errno| NetnsError::Enter(errno.into()))
    }

    /// The namespace's cookie, as the programs see it.
    ///
    /// # Errors
    ///
    /// As [`Self::run`], and [`NetnsError::Socket`] on kernels before 5.14.
    pub fn cookie(&self) -> Result<NetnsCookie, NetnsError> {
        self.run(current_cookie)?.map_err(NetnsError::Socket)
    }

    /// A non-blocking TCP socket inside this namespace, for a connection to `peer` bound like `binding` says. It stays inside
    /// wherever it is used from.
    ///
    /// # Errors
    ///
    /// As [`Self::run`], and [`NetnsError::Socket`] when the namespace lacks the family.
    pub fn tcp_socket(&self, peer: std::net::IpAddr, binding: &Binding) -> Result<OwnedFd, NetnsError> {
        let family = if peer.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let bound = || {
            let socket = tcp_socket(family)?;
            binding.apply(&socket, peer)?;
            Ok(socket)
        };
        self.run(bound)?.map_err(NetnsError::Socket)
    }
}

/// A thread that goes from namespace to namespace, and home after each. Quicker than [`Netns::run`], for a thread of which
/// nothing else depends on where it is: if it cannot go home, it keeps the namespace alive until its next visit.
#[derive(Debug)]
pub struct Visitor {
    home: Netns,
    _bound_to_its_thread: PhantomData<*const ()>,
}

impl Visitor {
    /// The calling thread, at home where it is now.
    ///
    /// # Errors
    ///
    /// As [`Netns::current`].
    pub fn new() -> Result<Self, NetnsError> {
        Ok(Self { home: Netns::current()?, _bound_to_its_thread: PhantomData })
    }

    /// Calls `f` inside a namespace.
    ///
    /// # Errors
    ///
    /// [`NetnsError::Enter`]; `f` has not been called.
    pub fn visit<T>(&self, netns: &Netns, f: impl FnOnce() -> T) -> Result<T, NetnsError> {
        netns.enter()?;
        let result = f();
        if let Err(error) = self.home.enter() {
            tracing::error!(%error, "a thread stays in another network namespace for now");
        }
        Ok(result)
    }
}

/// The calling thread's namespace's cookie.
pub(super) fn current_cookie() -> io::Result<NetnsCookie> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::DGRAM, SocketFlags::CLOEXEC, None)?;
    sys::netns_cookie(socket).map(NetnsCookie)
}

/// A non-blocking TCP socket in the calling thread's namespace.
pub(super) fn tcp_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?)
}
