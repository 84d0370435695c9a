//! Whether an application could get at a key that works: in the memory and the environment of its processes, in what it says
//! and hears.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    os::unix::fs::FileExt as _,
};

use memchr::memmem;
use weir_tests::fixture::{Agent, Aws};

use crate::trial::Trial;

/// As much of a process's memory is looked at together.
const CHUNK: usize = 4 << 20;

/// No process of a cgroup has a key that works, in its memory or environment. The agent has: the search finds keys.
pub(crate) fn assert_no_key_in(trial: &Trial, agent: &Agent<'_>, cgroup: &str) {
    let secrets = secrets(trial);
    assert_eq!(in_memory(agent.pid(), &secrets), secrets, "the agent itself has them");
    let pids = processes(trial, cgroup);
    assert!(!pids.is_empty());
    for pid in pids {
        let environment = fs::read(format!("/proc/{pid}/environ")).expect("read an environment");
        let known = in_bytes(&environment, &secrets);
        assert!(known.is_empty(), "in the environment of {pid}: {known:?}");
        let known = in_memory(pid, &secrets);
        assert!(known.is_empty(), "in the memory of {pid}: {known:?}");
    }
}

/// None of a trial's keys is in what was said; `mark` is, so that it is what it is taken for.
pub(crate) fn assert_no_key_said(trial: &Trial, what: &str, said: &[u8], mark: &str) {
    assert!(memmem::find(said, mark.as_bytes()).is_some(), "{what}: nothing of {mark} in {} bytes", said.len());
    let secrets = secrets(trial);
    let known = in_bytes(said, &secrets);
    assert!(known.is_empty(), "{what}: {known:?}");
}

/// The agent's own key, and the session that it was granted.
fn secrets(trial: &Trial) -> Vec<String> {
    let of_sts = trial.aws.granted().into_iter().flat_map(|(secret, token)| [secret, token]);
    let secrets: Vec<_> = of_sts.chain([Aws::SECRET.to_owned()]).collect();
    assert_eq!(secrets.len(), 3, "one session");
    secrets
}

fn in_bytes<'a>(bytes: &[u8], secrets: &'a [String]) -> Vec<&'a str> {
    let is_there = |secret: &&String| memmem::find(bytes, secret.as_bytes()).is_some();
    secrets.iter().filter(is_there).map(String::as_str).collect()
}

fn processes(trial: &Trial, cgroup: &str) -> Vec<u32> {
    let listed = trial.stage.world().make_cgroup(cgroup).join("cgroup.procs");
    let listed = fs::read_to_string(listed).expect("read a cgroup's processes");
    listed.lines().filter_map(|pid| pid.parse().ok()).collect()
}

/// Those of `secrets` that are anywhere in what a process can read of its own.
fn in_memory(pid: u32, secrets: &[String]) -> Vec<&str> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("read a process's maps");
    let memory = File::open(format!("/proc/{pid}/mem")).expect("open a process's memory");
    let number = |text: &str| u64::from_str_radix(text, 16).expect("an address");
    let (mut looked_at, mut found) = (0, BTreeSet::new());
    for line in maps.lines().filter(|line| line.contains(" r")) {
        let (start, rest) = line.split_once('-').expect("a range");
        let (start, end) = (number(start), number(rest.split(' ').next().unwrap_or_default()));
        // Chunks overlap, so that nothing hides between two of them.
        for at in (start..end).step_by(CHUNK) {
            let mut content = vec![0; usize::try_from((end - at).min(CHUNK as u64 + 4096)).expect("a size")];
            // A mapping may go while it is read, or be a device's.
            if memory.read_exact_at(&mut content, at).is_ok() {
                looked_at += content.len();
                found.extend(in_bytes(&content, secrets));
            }
        }
    }
    assert!(looked_at > 1 << 20, "{looked_at} bytes of {pid} could be read");
    secrets.iter().map(String::as_str).filter(|secret| found.contains(secret)).collect()
}
