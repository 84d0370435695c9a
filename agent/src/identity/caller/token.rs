//! One token: is it the provider's, for this audience, valid now, and who does it name?

use std::sync::Arc;

use jsonwebtoken::{Algorithm, Validation, decode, decode_header, errors::ErrorKind};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Caller, provider::Provider};
use crate::config::{CallerRule, SignatureAlgorithm};

/// Longest token, in bytes.
const TOKEN_BYTES: usize = 16 << 10;
/// Longest subject (`OpenID` Connect Core 1.0 §2).
const SUBJECT_BYTES: usize = 255;

/// Verifies the tokens of one provider for one audience.
#[derive(Debug)]
pub(crate) struct Verifier {
    provider: Arc<Provider>,
    accepted: Vec<Algorithm>,
    validation: Validation,
    groups_claim: String,
}

/// What a token proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Who it names.
    pub(crate) caller: Caller,
    /// When it expires, in seconds since 1970.
    pub(crate) expires: u64,
    /// The value that ties it to one authentication (`OpenID` Connect Core 1.0 §3.1.2.1).
    pub(crate) nonce: Option<String>,
}

/// Why a token is not believed. The texts hold nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// See the text.
    #[error("the token is longer than {TOKEN_BYTES} bytes")]
    TooLong,
    /// See the text.
    #[error("the token is no signed JWT")]
    Malformed,
    /// `typ` or `crit` (RFC 7515 §4.1.9, §4.1.11).
    #[error("the token is of a kind that is not an access or identity token")]
    Kind,
    /// See the text.
    #[error("the token is signed with an algorithm that is not accepted here")]
    Algorithm,
    /// See the text.
    #[error("the token's key is not one that its issuer publishes")]
    UnknownKey,
    /// See the text.
    #[error("the token's signature does not verify")]
    Signature,
    /// `exp`.
    #[error("the token has expired")]
    Expired,
    /// `nbf`.
    #[error("the token is not valid yet")]
    NotYet,
    /// `iss`.
    #[error("the token is another issuer's")]
    Issuer,
    /// `aud`.
    #[error("the token is for another audience")]
    Audience,
    /// `iss`, `aud`, `exp` or `sub`.
    #[error("the token lacks a claim that it must have (iss, aud, exp, sub)")]
    MissingClaim,
    /// The provider's keys could not be fetched.
    #[error("the token cannot be verified now: its issuer's keys could not be fetched")]
    Unavailable,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    #[serde(flatten)]
    others: Map<String, Value>,
}

impl Verifier {
    /// The verifier of an endpoint's rule.
    pub(crate) fn new(provider: Arc<Provider>, rule: &CallerRule) -> Self {
        let CallerRule { issuer, audience, groups_claim, leeway_s, algorithms, .. } = rule;
        let accepted = algorithms.iter().copied().map(Algorithm::from).collect();
        Self::of(provider, issuer, audience, groups_claim, (*leeway_s, accepted))
    }

    /// The same, by its parts: the leeway in seconds, and the algorithms that are accepted.
    pub(crate) fn of(
        provider: Arc<Provider>,
        issuer: &str,
        audience: &str,
        groups_claim: &str,
        (leeway_s, accepted): (u64, Vec<Algorithm>),
    ) -> Self {
        let mut validation = Validation { leeway: leeway_s, validate_nbf: true, ..Validation::default() };
        validation.set_issuer(&[issuer]);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["iss", "aud", "exp", "sub"]);
        Self { provider, accepted, validation, groups_claim: groups_claim.to_owned() }
    }

    /// Who a token names.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(crate) async fn verify(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > TOKEN_BYTES {
            return Err(TokenError::TooLong);
        }
        let header = decode_header(token).map_err(|error| match error.kind() {
            // `none`, or what is no algorithm.
            ErrorKind::InvalidAlgorithmName | ErrorKind::Json(_) => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
        let is_token = header.typ.as_deref().is_none_or(|typ| {
            let typ = typ.strip_prefix("application/").unwrap_or(typ);
            ["jwt", "at+jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known))
        });
        if !is_token || header.crit.is_some() {
            return Err(TokenError::Kind);
        }
        // All of them are of public keys: the configuration's type has no other.
        if !self.accepted.contains(&header.alg) {
            return Err(TokenError::Algorithm);
        }
        let key = self.provider.key(header.kid.as_deref(), header.alg).await?;
        let validation = Validation { algorithms: vec![header.alg], ..self.validation.clone() };
        let claims: Claims = decode(token, &key, &validation).map_err(|error| refusal(error.kind()))?.claims;
        self.read(claims)
    }

    fn read(&self, Claims { iss, sub, others }: Claims) -> Result<Verified, TokenError> {
        if sub.is_empty() || sub.len() > SUBJECT_BYTES {
            return Err(TokenError::MissingClaim);
        }
        let expires = others.get("exp").and_then(Value::as_f64).ok_or(TokenError::MissingClaim)?;
        let nonce = others.get("nonce").and_then(Value::as_str).map(str::to_owned);
        let groups = groups(&others, &self.groups_claim);
        // Validated above as a number of seconds; what does not fit is far away.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, which is meant")]
        let expires = expires as u64;
        Ok(Verified { caller: Caller { sub, issuer: iss, groups }, expires, nonce })
    }
}

impl From<SignatureAlgorithm> for Algorithm {
    fn from(algorithm: SignatureAlgorithm) -> Self {
        match algorithm {
            SignatureAlgorithm::RS256 => Self::RS256,
            SignatureAlgorithm::RS384 => Self::RS384,
            SignatureAlgorithm::RS512 => Self::RS512,
            SignatureAlgorithm::PS256 => Self::PS256,
            SignatureAlgorithm::PS384 => Self::PS384,
            SignatureAlgorithm::PS512 => Self::PS512,
            SignatureAlgorithm::ES256 => Self::ES256,
            SignatureAlgorithm::ES384 => Self::ES384,
            SignatureAlgorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// The groups that a claim lists: strings in an array, or one string. Anything else is no group.
fn groups(claims: &Map<String, Value>, claim: &str) -> Vec<String> {
    let found = match claim.strip_prefix('/') {
        None => claims.get(claim),
        Some(pointer) => {
            let (first, rest) =
                pointer.split_once('/').map_or((pointer, ""), |(first, _)| (first, &pointer[first.len()..]));
            claims.get(&first.replace("~1", "/").replace("~0", "~")).and_then(|value| value.pointer(rest))
        }
    };
    match found {
        Some(Value::String(group)) => vec![group.clone()],
        Some(Value::Array(groups)) => groups.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn refusal(kind: &ErrorKind) -> TokenError {
    match kind {
        ErrorKind::ExpiredSignature => TokenError::Expired,
        ErrorKind::ImmatureSignature => TokenError::NotYet,
        ErrorKind::InvalidIssuer => TokenError::Issuer,
        ErrorKind::InvalidAudience => TokenError::Audience,
        ErrorKind::MissingRequiredClaim(_) => TokenError::MissingClaim,
        ErrorKind::InvalidSignature => TokenError::Signature,
        ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
        _ => TokenError::Malformed,
    }
}
