//! What an endpoint's requests are sent with, in place of what the client sent: signed by AWS Signature Version 4 with the
//! agent's credentials or a role's, with a bearer token, or as they came.
//!
//! Knows nothing of flows or messages. [`Credentials`] holds one [`Credential`] for each endpoint that has its own;
//! [`Credential::obtain`] takes who asks ([`Asking`]) and where the request goes ([`Upstream`], the name that the server has
//! proven), and gives a [`Grant`]: what the record says of it ([`Used`]), and the secret. [`Grant::apply`] writes the headers.
//!
//! | file | job |
//! |---|---|
//! | `sigv4` | what is signed, as which service and region; what of the client's own signature goes |
//! | `sts` | a role's session for each workload, named after it |
//! | `bearer`, `oauth` | tokens from a file, Secrets Manager, an authorisation server |
//! | `cell` | a value fetched once for all who wait, ahead of its end, with patience after a failure |
//! | `aws` | the agent's own credentials and its clients of AWS |
//! | `placeholder` | keys for workloads that must sign, worth nothing but here |
//! | `clock` | what time it is at who checks a signature |
//!
//! Secrets wipe themselves and have no `Debug`; errors, records and logs say what was used, never the secret, nor what a
//! service wrote about it (STS quotes tokens in some of its errors).

mod aws;
mod bearer;
mod cell;
mod clock;
mod error;
mod oauth;
mod placeholder;
mod secret;
mod sigv4;
mod sts;
mod web;

use std::{collections::HashMap, sync::Arc};

use http::{HeaderValue, StatusCode, header::AUTHORIZATION, request::Parts};
use serde::Serialize;
use zeroize::Zeroizing;

use self::{
    aws::Aws,
    bearer::Tokens,
    oauth::TokenEndpoint,
    secret::Secret,
    sigv4::{AwsKey, Claimed, SigV4},
};
pub use self::{
    error::CredentialError,
    placeholder::{Payload, Placeholder, PlaceholderFault, Placeholders, Presented, Standing, Vouched},
};
use crate::{
    config::{self, Config, HostPattern},
    identity::{Caller, Workload},
};

/// Every endpoint's credentials.
#[derive(Default)]
pub struct Credentials {
    endpoints: HashMap<String, Arc<Credential>>,
}

/// What one endpoint's requests are sent with.
pub struct Credential {
    bound: Bound,
    source: Source,
}

/// The servers that may see it.
struct Bound {
    endpoint: String,
    hosts: Vec<HostPattern>,
    ports: Vec<u16>,
}

enum Source {
    SigV4(SigV4),
    Bearer(Tokens),
    OAuth(TokenEndpoint),
    /// A client certificate is the connection's, not a request's: `tls` presents it.
    Mtls,
}

/// A server that has proven its name.
#[derive(Debug, Clone, Copy)]
pub struct Upstream<'a> {
    /// The name that its certificate was verified for; `None` for plain HTTP, which proves nothing.
    pub verified: Option<&'a str>,
    /// Its port.
    pub port: u16,
}

/// Reads one of the workload's own files, as the workload sees it. The text says why it cannot.
pub type WorkloadFile<'a> = dyn Fn(&str) -> Result<String, String> + Send + Sync + 'a;

/// Who asks.
#[derive(Clone, Copy)]
pub struct Asking<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// The person or service that it speaks for, where a token says so.
    pub caller: Option<&'a Caller>,
    /// Its files.
    pub file: &'a WorkloadFile<'a>,
}

/// What a request's head asks of its credentials.
#[derive(Debug)]
pub struct Wanted {
    claimed: Option<Claimed>,
    signable: Result<(), CredentialError>,
}

/// What a request is sent with: `event.credential`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Used {
    /// `sigv4`, `bearer`, `oauth` or `mtls`.
    pub kind: &'static str,
    /// The role that was assumed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role_arn: Option<String>,
    /// The session's name, as `CloudTrail` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_name: Option<String>,
    /// The id of the key that signed, as `CloudTrail` has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_key_id: Option<String>,
    /// `placeholder`, where the client signed with one; it was checked, if the request was let through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub presented: Option<&'static str>,
}

