use std::path::Path;

use proptest::prelude::*;

use super::*;

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new("weir.toml"))
}

/// Asserts that the text is refused once for each `line:column: message; hint`.
fn refused(text: &str, expected: &[&str]) {
    let Err(ConfigError::Invalid { problems, .. }) = parse(text) else { panic!("{text:?} was not refused") };
    let said: Vec<String> = problems
        .iter()
        .map(|Problem { at, message, hint }| {
            let hint = hint.as_ref().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}:{}: {message}{hint}", at.line, at.column)
        })
        .collect();
    assert_eq!(said, expected, "{text}");
}

#[test]
fn an_empty_file_is_all_defaults() {
    let config = parse("").expect("valid");
    assert_eq!(serde_json::to_value(&config).ok(), serde_json::to_value(Config::default()).ok());
    assert_eq!(config.audit_dir(), Path::new("/var/lib/weir/audit"));
    assert_eq!(config.admin.socket(), Some(Path::new("/run/weir/admin.sock")));
}

#[test]
fn hosts_come_out_in_one_spelling() {
    let config =
        parse("[[endpoint]]\nname = \"a\"\nhosts = [\"MCP.Example.com\", \"::FFFF:192.0.2.1\"]").expect("valid");
    assert_eq!(config.endpoints[0].hosts, ["mcp.example.com", "192.0.2.1"]);
    assert_eq!(config.endpoints[0].ports, [443]);
}

#[test]
fn unknown_keys_and_values() {
    refused("state_dri = \"/x\"", &["1:1: unknown key `state_dri`; did you mean `state_dir`?"]);
    refused("\n[admin]\nlisen = \"unix:/x\"", &["3:1: unknown key `lisen`; did you mean `listen`?"]);
    refused("[intercept]\ntcp = \"registred\"", &["2:7: unknown value `registred`; did you mean `registered`?"]);
    refused(
        "[audit]\nfile = { path = \"/f\", rotate = 1 }",
        &["2:23: unknown key `rotate`; known here: `path`, `rotate_bytes`, `keep`"],
    );
    refused("[[endpoint]]\nname = \"a\"", &["1:1: missing key `hosts`; add it"]);
}

#[test]
fn syntax_and_types() {
    refused("a = 1\na = 2", &["2:1: the same key twice; keep one of them"]);
    refused("state_dir = 5", &["1:13: invalid type: integer `5`, expected a path in quotes"]);
    refused("[limits]\nflows = -1", &["2:9: invalid value: integer `-1`, expected a whole number, not negative"]);
    refused("endpoint = 3", &["1:12: invalid type: integer `3`, expected an array"]);
    assert!(matches!(parse("[limits"), Err(ConfigError::Invalid { problems, .. }) if problems[0].at.line == 1));
}

#[test]
fn every_problem_of_meaning_is_named_at_once() {
    refused(
        r#"state_dir = "var"
[intercept]
cgroups = ["/a", "b", "/c/../d", "/e/"]
exclude = ["/a"]
unregistered = "deny"
on_failure = "open"
[[endpoint]]
name = "one two"
hosts = ["bücher.example", "x.example", "X.example"]
ports = [0, 1, 1]
paths = ["mcp", "/a/../b", "/mcp?x"]
upstream_ca = "ca.pem"
[[endpoint]]
name = "one"
hosts = []
ports = []
[[endpoint]]
name = "one"
hosts = ["x.example"]
ports = [1]
[[mask]]
name = "mask-2"
paths = []
endpoints = ["oen"]
[[mask]]
paths = ["$.a"]
tools = ["t", "t"]
[audit]
payload_bytes = 1
[limits]
json_depth = 128
[admin]
listen = "tcp:1"
"#,
        &[
            "1:13: a relative path; the agent has no working directory of yours: begin the path with `/`",
            "3:18: `b` is not a cgroup's path; begin with `/`, without `//`, `.`, `..` or a `/` at the end, as in `/system.slice`",
            "3:23: `/c/../d` is not a cgroup's path; begin with `/`, without `//`, `.`, `..` or a `/` at the end, as in `/system.slice`",
            "3:34: `/e/` is not a cgroup's path; begin with `/`, without `//`, `.`, `..` or a `/` at the end, as in `/system.slice`",
            "4:12: `/a` is both in `cgroups` and in `exclude`; keep one of them",
            "5:16: connections that are no endpoint's are not taken, so they cannot be denied; add `tcp = \"all\"`, or leave the key out",
            "8:8: `one two` cannot be a name; use 1 to 64 letters, digits, `.`, `_` and `-`",
            "9:10: `bücher.example` is not ASCII; write international names in punycode (`xn--…`)",
            "9:41: `x.example` twice in one endpoint; keep one of them",
            "10:10: 0 is not a port; use 1 to 65535",
            "10:16: port 1 twice; keep one of them",
            "11:10: `mcp` cannot be a prefix: it does not begin with `/`; write the path as clients send it, without the query, as in `/mcp`",
            "11:17: `/a/../b` cannot be a prefix: the path has a dot segment (`.` or `..`), plain or encoded; write the path as clients send it, without the query, as in `/mcp`",
            "11:28: `/mcp?x` has a query or a fragment, which prefixes are not compared with; write the path as clients send it, without the query, as in `/mcp`",
            "12:15: a relative path; the agent has no working directory of yours: begin the path with `/`",
            "15:9: an endpoint without a host; name at least one, as in `hosts = [\"mcp.example.com\"]`",
            "16:9: an endpoint without a port; name at least one, or leave the key out for 443",
            "18:8: `one` is already the name of endpoint 2; give each endpoint its own name",
            "19:10: `x.example` port 1 already belongs to endpoint `one two`; merge the two, or give them different hosts or ports",
            "23:9: a mask without a path or a detector; name at least one, as in `paths = [\"$..email\"]` or `detectors = [\"aws_key\"]`",
            "24:14: no endpoint is named `oen`; did you mean `one`?",
            "25:1: `mask-2` is already the name of mask 1; give each mask its own name",
            "27:15: `t` twice; keep one of them",
            "29:17: 1 is outside the limits of `payload_bytes`; use 1024 to 786432",
            "31:14: 128 is outside the limits of `json_depth`; use 8 to 127",
            "33:10: `tcp:1` cannot be listened on; use a unix socket, as in `unix:/run/weir/admin.sock`",
        ],
    );
}

