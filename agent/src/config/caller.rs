//! `endpoint.caller`: which identity provider's tokens say who calls, and who may.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use super::{
    Endpoint,
    load::{Findings, Step},
    ranges,
};

/// `endpoint.caller`. A bearer token that a client presents at the endpoint is verified, and refused if it does not verify.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CallerRule {
    /// The provider, exactly as its tokens name it (`iss`): an `https` URL, or `http` on the loopback. Its keys are found by
    /// `OpenID` Connect Discovery, else by RFC 8414.
    pub issuer: String,
    /// What tokens must be for (`aud`): the endpoint's URL for MCP clients that discover the provider (RFC 8707).
    pub audience: String,
    /// Whether requests without a known caller are refused.
    #[serde(default)]
    pub required: bool,
    /// The claim with the caller's groups: a member's name, or, with `/` in front, a JSON pointer to it (RFC 6901).
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// Groups of which the caller must be in one; empty means that groups do not matter. Needs `required`.
    #[serde(default)]
    pub allowed_groups: Vec<String>,
    /// How far the host's clock and the provider's may differ, in seconds.
    #[serde(default = "default_leeway")]
    #[schemars(range(min = 0, max = 300))]
    pub leeway_s: u64,
    /// The signature algorithms that are accepted; all of them use public keys.
    #[serde(default = "default_algorithms")]
    #[schemars(length(min = 1))]
    pub algorithms: Vec<SignatureAlgorithm>,
    /// Where the provider's keys are, instead of discovery.
    #[serde(default)]
    pub jwks_url: Option<Url>,
    /// PEM file with roots that may verify the provider, besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// A file with a bearer token for the provider's metadata and keys, read at each fetch: a Kubernetes API server that
    /// serves them to nobody else.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// Whether the token also goes to the server. Without it, it ends here.
    #[serde(default)]
    pub passthrough: bool,
}

/// `endpoint.caller.algorithms` (RFC 7518 §3.1, RFC 8037 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum SignatureAlgorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RS256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    RS384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    RS512,
    /// RSASSA-PSS with SHA-256.
    PS256,
    /// RSASSA-PSS with SHA-384.
    PS384,
    /// RSASSA-PSS with SHA-512.
    PS512,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// `Ed25519`.
    #[serde(rename = "EdDSA")]
    EdDsa,
}

fn default_groups_claim() -> String {
    "groups".into()
}

const fn default_leeway() -> u64 {
    60
}

fn default_algorithms() -> Vec<SignatureAlgorithm> {
    use SignatureAlgorithm::{ES256, ES384, EdDsa, PS256, RS256};
    vec![RS256, PS256, ES256, ES384, EdDsa]
}

/// Checks what the keys mean.
pub(super) fn meaning(number: usize, endpoint: &Endpoint, findings: &mut Findings<'_>) {
    let Some(rule) = &endpoint.caller else { return };
    let place = |key| ["endpoint".into(), number.into(), "caller".into(), Step::Key(key)];
    provider_url(&rule.issuer, &place("issuer"), findings);
    if let Some(url) = &rule.jwks_url {
        provider_url(url.as_str(), &place("jwks_url"), findings);
    }
    if rule.audience.is_empty() {
        let hint = "name what the provider issues tokens for, as in the endpoint's URL";
        findings.add(&place("audience"), "every token would be for somebody else", hint);
    }
    if rule.algorithms.is_empty() {
        findings.add(&place("algorithms"), "no token could verify", "name one at least, or leave the key out");
    }
    if !rule.allowed_groups.is_empty() && !rule.required {
        let message = "who shows no token is in no group, and would be let through";
        findings.add(&place("allowed_groups"), message, "add `required = true`");
    }
    for (key, path) in [("ca", &rule.ca), ("token_file", &rule.token_file)] {
        if path.as_deref().is_some_and(|path| !Path::is_absolute(path)) {
            let hint = "the agent has no working directory of yours: begin the path with `/`";
            findings.add(&place(key), "a relative path", hint);
        }
    }
    for ranges::Outside { key, value, min, max } in ranges::outside(rule) {
        let message = format!("{value} is outside the limits of `{key}`");
        let place = ["endpoint".into(), number.into(), "caller".into(), Step::Key(&key)];
        findings.add(&place, message, format!("use {min} to {max}"));
    }
}

/// Checks that a provider is reached over TLS, or not at all over a network.
pub(super) fn provider_url(text: &str, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let hint = "write it as the provider does, as in `https://idp.example.com`";
    let url = match Url::parse(text) {
        Ok(url) => url,
        Err(error) => return findings.add(place, format!("`{}` is no URL: {error}", text.escape_debug()), hint),
    };
    if !is_safe_url(&url) {
        findings.add(place, format!("`{text}` is not an https URL"), "plain http would let anybody sign: use https");
    } else if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        findings.add(place, format!("`{text}` has a query, a fragment or a user"), hint);
    }
}

/// Whether what a URL leads to can only be who it says: over TLS, or on this host.
pub(crate) fn is_safe_url(url: &Url) -> bool {
    let is_local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(_)) | None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_local)
}
