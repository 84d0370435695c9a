//! The shipper's parts of the benchmark: `shipping` of the tests' crate, built for release, against a Kinesis emulator.

use anyhow::Result;

use super::{Args, What};
use crate::{setup, task::Task, workspace::Workspace};

/// Builds and runs it.
pub(super) fn measure(workspace: &Workspace, args: &Args) -> Result<()> {
    setup::for_shipping(workspace)?;
    let mut shipping = workspace.cargo();
    shipping.args(["run", "--release", "--locked", "--package", "weir-tests", "--bin", "shipping", "--"]);
    match args.part {
        What::Soak => shipping.args(["soak", &args.records.to_string(), &args.kills.to_string()]),
        What::Ship | What::Calls | What::Judging | What::Masks | What::Presidio => shipping.arg("bench"),
    };
    Task::new("building the shipper for release, and shipping", "its message is above").run_in_sight(shipping)
}
