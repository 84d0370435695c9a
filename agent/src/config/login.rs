//! `[login]`: people sign in with `weir login`, and what they start is theirs.

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    caller::provider_url,
    load::{Findings, Step},
    ranges,
};

/// `[login]`. Without it nobody signs in.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The identity provider, exactly as its tokens name it (`iss`): an `https` URL, or `http` on the loopback.
    pub issuer: String,
    /// The name under which the provider knows the agent: a public client, with the redirect URI
    /// `http://127.0.0.1/callback` at any port (RFC 8252 §7.3).
    pub client_id: String,
    /// What is asked for besides `openid`; some providers give groups only for a scope.
    #[serde(default)]
    pub scopes: Vec<String>,
    /// The claim with the caller's groups, as `endpoint.caller.groups_claim`.
    #[serde(default = "default_groups_claim")]
    pub groups_claim: String,
    /// How long a login holds, in seconds.
    #[serde(default = "default_ttl")]
    #[schemars(range(min = 1, max = 604_800))]
    pub ttl_s: u64,
    /// PEM file with roots that may verify the provider, besides the system's.
    #[serde(default)]
    pub ca: Option<PathBuf>,
    /// `unix:<path>`: where `weir login` finds the agent; open to every user.
    #[serde(default = "default_listen")]
    pub listen: String,
}

impl Login {
    /// The socket's path where nothing else is configured.
    pub const SOCKET: &'static str = "/run/weir/login.sock";

    /// The socket's path, when `listen` has the form that validation requires.
    pub fn socket(&self) -> Option<&Path> {
        self.listen.strip_prefix("unix:").map(Path::new)
    }
}

fn default_groups_claim() -> String {
    "groups".into()
}

const fn default_ttl() -> u64 {
    8 * 3600
}

fn default_listen() -> String {
    format!("unix:{}", Login::SOCKET)
}

/// Checks what the keys mean.
pub(super) fn meaning(login: Option<&Login>, findings: &mut Findings<'_>) {
    let Some(login) = login else { return };
    let place = |key| ["login".into(), Step::Key(key)];
    provider_url(&login.issuer, &place("issuer"), findings);
    if login.client_id.is_empty() {
        findings.add(&place("client_id"), "the provider cannot know a client without a name", "register one there");
    }
    if login.socket().is_none_or(|path| !path.is_absolute()) {
        let hint = "write `unix:` and an absolute path, as in `unix:/run/weir/login.sock`";
        findings.add(&place("listen"), format!("`{}` is not a Unix socket", login.listen.escape_debug()), hint);
    }
    if login.ca.as_deref().is_some_and(Path::is_relative) {
        let hint = "the agent has no working directory of yours: begin the path with `/`";
        findings.add(&place("ca"), "a relative path", hint);
    }
    for ranges::Outside { key, value, min, max } in ranges::outside(login) {
        let message = format!("{value} is outside the limits of `{key}`");
        findings.add(&["login".into(), Step::Key(&key)], message, format!("use {min} to {max}"));
    }
}
