//! The conversation with the identity provider: an authorization code with PKCE on a loopback redirect (RFC 6749, 7636, 8252),
//! or a device code (RFC 8628).
//!
//! The agent is the client. Whoever signs in only opens a page and hands back where it led: codes without the verifier
//! that the agent holds are worth nothing, and no token passes through the hands of the one who is to be identified.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use jsonwebtoken::Algorithm;
use oauth2::{
    AsyncHttpClient, AuthUrl, AuthorizationCode, Client, ClientId, CsrfToken, DeviceAuthorizationUrl, EndpointNotSet,
    ExtraTokenFields, HttpRequest, HttpResponse, PkceCodeChallenge, PkceCodeVerifier, RedirectUrl, RequestTokenError,
    Scope, StandardDeviceAuthorizationResponse, StandardRevocableToken, StandardTokenResponse, TokenUrl,
    basic::{BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse, BasicTokenType},
};
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::super::{
    caller::{Metadata, Provider, ProviderError, TokenError, Verified, Verifier},
    fetch::{FetchError, Fetcher},
};
use crate::config::Login;

/// Largest answer of the token endpoint, in bytes.
const ANSWER_BYTES: usize = 64 << 10;
/// Longest wait for a person to approve a device code, whatever the provider allows.
const DEVICE_PATIENCE: Duration = Duration::from_secs(600);
/// How far the clocks may differ, in seconds.
const LEEWAY_S: u64 = 60;

/// What an `OpenID` provider answers besides OAuth's fields (`OpenID` Connect Core 1.0 §3.1.3.3).
#[derive(Serialize, Deserialize)]
struct WithIdToken {
    id_token: String,
}

impl std::fmt::Debug for WithIdToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("WithIdToken")
    }
}

impl ExtraTokenFields for WithIdToken {}

type Tokens = StandardTokenResponse<WithIdToken, BasicTokenType>;
type OpenIdClient = Client<
    BasicErrorResponse,
    Tokens,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
>;

/// Signs people in at one provider.
#[derive(Debug)]
pub(crate) struct SignIn {
    provider: Arc<Provider>,
    verifier: Verifier,
    client_id: ClientId,
    scopes: Vec<Scope>,
}

/// An authorization that a person is to give in a browser.
pub(crate) struct Begun {
    /// The page to open.
    pub(crate) url: Url,
    token_url: Url,
    redirect: RedirectUrl,
    state: CsrfToken,
    nonce: String,
    verifier: PkceCodeVerifier,
}

/// A code that a person is to enter on another device.
pub(crate) struct DeviceCode {
    answer: StandardDeviceAuthorizationResponse,
    token_url: Url,
}

