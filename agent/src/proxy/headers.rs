//! What HTTP itself asks of an intermediary: one authority, one framing, no hop-by-hop headers passed on (RFC 9110 §7.6.1,
//! RFC 9112 §3.2 and §6.3).

use http::{
    HeaderMap, HeaderName, Version,
    header::{CONNECTION, CONTENT_TYPE, HOST, TE, TRANSFER_ENCODING, UPGRADE},
    request::Parts,
    uri::Authority,
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
    if head.headers.contains_key(UPGRADE) {
        return Err(HeadError::Tunnel("an upgrade"));
    }
    Ok(())
}

/// Removes what must not cross an intermediary. `TE: trailers` is kept: trailers are passed on.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|token| token.trim().parse().ok())
        .filter(|name| name != TE)
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
    let trailers = headers.get_all(TE).iter().any(|te| te.as_bytes().eq_ignore_ascii_case(b"trailers"));
    headers.remove(TE);
    if trailers {
        headers.insert(TE, http::HeaderValue::from_static("trailers"));
    }
}

/// The media type of a body, lower case and without parameters.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next()?.trim().to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(build: impl FnOnce(http::request::Builder) -> http::request::Builder) -> Parts {
        build(http::Request::builder()).body(()).expect("a request").into_parts().0
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
