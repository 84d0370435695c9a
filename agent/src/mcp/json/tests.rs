use proptest::prelude::*;
use serde_json::Value as Json;

use super::*;

const DEPTH: usize = 100;

fn rule(text: &[u8]) -> &'static str {
    check(text, DEPTH).map_or_else(|e| e.rule(), |_| "ok")
}

#[test]
fn hostile_texts_are_refused_by_rule() {
    let table: &[(&[u8], &str)] = &[
        (b"", "json-syntax"),
        (b"   ", "json-syntax"),
        (b"{} {}", "json-syntax"),
        (b"{}\0", "json-syntax"),
        (b"{'a':1}", "json-syntax"),
        (b"{\"a\":1,}", "json-syntax"),
        (b"{\"a\":NaN}", "json-syntax"),
        (b"{\"a\":01}", "json-syntax"),
        (b"{\"a\":1e999}", "json-syntax"),
        (b"{\"a\":\"\x01\"}", "json-syntax"),
        (b"/**/{}", "json-syntax"),
        (b"\xef\xbb\xbf{}", "json-byte-order-mark"),
        (b"\xff\xfe{\0}\0", "json-not-utf8"),
        (b"{\"a\":\"\xc0\xaf\"}", "json-not-utf8"),
        (b"{\"a\":\"\xed\xa0\x80\"}", "json-not-utf8"),
        (br#"{"a":"\ud800"}"#, "json-syntax"),
        (br#"{"a":"\ud800\u0041"}"#, "json-syntax"),
        (br#"{"\udc00":1}"#, "json-syntax"),
        (br#"{"a":1,"a":1}"#, "json-duplicate-key"),
        (br#"{"a":1,"\u0061":2}"#, "json-duplicate-key"),
        (br#"{"x":[[{"k":{"b":1,"c":2,"b":3}}]]}"#, "json-duplicate-key"),
        (br#"{"":1,"":2}"#, "json-duplicate-key"),
        (br#"{"Method":"tools/call"}"#, "json-ambiguous-key"),
        (br#"{"method":"a","METHOD":"b"}"#, "json-ambiguous-key"),
        (br#"{"m\u0065thoD":"a"}"#, "json-ambiguous-key"),
        ("{\"param\u{17f}\":{}}".as_bytes(), "json-ambiguous-key"),
        ("{\"re\u{17f}ult\":{}}".as_bytes(), "json-ambiguous-key"),
        (br#"{"ID":1}"#, "json-ambiguous-key"),
        (br#"[{"jsonRPC":"2.0"}]"#, "json-ambiguous-key"),
        (br#"{"params":{"Name":"x"}}"#, "json-ambiguous-key"),
        (br#"{"params":{"argument\u017f":{}}}"#, "json-ambiguous-key"),
        (br#"[{"params":{"URI":"x"}}]"#, "json-ambiguous-key"),
        (br#"{"params":{"_Meta":{}}}"#, "json-ambiguous-key"),
        (br#"{"params":{"Ref":{}}}"#, "json-ambiguous-key"),
        (br#"{"params":{"ref":{"Type":"ref/prompt"}}}"#, "json-ambiguous-key"),
        (br#"{"params":{"ref":{"name":"a","NAME":"b"}}}"#, "json-ambiguous-key"),
        (br#"{"params":{"__proto__":{}}}"#, "json-prototype-key"),
        (br#"{"params":{"arguments":{"__pro\u0074o__":{"a":1}}}}"#, "json-prototype-key"),
        (br#"[{"params":{"arguments":{"a":[{"__proto__":1}]}}}]"#, "json-prototype-key"),
    ];
    for (text, expected) in table {
        assert_eq!(rule(text), *expected, "{}", String::from_utf8_lossy(text));
    }
}

#[test]
fn odd_texts_that_every_parser_reads_alike_are_taken() {
    let table = [
        " { } \r\n\t",
        "null",
        r#"{"a":123456789012345678901234567890123456789012345678901234567890}"#,
        r#"{"a":-0,"b":1E+2,"c":0.1e-7}"#,
        r#"{"result":{"__proto__":1},"params":{"a":"__proto__"}}"#,
        r#"{"a":"\u0000\ud83d\ude00"}"#,
        // Case variants matter only where the agent reads the key.
        r#"{"params":{"arguments":{"Name":1,"name":2,"ID":3},"method":1,"Id":2}}"#,
        r#"{"result":{"Name":1,"URI":2}}"#,
        // U+0130 and U+0131 do not fold to ASCII under simple folding.
        "{\"\u{131}d\":1}",
        // Not the root's element but a nested array: no envelope there.
        r#"[[{"ID":1}]]"#,
    ];
    for text in table {
        assert_eq!(check(text.as_bytes(), DEPTH), Ok(text));
    }
}

#[test]
fn depth_is_counted_in_containers() {
    let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    assert!(check(nested(3).as_bytes(), 3).is_ok());
    assert_eq!(check(nested(4).as_bytes(), 3), Err(JsonError::TooDeep { limit: 3 }));
    assert!(check(nested(MAX_DEPTH).as_bytes(), usize::MAX).is_ok());
    assert_eq!(rule("[".repeat(1 << 20).as_bytes()), "json-too-deep");
    assert_eq!(rule("{\"a\":".repeat(1 << 20).as_bytes()), "json-too-deep");
    assert_eq!(check(b"1", 0), Ok("1"));
}

#[test]
fn large_objects_are_checked_too() {
    let members = |keys: &mut dyn Iterator<Item = usize>| {
        let members: Vec<String> = keys.map(|k| format!("\"k{k}\":{{\"x\":1,\"y\":2}}")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert_eq!(rule(members(&mut (0..500)).as_bytes()), "ok");
    for twin in [0, FEW_KEYS - 1, FEW_KEYS, 499] {
        assert_eq!(rule(members(&mut (0..500).chain([twin])).as_bytes()), "json-duplicate-key", "{twin}");
    }
}

#[test]
fn errors_say_where_and_not_what() {
    let error = check(b"{\n \"secret-key\":1,\n \"secret-key\":2}", DEPTH).unwrap_err().to_string();
    assert_eq!(error, "an object has the same key twice (line 3, column 13); send each key once");
    let error = check(b"{\"a\":tru}", DEPTH).unwrap_err().to_string();
    assert_eq!(error, "the body is not one JSON value: expected ident (line 1, column 9)");
}

/// Any JSON value, with keys that are likely to meet.
pub(crate) fn any_json() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        ".{0,8}".prop_map(Json::from),
    ];
    leaf.prop_recursive(5, 64, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Json::from),
            prop::collection::btree_map("[a-e]|.{0,4}", inner, 0..6)
                .prop_map(|m| Json::Object(m.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_writes_is_taken(value in any_json()) {
        let text = Json::Array(vec![Json::Array(vec![value])]).to_string();
        prop_assert_eq!(check(text.as_bytes(), DEPTH), Ok(text.as_str()));
    }

    #[test]
    fn what_is_taken_is_json(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(text) = check(&bytes, DEPTH) {
            prop_assert!(serde_json::from_str::<Json>(text).is_ok());
        }
    }

    #[test]
    fn a_twin_key_is_found_wherever_it_stands(value in any_json(), keys in prop::collection::btree_set("[a-z]{1,6}", 1..40), twin in any::<prop::sample::Index>()) {
        let keys: Vec<_> = keys.into_iter().collect();
        let twin = twin.get(&keys);
        let escaped: String = twin.chars().map(|c| format!("\\u{:04x}", c as u32)).collect();
        let members: Vec<String> = keys.iter().map(|k| format!("\"{k}\":{value}")).collect();
        let text = format!("[[{{{},\"{escaped}\":0}}]]", members.join(","));
        prop_assert_eq!(rule(text.as_bytes()), "json-duplicate-key");
    }

    #[test]
    fn folding_is_what_case_conversion_says(key in "[kKsSiI\u{212a}\u{17f}\u{130}\u{131}]{1,3}", name in "[ksi]{1,3}") {
        // Lower-casing the upper case covers simple folding for these letters, except that it also maps dotless i.
        let converted = key.replace('\u{131}', "?").to_uppercase().to_lowercase();
        prop_assert_eq!(folds_to(&key, &name), converted == name);
    }
}
