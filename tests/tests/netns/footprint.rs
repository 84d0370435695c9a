//! What a running agent takes: its own memory, and what the kernel holds for it.

use std::{
    collections::BTreeMap,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;
use weir_tests::fixture::{Agent, Stage};

/// An agent's memory.
pub(crate) struct Footprint {
    resident: u64,
    /// By name, as the kernel has it: cut after 15 bytes.
    maps: BTreeMap<String, BpfMap>,
}

struct BpfMap {
    kind: String,
    max_entries: u64,
    memory: u64,
}

impl Footprint {
    /// Of its resident memory, and of the maps that it has open or pinned.
    pub(crate) fn of(agent: &Agent<'_>, stage: &Stage) -> Self {
        let mut maps = BTreeMap::new();
        let proc = PathBuf::from(format!("/proc/{}", agent.pid()));
        let open = list(&proc.join("fdinfo")).into_iter().filter_map(|descriptor| map_id(&descriptor));
        let open = open.map(|id| vec!["id".to_owned(), id]);
        let pins =
            list(&stage.world().bpffs().join("weir")).into_iter().flat_map(|version| list(&version.join("maps")));
        let pinned = pins.map(|pin| vec!["pinned".to_owned(), pin.display().to_string()]);
        for which in open.chain(pinned) {
            let map = map(&which);
            let name = map["name"].as_str().unwrap_or_default().to_owned();
            let number = |key: &str| map[key].as_u64().unwrap_or_default();
            let kind = map["type"].as_str().unwrap_or_default().to_owned();
            let map = BpfMap { kind, max_entries: number("max_entries"), memory: number("bytes_memlock") };
            maps.insert(name, map);
        }
        Self { resident: resident(&proc), maps }
    }

    /// What the kernel holds for the maps, in bytes.
    pub(crate) fn of_maps(&self) -> u64 {
        self.maps.values().map(|map| map.memory).sum()
    }

    /// How many maps there are.
    pub(crate) fn maps(&self) -> usize {
        self.maps.len()
    }
}

impl fmt::Display for Footprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} KiB resident, {} KiB in {} maps:", self.resident >> 10, self.of_maps() >> 10, self.maps())?;
        for (name, BpfMap { kind, max_entries, memory }) in &self.maps {
            writeln!(f, "| {name:<15} | {kind:<16} | {max_entries:>7} | {memory:>9} |")?;
        }
        Ok(())
    }
}

fn resident(proc: &Path) -> u64 {
    let status = fs::read_to_string(proc.join("status")).expect("look at the agent");
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
    resident.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") << 10
}

/// The map that a descriptor is for, if it is for one.
fn map_id(fdinfo: &Path) -> Option<String> {
    let text = fs::read_to_string(fdinfo).ok()?;
    text.lines().find_map(|line| line.strip_prefix("map_id:")).map(|id| id.trim().to_owned())
}

fn map(which: &[String]) -> Value {
    let output = Command::new("bpftool").args(["--json", "map", "show"]).args(which).output().expect("run bpftool");
    assert!(output.status.success(), "bpftool {which:?}: {}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).expect("JSON from bpftool")
}

fn list(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map(|entries| entries.flatten().map(|entry| entry.path()).collect()).unwrap_or_default()
}
