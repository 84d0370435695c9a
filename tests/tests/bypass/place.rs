//! Where the vectors run: on the host, or in a container.

use std::{
    fmt, fs,
    net::IpAddr,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use weir::datapath::Netns;
use weir_tests::world::{Neighbour, World};

use crate::{
    cell::Cell,
    target::{PORT, Target},
    vectors::{Form, User, Vector},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    Host,
    /// With a network, mounts and a cgroup of its own, and the capabilities that Docker gives.
    Container,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Host => "host",
            Self::Container => "container",
        })
    }
}

/// Whether the vector's cgroup is the agent's business.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    InScope,
    OutOfScope,
}

impl Side {
    /// Where a program of this side is.
    pub(crate) fn cgroup(self) -> &'static str {
        match self {
            Self::InScope => "/app",
            Self::OutOfScope => "/elsewhere",
        }
    }

    /// Where one goes that starts outside, and would otherwise be there already.
    pub(crate) fn joined(self) -> &'static str {
        match self {
            Self::InScope => "/app/joined",
            Self::OutOfScope => "/elsewhere/else",
        }
    }
}

/// The place, furnished.
pub(crate) struct Quarters {
    /// The vectors.
    programs: PathBuf,
    rooms: Rooms,
}

enum Rooms {
    Host,
    /// Two containers in one network: in scope, and out of it.
    Cells(Box<[Cell; 2]>, Neighbour),
}

impl Quarters {
    /// Makes the place, and the target's network behind it.
    pub(crate) fn new(world: &mut World, place: Place) -> (Self, Neighbour) {
        let programs = world.dir().join("programs");
        install(&programs);
        for side in [Side::InScope, Side::OutOfScope] {
            world.make_cgroup(side.joined());
        }
        let network = world.neighbour();
        match place {
            Place::Host => (Self { programs, rooms: Rooms::Host }, network),
            Place::Container => {
                let cells = [Side::InScope, Side::OutOfScope].map(|side| Cell::new(world, &network, side, &programs));
                let behind = network.neighbour(2);
                (Self { programs, rooms: Rooms::Cells(Box::new(cells), network) }, behind)
            }
        }
    }

    /// Its network.
    pub(crate) fn netns(&self) -> Netns {
        match &self.rooms {
            Rooms::Host => Netns::current().unwrap(),
            Rooms::Cells(_, network) => network.netns().clone(),
        }
    }

    /// Calls `f` in its network.
    pub(crate) fn inside<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        self.netns().run(f).unwrap()
    }

    /// Runs a vector to its end, and gives its exit code.
    pub(crate) fn run(
        &mut self,
        world: &World,
        vector: &Vector,
        user: User,
        side: Side,
        target: &Target,
    ) -> Option<i32> {
        let started = if vector.starts_outside() { Side::OutOfScope } else { side };
        let programs = match &self.rooms {
            Rooms::Host => self.programs.clone(),
            Rooms::Cells(..) => PathBuf::from(Cell::PROGRAMS),
        };
        let arguments = arguments(vector, target, &programs);
        let program = programs.join(vector.program);
        let (code, said) = match &mut self.rooms {
            Rooms::Host => {
                let mut command = world.command(started.cgroup(), program);
                command.args(arguments).env("VECTOR_UID", user.uid().to_string());
                command.env("VECTOR_JOIN", world.make_cgroup(side.joined()).join("cgroup.procs"));
                let output = command.stdin(Stdio::null()).output().unwrap();
                (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
            }
            Rooms::Cells(cells, _) => {
                let cell = &mut cells[usize::from(started == Side::OutOfScope)];
                cell.run(&program, &arguments, user, side)
            }
        };
        println!("{} as {} {side:?}: {code:?} {said}", vector.name(), user.uid());
        code
    }
}

fn arguments(vector: &Vector, target: &Target, programs: &Path) -> Vec<String> {
    let ip = match (vector.form, target.at(vector.form).ip()) {
        (Form::Mapped, IpAddr::V4(ip)) => ip.to_ipv6_mapped().to_string(),
        (_, ip) => ip.to_string(),
    };
    let mut arguments = vec![ip, PORT.to_string()];
    match vector.program {
        "setuid_program" => arguments.push(programs.join(SET_USER_ID).display().to_string()),
        "mptcp_subflow" => arguments.extend([target.friend().ip().to_string(), target.friend().port().to_string()]),
        _ => arguments.extend(Some(vector.argument).filter(|argument| !argument.is_empty()).map(str::to_owned)),
    }
    arguments
}

/// The name of `tcp`, set-user-id.
const SET_USER_ID: &str = "tcp-setuid";

/// Copies the vectors, as the build left them, to where their set-user-id copy is nobody's business but root's: it goes with
/// the world's directory, which nobody else may enter.
fn install(programs: &Path) {
    fs::create_dir(programs).unwrap();
    for vector in fs::read_dir(concat!(env!("OUT_DIR"), "/vectors")).unwrap() {
        let vector = vector.unwrap();
        fs::copy(vector.path(), programs.join(vector.file_name())).unwrap();
    }
    let setuid = programs.join(SET_USER_ID);
    fs::copy(programs.join("tcp"), &setuid).unwrap();
    fs::set_permissions(&setuid, fs::Permissions::from_mode(0o4755)).unwrap();
}
