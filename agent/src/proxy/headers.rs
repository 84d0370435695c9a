//! What HTTP itself asks of an intermediary: one authority, one framing, no hop-by-hop headers passed on (RFC 9110 §7.6.1,
//! RFC 9112 §3.2 and §6.3).

use http::{
    HeaderMap, HeaderName, Uri, Version,
    header::{
        ACCEPT, AUTHORIZATION, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING,
        UPGRADE,
    },
    request::Parts,
    uri::{Authority, Scheme},
};

use crate::config::Host;

/// Headers that mean something between two neighbours only.
const HOP_BY_HOP: [HeaderName; 5] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    UPGRADE,
    TRANSFER_ENCODING,
];

/// What a `Connection` header cannot take off a request: these are for the server (RFC 9110 §7.6.1), and what is judged is
/// what is sent. So are all whose names begin with `mcp-`.
const END_TO_END: [HeaderName; 5] = [HOST, CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, AUTHORIZATION];

/// Why a request's head is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeadError {
    /// RFC 9112 §3.2: exactly one Host.
    #[error("the request names no host, or several")]
    Host,
    /// RFC 9113 §8.3.1: `:authority` and Host must agree.
    #[error("the request line and the Host header name different hosts")]
    Disagree,
    /// The name is not the one that TLS was set up for.
    #[error("the request is for {asked}, but the connection was opened for {opened}")]
    Misdirected {
        /// What the request names.
        asked: String,
        /// What the connection was made for.
        opened: String,
    },
    /// RFC 9112 §6.1: a transfer coding other than `chunked`.
    #[error("transfer-encoding is not just `chunked`")]
    Framing,
    /// RFC 9110 §7.6.1: a header for the server named as one for the next hop.
    #[error("connection names {0}, which is for the server")]
    Nominated(HeaderName),
    /// CONNECT, or an upgrade at an endpoint path: what follows could not be inspected.
    #[error("{0} would leave the connection uninspected")]
    Tunnel(&'static str),
}

/// The one authority that a request names.
///
/// # Errors
/// [`HeadError::Host`] or [`HeadError::Disagree`].
pub(crate) fn authority(head: &Parts) -> Result<Authority, HeadError> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => Some(Authority::try_from(host.as_bytes()).map_err(|_| HeadError::Host)?),
        (None, None) => None,
        _ => return Err(HeadError::Host),
    };
    match (head.uri.authority().cloned(), host) {
        (Some(line), Some(host)) if !same_authority(&line, &host) => Err(HeadError::Disagree),
        (Some(authority), _) | (None, Some(authority)) if authority.as_str().contains('@') => Err(HeadError::Host),
        (Some(authority), _) | (None, Some(authority)) => Ok(authority),
        (None, None) => Err(HeadError::Host),
    }
}

/// The absolute URI that a request names, whichever form its target has (RFC 9112 §3.3).
pub(crate) fn absolute_uri(head: &Parts, scheme: Scheme) -> Uri {
    let mut parts = head.uri.clone().into_parts();
    parts.scheme = Some(scheme);
    parts.authority = authority(head).ok();
    Uri::from_parts(parts).unwrap_or_else(|_| head.uri.clone())
}

fn same_authority(a: &Authority, b: &Authority) -> bool {
    canonical_host(a.host()) == canonical_host(b.host()) && a.port_u16() == b.port_u16()
}

/// A host as names are compared; what is no host compares as it is written.
pub(crate) fn canonical_host(host: &str) -> String {
    host.parse::<Host>().map_or_else(|_| host.to_owned(), |host| host.to_string())
}

/// Checks that a request's framing and method leave one reading of it.
///
/// # Errors
/// [`HeadError::Framing`] or [`HeadError::Tunnel`].
pub(crate) fn check_framing(head: &Parts) -> Result<(), HeadError> {
    let codings: Vec<_> = head.headers.get_all(TRANSFER_ENCODING).iter().collect();
    match codings.as_slice() {
        [] => {}
        [one] if one.as_bytes().eq_ignore_ascii_case(b"chunked") && head.version == Version::HTTP_11 => {}
        _ => return Err(HeadError::Framing),
    }
    if head.method == http::Method::CONNECT {
        return Err(HeadError::Tunnel("CONNECT"));
    }
    if let Some(name) = nominated(&head.headers).find(|n| END_TO_END.contains(n) || n.as_str().starts_with("mcp-")) {
        return Err(HeadError::Nominated(name));
    }
    // An offer of HTTP/2 in plain text may be ignored (RFC 9110 §7.8), and common clients make it with every first request.
    if head.headers.get_all(UPGRADE).iter().any(|offer| !offer.as_bytes().eq_ignore_ascii_case(b"h2c")) {
        return Err(HeadError::Tunnel("an upgrade"));
    }
    Ok(())
}

