//! The suites on this host.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::guest::kernels;

/// Where they are.
pub(crate) struct Suites {
    bypass: PathBuf,
    datapath: PathBuf,
}

impl Suites {
    /// Those that are in the guests too.
    pub(crate) fn built() -> Self {
        let listed: Value = serde_json::from_slice(&fs::read(kernels().join("suites.json")).unwrap()).unwrap();
        let path = |name: &str| PathBuf::from(listed[name].as_str().unwrap());
        Self { bypass: path("bypass"), datapath: path("datapath") }
    }

    /// What the bypass suite prints here.
    pub(crate) fn bypass_here(&self) -> String {
        said(Command::new(&self.bypass).args(["--test-threads", "1", "--nocapture"]))
    }

    /// The names of the datapath suite's tests, sorted.
    pub(crate) fn datapath_tests(&self) -> Vec<String> {
        let listed = said(Command::new(&self.datapath).args(["--list", "--format", "terse"]));
        let mut names: Vec<String> =
            listed.lines().filter_map(|line| line.strip_suffix(": test")).map(str::to_owned).collect();
        names.sort();
        assert!(!names.is_empty());
        names
    }
}

fn said(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("run {command:?}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    text
}
