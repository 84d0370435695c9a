//! Loading and attaching: at first, and as the next agent that takes over.

use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use aya::{
    Btf, Ebpf, EbpfError, EbpfLoader, VerifierLogLevel, include_bytes_aligned,
    programs::{Program, ProgramError, ProgramFd},
};
use serde::Serialize;
use thiserror::Error;
use weir_ebpf::{OTHERS, PENDING_SHARE, Settings};

use super::{
    Announcements, CgroupId, CgroupTree, Datapath, KernelLog,
    announcements::load_exec,
    hooks::Programs,
    log::{LEVEL, LogError, Verbosity},
    lsm,
    maps::{self, Maps, MapsError},
    pins::{PinError, Pins},
    sys::{self, Hook},
    watch,
};

static OBJECT: &[u8] = include_bytes_aligned!(concat!(env!("OUT_DIR"), "/weir-ebpf.o"));

/// The programs, in the order in which they attach: whatever a redirected flow needs is there before the redirect.
const PROGRAMS: [(&str, Hook); 13] = [
    ("weir_origin", Hook::SockCreate),
    ("weir_sock_ops", Hook::SockOps),
    ("weir_peername4", Hook::PeerName4),
    ("weir_peername6", Hook::PeerName6),
    ("weir_bind4", Hook::Bind4),
    ("weir_bind6", Hook::Bind6),
    ("weir_answer", Hook::Ingress),
    ("weir_question", Hook::Egress),
    ("weir_guard", Hook::Egress),
    ("weir_sendmsg4", Hook::SendMsg4),
    ("weir_sendmsg6", Hook::SendMsg6),
    ("weir_connect4", Hook::Connect4),
    ("weir_connect6", Hook::Connect6),
];

/// Those that take the link layer from the scope, where that is asked for.
const LINK_LAYER: [(&str, Hook); 2] = [("weir_packet", Hook::LsmCgroup), ("weir_device", Hook::Device)];

/// How to attach.
#[derive(Debug)]
pub struct AttachOptions<'a> {
    /// The programs attach to this tree's base.
    pub cgroups: &'a CgroupTree,
    /// Where links and maps are pinned: a directory on a bpffs, created `0700`.
    pub bpffs: PathBuf,
    /// Whether every TCP destination is taken (`tcp = "all"`).
    pub take_all: bool,
    /// Whether tasks in scope may make raw IP sockets.
    pub allow_raw: bool,
    /// Whether tasks in scope are refused packet sockets and TUN devices (`link_layer = "deny"`).
    pub deny_link_layer: bool,
    /// How much the programs say.
    pub verbosity: Verbosity,
    /// How many flows may be on their way to a listener, and open, and how many cgroups with such flows are told apart; none
    /// for the defaults of 65,536, 131,072 and 16,384. Only counts when the maps are new.
    pub max_pending: Option<u32>,
}

impl AttachOptions<'_> {
    fn settings(&self) -> Settings {
        Settings { take_all: self.take_all.into(), allow_raw: self.allow_raw.into(), fail_open: 0 }
    }
}

/// The programs are attached.
#[derive(Debug)]
pub struct Attached {
    /// The way to the maps.
    pub datapath: Datapath,
    /// What the programs say.
    pub log: KernelLog,
    /// Which namespaces they saw that are not served.
    pub announcements: Announcements,
    /// Whether an earlier agent's links were taken over.
    pub takeover: bool,
}

