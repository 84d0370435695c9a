mod lists;
mod principals;
mod random;
mod replays;
mod shipped;

use std::net::{IpAddr, Ipv4Addr};

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{load::Source, *};
use crate::{
    config::{self, Stance},
    identity::Caller,
};

pub(super) fn policies_with(text: &str, default: Stance) -> Result<Policies, LoadError> {
    let config = config::Policy { default, ..config::Policy::default() };
    Policies::of(&config, &[Source { path: "p.cedar".into(), text: text.to_owned() }])
}

fn policies(text: &str) -> Policies {
    policies_with(text, Stance::Allow).unwrap_or_else(|error| panic!("{error}"))
}

fn permitting(text: &str) -> Policies {
    policies_with(text, Stance::Deny).unwrap_or_else(|error| panic!("{error}"))
}

pub(super) fn unit(name: &str) -> Principal {
    Principal { id: format!("systemd/{name}"), kind: "unit".into(), unit: Some(name.into()), ..Principal::default() }
}

/// A question about `billing`, on a Monday at noon.
pub(super) fn question<'a>(
    principal: &'a Principal,
    method: &'a str,
    target: Option<&'a str>,
    params: Option<&'a [u8]>,
) -> Question<'a> {
    Question {
        principal,
        caller: None,
        endpoint: "billing",
        method,
        target,
        params,
        era: "modern",
        protocol_version: Some("2026-07-28"),
        time: "2026-11-23T12:30:00Z".parse::<Timestamp>().unwrap(),
        source: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7)),
        destination: (IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 443),
        hostname: Some("mcp.billing.example.com"),
        annotations: Annotations::default(),
    }
}

fn call(policies: &Policies, tool: &str, arguments: &Value) -> Verdict {
    let params = json!({ "name": tool, "arguments": arguments }).to_string();
    policies.judge(&question(&unit("app.service"), "tools/call", Some(tool), Some(params.as_bytes())))
}

/// The action and the deciding policy.
fn brief(verdict: &Verdict) -> (&'static str, &str) {
    (verdict.action(), verdict.ground().policy.as_deref().unwrap_or(""))
}

#[test]
fn forbid_wins_and_says_why() {
    let policies = policies(
        r#"@id("all") permit (principal, action, resource);
           @id("no-delete") @reason("nothing is deleted here") forbid (principal, action, resource == Tool::"billing/delete");"#,
    );
    let verdict = call(&policies, "delete", &json!({}));
    assert_eq!(brief(&verdict), ("deny", "no-delete"));
    assert_eq!(verdict.ground().reason.as_deref(), Some("nothing is deleted here"));
    assert_eq!(&verdict.ground().version, policies.version());
    assert_eq!(brief(&call(&policies, "list", &json!({}))), ("allow", "all"));
}

#[test]
fn the_default_decides_what_no_policy_matches() {
    assert_eq!(brief(&call(&policies(""), "x", &json!({}))), ("allow", ""));
    assert_eq!(brief(&call(&permitting(""), "x", &json!({}))), ("deny", "default"));
}

#[test]
fn what_was_checked_for_one_type_is_not_skipped_for_another() {
    let policies = policies(
        r#"@id("limit") forbid (principal, action == Action::"tools/call", resource == Tool::"billing/pay")
           when { context.arguments.hasTag("amount") && context.arguments.getTag("amount").long > 1000 };"#,
    );
    for (amount, expected) in [
        (json!(5), ("allow", "")),
        (json!(1001), ("deny", "limit")),
        (json!(5000.0), ("deny", "limit")),
        (json!("5000"), ("deny", "limit")),
        (json!("5"), ("deny", "limit")),
        (json!(0.5), ("deny", "limit")),
        (json!(1e30), ("deny", "limit")),
        (json!(null), ("deny", "limit")),
        (json!([5000]), ("deny", "limit")),
        (json!({ "value": 5000 }), ("deny", "limit")),
    ] {
        assert_eq!(brief(&call(&policies, "pay", &json!({ "amount": amount }))), expected, "{amount}");
    }
    assert_eq!(brief(&call(&policies, "pay", &json!({}))), ("allow", ""));
    assert_eq!(brief(&call(&policies, "pay", &json!({ "Amount": 1 }))), ("deny", "unjudgeable"));
    assert_eq!(brief(&call(&policies, "pay", &json!(["amount"]))), ("deny", "unjudgeable"));
    assert_eq!(brief(&call(&policies, "other", &json!({ "Amount": "x" }))), ("allow", ""));
}

