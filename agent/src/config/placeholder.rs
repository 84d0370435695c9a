//! `[placeholder]`: workloads that must sign are given keys that are worth nothing anywhere but here.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Config, Credentials, Endpoint,
    load::{Findings, Step},
    ranges,
};

/// `[placeholder]`. Without it nobody is given placeholders, and the metadata services are left alone.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Placeholder {
    /// Who opts in, by `workload.id` or `workload.name`; a `*` at the end stands for any rest, as in `ns/billing/*`.
    #[schemars(length(min = 1))]
    pub workloads: Vec<String>,
    /// The role's name that the instance metadata shows.
    #[serde(default = "default_role")]
    pub role: String,
    /// The region that the instance metadata shows; none is shown without it.
    #[serde(default)]
    pub region: Option<String>,
    /// How long a placeholder is valid, in seconds. SDKs fetch the next one before its end.
    #[serde(default = "default_duration")]
    #[schemars(range(min = 900, max = 43_200))]
    pub duration_s: u32,
    /// What happens to other workloads' connections to the metadata services.
    #[serde(default)]
    pub others: OtherWorkloads,
    /// What becomes of the workloads' calls to other AWS services, which know no placeholder.
    #[serde(default)]
    pub other_calls: OtherCalls,
}

/// `placeholder.others`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherWorkloads {
    /// Passed through untouched.
    #[default]
    Pass,
    /// Refused.
    Deny,
}

/// `placeholder.other_calls`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OtherCalls {
    /// They are signed again: an endpoint with `mcp = false` takes `*.amazonaws.com`.
    #[default]
    Resigned,
    /// They fail, unless they go to a registered endpoint: the workloads are known to make none.
    Fail,
}

/// What an endpoint for AWS's other services takes at least; the second is China's.
const AWS: [&str; 2] = ["*.amazonaws.com", "*.amazonaws.com.cn"];

fn default_role() -> String {
    "weir-placeholder".into()
}

const fn default_duration() -> u32 {
    3600
}

/// Checks what the keys mean, and that what they promise is kept.
pub(super) fn meaning(config: &Config, findings: &mut Findings<'_>) {
    for (i, endpoint) in config.endpoints.iter().enumerate().filter(|(_, endpoint)| !endpoint.mcp) {
        only_resigned(i, endpoint, config.placeholder.is_some(), findings);
    }
    let Some(placeholder) = &config.placeholder else { return };
    let place = |key| ["placeholder".into(), Step::Key(key)];
    if placeholder.workloads.is_empty() {
        findings.add(&place("workloads"), "nobody opts in", "name workloads, or leave the table out");
    }
    for (i, pattern) in placeholder.workloads.iter().enumerate() {
        let fixed = pattern.strip_suffix('*').unwrap_or(pattern);
        if pattern.is_empty() || fixed.contains('*') {
            let message = format!("`{}` is no workload's id or name", pattern.escape_debug());
            let hint = "write it as in `systemd/billing.service` or `ns/billing/*`: a `*` can only stand at the end";
            findings.add(&["placeholder".into(), "workloads".into(), i.into()], message, hint);
        }
        for (prefix, table, is_there) in
            [("ns/", "kubernetes", config.kubernetes.is_some()), ("ecs/", "ecs", config.ecs.is_some())]
        {
            if pattern.starts_with(prefix) && !is_there {
                let message = format!("without `[{table}]` no workload has such a name");
                let hint = format!("add `[{table}]`, or name workloads by their ids");
                findings.add(&["placeholder".into(), "workloads".into(), i.into()], message, hint);
            }
        }
    }
    // IAM API Reference, `CreateRole`: what a role's name may have; it is part of a path here.
    let is_role = |b: u8| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b);
    if !(1..=64).contains(&placeholder.role.len()) || !placeholder.role.bytes().all(is_role) {
        let message = format!("`{}` is no role's name", placeholder.role.escape_debug());
        findings.add(&place("role"), message, "use 1 to 64 letters, digits and `+=,.@_-`");
    }
    if let Some(region) = &placeholder.region {
        let is_region = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !(1..=64).contains(&region.len()) || !region.bytes().all(is_region) {
            findings.add(&place("region"), "not a region", "write it as in `us-east-1`");
        }
    }
    for ranges::Outside { key, value, min, max } in ranges::outside(placeholder) {
        let message = format!("{value} is outside the limits of `{key}`");
        findings.add(&["placeholder".into(), Step::Key(&key)], message, format!("use {min} to {max}"));
    }
    if !config.endpoints.iter().any(signs) {
        let message = "no endpoint signs, so nobody would take a placeholder";
        findings.add(&["placeholder".into()], message, "give an endpoint `credentials = { sigv4 = {} }`");
    } else if placeholder.other_calls == OtherCalls::Resigned && !config.endpoints.iter().any(takes_aws) {
        let message = "the workloads' calls to other AWS services would fail: these know no placeholder";
        let hint = "add an endpoint with `hosts = [\"*.amazonaws.com\"]`, `mcp = false` and the credentials to sign with, or \
                    say that there are no such calls: `other_calls = \"fail\"`";
        findings.add(&place("other_calls"), message, hint);
    }
}

