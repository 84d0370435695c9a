//! Fuzz targets for the parsers that read what peers send, in one program: `WEIR_FUZZ_TARGET` names the one to run.
//! `cargo xtask fuzz` builds it with coverage counters in this repository's crates, and runs it.
#![no_main]

mod targets {
    pub(super) mod detect;
    pub(super) mod dns;
    pub(super) mod endpoint;
    pub(super) mod evidence;
    pub(super) mod hello;
    pub(super) mod http;
    pub(super) mod mask;
    pub(super) mod message;
    pub(super) mod sse;
}

use std::{env, sync::LazyLock};

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

/// All of them. Each has seeds in `seeds/`, and that is where xtask learns of it.
const TARGETS: [(&str, Target); 9] = [
    ("detect", targets::detect::run),
    ("dns", targets::dns::run),
    ("endpoint", targets::endpoint::run),
    ("evidence", targets::evidence::run),
    ("hello", targets::hello::run),
    ("http", targets::http::run),
    ("mask", targets::mask::run),
    ("message", targets::message::run),
    ("sse", targets::sse::run),
];

static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = env::var("WEIR_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|(known, _)| *known == name);
    found.unwrap_or_else(|| panic!("WEIR_FUZZ_TARGET names no target: {name:?}")).1
});

fuzz_target!(|data: &[u8]| TARGET(data));