#[test]
fn paths_sets_and_text_are_read() {
    let policies = policies(
        r#"@id("country") forbid (principal, action, resource) when {
             context has arguments && context.arguments.hasTag("filter/country")
             && ["XX", "YY"].contains(context.arguments.getTag("filter/country").text) };
           @id("paths") forbid (principal, action, resource) when {
             context has arguments && context.arguments.hasTag("paths")
             && context.arguments.getTag("paths").json like "*\"/etc/*" };
           @id("rate") forbid (principal, action, resource) when {
             context has arguments && context.arguments.hasTag("rate")
             && context.arguments.getTag("rate").decimal.greaterThan(decimal("0.25")) };
           @id("odd") forbid (principal, action, resource) when {
             context has arguments && context.arguments.keys.contains("sudo") };"#,
    );
    for (arguments, expected) in [
        (json!({ "filter": { "country": "XX" } }), "country"),
        (json!({ "filter": { "country": "DE" } }), ""),
        (json!({ "paths": ["/tmp", "/etc/passwd"] }), "paths"),
        (json!({ "paths": ["/tmp"] }), ""),
        (json!({ "rate": 0.3 }), "rate"),
        (json!({ "rate": 0.25 }), ""),
        (json!({ "rate": 0.12345 }), "rate"),
        (json!({ "sudo": true }), "odd"),
    ] {
        assert_eq!(brief(&call(&policies, "any", &arguments)).1, expected, "{arguments}");
    }
}

#[test]
fn a_hold_waits_unless_it_is_forbidden() {
    let policies = policies(
        r#"@id("ask") @hold("finance") @reason("payments are approved") permit (principal, action, resource == Tool::"billing/pay");
           @id("yes") permit (principal, action, resource);
           @id("never") forbid (principal, action, resource) when { principal.id == "systemd/evil.service" };"#,
    );
    let Verdict::Hold { group, ground } = call(&policies, "pay", &json!({})) else { panic!("not held") };
    assert_eq!((&*group, ground.policy.as_deref()), ("finance", Some("ask")));
    let evil = unit("evil.service");
    assert_eq!(brief(&policies.judge(&question(&evil, "tools/call", Some("pay"), None))), ("deny", "never"));
}

#[test]
fn a_caller_and_its_groups_stand_behind_the_workload() {
    let policies = permitting(
        r#"@id("finance") permit (principal in Group::"finance", action in Action::"use", resource in Endpoint::"billing");
           @id("anna") permit (principal in Caller::"anna", action, resource);
           @id("unit") permit (principal == Workload::"systemd/own.service", action, resource);
           @id("issuer") forbid (principal, action, resource) when { principal has caller && principal.caller.issuer == "https://other" };"#,
    );
    let caller = |sub: &str, groups: &[&str]| Caller {
        sub: sub.into(),
        issuer: "https://idp".into(),
        groups: groups.iter().map(|group| (*group).to_owned()).collect(),
    };
    let ask = |who: &Principal, caller: Option<&Caller>| {
        let verdict = policies.judge(&Question { caller, ..question(who, "tools/call", Some("pay"), None) });
        let (action, policy) = brief(&verdict);
        format!("{action} {policy}")
    };
    let app = unit("app.service");
    assert_eq!(ask(&app, None), "deny default");
    assert_eq!(ask(&app, Some(&caller("bob", &["finance", "x"]))), "allow finance");
    assert_eq!(ask(&app, Some(&caller("anna", &[]))), "allow anna");
    assert_eq!(ask(&app, Some(&Caller { issuer: "https://other".into(), ..caller("anna", &[]) })), "deny issuer");
    // A token does not take a workload out of its own policies.
    assert_eq!(ask(&unit("own.service"), Some(&caller("bob", &[]))), "allow unit");
}