/// An endpoint that is no MCP server is there for what placeholders signed.
fn only_resigned(i: usize, endpoint: &Endpoint, has_placeholders: bool, findings: &mut Findings<'_>) {
    let place = ["endpoint".into(), i.into(), "mcp".into()];
    if !has_placeholders || !signs(endpoint) {
        let message = "requests at an endpoint that is no MCP server pass untouched, unless a placeholder signed them";
        findings.add(&place, message, "add `[placeholder]` and `credentials = { sigv4 = … }`, or leave the key out");
    }
    if !endpoint.paths.is_empty() || endpoint.caller.is_some() {
        let message = "`paths` and `caller` are about MCP, and this endpoint is said to have none";
        findings.add(&place, message, "leave them out, or leave out `mcp = false`");
    }
}

fn signs(endpoint: &Endpoint) -> bool {
    matches!(endpoint.credentials, Credentials::Sigv4(_))
}

fn takes_aws(endpoint: &Endpoint) -> bool {
    let is_aws = |host: &String| AWS.contains(&host.trim_end_matches('.').to_ascii_lowercase().as_str());
    !endpoint.mcp && signs(endpoint) && endpoint.ports.contains(&443) && endpoint.hosts.iter().any(is_aws)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    const SIGNING: &str = "[[endpoint]]\nname = \"a\"\nhosts = [\"a.test\"]\ncredentials = { sigv4 = {} }\n";
    const AWS: &str = "[[endpoint]]\nname = \"aws\"\nhosts = [\"*.amazonaws.com\"]\nmcp = false\n";
    const TABLE: &str = "[placeholder]\nworkloads = [\"systemd/*\"]\n";

    fn complaint(text: &str) -> String {
        Config::parse(text, Path::new("weir.toml")).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn an_opt_in_that_would_break_other_calls_is_refused() {
        assert!(complaint(&format!("{SIGNING}{TABLE}")).contains("other AWS services would fail"));
        assert_eq!(complaint(&format!("{SIGNING}{TABLE}other_calls = \"fail\"\n")), "");
        assert_eq!(complaint(&format!("{SIGNING}{AWS}credentials = {{ sigv4 = {{}} }}\n{TABLE}")), "");
        assert!(complaint(&format!("{TABLE}other_calls = \"fail\"\n")).contains("no endpoint signs"));
    }

    #[test]
    fn what_is_no_mcp_server_is_there_for_placeholders_only() {
        let signed = format!("{AWS}credentials = {{ sigv4 = {{}} }}\n");
        assert!(complaint(&signed).contains("unless a placeholder signed them"));
        assert!(complaint(&format!("{SIGNING}{AWS}{TABLE}")).contains("unless a placeholder signed them"));
        assert!(complaint(&format!("{signed}paths = [\"/mcp\"]\n{TABLE}")).contains("about MCP"));
    }

    #[test]
    fn values_have_their_forms() {
        let with = |line: &str| complaint(&format!("{SIGNING}{TABLE}other_calls = \"fail\"\n{line}\n"));
        assert!(with("role = \"a/b\"").contains("no role's name"));
        assert!(with("region = \"US\"").contains("not a region"));
        assert!(with("duration_s = 60").contains("outside the limits"));
        let nobody = format!("{SIGNING}[placeholder]\nworkloads = []\nother_calls = \"fail\"\n");
        assert!(complaint(&nobody).contains("nobody opts in"));
        let amid = nobody.replace("[]", "[\"a*b\"]");
        assert!(complaint(&amid).contains("no workload's id or name"));
        let named = nobody.replace("[]", "[\"ns/billing/*\"]");
        assert!(complaint(&named).contains("without `[kubernetes]`"));
        assert_eq!(complaint(&format!("{named}[kubernetes]\n")), "");
    }
}