/// Why the programs could not be attached.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The pins could not be used.
    #[error(transparent)]
    Pins(#[from] PinError),
    /// The object or its maps were refused.
    #[error("cannot load the eBPF object: {0} (needs CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, or root)")]
    Load(#[from] EbpfError),
    /// Packet sockets cannot be refused.
    #[error(
        "intercept.link_layer = \"deny\" cannot be kept: {0}; boot with `bpf` in `lsm=`, or set intercept.link_layer = \"allow\""
    )]
    LinkLayer(String),
    /// A program was refused.
    #[error("cannot load the eBPF program {name}: {source}")]
    Program {
        /// Which.
        name: &'static str,
        /// What the verifier said.
        source: Box<ProgramError>,
    },
    /// The object lacks a program.
    #[error("the eBPF object has no program {0}: build it again (cargo xtask build-ebpf)")]
    Missing(&'static str),
    /// A map could not be used.
    #[error(transparent)]
    Maps(#[from] MapsError),
    /// The programs' log could not be opened.
    #[error(transparent)]
    Log(#[from] LogError),
    /// The kernel refused to attach.
    #[error("cannot attach the eBPF program {name} to cgroup {}: {source}", cgroup.0)]
    Attach {
        /// Which.
        name: &'static str,
        /// To what.
        cgroup: CgroupId,
        /// What the kernel said.
        source: io::Error,
    },
}

/// One program's link as the kernel has it.
#[derive(Debug, Clone, Serialize)]
pub struct LinkState {
    /// The program.
    pub program: &'static str,
    /// The id of the program that runs; none when nothing is pinned.
    pub program_id: Option<u32>,
    /// The cgroup that it is attached to; none when nothing is pinned or that cgroup is gone.
    pub cgroup: Option<CgroupId>,
    /// Whether that is the intended cgroup.
    pub ok: bool,
}

impl Datapath {
    /// Loads the programs and attaches them to the tree's base, for good: they stay when the agent ends.
    ///
    /// Links that an earlier agent pinned keep running without a gap and get the new programs in one step each; maps keep
    /// their contents. A link that sits on another cgroup, or on one that is gone, is replaced. What agents with other
    /// layouts left attached goes on beside these until [`Datapath::retire_others`].
    ///
    /// # Errors
    ///
    /// [`AttachError`]. Links made by the failed attempt are removed again; an earlier agent's stay, and what replaced them.
    pub fn attach(options: &AttachOptions<'_>) -> Result<Attached, AttachError> {
        let pins = Pins::open(&options.bpffs)?;
        let pending_share = options.max_pending.map_or(PENDING_SHARE, |max_pending| max_pending.div_ceil(2));
        if options.deny_link_layer {
            lsm::require_bpf().map_err(AttachError::LinkLayer)?;
        }
        let wanted = || PROGRAMS.into_iter().chain(LINK_LAYER.into_iter().filter(|_| options.deny_link_layer));
        let mut ebpf = load_object(&mut loader(options, &pending_share, &pins))?;
        // All are loaded before the first is attached: a refusal changes nothing.
        let programs = wanted()
            .map(|(name, hook)| Ok((name, hook, load_program(&mut ebpf, name).map_err(link_layer_lacks)?)))
            .collect::<Result<Vec<_>, AttachError>>()?;
        let log = KernelLog::new(&mut ebpf)?;
        let announcements = Announcements::take(&mut ebpf)?;
        let maps = Arc::new(Maps::take(&mut ebpf)?);
        // Before cgroups take all places.
        maps.holders.insert_new(&OTHERS, &0)?;
        let base_dir = options.cgroups.base_dir().try_clone_to_owned().map_err(|source| AttachError::Attach {
            name: PROGRAMS[0].0,
            cgroup: options.cgroups.base_id(),
            source,
        })?;
        let programs = Programs {
            bpffs: options.bpffs.clone(),
            base: options.cgroups.base_id(),
            base_dir,
            programs,
            map_ids: watch::map_ids(&pins),
            settings: Mutex::new(options.settings()),
        };
        let datapath = Self { maps, own: Arc::default(), programs: Arc::new(programs) };
        datapath.set(|present| Settings { fail_open: present.fail_open, ..options.settings() })?;

        let takeover = datapath.programs.attach(&pins)?;
        Ok(Attached { datapath, log, announcements, takeover })
    }

    /// Removes what agents with other layouts, or with other programs in this layout, left attached. To be called once scope
    /// and destinations are in force here: until then those that another layout's agent left are all that denies. While
    /// both are attached, a `connect()` that either denies is denied.
    ///
    /// # Errors
    ///
    /// [`PinError`]; what could be removed until then is removed.
    pub fn retire_others(&self) -> Result<(), PinError> {
        let Programs { bpffs, programs, .. } = &*self.programs;
        let own: Vec<&str> = programs.iter().map(|(name, ..)| *name).collect();
        Pins::open(bpffs)?.remove_others(&own)
    }

    /// Has this agent's programs and settings in force again, after another agent began to take over and failed. Links that
    /// it made or moved are set right.
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub fn reclaim(&self) -> Result<(), AttachError> {
        let Programs { bpffs, settings, .. } = &*self.programs;
        self.programs.attach(&Pins::open(bpffs)?)?;
        let own = *settings.lock().unwrap_or_else(PoisonError::into_inner);
        self.set(|_| own)?;
        Ok(())
    }

    /// Whether every TCP destination is taken, or registered ones only.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn set_take_all(&self, take_all: bool) -> Result<(), MapsError> {
        self.set(|settings| Settings { take_all: take_all.into(), ..settings })
    }

    /// Whether tasks in scope may make raw IP sockets. Those that they have stay as they are.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn set_allow_raw(&self, allow_raw: bool) -> Result<(), MapsError> {
        self.set(|settings| Settings { allow_raw: allow_raw.into(), ..settings })
    }

    pub(super) fn set(&self, change: impl FnOnce(Settings) -> Settings) -> Result<(), MapsError> {
        let settings = &self.maps.settings;
        let mut map = settings.lock();
        let changed = change(map.get(&0, 0).map_err(settings.failed())?);
        *self.programs.settings.lock().unwrap_or_else(PoisonError::into_inner) = changed;
        map.set(0, changed, 0).map_err(settings.failed())
    }
}

