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
use super::{Asking, CredentialError, Used, aws::Aws, clock::Clock, sts::Sts};
use crate::config;

/// How one endpoint's requests are signed.
pub(super) struct SigV4 {
    service: Option<String>,
    region: Option<String>,
    aws: Arc<Aws>,
    role: Option<Sts>,
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
        Self { service, region, aws: Arc::clone(aws), role }
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
        Ok((AwsKey { keys, scope, clock: self.aws.clock().clone() }, used))
    }

    /// Whether a refusal was about the time of the signature, and the clock is corrected now.
    pub(super) fn corrects_clock(&self, refused: &http::response::Parts, body: &[u8]) -> bool {
        refused.status == StatusCode::FORBIDDEN
            && is_about_time(&refused.headers, body)
            && date(&refused.headers).is_some_and(|date| self.aws.clock().correct(date))
    }
}

fn date(headers: &HeaderMap) -> Option<&str> {
    headers.get(DATE)?.to_str().ok()
}

/// Whether a refusal says that the time was wrong: by its error code (`x-amzn-errortype`, or in the body), or in the words of AWS's
/// front ends.
fn is_about_time(headers: &HeaderMap, body: &[u8]) -> bool {
    const CODES: [&str; 4] =
        ["RequestTimeTooSkewed", "RequestExpired", "InvalidSignatureException", "SignatureDoesNotMatch"];
    const WORDS: [&str; 3] = ["Signature expired", "Signature not yet current", "Request has expired"];
    let code =
        headers.get("x-amzn-errortype").map_or(Cow::Borrowed(""), |code| String::from_utf8_lossy(code.as_bytes()));
    let body = String::from_utf8_lossy(body);
    CODES.iter().any(|known| code.contains(known) || body.contains(known))
        || WORDS.iter().any(|said| body.contains(said))
}

#[cfg(test)]
mod tests;
