//! What a server asks of its client: by a request of its own in a session, by an `input_required` result in the modern era
//! (2026-07-28, "Multi Round-Trip Requests").

use std::collections::BTreeMap;

use serde_json::value::RawValue;

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

/// What an `input_required` result asks for and may not. A task that waits for input says the same of itself (SEP-2663).
pub fn input_required(result: &[u8], rules: ServerRequests) -> Option<Finding> {
    if rules == ServerRequests::default() {
        return None;
    }
    let members: Members<'_> = serde_json::from_slice(result).ok()?;
    let requests = members.get("inputRequests").filter(|requests| requests.get() != "null")?;
    // Each by itself: what one reader does not understand must not keep the others from being read.
    let Ok(requests) = serde_json::from_str::<Members<'_>>(requests.get()) else { return Some(unreadable()) };
    requests.values().find_map(|request| match method(request) {
        Some(method) => Asks::by(&method)?.judge(rules),
        None => Some(unreadable()),
    })
}

/// What an error asks for and may not: -32042 has the client's user open an address (2025-11-25, "URL Elicitation Required").
pub fn required_by_error(error: &[u8], rules: ServerRequests) -> Option<Finding> {
    const URL_ELICITATION_REQUIRED: f64 = -32042.0;
    let members: Members<'_> = serde_json::from_slice(error).ok()?;
    // Python's SDK takes numbers of any form, and texts of them.
    let code: f64 = members.get("code")?.get().trim_matches('"').trim().parse().ok()?;
    (code == URL_ELICITATION_REQUIRED).then(|| Asks::Elicitation.judge(rules)).flatten()
}

/// An object's members.
type Members<'a> = BTreeMap<String, &'a RawValue>;

fn method(request: &RawValue) -> Option<String> {
    let members: Members<'_> = serde_json::from_str(request.get()).ok()?;
    serde_json::from_str(members.get("method")?.get()).ok()
}

fn unreadable() -> Finding {
    Finding {
        policy: "guard/input-required",
        reason: "what this server asks of the client cannot be read (endpoint.server_requests)".into(),
        permission: Permission::Deny,
    }
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
        for other in [&br#"{"content":[]}"#[..], b"[]", b"7", br#"{"inputRequests":null}"#, br#"{"inputRequests":{}}"#]
        {
            assert_eq!(input_required(other, rules), None);
        }
    }

    #[test]
    fn what_cannot_be_read_hides_nothing() {
        let rules = ServerRequests { elicitation: Permission::Deny, ..ServerRequests::default() };
        let policy = |requests: &str| {
            let result = format!(r#"{{"resultType":"input_required","inputRequests":{requests}}}"#);
            input_required(result.as_bytes(), rules).map(|finding| finding.policy)
        };
        let asks = r#""a":{"method":"elicitation/create"}"#;
        for odd in [r#""0":{"method":"roots/list","params":7}"#, r#""b":{"method":"unknown"}"#] {
            assert_eq!(policy(&format!("{{{odd},{asks}}}")), Some("guard/elicitation"), "{odd}");
        }
        for odd in [r#""0":{"method":7}"#, r#""0":{}"#, r#""0":[]"#, r#""0":null"#] {
            assert_eq!(policy(&format!("{{{odd},{asks}}}")), Some("guard/input-required"), "{odd}");
        }
        for odd in ["[]", "7", r#"[{"method":"elicitation/create"}]"#] {
            assert_eq!(policy(odd), Some("guard/input-required"), "{odd}");
        }
    }

    #[test]
    fn an_error_that_asks_is_judged_as_what_it_asks() {
        let rules = ServerRequests { elicitation: Permission::Deny, ..ServerRequests::default() };
        let policy = |error: &str| required_by_error(error.as_bytes(), rules).map(|finding| finding.policy);
        for code in ["-32042", "-32042.0", "-3.2042e4", r#""-32042""#] {
            let error = format!(r#"{{"code":{code},"message":"m","data":{{"elicitations":[]}}}}"#);
            assert_eq!(policy(&error), Some("guard/elicitation"), "{code}");
            assert_eq!(required_by_error(error.as_bytes(), ServerRequests::default()), None);
        }
        for other in [r#"{"code":-32043,"message":"m"}"#, r#"{"message":"-32042"}"#, "[]", r#""-32042""#] {
            assert_eq!(policy(other), None, "{other}");
        }
    }
}
