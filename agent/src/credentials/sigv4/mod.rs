//! AWS Signature Version 4 (AWS IAM User Guide, "AWS Signature Version 4 for API requests"): as which service and region, with
//! which key, over what.

mod again;
mod claimed;
mod hosts;
mod sign;

use std::{borrow::Cow, sync::Arc};

use aws_credential_types::Credentials as AwsCredentials;
use http::{HeaderMap, StatusCode, header::DATE};

pub(super) use self::{
    again::{Content, Original, sign_again, signature_of},
    claimed::{Claimed, credential_of, take_off},
    sign::{check, sign},
};
use super::{
    Asking, CredentialError, Used,
    aws::{Aws, have_ended},
    clock::Clock,
    sts::Sts,
};
use crate::config;

/// How one endpoint's requests are signed.
pub(super) struct SigV4 {
    service: Option<String>,
    region: Option<String>,
    aws: Arc<Aws>,
    role: Option<Sts>,
    /// What time it is at the endpoint's server.
    clock: Clock,
}

/// What a signature is good for (its credential scope, without the date).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) service: String,
    pub(super) region: String,
}

/// What signs one request.
pub(super) struct AwsKey {
    pub(super) keys: Arc<AwsCredentials>,
    pub(super) scope: Scope,
    pub(super) clock: Clock,
}

impl SigV4 {
    pub(super) fn new(config: &config::SigV4, endpoint: &str, aws: &Arc<Aws>) -> Self {
        let config::SigV4 { service, region, role } = config.clone();
        let role = role.map(|role| Sts::new(role, region.clone(), endpoint, aws));
        Self { service, region, aws: Arc::clone(aws), role, clock: Clock::default() }
    }

    /// As which service and region to sign for `host`: as configured, else as the client did, else as the host's name says.
    ///
    /// # Errors
    /// [`CredentialError::Scope`].
    pub(super) fn scope(&self, claimed: Option<Claimed>, host: &str) -> Result<Scope, CredentialError> {
        let Claimed { service, region } = claimed.unwrap_or_default();
        let told = hosts::scope_of(host);
        let (by_name, there) = told.map_or((None, None), |told| (Some(told.service), Some(told.region)));
        let missing = |missing| CredentialError::Scope { missing, host: host.to_owned() };
        Ok(Scope {
            service: self.service.clone().or(service).or(by_name).ok_or_else(|| missing("service"))?,
            region: self.region.clone().or(region).or(there).ok_or_else(|| missing("region"))?,
        })
    }

    /// What will be used, as far as that is known without asking anybody.
    pub(super) fn intended(&self, asking: &Asking<'_>) -> Used {
        self.role.as_ref().map_or_else(|| Used::of("sigv4"), |role| role.intended(asking))
    }

    /// The key for a request, and what the record says of it.
    ///
    /// # Errors
    /// Why there is none.
    pub(super) async fn key(&self, scope: Scope, asking: &Asking<'_>) -> Result<(AwsKey, Used), CredentialError> {
        let keys = match &self.role {
            None => self.aws.keys().await?,
            Some(role) => role.session(&scope.region, asking).await?,
        };
        let used = Used { access_key_id: Some(keys.access_key_id().to_owned()), ..self.intended(asking) };
        Ok((AwsKey { keys, scope, clock: self.clock.clone() }, used))
    }

    /// Takes note of a refusal. True if it was about the time of the signature, and the endpoint's clock is corrected now.
    pub(super) fn heed(&self, refused: &http::response::Parts, body: &[u8]) -> bool {
        if refused.status != StatusCode::FORBIDDEN {
            return false;
        }
        let refusal = Refusal::of(&refused.headers, body);
        if self.role.is_none() && refusal.is_about_ended_keys() {
            self.aws.forget_keys();
        }
        refusal.is_about_time() && date(&refused.headers).is_some_and(|date| self.clock.correct(date))
    }
}

fn date(headers: &HeaderMap) -> Option<&str> {
    headers.get(DATE)?.to_str().ok()
}

/// What a server says of why it refuses: its error code (`x-amzn-errortype`, or in the body), or the words of AWS's front ends.
struct Refusal<'a> {
    code: Cow<'a, str>,
    body: Cow<'a, str>,
}

impl<'a> Refusal<'a> {
    fn of(headers: &'a HeaderMap, body: &'a [u8]) -> Self {
        let code = headers.get("x-amzn-errortype").map_or(&b""[..], |code| code.as_bytes());
        Self { code: String::from_utf8_lossy(code), body: String::from_utf8_lossy(body) }
    }

    fn is_about_time(&self) -> bool {
        const CODES: [&str; 4] =
            ["RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"];
        const WORDS: [&str; 3] = ["Signature expired", "Signature not yet current", "Request has expired"];
        CODES.iter().any(|known| self.code.contains(known) || self.body.contains(known))
            || WORDS.iter().any(|said| self.body.contains(said))
    }

    fn is_about_ended_keys(&self) -> bool {
        let codes = self.code.split([':', '#']).chain(self.body.split(|c: char| !c.is_ascii_alphanumeric()));
        codes.into_iter().any(have_ended) || self.body.contains("security token included in the request is expired")
    }
}

#[cfg(test)]
mod tests;
