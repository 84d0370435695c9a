//! Puts the eBPF object where `datapath` embeds it from. `cargo xtask build-ebpf` makes the object, with a toolchain that
//! the agent itself does not need.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::exit,
    time::SystemTime,
};

const OVERRIDE: &str = "WEIR_EBPF_OBJECT";

fn main() {
    if let Err(error) = provide_object() {
        println!("cargo::error={error}");
        exit(1);
    }
}

fn provide_object() -> Result<(), String> {
    // Read when this runs, not when it was compiled: a target folder may be shared by several checkouts.
    let agent = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").ok_or("CARGO_MANIFEST_DIR is not set")?);
    let workspace = agent.parent().ok_or("the agent's crate has no parent folder")?;
    println!("cargo::rerun-if-env-changed={OVERRIDE}");

    let object = match env::var_os(OVERRIDE) {
        Some(path) => PathBuf::from(path),
        None => {
            let object = workspace.join("target/ebpf/weir-ebpf.o");
            let sources = workspace.join("agent-ebpf");
            println!("cargo::rerun-if-changed={}", sources.display());
            let newest = newest(&sources).map_err(|error| format!("cannot read {}: {error}", sources.display()))?;
            let built = fs::metadata(&object).and_then(|metadata| metadata.modified());
            if built.map_or(true, |built| built < newest) {
                return Err(format!(
                    "{} is missing or older than agent-ebpf: run cargo xtask build-ebpf",
                    object.display()
                ));
            }
            object
        }
    };
    println!("cargo::rerun-if-changed={}", object.display());

    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("OUT_DIR is not set")?).join("weir-ebpf.o");
    fs::copy(&object, &out).map_err(|error| format!("cannot copy {}: {error}", object.display()))?;
    Ok(())
}

/// When anything below `dir` last changed.
fn newest(dir: &Path) -> io::Result<SystemTime> {
    let mut newest = SystemTime::UNIX_EPOCH;
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        let changed = if metadata.is_dir() { self::newest(&entry.path())? } else { metadata.modified()? };
        newest = newest.max(changed);
    }
    Ok(newest)
}