/// Why nobody is signed in. The texts hold nothing of codes or tokens.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SignInError {
    /// The provider's metadata.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// An endpoint that the flow needs is not there.
    #[error("the identity provider has no {0}")]
    Missing(&'static str),
    /// The redirect is not this host's own.
    #[error("the redirect must be http://127.0.0.1:<port>/callback or http://[::1]:<port>/callback")]
    Redirect,
    /// What came back is not for what was begun.
    #[error("what the browser brought back does not belong to this login ({0})")]
    Foreign(&'static str),
    /// The person or the provider said no.
    #[error("the identity provider refused: {0}")]
    Refused(String),
    /// The provider's answer cannot be used.
    #[error("the identity provider did not answer as expected: {0}")]
    Answer(String),
    /// The ID token is not believed.
    #[error(transparent)]
    Token(#[from] TokenError),
}

impl SignIn {
    /// Signs people in as `[login]` says.
    pub(crate) fn new(provider: Arc<Provider>, login: &Login) -> Self {
        use Algorithm::{ES256, ES384, EdDSA, PS256, RS256};
        let accepted = (LEEWAY_S, vec![RS256, PS256, ES256, ES384, EdDSA]);
        let verifier =
            Verifier::of(Arc::clone(&provider), &login.issuer, &login.client_id, &login.groups_claim, accepted);
        let scopes = std::iter::once("openid".to_owned()).chain(login.scopes.iter().cloned()).map(Scope::new).collect();
        Self { provider, verifier, client_id: ClientId::new(login.client_id.clone()), scopes }
    }

    /// Begins with a browser, which is to be led to `redirect` on this host.
    ///
    /// # Errors
    /// As [`SignInError`] says.
    pub(crate) async fn begin(&self, redirect: &Url) -> Result<Begun, SignInError> {
        if !is_own_loopback(redirect) {
            return Err(SignInError::Redirect);
        }
        let Metadata { authorization_endpoint, token_endpoint, .. } = self.provider.metadata().await?;
        let page = authorization_endpoint.ok_or(SignInError::Missing("authorization endpoint"))?;
        let token_url = token_endpoint.ok_or(SignInError::Missing("token endpoint"))?;
        let redirect = RedirectUrl::from_url(redirect.clone());
        let client = self.client().set_auth_uri(AuthUrl::from_url(page)).set_redirect_uri(redirect.clone());
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        // As unguessable as the state, and another.
        let nonce = CsrfToken::new_random().into_secret();
        let (url, state) = client
            .authorize_url(CsrfToken::new_random)
            .add_scopes(self.scopes.iter().cloned())
            .add_extra_param("nonce", nonce.clone())
            .set_pkce_challenge(challenge)
            .url();
        Ok(Begun { url, token_url, redirect, state, nonce, verifier })
    }

    /// Ends with where the browser was led to.
    ///
    /// # Errors
    /// As [`SignInError`] says.
    pub(crate) async fn finish(&self, begun: Begun, callback: &Url) -> Result<Verified, SignInError> {
        let Begun { url: _, token_url, redirect, state, nonce, verifier } = begun;
        let found =
            |name: &str| callback.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned());
        if found("state").as_ref() != Some(state.secret()) {
            return Err(SignInError::Foreign("state"));
        }
        // RFC 9207: another provider's answer must not be taken for this one's.
        if found("iss").is_some_and(|issuer| issuer != self.provider.issuer()) {
            return Err(SignInError::Foreign("iss"));
        }
        if let Some(error) = found("error") {
            return Err(SignInError::Refused(plain(&error)));
        }
        let code = found("code").ok_or(SignInError::Foreign("code"))?;
        let client = self.client().set_token_uri(TokenUrl::from_url(token_url)).set_redirect_uri(redirect);
        let request = client.exchange_code(AuthorizationCode::new(code)).set_pkce_verifier(verifier);
        let tokens = request.request_async(self.provider.fetcher()).await.map_err(answer)?;
        let verified = self.verifier.verify(&tokens.extra_fields().id_token).await?;
        if verified.nonce.as_ref() == Some(&nonce) { Ok(verified) } else { Err(SignInError::Foreign("nonce")) }
    }

    /// Begins with a code for another device.
    ///
    /// # Errors
    /// As [`SignInError`] says.
    pub(crate) async fn begin_device(&self) -> Result<DeviceCode, SignInError> {
        let Metadata { device_authorization_endpoint, token_endpoint, .. } = self.provider.metadata().await?;
        let page = device_authorization_endpoint.ok_or(SignInError::Missing("device authorization endpoint"))?;
        let token_url = token_endpoint.ok_or(SignInError::Missing("token endpoint"))?;
        let client = self.client().set_device_authorization_url(DeviceAuthorizationUrl::from_url(page));
        let request = client.exchange_device_code().add_scopes(self.scopes.iter().cloned());
        let answer = request.request_async(self.provider.fetcher()).await.map_err(answer)?;
        Ok(DeviceCode { answer, token_url })
    }

    /// Waits until the code was entered.
    ///
    /// # Errors
    /// As [`SignInError`] says.
    pub(crate) async fn wait(
        &self,
        DeviceCode { answer: code, token_url }: DeviceCode,
    ) -> Result<Verified, SignInError> {
        let client = self.client().set_token_uri(TokenUrl::from_url(token_url));
        let request = client.exchange_device_access_token(&code);
        let patience = Some(code.expires_in().min(DEVICE_PATIENCE));
        let tokens =
            request.request_async(self.provider.fetcher(), tokio::time::sleep, patience).await.map_err(answer)?;
        Ok(self.verifier.verify(&tokens.extra_fields().id_token).await?)
    }

    fn client(&self) -> OpenIdClient {
        // A public client: its name is in the body.
        Client::new(self.client_id.clone()).set_auth_type(oauth2::AuthType::RequestBody)
    }
}

impl<'f> AsyncHttpClient<'f> for Fetcher {
    type Error = FetchError;
    type Future = Pin<Box<dyn Future<Output = Result<HttpResponse, FetchError>> + Send + 'f>>;

    fn call(&'f self, request: HttpRequest) -> Self::Future {
        Box::pin(async move { Ok(self.send(request.map(Bytes::from), ANSWER_BYTES).await?.map(Vec::from)) })
    }
}

impl DeviceCode {
    /// Where to enter it, the code, and where it is entered already.
    pub(crate) fn place(&self) -> (&str, &str, Option<&str>) {
        let complete = self.answer.verification_uri_complete().map(|uri| uri.secret().as_str());
        (self.answer.verification_uri().as_str(), self.answer.user_code().secret(), complete)
    }
}

/// What went wrong at the token endpoint, without what it holds.
fn answer<E: std::error::Error, T: oauth2::ErrorResponse + std::fmt::Display>(
    error: RequestTokenError<E, T>,
) -> SignInError {
    match error {
        RequestTokenError::ServerResponse(refused) => SignInError::Refused(plain(&refused.to_string())),
        RequestTokenError::Request(error) => SignInError::Answer(error.to_string()),
        RequestTokenError::Parse(error, _) => SignInError::Answer(format!("at {}", error.path())),
        RequestTokenError::Other(what) => SignInError::Answer(what),
    }
}

/// A redirect that leads to this host and nowhere else (RFC 8252 §7.3).
fn is_own_loopback(url: &Url) -> bool {
    let is_loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    is_loopback
        && url.scheme() == "http"
        && url.path() == "/callback"
        && url.port().is_some()
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
}

/// A peer's text for a terminal and a record: one short line.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_hosts_own_callback_is_a_redirect() {
        for good in ["http://127.0.0.1:4711/callback", "http://[::1]:1/callback"] {
            assert!(is_own_loopback(&good.parse().unwrap()), "{good}");
        }
        for bad in [
            "http://localhost:4711/callback",
            "https://127.0.0.1:4711/callback",
            "http://127.0.0.1/callback",
            "http://127.0.0.1:4711/",
            "http://127.0.0.1:4711/callback?next=x",
            "http://a@127.0.0.1:4711/callback",
            "http://192.0.2.1:4711/callback",
        ] {
            assert!(!is_own_loopback(&bad.parse().unwrap()), "{bad}");
        }
    }
}
