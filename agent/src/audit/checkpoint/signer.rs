//! The private half of a signing key: in the state directory, or in KMS.

use std::{
    fs,
    io::{self, Read as _},
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use zeroize::Zeroizing;

use super::{
    super::payload::create_key,
    key::{KeyError, PublicKey},
    kms::KmsSigner,
    statement::{Signature, Signed, Statement},
};
use crate::config::KmsKey;

/// Length of an Ed25519 seed.
const SEED: usize = 32;

/// Where the log's signing key is.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// In the state directory.
    Files(KeyFiles),
    /// In AWS KMS.
    Kms(KmsKey),
}

/// The files of a key in the state directory: 32 bytes each, the Ed25519 seed.
#[derive(Debug, Clone)]
pub struct KeyFiles {
    state_dir: PathBuf,
}

/// Why nothing can be signed.
#[derive(Debug, thiserror::Error)]
pub enum SignerError {
    /// The key file cannot be used.
    #[error("cannot {doing} the signing key {path}: {error}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// Its path.
        path: PathBuf,
        /// The system's word.
        error: io::Error,
    },
    /// The key file has another length.
    #[error("the signing key {0} is not {SEED} bytes long; restore it, or remove it and a new key is made")]
    Length(PathBuf),
    /// Others may read it.
    #[error("the signing key {0} may be read by others than its owner; run `chmod 600 {0}`")]
    Exposed(PathBuf),
    /// A rotation is already under way.
    #[error("{0} is waiting to be taken by the agent; it does so with its next checkpoint, or when it starts")]
    Pending(PathBuf),
    /// The key is not of a kind that can sign checkpoints.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// KMS did not do it.
    #[error("KMS cannot {doing} with {key_id}: {error}")]
    Kms {
        /// What was asked.
        doing: &'static str,
        /// The key.
        key_id: String,
        /// KMS's word, or the network's.
        error: String,
    },
    /// The library refused.
    #[error("the key cannot sign")]
    Refused,
}

impl KeyFiles {
    /// In this directory.
    pub fn new(state_dir: &Path) -> Self {
        Self { state_dir: state_dir.to_owned() }
    }

    /// The key in use.
    fn current(&self) -> PathBuf {
        self.state_dir.join("checkpoint.key")
    }

    /// The key that `weir audit rotate-key` made and the agent has not taken yet.
    fn next(&self) -> PathBuf {
        self.state_dir.join("checkpoint-next.key")
    }

    /// Opens the key in use, or makes one.
    pub(super) fn open_or_create(&self) -> Result<Signer, SignerError> {
        self.open()?.map_or_else(|| create(&self.current()), Ok)
    }

    /// Opens the key in use, if there is one.
    pub(super) fn open(&self) -> Result<Option<Signer>, SignerError> {
        open(&self.current())
    }

    /// Opens the key that is to be taken next, if there is one.
    pub(super) fn open_next(&self) -> Result<Option<Signer>, SignerError> {
        open(&self.next())
    }

    /// Makes the next key, for the agent to take.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn prepare_next(&self) -> Result<PublicKey, SignerError> {
        let path = self.next();
        if path.exists() {
            return Err(SignerError::Pending(path));
        }
        create(&path).map(|signer| signer.public().clone())
    }

    /// Puts the next key in the place of the one in use, once the log says so.
    pub(super) fn take_next(&self) -> Result<(), SignerError> {
        let path = self.next();
        fs::rename(&path, self.current()).map_err(|error| SignerError::Io { doing: "put in use", path, error })
    }

    /// The public key in use, and the one to come.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn public(&self) -> Result<Vec<PublicKey>, SignerError> {
        let signers = [self.open()?, self.open_next()?];
        Ok(signers.iter().flatten().map(|signer| signer.public().clone()).collect())
    }
}

impl KeySource {
    /// What the configuration says.
    pub fn from_config(config: &crate::config::Config) -> Self {
        match &config.audit.checkpoint.kms {
            Some(kms) => Self::Kms(kms.clone()),
            None => Self::Files(KeyFiles::new(&config.state_dir)),
        }
    }

    /// Opens the key; one in the state directory is made when it is missing.
    pub(super) async fn open(&self) -> Result<Signer, SignerError> {
        match self {
            Self::Files(files) => files.open_or_create(),
            Self::Kms(key) => KmsSigner::open(key).await.map(Signer::Kms),
        }
    }

    /// The public keys of auditors: the one in use, and one to come.
    ///
    /// # Errors
    /// [`SignerError`].
    pub async fn public(&self) -> Result<Vec<PublicKey>, SignerError> {
        match self {
            Self::Files(files) => files.public(),
            Self::Kms(key) => Ok(vec![KmsSigner::open(key).await?.public().clone()]),
        }
    }
}

fn open(path: &Path) -> Result<Option<Signer>, SignerError> {
    let failed = |error| SignerError::Io { doing: "read", path: path.to_owned(), error };
    let mut file = match fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    let metadata = file.metadata().map_err(failed)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(SignerError::Exposed(path.to_owned()));
    }
    if metadata.len() != SEED as u64 {
        return Err(SignerError::Length(path.to_owned()));
    }
    let mut seed = Zeroizing::new([0; SEED]);
    file.read_exact(&mut seed[..]).map_err(failed)?;
    Signer::local(&seed[..]).map(Some)
}

fn create(path: &Path) -> Result<Signer, SignerError> {
    let failed = |error| SignerError::Io { doing: "create", path: path.to_owned(), error };
    let seed = Zeroizing::new(create_key(path).map_err(failed)?);
    Signer::local(&seed)
}

/// Something that signs. It has no `Debug`, and aws-lc erases the key it holds.
pub(crate) enum Signer {
    Local { pair: Ed25519KeyPair, public: PublicKey },
    Kms(KmsSigner),
}

impl Signer {
    fn local(seed: &[u8]) -> Result<Self, SignerError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SignerError::Refused)?;
        let public = PublicKey::ed25519(pair.public_key().as_ref())?;
        Ok(Self::Local { pair, public })
    }

    pub(crate) fn public(&self) -> &PublicKey {
        match self {
            Self::Local { public, .. } => public,
            Self::Kms(signer) => signer.public(),
        }
    }

    /// Signs a statement.
    pub(super) async fn sign<S: Statement>(&self, signed: &mut Signed) -> Result<(), SignerError> {
        let message = signed.message::<S>();
        let value = match self {
            Self::Local { pair, .. } => pair.try_sign(&message).map_err(|_| SignerError::Refused)?.as_ref().to_vec(),
            Self::Kms(signer) => signer.sign(message).await?,
        };
        signed.signature = Some(Signature { key_id: self.public().id(), value });
        Ok(())
    }
}

#[cfg(test)]
impl Signer {
    /// A key of its own for each number.
    pub(crate) fn of_test(number: u8) -> Self {
        Self::local(&[number; SEED]).expect("a seed")
    }

    /// Signs without waiting, as a key in memory does.
    pub(crate) fn sign_now<S: Statement>(&self, signed: &mut Signed) {
        let signing = std::pin::pin!(self.sign::<S>(signed));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(matches!(signing.poll(&mut context), std::task::Poll::Ready(Ok(()))));
    }
}