#[test]
fn numbers_at_their_limits() {
    for (text, valid) in [
        ("[limits]\nflows = 1", true),
        ("[limits]\nflows = 0", false),
        ("[limits]\ndrain_ms = 0", true),
        ("[limits]\nheader_bytes = 8191", false),
        ("[audit]\npayload_bytes = 786432", true),
        ("[audit]\npayload_bytes = 786433", false),
        ("[audit]\nsegment_bytes = 65535", false),
    ] {
        assert_eq!(parse(text).is_ok(), valid, "{text}");
    }
}

#[test]
fn every_limit_has_a_range() {
    let schema = schemars::schema_for!(Limits);
    let properties = schema.get("properties").and_then(|all| all.as_object()).expect("an object");
    for (key, property) in properties {
        assert!(property.get("minimum").is_some() && property.get("maximum").is_some(), "{key} has no range");
    }
}

#[test]
fn named_files_must_be_readable() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, ca) = (dir.path().join("weir.toml"), dir.path().join("ca.pem"));
    let text = format!(
        "[[endpoint]]\nname = \"a\"\nhosts = [\"x\"]\nupstream_ca = {ca:?}\n[tls]\nupstream_roots = [{:?}]",
        dir.path()
    );
    std::fs::write(&file, text).expect("written");
    assert!(load(&file).is_ok(), "the files do not matter to every command");
    let error = load_with_files(&file).expect_err("both are wrong").to_string();
    assert!(error.contains("weir.toml:4:15: cannot read") && error.contains("No such file"), "{error}");
    assert!(error.contains("weir.toml:6:19: cannot read") && error.contains("not a regular file"), "{error}");
}

#[test]
fn files_that_are_no_text() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("weir.toml");
    std::fs::write(&file, b"# ok\nname = \"\xff\"").expect("written");
    let error = load(&file).expect_err("not UTF-8").to_string();
    assert!(error.contains("weir.toml:2:9: not UTF-8"), "{error}");
    std::fs::write(&file, vec![b'#'; (1 << 20) + 1]).expect("written");
    assert!(matches!(load(&file), Err(ConfigError::TooLarge { .. })));
    assert!(matches!(load(dir.path()), Err(ConfigError::Unreadable { .. })));
    assert!(matches!(load(&dir.path().join("none")), Err(ConfigError::Unreadable { .. })));
}

proptest! {
    #[test]
    fn any_text_is_answered(text in r#"(?s)([a-z_]{1,9}( = )?|\[\[?(endpoint|mask|limits)\]\]?|["'\n\[\]{}=.,0-9é])*"#) {
        if let Err(error) = parse(&text) {
            prop_assert!(error.to_string().starts_with("weir.toml:"));
        }
    }

    #[test]
    fn whatever_validates_can_be_indexed(
        hosts in prop::collection::vec(r"(\*\.)?[a-zA-Z0-9.:-]{1,12}", 0..3),
        paths in prop::collection::vec(r"/?[a-z%./;]{0,8}", 0..3),
    ) {
        if let Ok(config) = parse(&format!("[[endpoint]]\nname = \"a\"\nhosts = {hosts:?}\npaths = {paths:?}")) {
            prop_assert!(Endpoints::new(&config.endpoints).is_ok());
        }
    }
}

#[test]
fn sinks() {
    parse("[audit]\nkinesis = { stream = \"weir-audit\", region = \"us-east-1\" }\nstdout = true").expect("valid");
    for (text, says) in [
        ("kinesis = { stream = \"arn:aws:x\" }", "`arn:aws:x` is not a stream's name"),
        ("kinesis = { stream = \"s\", region = \"\" }", "`` is not a region"),
        ("oversized = \"s3\"", "\"s3\" without `audit.objects`"),
        ("objects = { bucket = \"Weir\" }", "`Weir` is not a bucket's name"),
        ("objects = { bucket = \"weir\", prefix = \"/a b\" }", "`/a b` is not a prefix"),
        ("objects = { bucket = \"weir\", region = \"US EAST\" }", "`US EAST` is not a region"),
        ("kinesis = { stream = \"s\", endpoint_url = \"ftp://x\" }", "`ftp://x` is not an http or https URL"),
        ("file = { path = \"x\" }", "not the absolute path of a file"),
        ("file = { path = \"/x\", keep = 0 }", "0 is outside the limits of `keep`"),
        ("otlp = { endpoint = \"http://u:p@h/\" }", "a URL with a user or a password"),
    ] {
        match parse(&format!("[audit]\n{text}")) {
            Err(ConfigError::Invalid { problems, .. }) => assert!(problems[0].message.contains(says), "{problems:?}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}
