//! What `/proc` tells of the process that called `connect()`, behind checks that it is still the same process.

use std::{
    io::{self, Read},
    time::Duration,
};

use rustix::{
    fd::OwnedFd,
    fs::{CWD, Mode, OFlags, openat, readlinkat},
    param::clock_ticks_per_second,
};

use crate::datapath::FlowFacts;

/// No file read here is longer; what is cut fails its check.
const MAX_READ: u64 = 16 << 10;

/// What the kernel's hooks do not tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Details {
    pub(super) exe: Option<String>,
    pub(super) started: Duration,
    /// The login that it descends from; none for what the system started.
    pub(super) audit_session: Option<u32>,
}

/// What is read of a process that connected to a socket of the agent's.
#[derive(Debug)]
pub(super) struct Peer {
    pub(super) details: Details,
    pub(super) comm: String,
    /// Its cgroup, as `/proc/<pid>/cgroup` gives it.
    pub(super) cgroup: String,
    /// The user who logged in.
    pub(super) login_uid: Option<u32>,
}

/// Reads the details of `facts.tgid`, if that is still the process that connected: it started before the connection, has
/// the same user, and `in_cgroup` accepts its cgroup's path as `/proc/<pid>/cgroup` gives it.
///
/// All reads go through one directory handle on `/proc/<pid>`, which never becomes another process. A pid that was
/// reused within the same clock tick (10 ms), by the same user in the same cgroup, is not told apart; nor is what the
/// process executed since.
pub(super) fn details(facts: &FlowFacts, in_cgroup: impl Fn(&str) -> bool) -> Option<Details> {
    let proc = Proc::open(facts.tgid).ok()?;
    let started = start_time(&proc.read("stat").ok()?)?;
    let same = started <= facts.connected_at
        && has_uid(&proc.read("status").ok()?, facts.uid)
        && unified_cgroup(&proc.read("cgroup").ok()?).is_some_and(in_cgroup);
    same.then(|| Details { exe: proc.exe(), started, audit_session: proc.audit_id("sessionid") })
}

/// Reads what `pid` is, if it had started by `now` and has that real user.
pub(super) fn peer(pid: u32, uid: u32, now: Duration) -> Option<Peer> {
    let proc = Proc::open(pid).ok()?;
    let started = start_time(&proc.read("stat").ok()?)?;
    if started > now || !has_uid(&proc.read("status").ok()?, uid) {
        return None;
    }
    let cgroup = unified_cgroup(&proc.read("cgroup").ok()?)?.to_owned();
    let comm = proc.read("comm").ok()?.trim_end().to_owned();
    let login_uid = proc.audit_id("loginuid");
    let details = Details { exe: proc.exe(), started, audit_session: proc.audit_id("sessionid") };
    Some(Peer { details, comm, cgroup, login_uid })
}

/// When the process that has a pid now was started, since boot.
pub(super) fn started(pid: u32) -> Option<Duration> {
    start_time(&Proc::open(pid).ok()?.read("stat").ok()?)
}

/// A handle on `/proc/<pid>`: reads fail with `ESRCH` once the process is gone, whoever has its pid by then.
struct Proc(OwnedFd);

impl Proc {
    fn open(pid: u32) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, format!("/proc/{pid}"), flags, Mode::empty())?))
    }

    fn read(&self, name: &str) -> io::Result<String> {
        let file = std::fs::File::from(openat(&self.0, name, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
        let mut bytes = Vec::new();
        file.take(MAX_READ).read_to_end(&mut bytes)?;
        // Only `comm` and cgroup names can be other than UTF-8; neither decides a check by a replaced character.
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// `loginuid` or `sessionid`, unless it is unset (`AUDIT_UID_UNSET`, `AUDIT_SID_UNSET` in include/uapi/linux/audit.h) or
    /// the kernel has no audit.
    fn audit_id(&self, name: &str) -> Option<u32> {
        self.read(name).ok()?.trim().parse().ok().filter(|id| *id != u32::MAX)
    }

    fn exe(&self) -> Option<String> {
        let target = readlinkat(&self.0, "exe", Vec::new()).ok()?;
        Some(target.to_string_lossy().into_owned())
    }
}

/// Field 22 of `/proc/<pid>/stat` (`proc_pid_stat(5)`), in clock ticks since boot. `comm`, in parentheses, may hold
/// anything, so fields are counted from the last parenthesis.
fn start_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let ticks: u64 = fields.split_ascii_whitespace().nth(19)?.parse().ok()?;
    let nanos = u128::from(ticks) * 1_000_000_000 / u128::from(clock_ticks_per_second());
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

/// Whether the real user is `uid`, which is what `bpf_get_current_uid_gid` gives.
fn has_uid(status: &str, uid: u32) -> bool {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    line.and_then(|ids| ids.split_ascii_whitespace().next()).is_some_and(|real| real.parse() == Ok(uid))
}

/// The cgroup2 line of `/proc/<pid>/cgroup`.
fn unified_cgroup(text: &str) -> Option<&str> {
    text.lines().find_map(|line| line.strip_prefix("0::"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comm_cannot_move_the_start_time() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 300 20 21";
        let ticks = clock_ticks_per_second();
        for comm in ["sh", "a) S 1", "(((", ") 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9 9"] {
            let stat = format!("7 ({comm}) {rest}");
            assert_eq!(start_time(&stat), Some(Duration::from_millis(300 * 1000 / ticks)), "{comm}");
        }
        assert_eq!(start_time("7 (sh) S 1"), None);
        assert_eq!(start_time(""), None);
    }

    #[test]
    fn the_real_user_counts() {
        let status = "Name:\tUid: 5\nUid:\t1000\t1001\t1002\t1003\n";
        assert!(has_uid(status, 1000));
        assert!(!has_uid(status, 1001) && !has_uid(status, 5));
        assert!(!has_uid("", 0));
    }

    #[test]
    fn only_the_unified_hierarchy_counts() {
        assert_eq!(unified_cgroup("4:memory:/a\n0::/system.slice/x.service\n"), Some("/system.slice/x.service"));
        assert_eq!(unified_cgroup("4:memory:/a\n"), None);
    }
}
