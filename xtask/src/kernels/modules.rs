//! The modules that the suites want of a kernel, and those that these depend on.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// Cables, every protocol that a vector speaks, and what ends connections and tells of them.
pub(super) const WANTED: [&str; 8] =
    ["veth", "sctp", "tun", "tcp_diag", "udp_diag", "raw_diag", "mptcp_diag", "unix_diag"];

/// Copies them, decompressed, to `to`: numbered, in the order in which they load. One that the kernel has built in, or does
/// not have, is left out.
pub(super) fn choose(of_kernel: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("cannot create {}", to.display()))?;
    let mut found = HashMap::new();
    find(of_kernel, &mut found)?;
    let mut order = Vec::new();
    for name in WANTED {
        if found.contains_key(name) {
            visit(name, &found, &mut order)?;
        }
    }
    for (n, (name, module)) in order.iter().enumerate() {
        let file = to.join(format!("{n:02}-{name}.ko"));
        fs::write(&file, module).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn find(dir: &Path, found: &mut HashMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, found)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str()?.split_once(".ko")) {
            found.insert(name.0.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

/// Whatever it depends on comes before it.
fn visit(name: &str, found: &HashMap<String, PathBuf>, order: &mut Vec<(String, Vec<u8>)>) -> Result<()> {
    if order.iter().any(|(there, _)| there == name) {
        return Ok(());
    }
    let path = found.get(name).with_context(|| format!("there is no kernel module {name}"))?;
    let module = read(path)?;
    for dependency in dependencies(&module) {
        visit(&dependency, found, order)?;
    }
    order.push((name.to_owned(), module));
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_some_and(|extension| extension == "ko") {
        return fs::read(path).with_context(|| format!("cannot read {}", path.display()));
    }
    let output = Command::new("busybox").arg("xzcat").arg(path).output().context("cannot start busybox")?;
    if !output.status.success() {
        bail!("cannot decompress {}", path.display());
    }
    Ok(output.stdout)
}

/// What its `.modinfo` section says: `depends=<name>,<name>`, ended by a zero byte.
fn dependencies(module: &[u8]) -> Vec<String> {
    const KEY: &[u8] = b"\0depends=";
    let Some(start) = module.windows(KEY.len()).position(|window| window == KEY) else { return Vec::new() };
    let value = module[start + KEY.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let names = String::from_utf8_lossy(value);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_names_what_it_depends_on() {
        assert_eq!(
            dependencies(b"\0license=GPL\0depends=libcrc32c,udp-tunnel\0retpoline=Y\0"),
            ["libcrc32c", "udp_tunnel"]
        );
        assert!(dependencies(b"\0depends=\0").is_empty() && dependencies(b"").is_empty());
    }
}
