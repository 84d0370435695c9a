//! What is signed: two kinds of statement, each a JSON object. The signature is over a line that names the kind, and the
//! SHA-256 of the object's exact text.
//!
//! In a record, `event.checkpoint` or `event.signing_key` is `{"statement":{…},"signature":{…}}`; the text of `statement`
//! is copied, never written anew, so that a reader in any language finds the bytes that were signed.

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize, de::DeserializeOwned, de::Error as _};
use serde_json::value::{RawValue, to_raw_value};

use super::{
    super::chain::{Hash, LogId},
    key::{KeyId, PublicKey},
};

/// A place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// A record's seq; 0 for none.
    pub seq: u64,
    /// A hash; zeros for none.
    pub hash: Hash,
}

impl Place {
    /// Before everything.
    pub const NONE: Self = Self { seq: 0, hash: Hash::ZERO };
}

/// How often a reader may expect a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Interval {
    /// After so many records.
    pub records: u64,
    /// After so many seconds.
    pub seconds: u64,
}

/// The host that a log is written on, as far as it can tell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// Made of the machine id, and does not reveal it.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What a checkpoint states.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Checkpoint {
    /// The log.
    pub log: LogId,
    /// The epoch that it was signed in.
    pub epoch: u64,
    /// The last record that it covers, with that record's hash. It covers all before it, too.
    pub head: Place,
    /// The checkpoint before it: its record's seq, and the digest of its statement.
    pub previous: Place,
    /// When to expect the next.
    pub interval: Interval,
    /// Milliseconds since 1970, by the host's clock.
    pub time: i64,
    /// Nanoseconds since the host's boot, sleep included.
    pub since_boot_ns: u64,
    /// The kernel's boot id.
    pub boot_id: String,
    /// The host.
    pub host: Host,
    /// The key that signs.
    pub key: PublicKey,
}

/// What a change of key states. It is signed by the key before, where that still can.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct KeyChange {
    /// The log.
    pub log: LogId,
    /// The epoch that it was signed in.
    pub epoch: u64,
    /// The key that signs from here on.
    pub key: PublicKey,
    /// The key that signed until here; absent when there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub replaces: Option<KeyId>,
    /// Milliseconds since 1970, by the host's clock.
    pub time: i64,
}

/// A kind of statement.
pub trait Statement: Serialize + DeserializeOwned {
    /// What stands before the text's digest when it is signed.
    const DOMAIN: &'static [u8];
}

impl Statement for Checkpoint {
    const DOMAIN: &'static [u8] = b"weir-checkpoint-v1\n";
}

impl Statement for KeyChange {
    const DOMAIN: &'static [u8] = b"weir-key-v1\n";
}

/// A signature, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// The key.
    pub key_id: KeyId,
    /// Its bytes; base64 in the record.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub value: Vec<u8>,
}

fn to_base64<S: serde::Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
}

/// A statement's text with its signature, as it stands in a record. The first key of a log has nobody to sign for it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The exact text.
    pub statement: Box<RawValue>,
    /// The signature over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
}

impl Signed {
    /// The text of `statement`, not signed yet.
    ///
    /// # Errors
    /// Only when a value cannot be serialised, which no statement holds.
    pub fn unsigned<S: Statement>(statement: &S) -> serde_json::Result<Self> {
        Ok(Self { statement: to_raw_value(statement)?, signature: None })
    }

    /// The bytes that a signature is over.
    pub fn message<S: Statement>(&self) -> Vec<u8> {
        [S::DOMAIN, &self.digest().0].concat()
    }

    /// SHA-256 of the statement's text, by which the next one names it.
    pub fn digest(&self) -> Hash {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, self.statement.get().as_bytes()).as_ref());
        Hash(hash)
    }

    /// What it states. Says nothing about the signature.
    ///
    /// # Errors
    /// When the text is not such a statement.
    pub fn read<S: Statement>(&self) -> serde_json::Result<S> {
        serde_json::from_str(self.statement.get())
    }
}

/// A signed statement on its way into the log.
#[derive(Debug, Clone)]
pub enum Attestation {
    /// `event.checkpoint`: a [`Checkpoint`].
    Checkpoint(Signed),
    /// `event.signing_key`: a [`KeyChange`].
    KeyChange(Signed),
}
