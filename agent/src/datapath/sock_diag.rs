//! The kernel's own list of TCP sockets, and its way to end one: `NETLINK_SOCK_DIAG` (`sock_diag(7)`, and
//! `include/uapi/linux/inet_diag.h`).

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::OwnedFd,
    time::Duration,
};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with, sockopt,
};

use super::CgroupId;

// Message types: include/uapi/linux/netlink.h, include/uapi/linux/sock_diag.h
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

// Flags: include/uapi/linux/netlink.h
const NLM_F_REQUEST: u16 = 0x001;
const NLM_F_ACK: u16 = 0x004;
const NLM_F_DUMP: u16 = 0x300;

/// The attribute with the id of the cgroup that a socket was created in; Linux 5.8.
const INET_DIAG_CGROUP_ID: u16 = 21;

// TCP states in which something can still be sent or received: include/net/tcp_states.h
const OPEN_STATES: u32 = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 8;

/// `struct nlmsghdr`.
const HEADER_LEN: usize = 16;
/// `struct inet_diag_sockid`.
const SOCKET_ID_LEN: usize = 48;
/// `struct inet_diag_msg` before its attributes.
const ENTRY_LEN: usize = 4 + SOCKET_ID_LEN + 20;
/// The kernel fills at most 32 KiB of a larger buffer at a time.
const BUFFER_LEN: usize = 64 * 1024;
/// The kernel answers at once; without an answer something is wrong.
const TIMEOUT: Duration = Duration::from_secs(10);

/// One TCP socket.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    family: u8,
    /// `struct inet_diag_sockid` as the kernel gave it, cookie included: it names this socket and no later one.
    id: [u8; SOCKET_ID_LEN],
    /// Who owns it. `idiag_uid`, in the user namespace of whoever asks.
    pub(super) uid: u32,
    /// Where it was created; none if the kernel does not say.
    pub(super) cgroup: Option<CgroupId>,
}

impl Entry {
    pub(super) fn local(&self) -> SocketAddr {
        self.address(0, 4)
    }

    pub(super) fn peer(&self) -> SocketAddr {
        self.address(2, 20)
    }

    /// Unmapped, as everywhere in the agent.
    fn address(&self, port: usize, ip: usize) -> SocketAddr {
        let port = u16::from_be_bytes([self.id[port], self.id[port + 1]]);
        let mut octets = [0; 16];
        octets.copy_from_slice(&self.id[ip..ip + 16]);
        let ip = if self.family == AddressFamily::INET.as_raw() as u8 {
            Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]).into()
        } else {
            Ipv6Addr::from(octets).to_canonical()
        };
        SocketAddr::new(ip, port)
    }
}

/// A way to ask about the sockets of the network namespace that it was opened in.
#[derive(Debug)]
pub(super) struct SockDiag {
    socket: OwnedFd,
}

impl SockDiag {
    pub(super) fn open() -> io::Result<Self> {
        let protocol = Some(netlink::SOCK_DIAG);
        let socket = socket_with(AddressFamily::NETLINK, SocketType::DGRAM, SocketFlags::CLOEXEC, protocol)?;
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(TIMEOUT))?;
        Ok(Self { socket })
    }

    /// Shows each open TCP socket to `visit`, those of IPv4 and then those of IPv6 (v4-mapped ones included).
    pub(super) fn for_each_tcp(&self, mut visit: impl FnMut(Entry)) -> io::Result<()> {
        for family in [AddressFamily::INET, AddressFamily::INET6] {
            let request = request(SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, family.as_raw() as u8, &[0; SOCKET_ID_LEN]);
            self.converse(&request, &mut visit)?;
        }
        Ok(())
    }

    /// Ends a connection as `SOCK_DESTROY` does: both sides see it reset. Whether it was still there.
    pub(super) fn destroy(&self, entry: &Entry) -> io::Result<bool> {
        let request = request(SOCK_DESTROY, NLM_F_ACK, entry.family, &entry.id);
        match self.converse(&request, |_| {}) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Whether the kernel can list connections and end them, tried on one that cannot be.
    pub(super) fn can_destroy(&self) -> io::Result<()> {
        self.for_each_tcp(|_| {})?;
        let nobody = Entry { family: AddressFamily::INET.as_raw() as u8, id: [0; SOCKET_ID_LEN], uid: 0, cgroup: None };
        self.destroy(&nobody).map(drop)
    }

    /// Sends a request and reads to the end of the answer.
    fn converse(&self, request: &[u8], mut visit: impl FnMut(Entry)) -> io::Result<()> {
        send(&self.socket, request, SendFlags::empty())?;
        let mut buffer = vec![0; BUFFER_LEN];
        loop {
            let (_, len) = recv(&self.socket, buffer.as_mut_slice(), RecvFlags::TRUNC)?;
            let datagram = buffer.get(..len).ok_or(io::ErrorKind::InvalidData)?;
            for message in Messages(datagram) {
                match message {
                    Message::Entry(entry) => visit(entry),
                    Message::End(0) => return Ok(()),
                    Message::End(errno) => return Err(io::Error::from_raw_os_error(errno)),
                    Message::Other => {}
                }
            }
        }
    }
}

