use std::{
    fs::{self, Permissions},
    os::unix::fs::{MetadataExt, PermissionsExt},
    slice,
};

use super::*;

fn hosts(names: &[&str]) -> Vec<Host> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

#[test]
fn init_makes_a_root_that_only_its_owner_can_use() {
    let state = tempfile::tempdir().unwrap();
    let state_dir = state.path().join("made/on/the/way");
    let authority = Authority::init(&state_dir).unwrap();
    let dir = authority.dir();
    assert_eq!((mode(&state_dir), mode(&dir)), (0o700, 0o700));
    assert_eq!((mode(&dir.join("root.pem")), mode(&dir.join("root.key"))), (0o644, 0o600));
    assert_eq!(Authority::open(&state_dir).unwrap().root(), authority.root());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 2, "something was left behind");
}

#[test]
fn init_never_replaces_a_root() {
    let state = tempfile::tempdir().unwrap();
    let root = Authority::init(state.path()).unwrap().root().clone();
    assert!(matches!(Authority::init(state.path()), Err(TrustError::CaExists(_))));
    assert_eq!(*Authority::open(state.path()).unwrap().root(), root);
}

#[test]
fn init_finishes_what_a_crash_left_half_done() {
    let state = tempfile::tempdir().unwrap();
    let dir = Authority::init(state.path()).unwrap().dir();
    fs::rename(dir.join("root.pem"), dir.join("root.pem.new")).unwrap();
    assert!(matches!(Authority::open(state.path()), Err(TrustError::NoCa(_))));
    Authority::init(state.path()).unwrap().issue_intermediate(&[]).unwrap();
}

#[test]
fn without_a_root_the_error_says_how_to_make_one() {
    let state = tempfile::tempdir().unwrap();
    let error = Authority::open(state.path()).unwrap_err().to_string();
    assert!(error.contains("run `weir ca init`"), "{error}");
    assert!(matches!(Authority::open(&state.path().join("missing")), Err(TrustError::NoCa(_))));
}

#[test]
fn exposed_keys_and_directories_are_refused_with_the_fix() {
    let state = tempfile::tempdir().unwrap();
    let authority = Authority::init(state.path()).unwrap();
    let key = authority.dir().join("root.key");
    for exposed in [0o640, 0o604, 0o660] {
        chmod(&key, exposed);
        let error = authority.issue_intermediate(&[]).err().unwrap().to_string();
        assert!(error.contains(&format!("run `chmod 0600 {}`", key.display())), "{error}");
    }
    chmod(&key, 0o600);
    authority.issue_intermediate(&[]).unwrap();

    chmod(&authority.dir(), 0o770);
    let error = Authority::open(state.path()).unwrap_err().to_string();
    assert!(error.contains("run `chmod 0700"), "{error}");
}

#[test]
fn an_intermediate_is_kept_with_a_private_key() {
    let state = tempfile::tempdir().unwrap();
    let authority = Authority::init(state.path()).unwrap();
    let hosts = hosts(&["mcp.example.com", "*.tools.example.com", "192.0.2.7"]);
    assert!(matches!(authority.intermediate(&hosts), Err(TrustError::NoIntermediate(_))));
    let issued = authority.issue_intermediate(&hosts).unwrap();
    let read = authority.intermediate(&hosts).unwrap();
    assert_eq!(read.certificate(), issued.certificate());
    assert_eq!(authority.intermediate_facts().unwrap().unwrap(), *issued.facts());
    assert_eq!(mode(&authority.dir().join("intermediate.pem")), 0o644);
    assert_eq!(mode(&authority.dir().join("intermediate.key")), 0o600);
}

#[test]
fn only_issuing_needs_the_roots_key() {
    let state = tempfile::tempdir().unwrap();
    let hosts = hosts(&["mcp.example.com"]);
    Authority::init(state.path()).unwrap().issue_intermediate(&hosts).unwrap();
    fs::remove_file(state.path().join("ca/root.key")).unwrap();
    let authority = Authority::open(state.path()).unwrap();
    authority.intermediate(&hosts).unwrap();
    assert!(matches!(authority.issue_intermediate(&hosts), Err(TrustError::Io { .. })));
}

#[test]
fn an_intermediate_that_cannot_serve_is_refused_with_the_reason() {
    let state = tempfile::tempdir().unwrap();
    let authority = Authority::init(state.path()).unwrap();
    authority.issue_intermediate(&hosts(&["mcp.example.com"])).unwrap();
    let more = hosts(&["mcp.example.com", "new.example.com"]);
    let error = authority.intermediate(&more).err().unwrap().to_string();
    assert!(error.contains("does not permit `new.example.com`"), "{error}");

    let other_state = tempfile::tempdir().unwrap();
    let other = Authority::init(other_state.path()).unwrap();
    other.issue_intermediate(&more).unwrap();
    for file in ["intermediate.pem", "intermediate.key"] {
        fs::copy(other.dir().join(file), authority.dir().join(file)).unwrap();
    }
    let error = authority.intermediate(&more).err().unwrap();
    assert!(matches!(error, TrustError::Unfit { .. }), "{error}");
}

#[test]
fn a_key_of_another_pair_is_noticed() {
    let state = tempfile::tempdir().unwrap();
    let authority = Authority::init(state.path()).unwrap();
    let host = hosts(&["mcp.example.com"]);
    authority.issue_intermediate(&host).unwrap();
    fs::copy(authority.dir().join("root.key"), authority.dir().join("intermediate.key")).unwrap();
    let error = authority.intermediate(slice::from_ref(&host[0])).err().unwrap();
    assert!(error.to_string().contains("does not belong to the certificate"), "{error}");
}
