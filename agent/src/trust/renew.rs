//! A new intermediate while the agent runs: a child process reads the root's key, the agent reads the result.

use std::{ffi::OsString, path::Path, process::Stdio, time::Duration};

use tokio::{process::Command, time::timeout};

use super::{Authority, Host, Intermediate, TrustError};

/// How long the child may take. It signs one certificate; the rest is waiting for a disk.
const LIMIT: Duration = Duration::from_secs(60);

impl Authority {
    /// Has `<weir> ca issue` sign an intermediate for `hosts` and reads it. To be called when the half life of the one in
    /// use is over (`Intermediate::period().half_life()`), and when the hosts change.
    ///
    /// `weir` is the agent's own executable: `/proc/self/exe` names it even after an upgrade has replaced the file.
    ///
    /// # Errors
    /// [`TrustError::Child`] with what the child said, [`TrustError::ChildTimeout`], and as
    /// [`intermediate`](Self::intermediate). The intermediate in use stays valid for the other half of its life.
    pub async fn renew(&self, weir: &Path, hosts: &[Host]) -> Result<Intermediate, TrustError> {
        let mut child = Command::new(weir);
        child
            .args(self.issue_arguments(hosts))
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true);

        let command = || format!("{} ca issue", weir.display());
        let output = timeout(LIMIT, child.output())
            .await
            .map_err(|_| TrustError::ChildTimeout { command: command(), limit: LIMIT })?
            .map_err(|error| TrustError::Child { command: command(), reason: error.to_string() })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            let reason = format!("{}: {}", output.status, said.trim());
            return Err(TrustError::Child { command: command(), reason });
        }
        self.intermediate(hosts)
    }

    /// The command line that `weir ca` understands. It names everything, so that a configuration that is being edited
    /// cannot stop or change a renewal.
    pub(crate) fn issue_arguments(&self, hosts: &[Host]) -> Vec<OsString> {
        let mut arguments = vec!["ca".into(), "issue".into(), "--state-dir".into(), self.state_dir().into()];
        arguments.extend(hosts.iter().map(|host| format!("--host={host}").into()));
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_child_that_fails_or_is_missing_is_named_and_changes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::init(dir.path()).unwrap();
        let hosts = ["mcp.example.com".parse().unwrap()];
        let before = authority.issue_intermediate(&hosts).unwrap();
        for (program, said) in [("/bin/false", "exit status: 1"), ("/nonexistent/weir", "No such file")] {
            let error = authority.renew(Path::new(program), &hosts).await.err().unwrap().to_string();
            assert!(error.contains(program) && error.contains(said), "{error}");
        }
        assert_eq!(authority.intermediate(&hosts).unwrap().certificate(), before.certificate());
    }
}
