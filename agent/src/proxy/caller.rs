//! Who calls: the step between reading a request and judging it. A bearer token is verified, and ends here unless it is the
//! server's too; without one, whoever signed in where the client was started calls; else the client is told where to get one.

use std::sync::Arc;

use http::{
    HeaderValue, Method, Response, StatusCode,
    header::{ACCESS_CONTROL_ALLOW_ORIGIN, AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE},
    request::Parts,
    uri::Scheme,
};
use serde_json::json;

use super::{
    body::{self, Body},
    headers,
    http::{Connection, unrecorded},
    passed::PassedExchange,
    record::ExchangeFacts,
};
use crate::{
    config::normal_path,
    identity::{
        Caller,
        caller::{Barred, Gate, TokenError},
    },
    mcp::{Challenge, Class, Refusal},
};

/// Where a protected resource's metadata is, before the resource's own path (RFC 9728 §3).
const METADATA: &str = "/.well-known/oauth-protected-resource";

/// What clients read before they have a token (RFC 9728, RFC 8414, `OpenID` Connect Discovery).
const DISCOVERY: [&str; 3] = [METADATA, "/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];

/// What a request's head told of its caller. Kept in the head's extensions, for the exchange's facts.
#[derive(Debug, Clone, Default)]
pub(crate) struct Identified {
    /// Who calls, if that is known.
    pub(crate) caller: Option<Arc<Caller>>,
    /// Whether a token was taken off the request.
    pub(crate) took_token: bool,
}

/// Tells who calls, and takes the token off the request if it is for Weir alone.
///
/// # Errors
/// The refusal of who may not call, or of a token that is not believed: it is never taken for none.
pub(crate) async fn identify(connection: &Connection, head: &mut Parts) -> Result<(), Refusal> {
    let signed_in = connection.shared.callers.logins().caller_of(&connection.flow.workload);
    let Some(gate) = connection.shared.callers.gate(connection.endpoint.name()) else {
        // Where no rule says whom to believe, `[login]` does.
        head.extensions.insert(Identified { caller: signed_in, took_token: false });
        return Ok(());
    };
    // A browser asks without credentials whether it may ask with them (Fetch, "CORS-preflight request").
    if head.method == Method::OPTIONS || is_discovery(connection, head) {
        // Who shows a token all the same shows it to the agent.
        let took_token = !gate.passes_token() && shows_token(head) && head.headers.remove(AUTHORIZATION).is_some();
        head.extensions.insert(Identified { caller: None, took_token });
        return Ok(());
    }
    let token = bearer(head).map_err(|why| refuse_token(connection, head, &why))?;
    let (caller, has_token) = match token {
        // Who is nobody at the gate is nobody to policies, in the record and at STS, too.
        None => (signed_in.filter(|caller| gate.knows(caller)), false),
        Some(token) => match gate.verify(token).await {
            Ok(caller) => (Some(Arc::new(caller)), true),
            Err(TokenError::Unavailable) => {
                return Err(Refusal::new("caller-unverifiable", Class::Busy, TokenError::Unavailable.to_string()));
            }
            Err(error) => return Err(refuse_token(connection, head, &error.to_string())),
        },
    };
    let admitted = gate.admit(caller.as_deref());
    let took_token = has_token && !gate.passes_token();
    if took_token {
        head.headers.remove(AUTHORIZATION);
    }
    head.extensions.insert(Identified { caller, took_token });
    admitted.map_err(|barred| refuse_caller(connection, head, barred))
}

/// The token of the one `Authorization` header, if that is a bearer token's (RFC 6750 §2.1). Other schemes, such as a
/// signature's, are not a caller's.
fn bearer(head: &Parts) -> Result<Option<&str>, String> {
    let mut values = head.headers.get_all(AUTHORIZATION).iter();
    let (Some(value), rest) = (values.next(), values.next()) else { return Ok(None) };
    if rest.is_some() {
        return Err("there are several authorization headers".into());
    }
    let Some(token) = after_scheme(value) else { return Ok(None) };
    match std::str::from_utf8(token) {
        Ok(token) => Ok(Some(token.trim())),
        Err(_) => Err(TokenError::Malformed.to_string()),
    }
}

/// What follows `Bearer` and a blank, in a value of that scheme.
fn after_scheme(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, token) = value.as_bytes().split_at_checked("Bearer ".len())?;
    (scheme.eq_ignore_ascii_case(b"Bearer ") || scheme.eq_ignore_ascii_case(b"Bearer\t")).then_some(token)
}

/// Whether any `Authorization` header has a bearer token.
fn shows_token(head: &Parts) -> bool {
    head.headers.get_all(AUTHORIZATION).iter().any(|value| after_scheme(value).is_some())
}

fn refuse_token(connection: &Connection, head: &Parts, why: &str) -> Refusal {
    let challenge = Challenge::invalid(&metadata_url(connection, head), why);
    Refusal::new("caller-token", Class::Denied, why).challenging(challenge)
}

