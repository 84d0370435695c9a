//! What nobody in scope may reach: a target that nothing but a cable leads to, and what arrives there.

use std::{
    collections::HashSet,
    fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    process::Command,
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use weir_tests::world::Neighbour;

use crate::{
    vectors::{Form, Vector},
    wire::{Packet, Wire},
};

/// The target's. Where HTTP/3 is spoken too: of datagrams to addresses that nobody registered, only these are stopped.
pub(crate) const PORT: u16 = 443;
pub(crate) const FRIENDS_PORT: u16 = 9000;
/// How long the target's friend keeps a connection: time for the kernel to open another subflow.
const FRIENDS_PATIENCE: Duration = Duration::from_millis(1500);
/// Client and server use TCP Fast Open, without cookies, on every listener: `tcp_fastopen` in ip-sysctl.rst.
const FAST_OPEN: &str = "1543";

pub(crate) struct Target {
    wire: Wire,
    /// Connections from out of scope.
    strangers: HashSet<SocketAddr>,
    addresses: [SocketAddr; 3],
    _servers: Vec<UdpSocket>,
    /// Its network.
    pub(crate) neighbour: Neighbour,
}

impl Target {
    /// At a neighbour's; this thread is where the cable leads. Nobody serves TCP there yet.
    pub(crate) fn new(neighbour: Neighbour) -> Self {
        let [v4, v6] = neighbour.addresses();
        let IpAddr::V4(ip) = v4 else { unreachable!("the first is IPv4") };
        let [a, b, c, d] = ip.octets();
        // The target's other address, which its MPTCP announces.
        let announced = Ipv4Addr::new(a, b, c, d + 1);
        fast_open();
        let servers = neighbour.run(|| {
            fast_open();
            [v4, v6].map(|ip| UdpSocket::bind((ip, PORT)).unwrap()).into()
        });
        befriend(&neighbour, v4, announced);
        let addresses = [v4, v6, announced.into()].map(|ip| SocketAddr::new(ip, PORT));
        Self { wire: Wire::new(&neighbour), strangers: HashSet::new(), addresses, _servers: servers, neighbour }
    }

    /// Takes whatever connects, and says nothing.
    pub(crate) fn listen(&self) -> Vec<Socket> {
        self.neighbour.run(|| self.addresses[..2].iter().map(|address| listener(*address)).collect())
    }

    /// All of its addresses.
    pub(crate) fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The one that a vector is for.
    pub(crate) fn at(&self, form: Form) -> SocketAddr {
        match form {
            Form::V4 | Form::Mapped => self.addresses[0],
            Form::V6 => self.addresses[1],
            Form::Announced => self.addresses[2],
        }
    }

    /// Where an unregistered server is, whose MPTCP announces the target.
    pub(crate) fn friend(&self) -> SocketAddr {
        SocketAddr::new(self.addresses[0].ip(), FRIENDS_PORT)
    }

    /// What has arrived since the last look was from out of scope, and so is what follows on its connections.
    pub(crate) fn forget_what_arrived(&mut self) {
        self.strangers_packets();
    }

    /// Whether anything has arrived since the last look; it was from out of scope.
    pub(crate) fn was_reached_by_strangers(&mut self, vector: &Vector) -> bool {
        let target = self.at(vector.form);
        self.strangers_packets().iter().any(|packet| packet.reaches(target))
    }

    /// Packets from out of scope; those to the target's other addresses too, because their connections end later, when
    /// another vector is tried.
    fn strangers_packets(&mut self) -> Vec<Packet> {
        let packets = self.wire.arrived();
        self.strangers.extend(packets.iter().filter_map(Packet::connection));
        packets
    }

    /// Whether anything has arrived since the last look, from anybody else.
    pub(crate) fn was_reached(&mut self, vector: &Vector) -> bool {
        let target = self.at(vector.form);
        self.wire.arrived().iter().any(|packet| packet.reaches(target) && !self.is_strangers(packet))
    }

    /// Whether it goes on with a connection from out of scope: the kernel still closes these after their owner has ended.
    fn is_strangers(&self, packet: &Packet) -> bool {
        !packet.is_syn() && packet.connection().is_some_and(|connection| self.strangers.contains(&connection))
    }
}

fn fast_open() {
    fs::write("/proc/sys/net/ipv4/tcp_fastopen", FAST_OPEN).unwrap();
}

/// For MPTCP too, where there is MPTCP.
fn listener(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::MPTCP));
    let socket = socket.unwrap_or_else(|_| Socket::new(Domain::for_address(addr), Type::STREAM, None).unwrap());
    socket.bind(&addr.into()).unwrap();
    socket.listen(128).unwrap();
    socket
}

/// A server beside the target, unregistered, whose MPTCP announces the target as another address of its own. Without MPTCP
/// it announces nothing.
fn befriend(neighbour: &Neighbour, ip: IpAddr, announced: Ipv4Addr) {
    ip_here("mptcp limits set subflows 4 add_addr_accepted 4");
    let friend: TcpListener = neighbour.run(|| {
        ip_here(&format!("addr add {announced}/24 dev weir0"));
        ip_here("mptcp limits set subflows 4");
        ip_here(&format!("mptcp endpoint add {announced} port {PORT} signal"));
        listener(SocketAddr::new(ip, FRIENDS_PORT)).into()
    });
    // Ends with the process.
    thread::spawn(move || {
        for connection in friend.incoming() {
            let Ok(mut connection) = connection else { return };
            let _ = connection.read(&mut [0; 64]);
            thread::sleep(FRIENDS_PATIENCE);
        }
    });
}

/// Says so when it fails: what needs it shows it.
fn ip_here(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("run ip (package iproute2)");
    if !output.status.success() {
        println!("ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }
}
