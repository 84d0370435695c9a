//! The agent's listeners, one pair in each network namespace in scope.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
    os::fd::{AsFd, AsRawFd},
    sync::Arc,
};

use rustix::net::{AddressFamily, bind, listen, sockopt};
use thiserror::Error;
use weir_ebpf::ListenerPorts;

use super::{
    Datapath, Netns, NetnsCookie, NetnsError, Visitor,
    maps::{Maps, MapsError},
    netns::{current_cookie, tcp_socket},
    sys,
};

/// Connections that may wait for `accept()`; the kernel caps it at `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// Why listeners could not be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Netns(#[from] NetnsError),
    /// No listener on the loopback address.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// What the kernel said.
        source: io::Error,
    },
    /// Not the namespace that was meant.
    #[error("the process is in another network namespace by now")]
    Another,
    /// A map could not be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
}

/// The listeners of one namespace. To close them, drop `published` first: from then on flows are denied at `connect()`
/// rather than lost.
#[derive(Debug)]
pub struct Listeners {
    /// Tells the programs to redirect here, while it lives.
    pub published: Published,
    /// On `127.0.0.1`, for IPv4 and v4-mapped destinations. Non-blocking.
    pub v4: TcpListener,
    /// On `::1`, where the kernel has IPv6. Non-blocking. Without it, IPv6 destinations are denied.
    pub v6: Option<TcpListener>,
}

impl Listeners {
    /// The namespace's cookie, which names its flows in [`Datapath::take_flow`].
    #[must_use]
    pub fn netns(&self) -> NetnsCookie {
        self.published.netns
    }
}

/// Redirection into one namespace's listeners. Ends when dropped, unless another agent has published its own since.
#[derive(Debug)]
pub struct Published {
    maps: Arc<Maps>,
    netns: NetnsCookie,
    ports: ListenerPorts,
    is_left: bool,
}

impl Published {
    /// The namespace's cookie.
    #[must_use]
    pub fn netns(&self) -> NetnsCookie {
        self.netns
    }

    /// Has the programs redirect here again, in case another agent, which may be gone by now, took the namespace over.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn renew(&self) -> Result<(), MapsError> {
        self.maps.listeners.insert(&self.netns.0, &self.ports)
    }

    /// Ends this without ending the redirection: another agent has the same listeners.
    pub fn leave(mut self) {
        self.is_left = true;
    }
}

impl Drop for Published {
    fn drop(&mut self) {
        let Self { maps, netns, ports, is_left } = self;
        if *is_left {
            return;
        }
        let withdraw = || match maps.listeners.get(&netns.0)? {
            Some(current) if current == *ports => maps.listeners.remove(&netns.0),
            _ => Ok(()),
        };
        if let Err(error) = withdraw() {
            tracing::warn!(%error, netns = netns.0, "listeners stay published; their flows are denied");
        }
    }
}

impl Datapath {
    /// Opens listeners in a namespace, marks them as the agent's own, and only then publishes them.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub fn open_listeners(&self, netns: &Netns) -> Result<Listeners, ListenError> {
        let (v4, v6) = netns.run(open_pair)??;
        self.publish(netns.cookie()?, v4, v6)
    }

    /// The same in a namespace that was announced: a process has led to it, which may have moved or been replaced since.
    ///
    /// # Errors
    ///
    /// [`ListenError::Another`] when this is not the namespace `announced`; nothing was opened.
    pub fn open_announced_listeners(
        &self,
        visitor: &Visitor,
        netns: &Netns,
        announced: Option<NetnsCookie>,
    ) -> Result<Listeners, ListenError> {
        let (cookie, v4, v6) = visitor.visit(netns, || {
            let cookie = current_cookie().map_err(NetnsError::Socket)?;
            if announced.is_some_and(|announced| announced != cookie) {
                return Err(ListenError::Another);
            }
            open_pair().map(|(v4, v6)| (cookie, v4, v6))
        })??;
        self.publish(cookie, v4, v6)
    }

    /// Takes over what another agent opened: the same sockets, so that no connection notices. The other is to
    /// [leave](Published::leave) its own.
    ///
    /// # Errors
    ///
    /// [`ListenError`].
    pub fn adopt_listeners(&self, v4: TcpListener, v6: Option<TcpListener>) -> Result<Listeners, ListenError> {
        let cookie = sys::netns_cookie(&v4).map_err(NetnsError::Socket)?;
        self.publish(NetnsCookie(cookie), v4, v6)
    }

    fn publish(&self, cookie: NetnsCookie, v4: TcpListener, v6: Option<TcpListener>) -> Result<Listeners, ListenError> {
        self.mark(&v4)?;
        if let Some(v6) = &v6 {
            self.mark(v6)?;
        }
        let ports = ListenerPorts { v4: port(&v4)?, v6: v6.as_ref().map_or(Ok(0), port)? };
        self.maps.listeners.insert(&cookie.0, &ports)?;
        let published = Published { maps: Arc::clone(&self.maps), netns: cookie, ports, is_left: false };
        Ok(Listeners { published, v4, v6 })
    }

    fn mark(&self, listener: &TcpListener) -> Result<(), MapsError> {
        let marks = &self.maps.own_listeners;
        marks.lock().insert(&listener.as_fd().as_raw_fd(), 1, 0).map_err(marks.failed())
    }
}

fn port(listener: &TcpListener) -> Result<u32, ListenError> {
    let unnamed = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    let addr = listener.local_addr().map_err(|source| ListenError::Listen { addr: unnamed, source })?;
    Ok(addr.port().into())
}

fn open_pair() -> Result<(TcpListener, Option<TcpListener>), ListenError> {
    let v4 = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let v6 = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    let v4 = open(v4).map_err(|source| ListenError::Listen { addr: v4, source })?;
    match open(v6) {
        Ok(v6) => Ok((v4, Some(v6))),
        // A kernel without IPv6 cannot reach IPv6 destinations either.
        Err(error) if error.raw_os_error() == Some(libc::EAFNOSUPPORT) => Ok((v4, None)),
        Err(source) => Err(ListenError::Listen { addr: v6, source }),
    }
}

/// The address need not be there yet: a namespace is often found before its loopback device is up. Neither `SO_REUSEADDR` nor `SO_REUSEPORT`: nobody else may share the port.
fn open(addr: SocketAddr) -> io::Result<TcpListener> {
    let family = if addr.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let socket = tcp_socket(family)?;
    if addr.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
        sockopt::set_ipv6_freebind(&socket, true)?;
    } else {
        sockopt::set_ip_freebind(&socket, true)?;
    }
    bind(&socket, &addr)?;
    listen(&socket, BACKLOG)?;
    Ok(socket.into())
}
