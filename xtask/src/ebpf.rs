//! Builds the eBPF programs.

use std::{
    fs::{self, File},
    path::Path,
    time::SystemTime,
};

use anyhow::{Context, Result};

use crate::{setup, task::Task, workspace::Workspace};

/// Separates flags in `CARGO_ENCODED_RUSTFLAGS`.
const FLAG_SEPARATOR: &str = "\x1f";

/// Sets up the toolchain, builds `agent-ebpf`'s programs and puts the object where the agent's build looks for it.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let toolchain = setup::for_ebpf(workspace)?;
    let out = workspace.cache().join("ebpf");
    let linker = workspace.tool("bpf-linker");
    let flags = ["-Cdebuginfo=2".into(), "-Clink-arg=--btf".into(), format!("-Clinker={}", linker.display())];

    let mut cargo = toolchain.cargo(workspace);
    cargo.args(["build", "--release", "--locked", "--package", "weir-ebpf", "--bin", "weir-ebpf"]);
    cargo.args(["--target", "bpfel-unknown-none", "-Zbuild-std=core", "--target-dir"]).arg(&out);
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join(FLAG_SEPARATOR));
    let what = format!("building the eBPF programs with {}", toolchain.describe());
    Task::new(&what, "the compiler's or linker's message is above").run(workspace, cargo)?;

    let built = out.join("bpfel-unknown-none/release/weir-ebpf");
    let object = out.join("weir-ebpf.o");
    publish(&built, &object, newest(&workspace.root().join("agent-ebpf"))?)
}

/// Brings `object` up to date with as little change as possible, because each change builds the agent again: the content
/// when that differs, and the time only when the agent's build would take the object for older than its sources.
fn publish(built: &Path, object: &Path, sources: SystemTime) -> Result<()> {
    let new = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    let cannot_write = || format!("cannot write {}", object.display());
    if !fs::read(object).is_ok_and(|present| present == new) {
        return fs::write(object, new).with_context(cannot_write);
    }
    if fs::metadata(object)?.modified()? < sources {
        File::options().append(true).open(object)?.set_modified(SystemTime::now()).with_context(cannot_write)?;
    }
    Ok(())
}

/// When anything below `dir` last changed.
fn newest(dir: &Path) -> Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(dir).with_context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let changed = if metadata.is_dir() { self::newest(&entry.path())? } else { metadata.modified()? };
        newest = newest.max(changed);
    }
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_unchanged_object_is_touched_only_when_its_sources_are_newer() {
        let dir = std::env::temp_dir().join(format!("weir-xtask-object-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let (built, object) = (dir.join("built"), dir.join("object"));
        let modified = || fs::metadata(&object).unwrap().modified().unwrap();
        fs::write(&built, "one").unwrap();
        publish(&built, &object, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read(&object).unwrap(), b"one");

        let past = SystemTime::now() - Duration::from_secs(3600);
        File::options().append(true).open(&object).unwrap().set_modified(past).unwrap();
        publish(&built, &object, past - Duration::from_secs(1)).unwrap();
        assert_eq!(modified(), past);
        publish(&built, &object, past + Duration::from_secs(1)).unwrap();
        assert!(modified() > past);

        fs::write(&built, "two").unwrap();
        publish(&built, &object, SystemTime::UNIX_EPOCH).unwrap();
        assert_eq!(fs::read(&object).unwrap(), b"two");
        fs::remove_dir_all(dir).unwrap();
    }
}