/// What is attached under `bpffs`, program by program, compared with the tree's base. A link outlives its cgroup, and
/// then does nothing.
///
/// # Errors
///
/// [`PinError`].
pub fn links(bpffs: &Path, cgroups: &CgroupTree) -> Result<Vec<LinkState>, PinError> {
    let pins = Pins::open(bpffs)?;
    let state = |program| {
        let info = pins.link(program)?.and_then(|link| sys::link_info(link.as_fd()).ok());
        let cgroup = info.map(|info| CgroupId(info.cgroup_id)).filter(|id| id.0 != 0);
        let ok = cgroup == Some(cgroups.base_id());
        Ok(LinkState { program, program_id: info.map(|info| info.program_id), cgroup, ok })
    };
    let optional = LINK_LAYER.into_iter().filter(|(name, _)| matches!(pins.link(name), Ok(Some(_))));
    PROGRAMS.into_iter().chain(optional).map(|(name, _)| state(name)).collect()
}

/// Loads every program without attaching or pinning anything, and tells `report` how each fared. Gives how those fared
/// that can be done without.
pub(super) fn try_programs(
    mut report: impl FnMut(&'static str, Result<(), AttachError>),
) -> Result<Tried, AttachError> {
    let mut ebpf = load_object(&mut EbpfLoader::new())?;
    for (name, _) in PROGRAMS {
        report(name, load_program(&mut ebpf, name).map(drop));
    }
    Ok(Tried { at_exec: load_exec(&mut ebpf).map(drop), link_layer: try_link_layer(&mut ebpf) })
}

/// How those fared that can be done without.
pub(super) struct Tried {
    pub(super) at_exec: Result<(), ProgramError>,
    pub(super) link_layer: Result<(), AttachError>,
}

fn try_link_layer(ebpf: &mut Ebpf) -> Result<(), AttachError> {
    lsm::require_bpf().map_err(AttachError::LinkLayer)?;
    LINK_LAYER.into_iter().try_for_each(|(name, _)| load_program(ebpf, name).map(drop).map_err(link_layer_lacks))
}

fn loader<'a>(options: &AttachOptions<'_>, pending_share: &'a u32, pins: &Pins) -> EbpfLoader<'a> {
    let mut loader = EbpfLoader::new();
    loader.override_global(LEVEL, options.verbosity.level(), true);
    loader.override_global("PENDING_SHARE", pending_share, true);
    for name in maps::PINNED {
        loader.map_pin_path(name, pins.map(name));
    }
    if let Some(max_pending) = options.max_pending {
        loader.map_max_entries("PENDING", max_pending);
        loader.map_max_entries("OPEN", max_pending);
        loader.map_max_entries("HOLDERS", max_pending);
    }
    loader
}

fn load_object(loader: &mut EbpfLoader<'_>) -> Result<Ebpf, AttachError> {
    // The verifier's words only matter when it refuses; then it is asked again with them.
    Ok(loader.verifier_log_level(VerifierLogLevel::DEBUG).load(OBJECT)?)
}

fn load_program(ebpf: &mut Ebpf, name: &'static str) -> Result<ProgramFd, AttachError> {
    let refused = |source| AttachError::Program { name, source: Box::new(source) };
    let program = ebpf.program_mut(name).ok_or(AttachError::Missing(name))?;
    match program {
        Program::CgroupSkb(program) => program.load(),
        Program::CgroupSock(program) => program.load(),
        Program::CgroupSockAddr(program) => program.load(),
        Program::SockOps(program) => program.load(),
        Program::CgroupDevice(program) => program.load(),
        Program::LsmCgroup(program) => {
            Btf::from_sys_fs().map_err(Into::into).and_then(|btf| program.load("socket_create", &btf))
        }
        _ => Err(ProgramError::UnexpectedProgramType),
    }
    .map_err(refused)?;
    program.fd().and_then(|fd| fd.try_clone().map_err(ProgramError::IOError)).map_err(refused)
}

/// Where one of these is refused, it is the wish that cannot be kept.
fn link_layer_lacks(error: AttachError) -> AttachError {
    match error {
        AttachError::Program { name, .. } if LINK_LAYER.iter().any(|(optional, _)| *optional == name) => {
            AttachError::LinkLayer(error.to_string())
        }
        error => error,
    }
}
