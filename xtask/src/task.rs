//! Runs one command of a set-up or a build, and tells a person how it goes.

use std::{
    fs::{self, File},
    io::{self, IsTerminal, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, anyhow};

use crate::workspace::Workspace;

/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(100);
/// Where there is no terminal, a sign of life comes this often.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// How much of a failed command's output is shown, in lines.
const TAIL_LINES: usize = 30;
/// How much of a log's end is read to find those lines, in bytes.
const TAIL_BYTES: u64 = 16 << 10;

/// A command with a name for people and advice for when it fails.
#[derive(Debug)]
pub(crate) struct Task<'a> {
    what: &'a str,
    advice: &'a str,
}

impl<'a> Task<'a> {
    /// `what` completes the sentence "I am …"; `advice` says what to do when it fails.
    pub(crate) fn new(what: &'a str, advice: &'a str) -> Self {
        Self { what, advice }
    }

    /// Runs the command to its end with its output in a log file, of which only the end is shown, and only on failure.
    pub(crate) fn run(&self, workspace: &Workspace, mut command: Command) -> Result<()> {
        let log = self.log_file(workspace)?;
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        let child = command.spawn().with_context(|| self.not_started(&command))?;
        let status = Progress::new(self.what).follow(child, &log)?;
        if status.success() {
            return Ok(());
        }
        let tail = last_lines(&log, TAIL_LINES).unwrap_or_default();
        eprintln!("{}", tail.iter().map(|line| format!("    | {line}\n")).collect::<String>());
        Err(anyhow!("{} failed ({status}); all of its output is in {}\n{}", self.what, log.display(), self.advice))
    }

    /// Runs the command with this program's own input and output: for commands that report well themselves.
    pub(crate) fn run_in_sight(&self, mut command: Command) -> Result<()> {
        eprintln!("• {}", self.what);
        let status = command.status().with_context(|| self.not_started(&command))?;
        if status.success() {
            return Ok(());
        }
        Err(anyhow!("{} failed ({status})\n{}", self.what, self.advice))
    }

    fn log_file(&self, workspace: &Workspace) -> Result<PathBuf> {
        let dir = workspace.logs();
        fs::create_dir_all(&dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let name: String = self.what.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        Ok(dir.join(name).with_extension("log"))
    }

    fn not_started(&self, command: &Command) -> String {
        format!("{}: cannot start {}; {}", self.what, command.get_program().display(), self.advice)
    }
}

/// One line that lives while a command runs.
struct Progress<'a> {
    what: &'a str,
    started: Instant,
    terminal: bool,
}

impl<'a> Progress<'a> {
    fn new(what: &'a str) -> Self {
        Self { what, started: Instant::now(), terminal: io::stderr().is_terminal() }
    }

    fn follow(&self, mut child: Child, log: &Path) -> Result<ExitStatus> {
        if !self.terminal {
            eprintln!("• {}", self.what);
        }
        let mut last_sign = self.started;
        loop {
            if let Some(status) = child.try_wait()? {
                self.finish(status);
                return Ok(status);
            }
            if self.terminal {
                self.draw(log);
            } else if last_sign.elapsed() >= HEARTBEAT {
                last_sign = Instant::now();
                eprintln!("  … {} s: {}", self.started.elapsed().as_secs(), latest(log));
            }
            thread::sleep(POLL);
        }
    }

    fn draw(&self, log: &Path) {
        let frames = ['⠋', '⠙', '⠹', '⠸', '⠼', '⠴', '⠦', '⠧', '⠇', '⠏'];
        let elapsed = self.started.elapsed();
        let frame = frames[elapsed.as_millis() as usize / 100 % frames.len()];
        let mut line = format!("{frame} {} … {} s  {}", self.what, elapsed.as_secs(), latest(log));
        if let Some((end, _)) = line.char_indices().nth(78) {
            line.truncate(end);
        }
        eprint!("\r\x1b[2K{line}");
        let _ = io::stderr().flush();
    }

    fn finish(&self, status: ExitStatus) {
        let mark = if status.success() { '✓' } else { '✗' };
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        eprintln!("{clear}{mark} {} ({:.1} s)", self.what, self.started.elapsed().as_secs_f32());
    }
}

fn latest(log: &Path) -> String {
    last_lines(log, 1).ok().and_then(|mut lines| lines.pop()).unwrap_or_default()
}

/// The last lines of a file that say something.
fn last_lines(file: &Path, count: usize) -> io::Result<Vec<String>> {
    let mut file = File::open(file)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    let text = String::from_utf8_lossy(&end);
    let lines: Vec<&str> = text.split(['\n', '\r']).map(str::trim_end).filter(|line| !line.is_empty()).collect();
    let skipped = lines.len().saturating_sub(count);
    Ok(lines[skipped..].iter().map(|line| (*line).to_owned()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_skips_blank_lines_and_overwritten_progress() {
        let file = std::env::temp_dir().join(format!("weir-xtask-tail-{}", std::process::id()));
        fs::write(&file, "one\ntwo\n\n10 %\r20 %\r\nthree\n").unwrap();
        assert_eq!(last_lines(&file, 3).unwrap(), ["10 %", "20 %", "three"]);
        assert_eq!(last_lines(&file, 99).unwrap().len(), 5);
        fs::remove_file(file).unwrap();
    }

    #[test]
    fn a_failed_command_is_an_error_that_carries_the_advice() {
        let error = Task::new("trying to fail", "nothing to do").run(&Workspace::here(), Command::new("false"));
        assert!(error.unwrap_err().to_string().contains("nothing to do"));
    }
}