#[test]
fn methods_have_actions_groups_and_subjects() {
    let policies = permitting(
        r#"@id("list") permit (principal, action in Action::"list", resource);
           @id("session") permit (principal, action in Action::"session", resource == Endpoint::"billing");
           @id("read") permit (principal, action == Action::"resources/read", resource) when { resource.uri like "file:///pub/*" };
           @id("prompt") permit (principal, action in [Action::"prompts/get", Action::"completion/complete"], resource == Prompt::"billing/sum");
           @id("x") permit (principal, action == Action::"unknown", resource) when { context.method == "x/y" };"#,
    );
    let app = unit("app.service");
    let reference = json!({ "ref": { "type": "ref/prompt", "name": "sum" } }).to_string();
    for (method, target, params, expected) in [
        ("tools/list", None, None, "list"),
        ("initialize", None, None, "session"),
        ("notifications/initialized", None, None, "session"),
        ("resources/read", Some("file:///pub/a"), None, "read"),
        ("resources/read", Some("file:///etc/a"), None, "default"),
        ("prompts/get", Some("sum"), None, "prompt"),
        ("prompts/get", Some("other"), None, "default"),
        ("completion/complete", None, Some(reference.as_str()), "prompt"),
        ("completion/complete", None, None, "unjudgeable"),
        ("x/y", None, None, "x"),
        ("use", None, None, "default"),
        ("session", None, None, "default"),
        ("tools/call", None, None, "unjudgeable"),
    ] {
        let verdict = policies.judge(&question(&app, method, target, params.map(str::as_bytes)));
        assert_eq!(brief(&verdict).1, expected, "{method} {target:?}");
    }
}

