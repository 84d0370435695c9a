//! What is answered to one request.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, Method, Response, StatusCode,
    header::{AUTHORIZATION, CONTENT_TYPE},
    request::Parts,
};
use jiff::{Timestamp, Unit};
use serde::Serialize;

use super::Service;
use crate::{
    credentials::{Placeholder, Placeholders},
    identity::Workload,
};

/// EC2 User Guide, "Use IMDSv2": 1 second to six hours.
const TTL: &str = "x-aws-ec2-metadata-token-ttl-seconds";
const MOST_TTL: u64 = 21_600;
const TOKEN: &str = "x-aws-ec2-metadata-token";
const ROLES: &str = "/latest/meta-data/iam/security-credentials";

/// Who is answered, and as which service.
pub(super) struct Desk<'a> {
    pub(super) service: Service,
    pub(super) workload: &'a Workload,
    pub(super) placeholders: &'a Placeholders,
}

/// An answer.
pub(super) struct Answer {
    pub(super) response: Response<Bytes>,
    pub(super) gives_placeholder: bool,
}

/// What the instance's metadata says of a role's credentials.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct OfInstance<'a> {
    code: &'static str,
    last_updated: String,
    r#type: &'static str,
    #[serde(flatten)]
    keys: Keys<'a>,
}

/// The credentials, as all services write them.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Keys<'a> {
    access_key_id: &'a str,
    secret_access_key: &'a str,
    token: &'a str,
    expiration: String,
}

impl Desk<'_> {
    pub(super) fn answer(&self, head: &Parts, now: Timestamp) -> Answer {
        match self.service {
            Service::Instance => self.of_instance(head, now),
            // The address alone is proof enough there, and the workload is known here.
            Service::Tasks if head.method == Method::GET && is_below("/v2/credentials", head.uri.path()) => {
                self.of_container(now)
            }
            Service::Pods if head.method == Method::GET && head.uri.path() == "/v1/credentials" => {
                // A token that a request forged from outside would not have. Whose it is the kernel has said.
                let has_token = head.headers.get(AUTHORIZATION).is_some_and(|token| !token.is_empty());
                if has_token {
                    self.of_container(now)
                } else {
                    text(StatusCode::UNAUTHORIZED, "no authorization token")
                }
            }
            Service::Tasks | Service::Pods => not_here(),
        }
    }

    fn of_instance(&self, head: &Parts, now: Timestamp) -> Answer {
        let path = head.uri.path();
        if head.method == Method::PUT && path == "/latest/api/token" {
            return self.admit(&head.headers, now);
        }
        if head.method != Method::GET {
            return not_here();
        }
        let token = head.headers.get(TOKEN).and_then(|token| token.to_str().ok());
        if !token.is_some_and(|token| self.placeholders.admits(self.workload, now, token)) {
            return text(StatusCode::UNAUTHORIZED, "no valid token: only version 2 is spoken");
        }
        let config = self.placeholders.config();
        match (path.strip_prefix(ROLES), path, &config.region) {
            (Some("" | "/"), ..) => text(StatusCode::OK, &config.role),
            (Some(role), ..) if role.strip_prefix('/') == Some(&config.role) => self.of_role(now),
            (_, "/latest/meta-data/placement/region", Some(region)) => text(StatusCode::OK, region),
            (_, "/latest/dynamic/instance-identity/document", Some(region)) => {
                json(&serde_json::json!({ "region": region }))
            }
            _ => not_here(),
        }
    }

    /// The token that opens version 2. What a proxy passes on is refused, as the service does.
    fn admit(&self, headers: &HeaderMap, now: Timestamp) -> Answer {
        if headers.contains_key("x-forwarded-for") {
            return text(StatusCode::FORBIDDEN, "not through a proxy");
        }
        let asked = headers.get(TTL).and_then(|ttl| ttl.to_str().ok()?.parse::<u64>().ok());
        let Some(ttl) = asked.filter(|ttl| (1..=MOST_TTL).contains(ttl)) else {
            return text(StatusCode::BAD_REQUEST, "x-aws-ec2-metadata-token-ttl-seconds must be 1 to 21600");
        };
        let token = self.placeholders.admit(self.workload, now, Duration::from_secs(ttl));
        let mut answer = text(StatusCode::OK, &token);
        answer.response.headers_mut().insert(TTL, ttl.into());
        answer
    }

    fn of_role(&self, now: Timestamp) -> Answer {
        let placeholder = self.placeholders.give(self.workload, now);
        let answer = OfInstance {
            code: "Success",
            last_updated: seconds(now),
            r#type: "AWS-HMAC",
            keys: Keys::of(&placeholder),
        };
        Answer { gives_placeholder: true, ..json(&answer) }
    }

    fn of_container(&self, now: Timestamp) -> Answer {
        let placeholder = self.placeholders.give(self.workload, now);
        Answer { gives_placeholder: true, ..json(&Keys::of(&placeholder)) }
    }
}

impl<'a> Keys<'a> {
    fn of(Placeholder { key_id, secret, token, ends }: &'a Placeholder) -> Self {
        Self { access_key_id: key_id, secret_access_key: secret, token, expiration: seconds(*ends) }
    }
}

/// `2026-11-23T12:00:00Z`.
fn seconds(time: Timestamp) -> String {
    time.round(Unit::Second).unwrap_or(time).to_string()
}

fn is_below(prefix: &str, path: &str) -> bool {
    path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn not_here() -> Answer {
    text(StatusCode::NOT_FOUND, "not told to workloads with placeholders")
}

fn text(status: StatusCode, text: &str) -> Answer {
    content(status, "text/plain", text.to_owned().into())
}

fn json(value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).unwrap_or_default();
    content(StatusCode::OK, "application/json", text.into())
}

fn content(status: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    let mut response = Response::new(bytes);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static(kind));
    Answer { response, gives_placeholder: false }
}

#[cfg(test)]
mod tests;
