//! The certificate authority: is there one, and do this host's programs trust it?

use std::path::Path;

use super::Check;
use crate::trust::{Authority, Store};

/// Checks the authority and its place in the host's store.
pub(super) fn authority(state_dir: &Path) -> Vec<Check> {
    const NAME: &str = "ca";
    let authority = match Authority::open(state_dir) {
        Ok(authority) => authority,
        Err(error) => return vec![Check::fail(NAME, error.to_string(), "weir ca init")],
    };
    let present =
        Check::pass(NAME, format!("{}, SHA-256 {}", authority.facts().subject, authority.facts().fingerprint));
    vec![present, trusted(&authority)]
}

fn trusted(authority: &Authority) -> Check {
    const NAME: &str = "ca trusted";
    let store = match Store::detect(Path::new("/")) {
        Ok(store) => store,
        Err(error) => return Check::warn(NAME, error.to_string(), "have the workloads trust the root (weir ca show)"),
    };
    match store.is_trusted(authority.root()) {
        Ok(true) => Check::pass(NAME, store.bundle().display().to_string()),
        // Containers and runtimes with bundled roots may still trust it, so this is not the end.
        Ok(false) => Check::warn(NAME, format!("not in {}", store.bundle().display()), "weir ca install"),
        Err(error) => Check::warn(NAME, error.to_string(), "weir ca install"),
    }
}
