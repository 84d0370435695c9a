//! One workload must not take all the places for flows, or for calls: half of them is kept from each, for the others.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use super::lock;
use crate::identity::{Workload, WorkloadKind};

/// How many places each workload has.
#[derive(Debug)]
pub(crate) struct Shares {
    most: usize,
    held: Arc<Mutex<HashMap<String, usize>>>,
}

/// One of a workload's places, given back when dropped.
#[derive(Debug)]
pub(crate) struct Share {
    held: Arc<Mutex<HashMap<String, usize>>>,
    workload: String,
}

impl Shares {
    pub(crate) fn new(places: usize) -> Self {
        Self { most: places.div_ceil(2), held: Arc::default() }
    }

    pub(crate) fn take(&self, workload: &Workload) -> Option<Share> {
        let name = holder(workload);
        let mut held = lock(&self.held);
        let count = held.entry(name.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Share { held: Arc::clone(&self.held), workload: name })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = lock(&self.held);
        if let Some(count) = held.get_mut(&self.workload) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.workload);
            }
        }
    }
}

/// A container or unit is one however many cgroups it makes inside its own. Cgroups that are no workload of a known kind are
/// taken together by the first part of their path, because whoever owns one may make as many as it likes below.
fn holder(workload: &Workload) -> String {
    match (workload.kind, &workload.cgroup) {
        (WorkloadKind::Process, Some(path)) => {
            format!("process/{}", path.trim_start_matches('/').split('/').next().unwrap_or_default())
        }
        _ => workload.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::samples::workload;

    #[test]
    fn half_is_kept_for_the_others() {
        let shares = Shares::new(4);
        let one = workload();
        let other = Workload { id: "systemd/other.service".into(), ..workload() };
        let first = shares.take(&one);
        assert!(first.is_some());
        let _second = shares.take(&one).expect("half of the places");
        assert!(shares.take(&one).is_none());
        assert!(shares.take(&other).is_some());
        drop(first);
        assert!(shares.take(&one).is_some());
    }

    #[test]
    fn cgroups_made_below_ones_own_are_no_further_shares() {
        let at = |path: &str| Workload {
            kind: WorkloadKind::Process,
            id: format!("process{path}"),
            cgroup: Some(path.into()),
            ..workload()
        };
        let shares = Shares::new(2);
        let _first = shares.take(&at("/app/1")).expect("a place");
        assert!(shares.take(&at("/app/2")).is_none());
        assert!(shares.take(&at("/other")).is_some());
    }
}
