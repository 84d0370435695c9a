//! The agent's own AWS credentials, from where AWS's SDKs look for them, and its clients of AWS.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::{Region, SdkConfig, retry::RetryConfig, timeout::TimeoutConfig};
use aws_credential_types::{
    Credentials as AwsCredentials,
    provider::{ProvideCredentials as _, error::CredentialsError},
};
use aws_smithy_async::time::TimeSource as _;
use tokio::sync::OnceCell;

use super::{
    CredentialError,
    cell::{Cell, Lease},
    clock::Clock,
};

/// Longest wait for a connection to AWS.
const CONNECT: Duration = Duration::from_secs(3);
/// Longest wait for an answer, attempts included.
const OPERATION: Duration = Duration::from_secs(10);
/// Keys are fetched again this long before they end.
pub(super) const AHEAD: Duration = Duration::from_secs(300);
/// Keys that never end are looked at again after this time: somebody may have changed them.
const LASTING: Duration = Duration::from_secs(600);

/// See the module.
pub(super) struct Aws {
    clock: Clock,
    settings: OnceCell<SdkConfig>,
    keys: Arc<Cell<AwsCredentials>>,
}

impl Aws {
    /// Nothing is looked up yet.
    pub(super) fn new() -> Self {
        Self { clock: Clock::default(), settings: OnceCell::new(), keys: Cell::new() }
    }

    /// With settings that a test made.
    #[cfg(test)]
    pub(super) fn with(settings: SdkConfig) -> Self {
        Self { clock: Clock::default(), settings: OnceCell::new_with(Some(settings)), keys: Cell::new() }
    }

    /// What time it is at STS, whose answers alone may correct it.
    pub(super) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// What the environment, the profile, the pod or the instance says, with the agent's patience and clock.
    async fn settings(&self) -> &SdkConfig {
        let load = || async {
            let timeouts = TimeoutConfig::builder().connect_timeout(CONNECT).operation_timeout(OPERATION).build();
            aws_config::from_env()
                .time_source(self.clock.clone())
                .timeout_config(timeouts)
                // Waiting before the next attempt is a cell's, which does so for everybody.
                .retry_config(RetryConfig::standard().with_max_attempts(2))
                .load()
                .await
        };
        self.settings.get_or_init(load).await
    }

    /// Settings for a client: in a region, at an endpoint, where these are given.
    ///
    /// # Errors
    /// Without a region.
    pub(super) async fn client(
        &self,
        region: Option<&str>,
        endpoint_url: Option<&str>,
    ) -> Result<SdkConfig, &'static str> {
        let mut builder = self.settings().await.clone().into_builder();
        if let Some(region) = region {
            builder.set_region(Region::new(region.to_owned()));
        }
        if let Some(url) = endpoint_url {
            builder.set_endpoint_url(Some(url.to_owned()));
        }
        let config = builder.build();
        if config.region().is_some() { Ok(config) } else { Err("no region is known") }
    }

    /// The agent's own keys.
    ///
    /// # Errors
    /// [`CredentialError::Agent`].
    pub(super) async fn keys(self: &Arc<Self>) -> Result<Arc<AwsCredentials>, CredentialError> {
        let aws = Arc::clone(self);
        self.keys.get(|| async move { aws.fetch_keys().await }).await
    }

    /// The agent's own keys have ended before their time: they are looked up again.
    pub(super) fn forget_keys(&self) {
        self.keys.forget();
    }

    async fn fetch_keys(&self) -> Result<Lease<AwsCredentials>, CredentialError> {
        let Some(provider) = self.settings().await.credentials_provider() else {
            return Err(CredentialError::Agent("no provider is configured".into()));
        };
        let keys = provider.provide_credentials().await.map_err(|error| CredentialError::Agent(why(&error).into()))?;
        let lifetime = match keys.expiry() {
            None => LASTING,
            Some(expiry) => lifetime(expiry, &self.clock),
        };
        Ok(Lease::of(keys, lifetime, AHEAD))
    }
}

/// Whether an error code says that the keys that signed are good no more (IAM User Guide, "Common errors").
pub(super) fn have_ended(code: &str) -> bool {
    matches!(code, "ExpiredToken" | "ExpiredTokenException" | "InvalidClientTokenId" | "UnrecognizedClientException")
}

/// How long is left until `expiry`, by AWS's clock.
pub(super) fn lifetime(expiry: SystemTime, clock: &Clock) -> Duration {
    expiry.duration_since(clock.now()).unwrap_or_default()
}

/// Without the source, which may quote what a provider answered.
fn why(error: &CredentialsError) -> &'static str {
    match error {
        CredentialsError::CredentialsNotLoaded(_) => "none were found",
        CredentialsError::ProviderTimedOut(_) => "what provides them did not answer in time",
        CredentialsError::InvalidConfiguration(_) => "what configures them is wrong",
        CredentialsError::ProviderError(_) => "what provides them failed",
        _ => "they could not be loaded",
    }
}
