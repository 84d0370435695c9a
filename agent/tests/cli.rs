//! The commands as a user runs them: what they print, where, and how they end.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;
use tempfile::TempDir;

/// A directory with a configuration in it.
struct Site(TempDir);

impl Site {
    fn with(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(dir.path().join("weir.toml"), config).expect("written");
        Self(dir)
    }

    fn config(&self) -> PathBuf {
        self.0.path().join("weir.toml")
    }

    fn weir(&self, args: &[&str]) -> Ran {
        weir(&[args, &["--config", self.config().to_str().expect("UTF-8")]].concat())
    }
}

#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ran {
    fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn weir(args: &[&str]) -> Ran {
    let Output { status, stdout, stderr } =
        Command::new(env!("CARGO_BIN_EXE_weir")).args(args).output().expect("weir runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    Ran { code: status.code(), stdout: text(stdout), stderr: text(stderr) }
}

const GOOD: &str = r#"
[[endpoint]]
name = "billing"
hosts = ["MCP.example.com", "*.tools.example.com"]
ports = [443, 8443]
paths = ["/mcp"]
[[endpoint]]
name = "docs"
hosts = ["2001:db8::1"]
[[mask]]
paths = ["$..email"]
"#;

#[test]
fn errors_name_the_place_and_what_to_do() {
    for (config, expected) in [
        ("[limits\nflows = 1", "weir.toml:1:8: unclosed table, expected `]`"),
        ("state_dir = \"/x\"\nstate_dri = \"/x\"", "weir.toml:2:1: unknown key `state_dri`; did you mean `state_dir`?"),
        ("[[endpoint]]\nname = \"a\"\nhost = [\"x\"]", "weir.toml:3:1: unknown key `host`; did you mean `hosts`?"),
        ("[limits]\nflows = \"many\"", "weir.toml:2:9: invalid type: string \"many\", expected a whole number"),
        ("[intercept]\n\tcgroups = \"/\"", "weir.toml:2:12: invalid type: string \"/\", expected an array"),
        (
            "[[endpoint]]\nname = \"a\"\nhosts = [\"x\", \"https://y\"]",
            "weir.toml:3:15: `https://y` is not a bare host",
        ),
    ] {
        let ran = Site::with(config).weir(&["check"]);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(ran.stderr.contains(expected), "{expected}\n{}", ran.stderr);
        assert!(ran.stderr.contains('^') && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[test]
fn a_policy_that_asks_for_what_is_not_there_fails_the_check() {
    let site = Site::with("");
    let policy = site.0.path().join("ours.cedar");
    fs::write(site.config(), format!("[policy]\nfiles = [{policy:?}]")).expect("written");
    let rule = |attribute: &str| {
        format!("// Ours.\nforbid (principal, action, resource)\nwhen {{ principal.{attribute} == \"x\" }};\n")
    };
    fs::write(&policy, rule("unti")).expect("written");
    let ran = site.weir(&["check"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(2), ""), "{ran:?}");
    assert!(ran.stderr.contains(&format!("{}:3:8: ", policy.display())), "{}", ran.stderr);
    assert!(ran.stderr.contains("`unti`") && ran.stderr.contains("did you mean `unit`?"), "{}", ran.stderr);
    assert!(ran.stderr.contains("when { principal.unti == \"x\" };") && ran.stderr.contains('^'), "{}", ran.stderr);
    fs::write(&policy, rule("name")).expect("written");
    assert_eq!(site.weir(&["check"]).code, Some(0));
}

#[test]
fn a_wrong_configuration_as_data() {
    let ran = Site::with("[admin]\nlisten = \"x\"\ngroup = 1\n[audit]\npayload_bytes = 1").weir(&["check", "--json"]);
    assert_eq!(ran.code, Some(2));
    let said = ran.json();
    assert_eq!(said["valid"], false);
    let problems = said["problems"].as_array().expect("a list").iter();
    let places: Vec<_> = problems.map(|problem| (problem["line"].as_u64(), problem["column"].as_u64())).collect();
    assert_eq!(places, [(Some(5), Some(17)), (Some(2), Some(10))]);
}

#[test]
fn check_says_what_is_intercepted() {
    let site = Site::with(GOOD);
    let ran = site.weir(&["check"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    for expected in
        ["hosts  mcp.example.com, *.tools.example.com", "ports  443, 8443", "/mcp (others pass unread)", "masks: 1"]
    {
        assert!(ran.stdout.contains(expected), "{expected}\n{}", ran.stdout);
    }

    let said = site.weir(&["check", "--json"]).json();
    assert_eq!(said["endpoints"][1]["hosts"][0], "2001:db8::1");
    assert_eq!((&said["masks"], &said["valid"]), (&1.into(), &true.into()));
    assert_eq!(said["warnings"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_configuration_others_can_change_is_warned_of() {
    let site = Site::with(GOOD);
    fs::set_permissions(site.config(), fs::Permissions::from_mode(0o666)).expect("own file");
    let warnings = site.weir(&["check", "--json"]).json()["warnings"].to_string();
    assert!(warnings.contains("chmod go-w"), "{warnings}");
}

#[test]
fn files_that_cannot_be_read() {
    let site = Site::with("");
    let missing = weir(&["check", "--config", site.0.path().join("none.toml").to_str().expect("UTF-8")]);
    assert_eq!(missing.code, Some(2));
    assert!(missing.stderr.contains("none.toml") && missing.stderr.contains("No such file"), "{missing:?}");

    let directory = weir(&["check", "--config", site.0.path().to_str().expect("UTF-8")]);
    assert_eq!(directory.code, Some(2));
    assert!(directory.stderr.contains("cannot read"), "{directory:?}");

    let ca = Site::with("[[endpoint]]\nname = \"a\"\nhosts = [\"x\"]\nupstream_ca = \"/nonexistent/ca.pem\"");
    let ran = ca.weir(&["check"]);
    assert_eq!(ran.code, Some(2));
    assert!(ran.stderr.contains("weir.toml:4:15: cannot read /nonexistent/ca.pem"), "{ran:?}");
}

#[test]
fn what_is_taken_beyond_endpoints_is_said() {
    let ran = Site::with("[intercept]\ntcp = \"all\"\nunregistered = \"deny-mcp\"").weir(&["check"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stdout.contains("those of no endpoint are passed through, except MCP in clear text"), "{ran:?}");
    assert!(!ran.stdout.contains("warning"), "{ran:?}");
}

#[test]
fn bad_usage_is_exit_2() {
    for args in [&["nothing"][..], &[], &["check", "--nothing"], &["status", "extra"], &["--json", "check"]] {
        let ran = weir(args);
        assert_eq!(ran.code, Some(2), "{ran:?}");
        assert!(!ran.stderr.is_empty() && ran.stdout.is_empty(), "{ran:?}");
    }
}

#[test]
fn help_lists_what_exists() {
    let help = weir(&["--help"]);
    assert_eq!(help.code, Some(0));
    let lines = help.stdout.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = lines.take_while(|line| !line.is_empty());
    let listed: BTreeSet<&str> = commands.filter_map(|line| line.split_whitespace().next()).collect();
    for command in listed.iter().filter(|command| **command != "help") {
        let ran = weir(&[command, "--help"]);
        assert_eq!(ran.code, Some(0), "{command}: {ran:?}");
    }
    assert!(
        listed
            .is_superset(&["audit", "ca", "catalog", "check", "doctor", "login", "logout", "policy", "status"].into()),
        "{listed:?}"
    );
    let later = ["approvals", "top"];
    assert!(later.iter().all(|command| !listed.contains(command)), "{listed:?}");
    assert!(!listed.contains("schema"), "for the build, not for people");
}

#[test]
fn status_without_an_agent() {
    let dir = tempfile::tempdir().expect("a directory");
    let socket = dir.path().join("admin.sock");
    let ran = Site::with(&format!("[admin]\nlisten = \"unix:{}\"", socket.display())).weir(&["status", "--json"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(1), ""));
    assert!(ran.stderr.contains(&format!("no agent is running: nothing listens at {}", socket.display())), "{ran:?}");
}

#[test]
fn doctor_names_each_prerequisite() {
    let site = Site::with("");
    let state = site.0.path().join("state");
    fs::create_dir(&state).expect("made");
    fs::set_permissions(&state, fs::Permissions::from_mode(0o755)).expect("own directory");
    fs::write(site.config(), format!("state_dir = {state:?}")).expect("written");

    let ran = site.weir(&["doctor", "--json"]);
    assert_eq!(ran.code, Some(1), "an open state directory fails: {ran:?}");
    let said = ran.json();
    assert_eq!(said["ok"], false);
    let checks = said["checks"].as_array().expect("a list");
    let find =
        |name: &str| checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {said}"));
    for name in ["config", "privileges", "namespaces", "kernel", "btf", "cgroup2", "bpffs", "clock", "disk space"] {
        let check = find(name);
        assert!(["pass", "warn", "fail"].contains(&check["state"].as_str().unwrap_or_default()), "{check}");
        assert_eq!(check["state"] == "pass", check["fix"].is_null(), "whatever is not well has a fix: {check}");
    }
    assert_eq!(find("state directory")["fix"], format!("chmod 0700 {}", state.display()));

    let human = site.weir(&["doctor"]);
    assert!(human.stdout.contains("FAIL  state directory") && !human.stdout.contains('\u{1b}'), "{}", human.stdout);
}

#[test]
fn doctor_without_a_configuration() {
    let site = Site::with("");
    let missing = site.0.path().join("none.toml");
    let ran = weir(&["doctor", "--json", "--config", missing.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(1));
    let first = &ran.json()["checks"][0];
    assert_eq!((&first["name"], &first["state"]), (&"config".into(), &"fail".into()));

    let wrong = Site::with("x = 1").weir(&["doctor"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in the workspace")
}

#[test]
fn the_schema_is_the_one_in_deploy() {
    let ran = weir(&["schema"]);
    assert_eq!(ran.code, Some(0));
    let kept = fs::read_to_string(repository().join("deploy/weir.schema.json")).expect("readable");
    assert!(ran.stdout == kept, "run `weir schema > deploy/weir.schema.json`");
}

#[test]
fn the_example_is_valid() {
    let example = repository().join("deploy/weir.toml");
    let ran = weir(&["check", "--json", "--config", example.to_str().expect("UTF-8")]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert_eq!(ran.json()["endpoints"][0]["name"], "billing");
}

/// What the example shows in comments, without the keys that have no default value to show.
#[test]
fn the_example_shows_the_defaults() {
    let example = fs::read_to_string(repository().join("deploy/weir.toml")).expect("readable");
    let mut shown = String::new();
    let mut in_table = true;
    for line in example.lines() {
        if line.starts_with('[') {
            in_table = !line.starts_with("[[");
        }
        let commented = line.strip_prefix("# ").and_then(|rest| Some((rest, rest.split_once('=')?.0.trim_end())));
        let default =
            commented.filter(|(_, key)| is_key(key) && !["upstream_roots", "group", "dir", "files"].contains(key));
        if let Some(text) = default.map(|(rest, _)| rest).or(line.starts_with('[').then_some(line))
            && in_table
        {
            shown += text;
            shown.push('\n');
        }
    }
    let json = |text: &str| {
        let config = weir::config::Config::parse(text, Path::new("example")).unwrap_or_else(|error| panic!("{error}"));
        serde_json::to_value(config).expect("serialises")
    };
    assert!(shown.lines().count() > 22, "{shown}");
    assert_eq!(json(&shown), json(""));
}

fn is_key(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_')
}

/// Every key of the schema has a row in the documentation, with its limits where it has some.
#[test]
fn every_key_is_documented() {
    let text = fs::read_to_string(repository().join("docs/configuration.md")).expect("readable");
    let schema = weir(&["schema"]).json();
    let mut keys = 0;
    for table in schema["$defs"].as_object().expect("definitions").values().chain([&schema]) {
        for (key, property) in table["properties"].as_object().into_iter().flatten() {
            if text.contains(&format!("`[{key}]`")) || text.contains(&format!("`[[{key}]]`")) {
                continue;
            }
            // A row of its own, also as a key of an inline table (`checkpoint.records`); or the inline table in another's row.
            let own = |line: &&str| {
                let cell = line.strip_prefix("| `").and_then(|rest| rest.split_once("` |")).map(|(cell, _)| cell);
                cell.is_some_and(|cell| cell.split('.').any(|part| part == key))
            };
            let inline = |line: &&str| {
                let table = line.split_once("`{ ").and_then(|(_, rest)| rest.split_once(" }`"));
                let named =
                    |(table, _): (&str, &str)| table.split(", ").any(|item| item.split(' ').next() == Some(key));
                line.starts_with("| `") && table.is_some_and(named)
            };
            let Some(row) = text.lines().find(own) else {
                assert!(text.lines().any(|line| inline(&line)), "`{key}` has no row");
                continue;
            };
            if let (Some(min), Some(max)) = (property["minimum"].as_u64(), property["maximum"].as_u64())
                && key != "group"
            {
                assert!(row.contains(&format!("| {min} to {max} |")), "`{key}`: {min} to {max}");
            }
            keys += 1;
        }
    }
    assert!(keys > 35, "{keys}");
}
