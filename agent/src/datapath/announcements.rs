//! Network namespaces that the programs saw a process in scope in, and that nobody serves yet.

use std::{fmt, io, time::Duration};

use aya::{
    Ebpf,
    maps::{MapData, MapError, PerCpuArray, RingBuf},
    programs::{Program, ProgramError, RawTracePoint, raw_trace_point::RawTracePointLink},
};
use tokio::io::{Interest, unix::AsyncFd};
use weir_ebpf::ANY_NETNS;

use super::{
    CgroupId, NetnsCookie,
    maps::{MapsError, Shared, take},
};

const EXEC: &str = "weir_exec";

/// A task in scope is in a namespace that may not be served yet. By the time that this is read, the task may have gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Announcement {
    /// The namespace; none where the programs could not tell.
    pub netns: Option<NetnsCookie>,
    /// The task's cgroup.
    pub cgroup: CgroupId,
    /// Its thread id, in the initial pid namespace.
    pub tid: u32,
    /// Its thread group id, in the initial pid namespace.
    pub tgid: u32,
    /// When that was: `CLOCK_BOOTTIME` since boot.
    pub at: Duration,
}

impl From<weir_ebpf::Announcement> for Announcement {
    fn from(announcement: weir_ebpf::Announcement) -> Self {
        let weir_ebpf::Announcement { netns, cgroup, boot_ns, tgid, tid } = announcement;
        Self {
            netns: (netns != ANY_NETNS).then_some(NetnsCookie(netns)),
            cgroup: CgroupId(cgroup),
            tid,
            tgid,
            at: Duration::from_nanos(boot_ns),
        }
    }
}

/// The programs' announcements. They end with this value: an agent that is gone has nobody to tell.
pub struct Announcements {
    ring: RingBuf<MapData>,
    lost: Shared<PerCpuArray<MapData, u64>>,
    exec: Result<RawTracePointLink, ProgramError>,
}

/// [`Announcements`] as a runtime waits for them.
pub struct Announced {
    ring: AsyncFd<RingBuf<MapData>>,
    lost: Shared<PerCpuArray<MapData, u64>>,
    _exec: Option<RawTracePointLink>,
}

impl fmt::Debug for Announcements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcements").field("at_exec", &self.exec.is_ok()).finish_non_exhaustive()
    }
}

impl fmt::Debug for Announced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announced").finish_non_exhaustive()
    }
}

impl Announcements {
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, MapsError> {
        let (name, lost) = ("ANNOUNCEMENTS", take(ebpf, "ANNOUNCEMENTS_LOST")?);
        let failed = |source| MapsError { name, source };
        let ring = ebpf.take_map(name).ok_or_else(|| failed(MapError::InvalidName { name: name.to_owned() }))?;
        Ok(Self { ring: RingBuf::try_from(ring).map_err(failed)?, lost, exec: attach_exec(ebpf) })
    }

    /// Begins to wait; inside a runtime only.
    ///
    /// # Errors
    ///
    /// When the runtime cannot wait for the ring buffer.
    pub fn wait(self) -> io::Result<Announced> {
        let Self { ring, lost, exec } = self;
        let exec = exec
            .inspect_err(|error| {
                tracing::warn!(%error, "new namespaces are seen at their first socket, not at exec");
            })
            .ok();
        Ok(Announced { ring: register(ring)?, lost, _exec: exec })
    }
}

impl Announced {
    /// The next one. Nothing is lost when the wait is given up.
    ///
    /// # Errors
    ///
    /// When the ring buffer cannot be waited for.
    pub async fn next(&mut self) -> io::Result<Announcement> {
        loop {
            let mut guard = self.ring.readable_mut().await?;
            let read = guard.get_inner_mut().next().map(|bytes| weir_ebpf::Announcement::from_bytes(&bytes));
            match read {
                Some(Some(announcement)) => return Ok(announcement.into()),
                Some(None) => tracing::warn!("an announcement of the eBPF programs is not as long as it should be"),
                None => guard.clear_ready(),
            }
        }
    }

    /// How many found no room in the ring buffer.
    ///
    /// # Errors
    ///
    /// [`MapsError`].
    pub fn lost(&self) -> Result<u64, MapsError> {
        let per_cpu = self.lost.lock().get(&0, 0).map_err(self.lost.failed())?;
        Ok(per_cpu.iter().sum())
    }
}

#[expect(unsafe_code, reason = "the only way to wait for a descriptor that a foreign type owns")]
fn register(ring: RingBuf<MapData>) -> io::Result<AsyncFd<RingBuf<MapData>>> {
    // SAFETY: the ring buffer owns its map's descriptor, shows the same one always, and closes it when dropped.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }.map_err(io::Error::from)
}

/// Unlike the others this program only saves time: without it, namespaces are announced at their first socket. Not
/// pinned.
fn attach_exec(ebpf: &mut Ebpf) -> Result<RawTracePointLink, ProgramError> {
    let program = load_exec(ebpf)?;
    let link = program.attach("sched_process_exec")?;
    program.take_link(link)
}

/// The program that runs at exec, loaded.
pub(super) fn load_exec(ebpf: &mut Ebpf) -> Result<&mut RawTracePoint, ProgramError> {
    let Some(Program::RawTracePoint(program)) = ebpf.program_mut(EXEC) else {
        return Err(ProgramError::UnexpectedProgramType);
    };
    program.load()?;
    Ok(program)
}
