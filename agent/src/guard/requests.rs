//! What a server asks of its client: by a request of its own in a session, by an `input_required` result in the modern era
//! (2026-07-28, "Multi Round-Trip Requests").

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Finding;
use crate::config::{Permission, ServerRequests};

/// A kind of request that a server makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// `sampling/createMessage`.
    Sampling,
    /// `elicitation/create`.
    Elicitation,
    /// `roots/list`.
    Roots,
}

impl Asks {
    /// What a method asks for; `None` for what is no favour, such as `ping`.
    pub fn by(method: &str) -> Option<Self> {
        match method {
            "sampling/createMessage" => Some(Self::Sampling),
            "elicitation/create" => Some(Self::Elicitation),
            "roots/list" => Some(Self::Roots),
            _ => None,
        }
    }

    /// What is said of it, where it is denied.
    pub fn judge(self, rules: ServerRequests) -> Option<Finding> {
        let (permission, policy, what) = match self {
            Self::Sampling => (rules.sampling, "guard/sampling", "generate text (sampling)"),
            Self::Elicitation => (rules.elicitation, "guard/elicitation", "ask its user (elicitation)"),
            Self::Roots => (rules.roots, "guard/roots", "list its directories (roots)"),
        };
        (permission == Permission::Deny).then(|| Finding {
            policy,
            reason: format!("this server may not ask the client to {what} (endpoint.server_requests)"),
            permission,
        })
    }
}

/// What an `input_required` result asks for and may not.
pub fn input_required(result: &[u8], rules: ServerRequests) -> Option<Finding> {
    #[derive(Deserialize)]
    struct Required {
        #[serde(rename = "inputRequests", default)]
        requests: BTreeMap<String, Request>,
    }
    #[derive(Deserialize)]
    struct Request {
        #[serde(default)]
        method: String,
    }
    if rules == ServerRequests::default() {
        return None;
    }
    let required: Required = serde_json::from_slice(result).ok()?;
    required.requests.values().find_map(|request| Asks::by(&request.method)?.judge(rules))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_is_judged_by_its_own_rule() {
        let rules = ServerRequests { sampling: Permission::Deny, ..ServerRequests::default() };
        let judged = |method| Asks::by(method).and_then(|asks| asks.judge(rules)).map(|finding| finding.policy);
        assert_eq!(judged("sampling/createMessage"), Some("guard/sampling"));
        for method in ["elicitation/create", "roots/list", "ping", "Sampling/createMessage"] {
            assert_eq!(judged(method), None, "{method}");
        }
    }

    #[test]
    fn input_that_is_required_is_judged_too() {
        let rules = ServerRequests { elicitation: Permission::Deny, ..ServerRequests::default() };
        let result = br#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"},"b":{"method":"elicitation/create","params":{}}},"requestState":"x"}"#;
        assert_eq!(input_required(result, rules).map(|finding| finding.policy), Some("guard/elicitation"));
        assert_eq!(input_required(result, ServerRequests::default()), None);
        for other in [&br#"{"content":[]}"#[..], b"[]", b"7", br#"{"inputRequests":{"a":{}}}"#] {
            assert_eq!(input_required(other, rules), None);
        }
    }
}
