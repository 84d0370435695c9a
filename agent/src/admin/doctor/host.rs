//! What the kernel and the host must offer.

use std::{fs, path::Path};

use jiff::{Timestamp, tz::TimeZone};
use rustix::{
    system::uname,
    thread::{CapabilitySet, capabilities},
};

use super::Check;

/// The oldest kernel that the programs are tested on. What a kernel lacks is told by trying it, not by its version.
const TESTED: (u32, u32) = (6, 1);
/// Inodes of the initial namespaces (`proc_ns.h`).
const INITIAL_NAMESPACES: [(&str, &str); 2] = [("pid", "pid:[4026531836]"), ("user", "user:[4026531837]")];

/// What the agent needs, and why. `CAP_SYS_ADMIN` includes `CAP_BPF` (capabilities(7)).
const NEEDED: [(CapabilitySet, &str, &str); 4] = [
    (CapabilitySet::SYS_ADMIN, "CAP_SYS_ADMIN", "load programs and enter network namespaces"),
    (CapabilitySet::NET_ADMIN, "CAP_NET_ADMIN", "attach to connections"),
    (CapabilitySet::DAC_READ_SEARCH, "CAP_DAC_READ_SEARCH", "find cgroups by id"),
    (CapabilitySet::SYS_PTRACE, "CAP_SYS_PTRACE", "see the executables of other users' processes"),
];

/// The capabilities of this process, which are the agent's if it is started the same way.
pub(super) fn privileges() -> Check {
    const NAME: &str = "privileges";
    match capabilities(None) {
        Err(error) => Check::fail(NAME, format!("cannot read this process's capabilities: {error}"), "run as root"),
        Ok(sets) => match missing(sets.effective).as_slice() {
            [] => Check::pass(NAME, "all capabilities that the agent needs"),
            missing => Check::fail(NAME, format!("missing {}", missing.join(", ")), "run as root, or grant these"),
        },
    }
}

fn missing(effective: CapabilitySet) -> Vec<String> {
    let lacks = |(capability, ..): &&(CapabilitySet, &str, &str)| !effective.contains(*capability);
    NEEDED.iter().filter(lacks).map(|(_, name, why)| format!("{name} ({why})")).collect()
}

/// The programs report pids and users as the initial namespaces see them.
pub(super) fn namespaces() -> Check {
    const NAME: &str = "namespaces";
    let is_elsewhere = |(kind, initial): &&(&str, &str)| {
        fs::read_link(format!("/proc/self/ns/{kind}")).is_ok_and(|link| link.as_os_str() != *initial)
    };
    let elsewhere: Vec<&str> = INITIAL_NAMESPACES.iter().filter(is_elsewhere).map(|(kind, _)| *kind).collect();
    if elsewhere.is_empty() {
        return Check::pass(NAME, "the host's pid and user namespaces");
    }
    let detail = format!("not in the host's {} namespace", elsewhere.join(" and "));
    Check::fail(NAME, detail, "run in the host's: hostPID: true in Kubernetes, --pid=host in Docker, no user namespace")
}

pub(super) fn kernel() -> Check {
    const NAME: &str = "kernel";
    let release = uname().release().to_string_lossy().into_owned();
    match version(&release) {
        None => Check::warn(NAME, format!("cannot tell the version of {release}"), "use 6.1 or newer"),
        Some(v) if v < TESTED => {
            Check::warn(NAME, format!("{release} is older than what is tested"), "use 6.1 or newer")
        }
        Some(_) => Check::pass(NAME, release),
    }
}

fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

pub(super) fn unprivileged_bpf() -> Check {
    const NAME: &str = "unprivileged bpf";
    match fs::read_to_string("/proc/sys/kernel/unprivileged_bpf_disabled") {
        Ok(value) if value.trim() == "0" => {
            Check::warn(NAME, "every user may load programs", "sysctl kernel.unprivileged_bpf_disabled=2")
        }
        Ok(_) => Check::pass(NAME, "disabled"),
        Err(error) => Check::warn(NAME, format!("cannot tell: {error}"), "sysctl kernel.unprivileged_bpf_disabled=2"),
    }
}

/// Certificates and records need the right time. That the clock is being kept is told by what the two common time
/// services leave in `/run`; a service elsewhere is not seen, hence a warning only.
pub(super) fn clock() -> Check {
    const NAME: &str = "clock";
    let now = Timestamp::now();
    let year = now.to_zoned(TimeZone::UTC).year();
    if !(2026..2100).contains(&year) {
        return Check::fail(NAME, format!("it is not {now}"), "set the clock and run a time service");
    }
    let signs = [("/run/systemd/timesync/synchronized", "systemd-timesyncd"), ("/run/chrony/chronyd.sock", "chrony")];
    match signs.iter().find(|(file, _)| Path::new(file).exists()) {
        Some((_, service)) => Check::pass(NAME, format!("{now:.0}, kept by {service}")),
        None => Check::warn(NAME, format!("{now:.0}, and no sign of who keeps it"), "run chrony or systemd-timesyncd"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases() {
        assert_eq!(version("6.1.176-cloud-amd64"), Some((6, 1)));
        assert_eq!(version("5.15"), Some((5, 15)));
        assert_eq!(version("linux"), None);
        assert!(version("5.4.0") < Some(TESTED));
    }

    #[test]
    fn what_is_missing_is_named() {
        assert_eq!(missing(CapabilitySet::all()), Vec::<String>::new());
        let some = CapabilitySet::all().difference(CapabilitySet::NET_ADMIN);
        assert_eq!(missing(some), ["CAP_NET_ADMIN (attach to connections)"]);
        assert_eq!(missing(CapabilitySet::empty()).len(), NEEDED.len());
    }
}
