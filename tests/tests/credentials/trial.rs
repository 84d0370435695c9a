//! A stage with AWS and a server that takes nothing unsigned.

use std::fs;

use serde_json::{Value, json};
use weir_tests::fixture::{APP, Agent, Aws, ConfigToml, Curl, Reply, Seen, Server, ServerKind, Stage};

/// The role that is assumed.
pub(crate) const ROLE: &str = Aws::ROLE;

/// See the module.
pub(crate) struct Trial {
    pub(crate) aws: Aws,
    pub(crate) server: Server,
    pub(crate) stage: Stage,
}

impl Trial {
    /// `aliases` are more names of the server, which is `mcp.test`; `options` are the server's.
    pub(crate) fn new(name: &str, aliases: &[&str], options: &[&str]) -> Self {
        let mut stage = Stage::new(name);
        let aws = Aws::start(&stage);
        let (keys, clock) = (aws.keys_file(), stage.world().dir().join("clock").display().to_string());
        let mut all = vec!["--keys", &keys, "--clock", &clock];
        all.extend(options);
        let server = stage.serve_as(ServerKind::Aws, "mcp.test", aliases, true, &all);
        Self { aws, server, stage }
    }

    /// Starts the agent, with its own key in its environment: `mcp.test` with these credentials.
    pub(crate) fn agent(&self, credentials: &str) -> Agent<'_> {
        let config = ConfigToml::of(&[]).endpoint(&self.server, &format!("credentials = {credentials}"));
        self.agent_with(&config)
    }

    pub(crate) fn agent_with(&self, config: &ConfigToml) -> Agent<'_> {
        Agent::start_with(&self.stage, config, &Aws::ENVIRONMENT)
    }

    /// Credentials of a role, by this trial's STS.
    pub(crate) fn role(&self, more: &str) -> String {
        let url = self.aws.url();
        format!(
            "{{ sigv4 = {{ service = \"bedrock-agentcore\", region = \"us-east-1\", role_arn = \"{ROLE}\", \
             sts_endpoint_url = \"{url}\", {more} }} }}"
        )
    }

    /// One call by hand.
    pub(crate) fn ping(&self) -> Reply {
        Curl::post("https://mcp.test/rpc", &ping(1)).run(&self.stage, APP)
    }

    /// What has reached the server, in order.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.server.seen()
    }

    /// Nothing that the agent wrote or says has any of the secrets in it: its own key, what STS gave, and more.
    pub(crate) fn assert_nothing_leaked(&self, agent: &Agent<'_>, more: &[&str]) {
        self.assert_written_nowhere(agent, more);
        let status = agent.status().to_string();
        for secret in self.secrets(more) {
            assert!(!status.contains(&secret), "{status}");
        }
    }

    /// The same of an agent that has ended.
    pub(crate) fn assert_written_nowhere(&self, agent: &Agent<'_>, more: &[&str]) {
        for secret in self.secrets(more) {
            let found = agent.files_with(&secret);
            assert!(found.is_empty(), "{secret} is in {found:?}");
        }
    }

    fn secrets(&self, more: &[&str]) -> Vec<String> {
        let of_sts = self.aws.granted().into_iter().flat_map(|(secret, token)| [secret, token]);
        of_sts.chain([Aws::SECRET.to_owned()]).chain(more.iter().map(|secret| (*secret).to_owned())).collect()
    }

    pub(crate) fn file(&self, name: &str, content: &str) -> String {
        let path = self.stage.world().dir().join(name);
        let aside = path.with_extension("new");
        fs::write(&aside, content).expect("write a file");
        fs::rename(&aside, &path).expect("put a file in its place");
        path.display().to_string()
    }
}

/// A call that needs no session.
pub(crate) fn ping(id: u64) -> Value {
    json!({ "jsonrpc": "2.0", "id": id, "method": "ping" })
}
