use std::{env, path::Path, process::Command};

use serde_json::Value;

use crate::log::Log;

const BROWSER: &str = "/usr/bin/chromium-headless-shell";

/// What the browser says of a page.
fn open(page: &Path, find: &str) -> Value {
    let node = env::var_os("WEIR_NODE").expect("WEIR_NODE: run the tests with `cargo xtask test`");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/e2e/page.mjs");
    let output = Command::new(node).arg(script).args([Path::new(BROWSER), page]).arg(find).output().expect("run node");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn a_page_of_hostile_payloads_runs_nothing_fetches_nothing_and_fits_a_phone() {
    let log = Log::of_a_session("page");
    let page = log.file("page.html");
    log.audit(&["replay", "--since", "1h", "--html", page.to_str().expect("UTF-8")]);
    let seen = open(&page, "INV-7");
    let count = |of: &str, what: &str| seen[of][what].as_u64().unwrap_or(u64::MAX);

    assert_eq!(seen["title"], "selected records", "{seen}");
    assert_eq!(seen["pwned"], Value::Null, "{seen}");
    assert_eq!(seen["trouble"], serde_json::json!([]), "{seen}");
    assert_eq!(seen["requests"], serde_json::json!(["page.html"]), "{seen}");
    assert_eq!((&seen["scripts"], &seen["foreign"]), (&1.into(), &0.into()), "{seen}");
    assert_eq!((&seen["width"], &seen["outside"]), (&390.into(), &0.into()), "{seen}");
    assert_eq!(seen["summaryIsAbove"], true, "{seen}");

    let all = seen["articles"].as_u64().expect("a number");
    assert_eq!(all, log.audit(&["query", "--since", "1h", "--json"]).lines().count() as u64);
    assert_eq!(seen["first"]["shown"], format!("{all} of {all} records"));
    assert_eq!(count("first", "visible"), all);
    assert_eq!(count("found", "visible"), log.audit(&["query", "--text", "INV-7", "--json"]).lines().count() as u64);
    assert!((1..all).contains(&count("wrong", "visible")), "{seen}");
    assert!((1..all).contains(&count("withoutCalls", "visible")), "{seen}");
    assert!(count("first", "open") < count("expanded", "open"), "{seen}");
    assert_eq!(count("expanded", "open"), seen["details"].as_u64().expect("a number"), "{seen}");
}

#[test]
fn a_session_is_replayed_as_it_happened() {
    let log = Log::of_a_session("replay");
    let told = log.audit(&["replay", &log.session]);
    let places: Vec<_> =
        ["→ #", "initialize", "call confirm", "elicitation/create", "⇢", "call fail", "call delete_invoice"]
            .map(|part| told.find(part).unwrap_or_else(|| panic!("{part} in {told}")))
            .into();
    assert!(places.is_sorted(), "{told}");
    assert!(!told.contains(['\u{1b}', '\u{202e}', '\u{0}']), "{told}");
    let seqs = |arguments: &[&str]| log.audit(arguments).lines().count();
    assert!(seqs(&["replay", &log.session, "--json"]) < seqs(&["query", "--json"]));
}
