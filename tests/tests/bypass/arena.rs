//! Where the vectors are tried: a target that nothing but a cable leads to, an agent as far as the kernel knows one, and
//! programs in and out of its scope.

use std::{
    collections::{HashMap, HashSet},
    fmt, fs,
    io::Read as _,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use weir::datapath::{
    AttachOptions, CgroupTree, Datapath, EndpointCounts, EndpointIndex, Listeners, Netns, Published, Registration,
    Verbosity,
};
use weir_tests::world::{Neighbour, World};

use crate::{
    table::Control,
    vectors::{Form, User, Vector},
    wire::{Packet, Wire},
};

const PORT: u16 = 8443;
const FRIENDS_PORT: u16 = 9000;
/// The target's other address, which its MPTCP announces.
const ANNOUNCED: Ipv4Addr = Ipv4Addr::new(10, 77, 1, 3);
/// How long the target's friend keeps a connection: time for the kernel to open another subflow.
const FRIENDS_PATIENCE: Duration = Duration::from_millis(1500);
/// Client and server use TCP Fast Open, without cookies, on every listener: `tcp_fastopen` in ip-sysctl.rst.
const FAST_OPEN: &str = "1543";
/// What a kernel says that lacks something: `ENOSYS`, `EPROTONOSUPPORT`, `ESOCKTNOSUPPORT`, `EOPNOTSUPP`, `EAFNOSUPPORT`.
const NOT_OFFERED: [i32; 5] = [38, 93, 94, 95, 97];

/// What became of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Something reached the target.
    Through,
    /// The agent got it.
    Intercepted,
    /// A system call was refused.
    Denied,
    /// The guard stopped it.
    Guarded,
    /// Nothing reached the target, and nothing was counted.
    Untraced,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Through => "through",
            Self::Intercepted => "intercepted",
            Self::Denied => "denied",
            Self::Guarded => "guarded",
            Self::Untraced => "no trace",
        })
    }
}

/// Fields drop in this order.
pub(crate) struct Arena {
    pub(crate) datapath: Datapath,
    agent: Option<Listeners>,
    /// What a killed agent leaves.
    left: Option<Published>,
    wire: Wire,
    /// Connections from out of scope.
    strangers: HashSet<SocketAddr>,
    targets: [SocketAddr; 3],
    programs: PathBuf,
    _registration: Registration,
    _servers: (Vec<Socket>, Vec<UdpSocket>),
    _neighbour: Neighbour,
    world: World,
}

impl Arena {
    pub(crate) fn new(name: &str) -> Self {
        let mut world = World::new(name);
        let neighbour = world.neighbour();
        let [v4, v6] = neighbour.addresses();
        let targets = [v4, v6, ANNOUNCED.into()].map(|ip| SocketAddr::new(ip, PORT));
        let servers = serve(&neighbour, &targets[..2]);
        befriend(&neighbour, v4);
        let wire = Wire::new(&neighbour);

        let cgroups = CgroupTree::open(world.cgroup_base()).unwrap();
        let attached = Datapath::attach(&AttachOptions {
            cgroups: &cgroups,
            bpffs: world.bpffs().join("weir"),
            take_all: false,
            allow_raw: false,
            verbosity: Verbosity::Denials,
            max_pending: None,
        });
        let datapath = attached.unwrap().datapath;
        let registration = datapath.register_agent(&cgroups).unwrap();
        let listeners = datapath.open_listeners(&Netns::current().unwrap()).unwrap();
        world.make_cgroup("/app");
        datapath.set_scope(&[cgroups.id_of("/app").unwrap()], &[]).unwrap();
        let destinations = targets.iter().enumerate().map(|(n, target)| (*target, index(n)));
        datapath.set_destinations(&destinations.collect::<HashMap<_, _>>()).unwrap();

        let programs = world.dir().join("programs");
        install(&programs);
        Self {
            datapath,
            agent: Some(listeners),
            left: None,
            wire,
            strangers: HashSet::new(),
            targets,
            programs,
            _registration: registration,
            _servers: servers,
            _neighbour: neighbour,
            world,
        }
    }

    /// The agent's listeners go, as when it is killed; what it told the programs stays.
    pub(crate) fn kill_agent(&mut self) {
        self.left = self.agent.take().map(|Listeners { published, .. }| published);
    }

    /// What the vector can do out of scope.
    pub(crate) fn try_out_of_scope(&mut self, vector: &Vector, user: User) -> Control {
        let before = self.counts();
        let ended = self.run(vector, user, "/elsewhere", "/elsewhere/else");
        let packets = self.arrived(vector);
        self.strangers.extend(packets.iter().filter_map(Packet::connection));
        assert_eq!(self.counts(), before, "{}: what is out of scope was not left alone", vector.name());
        match ended.code() {
            _ if !packets.is_empty() => Control::Reached,
            Some(errno) if NOT_OFFERED.contains(&errno) => Control::NotOffered,
            _ => Control::Nowhere,
        }
    }

