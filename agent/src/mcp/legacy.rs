//! The `endpoint` event of the 2024-11-05 transport: where a client posts its messages.

use http::{Uri, uri::PathAndQuery};
use url::Url;

/// Why an `endpoint` event is not followed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// Parsers of URLs disagree on these.
    #[error("the endpoint event has control characters, spaces or backslashes")]
    Characters,
    /// Not a URL reference, or the stream's own URI is not absolute.
    #[error("the endpoint event is not a URL reference")]
    NotAReference,
    /// Another scheme, host or port.
    #[error("the endpoint event points to another origin; clients follow it only within the stream's own")]
    OtherOrigin,
}

/// Resolves the event's data against the absolute URI of the GET that opened the stream, as clients do (`SSEClientTransport`
/// in the TypeScript SDK, `sse_client` in Python's): same origin only.
pub fn endpoint(stream: &Uri, data: &[u8]) -> Result<PathAndQuery, EndpointError> {
    let data = std::str::from_utf8(data).map_err(|_| EndpointError::NotAReference)?;
    if data.chars().any(|c| c.is_control() || c.is_whitespace() || c == '\\') {
        return Err(EndpointError::Characters);
    }
    let base = Url::parse(&stream.to_string()).map_err(|_| EndpointError::NotAReference)?;
    let target = base.join(data).map_err(|_| EndpointError::NotAReference)?;
    if target.origin() != base.origin() || !base.origin().is_tuple() {
        return Err(EndpointError::OtherOrigin);
    }
    let path = target.query().map_or_else(|| target.path().to_owned(), |query| format!("{}?{query}", target.path()));
    PathAndQuery::try_from(path).map_err(|_| EndpointError::NotAReference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_resolve_within_the_origin() {
        let stream = Uri::from_static("https://mcp.example.com/v1/sse?x=1");
        let resolved = |data: &str| endpoint(&stream, data.as_bytes()).map(|path| path.to_string());
        let ok = |path: &str| Ok(path.to_owned());
        assert_eq!(resolved("/messages/?session_id=a%20b"), ok("/messages/?session_id=a%20b"));
        assert_eq!(resolved("messages"), ok("/v1/messages"));
        assert_eq!(resolved("?sessionId=1"), ok("/v1/sse?sessionId=1"));
        assert_eq!(resolved("../m#fragment"), ok("/m"));
        assert_eq!(resolved("https://mcp.example.com:443/m"), ok("/m"));
        assert_eq!(resolved("//MCP.example.com/m"), ok("/m"));
        assert_eq!(resolved("//evil.example.com/m"), Err(EndpointError::OtherOrigin));
        assert_eq!(resolved("http://mcp.example.com/m"), Err(EndpointError::OtherOrigin));
        assert_eq!(resolved("https://mcp.example.com:8443/m"), Err(EndpointError::OtherOrigin));
        assert_eq!(resolved("javascript:alert(1)"), Err(EndpointError::OtherOrigin));
        assert_eq!(resolved("/\\evil.example.com/m"), Err(EndpointError::Characters));
        assert_eq!(resolved("/m\tx"), Err(EndpointError::Characters));
        assert_eq!(resolved("https://[/"), Err(EndpointError::NotAReference));
        assert_eq!(endpoint(&stream, b"/\xff"), Err(EndpointError::NotAReference));
        assert_eq!(endpoint(&Uri::from_static("/sse"), b"/m"), Err(EndpointError::NotAReference));
    }
}
