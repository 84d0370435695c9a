//! Recorded calls, asked again.

use super::*;
use crate::{
    config::{Detector, Mask, MaskStyle},
    mask::{MaskKey, Masks},
};

/// A record of a call, as the log writes it.
fn recorded(arguments: &Value, masked: &Value, verdict: &Value) -> Recorded {
    let event = json!({
        "class_uid": 6003, "time": 1_795_437_000_000_i64,
        "mcp": { "phase": "request", "call_id": "c1", "method": "tools/call", "name": "pay", "endpoint": "billing", "era": "modern",
            "params": { "name": "pay", "arguments": arguments } },
        "workload": { "kind": "unit", "id": "systemd/app.service", "cgroup_id": 7, "process": { "pid": 1, "uid": 0, "comm": "app" } },
        "verdict": verdict, "masked": masked,
        "src_endpoint": { "ip": "10.0.0.7", "port": 5 }, "dst_endpoint": { "ip": "192.0.2.1", "port": 443, "hostname": "mcp.test" },
    });
    Recorded::read(&event.to_string(), crate::mask::may_be_masked).expect("a call")
}

#[test]
fn a_recorded_call_is_asked_again_and_never_guessed_at() {
    let policies = policies(
        r#"@id("card") forbid (principal, action, resource == Tool::"billing/pay")
             when { context has arguments && context.arguments.hasTag("card") && context.arguments.getTag("card").text like "4*" };
           @id("much") forbid (principal, action, resource == Tool::"billing/pay")
             when { context has arguments && context.arguments.hasTag("amount") && context.arguments.getTag("amount").long > 10 };"#,
    );
    let catalogue = Catalogue::default();
    let allowed = json!({ "action": "allow" });
    let brief =
        |arguments: Value, masked: Value| match recorded(&arguments, &masked, &allowed).ask(&policies, &catalogue) {
            replay::Answer::Decided(verdict) => brief(&verdict).1.to_owned(),
            replay::Answer::Undecidable { .. } => "undecidable".to_owned(),
        };
    let (none, one) = (json!({}), json!({ "cards": 1 }));
    let hidden = "[masked:cards:00]";
    assert_eq!(brief(json!({ "card": "5", "amount": 3 }), none.clone()), "");
    assert_eq!(brief(json!({ "card": "4", "amount": 3 }), none.clone()), "card");
    assert_eq!(brief(json!({ "card": hidden, "amount": 3 }), one.clone()), "undecidable");
    // Decided all the same: another policy forbids it.
    assert_eq!(brief(json!({ "card": hidden, "amount": 30 }), one.clone()), "much");
    // What policies do not read may be masked.
    assert_eq!(brief(json!({ "note": hidden, "amount": 3 }), one), "");
    // What a peer wrote like a mask, where none was applied.
    assert_eq!(brief(json!({ "card": hidden, "amount": 3 }), none), "");
    let opinions = recorded(&json!({ "card": hidden, "amount": 30 }), &json!({ "cards": 1 }), &allowed)
        .opinions(&policies, &catalogue);
    let says: Vec<_> = opinions.iter().map(|opinion| (opinion.policy.as_str(), opinion.says)).collect();
    assert_eq!(says, [("card", "undecidable"), ("much", "matches")]);
}

/// What replay says of a call with `arguments`, as a rule of each style records it, to policies that read `secret`.
fn replayed(policy: &str, arguments: &Value, style: MaskStyle, rule: &Mask) -> Vec<String> {
    let policies =
        policies(&format!("@id(\"p\") forbid (principal, action, resource == Tool::\"billing/pay\") {policy};"));
    let rule = Mask { style, ..rule.clone() };
    let masks = Masks::compile(&[rule]).expect("a rule").for_call("billing", Some("pay"));
    let message = json!({ "params": { "name": "pay", "arguments": arguments } }).to_string();
    let masked = masks.apply(&message, &MaskKey::from_bytes(&[7; 32]));
    let shown: Value = serde_json::from_str(masked.at(&["params", "arguments"]).unwrap()).unwrap();
    [(&shown, json!(masked.counts)), (arguments, json!({}))]
        .map(|(arguments, masked)| {
            match recorded(arguments, &masked, &json!({ "action": "allow" })).ask(&policies, &Catalogue::default()) {
                replay::Answer::Decided(verdict) => brief(&verdict).1.to_owned(),
                replay::Answer::Undecidable { .. } => "undecidable".to_owned(),
            }
        })
        .into()
}

#[test]
fn no_style_of_mask_is_taken_for_the_value() {
    let by_path = Mask { paths: vec!["$.params.arguments.data".into()], ..Mask::default() };
    let by_detector = Mask { detectors: vec![Detector::CardNumber], ..Mask::default() };
    let (card, note) = ("4111111111111111", "paid with 4111 1111 1111 1111 today");
    let read = "when { context has arguments && context.arguments.hasTag(\"data\")";
    for style in [MaskStyle::Redact, MaskStyle::Token, MaskStyle::Partial] {
        for rule in [&by_path, &by_detector] {
            for (value, condition) in [
                (json!(card), ".text like \"4*\""),
                (json!(note), ".text like \"paid*4111*\""),
                // Masked behind its encoding, which it keeps.
                (json!(base64(note)), ".text like \"cGFpZ*\""),
                (json!([card, "x"]), ".texts.contains(\"4111111111111111\")"),
                (json!(4_111_111_111_111_111_u64), " has long"),
                (json!({ "number": card }), ".json like \"*4111*\""),
            ] {
                let policy = format!("{read} && context.arguments.getTag(\"data\"){condition} }}");
                let said = replayed(&policy, &json!({ "data": value }), style, rule);
                assert_eq!(said, ["undecidable", "p"], "{style:?}, {value}, {condition}");
            }
        }
    }
    let keyed = "when { context has arguments && context.arguments.hasTag(\"4111111111111111\") }";
    assert_eq!(replayed(keyed, &json!({ card: 1 }), MaskStyle::Redact, &by_detector), ["undecidable", "p"]);
}

fn base64(text: &str) -> String {
    base64::Engine::encode(&base64::engine::general_purpose::STANDARD, text)
}

#[test]
fn what_a_protocol_rule_refused_is_not_asked_about() {
    let event = |verdict: Value| {
        json!({
        "time": 0, "mcp": { "phase": "request", "call_id": "c", "method": "ping", "endpoint": "e", "era": "modern" },
        "workload": { "kind": "unit", "id": "x" }, "verdict": verdict,
        "src_endpoint": { "ip": "::1" }, "dst_endpoint": { "ip": "::1" },
    }).to_string()
    };
    let read = |verdict: Value| Recorded::read(&event(verdict), |_| false).is_some();
    assert!(read(json!({ "action": "allow" })) && read(json!({ "action": "deny", "policy": "p", "version": "00" })));
    assert!(!read(json!({ "action": "deny", "policy": "header-method" })));
    assert!(Recorded::read("{}", |_| false).is_none());
}
