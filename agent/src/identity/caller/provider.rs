//! Where a provider's keys are found, how long they are believed, and how often they are asked for.

use std::{
    path::PathBuf,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use jsonwebtoken::{Algorithm, DecodingKey};
use serde::Deserialize;
use tokio::sync::{Mutex, OwnedMutexGuard};
use url::Url;

use super::{
    super::fetch::{FetchError, Fetcher},
    keys::{KeySet, KeySetError},
    token::TokenError,
};
use crate::config::{CallerRule, Login, is_safe_url};

/// Keys older than this are fetched anew, while they stay in use.
const REFRESH: Duration = Duration::from_secs(600);
/// A provider that cannot be reached is believed this long by what it last said.
const BELIEVED: Duration = Duration::from_secs(24 * 3600);
/// Time between two fetches, whatever tokens ask for.
const COOLDOWN: Duration = Duration::from_secs(10);
/// Largest metadata or JWK Set, in bytes.
const DOCUMENT_BYTES: usize = 512 << 10;

/// Which provider, and how it is reached.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Source {
    pub(crate) issuer: String,
    pub(crate) jwks_url: Option<Url>,
    pub(crate) ca: Option<PathBuf>,
    pub(crate) token_file: Option<PathBuf>,
}

/// One identity provider. Keys are fetched once for all who wait for them.
#[derive(Debug)]
pub(crate) struct Provider {
    source: Source,
    fetcher: Fetcher,
    keys: RwLock<Option<Fetched>>,
    /// When keys were last asked for; held while they are.
    asked: Arc<Mutex<Option<Instant>>>,
}

struct Fetched {
    keys: Arc<KeySet>,
    at: Instant,
}

/// What is read of a provider's metadata (`OpenID` Connect Discovery 1.0 §3, RFC 8414 §2, RFC 8628 §4).
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Metadata {
    pub(crate) issuer: String,
    pub(crate) jwks_uri: Url,
    pub(crate) authorization_endpoint: Option<Url>,
    pub(crate) token_endpoint: Option<Url>,
    pub(crate) device_authorization_endpoint: Option<Url>,
}

/// Why nothing is known of a provider.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProviderError {
    /// It could not be asked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its metadata cannot be read.
    #[error("{url} is no provider's metadata: {reason}")]
    Metadata {
        /// Where.
        url: Url,
        /// What is wrong.
        reason: String,
    },
    /// Its keys cannot be read.
    #[error("the keys of {issuer}: {reason}")]
    Keys {
        /// Whose.
        issuer: String,
        /// What is wrong.
        reason: KeySetError,
    },
}

impl Source {
    /// The provider of an endpoint's rule.
    pub(crate) fn of(rule: &CallerRule) -> Self {
        let CallerRule { issuer, jwks_url, ca, token_file, .. } = rule;
        Self { issuer: issuer.clone(), jwks_url: jwks_url.clone(), ca: ca.clone(), token_file: token_file.clone() }
    }

    /// The provider of `[login]`.
    pub(crate) fn of_login(login: &Login) -> Self {
        Self { issuer: login.issuer.clone(), jwks_url: None, ca: login.ca.clone(), token_file: None }
    }
}

impl Provider {
    /// A provider that nothing is known of yet.
    ///
    /// # Errors
    /// When its roots cannot be read.
    pub(crate) fn new(source: Source) -> Result<Self, FetchError> {
        let fetcher = Fetcher::new(source.ca.as_deref(), source.token_file.as_deref())?;
        Ok(Self { source, fetcher, keys: RwLock::new(None), asked: Arc::default() })
    }

    /// What asks it.
    pub(crate) fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// Its name in tokens.
    pub(crate) fn issuer(&self) -> &str {
        &self.source.issuer
    }

