//! A provider's published keys (RFC 7517), each with the algorithms that it may verify.

use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;

/// Most keys that are kept of one provider.
const MOST: usize = 64;

/// The keys of one provider that verify signatures.
pub(super) struct KeySet(Vec<Key>);

struct Key {
    id: Option<String>,
    algorithms: &'static [Algorithm],
    key: DecodingKey,
}

/// A document that is no JWK Set.
#[derive(Debug, thiserror::Error)]
pub(crate) enum KeySetError {
    /// See the text.
    #[error("not a JWK Set: {0}")]
    Json(#[from] serde_json::Error),
    /// See the text.
    #[error("it holds no key that verifies signatures with public keys")]
    Empty,
}

impl KeySet {
    /// Reads a JWK Set. Keys that cannot verify a public-key signature are left out (RFC 7517 §5): symmetric ones above all,
    /// since whoever reads the set could sign with them.
    pub(super) fn parse(text: &[u8]) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct Document {
            keys: Vec<Value>,
        }
        let document: Document = serde_json::from_slice(text)?;
        let keys: Vec<Key> = document.keys.into_iter().filter_map(Key::of).take(MOST).collect();
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self(keys)) }
    }

    /// The key of that id that may verify `algorithm`. A token without an id names the only key that may.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithms.contains(&algorithm) && (id.is_none() || key.id.as_deref() == id));
        match (fitting.next(), fitting.next()) {
            (Some(key), None) => Some(key.key.clone()),
            _ => None,
        }
    }
}

impl Key {
    fn of(value: Value) -> Option<Self> {
        let jwk: Jwk = serde_json::from_value(value).ok()?;
        let common = &jwk.common;
        let signs = common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
        let verifies =
            common.key_operations.as_ref().is_none_or(|operations| operations.contains(&KeyOperations::Verify));
        let stated = match common.key_algorithm {
            None => None,
            Some(name) => Some(Algorithm::try_from(name).ok()?),
        };
        let algorithms = algorithms(&jwk.algorithm, stated)?;
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        (signs && verifies).then(|| Self { id: jwk.common.key_id, algorithms, key })
    }
}

/// What a key may verify: what it says, if its type fits that, else what its type can.
fn algorithms(parameters: &AlgorithmParameters, stated: Option<Algorithm>) -> Option<&'static [Algorithm]> {
    use Algorithm::{ES256, ES384, EdDSA, PS256, PS384, PS512, RS256, RS384, RS512};
    let possible: &'static [Algorithm] = match parameters {
        AlgorithmParameters::RSA(_) => &[RS256, RS384, RS512, PS256, PS384, PS512],
        AlgorithmParameters::EllipticCurve(key) => match key.curve {
            EllipticCurve::P256 => &[ES256],
            EllipticCurve::P384 => &[ES384],
            _ => return None,
        },
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => &[EdDSA],
        _ => return None,
    };
    match stated {
        None => Some(possible),
        Some(stated) => possible.iter().position(|algorithm| *algorithm == stated).map(|at| &possible[at..=at]),
    }
}
