//! What well-formed credentials must also mean.

use std::{fs::File, path::Path};

use super::{ClientCertificate, Credentials, ManagedSecret, OAuth, Role, RoleProof, SecretFile, SecretSource, SigV4};
use crate::config::{
    Endpoint, OtherPaths,
    load::{Findings, Step},
};

/// Longest session policy (AWS STS API Reference, `AssumeRole`).
const MAX_POLICY: usize = 2048;

/// Checks one endpoint's credentials.
pub(in crate::config) fn meaning(i: usize, endpoint: &Endpoint, findings: &mut Findings<'_>) {
    let at = |kind| ["endpoint".into(), i.into(), "credentials".into(), Step::Key(kind)];
    match &endpoint.credentials {
        Credentials::Passthrough => {}
        Credentials::Sigv4(sigv4) => check_sigv4(sigv4, &at("sigv4"), findings),
        Credentials::Bearer(source) => secret(source, &at("bearer"), findings),
        Credentials::Oauth(oauth) => check_oauth(oauth, &at("oauth"), findings),
        Credentials::Mtls(certificate) => {
            for (key, path) in files_of(certificate) {
                absolute(path, &below(&at("mtls"), key), findings);
            }
            if !endpoint.paths.is_empty() && endpoint.other_paths == OtherPaths::Pass {
                let message = "a client certificate is a connection's, so requests outside `paths` would use it too";
                findings.add(&at("mtls"), message, "add `other_paths = \"deny\"`, or leave `paths` out");
            }
        }
    }
}

/// Checks that the files which the credentials name can be read.
pub(in crate::config) fn files(i: usize, credentials: &Credentials, findings: &mut Findings<'_>) {
    let at = |kind| ["endpoint".into(), i.into(), "credentials".into(), Step::Key(kind)];
    match credentials {
        Credentials::Passthrough | Credentials::Sigv4(_) => {}
        Credentials::Bearer(source) => secret_file(source, &at("bearer"), findings),
        Credentials::Oauth(oauth) => {
            secret_file(&oauth.client_secret, &below(&at("oauth"), "client_secret"), findings);
            if let Some(ca) = &oauth.ca {
                readable(ca, &below(&at("oauth"), "ca"), findings);
            }
        }
        Credentials::Mtls(certificate) => {
            for (key, path) in files_of(certificate) {
                readable(path, &below(&at("mtls"), key), findings);
            }
        }
    }
}

fn check_sigv4(sigv4: &SigV4, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let SigV4 { service, region, role } = sigv4;
    for (key, value) in [("service", service), ("region", region)] {
        if let Some(value) = value.as_deref().filter(|value| !is_scope_part(value)) {
            let hint = "use lower-case letters, digits and `-`, as in `bedrock-agentcore` or `us-east-1`";
            findings.add(&below(place, key), format!("`{}` is no {key}", value.escape_debug()), hint);
        }
    }
    let Some(Role { arn, proof, session_policy, duration_s, endpoint_url }) = role else { return };
    let is_role = arn.starts_with("arn:") && arn.split(':').count() == 6 && arn.contains(":role/");
    if !is_role {
        let hint = "give the role's ARN, as in `arn:aws:iam::111122223333:role/mcp`";
        findings.add(&below(place, "role_arn"), format!("`{}` is no role's ARN", arn.escape_debug()), hint);
    }
    if let Some(policy) = session_policy {
        let is_json = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(policy).is_ok();
        if !is_json || policy.len() > MAX_POLICY {
            let message = format!("not a JSON object of at most {MAX_POLICY} characters");
            findings.add(&below(place, "session_policy"), message, "write the policy as JSON, without blanks");
        }
    }
    if !(900..=43_200).contains(duration_s) {
        let message = format!("{duration_s} is outside the limits of `duration_s`");
        findings.add(&below(place, "duration_s"), message, "use 900 to 43200");
    }
    if let RoleProof::WebIdentity { token_file } = proof {
        absolute(token_file, &below(place, "web_identity_token_file"), findings);
    }
    if let Some(url) = endpoint_url {
        http_url(url, &below(place, "sts_endpoint_url"), findings);
    }
}

fn check_oauth(oauth: &OAuth, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let OAuth { token_url, client_secret, resource, ca, .. } = oauth;
    if !is_private_way(token_url) {
        let message = format!("`{token_url}` would be told the client secret in clear text");
        findings.add(&below(place, "token_url"), message, "use https, or http on the loopback");
    }
    if resource.as_ref().is_some_and(|resource| resource.fragment().is_some()) {
        let message = "a resource indicator has no fragment (RFC 8707 §2)";
        findings.add(&below(place, "resource"), message, "leave out `#` and what follows it");
    }
    secret(client_secret, &below(place, "client_secret"), findings);
    if let Some(ca) = ca {
        absolute(ca, &below(place, "ca"), findings);
    }
}

fn secret(source: &SecretSource, place: &[Step<'_>], findings: &mut Findings<'_>) {
    match source {
        SecretSource::File(SecretFile { file }) => absolute(file, &below(place, "file"), findings),
        SecretSource::Manager(ManagedSecret { refresh_s, endpoint_url, .. }) => {
            if !(10..=86_400).contains(refresh_s) {
                let message = format!("{refresh_s} is outside the limits of `refresh_s`");
                findings.add(&below(place, "refresh_s"), message, "use 10 to 86400");
            }
            if let Some(url) = endpoint_url {
                http_url(url, &below(place, "endpoint_url"), findings);
            }
        }
    }
}

fn secret_file(source: &SecretSource, place: &[Step<'_>], findings: &mut Findings<'_>) {
    if let SecretSource::File(SecretFile { file }) = source {
        readable(file, &below(place, "file"), findings);
    }
}

fn files_of(certificate: &ClientCertificate) -> [(&'static str, &Path); 2] {
    [("cert", &certificate.cert), ("key", &certificate.key)]
}

fn absolute(path: &Path, place: &[Step<'_>], findings: &mut Findings<'_>) {
    if !path.is_absolute() {
        findings.add(place, "a relative path", "the agent has no working directory of yours: begin the path with `/`");
    }
}

fn readable(path: &Path, place: &[Step<'_>], findings: &mut Findings<'_>) {
    if let Err(error) = File::open(path) {
        findings.add(place, format!("cannot read {}: {error}", path.display()), "name a readable file");
    }
}

fn http_url(url: &str, place: &[Step<'_>], findings: &mut Findings<'_>) {
    let is_one = url::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
    if !is_one {
        let message = format!("`{}` is no URL of http or https", url.escape_debug());
        findings.add(place, message, "write it as in `https://sts.us-east-1.amazonaws.com`");
    }
}

/// Whether what is sent to a URL stays between the two.
fn is_private_way(url: &url::Url) -> bool {
    let is_loopback = match url.host() {
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && is_loopback)
}

/// What a credential scope's parts look like.
fn is_scope_part(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn below<'k>(place: &[Step<'k>], key: &'k str) -> Vec<Step<'k>> {
    place.iter().copied().chain([Step::Key(key)]).collect()
}