    /// What becomes of the vector in scope.
    pub(crate) fn try_in_scope(&mut self, vector: &Vector, user: User) -> Verdict {
        let (before, raw_before) = (self.counts(), self.datapath.denials().unwrap().raw_socket);
        self.run(vector, user, "/app", "/app/joined");
        let (after, raw_after) = (self.counts(), self.datapath.denials().unwrap().raw_socket);
        self.hang_up();
        if self.arrived(vector).iter().any(|packet| !self.is_strangers(packet)) {
            Verdict::Through
        } else if after.redirected > before.redirected {
            Verdict::Intercepted
        } else if after.denied > before.denied || raw_after > raw_before {
            Verdict::Denied
        } else if after.guarded > before.guarded {
            Verdict::Guarded
        } else {
            Verdict::Untraced
        }
    }

    /// Over all targets.
    pub(crate) fn counts(&self) -> EndpointCounts {
        let counts = (0..self.targets.len()).map(|n| self.datapath.counts(index(n)).unwrap());
        counts.fold(EndpointCounts::default(), |sum, counts| EndpointCounts {
            seen: sum.seen + counts.seen,
            redirected: sum.redirected + counts.redirected,
            denied: sum.denied + counts.denied,
            guarded: sum.guarded + counts.guarded,
            failed_open: sum.failed_open + counts.failed_open,
        })
    }

    fn target(&self, form: Form) -> SocketAddr {
        match form {
            Form::V4 | Form::Mapped => self.targets[0],
            Form::V6 => self.targets[1],
            Form::Announced => self.targets[2],
        }
    }

    /// What has arrived at the vector's target since the last look.
    fn arrived(&mut self, vector: &Vector) -> Vec<Packet> {
        let target = self.target(vector.form);
        let mut packets = self.wire.arrived();
        packets.retain(|packet| packet.reaches(target));
        packets
    }

    /// Whether it goes on with a connection from out of scope: the kernel still closes these after their owner has ended.
    fn is_strangers(&self, packet: &Packet) -> bool {
        !packet.is_syn() && packet.connection().is_some_and(|connection| self.strangers.contains(&connection))
    }

    /// Runs a vector to its end, in `cgroup`; one that starts outside starts elsewhere and joins `cgroup` by itself. `joined`
    /// keeps those apart who would otherwise be where they go already.
    fn run(&mut self, vector: &Vector, user: User, cgroup: &str, joined: &str) -> ExitStatus {
        let target = self.target(vector.form);
        let ip = match (vector.form, target.ip()) {
            (Form::Mapped, IpAddr::V4(ip)) => ip.to_ipv6_mapped().to_string(),
            (_, ip) => ip.to_string(),
        };
        let program = self.programs.join(vector.program);
        let mut command = if vector.starts_outside() {
            let mut command = self.world.command("/elsewhere", program);
            command.env("VECTOR_JOIN", self.world.make_cgroup(joined).join("cgroup.procs"));
            command
        } else {
            self.world.command(cgroup, program)
        };
        command.arg(ip).arg(PORT.to_string()).env("VECTOR_UID", user.uid().to_string());
        match vector.program {
            "setuid_program" => {
                command.arg(self.programs.join("tcp-setuid"));
            }
            "mptcp_subflow" => {
                command.arg(self.targets[0].ip().to_string()).arg(FRIENDS_PORT.to_string());
            }
            _ => {
                command.args(Some(vector.argument).filter(|argument| !argument.is_empty()));
            }
        }
        let output = command.stdin(Stdio::null()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        println!("{} as {} in {cgroup}: {} {said}", vector.name(), user.uid(), output.status);
        output.status
    }

    /// Takes the connections that a vector made to the agent, as an agent would.
    fn hang_up(&self) {
        let Some(agent) = &self.agent else { return };
        for listener in [Some(&agent.v4), agent.v6.as_ref()].into_iter().flatten() {
            while listener.accept().is_ok() {}
        }
    }
}

fn index(n: usize) -> EndpointIndex {
    EndpointIndex::of_endpoint(n).unwrap()
}

/// Servers at the targets for every protocol that there is, so that whatever gets there is answered.
fn serve(neighbour: &Neighbour, targets: &[SocketAddr]) -> (Vec<Socket>, Vec<UdpSocket>) {
    let set_fast_open = || fs::write("/proc/sys/net/ipv4/tcp_fastopen", FAST_OPEN).unwrap();
    set_fast_open();
    neighbour.run(|| {
        set_fast_open();
        let streams = targets.iter().map(|target| listener(*target)).collect();
        let datagrams = targets.iter().map(|target| UdpSocket::bind(target).unwrap()).collect();
        (streams, datagrams)
    })
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
fn befriend(neighbour: &Neighbour, ip: IpAddr) {
    ip_here("mptcp limits set subflows 4 add_addr_accepted 4");
    let friend: TcpListener = neighbour.run(|| {
        ip_here(&format!("addr add {ANNOUNCED}/24 dev weir0"));
        ip_here("mptcp limits set subflows 4");
        ip_here(&format!("mptcp endpoint add {ANNOUNCED} port {PORT} signal"));
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

/// The vectors, as the build left them, where their set-user-id copy is nobody's business but root's: it goes with the
/// world's directory, which nobody else may enter.
fn install(programs: &Path) {
    fs::create_dir(programs).unwrap();
    for vector in fs::read_dir(concat!(env!("OUT_DIR"), "/vectors")).unwrap() {
        let vector = vector.unwrap();
        fs::copy(vector.path(), programs.join(vector.file_name())).unwrap();
    }
    let setuid = programs.join("tcp-setuid");
    fs::copy(programs.join("tcp"), &setuid).unwrap();
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
}