/// What is given for one request, or a few of the same kind.
pub struct Grant {
    used: Arc<Used>,
    holds: Holds,
}

enum Holds {
    Key(AwsKey),
    Token(Zeroizing<String>),
    Nothing,
}

impl Credentials {
    /// The credentials that the configuration asks for. Nothing is fetched yet.
    ///
    /// # Errors
    /// [`CredentialError::Setup`].
    pub fn new(config: &Config) -> Result<Self, CredentialError> {
        let aws = Arc::new(Aws::new());
        let mut endpoints = HashMap::new();
        for endpoint in &config.endpoints {
            let source = match &endpoint.credentials {
                config::Credentials::Passthrough => continue,
                config::Credentials::Mtls(_) => Source::Mtls,
                config::Credentials::Sigv4(sigv4) => Source::SigV4(SigV4::new(sigv4, &endpoint.name, &aws)),
                config::Credentials::Bearer(source) => Source::Bearer(Tokens::new(source, &aws)),
                config::Credentials::Oauth(oauth) => Source::OAuth(TokenEndpoint::new(oauth, &aws)?),
            };
            let bound = Bound {
                endpoint: endpoint.name.clone(),
                hosts: endpoint.hosts.iter().filter_map(|host| host.parse().ok()).collect(),
                ports: endpoint.ports.clone(),
            };
            endpoints.insert(endpoint.name.clone(), Arc::new(Credential { bound, source }));
        }
        Ok(Self { endpoints })
    }

    /// An endpoint's own credentials; `None` where requests go as they came.
    #[must_use]
    pub fn of(&self, endpoint: &str) -> Option<&Arc<Credential>> {
        self.endpoints.get(endpoint)
    }
}

impl Credential {
    /// What it will be, as far as that is known without asking anybody: for the record of a request that fails to get it.
    #[must_use]
    pub fn intended(&self, asking: &Asking<'_>) -> Used {
        match &self.source {
            Source::SigV4(sigv4) => sigv4.intended(asking),
            Source::Bearer(_) => Used::of("bearer"),
            Source::OAuth(_) => Used::of("oauth"),
            Source::Mtls => Used::of("mtls"),
        }
    }

    /// Whether it is a connection's, and so every request's on it.
    #[must_use]
    pub fn is_of_connection(&self) -> bool {
        matches!(self.source, Source::Mtls)
    }

    /// Fetches what is needed to send a request to a server.
    ///
    /// # Errors
    /// Why it cannot be had; the request is then not to be sent.
    pub async fn obtain(
        &self,
        wanted: Wanted,
        upstream: Upstream<'_>,
        asking: &Asking<'_>,
    ) -> Result<Grant, CredentialError> {
        let host = self.bound.check(upstream)?;
        match &self.source {
            Source::SigV4(sigv4) => {
                wanted.signable?;
                let scope = sigv4.scope(wanted.claimed, host)?;
                let (key, used) = sigv4.key(scope, asking).await?;
                Ok(Grant { used: Arc::new(used), holds: Holds::Key(key) })
            }
            Source::Bearer(tokens) => Grant::token("bearer", &*tokens.token().await?),
            Source::OAuth(endpoint) => Grant::token("oauth", &*endpoint.token().await?),
            Source::Mtls => Ok(Grant { used: Arc::new(Used::of("mtls")), holds: Holds::Nothing }),
        }
    }

    /// Takes note of a server's refusal. True when something has changed that makes the same request worth sending once more,
    /// with another grant: the clock was wrong, and is right now.
    #[must_use]
    pub fn heed(&self, refused: &http::response::Parts, body: &[u8]) -> bool {
        let is_unauthorized = refused.status == StatusCode::UNAUTHORIZED;
        match &self.source {
            Source::SigV4(sigv4) => return sigv4.heed(refused, body),
            Source::Bearer(tokens) if is_unauthorized => tokens.forget(),
            Source::OAuth(endpoint) if is_unauthorized => endpoint.forget(),
            Source::Bearer(_) | Source::OAuth(_) | Source::Mtls => {}
        }
        false
    }
}

