//! Compiles the bypass suite's vectors, `tests/bypass/vectors/*.c`, into `OUT_DIR/vectors`: where a test runs there may be no
//! compiler, and in a container there are no libraries.
#![expect(clippy::expect_used, reason = "a build that cannot go on fails where it stands")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

const SOURCES: &str = "tests/bypass/vectors";

fn main() {
    println!("cargo::rerun-if-changed={SOURCES}");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo says where")).join("vectors");
    fs::create_dir_all(&out).expect("make a directory");
    for source in fs::read_dir(SOURCES).expect("list the vectors") {
        let source = source.expect("list the vectors").path();
        if source.extension().is_some_and(|extension| extension == "c") {
            compile(&source, &out.join(source.file_stem().expect("a name")));
        }
    }
}

fn compile(source: &Path, program: &Path) {
    let mut cc = Command::new("cc");
    cc.args(["-std=gnu11", "-O1", "-static", "-Wall", "-Wextra", "-Werror", "-o"])
        .arg(program)
        .arg(source)
        .arg("-lpthread");
    let status = cc.status().expect("run cc (package build-essential)");
    assert!(status.success(), "cannot compile {}", source.display());
}
