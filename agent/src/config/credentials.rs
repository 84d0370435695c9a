//! `endpoint.credentials`: what an endpoint's requests are sent with, in place of what the client sent.

mod meaning;
mod sigv4;

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

pub(super) use self::meaning::{files, meaning};
pub use self::sigv4::{Role, RoleProof, SessionTag, SigV4, SourceIdentity};

/// `endpoint.credentials`.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Credentials {
    /// The client's own are passed on.
    #[default]
    Passthrough,
    /// AWS Signature Version 4, by the agent's own credentials or by those of a role.
    Sigv4(Box<SigV4>),
    /// `Authorization: Bearer …` with a token that is kept somewhere.
    Bearer(SecretSource),
    /// `Authorization: Bearer …` with a token that an authorisation server grants.
    Oauth(Box<OAuth>),
    /// A client certificate, presented in the TLS handshake.
    Mtls(ClientCertificate),
}

/// Where a secret is kept.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged, expecting = "not a table with `file`, nor one with `secret_id`")]
pub enum SecretSource {
    /// In a file, read again when it changes.
    File(SecretFile),
    /// In AWS Secrets Manager.
    Manager(ManagedSecret),
}

/// A secret in a file.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SecretFile {
    /// The file: the secret alone, on one line.
    pub file: PathBuf,
}

/// A secret in AWS Secrets Manager, read with the agent's own credentials.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ManagedSecret {
    /// Its name or ARN.
    pub secret_id: String,
    /// The member of the secret's JSON object that is meant; without it, the secret is the whole text.
    #[serde(default)]
    pub key: Option<String>,
    /// Its region; default: what the environment, the profile or the instance says.
    #[serde(default)]
    pub region: Option<String>,
    /// It is asked for again after this time, in seconds.
    #[serde(default = "refresh_s")]
    #[schemars(range(min = 10, max = 86_400))]
    pub refresh_s: u64,
    /// Another endpoint than the region's, such as a VPC endpoint's or an emulator's.
    #[serde(default)]
    pub endpoint_url: Option<String>,
}

/// OAuth 2.1's client credentials grant (RFC 6749 §4.4), for one resource (RFC 8707).
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct OAuth {
    /// The authorisation server's token endpoint: `https`, or `http` on the loopback.
    pub token_url: Url,
    /// Who the agent is there.
    pub client_id: String,
    /// What proves it.
    pub client_secret: SecretSource,
    /// How it is sent.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// The resource indicator (RFC 8707 §2): the MCP server's own URI, as a rule.
    #[serde(default)]
    pub resource: Option<Url>,
    /// Scopes to ask for.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// PEM file with roots that may verify the authorisation server, besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
}

/// `credentials.oauth.client_auth` (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ClientAuth {
    /// In the `Authorization` header.
    #[default]
    Basic,
    /// In the body.
    Post,
}

/// A client certificate.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificate {
    /// PEM file: the certificate, then what is between it and a root.
    pub cert: PathBuf,
    /// PEM file with its private key.
    pub key: PathBuf,
}

const fn refresh_s() -> u64 {
    300
}

impl Credentials {
    /// Whether requests are sent with something of the agent's.
    #[must_use]
    pub fn are_own(&self) -> bool {
        !matches!(self, Self::Passthrough)
    }
}

#[cfg(test)]
mod tests;