fn refuse_caller(connection: &Connection, head: &Parts, barred: Barred) -> Refusal {
    let metadata = metadata_url(connection, head);
    let (rule, why, challenge) = match barred {
        Barred::Unknown => {
            let why = "this endpoint must know who calls: show a token of its issuer, or sign in with `weir login`";
            ("caller-required", why, Challenge::missing(&metadata))
        }
        Barred::Group => {
            let why = "the caller is in none of the groups that may use this endpoint";
            ("caller-group", why, Challenge::insufficient(&metadata, why))
        }
    };
    Refusal::new(rule, Class::Denied, why).challenging(challenge)
}

/// Where the metadata of the resource that a request is for can be read.
fn metadata_url(connection: &Connection, head: &Parts) -> String {
    let path = head.uri.path();
    format!("{}{METADATA}{}", origin(connection, head), if path == "/" { "" } else { path })
}

/// Scheme and authority as the client wrote them.
fn origin(connection: &Connection, head: &Parts) -> String {
    let scheme = if connection.server.tls.is_some() { Scheme::HTTPS } else { Scheme::HTTP };
    let authority = headers::authority(head).map(|authority| authority.to_string()).unwrap_or_default();
    format!("{scheme}://{authority}")
}

/// Whether a request reads what tells a client where to get its token, at an endpoint that is its whole host.
fn is_discovery(connection: &Connection, head: &Parts) -> bool {
    connection.endpoint.endpoint.paths.is_empty()
        && matches!(head.method, Method::GET | Method::HEAD)
        && is_discovery_path(head.uri.path())
}

/// A path that no server reads as one elsewhere: with dot segments, however encoded, some would.
fn is_discovery_path(path: &str) -> bool {
    DISCOVERY.iter().any(|known| suffix(path, known).is_some()) && normal_path(path).is_ok()
}

/// The resource whose metadata a request asks for, if Weir is the one to answer: it takes the tokens.
pub(crate) fn metadata_asked(connection: &Connection, head: &Parts) -> Option<String> {
    let gate = connection.shared.callers.gate(connection.endpoint.name()).filter(|gate| !gate.passes_token())?;
    let path = suffix(head.uri.path(), METADATA).filter(|_| head.method == Method::GET)?;
    let path = if path.is_empty() { "/" } else { path };
    let is_ours = connection.endpoint.covers(path).unwrap_or(false);
    is_ours.then(|| metadata(gate, &format!("{}{path}", origin(connection, head)), connection.endpoint.name()))
}

/// What follows a well-known name, from its slash on.
fn suffix<'p>(path: &'p str, known: &str) -> Option<&'p str> {
    path.strip_prefix(known).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// RFC 9728 §2.
fn metadata(gate: &Gate, resource: &str, name: &str) -> String {
    json!({
        "resource": resource,
        "resource_name": name,
        "authorization_servers": [gate.issuer()],
        "bearer_methods_supported": ["header"],
    })
    .to_string()
}

/// Answers in the server's place, recorded as any request that is not a message.
pub(crate) async fn tell_metadata(
    connection: &Connection,
    facts: Arc<ExchangeFacts>,
    document: String,
) -> Response<Body> {
    match PassedExchange::begin(&connection.shared, facts).await {
        Ok(mut exchange) => exchange.answered(StatusCode::OK),
        Err(error) => return unrecorded(&error),
    }
    let mut response = Response::new(body::whole(document.into(), None));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
    // Clients in browsers read it too, and it is everybody's.
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(values: &[&str]) -> Parts {
        let mut request = http::Request::builder();
        for value in values {
            request = request.header(AUTHORIZATION, *value);
        }
        request.body(()).expect("a request").into_parts().0
    }

    #[test]
    fn one_bearer_token_is_a_callers() {
        assert_eq!(bearer(&head(&["Bearer a.b.c"])), Ok(Some("a.b.c")));
        assert_eq!(bearer(&head(&["bEARER  a.b.c "])), Ok(Some("a.b.c")));
        assert_eq!(bearer(&head(&["Bearer\ta.b.c"])), Ok(Some("a.b.c")));
        assert_eq!(bearer(&head(&[])), Ok(None));
        assert_eq!(bearer(&head(&["AWS4-HMAC-SHA256 Credential=a"])), Ok(None));
        assert_eq!(bearer(&head(&["Bearer"])), Ok(None));
        assert!(bearer(&head(&["Bearer a", "Bearer b"])).is_err());
        assert!(bearer(&head(&["AWS4-HMAC-SHA256 a", "Bearer b"])).is_err());
    }

    #[test]
    fn a_well_known_name_ends_at_a_segment() {
        assert_eq!(suffix("/.well-known/oauth-protected-resource", METADATA), Some(""));
        assert_eq!(suffix("/.well-known/oauth-protected-resource/mcp", METADATA), Some("/mcp"));
        assert_eq!(suffix("/.well-known/oauth-protected-resources", METADATA), None);
        assert_eq!(suffix("/mcp", METADATA), None);
    }

    #[test]
    fn what_leads_elsewhere_is_no_discovery() {
        let known = "/.well-known/openid-configuration";
        for good in ["", "/tenant", "/a%20b"] {
            assert!(is_discovery_path(&format!("{known}{good}")), "{good}");
        }
        for bad in ["/../../mcp", "/%2e%2e/%2E./mcp", "/..%2f..%2fmcp", "/..;x/..;/mcp", "/%252e%252e/mcp", "/..\\mcp"]
        {
            assert!(!is_discovery_path(&format!("{known}{bad}")), "{bad}");
        }
    }
}
