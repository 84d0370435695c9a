//! What arrives at the target, seen on its cable: a packet that no server there would take counts too.

use std::{
    io::{ErrorKind, Read as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};
use weir_tests::world::Neighbour;

const ETH_P_ALL: u16 = 3;
const RECV_BUFFER: usize = 4 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// An unregistered port of the target's.
const FENCE_PORT: u16 = 9;

const SYN: u8 = 0x02;
const RST: u8 = 0x04;

const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMP_V6: u8 = 58;
const SCTP: u8 = 132;
const UDP_LITE: u8 = 136;

/// Sees every packet at a neighbour's.
pub(crate) struct Wire {
    socket: Socket,
    fence: UdpSocket,
    fences: u32,
    at: SocketAddr,
}

/// A packet to the neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    /// None where there is none, or it is in another fragment.
    port: Option<u16>,
    /// Begins with the protocol's own header.
    payload: Vec<u8>,
}

impl Packet {
    /// Whether a server at `target`, or somebody who listens at its address for anything, would be told something by it.
    pub(crate) fn reaches(&self, target: SocketAddr) -> bool {
        let Self { from: _, to, protocol, port, payload } = self;
        let is_for_target = *to == target.ip() && port.is_none_or(|port| port == target.port());
        let is_bare_reset = *protocol == TCP && payload.len() == 20 && payload[13] & 0x07 == RST;
        is_for_target && !matches!(*protocol, ICMP | ICMP_V6) && !is_bare_reset
    }

    /// The connection that it belongs to, by its end that is not the neighbour's.
    pub(crate) fn connection(&self) -> Option<SocketAddr> {
        let source = self.payload.get(..2).filter(|_| self.protocol == TCP)?.try_into().ok()?;
        Some(SocketAddr::new(self.from, u16::from_be_bytes(source)))
    }

    /// Whether it is the first of its connection.
    pub(crate) fn is_syn(&self) -> bool {
        self.protocol == TCP && self.payload.get(13).is_some_and(|flags| flags & SYN != 0)
    }
}

impl Wire {
    pub(crate) fn new(neighbour: &Neighbour) -> Self {
        let socket = neighbour.run(|| {
            let everything = Protocol::from(i32::from(ETH_P_ALL.to_be()));
            Socket::new(Domain::PACKET, Type::DGRAM, Some(everything)).unwrap()
        });
        socket.set_recv_buffer_size(RECV_BUFFER).unwrap();
        socket.set_nonblocking(true).unwrap();
        let [ip, _] = neighbour.addresses();
        let fence = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
        Self { socket, fence, fences: 0, at: (ip, FENCE_PORT).into() }
    }

    /// What has arrived since the last call: everything that was sent before this one.
    pub(crate) fn arrived(&mut self) -> Vec<Packet> {
        // What comes after it on the cable was sent after it.
        self.fences += 1;
        let number = self.fences.to_be_bytes();
        self.fence.send_to(&number, self.at).unwrap();
        let start = Instant::now();
        let mut packets = Vec::new();
        loop {
            match self.next() {
                Some(packet) if packet.port == Some(FENCE_PORT) && packet.payload.ends_with(&number) => return packets,
                Some(packet) => packets.push(packet),
                None => assert!(start.elapsed() < PATIENCE, "the target's cable is dead"),
            }
        }
    }

    /// None where there is nothing yet, or no IP packet.
    fn next(&self) -> Option<Packet> {
        let mut buffer = vec![0; 65_536];
        match (&self.socket).read(&mut buffer) {
            Ok(len) => parse(&buffer[..len]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(1));
                None
            }
            Err(error) => panic!("the target's cable: {error}"),
        }
    }
}

/// None for what is no IP packet.
fn parse(bytes: &[u8]) -> Option<Packet> {
    let (from, to, protocol, header_len, later_fragment): (IpAddr, IpAddr, _, _, _) = match bytes.first()? >> 4 {
        4 => {
            let [from, to]: [[u8; 4]; 2] = [bytes.get(12..16)?.try_into().ok()?, bytes.get(16..20)?.try_into().ok()?];
            let fragment = u16::from_be_bytes(bytes.get(6..8)?.try_into().ok()?) & 0x1fff;
            (
                Ipv4Addr::from(from).into(),
                Ipv4Addr::from(to).into(),
                bytes[9],
                usize::from(bytes[0] & 0x0f) * 4,
                fragment != 0,
            )
        }
        // No vector adds extension headers; the kernel's own fragments are told by their first.
        6 => {
            let [from, to]: [[u8; 16]; 2] = [bytes.get(8..24)?.try_into().ok()?, bytes.get(24..40)?.try_into().ok()?];
            (Ipv6Addr::from(from).into(), Ipv6Addr::from(to).into(), bytes[6], 40, false)
        }
        _ => return None,
    };
    let payload = bytes.get(header_len..)?.to_vec();
    let has_port = matches!(protocol, TCP | UDP | UDP_LITE | SCTP) && !later_fragment;
    let port = payload.get(2..4).filter(|_| has_port).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
    Some(Packet { from, to, protocol, port, payload })
}
