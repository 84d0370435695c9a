use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::{Value, value::RawValue};
use serde_json_path::JsonPath;

use super::*;

mod found;
mod parts;

fn rule(name: &str, paths: &[&str]) -> config::Mask {
    let paths = paths.iter().map(|path| (*path).to_owned()).collect();
    config::Mask { name: Some(name.into()), paths, ..config::Mask::default() }
}

fn key() -> MaskKey {
    MaskKey::from_bytes(&[7; 32])
}

fn select(rules: &[config::Mask]) -> Selected {
    Masks::compile(rules).unwrap().for_call("billing", Some("charge"))
}

/// The text with each token's digits left out.
fn shape(text: &str, rules: &[config::Mask]) -> String {
    let masked = select(rules).apply(text, &key());
    let mut parts = masked.text.split("[masked:");
    let mut shape = parts.next().unwrap().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(':').unwrap();
        let (digits, rest) = rest.split_at(16);
        assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()));
        shape += &format!("<{name}{rest}");
    }
    shape.replace(']', ">")
}

#[test]
fn values_are_replaced_and_the_rest_stays() {
    let text = r#" {"jsonrpc":"2.0", "id":1.0,"params":{"arguments":{ "card" : "4111" ,"n":1e2,"\u0065mail":"a@b","note":"\u00e9"}}} "#;
    let rules = [rule("card", &["$.params.arguments.card"]), rule("mail", &["$..email"])];
    let expected = r#" {"jsonrpc":"2.0", "id":1.0,"params":{"arguments":{ "card" : "<card>" ,"n":1e2,"\u0065mail":"<mail>","note":"\u00e9"}}} "#;
    assert_eq!(shape(text, &rules), expected);
    let masked = select(&rules).apply(text, &key());
    assert_eq!(masked.counts, BTreeMap::from([("card".into(), 1), ("mail".into(), 1)]));
}

