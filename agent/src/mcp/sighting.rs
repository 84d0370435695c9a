//! MCP where nobody registered it: told by what is said in clear text, or guessed from a name. Detection, not a promise:
//! whoever wants to hide from it can. It looks at little and keeps nothing.

use memchr::memmem;

/// Headers that only MCP has (Streamable HTTP, all revisions).
const HEADERS: [&str; 4] = ["mcp-session-id", "mcp-protocol-version", "mcp-method", "mcp-name"];

/// Methods that only MCP has, besides `initialize`, which the Language Server Protocol has too.
const METHODS: [&str; 17] = [
    "tools/list",
    "tools/call",
    "resources/list",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "resources/templates/list",
    "prompts/list",
    "prompts/get",
    "completion/complete",
    "logging/setLevel",
    "server/discover",
    "subscriptions/listen",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "notifications/initialized",
];

/// How much of a body is looked at, in bytes.
pub const BODY_WINDOW: usize = 8 << 10;

/// The first header, of those that a request has, that only MCP has.
pub fn in_headers<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<&'static str> {
    names.into_iter().find_map(|name| HEADERS.into_iter().find(|known| known.eq_ignore_ascii_case(name)))
}

/// The method of the first MCP message in the beginning of a body.
#[must_use]
pub fn in_body(beginning: &[u8]) -> Option<&'static str> {
    memmem::find(beginning, b"\"jsonrpc\"")?;
    memmem::find_iter(beginning, b"\"method\"").find_map(|at| {
        let method = string_after_colon(&beginning[at + b"\"method\"".len()..])?;
        if method == b"initialize" {
            return memmem::find(beginning, b"\"protocolVersion\"").map(|_| "initialize");
        }
        METHODS.into_iter().find(|known| known.as_bytes() == method)
    })
}

/// The text of `: "text"`, as it stands there.
fn string_after_colon(rest: &[u8]) -> Option<&[u8]> {
    let value = rest.trim_ascii_start().strip_prefix(b":")?.trim_ascii_start().strip_prefix(b"\"")?;
    Some(&value[..memchr::memchr(b'"', value)?])
}

/// Whether a host's name looks like an MCP server's: a label is `mcp`, or begins with `mcp-`, or ends with `-mcp`.
#[must_use]
pub fn is_likely_host(host: &str) -> bool {
    host.split('.').any(|label| {
        let label = label.to_ascii_lowercase();
        label == "mcp" || label.starts_with("mcp-") || label.ends_with("-mcp") || label.contains("-mcp-")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_of_mcp_are_known_in_any_case() {
        assert_eq!(in_headers(["host", "Mcp-Session-Id"]), Some("mcp-session-id"));
        assert_eq!(in_headers(["host", "accept", "x-mcp-session-id"]), None);
    }

    #[test]
    fn messages_of_mcp_are_told_from_other_json_rpc() {
        for (body, found) in [
            (r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#, Some("tools/list")),
            ("{\"method\" : \n \"tools/call\", \"jsonrpc\":\"2.0\"", Some("tools/call")),
            (
                r#"[{"jsonrpc":"2.0","method":"x"},{"method":"initialize","params":{"protocolVersion""#,
                Some("initialize"),
            ),
            (r#"{"jsonrpc":"2.0","method":"initialize","params":{"processId":1}}"#, None),
            (r#"{"jsonrpc":"2.0","method":"eth_blockNumber"}"#, None),
            (r#"{"method":"tools/list"}"#, None),
            (r#"{"jsonrpc":"2.0","method":"tools/li"#, None),
            ("", None),
        ] {
            assert_eq!(in_body(body.as_bytes()), found, "{body}");
        }
    }

    #[test]
    fn likely_names() {
        for likely in ["mcp.example.com", "api.mcp.example.com", "github-mcp.example.com", "MCP-x.example.com", "mcp"] {
            assert!(is_likely_host(likely), "{likely}");
        }
        for other in ["example.com", "mcpherson.example.com", "tmcp.example.com", "192.0.2.1"] {
            assert!(!is_likely_host(other), "{other}");
        }
    }
}