/// `struct nlmsghdr` and `struct inet_diag_req_v2`.
fn request(kind: u16, flags: u16, family: u8, id: &[u8; SOCKET_ID_LEN]) -> Vec<u8> {
    let len = HEADER_LEN + 8 + SOCKET_ID_LEN;
    let mut request = Vec::with_capacity(len);
    request.extend_from_slice(&(len as u32).to_ne_bytes());
    request.extend_from_slice(&kind.to_ne_bytes());
    request.extend_from_slice(&(NLM_F_REQUEST | flags).to_ne_bytes());
    // Sequence number and port id: one request at a time, and the kernel fills in the sender.
    request.extend_from_slice(&[0; 8]);
    request.extend_from_slice(&[family, libc::IPPROTO_TCP as u8, 0, 0]);
    request.extend_from_slice(&OPEN_STATES.to_ne_bytes());
    request.extend_from_slice(id);
    request
}

/// What the kernel answers with.
enum Message {
    Entry(Entry),
    /// The end of the answer, with an errno or 0.
    End(i32),
    Other,
}

/// The messages of one datagram. Ends early where the datagram makes no sense.
struct Messages<'a>(&'a [u8]);

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        let len = u32_at(self.0, 0)? as usize;
        let kind = u16_at(self.0, 4)?;
        let body = self.0.get(HEADER_LEN..len)?;
        self.0 = self.0.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(match kind {
            // Both begin with a negative errno, or 0.
            NLMSG_DONE | NLMSG_ERROR => {
                Message::End(u32_at(body, 0).map_or(0, |errno| errno.cast_signed().wrapping_neg()))
            }
            SOCK_DIAG_BY_FAMILY => entry(body).map_or(Message::Other, Message::Entry),
            _ => Message::Other,
        })
    }
}

fn entry(body: &[u8]) -> Option<Entry> {
    let family = *body.first()?;
    let id = body.get(4..4 + SOCKET_ID_LEN)?.try_into().ok()?;
    // Behind `idiag_expires`, `idiag_rqueue` and `idiag_wqueue`.
    let uid = u32_at(body, 4 + SOCKET_ID_LEN + 12)?;
    let cgroup = attribute(body.get(ENTRY_LEN..)?, INET_DIAG_CGROUP_ID);
    let cgroup = cgroup.and_then(|value| value.try_into().ok()).map(|id| CgroupId(u64::from_ne_bytes(id)));
    Some(Entry { family, id, uid, cgroup })
}

/// The value of one of a message's attributes: `struct nlattr`, each aligned to 4 bytes.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    const HEADER: usize = 4;
    loop {
        let len = usize::from(u16_at(attributes, 0)?);
        let value = attributes.get(HEADER..len)?;
        if u16_at(attributes, 2)? == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(4)..)?;
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn finds_this_process_own_connection() {
        for listener in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(listener) else { continue };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (local, peer) = (client.local_addr().unwrap(), client.peer_addr().unwrap());
            let mut found = 0;
            let count = |entry: Entry| found += u32::from(entry.local() == local && entry.peer() == peer);
            SockDiag::open().unwrap().for_each_tcp(count).unwrap();
            assert_eq!(found, 1);
        }
    }

    #[test]
    fn attributes_are_found_past_others() {
        let attributes = [5, 0, 8, 0, 1, 0, 0, 0, 12, 0, 21, 0, 1, 2, 3, 4, 5, 6, 7, 8];
        assert_eq!(attribute(&attributes, INET_DIAG_CGROUP_ID), Some(&[1, 2, 3, 4, 5, 6, 7, 8][..]));
        assert_eq!(attribute(&attributes, 8), Some(&[1][..]));
        assert_eq!(attribute(&attributes, 9), None);
        assert_eq!(attribute(&[0, 0, 0, 0], 0), None, "a length of nothing ends it");
    }

    proptest! {
        #[test]
        fn any_bytes_end(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Messages(&bytes).count() <= bytes.len());
        }
    }
}
