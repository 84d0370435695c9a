//! `[kubernetes]`, `[ecs]`, `[spire]`, `[host]`: who on this host can say more of a workload, and of the host.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::{
    Config,
    caller::provider_url,
    load::{Findings, Step},
};

/// `[kubernetes]`: names of pods and containers, from the kubelet. Without it records have their ids.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Kubernetes {
    /// The kubelet's secure port, as its certificate names it; default: port 10250 at the address in `WEIR_NODE_ADDRESS` of the
    /// agent's environment, else at 127.0.0.1.
    pub kubelet: Option<Url>,
    /// A file with the token of a service account that may get `nodes/pods`; read at each question.
    pub token_file: PathBuf,
    /// PEM file with roots that may verify the kubelet, besides the system's.
    pub ca: PathBuf,
}

/// `[ecs]`: names of tasks and containers, from the ECS agent on this host. Without it records have their ids.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ecs {
    /// The agent's introspection.
    pub agent: Url,
}

/// `[host]`: what instance this is, from the instance metadata service, recorded at the agent's start.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Instance {
    /// The service; its version 2 is spoken.
    pub imds: Url,
}

/// `[spire]`: SPIFFE IDs of processes, from SPIRE's agent on this host. Without it records have none.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Spire {
    /// The agent's admin socket, with the Delegated Identity API; the Workload API's socket would tell this agent's own ID.
    pub socket: PathBuf,
}

impl Default for Spire {
    fn default() -> Self {
        Self { socket: "/var/run/spire/admin/api.sock".into() }
    }
}

fn fixed(url: &str) -> Url {
    Url::parse(url).expect("a URL")
}

impl Kubernetes {
    /// Where the kubelet is.
    pub fn address(&self) -> Url {
        let of_environment = || {
            let address: IpAddr = std::env::var("WEIR_NODE_ADDRESS").ok()?.parse().ok()?;
            let mut url = fixed("https://127.0.0.1:10250");
            url.set_ip_host(address).ok().map(|()| url)
        };
        self.kubelet.clone().or_else(of_environment).unwrap_or_else(|| fixed("https://127.0.0.1:10250"))
    }
}

impl Default for Kubernetes {
    fn default() -> Self {
        let account = Path::new("/var/run/secrets/kubernetes.io/serviceaccount");
        Self { kubelet: None, token_file: account.join("token"), ca: account.join("ca.crt") }
    }
}

impl Default for Ecs {
    fn default() -> Self {
        Self { agent: fixed("http://127.0.0.1:51678") }
    }
}

impl Default for Instance {
    fn default() -> Self {
        Self { imds: fixed("http://169.254.169.254") }
    }
}

/// Checks what the keys mean.
pub(super) fn meaning(config: &Config, findings: &mut Findings<'_>) {
    if let Some(kubernetes) = &config.kubernetes {
        if let Some(kubelet) = &kubernetes.kubelet {
            provider_url(kubelet.as_str(), &["kubernetes".into(), "kubelet".into()], findings);
        }
        for (key, path) in [("token_file", &kubernetes.token_file), ("ca", &kubernetes.ca)] {
            if path.is_relative() {
                let hint = "the agent has no working directory of yours: begin the path with `/`";
                findings.add(&["kubernetes".into(), Step::Key(key)], "a relative path", hint);
            }
        }
    }
    if let Some(spire) = &config.spire
        && spire.socket.is_relative()
    {
        let hint = "the agent has no working directory of yours: begin the path with `/`";
        findings.add(&["spire".into(), "socket".into()], "a relative path", hint);
    }
    if let Some(ecs) = &config.ecs {
        provider_url(ecs.agent.as_str(), &["ecs".into(), "agent".into()], findings);
    }
}