    /// The key that may verify a token.
    ///
    /// # Errors
    /// [`TokenError::UnknownKey`], and [`TokenError::Unavailable`] where no keys are known at all.
    pub(super) async fn key(
        self: &Arc<Self>,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Result<DecodingKey, TokenError> {
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        // Whoever waits here finds what the one before has fetched, and no more is asked for until the cooldown is over:
        // tokens with invented key ids cost the provider nothing.
        let asked = Arc::clone(&self.asked).lock_owned().await;
        if let Some(key) = self.known(id, algorithm) {
            return Ok(key);
        }
        if asked.is_none_or(|at| at.elapsed() >= COOLDOWN) {
            // In a task of its own: a client that hangs up ends neither what others wait for nor the cooldown after it.
            let _ = tokio::spawn(Arc::clone(self).fetch(asked)).await;
        }
        self.known(id, algorithm).ok_or_else(|| match self.current() {
            Some(_) => TokenError::UnknownKey,
            None => TokenError::Unavailable,
        })
    }

    /// Fetches keys that are missing or old, unless that is being done.
    pub(crate) async fn refresh_if_due(self: Arc<Self>) {
        let Ok(asked) = Arc::clone(&self.asked).try_lock_owned() else { return };
        let is_due = self.read().as_ref().is_none_or(|fetched| fetched.at.elapsed() >= REFRESH);
        if is_due && asked.is_none_or(|at| at.elapsed() >= COOLDOWN) {
            self.fetch(asked).await;
        }
    }

    async fn fetch(self: Arc<Self>, mut asked: OwnedMutexGuard<Option<Instant>>) {
        match self.ask().await {
            Ok(keys) => {
                let fetched = Fetched { keys: Arc::new(keys), at: Instant::now() };
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Some(fetched);
            }
            Err(error) => {
                tracing::warn!(%error, issuer = self.source.issuer, "an identity provider's keys are missing")
            }
        }
        *asked = Some(Instant::now());
    }

    async fn ask(&self) -> Result<KeySet, ProviderError> {
        let url = match &self.source.jwks_url {
            Some(url) => url.clone(),
            None => self.metadata().await?.jwks_uri,
        };
        let text = self.fetcher.get(&url, DOCUMENT_BYTES).await?;
        let issuer = || self.source.issuer.clone();
        KeySet::parse(&text).map_err(|reason| ProviderError::Keys { issuer: issuer(), reason })
    }

    /// What the provider says of itself.
    ///
    /// # Errors
    /// As [`ProviderError`] says; never for its keys.
    pub(crate) async fn metadata(&self) -> Result<Metadata, ProviderError> {
        let issuer = &self.source.issuer;
        let (openid, oauth) = well_known(issuer).ok_or_else(|| {
            let exchange = FetchError::Exchange { url: issuer.clone(), reason: "not a URL".into() };
            ProviderError::Fetch(exchange)
        })?;
        let (url, text) = match self.fetcher.get(&openid, DOCUMENT_BYTES).await {
            Err(FetchError::Status { .. }) => (oauth.clone(), self.fetcher.get(&oauth, DOCUMENT_BYTES).await?),
            answer => (openid, answer?),
        };
        let broken = |reason: String| ProviderError::Metadata { url: url.clone(), reason };
        let metadata: Metadata = serde_json::from_slice(&text).map_err(|error| broken(error.to_string()))?;
        // Or another provider's metadata could stand in for this one's (RFC 8414 §6.2).
        if metadata.issuer != *issuer {
            return Err(broken(format!("it is that of {:?}, not of {issuer}", metadata.issuer)));
        }
        let questionable = metadata.urls().find(|url| !is_safe_url(url));
        match questionable {
            Some(unsafe_url) => Err(broken(format!("{unsafe_url} is not an https URL"))),
            None => Ok(metadata),
        }
    }

    fn known(&self, id: Option<&str>, algorithm: Algorithm) -> Option<DecodingKey> {
        self.current()?.find(id, algorithm)
    }

    fn current(&self) -> Option<Arc<KeySet>> {
        self.read().as_ref().filter(|fetched| fetched.at.elapsed() < BELIEVED).map(|fetched| Arc::clone(&fetched.keys))
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Option<Fetched>> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Metadata {
    fn urls(&self) -> impl Iterator<Item = Url> {
        let Self { issuer: _, jwks_uri, authorization_endpoint, token_endpoint, device_authorization_endpoint } =
            self.clone();
        [Some(jwks_uri), authorization_endpoint, token_endpoint, device_authorization_endpoint].into_iter().flatten()
    }
}

impl std::fmt::Debug for Fetched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Fetched").field("at", &self.at).finish_non_exhaustive()
    }
}

/// Where an issuer's metadata may be: appended to its path (`OpenID` Connect Discovery 1.0 §4), or put before it (RFC 8414 §3).
fn well_known(issuer: &str) -> Option<(Url, Url)> {
    let trimmed = issuer.trim_end_matches('/');
    let openid = Url::parse(&format!("{trimmed}/.well-known/openid-configuration")).ok()?;
    let mut oauth = Url::parse(trimmed).ok()?;
    let path = format!("/.well-known/oauth-authorization-server{}", oauth.path().trim_end_matches('/'));
    oauth.set_path(&path);
    Some((openid, oauth))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_looked_for_where_the_specifications_say() {
        for (issuer, openid, oauth) in [
            (
                "https://idp.test",
                "https://idp.test/.well-known/openid-configuration",
                "https://idp.test/.well-known/oauth-authorization-server",
            ),
            (
                "https://idp.test/realms/a/",
                "https://idp.test/realms/a/.well-known/openid-configuration",
                "https://idp.test/.well-known/oauth-authorization-server/realms/a",
            ),
        ] {
            let found = well_known(issuer).map(|(openid, oauth)| (openid.to_string(), oauth.to_string()));
            assert_eq!(found, Some((openid.to_owned(), oauth.to_owned())));
        }
    }
}
