use clap::Parser;
use serde_json::Value;

use std::fs;

use super::*;

/// As the `weir` command embeds it.
#[derive(Debug, Parser)]
struct Weir {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    Ca(Args),
}

fn parse<I: IntoIterator<Item = std::ffi::OsString>>(arguments: I) -> Args {
    let Weir { command: Command::Ca(args) } =
        Weir::try_parse_from(std::iter::once("weir".into()).chain(arguments)).unwrap();
    args
}

fn output(action: &Action, state_dir: &Path, tree: &Path, json: bool) -> Result<String, Failure> {
    let mut out = Vec::new();
    run(action, state_dir, tree, json, &mut out)?;
    Ok(String::from_utf8(out).unwrap())
}

#[test]
fn the_agents_own_renewal_command_is_understood_and_signs() {
    let state = tempfile::tempdir().unwrap();
    let authority = Authority::init(state.path()).unwrap();
    let hosts: Vec<Host> =
        ["mcp.example.com", "*.tools.example.com", "2001:db8::7"].map(|host| host.parse().unwrap()).into();
    let before = authority.issue_intermediate(&hosts).unwrap();

    let args = parse(authority.issue_arguments(&hosts));
    let context = Context { config: "/nonexistent/weir.toml".into(), json: false };
    execute(&args, &context).unwrap();

    let after = authority.intermediate(&hosts).unwrap();
    assert_ne!(after.certificate(), before.certificate());
}

#[test]
fn show_tells_what_there_is_as_json_and_as_text() {
    let state = tempfile::tempdir().unwrap();
    let tree = tempfile::tempdir().unwrap();
    fs::create_dir_all(tree.path().join("usr/sbin")).unwrap();
    fs::write(tree.path().join("usr/sbin/update-ca-certificates"), "").unwrap();

    let made: Value =
        serde_json::from_str(&output(&Action::Init { if_missing: false }, state.path(), tree.path(), true).unwrap())
            .unwrap();
    assert_eq!(made["intermediate"], Value::Null);
    let authority = Authority::open(state.path()).unwrap();
    authority.issue_intermediate(&["mcp.example.com".parse().unwrap()]).unwrap();

    let shown: Value = serde_json::from_str(&output(&Action::Show, state.path(), tree.path(), true).unwrap()).unwrap();
    assert_eq!(shown["root"], made["root"]);
    assert_eq!(shown["root"]["sha256"], authority.facts().fingerprint.as_str());
    assert_eq!(shown["intermediate"]["permits"], serde_json::json!(["mcp.example.com"]));
    assert_eq!(shown["store"]["trusted"], false);
    let node = &shown["environment"][0];
    assert_eq!(node["name"], "NODE_EXTRA_CA_CERTS");
    assert!(node["value"].as_str().unwrap().ends_with("/usr/local/share/ca-certificates/weir.crt"));

    let text = output(&Action::Show, state.path(), tree.path(), false).unwrap();
    for part in [&authority.facts().fingerprint, "mcp.example.com (and names below)", "run `weir ca install`"] {
        assert!(text.contains(part), "no {part:?} in:\n{text}");
    }
}

#[test]
fn what_is_missing_is_said_with_the_fix() {
    let state = tempfile::tempdir().unwrap();
    let tree = tempfile::tempdir().unwrap();
    for action in [Action::Show, Action::Install, Action::Uninstall, Action::Issue { hosts: Vec::new() }] {
        let failure = output(&action, state.path(), tree.path(), false).unwrap_err();
        assert!(failure.to_string().contains("run `weir ca init`"), "{failure}");
    }
    output(&Action::Init { if_missing: false }, state.path(), tree.path(), false).unwrap();
    let failure = output(&Action::Install, state.path(), tree.path(), false).unwrap_err();
    assert!(failure.to_string().contains("ca-certificates"), "{failure}");
    assert!(matches!(
        output(&Action::Init { if_missing: false }, state.path(), tree.path(), false),
        Err(Failure::Failed(_))
    ));
    let again = output(&Action::Init { if_missing: true }, state.path(), tree.path(), false);
    assert!(again.is_ok(), "where one is wanted and there, it is shown");

    let context = Context { config: state.path().join("weir.toml"), json: false };
    let failure = execute(&parse(["ca".into(), "show".into()]), &context).unwrap_err();
    assert!(matches!(failure, Failure::Usage(_)) && failure.to_string().contains("weir.toml"), "{failure}");
}
