//! Any `endpoint` event: what is followed is a path on the same origin.
use http::Uri;
use weir::mcp::legacy::endpoint;

/// One input.
pub(crate) fn run(data: &[u8]) {
    let stream = Uri::from_static("https://mcp.example.com/v1/sse");
    if let Ok(path) = endpoint(&stream, data) {
        let absolute = format!("https://mcp.example.com{path}");
        assert!(path.as_str().starts_with('/'));
        assert_eq!(endpoint(&stream, absolute.as_bytes()).as_ref(), Ok(&path));
    }
}
