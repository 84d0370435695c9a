//! Placeholders: AWS keys that are worth nothing but here, for clients that insist on signing.
//!
//! A placeholder is bound to one workload of one host for a limited time. Nothing is stored: its session token says whose it is and
//! until when, under a key of this host, and the secret is that key's HMAC over the token. Whoever holds it can sign; what they
//! signed is checked here ([`Presented::check`]) and sent with real credentials. AWS knows no such key, and refuses it.
//!
//! | file | job |
//! |---|---|
//! | `token` | what is given out, sealed: session tokens, and the tokens of `IMDSv2` |
//! | `presented` | the signature of a request as it came, and whether it holds |
//! | `harm` | whose answers could be keys that work |
//!
//! `proxy::metadata` gives them out, in the place of the services that SDKs ask; `proxy::placeholder` asks for the check.

mod fault;
mod harm;
mod presented;
mod token;

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use self::token::Purpose;
pub use self::{
    fault::PlaceholderFault,
    presented::{Payload, Presented, Vouched},
};
pub(super) use self::{harm::gives_out_keys, presented::PREFIX};
use crate::{
    config,
    identity::{Workload, WorkloadKind},
};

/// Placeholders for the workloads that opted in.
pub struct Placeholders {
    config: config::Placeholder,
    key: hmac::Key,
}

/// Whether a workload has opted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It gets placeholders.
    OptedIn,
    /// It does not.
    Out,
    /// Its name, which decides, is not known yet: it gets nothing, so that it is not given more than it should get.
    Unknown,
}

/// What a client signs with.
pub struct Placeholder {
    /// `WEIR…`: no key of AWS begins so.
    pub key_id: String,
    /// The secret.
    pub secret: Zeroizing<String>,
    /// The session token.
    pub token: String,
    /// When it ends.
    pub ends: Timestamp,
}

/// Secret access keys of AWS have 40 characters.
const SECRET_LEN: usize = 40;
/// Of the 20 in a key's id, four are [`PREFIX`].
const ID_LEN: usize = 16;
/// RFC 4648 §6.
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

impl Placeholders {
    /// As configured. `key` is this host's, and stays the same over restarts.
    #[must_use]
    pub fn new(config: &config::Placeholder, key: &[u8; 32]) -> Self {
        Self { config: config.clone(), key: hmac::Key::new(hmac::HMAC_SHA256, key) }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &config::Placeholder {
        &self.config
    }

    /// Whether a workload has opted in.
    #[must_use]
    pub fn standing(&self, workload: &Workload) -> Standing {
        let patterns = || self.config.workloads.iter().map(String::as_str);
        let is_named = |text: &str| patterns().any(|pattern| matches(pattern, text));
        // Names of pods and tasks come from others, and late.
        let awaits = |prefix: &str| workload.name == workload.id && patterns().any(|p| may_begin_with(p, prefix));
        match workload.kind {
            WorkloadKind::Unknown => Standing::Unknown,
            _ if is_named(&workload.id) || is_named(&workload.name) => Standing::OptedIn,
            WorkloadKind::Pod if awaits("ns/") => Standing::Unknown,
            WorkloadKind::Container if awaits("ecs/") => Standing::Unknown,
            _ => Standing::Out,
        }
    }

    /// A placeholder for a workload, from now on.
    #[must_use]
    pub fn give(&self, workload: &Workload, now: Timestamp) -> Placeholder {
        let ends = after(now, Duration::from_secs(self.config.duration_s.into()));
        let token = token::seal(&self.key, Purpose::Key, ends, &workload.id);
        Placeholder { key_id: self.id_of(&token), secret: self.secret_of(&token), token, ends }
    }

    /// A token of `IMDSv2`, for as long as was asked.
    #[must_use]
    pub fn admit(&self, workload: &Workload, now: Timestamp, lasts: Duration) -> String {
        token::seal(&self.key, Purpose::Imds, after(now, lasts), &workload.id)
    }

    /// Whether a token of `IMDSv2` is this workload's, and holds.
    #[must_use]
    pub fn admits(&self, workload: &Workload, now: Timestamp, token: &str) -> bool {
        token::open(&self.key, Purpose::Imds, token)
            .is_some_and(|sealed| sealed.ends > now && sealed.workload == workload.id)
    }

    fn id_of(&self, token: &str) -> String {
        let tag = self.derived("id", token);
        let text = tag.as_ref().iter().take(ID_LEN).map(|byte| char::from(BASE32[usize::from(byte % 32)]));
        PREFIX.chars().chain(text).collect()
    }

    fn secret_of(&self, token: &str) -> Zeroizing<String> {
        let mut secret = Zeroizing::new(STANDARD.encode(self.derived("secret", token)));
        secret.truncate(SECRET_LEN);
        secret
    }

    fn derived(&self, what: &str, token: &str) -> hmac::Tag {
        hmac::sign(&self.key, format!("{what}\n{token}").as_bytes())
    }
}

fn after(now: Timestamp, lasts: Duration) -> Timestamp {
    let lasts = SignedDuration::try_from(lasts).unwrap_or(SignedDuration::ZERO);
    now.checked_add(lasts).unwrap_or(now)
}

/// Whether a pattern stands for a text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => text.starts_with(start),
        None => pattern == text,
    }
}

/// Whether a pattern stands for any text that begins with `prefix`.
fn may_begin_with(pattern: &str, prefix: &str) -> bool {
    pattern.starts_with(prefix) || pattern.strip_suffix('*').is_some_and(|start| prefix.starts_with(start))
}

#[cfg(test)]
mod tests;
