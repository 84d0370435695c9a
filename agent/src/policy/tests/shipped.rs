//! The policies in `deploy/policies` and in the docs: valid, and they do what they say.

use super::*;
use crate::identity::Workload;

const READ_ONLY: &str = include_str!("../../../../deploy/policies/read-only.cedar");
const PRODUCTION: &str = include_str!("../../../../deploy/policies/no-destructive-in-production.cedar");
const HOURS: &str = include_str!("../../../../deploy/policies/business-hours.cedar");
const TEAMS: &str = include_str!("../../../../deploy/policies/per-team.cedar");
const LABELS: &str = include_str!("../../../../deploy/policies/per-team-labels.cedar");
const DOCS: &str = include_str!("../../../../docs/policy.md");

fn hints(read_only: bool, destructive: bool) -> Annotations {
    Annotations { listed: true, read_only, destructive, ..Annotations::default() }
}

/// What decides about a tool with these hints, at `billing-production` unless said otherwise.
fn decides(policies: &Policies, change: impl FnOnce(&mut Question<'_>)) -> String {
    let app = unit("app.service");
    let mut question = Question { endpoint: "billing-production", ..question(&app, "tools/call", Some("t"), None) };
    change(&mut question);
    brief(&policies.judge(&question)).1.to_owned()
}

#[test]
fn read_only() {
    let policies = policies(READ_ONLY);
    assert_eq!(decides(&policies, |q| q.annotations = hints(true, false)), "");
    assert_eq!(decides(&policies, |q| q.annotations = hints(false, false)), "read-only");
    assert_eq!(decides(&policies, |_| ()), "read-only");
}

#[test]
fn no_destructive_in_production() {
    let policies = policies(PRODUCTION);
    assert_eq!(decides(&policies, |q| q.annotations = hints(false, true)), "no-destructive-in-production");
    assert_eq!(decides(&policies, |_| ()), "no-destructive-in-production");
    assert_eq!(decides(&policies, |q| q.annotations = hints(false, false)), "");
    assert_eq!(decides(&policies, |q| q.endpoint = "billing-staging"), "");
}

#[test]
fn business_hours() {
    let policies = policies(HOURS);
    let at = |time: &str| decides(&policies, |q| q.time = time.parse().expect("a time"));
    assert_eq!(at("2026-11-23T08:00:00Z"), "");
    assert_eq!(at("2026-11-23T17:59:00Z"), "");
    assert_eq!(at("2026-11-23T18:00:00Z"), "business-hours");
    assert_eq!(at("2026-11-22T12:00:00Z"), "business-hours");
    let reads = decides(&policies, |q| {
        q.time = "2026-11-22T12:00:00Z".parse().expect("a time");
        q.annotations = hints(true, false);
    });
    assert_eq!(reads, "");
    let zone = config::Policy { time_zone: "Asia/Tokyo".into(), ..config::Policy::default() };
    let sources = [Source { path: "p.cedar".into(), text: HOURS.to_owned() }];
    let there = Policies::of(&zone, &sources).expect("valid");
    // Nine in the evening of that Monday.
    assert_eq!(decides(&there, |_| ()), "business-hours");
}

#[test]
fn per_team() {
    let policies = permitting(TEAMS);
    let caller = |group: &str| Caller { sub: "x".into(), issuer: "https://idp".into(), groups: vec![group.into()] };
    let (finance, warehouse) = (caller("finance"), caller("warehouse"));
    let service = unit("invoicing.service");
    let app = unit("app.service");
    let ask = |principal: &Principal, caller: Option<&Caller>, endpoint: &str| {
        let question = Question { caller, endpoint, ..question(principal, "tools/call", Some("t"), None) };
        brief(&policies.judge(&question)).1.to_owned()
    };
    assert_eq!(ask(&app, Some(&finance), "billing"), "finance");
    assert_eq!(ask(&app, Some(&finance), "orders"), "default");
    assert_eq!(ask(&app, Some(&warehouse), "orders"), "warehouse");
    assert_eq!(ask(&service, None, "billing"), "finance-service");
    assert_eq!(ask(&app, None, "billing"), "default");
    let hello = policies.judge(&question(&app, "initialize", None, None));
    assert_eq!(brief(&hello), ("allow", "protocol"));
}

#[test]
fn per_team_by_labels() {
    use super::principals::{pod, task};

    let policies = permitting(LABELS);
    let ask = |workload: &Workload, endpoint: &str| {
        let principal = Principal::from(workload);
        let question = Question { endpoint, ..question(&principal, "tools/call", Some("t"), None) };
        brief(&policies.judge(&question)).1.to_owned()
    };
    let treasury = pod("payments", &[("team", "treasury")]);
    assert_eq!(ask(&treasury, "billing"), "payments-pods");
    assert_eq!(ask(&treasury, "orders"), "default");
    assert_eq!(ask(&pod("payments", &[("team", "x")]), "billing"), "default");
    assert_eq!(ask(&pod("payments", &[]), "billing"), "default");
    // A label alone proves nothing.
    assert_eq!(ask(&pod("other", &[("team", "treasury")]), "billing"), "default");
    assert_eq!(ask(&task("warehouse"), "orders"), "warehouse-tasks");
    assert_eq!(ask(&task("other"), "orders"), "default");
    let mut foreign = treasury;
    for image in [Some("evil.example.net/agent".to_owned()), None] {
        foreign.container.as_mut().expect("a container").image = image;
        assert_eq!(ask(&foreign, "billing"), "own-images");
    }
}

#[test]
fn every_example_in_the_docs_is_valid() {
    let blocks: Vec<&str> =
        DOCS.split("```cedar\n").skip(1).filter_map(|rest| rest.split_once("```")).map(|(block, _)| block).collect();
    assert!(blocks.len() >= 6, "{}", blocks.len());
    for block in blocks {
        if let Err(error) = policies_with(block, Stance::Allow) {
            panic!("{block}\n{error}");
        }
    }
}

#[test]
fn the_docs_say_what_happens_to_each_form_of_an_argument() {
    let example = DOCS.split("```cedar\n").find(|block| block.contains("@id(\"limit\")")).expect("the example");
    let policies = policies(example.split_once("```").expect("an end").0);
    // The table below the example: `value` | verdict.
    let rows = DOCS.lines().filter_map(|line| line.strip_prefix("| `{\"amount\":")?.split_once("}` | "));
    let mut seen = 0;
    for (value, rest) in rows {
        let value: Value = serde_json::from_str(value.trim()).expect("a value");
        let expected = if rest.starts_with("allowed") { "allow" } else { "deny" };
        let verdict = call(&policies, "refund", &json!({ "amount": value }));
        assert_eq!(verdict.action(), expected, "{value} {rest}");
        seen += 1;
    }
    assert!(seen >= 5, "{seen}");
}
