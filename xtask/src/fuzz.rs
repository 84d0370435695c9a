//! `cargo xtask fuzz`: the parsers that read what peers send, under libFuzzer.
//!
//! The targets are a package of this workspace, so its dependencies are the ones that are built already; only this repository's
//! crates are built again, with coverage counters (`fuzz/instrument`). The fuzzer's own mutations and comparisons need no sanitizer:
//! what is looked for are panics, broken properties and inputs that take too long, in code without `unsafe`.

use std::{
    collections::VecDeque,
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};

use crate::{ebpf, setup, task::Task, workspace::Workspace};

/// After this long, one input has hung.
const INPUT_TIMEOUT: Duration = Duration::from_secs(20);
/// Of an input that breaks a target, at most so many bytes are printed.
const SHOWN_BYTES: usize = 2048;

/// What to fuzz.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Seconds for each target
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    seconds: u32,
    /// The targets, by name; all of them when there is none
    targets: Vec<String>,
}

impl Args {
    /// All targets, briefly: what continuous integration runs.
    pub(crate) fn briefly() -> Self {
        Self { seconds: 15, targets: Vec::new() }
    }
}

/// Builds the targets and runs each for its time, as many at once as there are processors.
pub(crate) fn run(workspace: &Workspace, args: &Args) -> Result<()> {
    let targets = chosen(workspace, &args.targets)?;
    setup::for_fuzzing(workspace)?;
    ebpf::build(workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--workspace", "--locked", "--features", "weir-fuzz/engine", "--bin", "weir-fuzz"]);
    build.env("RUSTC_WORKSPACE_WRAPPER", workspace.root().join("fuzz/instrument"));
    Task::new("building the fuzz targets", "the compiler's message is above").run_in_sight(build)?;

    let at_once = thread::available_parallelism().map_or(1, usize::from);
    eprintln!("• fuzzing {} targets, {} s each, {at_once} at once", targets.len(), args.seconds);
    let waiting = Mutex::new(VecDeque::from(targets));
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(name) = next else { break };
                    let outcome = fuzz(workspace, &name, args.seconds);
                    done.lock().unwrap_or_else(PoisonError::into_inner).push((name, outcome));
                }
            });
        }
    });
    report(&program(workspace), done.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// The targets with these names, or all: each has a directory of seeds.
fn chosen(workspace: &Workspace, names: &[String]) -> Result<Vec<String>> {
    let dir = workspace.root().join("fuzz/seeds");
    let mut all = Vec::new();
    for entry in fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))? {
        all.push(entry?.file_name().to_string_lossy().into_owned());
    }
    all.sort();
    if let Some(unknown) = names.iter().find(|name| !all.contains(name)) {
        bail!("there is no fuzz target `{unknown}`; there are {}", all.join(", "));
    }
    Ok(if names.is_empty() { all } else { names.to_vec() })
}

/// What the fuzzer says of a target that held.
struct Held {
    /// Inputs tried.
    inputs: u64,
    /// Branches of this repository's code that they reached.
    branches: u64,
}

/// A target that did not hold.
struct Broken {
    /// What the fuzzer said.
    complaint: String,
    /// The input that broke it, where it got that far.
    input: Option<PathBuf>,
}

fn fuzz(workspace: &Workspace, name: &str, seconds: u32) -> Result<Result<Held, Broken>> {
    let dir = workspace.cache().join("fuzz").join(name);
    let (corpus, broken) = (dir.join("corpus"), dir.join("broken"));
    for dir in [&corpus, &broken] {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let mut fuzzer = Command::new(program(workspace));
    fuzzer.env("WEIR_FUZZ_TARGET", name).env("RUST_BACKTRACE", "0").stdin(Stdio::null()).current_dir(&dir);
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={}", INPUT_TIMEOUT.as_secs()));
    fuzzer.arg("-print_final_stats=1").arg(format!("-artifact_prefix={}/", broken.display()));
    fuzzer.arg(&corpus).arg(workspace.root().join("fuzz/seeds").join(name));
    let output = fuzzer.output().with_context(|| format!("cannot start the fuzz target {name}"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        let inputs = number_after(&said, "stat::number_of_executed_units:");
        let branches = said.lines().rev().find_map(|line| number_after(line, " cov: "));
        return match (inputs, branches) {
            (Some(inputs), Some(branches)) => Ok(Ok(Held { inputs, branches })),
            _ => bail!("the fuzz target {name} does not say what it did:\n{said}"),
        };
    }
    let marker = "Test unit written to ";
    let input = said.lines().find_map(|line| Some(PathBuf::from(line.split_once(marker)?.1.trim())));
    let complaint = said.lines().skip_while(|line| !line.contains("panicked at") && !line.contains("ERROR:")).take(12);
    Ok(Err(Broken { complaint: complaint.collect::<Vec<_>>().join("\n    "), input }))
}

fn program(workspace: &Workspace) -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.cache(), |dir| workspace.root().join(dir));
    target.join("debug/weir-fuzz")
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    text.split_once(name)?.1.split_whitespace().next()?.parse().ok()
}

fn report(program: &Path, mut done: Vec<(String, Result<Result<Held, Broken>>)>) -> Result<()> {
    done.sort_by(|(one, _), (two, _)| one.cmp(two));
    println!("| fuzz target | inputs | branches reached |\n|---|---|---|");
    let mut broken = Vec::new();
    for (name, outcome) in done {
        match outcome? {
            Ok(Held { inputs, branches }) => println!("| {name} | {inputs} | {branches} |"),
            Err(found) => {
                println!("| {name} | broken | |");
                broken.push((name, found));
            }
        }
    }
    for (name, Broken { complaint, input }) in &broken {
        eprintln!("✗ {name} does not hold:\n    {complaint}");
        if let Some(input) = input {
            eprintln!("  the input, in {}:\n    {}", input.display(), shown(input));
            eprintln!("  again: WEIR_FUZZ_TARGET={name} {} {}", program.display(), input.display());
        }
    }
    ensure!(broken.is_empty(), "{} fuzz targets do not hold", broken.len());
    Ok(())
}

/// The first bytes of a file, as a Rust byte string.
fn shown(input: &Path) -> String {
    let bytes = fs::read(input).unwrap_or_default();
    let more = if bytes.len() > SHOWN_BYTES {
        format!(" and {} bytes more", bytes.len() - SHOWN_BYTES)
    } else {
        String::new()
    };
    format!("b\"{}\"{more}", bytes[..bytes.len().min(SHOWN_BYTES)].escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds_and_is_known_by_name() {
        let workspace = Workspace::here();
        let all = chosen(&workspace, &[]).unwrap();
        let program = fs::read_to_string(workspace.root().join("fuzz/src/main.rs")).unwrap();
        assert_eq!(all.len(), program.matches("::run),").count());
        for name in &all {
            assert!(program.contains(&format!("(\"{name}\", targets::{name}::run)")), "{name}");
        }
        assert!(chosen(&workspace, &["no-such-target".to_owned()]).is_err());
    }

    #[test]
    fn the_fuzzers_last_words_are_read() {
        let said = "#7 DONE cov: 42 ft: 99 corp: 3/9b\nstat::number_of_executed_units: 1234\n";
        assert_eq!(number_after(said, "stat::number_of_executed_units:"), Some(1234));
        assert_eq!(number_after(said, " cov: "), Some(42));
        assert_eq!(number_after(said, "nothing of the kind"), None);
    }
}
