//! The host's own trust store, as its distribution keeps it.

#[cfg(test)]
mod tests;

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use rustls::pki_types::{CertificateDer, pem::PemObject};

use super::{
    TrustError,
    files::{self, failed},
};

/// How a distribution keeps the roots that its programs trust.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// Debian, Ubuntu and Alpine: `update-ca-certificates`.
    Debian,
    /// Red Hat, Fedora and Amazon Linux: `update-ca-trust`.
    RedHat,
}

/// The trust store of the host, or of another tree that has one.
#[derive(Debug, Clone)]
pub struct Store {
    tree: PathBuf,
    layout: Layout,
}

/// Whether anything had to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The store was changed.
    Made,
    /// It already was as asked for.
    None,
}

impl Layout {
    const ALL: [Self; 2] = [Self::RedHat, Self::Debian];

    /// `debian` or `redhat`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Debian => "debian",
            Self::RedHat => "redhat",
        }
    }

    /// Where an administrator's roots go.
    fn anchor(self) -> &'static str {
        match self {
            Self::Debian => "usr/local/share/ca-certificates/weir.crt",
            Self::RedHat => "etc/pki/ca-trust/source/anchors/weir.pem",
        }
    }

    /// What programs read.
    fn bundle(self) -> &'static str {
        match self {
            Self::Debian => "etc/ssl/certs/ca-certificates.crt",
            Self::RedHat => "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
        }
    }

    /// What Java reads, where the distribution keeps it in step.
    fn java_store(self) -> &'static str {
        match self {
            Self::Debian => "etc/ssl/certs/java/cacerts",
            Self::RedHat => "etc/pki/ca-trust/extracted/java/cacerts",
        }
    }

    /// Where the tool links to each root by name, and from its hash to that name.
    fn links(self) -> Option<&'static str> {
        match self {
            Self::Debian => Some("etc/ssl/certs"),
            Self::RedHat => None,
        }
    }

    /// What makes the bundle from the roots.
    fn tool(self) -> (&'static str, &'static [&'static str]) {
        match self {
            Self::Debian => ("update-ca-certificates", &[]),
            Self::RedHat => ("update-ca-trust", &["extract"]),
        }
    }

    fn is_in(self, tree: &Path) -> bool {
        let (tool, _) = self.tool();
        ["usr/sbin", "usr/bin", "sbin", "bin"].iter().any(|dir| tree.join(dir).join(tool).exists())
    }
}

impl Store {
    /// The store of the tree at `tree`, `/` for the host's own. In any other tree its own tool is run, by `chroot`.
    ///
    /// # Errors
    /// [`TrustError::NoStore`] when the tool of no known layout is there.
    pub fn detect(tree: &Path) -> Result<Self, TrustError> {
        let layout = Layout::ALL.into_iter().find(|layout| layout.is_in(tree));
        layout.map(|layout| Self { tree: tree.to_owned(), layout }).ok_or_else(|| TrustError::NoStore(tree.to_owned()))
    }

    /// How the store is laid out.
    pub fn layout(&self) -> Layout {
        self.layout
    }

    /// Where the root's own copy goes: readable by everybody, a file for `NODE_EXTRA_CA_CERTS`.
    pub fn anchor(&self) -> PathBuf {
        self.tree.join(self.layout.anchor())
    }

    /// All trusted roots in one PEM file.
    pub fn bundle(&self) -> PathBuf {
        self.tree.join(self.layout.bundle())
    }

    /// All trusted roots in Java's format, where the distribution's Java is installed.
    pub fn java_store(&self) -> PathBuf {
        self.tree.join(self.layout.java_store())
    }

    /// Whether programs that read the store trust `root` now.
    ///
    /// # Errors
    /// When the bundle is there and cannot be read.
    pub fn is_trusted(&self, root: &CertificateDer<'_>) -> Result<bool, TrustError> {
        let path = self.bundle();
        let Some(bundle) = files::read(&path)? else { return Ok(false) };
        Ok(CertificateDer::pem_slice_iter(bundle.as_bytes()).flatten().any(|trusted| trusted == *root))
    }

    /// Adds `root`, or makes sure that it is there.
    ///
    /// # Errors
    /// When the store cannot be written, when its tool fails, or when the root is not trusted afterwards.
    pub fn install(&self, root: &CertificateDer<'_>) -> Result<Change, TrustError> {
        let pem = weir_certs::certificate_pem(root);
        let anchor = self.anchor();
        if files::read(&anchor)?.as_ref() == Some(&pem) && self.is_trusted(root)? {
            return Ok(Change::None);
        }
        files::create_public_dir(anchor.parent().unwrap_or(&self.tree))?;
        files::write_whole(&anchor, &pem, 0o644)?;
        self.update()?;
        if self.is_trusted(root)? { Ok(Change::Made) } else { Err(self.unchanged("does not hold the root")) }
    }

    /// Removes the root, whichever was installed last.
    ///
    /// # Errors
    /// When the store cannot be written, when its tool fails, or when the root is still trusted afterwards.
    pub fn uninstall(&self, root: &CertificateDer<'_>) -> Result<Change, TrustError> {
        let removed = files::remove(&self.anchor())?;
        if !removed && !self.is_trusted(root)? {
            return Ok(Change::None);
        }
        self.update()?;
        if self.is_trusted(root)? { Err(self.unchanged("still holds the root")) } else { Ok(Change::Made) }
    }

    fn update(&self) -> Result<(), TrustError> {
        self.remove_links()?;
        let (tool, arguments) = self.layout.tool();
        let mut command = if self.tree == Path::new("/") {
            Command::new(tool)
        } else {
            let mut chroot = Command::new("chroot");
            chroot.arg(&self.tree).arg(tool);
            chroot
        };
        command.args(arguments).env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let Output { status, stderr, .. } = command.output().map_err(failed("run", Path::new(tool)))?;
        if status.success() {
            return Ok(());
        }
        let reason = format!("{status}: {}", String::from_utf8_lossy(&stderr).trim());
        Err(TrustError::Child { command: tool.into(), reason })
    }

    /// Debian's tool neither removes the links to a root that is gone nor renews those to one that was replaced. (With
    /// `--fresh` it does, and for a moment no root at all has links.)
    fn remove_links(&self) -> Result<(), TrustError> {
        let Some(dir) = self.layout.links().map(|dir| self.tree.join(dir)) else { return Ok(()) };
        let links: Vec<(PathBuf, PathBuf)> = match fs::read_dir(&dir) {
            Ok(entries) => {
                entries.flatten().filter_map(|entry| Some((entry.path(), fs::read_link(entry.path()).ok()?))).collect()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("read", &dir)(error)),
        };
        let anchor = Path::new("/").join(self.layout.anchor());
        for (name, _) in links.iter().filter(|(_, target)| *target == anchor) {
            for (hash, _) in links.iter().filter(|(_, target)| dir.join(target) == *name) {
                files::remove(hash)?;
            }
            files::remove(name)?;
        }
        Ok(())
    }

    fn unchanged(&self, problem: &'static str) -> TrustError {
        TrustError::StoreUnchanged { tool: self.layout.tool().0, bundle: self.bundle(), problem }
    }
}
