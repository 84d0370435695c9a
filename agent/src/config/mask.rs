//! `[[mask]]`: what never reaches a record, or the other side, in the clear.

use std::collections::{HashMap, HashSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Config,
    load::{Findings, Step},
    validate::{each_once, name},
};

/// `[[mask]]`: replaces the values that `paths` select and the texts that `detectors` find, before a record is written.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Mask {
    /// Names the rule in `event.masked`; default `mask-<position>`, counted from 1.
    #[serde(default)]
    pub name: Option<String>,
    /// RFC 9535 `JSONPath` queries over the JSON-RPC message. Paths or detectors must be given.
    #[serde(default)]
    pub paths: Vec<String>,
    /// What is looked for in every text and number of the message.
    #[serde(default)]
    pub detectors: Vec<Detector>,
    /// What stands in place of a value.
    #[serde(default)]
    pub style: MaskStyle,
    /// Whether the other side gets the masked message too: the server its requests, the client its responses.
    #[serde(default)]
    pub inline: bool,
    /// Only at these endpoints; empty means all.
    #[serde(default)]
    pub endpoints: Vec<String>,
    /// Only for these tools; empty means all messages.
    #[serde(default)]
    pub tools: Vec<String>,
}

/// `mask.style`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MaskStyle {
    /// `[masked:<rule>]`: says nothing of the value.
    Redact,
    /// `[masked:<rule>:<16 hex digits>]`: equal values get equal digits, under the host's or fleet's key.
    #[default]
    Token,
    /// `[masked:<rule>:…<end>]`: at most the last four characters, and never more than a quarter of the value.
    Partial,
}

/// What a detector finds. Each is described in `docs/masking.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Detector {
    /// AWS access key ids, secret access keys and session tokens.
    AwsKey,
    /// Private keys in PEM and `PuTTY`'s format.
    PrivateKey,
    /// JSON Web Tokens.
    Jwt,
    /// GitHub's tokens.
    GithubToken,
    /// GitLab's tokens.
    GitlabToken,
    /// Slack's tokens and webhooks.
    SlackToken,
    /// Stripe's secret, restricted and webhook keys.
    StripeKey,
    /// Google's API keys, OAuth client secrets and access tokens.
    GoogleKey,
    /// Keys of other services, known by their prefixes.
    ApiKey,
    /// Bearer and basic credentials, OAuth tokens and client secrets by their names, passwords in URLs.
    OauthToken,
    /// Payment card numbers.
    CardNumber,
    /// International bank account numbers.
    Iban,
    /// E-mail addresses.
    Email,
    /// US social security numbers.
    Ssn,
    /// Telephone numbers.
    Phone,
    /// Random-looking strings beside words such as `secret` or `password`.
    HighEntropy,
}

impl Detector {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AwsKey,
        Self::PrivateKey,
        Self::Jwt,
        Self::GithubToken,
        Self::GitlabToken,
        Self::SlackToken,
        Self::StripeKey,
        Self::GoogleKey,
        Self::ApiKey,
        Self::OauthToken,
        Self::CardNumber,
        Self::Iban,
        Self::Email,
        Self::Ssn,
        Self::Phone,
        Self::HighEntropy,
    ];

    /// As the configuration and the tokens write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AwsKey => "aws_key",
            Self::PrivateKey => "private_key",
            Self::Jwt => "jwt",
            Self::GithubToken => "github_token",
            Self::GitlabToken => "gitlab_token",
            Self::SlackToken => "slack_token",
            Self::StripeKey => "stripe_key",
            Self::GoogleKey => "google_key",
            Self::ApiKey => "api_key",
            Self::OauthToken => "oauth_token",
            Self::CardNumber => "card_number",
            Self::Iban => "iban",
            Self::Email => "email",
            Self::Ssn => "ssn",
            Self::Phone => "phone",
            Self::HighEntropy => "high_entropy",
        }
    }
}

impl std::fmt::Display for Detector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// What the rules must also mean.
pub(super) fn meaning(config: &Config, findings: &mut Findings<'_>) {
    let known: HashSet<&str> = config.endpoints.iter().map(|endpoint| endpoint.name.as_str()).collect();
    let mut names = HashMap::new();
    for (i, mask) in config.masks.iter().enumerate() {
        let Mask { name: own, paths, detectors, style: _, inline: _, endpoints, tools } = mask;
        let place = |key| ["mask".into(), i.into(), Step::Key(key)];
        if let Some(own) = own {
            name(own, &place("name"), findings);
        }
        let effective = own.clone().unwrap_or_else(|| format!("mask-{}", i + 1));
        if let Some(first) = names.insert(effective.clone(), i) {
            let message = format!("`{effective}` is already the name of mask {}", first + 1);
            findings.add(&place("name"), message, "give each mask its own name");
        }
        if paths.is_empty() && detectors.is_empty() {
            let hint = "name at least one, as in `paths = [\"$..email\"]` or `detectors = [\"aws_key\"]`";
            findings.add(&place("paths"), "a mask without a path or a detector", hint);
        }
        for (j, endpoint) in endpoints.iter().enumerate().filter(|(_, name)| !known.contains(name.as_str())) {
            let place = ["mask".into(), i.into(), "endpoints".into(), j.into()];
            let near = known.iter().min_by_key(|known| strsim::damerau_levenshtein(known, endpoint));
            let hint = near.map_or("register it first".to_owned(), |near| format!("did you mean `{near}`?"));
            findings.add(&place, format!("no endpoint is named `{endpoint}`"), hint);
        }
        each_once(detectors, &place("detectors"), findings);
        each_once(endpoints, &place("endpoints"), findings);
        each_once(tools, &place("tools"), findings);
    }
}