#[test]
fn any_kind_of_value_and_message_is_masked() {
    let rules = [rule("m", &["$.result.content[*].text", "$.error.data", "$.params.x"])];
    assert_eq!(
        shape(r#"{"result":{"content":[{"text":"a"},{"n":1},{"text":"b"}]}}"#, &rules),
        r#"{"result":{"content":[{"text":"<m>"},{"n":1},{"text":"<m>"}>}}"#
    );
    assert_eq!(shape(r#"{"error":{"code":1,"data":{"a":[1]}}}"#, &rules), r#"{"error":{"code":1,"data":"<m>"}}"#);
    for value in ["null", "true", "-0.0", "[]", "{}", r#""""#] {
        assert_eq!(shape(&format!(r#"{{"params":{{"x":{value}}}}}"#), &rules), r#"{"params":{"x":"<m>"}}"#);
    }
}

#[test]
fn the_outer_value_wins_and_then_the_first_rule() {
    let rules = [rule("in", &["$.a.b.c"]), rule("out", &["$.a.b"]), rule("late", &["$.a.b", "$.d", "$.d"])];
    assert_eq!(shape(r#"{"a":{"b":{"c":1}},"d":2}"#, &rules), r#"{"a":{"b":"<out>"},"d":"<late>"}"#);
    let counts = select(&rules).apply(r#"{"a":{"b":{"c":1}},"d":2}"#, &key()).counts;
    assert_eq!(counts, BTreeMap::from([("out".into(), 1), ("late".into(), 1)]));
    assert_eq!(shape("[1]", &[rule("all", &["$"])]), r#""<all>""#);
}

#[test]
fn tokens_correlate_equal_values() {
    let masked = |text: &str| select(&[rule("r", &["$.*"])]).apply(text, &key()).text.into_owned();
    let tokens = |text: &str| serde_json::from_str::<BTreeMap<String, String>>(&masked(text)).unwrap();
    let same = tokens(r#"{"a":"x","b":"\u0078","c":{"k":1,"l":2},"d":{"l":2 , "k":1},"e":1,"f":"1","g":1.0}"#);
    assert_eq!(same["a"], same["b"]);
    assert_eq!(same["c"], same["d"]);
    assert_eq!(same.values().collect::<BTreeSet<_>>().len(), 5);
    let other = select(&[rule("r", &["$.a"])]).apply(r#"{"a":"x"}"#, &MaskKey::from_bytes(&[8; 32])).text.into_owned();
    assert!(!other.contains(&same["a"]));
}

#[test]
fn what_cannot_be_masked_is_replaced_as_a_whole() {
    let deep = format!("{}\"secret\"{}", "[".repeat(500), "]".repeat(500));
    let hostile = [
        "",
        "secret",
        r#"{"a":"secret"#,
        r#"{"a":"secret"} trailing"#,
        r#"{"b":{"c":"secret"},"b":{}}"#,
        r#"{"a":1e999,"b":"secret"}"#,
        r#"{"a":"\ud800 secret"}"#,
        deep.as_str(),
    ];
    for text in hostile {
        let masked = select(&[rule("r", &["$.zzz"])]).apply(text, &key());
        assert!(masked.text.starts_with("\"[masked:unreadable:") && !masked.text.contains("secret"), "{text}");
        assert_eq!(masked.counts, BTreeMap::from([(UNREADABLE.to_owned(), 1)]));
        assert_eq!(masked.at(&["params"]), Some(&*masked.text));
    }
}

#[test]
fn nothing_is_parsed_when_no_rule_applies() {
    let masks = Masks::compile(&[
        config::Mask { endpoints: vec!["billing".into()], ..rule("e", &["$.a"]) },
        config::Mask { tools: vec!["charge".into()], ..rule("t", &["$.a"]) },
    ])
    .unwrap();
    let names = |endpoint: &str, tool: Tool<'_>| -> Vec<String> {
        masks.for_call(endpoint, tool).record.rules.iter().map(|rule| rule.name.clone()).collect()
    };
    assert_eq!(names("billing", Tool::Named("charge")), ["e", "t"]);
    assert_eq!(names("billing", Tool::Without), ["e"]);
    assert_eq!(names("other", Tool::Named("charge")), ["t"]);
    assert_eq!(names("other", Tool::Named("Charge")), [""; 0]);
    assert_eq!((names("billing", Tool::Unknown).len(), names("other", Tool::Unknown).len()), (2, 1));
    let untouched = masks.for_call("other", None).apply("{not json", &key());
    assert!(matches!(untouched.text, std::borrow::Cow::Borrowed("{not json")));
}

#[test]
fn parts_are_read_from_the_masked_text() {
    let text = r#" {"method":"tools/call","params":{"name":"charge","a\u0062":[1, 2]}}"#;
    let masked = select(&[rule("r", &["$.params.name"])]).apply(text, &key());
    assert!(masked.at(&["params", "name"]).unwrap().starts_with("\"[masked:r:"));
    assert_eq!(masked.at(&["params", "ab"]), Some("[1, 2]"));
    assert_eq!(masked.at(&["method"]), Some("\"tools/call\""));
    assert_eq!(masked.at(&["result"]), None);
    assert_eq!(masked.at(&["params", "ab", "x"]), None);
    let masked = select(&[rule("r", &["$.params"])]).apply(text, &key());
    assert_eq!(masked.at(&["params", "name", "x"]), masked.at(&["params"]));
    // A text that only looks like a token is none.
    let forged = r#"{"params":"[masked:r:0000000000000000]"}"#;
    assert_eq!(select(&[]).apply(forged, &key()).at(&["params", "name"]), None);
}

#[test]
fn faults_name_rule_path_and_position() {
    let error = |rule: config::Mask| Masks::compile(&[rule]).unwrap_err().to_string();
    assert_eq!(error(rule("card", &[])), "mask \"card\" has neither paths nor detectors; add one or remove the rule");
    let text = error(config::Mask { name: None, ..rule("", &["$.ok", "$.params["]) });
    assert!(
        text.starts_with("mask \"mask-1\": \"$.params[\" is not a JSONPath query (RFC 9535) at position "),
        "{text}"
    );
    for path in ["", "params", "$.", "$..", "$[?]", "$[01]", "$ .a b"] {
        assert!(Masks::compile(&[rule("r", &[path])]).is_err(), "{path}");
    }
}

/// JSON text in odd forms, with keys that the paths below select.
fn any_text() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "null",
        "true",
        "0",
        "-0",
        "1.50",
        "1E+2",
        "12345678901234567890123",
        "\"\"",
        "\"x\"",
        "\"\\u0078\"",
        "\"é\\n\\\"\"",
        "\"[masked:r0:0000000000000000]\"",
    ]);
    let space = || prop::sample::select(vec!["", " ", "\n\t"]);
    leaf.prop_map(str::to_owned).prop_recursive(5, 48, 5, move |inner| {
        let members = (inner.clone(), space(), any::<bool>());
        let array = prop::collection::vec((inner, space()), 0..5).prop_map(|elements| {
            let elements: Vec<String> =
                elements.into_iter().map(|(text, space)| space.to_owned() + &text + space).collect();
            format!("[{}]", elements.join(","))
        });
        let object = prop::collection::btree_map("[a-d]", members, 0..5).prop_map(|members| {
            let member = |(key, (text, space, escaped)): (String, (String, &str, bool))| {
                let key = if escaped { format!("\\u{:04x}", key.as_bytes()[0]) } else { key };
                format!("{space}\"{key}\"{space}:{space}{text}")
            };
            format!("{{{}}}", members.into_iter().map(member).collect::<Vec<_>>().join(","))
        });
        prop_oneof![array, object]
    })
}

fn any_rules() -> impl Strategy<Value = Vec<config::Mask>> {
    let path = prop::sample::select(vec![
        "$",
        "$.a",
        "$.b.c",
        "$..a",
        "$..b",
        "$.*",
        "$.*.a",
        "$..*",
        "$[0]",
        "$[-1]",
        "$[1:]",
        "$..[0]",
        "$..[::2]",
        "$['a','b']",
        "$..[?@.a]",
        "$..[?@ == 'x']",
        "$..[?length(@) > 1].c",
        "$..[?match(@.b, 'x.*')]",
    ]);
    prop::collection::vec(prop::collection::vec(path, 1..4), 1..4)
        .prop_map(|rules| rules.iter().enumerate().map(|(at, paths)| rule(&format!("r{at}"), paths)).collect())
}

/// The first JSON value of `text`, as written.
fn first_value(text: &str) -> &str {
    serde_json::Deserializer::from_str(text).into_iter::<&RawValue>().next().unwrap().unwrap().get()
}

proptest! {
    #[test]
    fn only_selected_values_change_and_all_of_them_do(text in any_text(), rules in any_rules()) {
        let selected = select(&rules);
        let masked = selected.apply(&text, &key());
        let before: Value = serde_json::from_str(&text).unwrap();
        let after: Value = serde_json::from_str(&masked.text).unwrap();

        // Every selected place, or one above it, holds a token: equal values the same one, other values another.
        let mut digits: BTreeMap<String, String> = BTreeMap::new();
        let mut places = BTreeSet::new();
        for path in rules.iter().flat_map(|rule| &rule.paths).map(|path| JsonPath::parse(path).unwrap()) {
            places.extend(path.query_located(&before).locations().map(serde_json_path::NormalizedPath::to_json_pointer));
        }
        let outer: Vec<_> =
            places.iter().filter(|p| !places.iter().any(|o| o != *p && p.starts_with(&format!("{o}/")))).collect();
        for place in &outer {
            let token = after.pointer(place).unwrap().as_str().unwrap();
            prop_assert!(token.starts_with("[masked:r"));
            let value = before.pointer(place).unwrap().to_string();
            let known = digits.entry(value).or_insert_with(|| token[token.len() - 17..].to_owned());
            prop_assert!(token.ends_with(&**known));
        }
        prop_assert_eq!(digits.values().collect::<BTreeSet<_>>().len(), digits.len());
        prop_assert_eq!(masked.counts.values().sum::<u64>(), outer.len() as u64);

        // Without the selected values and the tokens, both texts are the same bytes.
        let tokens: BTreeSet<&str> = outer.iter().map(|p| after.pointer(p).unwrap().as_str().unwrap()).collect();
        let (mut old, mut new, mut seen) = (&text[..], &*masked.text, 0);
        while !new.is_empty() {
            let quoted = new.strip_prefix('"').and_then(|rest| tokens.iter().find(|t| rest.starts_with(**t)));
            if let Some(token) = quoted {
                new = &new[token.len() + 2..];
                old = &old[first_value(old).len()..];
                seen += 1;
                continue;
            }
            let letter = new.chars().next().unwrap();
            prop_assert!(old.starts_with(letter));
            (old, new) = (&old[letter.len_utf8()..], &new[letter.len_utf8()..]);
        }
        prop_assert_eq!((old, seen), ("", outer.len()));
    }

    #[test]
    fn any_text_is_masked_or_replaced(text in ".{0,40}|[\\[\\]{}:,\"a-c01 ]{0,40}", rules in any_rules()) {
        let masked = select(&rules).apply(&text, &key());
        prop_assert!(serde_json::from_str::<Value>(&masked.text).is_ok());
        if !masked.counts.is_empty() && masked.counts.contains_key(UNREADABLE) {
            prop_assert_eq!(masked.text.len(), "\"[masked:unreadable:0123456789abcdef]\"".len());
        }
    }
}