/// Removes what describes a content that is sent in another form than it came (RFC 9110 §8.4, RFC 9530 §2 and §3, RFC 9110 §8.8.3).
pub(crate) fn content_changed(headers: &mut HeaderMap) {
    for name in ["content-encoding", "content-digest", "repr-digest", "digest", "content-md5", "etag"] {
        headers.remove(name);
    }
}

/// Removes what must not cross an intermediary. `TE: trailers` is kept: trailers are passed on.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = nominated(headers).filter(|name| name != TE).collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    let trailers = headers.get_all(TE).iter().any(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    headers.remove(TE);
    if trailers {
        headers.insert(TE, http::HeaderValue::from_static("trailers"));
    }
}

/// The headers that `Connection` names.
fn nominated(headers: &HeaderMap) -> impl Iterator<Item = HeaderName> {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).filter_map(|token| token.trim().parse().ok())
}

/// What a response's body is to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Carries {
    /// Server-sent events.
    Events,
    /// One JSON text.
    Message,
    /// The one or the other, or text that is no UTF-8: clients differ.
    Unclear,
}

/// What a response says of its body, read as generously as the most generous client reads it: Python's SDK compares the header's
/// beginning, others the type, and older ones look for the name anywhere.
pub(crate) fn carries(headers: &HeaderMap) -> Option<Carries> {
    let types = content_types(headers);
    match (types.contains("text/event-stream"), types.contains("application/json"), charset(&types)) {
        (false, false, _) => None,
        (true, false, Charset::Utf8) => Some(Carries::Events),
        // Clients read JSON as UTF-8 whatever it says of itself; what differs then is no more than a character.
        (false, true, Charset::Utf8 | Charset::Latin1) => Some(Carries::Message),
        _ => Some(Carries::Unclear),
    }
}

/// What a body says its text is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Charset {
    /// UTF-8, a part of it, or nothing, which means it.
    Utf8,
    /// ISO 8859-1: the same as far as ASCII goes.
    Latin1,
    /// Anything else. The same bytes may be another text in it.
    Other,
}

/// The charset that a body's `content-type` names.
pub(crate) fn charset_of(headers: &HeaderMap) -> Charset {
    charset(&content_types(headers))
}

/// Clients and servers decode by it: Python's read streams, the TypeScript SDK's servers and Express requests.
fn charset(types: &str) -> Charset {
    let mut charset = Charset::Utf8;
    for (at, name) in types.match_indices("charset") {
        let value = types[at + name.len()..].trim_start().strip_prefix('=').map(str::trim_start);
        let value = value.map(|value| value.split([';', ',']).next().unwrap_or_default().trim().trim_matches('"'));
        match value {
            Some("utf-8" | "utf8" | "us-ascii") => {}
            Some("iso-8859-1") => charset = Charset::Latin1,
            _ => return Charset::Other,
        }
    }
    charset
}

/// Every `content-type`, in lower case.
fn content_types(headers: &HeaderMap) -> String {
    let values = headers.get_all(CONTENT_TYPE).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase() + ",").collect()
}

