//! Where cargo put the suites.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::workspace::Workspace;

/// What runs in a guest.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Suites {
    /// The agent.
    pub(super) agent: PathBuf,
    /// The bypass suite.
    pub(super) bypass: PathBuf,
    /// The suite of the programs.
    pub(super) datapath: PathBuf,
    /// The bypass suite's vectors, a directory of programs.
    pub(super) vectors: PathBuf,
}

/// Builds the tests, and finds those that run in a guest.
pub(super) fn built(workspace: &Workspace) -> Result<Suites> {
    let mut list = workspace.cargo();
    list.args(["nextest", "list", "--workspace", "--locked", "--list-type", "binaries-only"]);
    let output = list.args(["--message-format", "json"]).output().context("cannot start cargo nextest")?;
    if !output.status.success() {
        bail!("the tests do not build:\n{}", String::from_utf8_lossy(&output.stderr));
    }
    let listed: Value = serde_json::from_slice(&output.stdout).context("cannot read what cargo nextest lists")?;
    let binary = |id: &str| {
        let path = listed["rust-binaries"][id]["binary-path"].as_str();
        path.map(PathBuf::from).with_context(|| format!("cargo nextest lists no {id}"))
    };
    Ok(Suites {
        agent: workspace.agent("debug"),
        bypass: binary("weir-tests::bypass")?,
        datapath: binary("weir-tests::datapath")?,
        vectors: out_dir(&listed["rust-build-meta"], "weir-tests")
            .context("cargo nextest names no vectors")?
            .join("vectors"),
    })
}

/// Where the build script of a package writes.
fn out_dir(meta: &Value, package: &str) -> Option<PathBuf> {
    let target = meta["target-directory"].as_str()?;
    let dirs = meta["build-script-out-dirs"].as_object()?;
    let own = dirs.iter().find(|(id, _)| id.contains(&format!("#{package}@")))?;
    Some(PathBuf::from(target).join(own.1.as_str()?))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_build_scripts_directory_is_the_packages_own() {
        let dirs = json!({ "path+file:///w/agent#weir@0.1.0": "debug/build/weir-1/out", "path+file:///w/tests#weir-tests@0.1.0": "debug/build/weir-tests-2/out" });
        let meta = json!({ "target-directory": "/w/target", "build-script-out-dirs": dirs });
        assert_eq!(out_dir(&meta, "weir-tests"), Some(PathBuf::from("/w/target/debug/build/weir-tests-2/out")));
        assert_eq!(out_dir(&meta, "weir-certs"), None);
    }
}
