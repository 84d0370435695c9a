//! One request to STS.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use aws_config::SdkConfig;
use aws_credential_types::{Credentials as AwsCredentials, provider::SharedCredentialsProvider};
use aws_sdk_sts::{
    Client,
    error::{ProvideErrorMetadata, SdkError},
    types::{Credentials as Granted, Tag},
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use tokio::{sync::Semaphore, time::timeout};
use zeroize::Zeroizing;

use super::{
    super::{
        CredentialError, WorkloadFile,
        aws::{AHEAD, Aws, have_ended, lifetime},
        cell::Lease,
        error::StsTrouble,
        secret::Secret,
    },
    Session, TOKEN_BYTES,
};
use crate::config::{Role, RoleProof};

/// Longest wait for one's turn.
const TURN: Duration = Duration::from_secs(60);

/// Asks STS for sessions of one role.
pub(super) struct Asker {
    pub(super) role: Role,
    pub(super) region: Option<String>,
    pub(super) aws: Arc<Aws>,
    pub(super) at_once: Semaphore,
}

/// A workload's own token, or why there is none.
pub(super) struct Token(Result<Secret, CredentialError>);

impl Token {
    /// Reads it as the workload would.
    pub(super) fn read(path: &Path, file: &WorkloadFile<'_>) -> Self {
        let path = path.to_string_lossy();
        let failed = |reason: String| CredentialError::WorkloadToken { path: path.clone().into_owned(), reason };
        let text = file(&path).map(Zeroizing::new).map_err(failed);
        let fits = |text: Zeroizing<String>| {
            let secret = Some(text).filter(|text| text.len() <= TOKEN_BYTES).and_then(|text| Secret::new(&text));
            secret.ok_or_else(|| failed("it is empty, or no token".into()))
        };
        Self(text.and_then(fits))
    }
}

impl Asker {
    /// Asks for a session, in the region where it will be used unless the configuration says otherwise.
    pub(super) async fn ask(
        &self,
        session: Session,
        used_in: &str,
        token: Option<Token>,
    ) -> Result<Lease<AwsCredentials>, CredentialError> {
        let crowded = || self.trouble(StsTrouble::Unreachable("too many wait for it"));
        let _turn = timeout(TURN, self.at_once.acquire()).await.map_err(|_| crowded())?;
        let region = self.region.as_deref().unwrap_or(used_in);
        let settings = self.aws.client(Some(region), self.role.endpoint_url.as_deref()).await;
        let settings = settings.map_err(|why| CredentialError::Agent(why.into()))?;
        let granted = match (&self.role.proof, token) {
            (RoleProof::WebIdentity { .. }, Some(Token(token))) => self.by_token(&settings, session, &token?).await?,
            _ => self.by_keys(settings, session).await?,
        };
        let Some(granted) = granted else { return Err(self.trouble(StsTrouble::Refused("no credentials".into()))) };
        let expires = SystemTime::try_from(*granted.expiration()).ok();
        let keys = AwsCredentials::new(
            granted.access_key_id(),
            granted.secret_access_key(),
            Some(granted.session_token().to_owned()),
            expires,
            "sts",
        );
        let left = expires.map(|expires| lifetime(expires, self.aws.clock())).unwrap_or_default();
        Ok(Lease::of(keys, left, AHEAD))
    }

    async fn by_keys(&self, settings: SdkConfig, session: Session) -> Result<Option<Granted>, CredentialError> {
        let RoleProof::Agent { external_id, transitive, .. } = &self.role.proof else { return Ok(None) };
        let own = self.aws.keys().await?;
        let provider = SharedCredentialsProvider::new(own.as_ref().clone());
        let client = Client::new(&settings.into_builder().credentials_provider(provider).build());
        let Session { name, source_identity, tags, issuer: _ } = session;
        let keys = tags.iter().filter(|_| *transitive).map(|(key, _)| (*key).to_owned());
        let request = || {
            client
                .assume_role()
                .role_arn(&self.role.arn)
                .role_session_name(&name)
                .set_source_identity(source_identity.clone())
                .set_external_id(external_id.clone())
                .set_policy(self.role.session_policy.clone())
                .set_tags(tags.iter().map(|(key, value)| Tag::builder().key(*key).value(value).build().ok()).collect())
                .set_transitive_tag_keys(Some(keys.clone().collect::<Vec<_>>()).filter(|keys| !keys.is_empty()))
                .duration_seconds(self.role.duration_s.cast_signed())
        };
        let mut answered = request().send().await;
        if answered.as_ref().is_err_and(|error| self.corrects_clock(error)) {
            answered = request().send().await;
        }
        if answered.as_ref().is_err_and(|error| code(error).is_some_and(have_ended)) {
            self.aws.forget_keys();
        }
        answered.map(|answer| answer.credentials).map_err(|error| self.why(&error))
    }

    async fn by_token(
        &self,
        settings: &SdkConfig,
        session: Session,
        token: &Secret,
    ) -> Result<Option<Granted>, CredentialError> {
        let request = Client::new(settings)
            .assume_role_with_web_identity()
            .role_arn(&self.role.arn)
            .role_session_name(session.name)
            .web_identity_token(token.expose())
            .set_policy(self.role.session_policy.clone())
            .duration_seconds(self.role.duration_s.cast_signed());
        request.send().await.map(|answer| answer.credentials).map_err(|error| self.why(&error))
    }

    /// Whether the time was wrong, and is right now.
    fn corrects_clock<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> bool {
        let is_about_time = matches!(
            code(error),
            Some("SignatureDoesNotMatch" | "RequestExpired" | "RequestTimeTooSkewed" | "InvalidSignatureException")
        );
        let date = error.raw_response().and_then(|response| response.headers().get("date"));
        is_about_time && date.is_some_and(|date| self.aws.clock().correct(date))
    }

    /// By its code alone: the texts of STS may quote a token.
    fn why<E: ProvideErrorMetadata>(&self, error: &SdkError<E, HttpResponse>) -> CredentialError {
        let trouble = match (error, code(error)) {
            (_, Some(code)) if is_throttle(code) => StsTrouble::Throttled(code.to_owned()),
            (_, Some(code @ ("AccessDenied" | "AccessDeniedException"))) => StsTrouble::Denied(code.to_owned()),
            (SdkError::ServiceError(answer), _) if answer.raw().status().is_server_error() => {
                StsTrouble::Unreachable("it answers with an error of its own")
            }
            (_, Some(code)) => StsTrouble::Refused(code.to_owned()),
            (SdkError::TimeoutError(_), None) => StsTrouble::Unreachable("no answer in time"),
            (SdkError::DispatchFailure(_), None) => StsTrouble::Unreachable("no connection"),
            (_, None) => StsTrouble::Unreachable("its answer cannot be read"),
        };
        self.trouble(trouble)
    }

    fn trouble(&self, trouble: StsTrouble) -> CredentialError {
        CredentialError::Sts { role_arn: self.role.arn.clone(), trouble }
    }
}

/// The service's name for what went wrong, where it is one: names have letters only.
fn code<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Option<&str> {
    let code = error.as_service_error().and_then(ProvideErrorMetadata::code)?;
    (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.')).then_some(code)
}

fn is_throttle(code: &str) -> bool {
    matches!(
        code,
        "Throttling"
            | "ThrottlingException"
            | "ThrottledException"
            | "RequestLimitExceeded"
            | "TooManyRequestsException"
    )
}
