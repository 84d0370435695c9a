//! What an application did to its socket so that it goes a certain way, for the agent's own connection to go the same.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
};

use rustix::{io::Errno, net::bind};

use super::sys;

/// What a socket is bound to; by default nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Binding {
    /// The device that the socket was bound to (`SO_BINDTODEVICE`), by its index; 0 for none.
    device: u32,
    /// Its mark (`SO_MARK`); 0 for none.
    mark: u32,
    /// The address that it was bound to (`bind(2)`).
    source: Option<IpAddr>,
}

impl Binding {
    /// `source` is where the connection to the listener comes from: a loopback address, unless another one was chosen.
    pub(super) fn new(device: u32, mark: u32, source: IpAddr) -> Self {
        const UNCHOSEN: [IpAddr; 4] = [
            IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            IpAddr::V6(Ipv6Addr::LOCALHOST),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        ];
        Self { device, mark, source: (!UNCHOSEN.contains(&source)).then_some(source) }
    }

    /// Binds a socket for a connection to `peer` likewise; fails where its address is of another family.
    pub(super) fn apply(&self, socket: &OwnedFd, peer: IpAddr) -> io::Result<()> {
        let Self { device, mark, source } = *self;
        if mark != 0 {
            sys::set_option(socket, libc::SOL_SOCKET, libc::SO_MARK, mark)?;
        }
        if device != 0 {
            sys::set_option(socket, libc::SOL_SOCKET, libc::SO_BINDTOIFINDEX, device)?;
        }
        match source {
            Some(ip) if ip.is_ipv4() != peer.is_ipv4() => Err(Errno::AFNOSUPPORT.into()),
            Some(ip) => {
                // The port is chosen when the peer is known, so that more than one connection can share it.
                sys::set_option(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, 1)?;
                Ok(bind(socket.as_fd(), &SocketAddr::new(ip, 0))?)
            }
            None => Ok(()),
        }
    }
}
