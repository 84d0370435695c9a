//! The masks' part of the benchmark: `masking` of the tests' crate, built for release, on this process's core.

use anyhow::Result;

use crate::{task::Task, workspace::Workspace};

/// Builds and runs it.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    let mut masking = workspace.cargo();
    masking.args(["run", "--release", "--locked", "--package", "weir-tests", "--bin", "masking", "--", "bench"]);
    Task::new("building the masks for release, and masking", "its message is above").run_in_sight(masking)
}
