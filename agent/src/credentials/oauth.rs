//! OAuth 2.1's client credentials grant (RFC 6749 §4.4) for one resource (RFC 8707).

use std::{sync::Arc, time::Duration};

use oauth2::{
    AuthType, ClientId, ClientSecret, RequestTokenError, Scope, TokenResponse as _, TokenUrl, basic::BasicClient,
};
use zeroize::Zeroizing;

use super::{
    CredentialError,
    aws::Aws,
    bearer::Tokens,
    cell::{Cell, Lease},
    secret::Secret,
    web::Web,
};
use crate::config::{ClientAuth, OAuth};

/// How long a token is used whose lifetime the server does not say (RFC 6749 §5.1 recommends that it does).
const UNSTATED: Duration = Duration::from_secs(300);
/// A token is asked for again this long before it ends.
const AHEAD: Duration = Duration::from_secs(60);

/// The tokens of one client at one authorisation server.
pub(super) struct TokenEndpoint {
    client: Arc<Client>,
    cell: Arc<Cell<Secret>>,
}

struct Client {
    config: OAuth,
    secret: Tokens,
    token_url: TokenUrl,
    web: Web,
}

impl TokenEndpoint {
    /// Connects to nothing yet.
    ///
    /// # Errors
    /// [`CredentialError::Setup`].
    pub(super) fn new(config: &OAuth, aws: &Arc<Aws>) -> Result<Self, CredentialError> {
        let failed = |reason: String| CredentialError::Setup { endpoint: config.token_url.to_string(), reason };
        let client = Client {
            config: config.clone(),
            secret: Tokens::new(&config.client_secret, aws),
            token_url: TokenUrl::new(config.token_url.to_string()).map_err(|error| failed(error.to_string()))?,
            web: Web::new(config.ca.as_deref()).map_err(failed)?,
        };
        Ok(Self { client: Arc::new(client), cell: Cell::new() })
    }

    /// A token that is good now.
    ///
    /// # Errors
    /// [`CredentialError::OAuth`], or why the client's secret could not be read.
    pub(super) async fn token(&self) -> Result<Arc<Secret>, CredentialError> {
        let client = Arc::clone(&self.client);
        self.cell.get(|| async move { client.ask().await }).await
    }

    /// A server did not take it: it is asked for again.
    pub(super) fn forget(&self) {
        self.cell.forget();
    }
}

impl Client {
    async fn ask(&self) -> Result<Lease<Secret>, CredentialError> {
        let OAuth { client_id, client_auth, resource, scopes, .. } = &self.config;
        let failed = |reason: String| CredentialError::OAuth { token_url: self.token_url.to_string(), reason };
        let secret = self.secret.token().await?;
        let client = BasicClient::new(ClientId::new(client_id.clone()))
            .set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            .set_token_uri(self.token_url.clone())
            .set_auth_type(match client_auth {
                ClientAuth::Basic => AuthType::BasicAuth,
                ClientAuth::Post => AuthType::RequestBody,
            });
        let mut request = client.exchange_client_credentials();
        for scope in scopes {
            request = request.add_scope(Scope::new(scope.clone()));
        }
        if let Some(resource) = resource {
            request = request.add_extra_param("resource", resource.as_str());
        }
        let send = |request| {
            let web = self.web.clone();
            async move { web.send(request).await }
        };
        let granted = request.request_async(&send).await.map_err(|error| {
            failed(match error {
                // Its code is one of a few words (RFC 6749 §5.2); its description is anything.
                RequestTokenError::ServerResponse(said) => format!("refused ({})", code(said.error().as_ref())),
                RequestTokenError::Request(error) => error.to_string(),
                RequestTokenError::Parse(..) | RequestTokenError::Other(_) => "its answer cannot be read".into(),
            })
        })?;
        let is_bearer = matches!(granted.token_type(), oauth2::basic::BasicTokenType::Bearer);
        let token = Secret::new(&Zeroizing::new(granted.access_token().secret().clone())).filter(|_| is_bearer);
        let token = token.ok_or_else(|| failed("it gave no bearer token".into()))?;
        Ok(Lease::of(token, granted.expires_in().unwrap_or(UNSTATED), AHEAD))
    }
}

fn code(said: &str) -> &str {
    let is_code = said.len() <= 64 && said.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    if is_code { said } else { "an unknown error" }
}