/// Whether a request asks for a stream of events: its client may read the answer as one whatever that says of itself, as the
/// TypeScript SDK does.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(ACCEPT).iter();
    accepted.any(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase().contains("text/event-stream"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        build(http::Request::builder()).body(()).expect("a request").into_parts().0
    }

    #[test]
    fn a_target_of_either_form_names_the_same_uri() {
        let origin_form = head(|b| b.uri("/sse?x=1").header(HOST, "a:8443"));
        let absolute_form = head(|b| b.uri("https://a:8443/sse?x=1"));
        for head in [origin_form, absolute_form] {
            assert_eq!(absolute_uri(&head, Scheme::HTTPS).to_string(), "https://a:8443/sse?x=1");
        }
    }

    #[test]
    fn a_request_names_exactly_one_host() {
        assert_eq!(authority(&head(|b| b.uri("/mcp"))), Err(HeadError::Host));
        assert_eq!(authority(&head(|b| b.header(HOST, "a").header(HOST, "a"))), Err(HeadError::Host));
        assert_eq!(authority(&head(|b| b.header(HOST, "user@a"))), Err(HeadError::Host));
        assert_eq!(authority(&head(|b| b.uri("https://b/mcp").header(HOST, "a"))), Err(HeadError::Disagree));
        assert_eq!(
            authority(&head(|b| b.uri("https://A./mcp").header(HOST, "a"))).map(|a| a.to_string()),
            Ok("A.".into())
        );
        assert_eq!(authority(&head(|b| b.header(HOST, "a:8443"))).map(|a| a.port_u16()), Ok(Some(8443)));
    }

    #[test]
    fn only_plain_chunked_framing_is_accepted() {
        assert_eq!(check_framing(&head(|b| b.header(TRANSFER_ENCODING, "chunked"))), Ok(()));
        for coding in ["gzip, chunked", "chunked, identity", "xchunked", "chunked\u{b}"] {
            let Ok(value) = http::HeaderValue::from_bytes(coding.as_bytes()) else { continue };
            assert_eq!(
                check_framing(&head(|b| b.header(TRANSFER_ENCODING, value))),
                Err(HeadError::Framing),
                "{coding}"
            );
        }
        let twice = head(|b| b.header(TRANSFER_ENCODING, "chunked").header(TRANSFER_ENCODING, "chunked"));
        assert_eq!(check_framing(&twice), Err(HeadError::Framing));
        assert!(matches!(check_framing(&head(|b| b.method("CONNECT").uri("a:1"))), Err(HeadError::Tunnel(_))));
    }

    #[test]
    fn an_offer_of_http2_is_ignored_and_other_upgrades_are_refused() {
        assert_eq!(check_framing(&head(|b| b.header(UPGRADE, "h2c"))), Ok(()));
        for offer in ["websocket", "h2c, websocket", "tls/1.0"] {
            let offered = head(|b| b.header(UPGRADE, "h2c").header(UPGRADE, offer));
            assert!(matches!(check_framing(&offered), Err(HeadError::Tunnel(_))), "{offer}");
        }
    }

    #[test]
    fn what_is_for_the_server_cannot_be_taken_off() {
        for name in ["Host", "close, content-type", "Authorization", "mcp-session-id", "MCP-Method"] {
            assert!(
                matches!(check_framing(&head(|b| b.header(CONNECTION, name))), Err(HeadError::Nominated(_))),
                "{name}"
            );
        }
        assert_eq!(check_framing(&head(|b| b.header(CONNECTION, "keep-alive, te"))), Ok(()));
    }

    #[test]
    fn a_body_is_what_any_client_takes_it_for() {
        let of = |values: &[&'static str]| {
            carries(&values.iter().map(|value| (CONTENT_TYPE, http::HeaderValue::from_static(value))).collect())
        };
        assert_eq!(of(&["application/json; charset=utf-8"]), Some(Carries::Message));
        assert_eq!(of(&["application/json;charset=ISO-8859-1"]), Some(Carries::Message));
        assert_eq!(of(&["text/event-stream;charset=ISO-8859-1"]), Some(Carries::Unclear));
        assert_eq!(of(&["Text/Event-Stream"]), Some(Carries::Events));
        assert_eq!(of(&["text/plain", "application/json"]), Some(Carries::Message));
        assert_eq!(of(&["application/jsonl"]), Some(Carries::Message));
        assert_eq!(of(&["text/event-stream;charset=\"UTF-8\""]), Some(Carries::Events));
        for unclear in [
            "application/json;text/event-stream",
            "text/event-stream; charset=utf-7",
            "text/event-stream; charset*0=ut; charset*1=f-7",
            "application/json; charset = utf-16",
        ] {
            assert_eq!(of(&[unclear]), Some(Carries::Unclear), "{unclear}");
        }
        assert_eq!(of(&["application/json", "text/event-stream"]), Some(Carries::Unclear));
        assert_eq!(of(&["text/html; charset=iso-8859-1"]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn hop_by_hop_headers_stay_here() {
        let mut headers = head(|b| {
            b.header(CONNECTION, "close, X-Secret-Hop")
                .header("x-secret-hop", "1")
                .header(TE, "trailers")
                .header("accept", "*/*")
        })
        .headers;
        strip_hop_by_hop(&mut headers);
        let names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["accept", "te"]);
    }
}
