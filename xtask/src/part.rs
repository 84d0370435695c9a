//! A process of a demonstration or a benchmark, ended with the value that stands for it.

use std::{
    cell::RefCell,
    fs::{self, File},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};

/// After this a process that was asked to end is killed; the agent drains for up to 30 s.
const ENDS_WITHIN: Duration = Duration::from_secs(35);

/// A running process with its output in a file.
pub(crate) struct Part {
    name: String,
    child: RefCell<Child>,
    output: Option<PathBuf>,
}

impl Part {
    /// Starts it with its output in `<dir>/<name>.log`.
    pub(crate) fn start(name: &str, mut command: Command, dir: &Path) -> Result<Self> {
        let output = dir.join(name.replace([' ', ','], "-")).with_extension("log");
        let log = File::create(&output).with_context(|| format!("cannot write {}", output.display()))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Self::spawn(name, command, Some(output))
    }

    /// Starts it with its output in sight.
    pub(crate) fn start_in_sight(name: &str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        Self::spawn(name, command, None)
    }

    fn spawn(name: &str, mut command: Command, output: Option<PathBuf>) -> Result<Self> {
        // Ctrl-C is for this program, which ends its parts in order.
        command.process_group(0);
        let child = command.spawn().with_context(|| format!("cannot start the {name}"))?;
        Ok(Self { name: name.to_owned(), child: RefCell::new(child), output })
    }

    /// Its name for people.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// Its process id, also of the program that [`in_cgroup`]'s shell becomes.
    pub(crate) fn pid(&self) -> u32 {
        self.child.borrow().id()
    }

    /// What it printed so far.
    pub(crate) fn output(&self) -> String {
        self.output.as_deref().map(text_of).unwrap_or_default()
    }

    /// Whether it still runs.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.ended(), Ok(None))
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&self) -> Result<Option<ExitStatus>> {
        Ok(self.child.borrow_mut().try_wait()?)
    }

    /// Asks it to end and waits until it has.
    pub(crate) fn stop(&mut self) -> Result<ExitStatus> {
        let child = self.child.get_mut();
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM)?;
        }
        let deadline = Instant::now() + ENDS_WITHIN;
        while Instant::now() < deadline {
            if let Some(status) = child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(20));
        }
        child.kill()?;
        Ok(child.wait()?)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("! cannot end the {}: {error}", self.name);
        }
    }
}

/// The same command, started inside a cgroup: a shell joins it and becomes the program.
pub(crate) fn in_cgroup(cgroup: &Path, command: &Command) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", r#"echo $$ > "$0/cgroup.procs" && exec "$@""#]).arg(cgroup);
    shell.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell
}

/// The text of a file, or nothing when there is none yet.
pub(crate) fn text_of(file: &Path) -> String {
    fs::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}
