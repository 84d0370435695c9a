//! CPU time of processes.

use std::fs;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// A process and its children, such as nginx's workers.
pub(super) fn family(pid: u32) -> Result<Vec<u32>> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    Ok([pid].into_iter().chain(children.split_whitespace().filter_map(|child| child.parse().ok())).collect())
}

/// What they have used so far, in seconds, in user and kernel mode.
pub(super) fn seconds(pids: &[u32]) -> Result<f64> {
    let mut ticks = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        ticks += ticks_of(&stat).with_context(|| format!("{path} is not as expected: {stat}"))?;
    }
    Ok(ticks as f64 / clock_ticks_per_second() as f64)
}

/// Fields 14 and 15, `utime` and `stime` (`proc_pid_stat(5)`); the name, field 2, may hold spaces and parentheses.
fn ticks_of(stat: &str) -> Option<u64> {
    let (_, after_name) = stat.rsplit_once(") ")?;
    let mut fields = after_name.split(' ').skip(11);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_after_any_name() {
        let stat = "42 (a) b (c) S 1 42 42 0 -1 4194560 1 0 0 0 700 77 3 4 20 0 1 0 100 0 0";
        assert_eq!(ticks_of(stat), Some(777));
        assert_eq!(ticks_of("42 (cut"), None);
    }

    #[test]
    fn a_process_has_used_some_time() {
        let started = seconds(&[std::process::id()]).unwrap();
        let mut n = 0_u64;
        while seconds(&[std::process::id()]).unwrap() == started {
            n = std::hint::black_box(n + 1);
        }
    }
}
