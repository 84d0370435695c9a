//! What judging one call costs: `judging` of the tests' crate, built for release.

use anyhow::Result;

use crate::{task::Task, workspace::Workspace};

/// Builds and runs it.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    let mut judging = workspace.cargo();
    judging.args(["run", "--release", "--locked", "--package", "weir-tests", "--bin", "judging"]);
    Task::new("building the policies for release, and judging", "its message is above").run_in_sight(judging)
}
