//! The detectors beside Presidio's recognisers, on the labelled corpus, for the kinds of values that both know.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::{setup, task::Task, workspace::Workspace};

/// What both know: by the detector's name, and by Presidio's.
const KINDS: [(&str, &str); 5] = [
    ("card_number", "CREDIT_CARD"),
    ("iban", "IBAN_CODE"),
    ("email", "EMAIL_ADDRESS"),
    ("ssn", "US_SSN"),
    ("phone", "PHONE_NUMBER"),
];

/// Builds, installs Presidio where it is not, runs both and prints a table.
pub(super) fn measure(workspace: &Workspace) -> Result<()> {
    let python = setup::for_presidio(workspace)?;
    let mut build = workspace.cargo();
    build.args(["build", "--release", "--locked", "--package", "weir-tests", "--bin", "masking", "--bin", "beside"]);
    Task::new("building the masks for release", "the compiler's message is above").run_in_sight(build)?;
    let program = |name| workspace.agent("release").with_file_name(name);
    let mut beside = Command::new(program("beside"));
    let ours = lines(beside.args(KINDS.map(|(kind, _)| kind)), &[])?;
    let corpus = output(Command::new(program("masking")).arg("corpus"), &[])?;
    eprintln!("• Presidio reads the same texts; it takes minutes");
    let mut analyze = Command::new(python);
    analyze.arg(workspace.peer_sources().join("presidio/analyze.py"));
    let theirs = lines(analyze.args(KINDS.map(|(kind, entity)| format!("{kind}={entity}"))), &corpus)?;

    println!("| kind | recall, Weir | Presidio | precision, Weir | Presidio |\n|---|---|---|---|---|");
    for (kind, entity) in KINDS {
        let of = |lines: &[Value], what: &str| {
            let line = lines.iter().find(|line| line["kind"] == kind);
            line.and_then(|line| line[what].as_f64()).with_context(|| format!("nothing is said of {kind}"))
        };
        let (recall, precision) =
            ((of(&ours, "recall")?, of(&theirs, "recall")?), (of(&ours, "precision")?, of(&theirs, "precision")?));
        println!("| {kind} ({entity}) | {:.3} | {:.3} | {:.3} | {:.3} |", recall.0, recall.1, precision.0, precision.1);
    }
    for (who, lines) in [("Weir", &ours), ("Presidio", &theirs)] {
        let last = lines.last().context("nothing is said of the time")?;
        let (texts, bytes, seconds) = (last["texts"].as_f64(), last["bytes"].as_f64(), last["seconds"].as_f64());
        let (texts, bytes, seconds) = texts.zip(bytes).zip(seconds).map(|((t, b), s)| (t, b, s)).context("no time")?;
        println!("{who}: {texts} texts, {:.1} µs a text, {:.2} MB/s", seconds * 1e6 / texts, bytes / seconds / 1e6);
    }
    Ok(())
}

/// What a program prints when it is given `input`.
fn output(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start {name}"))?;
    let mut stdin = child.stdin.take().context("no pipe")?;
    let input = input.to_vec();
    let writing = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "{name} ended with {}", output.status);
    // A program that reads nothing closes the pipe before all is written.
    let _ = writing.join();
    Ok(output.stdout)
}

fn lines(command: &mut Command, input: &[u8]) -> Result<Vec<Value>> {
    let output = output(command, input)?;
    let text = String::from_utf8_lossy(&output);
    text.lines().map(|line| serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))).collect()
}
