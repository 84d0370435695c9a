//! What `deploy/` holds is accepted by the tools that read it, and its parts agree with each other.

#![cfg(test)]

use std::{
    collections::BTreeSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// The Kubernetes releases that the manifest is written for: from the oldest that knows `appArmorProfile` to the newest
/// that the validator has schemas of.
const KUBERNETES: [&str; 3] = ["1.30", "1.33", "1.36"];

/// `systemd-analyze security` gives 0 (locked in) to 10 (exposed); this is in tenths.
const MOST_EXPOSED: &str = "--threshold=40";

fn deploy(path: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").join("deploy").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(deploy(path)).expect("a file of deploy/")
}

/// A linter that `cargo xtask setup` installed.
fn linter(name: &str) -> Command {
    let lint = env::var_os("WEIR_LINT").expect("WEIR_LINT: run the tests with `cargo xtask test`");
    Command::new(Path::new(&lint).join(name))
}

#[track_caller]
fn accepted(command: &mut Command) {
    let output = command.output().expect("the linter starts");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
}

/// Words after `key` on its line.
fn words_after(text: &str, key: &str) -> BTreeSet<String> {
    let line = text.lines().find_map(|line| line.trim_start().strip_prefix(key)).expect(key);
    line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| !w.is_empty()).map(str::to_owned).collect()
}

#[test]
fn systemd_accepts_the_unit() {
    // It also asks whether the program exists, which is not installed here; any program answers that.
    let dir = env::temp_dir().join(format!("weir-unit-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory");
    let unit = dir.join("weir.service");
    let program = env::current_exe().expect("this program").display().to_string();
    fs::write(&unit, read("systemd/weir.service").replace("/usr/bin/weir", &program)).expect("a unit");
    accepted(Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit));
    fs::remove_dir_all(dir).expect("cleaned up");
}

#[test]
fn the_unit_is_exposed_no_more_than_an_ebpf_agent_must_be() {
    let mut analyze = Command::new("systemd-analyze");
    accepted(
        analyze.args(["security", "--offline=true", "--no-pager", MOST_EXPOSED]).arg(deploy("systemd/weir.service")),
    );
}

#[test]
fn kubernetes_accepts_the_manifest() {
    for release in KUBERNETES {
        let mut validate = linter("kubernetes-validate");
        accepted(validate.args(["--strict", "--kubernetes-version", release]).arg(deploy("kubernetes/weir.yaml")));
    }
}

#[test]
fn terraform_refers_to_what_is_declared_and_grants_no_more_than_is_needed() {
    let python = env::var_os("WEIR_READER").expect("WEIR_READER: run the tests with `cargo xtask test`");
    let check = Path::new(env!("CARGO_MANIFEST_DIR")).join("readers/terraform.py");
    let output = Command::new(python).arg(check).arg(deploy("terraform")).output().expect("run Python");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(found["errors"], serde_json::json!([]));
    assert!(found["files"].as_u64() > Some(10) && found["policies"].as_u64() > Some(8), "{found}");
}

#[test]
fn hadolint_accepts_the_containerfile() {
    accepted(linter("hadolint").arg(deploy("Containerfile")));
}

#[test]
fn the_daemon_set_has_the_capabilities_of_the_unit_and_no_more() {
    let unit = words_after(&read("systemd/weir.service"), "CapabilityBoundingSet=");
    let daemon_set = words_after(&read("kubernetes/weir.yaml"), "add:");
    assert_eq!(unit, daemon_set.iter().map(|name| format!("CAP_{name}")).collect());
    assert_eq!(unit.len(), 6);
}
