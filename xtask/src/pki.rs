//! The server's certificate, from a CA that exists for one demonstration or benchmark only.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context, Result, bail};

/// What the server is started with.
pub(crate) struct ServerFiles {
    /// PEM.
    pub(crate) certificate: PathBuf,
    /// PEM.
    pub(crate) key: PathBuf,
}

/// The root that verifies the server.
pub(crate) fn root(dir: &Path) -> PathBuf {
    dir.join("server-ca.pem")
}

/// Creates a CA and a certificate for `localhost` in `dir`, for two days.
pub(crate) fn create(dir: &Path) -> Result<ServerFiles> {
    let file = |name: &str| dir.join(name).display().to_string();
    let (ca, ca_key) = (root(dir).display().to_string(), file("server-ca.key"));
    let (certificate, key, request, names) =
        (file("server.pem"), file("server.key"), file("server.csr"), file("server.ext"));
    let new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];

    let make_ca =
        ["req", "-x509", "-days", "2", "-subj", "/CN=Weir throw-away server CA", "-keyout", &ca_key, "-out", &ca];
    openssl(&make_ca, &new_key)?;
    openssl(&["req", "-subj", "/CN=localhost", "-keyout", &key, "-out", &request], &new_key)?;
    fs::write(&names, "subjectAltName=DNS:localhost\n").with_context(|| format!("cannot write {names}"))?;
    let sign = ["x509", "-req", "-days", "2", "-in", &request, "-CA", &ca, "-CAkey", &ca_key, "-extfile", &names];
    openssl(&sign, &["-CAcreateserial", "-out", &certificate])?;
    Ok(ServerFiles { certificate: certificate.into(), key: key.into() })
}

fn openssl(args: &[&str], more: &[&str]) -> Result<()> {
    let output = Command::new("openssl").args(args).args(more).output().context("cannot start openssl")?;
    if !output.status.success() {
        bail!("openssl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
