//! Public keys of checkpoints: X.509 `SubjectPublicKeyInfo`, of the two kinds that are in use.

use std::{fmt, io, path::Path};

use aws_lc_rs::{
    digest::{SHA256, digest},
    signature::{ECDSA_P256_SHA256_ASN1, ED25519, UnparsedPublicKey, VerificationAlgorithm},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustls::pki_types::{SubjectPublicKeyInfoDer, pem::PemObject as _};
use serde::{Deserialize, Serialize, de::Error as _};

use super::super::chain::Hash;

/// What stands before the 32 bytes of an Ed25519 key (RFC 8410 §4).
const ED25519_PREFIX: &[u8] = b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00";

/// What stands before the 65 bytes of an uncompressed point on P-256 (RFC 5480 §2).
const P256_PREFIX: &[u8] =
    b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00";

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Algorithm {
    /// Ed25519 (RFC 8032), 64 bytes.
    #[serde(rename = "ed25519")]
    Ed25519,
    /// ECDSA on P-256 with SHA-256, an ASN.1 `ECDSA-Sig-Value`.
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256,
}

/// Names a public key: the SHA-256 of its `SubjectPublicKeyInfo`, in lower-case hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyId(pub Hash);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A public key that checkpoints may be signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct PublicKey {
    algorithm: Algorithm,
    spki: Vec<u8>,
}

/// Why bytes are not such a key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It is of another kind, or no key.
    #[error("not an Ed25519 or P-256 public key")]
    Kind,
    /// The file holds none.
    #[error("{path} holds no public key in PEM; `weir audit key` prints one")]
    None {
        /// The file.
        path: String,
    },
    /// The file holds something else besides.
    #[error("{path}: {what}")]
    Pem {
        /// The file.
        path: String,
        /// What is wrong.
        what: String,
    },
    /// The file cannot be read.
    #[error("cannot read {path}: {error}")]
    Io {
        /// The file.
        path: String,
        /// The system's word.
        error: io::Error,
    },
}

impl PublicKey {
    /// Reads a `SubjectPublicKeyInfo` in DER.
    ///
    /// # Errors
    /// [`KeyError::Kind`].
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let is = |prefix: &[u8], length: usize| spki.starts_with(prefix) && spki.len() == prefix.len() + length;
        let algorithm = match () {
            () if is(ED25519_PREFIX, 32) => Algorithm::Ed25519,
            () if is(P256_PREFIX, 65) => Algorithm::EcdsaP256,
            () => return Err(KeyError::Kind),
        };
        Ok(Self { algorithm, spki: spki.to_vec() })
    }

    /// The key whose 32 bytes these are.
    pub(crate) fn ed25519(bytes: &[u8]) -> Result<Self, KeyError> {
        Self::from_spki(&[ED25519_PREFIX, bytes].concat())
    }

    /// The keys in a PEM file, at least one.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read_pem(path: &Path) -> Result<Vec<Self>, KeyError> {
        let name = || path.display().to_string();
        let pem = std::fs::read(path).map_err(|error| KeyError::Io { path: name(), error })?;
        let mut keys = Vec::new();
        for spki in SubjectPublicKeyInfoDer::pem_slice_iter(&pem) {
            let bad = |what: String| KeyError::Pem { path: name(), what };
            let spki = spki.map_err(|error| bad(error.to_string()))?;
            keys.push(Self::from_spki(&spki).map_err(|error| bad(error.to_string()))?);
        }
        if keys.is_empty() { Err(KeyError::None { path: name() }) } else { Ok(keys) }
    }

    /// The key as PEM (RFC 7468).
    pub fn to_pem(&self) -> String {
        let body = STANDARD.encode(&self.spki);
        let lines = (0..body.len()).step_by(64).map(|start| &body[start..body.len().min(start + 64)]);
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", lines.collect::<Vec<_>>().join("\n"))
    }

    /// Its name.
    pub fn id(&self) -> KeyId {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, &self.spki).as_ref());
        KeyId(Hash(hash))
    }

    /// How it is used.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether `signature` is this key's over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let (algorithm, prefix): (&'static dyn VerificationAlgorithm, _) = match self.algorithm {
            Algorithm::Ed25519 => (&ED25519, ED25519_PREFIX),
            Algorithm::EcdsaP256 => (&ECDSA_P256_SHA256_ASN1, P256_PREFIX),
        };
        UnparsedPublicKey::new(algorithm, &self.spki[prefix.len()..]).verify(message, signature).is_ok()
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {}", self.algorithm, self.id())
    }
}

impl Serialize for PublicKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.spki))
    }
}

impl<'de> Deserialize<'de> for PublicKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spki = STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)?;
        Self::from_spki(&spki).map_err(D::Error::custom)
    }
}
