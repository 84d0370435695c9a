//! Root, or sudo, or a clear message.

use std::process::{Command, Stdio};

use anyhow::{Result, bail};

/// How this process becomes root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Privilege {
    /// It is root.
    Root,
    /// Through sudo.
    Sudo,
}

impl Privilege {
    /// Finds the way to root. sudo asks for its password here, before any progress is drawn.
    ///
    /// # Errors
    /// Neither root nor able to use sudo; `why` says what root is needed for.
    pub(crate) fn acquire(why: &str) -> Result<Self> {
        if rustix::process::geteuid().is_root() {
            return Ok(Self::Root);
        }
        let silent = Command::new("sudo").args(["-n", "-v"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if silent.is_ok_and(|status| status.success()) {
            return Ok(Self::Sudo);
        }
        eprintln!("{why} needs root; sudo may ask for your password");
        match Command::new("sudo").arg("-v").status() {
            Ok(status) if status.success() => Ok(Self::Sudo),
            _ => bail!("{why} needs root, and sudo is missing or refused: run this as root"),
        }
    }

    /// `program` as root.
    pub(crate) fn command(self, program: &str) -> Command {
        match self {
            Self::Root => Command::new(program),
            Self::Sudo => {
                let mut command = Command::new("sudo");
                command.arg(program);
                command
            }
        }
    }
}
