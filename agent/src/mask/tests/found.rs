//! Detectors, styles, and what goes to the other side.

use proptest::prelude::*;

use super::*;
use crate::config::{Detector, MaskStyle};

const CARD: &str = "4111111111111111";
const KEY: &str = "AKIA2OGYBAH6XYZQRSTU";
const MAIL: &str = "ada@example.com";

fn all() -> config::Mask {
    config::Mask { name: Some("all".into()), detectors: Detector::ALL.into(), inline: true, ..config::Mask::default() }
}

fn masked(text: &str, rules: &[config::Mask]) -> String {
    select(rules).apply(text, &key()).text.into_owned()
}

fn redacted(text: &str) -> String {
    masked(text, &[config::Mask { style: MaskStyle::Redact, ..all() }])
}

#[test]
fn finds_are_replaced_within_their_text() {
    let text = format!(r#"{{"params":{{"note":"é \u00e9\n{KEY}, \"{MAIL}\"","n":1.0,"card":{CARD},"{MAIL}":1}}}}"#);
    let expected = r#"{"params":{"note":"é \u00e9\n[masked:all/aws_key], \"[masked:all/email]\"","n":1.0,"card":"[masked:all/card_number]","#;
    let shown = redacted(&text);
    assert!(shown.starts_with(expected), "{shown}");
    // A key gets a token in any style.
    assert!(shown[expected.len()..].starts_with("\"[masked:all/email:") && shown.ends_with("]\":1}}"), "{shown}");
    assert_eq!(select(&[all()]).apply(&text, &key()).counts, BTreeMap::from([("all".into(), 4)]));
}

#[test]
fn escapes_hide_nothing() {
    for hidden in [r"\u0041KIA2OGYBAH6XYZQRST\u0055", r"a\u0064a\u0040example.com", r"4111\u00201111 1111 1111"] {
        let shown = redacted(&format!(r#"{{"params":{{"x":"- {hidden} -"}}}}"#));
        assert!(shown.starts_with(r#"{"params":{"x":"- [masked:all/"#) && shown.ends_with(r#"] -"}}"#), "{shown}");
    }
}

#[test]
fn json_inside_text_is_masked_and_stays_json() {
    let inner = serde_json::json!({ "email": "x", "deep": serde_json::json!([{ "card": CARD.parse::<u64>().unwrap() }]).to_string() });
    let text =
        serde_json::json!({ "result": { "content": [{ "type": "text", "text": inner.to_string() }] } }).to_string();
    let rules = [rule("mail", &["$..email"]), config::Mask { style: MaskStyle::Redact, ..all() }];
    let shown: Value = serde_json::from_str(&masked(&text, &rules)).unwrap();
    let inner: Value = serde_json::from_str(shown["result"]["content"][0]["text"].as_str().unwrap()).unwrap();
    assert!(inner["email"].as_str().unwrap().starts_with("[masked:mail:"));
    assert_eq!(inner["deep"], r#"[{"card":"[masked:all/card_number]"}]"#);
}

#[test]
fn json_inside_text_that_paths_cannot_be_asked_of_is_replaced() {
    let deep = format!(r#"{{"card":{}"secret"{}}}"#, "[".repeat(200), "]".repeat(200));
    for inner in [
        r#"{"card":"secret","card":"secret"}"#,
        r#"{"card":"secret","n":1e999}"#,
        r#"{"card":"secret","x":"\ud800"}"#,
        r#" ["secret",{"a":1,"a":2}] "#,
        deep.as_str(),
    ] {
        let within = serde_json::json!({ "log": inner }).to_string();
        for text in [inner, within.as_str()] {
            let text = serde_json::json!({ "result": { "content": [{ "type": "text", "text": text }, "[no JSON]"] } });
            for rules in [vec![rule("r", &["$..card"])], vec![rule("r", &["$.nowhere"]), all()]] {
                let text = text.to_string();
                let masked = select(&rules).apply(&text, &key());
                assert!(!masked.text.contains("secret") && masked.text.contains("[no JSON]"), "{}", masked.text);
                assert!(masked.text.contains("[masked:unreadable:"), "{}", masked.text);
                assert_eq!(masked.counts, BTreeMap::from([(UNREADABLE.to_owned(), 1)]));
                let inline: Vec<_> = rules.into_iter().map(|rule| config::Mask { inline: true, ..rule }).collect();
                assert!(!select(&inline).inline(&text, &key()).text.contains("secret"));
            }
        }
        // Detectors need no reading.
        let text = serde_json::json!({ "text": inner }).to_string();
        assert_eq!(masked(&text, &[all()]), text);
    }
}

#[test]
fn structured_content_is_masked_in_its_text_too() {
    let content = serde_json::json!({ "user": { "name": "Ada" }, "n": 1 });
    let text = serde_json::json!({ "result": {
        "structuredContent": content, "content": [{ "type": "text", "text": content.to_string() }]
    } });
    let shown = masked(&text.to_string(), &[rule("r", &["$.result.structuredContent.user.name"])]);
    assert!(!shown.contains("Ada") && shown.matches("[masked:r:").count() == 2, "{shown}");
}

#[test]
fn encoded_text_is_masked_behind_its_encoding() {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let blob = STANDARD.encode(format!("key = {KEY}\n"));
    let shown = redacted(&format!(r#"{{"result":{{"contents":[{{"uri":"file:///k","blob":"{blob}"}}]}}}}"#));
    let shown: Value = serde_json::from_str(&shown).unwrap();
    let blob = shown["result"]["contents"][0]["blob"].as_str().unwrap();
    assert_eq!(STANDARD.decode(blob).unwrap(), b"key = [masked:all/aws_key]\n");
    let image = STANDARD.encode([0x89, b'P', b'N', b'G', 0xff, 0xfe, 1, 2, 3, 4, 5, 6, 7, 8]);
    let text = format!(r#"{{"result":{{"data":"{image}"}}}}"#);
    assert_eq!(redacted(&text), text);
}

#[test]
fn a_long_hostile_message_takes_no_longer_than_its_length() {
    let paths = ["$..a", "$.result.b", "$..c[*].d", "$.result.e[?@.f == 1]"];
    let rules = [rule("p", &paths), config::Mask { style: MaskStyle::Partial, ..all() }];
    let (selected, key) = (select(&rules), key());
    let text = |parts: [&str; 3], length: usize| {
        format!("{}{}{}", parts[0], parts[1].repeat(length / parts[1].len()), parts[2])
    };
    for parts in [
        [r#"{"result":["#, r#"{"a":1},"#, "0]}"],
        [r#"{"result":["#, r#"{"a":{"a":{"a":[{"c":[{"d":1}]}]}}},"#, "0]}"],
        [r#"{"result":{"e":["#, r#"{"f":1},"#, "0]}}"],
        [r#"{"result":["#, "[[[[[]]]]],", "0]}"],
        [r#"{"result":["#, r#""{\"a\":\"[1]\"}","#, "0]}"],
        [r#"{"result":["#, r#""{\"a\":1,\"a\":2}","#, "0]}"],
        [r#"{"result":""#, r#"\u0041 4111 1111 1111 1111 "#, "\"}"],
        [r#"{"result":""#, "ada%40example.com ", "\"}"],
        [r#"{"result":{"data":["#, r#""cGhvbmUgMTIzNDU2NzggcGhvbmU=","#, "0]}}"],
        [r#"{"method":"notifications/progress","params":{"progressToken":1,"message":""#, "Mail a@b.de", "\"}}"],
    ] {
        time::grows_with_length(parts[1], |length| {
            let message = text(parts, length);
            let (selected, key) = (&selected, &key);
            move || drop(selected.apply(&message, key))
        });
        time::grows_with_length(parts[1], |length| {
            let message = text(parts, length);
            let (selected, key, mut threads) = (&selected, &key, Threads::default());
            move || drop(selected.inline_next(&mut threads, &message, key))
        });
    }
    // Each `b` is below many of `a`: too many ways for the engine, so it is not asked.
    let nested = format!(r#"{}[{}0]{}"#, r#"{"a":"#.repeat(100), r#"{"b":1},"#.repeat(10_000), "}".repeat(100));
    let masked = select(&[rule("p", &["$..a..b"])]).apply(&nested, &key);
    assert!(masked.text.starts_with("\"[masked:unreadable:"), "{}", &masked.text[..100]);
    // One text in many pieces, and one name over many texts.
    time::grows_with_length("pieces", |length| {
        let piece = |n: usize| {
            let text = ["4111 1111 1111 1111 a@b.de ", "Mail a@"][n % 2];
            format!(r#"{{"method":"notifications/progress","params":{{"progressToken":1,"message":"{text}"}}}}"#)
        };
        let messages: Vec<String> = (0..length / 128).map(piece).collect();
        let (selected, key) = (&selected, &key);
        move || drop(selected.apply_all(&messages.iter().map(String::as_str).collect::<Vec<_>>(), key))
    });
    time::grows_with_length("name", |length| {
        let texts = "\"12345678\",".repeat(length / 16);
        let message = format!(r#"{{"result":{{"{}":[{texts}0]}}}}"#, "n".repeat(length));
        let (selected, key) = (&selected, &key);
        move || drop(selected.apply(&message, key))
    });
}

#[test]
fn styles_show_nothing_some_or_what_correlates() {
    let text = format!(r#"{{"params":{{"a":"{CARD}","b":"{CARD}"}}}}"#);
    let partial = masked(&text, &[config::Mask { style: MaskStyle::Partial, ..all() }]);
    assert!(partial.contains("\"[masked:all/card_number:…1111]\""), "{partial}");
    let token: Value = serde_json::from_str(&masked(&text, &[all()])).unwrap();
    assert_eq!(token["params"]["a"], token["params"]["b"]);
    let whole = config::Mask { style: MaskStyle::Partial, ..rule("p", &["$.params"]) };
    assert_eq!(masked(&text, &[whole]), r#"{"params":"[masked:p]"}"#);
}

#[test]
fn what_the_protocol_needs_stays_for_the_other_side() {
    let text = format!(
        r#"{{"jsonrpc":"2.0","id":"{KEY}","method":"tools/call","params":{{"requestState":"{KEY}","cursor":"{KEY}","_meta":{{"progressToken":"{KEY}","x":"{KEY}"}},"name":"t","arguments":{{"requestState":"{KEY}"}}}}}}"#
    );
    let whole = config::Mask { inline: true, style: MaskStyle::Redact, ..rule("r", &["$"]) };
    let shown = |rule| select(&[rule]).inline(&text, &key()).text.into_owned();
    let expected = format!(
        r#"{{"jsonrpc":"2.0","id":"{KEY}","method":"tools/call","params":{{"requestState":"{KEY}","cursor":"{KEY}","_meta":{{"progressToken":"{KEY}","x":"[masked:r]"}},"name":"[masked:r]","arguments":"[masked:r]"}}}}"#
    );
    assert_eq!(shown(whole), expected);
    let detected = shown(config::Mask { style: MaskStyle::Redact, ..all() });
    assert_eq!(detected.matches(KEY).count(), 4);
    assert!(
        detected.ends_with(
            r#""x":"[masked:all/aws_key]"},"name":"t","arguments":{"requestState":"[masked:all/aws_key]"}}}"#
        )
    );
    assert!(select(&[config::Mask { inline: false, ..all() }]).inline(&text, &key()).counts.is_empty());
}

#[test]
fn plain_text_is_looked_at_behind_percent_signs() {
    let plain = |text: &str| {
        select(&[config::Mask { style: MaskStyle::Redact, ..all() }]).plain(text, &key()).text.into_owned()
    };
    assert_eq!(plain("/users/ada%40example.com/x"), "/users/[masked:all/email]/x");
    assert_eq!(plain("/users/ada"), "/users/ada");
}

/// Every text that a value says, also inside JSON texts and encodings.
fn said(value: &Value, all: &mut String) {
    match value {
        Value::String(text) => {
            all.push_str(text);
            all.push('\n');
            if let Ok(inner @ (Value::Object(_) | Value::Array(_))) = serde_json::from_str(text) {
                said(&inner, all);
            }
        }
        Value::Array(values) => values.iter().for_each(|value| said(value, all)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            all.push_str(key);
            all.push('\n');
            said(value, all);
        }),
        other => all.push_str(&other.to_string()),
    }
}

/// A message with secrets in odd places and spellings.
fn any_message() -> impl Strategy<Value = String> {
    let secret = prop::sample::select(vec![CARD, KEY, MAIL, "GB82 WEST 1234 5698 7654 32", "plain words", "7"]);
    let leaf = (secret, 0..5u8).prop_map(|(secret, spelling)| match spelling {
        0 => serde_json::to_string(secret).unwrap(),
        1 => format!("\"{}\"", secret.bytes().map(|byte| format!("\\u{byte:04X}")).collect::<String>()),
        2 => serde_json::to_string(&format!("é\n\"{secret}\" ")).unwrap(),
        3 => serde_json::to_string(&serde_json::json!({ "in": [secret] }).to_string()).unwrap(),
        _ if secret.bytes().all(|b| b.is_ascii_digit()) => secret.to_owned(),
        _ => format!("[ {} ,1e2]", serde_json::to_string(secret).unwrap()),
    });
    let value = leaf.prop_recursive(3, 16, 4, |inner| {
        let keys = prop::sample::select(vec!["a", "b", "secret", MAIL, "c\\u0064"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|values| format!("[{}]", values.join(" , "))),
            prop::collection::btree_map(keys, inner, 0..4).prop_map(|members| {
                let member = |(key, value): (&str, String)| format!("\"{key}\" : {value}");
                format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
            }),
        ]
    });
    value.prop_map(|value| format!(r#"{{"jsonrpc":"2.0","id":1,"result":{{"x":{value}}}}}"#))
}

proptest! {
    #[test]
    fn no_found_value_is_left_anywhere_and_all_else_is(
        text in any_message(),
        path in prop::sample::select(vec!["$..a", "$.result.x[0]", "$..secret", "$.zzz"]),
        style in prop::sample::select(vec![MaskStyle::Redact, MaskStyle::Token]),
        inline in any::<bool>(),
    ) {
        let rules = [config::Mask { inline: true, style, ..rule("p", &[path]) }, config::Mask { style, ..all() }];
        let selected = select(&rules);
        let masked = if inline { selected.inline(&text, &key()) } else { selected.apply(&text, &key()) };
        let value: Value = serde_json::from_str(&masked.text).unwrap();
        let mut all = String::new();
        said(&value, &mut all);
        for secret in [CARD, KEY, MAIL, "GB82 WEST 1234 5698 7654 32"] {
            prop_assert!(!all.contains(secret) && !masked.text.contains(secret), "{}", masked.text);
        }

        // What stands between the stand-ins stood there before, in this order, and at both ends.
        let parts: Vec<&str> = masked.text.split("[masked:").collect();
        let kept = |part: &'_ str| part.split_once(']').map_or(String::new(), |(_, kept)| kept.trim_matches(['"', '\\']).to_owned());
        let first = parts[0].trim_end_matches(['"', '\\']);
        prop_assert!(text.starts_with(first));
        let mut rest = &text[first.len()..];
        for part in &parts[1..] {
            let kept = kept(part);
            let at = rest.find(&kept);
            prop_assert!(at.is_some(), "{}", kept);
            rest = &rest[at.unwrap() + kept.len()..];
        }
        prop_assert!(parts.len() == 1 || text.ends_with(&kept(parts[parts.len() - 1])));
    }
}
