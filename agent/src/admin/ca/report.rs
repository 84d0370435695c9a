//! What `weir ca` prints.

use std::{fmt, path::PathBuf, time::SystemTime};

use jiff::Timestamp;
use rustls::pki_types::CertificateDer;
use serde::Serialize;

use crate::trust::{Authority, Facts, Store, TrustError};

/// The CA of a host and who trusts it.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    dir: PathBuf,
    root: Certificate,
    intermediate: Option<Certificate>,
    store: Option<StoreState>,
    environment: Vec<Variable>,
}

/// What `install` and `uninstall` did.
#[derive(Debug, Serialize)]
pub(super) struct Installed {
    changed: bool,
    #[serde(flatten)]
    store: StoreState,
}

#[derive(Debug, Serialize)]
struct Certificate {
    subject: String,
    sha256: String,
    not_before: String,
    not_after: String,
    /// What the name constraints permit; a name stands for what is below it as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    permits: Option<Vec<String>>,
}

#[derive(Debug, Serialize)]
struct StoreState {
    layout: &'static str,
    anchor: PathBuf,
    bundle: PathBuf,
    trusted: bool,
}

/// A variable that makes a runtime with roots of its own trust the host's.
#[derive(Debug, Serialize)]
struct Variable {
    name: &'static str,
    value: String,
    runtime: &'static str,
}

impl Report {
    pub(super) fn of(authority: &Authority, store: Option<Store>) -> Result<Self, TrustError> {
        Ok(Self {
            dir: authority.dir(),
            root: Certificate::from(authority.facts()),
            intermediate: authority.intermediate_facts()?.as_ref().map(Certificate::from),
            environment: store.as_ref().map(environment).unwrap_or_default(),
            store: store.map(|store| StoreState::of(&store, authority.root())).transpose()?,
        })
    }
}

impl Installed {
    pub(super) fn of(store: &Store, root: &CertificateDer<'_>, changed: bool) -> Result<Self, TrustError> {
        Ok(Self { changed, store: StoreState::of(store, root)? })
    }
}

impl StoreState {
    fn of(store: &Store, root: &CertificateDer<'_>) -> Result<Self, TrustError> {
        Ok(Self {
            layout: store.layout().name(),
            anchor: store.anchor(),
            bundle: store.bundle(),
            trusted: store.is_trusted(root)?,
        })
    }
}

impl From<&Facts> for Certificate {
    fn from(facts: &Facts) -> Self {
        Self {
            subject: facts.subject.clone(),
            sha256: facts.fingerprint.clone(),
            not_before: moment(facts.not_before),
            not_after: moment(facts.not_after),
            permits: facts.permitted.as_ref().map(|hosts| hosts.iter().map(ToString::to_string).collect()),
        }
    }
}

/// Programs that read the system's store need nothing. Bundles replace a runtime's own roots, so they are the merged ones.
fn environment(store: &Store) -> Vec<Variable> {
    let anchor = store.anchor().display().to_string();
    let bundle = store.bundle().display().to_string();
    let java = format!("-Djavax.net.ssl.trustStore={}", store.java_store().display());
    [
        ("NODE_EXTRA_CA_CERTS", anchor, "Node, Bun, Deno: besides their own roots; read once, at start"),
        ("SSL_CERT_FILE", bundle.clone(), "OpenSSL, Go, Python's httpx: in place of their own roots"),
        ("REQUESTS_CA_BUNDLE", bundle.clone(), "Python's requests, which reads certifi"),
        ("AWS_CA_BUNDLE", bundle.clone(), "AWS CLI and botocore, which read roots of their own"),
        ("CURL_CA_BUNDLE", bundle, "curl built with roots of its own"),
        ("JAVA_TOOL_OPTIONS", java, "a Java that is not the distribution's; needs the distribution's Java store"),
    ]
    .map(|(name, value, runtime)| Variable { name, value, runtime })
    .into()
}

/// RFC 3339, whole seconds. A time that has no such form cannot come from a certificate that was read.
fn moment(time: SystemTime) -> String {
    Timestamp::try_from(time).map_or_else(|_| "unknown".to_owned(), |timestamp| timestamp.to_string())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "CA in {}", self.dir.display())?;
        writeln!(f, "\nroot\n{}", self.root)?;
        match &self.intermediate {
            Some(intermediate) => writeln!(f, "intermediate\n{intermediate}")?,
            None => writeln!(f, "intermediate\n  none yet; issued when the agent starts\n")?,
        }
        match &self.store {
            Some(store) if store.trusted => writeln!(f, "host's trust store\n{store}")?,
            Some(store) => writeln!(f, "host's trust store\n{store}  fix      run `weir ca install`\n")?,
            None => writeln!(f, "host's trust store\n  none known; install the `ca-certificates` package\n")?,
        }
        if self.environment.is_empty() {
            return Ok(());
        }
        writeln!(f, "environment for runtimes that bring their own roots")?;
        self.environment.iter().try_for_each(|variable| {
            let Variable { name, value, runtime } = variable;
            writeln!(f, "  # {runtime}\n  {name}={value}")
        })
    }
}

impl fmt::Display for Installed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", if self.changed { "changed" } else { "nothing to do" })?;
        self.store.fmt(f)
    }
}

impl fmt::Display for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { subject, sha256, not_before, not_after, permits } = self;
        writeln!(f, "  subject  {subject}")?;
        writeln!(f, "  sha256   {sha256}")?;
        writeln!(f, "  valid    {not_before} to {not_after}")?;
        match permits.as_deref() {
            None => Ok(()),
            Some([]) => writeln!(f, "  permits  no host"),
            Some(hosts) => writeln!(f, "  permits  {} (and names below)", hosts.join(", ")),
        }
    }
}

impl fmt::Display for StoreState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { layout, anchor, bundle, trusted } = self;
        writeln!(f, "  layout   {layout}")?;
        writeln!(f, "  root     {}", anchor.display())?;
        writeln!(f, "  bundle   {}", bundle.display())?;
        writeln!(f, "  trusted  {}", if *trusted { "yes" } else { "no" })
    }
}