impl Bound {
    /// The verified name, if it is one of the endpoint's.
    fn check<'u>(&self, upstream: Upstream<'u>) -> Result<&'u str, CredentialError> {
        let endpoint = || self.endpoint.clone();
        let Some(host) = upstream.verified else { return Err(CredentialError::PlainText { endpoint: endpoint() }) };
        let is_bound = self.ports.contains(&upstream.port) && self.hosts.iter().any(|pattern| pattern.covers(host));
        if is_bound { Ok(host) } else { Err(CredentialError::Unbound { endpoint: endpoint(), host: host.to_owned() }) }
    }
}

impl Wanted {
    /// Reads it from a request as the client sent it.
    #[must_use]
    pub fn of(head: &Parts) -> Self {
        Self { claimed: Claimed::of(head), signable: sigv4::check(head) }
    }
}

impl Used {
    /// The same, for a request that a placeholder signed.
    #[must_use]
    pub fn in_place_of_placeholder(self) -> Self {
        Self { presented: Some("placeholder"), ..self }
    }

    pub(crate) fn of(kind: &'static str) -> Self {
        Self { kind, role_arn: None, session_name: None, access_key_id: None, presented: None }
    }
}

impl Grant {
    fn token(kind: &'static str, token: &Secret) -> Result<Self, CredentialError> {
        let is_plain = token.expose().bytes().all(|b| b.is_ascii_graphic());
        if !is_plain {
            return Err(CredentialError::NotAToken);
        }
        let token = Zeroizing::new(format!("Bearer {}", token.expose()));
        Ok(Self { used: Arc::new(Used::of(kind)), holds: Holds::Token(token) })
    }

    /// The same, for a request that a placeholder signed.
    #[must_use]
    pub fn in_place_of_placeholder(mut self) -> Self {
        self.used = Arc::new(Used::clone(&self.used).in_place_of_placeholder());
        self
    }

    /// Whether the request that a placeholder signed may go out again, though it is no message.
    ///
    /// # Errors
    /// When its answer could be a key that works. `body` is there where the signature does not state its digest.
    pub fn may_resign(&self, head: &Parts, body: Option<&[u8]>) -> Result<(), CredentialError> {
        let Holds::Key(key) = &self.holds else { return Ok(()) };
        let query = head.uri.query().unwrap_or_default();
        match placeholder::gives_out_keys(&key.scope.service, query, body) {
            Some(service) => Err(PlaceholderFault::GivesOutKeys(service).into()),
            None => Ok(()),
        }
    }

    /// Puts these in place of the placeholder on a request that is no message; all else stays as it is. `body` is as above.
    ///
    /// # Errors
    /// [`CredentialError::Unsignable`]: the request is then not to be sent.
    pub fn resign(
        &self,
        head: &mut Parts,
        authority: &str,
        vouched: &Vouched,
        body: Option<&[u8]>,
    ) -> Result<(), CredentialError> {
        let Holds::Key(key) = &self.holds else { return self.apply(head, authority, body.unwrap_or_default()) };
        let content = match &vouched.payload {
            Payload::Stated(stated) => sigv4::Content::Stated(stated),
            Payload::Unstated => sigv4::Content::Whole(body.unwrap_or_default()),
        };
        sigv4::sign_again(head, authority, &vouched.signed, content, key)
    }

    /// What the record says of it.
    #[must_use]
    pub fn used(&self) -> &Arc<Used> {
        &self.used
    }

    /// Takes the client's own credentials off a request, and puts these on. `authority` is what the request names; the body
    /// is as it will be sent.
    ///
    /// # Errors
    /// [`CredentialError::Unsignable`]: the request is then not to be sent.
    pub fn apply(&self, head: &mut Parts, authority: &str, body: &[u8]) -> Result<(), CredentialError> {
        match &self.holds {
            Holds::Nothing => Ok(()),
            Holds::Key(key) => {
                sigv4::take_off(head)?;
                sigv4::sign(head, authority, body, key)
            }
            Holds::Token(token) => {
                sigv4::take_off(head)?;
                let mut value = HeaderValue::from_str(token).map_err(|_| CredentialError::NotAToken)?;
                value.set_sensitive(true);
                head.headers.insert(AUTHORIZATION, value);
                Ok(())
            }
        }
    }
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Grant").field("used", &self.used).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