#[test]
fn a_completion_for_what_cannot_be_read_is_denied() {
    let policies = policies(
        r#"@id("secret") forbid (principal, action == Action::"completion/complete", resource == Prompt::"billing/secret");"#,
    );
    let app = unit("app.service");
    let ask = |params: &str| {
        let verdict = policies.judge(&question(&app, "completion/complete", None, Some(params.as_bytes())));
        format!("{} {}", verdict.action(), brief(&verdict).1)
    };
    assert_eq!(ask(r#"{"ref":{"type":"ref/prompt","name":"secret"}}"#), "deny secret");
    assert_eq!(ask(r#"{"ref":{"type":"ref/prompt","name":"open"},"argument":{"Name":"a"}}"#), "allow ");
    assert_eq!(ask(r#"{"ref":{"type":"ref/resource","uri":"file:///a"}}"#), "allow ");
    for unclear in [
        r#"{"Ref":{"type":"ref/prompt","name":"secret"}}"#,
        r#"{"ref":{"Type":"ref/prompt","Name":"secret"}}"#,
        r#"{"ref":{"type":"ref/prompt","uri":"secret"}}"#,
        r#"{"ref":{"type":"ref/other","name":"secret"}}"#,
        r#"{"ref":null}"#,
        "{}",
    ] {
        assert_eq!(ask(unclear), "deny unjudgeable", "{unclear}");
    }
}

#[test]
fn a_number_that_some_servers_round_is_not_judged_as_another() {
    let policies = policies(
        r#"@id("one") forbid (principal, action == Action::"tools/call", resource)
             when { context.arguments.hasTag("n") && context.arguments.getTag("n").long == 9007199254740992 };
           @id("some") forbid (principal, action == Action::"tools/call", resource)
             when { context.arguments.hasTag("ns") && context.arguments.getTag("ns").longs.contains(9007199254740992) };"#,
    );
    assert_eq!(brief(&call(&policies, "t", &json!({ "n": 9_007_199_254_740_991_u64 }))), ("allow", ""));
    for n in [9_007_199_254_740_992_u64, 9_007_199_254_740_993] {
        assert_eq!(brief(&call(&policies, "t", &json!({ "n": n }))), ("deny", "one"));
        assert_eq!(brief(&call(&policies, "t", &json!({ "ns": [n] }))), ("deny", "some"));
    }
}

#[test]
fn time_addresses_and_annotations_are_context() {
    let policies = policies(
        r#"@id("night") forbid (principal, action, resource) when { context.time.hour < 8 || context.time.weekday == "sunday" };
           @id("later") forbid (principal, action, resource) when { context.time.now > datetime("2027-01-01") };
           @id("net") forbid (principal, action, resource) when { context.source.ip.isInRange(ip("10.1.0.0/16")) };
           @id("writes") forbid (principal, action == Action::"tools/call", resource) unless { context.annotations.readOnlyHint };"#,
    );
    let app = unit("app.service");
    let reads = Annotations::of_entry(br#"{"annotations":{"readOnlyHint":true}}"#);
    let base = Question { annotations: reads, ..question(&app, "tools/call", Some("get"), None) };
    let ask = |question: Question<'_>| brief(&policies.judge(&question)).1.to_owned();
    assert_eq!(ask(base.clone()), "");
    assert_eq!(ask(Question { time: "2026-11-23T07:59:00Z".parse().unwrap(), ..base.clone() }), "night");
    assert_eq!(ask(Question { time: "2026-11-22T12:00:00Z".parse().unwrap(), ..base.clone() }), "night");
    assert_eq!(ask(Question { time: "2027-11-23T12:00:00Z".parse().unwrap(), ..base.clone() }), "later");
    assert_eq!(ask(Question { source: [10, 1, 2, 3].into(), ..base.clone() }), "net");
    assert_eq!(ask(Question { annotations: Annotations::default(), ..base }), "writes");
}

#[test]
fn what_is_wrong_is_named_with_its_place() {
    let wrong = |text: &str| policies_with(text, Stance::Allow).expect_err(text).to_string();
    for (text, place, words) in [
        ("permit (principal, action, resource) when { context.tme.hour > 3 };", "p.cedar:1:", "tme"),
        ("\n  forbid (principal, action, resource) when { principal.unti == \"x\" };", "p.cedar:2:", "unti"),
        ("permit (principal, action resource);", "p.cedar:1:", "unexpected token"),
        ("permit (principal == Caller::\"x\", action, resource);", "p.cedar:1:1:", "p/1"),
        ("permit (principal, action == Action::\"tools/cal\", resource);", "p.cedar:1:", "tools/cal"),
        (
            "permit (principal, action, resource);\n@resaon(\"x\") permit (principal, action, resource);",
            "p.cedar:2:1:",
            "@reason",
        ),
        ("@hold(\"x\") forbid (principal, action, resource);", "p.cedar:1:1:", "@hold"),
        (
            "@id(\"a\") permit (principal, action, resource);\n@id(\"a\") forbid (principal, action, resource);",
            "p.cedar:2:1:",
            "already",
        ),
        ("@id(\"default\") permit (principal, action, resource);", "p.cedar:1:1:", "default"),
        ("permit (principal == ?principal, action, resource);", "p.cedar:1:1:", "template"),
        (
            "permit (principal, action == Action::\"tools/call\", resource) when { context.arguments.hasTag(resource.name) };",
            "p.cedar:1:1:",
            "computed",
        ),
        (
            "permit (principal, action == Action::\"tools/call\", resource) when { context.arguments.getTag(\"a\").long > 3 };",
            "p.cedar:1:",
            "hasTag",
        ),
        (
            "permit (principal, action == Action::\"tools/call\", resource) when { context.arguments.hasTag(\"a\") && context.arguments.getTag(\"a\").long == \"x\" };",
            "p.cedar:1:",
            "types",
        ),
    ] {
        let said = wrong(text);
        assert!(said.contains(place) && said.contains(words), "{text}\n{said}");
    }
    let zone = config::Policy { time_zone: "Mars/Olympus".into(), ..config::Policy::default() };
    assert!(matches!(Policies::of(&zone, &[]), Err(LoadError::TimeZone { .. })));
}
