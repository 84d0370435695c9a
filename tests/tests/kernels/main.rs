//! The kernels that users have: each is booted in QEMU, by software emulation, with the agent and two of these suites in an
//! initramfs that `cargo xtask test` packs. `weir doctor` must find all that it takes there, the datapath suite must pass, and
//! the bypass suite's verdicts must be this host's, line by line. Needs root, for this host's verdicts.
#![cfg(target_arch = "x86_64")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod guest;
mod suites;
mod verdicts;

use serde_json::Value;

use crate::{
    guest::{Guest, Said},
    suites::Suites,
    verdicts::Verdicts,
};

#[test]
fn linux_6_1() {
    shows_the_same_as_here("6.1");
}

#[test]
fn linux_6_12() {
    shows_the_same_as_here("6.12");
}

fn shows_the_same_as_here(line: &str) {
    let guest = Guest::boot(line);
    let suites = Suites::built();
    let here = Verdicts::parse(&suites.bypass_here());
    let mut report = guest.report();
    if !report.whole {
        // An emulated machine may die of its emulator. What its kernel said of it is shown; no verdict is asked for twice.
        println!("{line}: the machine ended before its suites did, and is booted once more\n{}", report.last_words);
        report = Guest::boot(line).report();
    }
    let kernel = report.said("kernel").text.trim();
    assert!(kernel.starts_with(&format!("{line}.")), "{kernel}");

    doctor_is_content(report.said("doctor"));
    every_test_passed(report.said("datapath"), &suites.datapath_tests());
    let there = report.said("bypass");
    let compared = Verdicts::parse(&there.text).beside(&here);
    println!("{}", compared.table(kernel));
    assert!(there.succeeded, "{}", report.failure("bypass"));
    assert_eq!(compared.differences(), Vec::<String>::new());
    println!("{kernel}: {:?} from power on to power off", report.took);
}

/// Whatever the agent needs of a kernel is there, and its programs are accepted.
fn doctor_is_content(said: &Said) {
    let found: Value = serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text));
    let checks = found["checks"].as_array().unwrap();
    let failed: Vec<_> = checks.iter().filter(|check| check["state"] == "fail").collect();
    assert!(said.succeeded && failed.is_empty(), "{failed:#?}");
    let programs: Vec<_> = checks.iter().filter(|check| check["name"].as_str().unwrap().starts_with("weir_")).collect();
    assert!(programs.len() >= 12, "{programs:#?}");
    for program in programs {
        println!("{}: {}", program["name"], program["detail"]);
        assert_eq!(program["detail"], "accepted by the verifier", "{program:#?}");
    }
}

/// The same tests as are here, each of them ok.
fn every_test_passed(said: &Said, expected: &[String]) {
    let result = |line: &str| line.strip_prefix("test ")?.strip_suffix(" ... ok").map(str::to_owned);
    let mut passed: Vec<String> = said.text.lines().filter_map(result).collect();
    passed.sort();
    assert!(said.succeeded && passed == expected, "{}", said.text);
    println!("{} tests of the datapath passed", passed.len());
}
