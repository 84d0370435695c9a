use std::path::Path;

use super::*;
use crate::config::{Config, ConfigError};

fn parse(credentials: &str) -> Result<Credentials, Vec<String>> {
    let text = format!("[[endpoint]]\nname = \"a\"\nhosts = [\"a.test\"]\ncredentials = {credentials}\n");
    match Config::parse(&text, Path::new("weir.toml")) {
        Ok(mut config) => Ok(config.endpoints.remove(0).credentials),
        Err(ConfigError::Invalid { problems, .. }) => Err(problems.into_iter().map(|p| p.message).collect()),
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn every_kind_is_one_table() {
    assert!(!parse("\"passthrough\"").expect("valid").are_own());
    for own in [
        "{ sigv4 = {} }",
        "{ sigv4 = { service = \"bedrock-agentcore\", region = \"us-east-1\" } }",
        "{ bearer = { file = \"/run/token\" } }",
        "{ bearer = { secret_id = \"mcp/token\", key = \"token\", refresh_s = 60 } }",
        "{ oauth = { token_url = \"https://idp.test/token\", client_id = \"weir\", client_secret = { file = \"/s\" } } }",
        "{ mtls = { cert = \"/c.pem\", key = \"/k.pem\" } }",
    ] {
        assert!(parse(own).unwrap_or_else(|why| panic!("{own}: {why:?}")).are_own());
    }
}

#[test]
fn a_role_has_what_only_roles_have() {
    let role = "role_arn = \"arn:aws:iam::111122223333:role/mcp\"";
    let Ok(Credentials::Sigv4(sigv4)) = parse(&format!("{{ sigv4 = {{ {role}, external_id = \"x\" }} }}")) else {
        panic!("not valid")
    };
    let table = serde_json::to_value(&sigv4).expect("a table");
    assert_eq!(table["tags"], serde_json::json!(["workload", "workload_kind", "endpoint", "caller"]));
    assert_eq!((&table["external_id"], &table["duration_s"]), (&"x".into(), &3600.into()));
    let again: SigV4 = serde_json::from_value(table.clone()).expect("the same again");
    assert_eq!(serde_json::to_value(again).expect("a table"), table);

    for alone in ["external_id = \"x\"", "tags = []", "duration_s = 900", "session_policy = \"{}\""] {
        let refused = parse(&format!("{{ sigv4 = {{ {alone} }} }}")).expect_err(alone);
        assert!(refused[0].contains("belong to a role"), "{refused:?}");
    }
    let token = "web_identity_token_file = \"/var/run/token\"";
    assert!(parse(&format!("{{ sigv4 = {{ {role}, {token} }} }}")).is_ok());
    let refused = parse(&format!("{{ sigv4 = {{ {role}, {token}, tags = [] }} }}")).expect_err("tags of a token");
    assert!(refused[0].contains("the token's"), "{refused:?}");
}

#[test]
fn what_makes_no_sense_is_refused() {
    for (wrong, says) in [
        ("\"none\"", "unknown value `none`"),
        ("{ sigv4 = { service = \"Bedrock\" } }", "`Bedrock` is no service"),
        ("{ sigv4 = { role_arn = \"mcp\" } }", "`mcp` is no role's ARN"),
        ("{ bearer = { file = \"token\" } }", "a relative path"),
        ("{ bearer = { file = \"/t\", secret_id = \"t\" } }", "not a table with `file`, nor one with `secret_id`"),
        (
            "{ oauth = { token_url = \"http://idp.test/t\", client_id = \"w\", client_secret = { file = \"/s\" } } }",
            "in clear text",
        ),
    ] {
        let refused = parse(wrong).expect_err(wrong);
        assert!(refused.iter().any(|message| message.contains(says)), "{wrong}: {refused:?}");
    }
}

#[test]
fn a_client_certificate_is_not_for_other_paths() {
    let text = |more: &str| {
        format!(
            "[[endpoint]]\nname = \"a\"\nhosts = [\"a.test\"]\npaths = [\"/mcp\"]\n{more}\n\
             credentials = {{ mtls = {{ cert = \"/c\", key = \"/k\" }} }}\n"
        )
    };
    assert!(Config::parse(&text(""), Path::new("weir.toml")).is_err());
    assert!(Config::parse(&text("other_paths = \"deny\""), Path::new("weir.toml")).is_ok());
}
