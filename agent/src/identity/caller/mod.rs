//! Who a person or a service proved to be, by what an identity provider signed.
//!
//! | file | job |
//! |---|---|
//! | `keys` | a provider's published keys, each with the algorithms that it may verify |
//! | `provider` | where they are found, how long they are believed, how often they are asked for |
//! | `token` | one token: is it the provider's, for this audience, valid now, and who does it name? |
//!
//! A [`Gate`] is what one endpoint asks of its callers. Tokens are read and forgotten: none is kept, logged or recorded.

mod keys;
mod provider;
mod token;

use std::{
    collections::{HashMap, hash_map::Entry},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

pub use self::token::TokenError;
pub(crate) use self::{
    provider::{Metadata, Provider, ProviderError, Source},
    token::{Verified, Verifier},
};
pub use super::fetch::FetchError;
use super::login::{Logins, SignIn};
use crate::config::{CallerRule, Config};

/// Who is calling, as a verified token says. Serialises as `event.caller`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The subject, unique within its issuer (RFC 7519 §4.1.2).
    pub sub: String,
    /// The provider that vouches for it (RFC 7519 §4.1.1).
    pub issuer: String,
    /// The groups that it says the caller is in, in its order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
}

/// What the endpoints ask of their callers.
#[derive(Debug, Default)]
pub struct Callers {
    gates: HashMap<String, Gate>,
    providers: HashMap<Source, Arc<Provider>>,
    logins: Logins,
    sign_in: Option<SignIn>,
}

/// What one endpoint asks of its callers.
#[derive(Debug)]
pub(crate) struct Gate {
    verifier: Verifier,
    rule: CallerRule,
}

/// Why a caller is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Barred {
    /// Nobody is known to call.
    Unknown,
    /// The caller is in none of the groups that may.
    Group,
}

impl Callers {
    /// The gates of a configuration; endpoints with the same provider share what is known of it.
    ///
    /// # Errors
    /// When the roots that verify a provider cannot be read.
    pub fn new(config: &Config) -> Result<Self, FetchError> {
        let mut callers = Self::default();
        for endpoint in &config.endpoints {
            let Some(rule) = &endpoint.caller else { continue };
            let verifier = Verifier::new(callers.provider(Source::of(rule))?, rule);
            callers.gates.insert(endpoint.name.clone(), Gate { verifier, rule: rule.clone() });
        }
        if let Some(login) = &config.login {
            let provider = callers.provider(Source::of_login(login))?;
            callers.sign_in = Some(SignIn::new(provider, login));
        }
        Ok(callers)
    }

    fn provider(&mut self, source: Source) -> Result<Arc<Provider>, FetchError> {
        Ok(Arc::clone(match self.providers.entry(source) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(vacant) => {
                let provider = Arc::new(Provider::new(vacant.key().clone())?);
                vacant.insert(provider)
            }
        }))
    }

    /// Who signed in.
    pub(crate) fn logins(&self) -> &Logins {
        &self.logins
    }

    /// How people sign in, if they can.
    pub(crate) fn sign_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }

    /// What an endpoint asks of its callers, if it asks anything.
    pub(crate) fn gate(&self, endpoint: &str) -> Option<&Gate> {
        self.gates.get(endpoint)
    }

    /// Fetches the keys that are due, each provider's on its own. Returns at once.
    pub(crate) fn refresh(&self) {
        for provider in self.providers.values() {
            tokio::spawn(Arc::clone(provider).refresh_if_due());
        }
    }
}

impl Gate {
    /// Who a token names.
    ///
    /// # Errors
    /// Why it is not believed.
    pub(crate) async fn verify(&self, token: &str) -> Result<Caller, TokenError> {
        self.verifier.verify(token).await.map(|verified| verified.caller)
    }

    /// Whether its provider is the one that vouches for a caller; who is another's is nobody here.
    pub(crate) fn knows(&self, caller: &Caller) -> bool {
        caller.issuer == self.rule.issuer
    }

    /// Whether the caller may use the endpoint.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&self, caller: Option<&Caller>) -> Result<(), Barred> {
        let Some(caller) = caller.filter(|caller| self.knows(caller)) else {
            return if self.rule.required { Err(Barred::Unknown) } else { Ok(()) };
        };
        let allowed = &self.rule.allowed_groups;
        let is_allowed = allowed.is_empty() || caller.groups.iter().any(|group| allowed.contains(group));
        if is_allowed { Ok(()) } else { Err(Barred::Group) }
    }

    /// The provider, as clients look for it.
    pub(crate) fn issuer(&self) -> &str {
        &self.rule.issuer
    }

    /// Whether the server gets the token too, and is the one that speaks of it.
    pub(crate) fn passes_token(&self) -> bool {
        self.rule.passthrough
    }
}

#[cfg(test)]
mod tests;
