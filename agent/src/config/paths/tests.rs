use proptest::prelude::*;

use super::*;

fn cover(prefix: &str, target: &str) -> Result<bool, PathRefusal> {
    Paths::new([prefix]).expect("a good prefix").cover(target)
}

#[test]
fn whole_segments() {
    for target in
        ["/mcp", "/mcp/", "/mcp/x", "/mcp?x", "/mcp/?x", "/%6Dcp", "/%6dcp/x", "/mcp//x", "/mcp/a;b", "/mcp/100%"]
    {
        assert_eq!(cover("/mcp", target), Ok(true), "{target}");
        assert_eq!(cover("/mcp/", target), Ok(true), "{target}");
        assert_eq!(cover("/", target), Ok(true), "{target}");
    }
    for target in ["/", "/mcpx", "/x/mcp", "/?/mcp", "/.well-known/oauth-protected-resource/mcp", "/a%20b", "/100%"] {
        assert_eq!(cover("/mcp", target), Ok(false), "{target}");
    }
}

#[test]
fn what_servers_read_differently_is_refused() {
    for target in
        ["//mcp", "/MCP", "/mcp;v=1", "/mcp%2Fx", "/%2fmcp", "/mcp%5cx", r"/mcp\x", "/%256Dcp", "/mcp%3Bx", "/%4dcp"]
    {
        assert_eq!(cover("/mcp", target), Err(PathRefusal::Ambiguous), "{target}");
    }
    for target in [
        "/x/../mcp",
        "/mcp/..",
        "/./mcp",
        "/x/%2e%2E/mcp",
        "/x%2f..%2fmcp",
        "/x/.%252e/mcp",
        r"/x\..\mcp",
        "/x/..;/mcp",
    ] {
        assert_eq!(cover("/mcp", target), Err(PathRefusal::DotSegment), "{target}");
    }
    for target in ["/mcp%00", "/other%0d%0aX", "/mcp%2500"] {
        assert_eq!(cover("/mcp", target), Err(PathRefusal::Control), "{target}");
    }
    assert_eq!(cover("/mcp", "/%252525252541"), Err(PathRefusal::Encoding));
    for target in ["", "*", "mcp", "example.com:443"] {
        assert_eq!(cover("/mcp", target), Err(PathRefusal::NotOriginForm), "{target}");
    }
}

#[test]
fn an_encoded_resource_name_in_a_prefix() {
    let prefix = "/runtimes/arn%3Aaws%3Abedrock-agentcore%3Aus-east-1%3A111122223333%3Aruntime%2Fbilling/invocations";
    assert_eq!(cover(prefix, &format!("{prefix}?qualifier=DEFAULT")), Ok(true));
    assert_eq!(cover(prefix, &prefix.replace("%3A", "%3a")), Ok(true));
    assert_eq!(cover(prefix, &prefix.replace("%3A", ":")), Err(PathRefusal::Ambiguous));
    assert_eq!(cover(prefix, &prefix.replace("%2F", "/")), Err(PathRefusal::Ambiguous));
    assert_eq!(cover(prefix, &prefix.replace("billing", "other")), Ok(false));
}

#[test]
fn without_prefixes_every_target_is_covered() {
    let every = Paths::default();
    for target in ["/", "*", "/../x", "/%00"] {
        assert_eq!(every.cover(target), Ok(true), "{target}");
    }
}

#[test]
fn a_long_nest_of_escapes_costs_little() {
    let target = format!("/%{}41", "25".repeat(30_000));
    assert_eq!(cover("/mcp", &target), Err(PathRefusal::Encoding));
}

/// A spelling of one segment that some server may decode to it.
fn spelling(segment: &'static str) -> impl Strategy<Value = String> {
    prop::collection::vec(0..4u8, segment.len()).prop_map(move |how| {
        segment
            .bytes()
            .zip(how)
            .map(|(b, how)| match how {
                0 => format!("%{b:02x}"),
                1 => format!("%25{b:02X}"),
                2 => char::from(b).to_ascii_uppercase().to_string(),
                _ => char::from(b).to_string(),
            })
            .collect()
    })
}

proptest! {
    #[test]
    fn no_spelling_of_the_endpoint_passes_as_another_path(
        lead in prop::sample::select(vec!["/", "//", "/%2f", "/\\", "/;x/"]),
        segment in spelling("mcp"),
        tail in prop::sample::select(vec!["", "/", "/x", ";x", "%2fx", "?x", "\\x"]),
    ) {
        prop_assert_ne!(cover("/mcp", &format!("{lead}{segment}{tail}")), Ok(false));
    }

    #[test]
    fn what_matches_strictly_matches_loosely(target in r"/[a-zA-Z0-9%/;.\\]{0,40}", prefix in r"/[a-zA-Z0-9%;]{0,8}") {
        if let (Ok(path), Ok(prefix)) = (normal_path(&target), normal_path(&prefix)) {
            prop_assert!(!path.strict.starts_with(&prefix.strict) || path.loose.starts_with(&prefix.loose));
        }
    }

    #[test]
    fn any_text_is_read(target in "/?.{0,200}") {
        let _ = cover("/mcp", &target);
    }
}
