//! Bearer tokens that are kept somewhere: in a file, which is read again when it changes, or in Secrets Manager.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use aws_sdk_secretsmanager::{Client, error::ProvideErrorMetadata as _};
use zeroize::Zeroizing;

use super::{
    CredentialError,
    aws::Aws,
    cell::{Cell, Lease},
    secret::Secret,
};
use crate::config::{ManagedSecret, SecretFile, SecretSource};

/// Most bytes of a secret; Secrets Manager keeps 64 KiB.
const MOST: u64 = 64 << 10;
/// A secret is asked for again this long before its time is over.
const AHEAD: Duration = Duration::from_secs(60);

/// See the module.
pub(super) enum Tokens {
    File(FileToken),
    Manager(Manager),
}

/// A secret in a file.
pub(super) struct FileToken {
    path: PathBuf,
    read: Mutex<Option<(Stamp, Arc<Secret>)>>,
}

/// Tells whether a file is still the one that was read: replaced or written to, it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: Option<SystemTime>,
}

/// A secret in Secrets Manager.
pub(super) struct Manager {
    secret: ManagedSecret,
    aws: Arc<Aws>,
    cell: Arc<Cell<Secret>>,
}

impl Tokens {
    pub(super) fn new(source: &SecretSource, aws: &Arc<Aws>) -> Self {
        match source {
            SecretSource::File(SecretFile { file }) => {
                Self::File(FileToken { path: file.clone(), read: Mutex::default() })
            }
            SecretSource::Manager(secret) => {
                Self::Manager(Manager { secret: secret.clone(), aws: Arc::clone(aws), cell: Cell::new() })
            }
        }
    }

    /// The token as it is now.
    ///
    /// # Errors
    /// [`CredentialError::Secret`].
    pub(super) async fn token(&self) -> Result<Arc<Secret>, CredentialError> {
        match self {
            Self::File(file) => file.token(),
            Self::Manager(manager) => manager.token().await,
        }
    }

    /// A server did not take it: it is asked for again.
    pub(super) fn forget(&self) {
        match self {
            Self::File(_) => {}
            Self::Manager(manager) => manager.cell.forget(),
        }
    }
}

impl FileToken {
    fn token(&self) -> Result<Arc<Secret>, CredentialError> {
        let failed = |reason: String| CredentialError::Secret { place: self.path.display().to_string(), reason };
        let (file, stamp) = open(&self.path).map_err(|error| failed(error.to_string()))?;
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, secret)) = read.as_ref().filter(|(known, _)| *known == stamp) {
            return Ok(Arc::clone(secret));
        }
        let mut text =
            Zeroizing::new(String::with_capacity(usize::try_from(stamp.length.min(MOST)).unwrap_or_default()));
        file.take(MOST).read_to_string(&mut text).map_err(|error| failed(error.to_string()))?;
        let secret = Arc::new(Secret::new(&text).ok_or_else(|| failed("it is empty".into()))?);
        *read = Some((stamp, Arc::clone(&secret)));
        Ok(secret)
    }
}

fn open(path: &Path) -> io::Result<(File, Stamp)> {
    let file = File::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let stamp = Stamp { device: meta.dev(), inode: meta.ino(), length: meta.len(), modified: meta.modified().ok() };
    Ok((file, stamp))
}

impl Manager {
    async fn token(&self) -> Result<Arc<Secret>, CredentialError> {
        let (aws, secret) = (Arc::clone(&self.aws), self.secret.clone());
        self.cell.get(|| async move { fetch(&aws, secret).await }).await
    }
}

async fn fetch(aws: &Arc<Aws>, secret: ManagedSecret) -> Result<Lease<Secret>, CredentialError> {
    let ManagedSecret { secret_id, key, region, refresh_s, endpoint_url } = secret;
    let failed = |reason: &str| CredentialError::Secret { place: secret_id.clone(), reason: reason.to_owned() };
    let settings = aws.client(region.as_deref(), endpoint_url.as_deref()).await.map_err(failed)?;
    let answer = Client::new(&settings).get_secret_value().secret_id(&secret_id).send().await;
    let answer = answer.map_err(|error| {
        // By its code alone: a service's own words may quote what was sent.
        let code = error.as_service_error().and_then(|error| error.code());
        failed(code.unwrap_or("Secrets Manager cannot be reached"))
    })?;
    let text = Zeroizing::new(answer.secret_string.ok_or_else(|| failed("it is not a text"))?);
    let text = match key {
        None => text,
        Some(key) => member(&text, &key).ok_or_else(|| failed("it is no JSON object with that key"))?,
    };
    let secret = Secret::new(&text).ok_or_else(|| failed("it is empty"))?;
    Ok(Lease::of(secret, Duration::from_secs(refresh_s), AHEAD))
}

/// A string in a JSON object.
fn member(text: &str, key: &str) -> Option<Zeroizing<String>> {
    let members: std::collections::HashMap<String, &serde_json::value::RawValue> = serde_json::from_str(text).ok()?;
    serde_json::from_str::<String>(members.get(key)?.get()).ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[tokio::test]
    async fn a_file_is_read_again_when_it_changes() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("token");
        let tokens = Tokens::File(FileToken { path: path.clone(), read: Mutex::default() });
        assert!(matches!(tokens.token().await, Err(CredentialError::Secret { .. })));
        fs::write(&path, "first\n").expect("write");
        assert_eq!(tokens.token().await.expect("a token").expose(), "first");
        let again = tokens.token().await.expect("a token");
        assert!(Arc::ptr_eq(&again, &tokens.token().await.expect("a token")), "read once");
        // As kubelet and most tools replace a file: another one takes its name.
        fs::write(dir.path().join("new"), "other\n").expect("write");
        fs::rename(dir.path().join("new"), &path).expect("rename");
        assert_eq!(tokens.token().await.expect("a token").expose(), "other");
        fs::write(&path, "  \n").expect("write");
        assert!(matches!(tokens.token().await, Err(CredentialError::Secret { .. })), "never an old one");
    }

    #[test]
    fn a_member_of_an_object_is_a_string() {
        let text = r#"{"user":"weir","token":"t\u00e9","n":1}"#;
        assert_eq!(member(text, "token").as_deref().map(String::as_str), Some("té"));
        for absent in ["n", "password"] {
            assert!(member(text, absent).is_none(), "{absent}");
        }
        assert!(member("plain", "token").is_none());
    }
}
