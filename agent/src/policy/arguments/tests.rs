use cedar_policy::EvalResult;
use proptest::prelude::*;

use super::*;

/// The members that a value has, as Cedar evaluates them.
fn of(text: &str) -> BTreeMap<String, String> {
    let raw: Box<RawValue> = serde_json::from_str(text).unwrap();
    let entity = cedar_policy::Entity::new_with_tags(
        r#"Arguments::"call""#.parse().unwrap(),
        [("v".to_owned(), record(&value_members(&raw, true)))],
        [],
        [],
    )
    .unwrap();
    let Some(Ok(EvalResult::Record(record))) = entity.attr("v") else { panic!("no record") };
    record.iter().map(|(name, value)| (name.clone(), value.to_string())).collect()
}

fn get(text: &str, member: &str) -> Option<String> {
    of(text).remove(member)
}

#[test]
fn each_value_has_the_members_of_its_form_alone() {
    let names = |text: &str| of(text).into_keys().collect::<Vec<_>>().join(" ");
    assert_eq!(names("\"a\""), "json kind text");
    assert_eq!(names("true"), "bool json kind");
    assert_eq!(names("null"), "json kind");
    assert_eq!(names("7"), "decimal json kind long");
    assert_eq!(names("7.5"), "decimal json kind");
    assert_eq!(names("7.00001"), "json kind");
    assert_eq!(names("1e400"), "kind");
    assert_eq!(names("9223372036854775808"), "json kind");
    assert_eq!(names("{\"a\":1}"), "json kind");
    assert_eq!(names("[]"), "json kind longs texts");
    assert_eq!(names("[\"a\"]"), "json kind texts");
    assert_eq!(names("[1,2.0]"), "json kind longs");
    assert_eq!(names("[1,\"a\"]"), "json kind");
    assert_eq!(names(&format!("\"{}\"", "x".repeat(VALUE_BYTES))), "kind");
}

#[test]
fn numbers_are_what_they_say_however_they_are_written() {
    for (text, long) in [
        ("0", "0"),
        ("-0", "0"),
        ("5.000", "5"),
        ("5e3", "5000"),
        ("-5.5E1", "-55"),
        ("12300e-2", "123"),
        ("9007199254740992", "9007199254740992"),
        ("-9007199254740991", "-9007199254740991"),
        ("1000000000000000000", "1000000000000000000"),
        ("0.0000000000000000000000000e99", "0"),
    ] {
        assert_eq!(get(text, "long").as_deref(), Some(long), "{text}");
    }
    assert_eq!(get("-0.0001", "decimal").as_deref(), Some("decimal(\"-0.0001\")"));
    assert_eq!(get("1.25e1", "decimal").as_deref(), Some("decimal(\"12.5000\")"));
    for text in ["0.5", "1e-1", "1e19", "1e999999999", "1e-999999999", "99999999999999999999999999999999999999999"] {
        assert_eq!(get(text, "long"), None, "{text}");
    }
    assert_eq!(get("922337203685477.5808", "decimal"), None);
}

#[test]
fn numbers_that_readers_round_have_no_form() {
    // 2^53 + 1 is 2^53 to JavaScript; 2^60 is written 1152921504606847000 there, and that is 2^60 when it is read again.
    for text in [
        "9007199254740993",
        "-9007199254740993",
        "1152921504606846976",
        "1152921504606847000",
        "9223372036854775807",
        "-9223372036854775808",
    ] {
        assert_eq!((get(text, "long"), get(text, "kind").as_deref()), (None, Some("\"number\"")), "{text}");
        assert_eq!(get(&format!("[1,{text}]"), "longs"), None, "{text}");
    }
    assert_eq!(get("99999999999.1234", "decimal").as_deref(), Some("decimal(\"99999999999.1234\")"));
    for text in ["922337203685477.5807", "900719925474099.1001"] {
        assert_eq!(get(text, "decimal"), None, "{text}");
    }
}

#[test]
fn escapes_and_white_space_do_not_hide_text() {
    assert_eq!(get(r#""\u002fetc\/passwd""#, "text").as_deref(), Some("\"/etc/passwd\""));
    assert_eq!(get(r#"[ "\u002fetc" , 1 ]"#, "json"), get(r#"["/etc",1]"#, "json"));
}

fn look(arguments: &str, path: &str) -> Result<bool, Fault> {
    let raw: Box<RawValue> = serde_json::from_str(arguments).unwrap();
    let arguments = Arguments::read(Some(&raw), Some(Veil { hides: |text| text.contains("[masked:"), is_cut: false }))?;
    let tags = arguments.tags(&BTreeSet::from([Path::parse(path).unwrap()]), true)?;
    Ok(!tags.is_empty())
}

#[test]
fn paths_lead_to_one_value_or_none_or_are_refused() {
    assert_eq!(look(r#"{"a":1}"#, "a"), Ok(true));
    assert_eq!(look(r#"{"\u0061":null}"#, "a"), Ok(true));
    assert_eq!(look(r#"{"b":1}"#, "a"), Ok(false));
    assert_eq!(look(r#"{"f":{"c":1}}"#, "f/c"), Ok(true));
    assert_eq!(look(r#"{"f":null}"#, "f/c"), Ok(false));
    assert_eq!(look(r#"{"f/c":1}"#, "f/c"), Ok(false));
    assert_eq!(look(r#"{"f/c":1,"~":2}"#, "f~1c"), Ok(true));
    for through in [r#"{"f":"{\"c\":1}"}"#, r#"{"f":[{"c":1}]}"#, r#"{"f":7}"#] {
        assert_eq!(look(through, "f/c"), Err(Fault::Through("f/c".into())), "{through}");
    }
    for case in [r#"{"PATH":1}"#, r#"{"path":1,"Path":2}"#] {
        assert_eq!(look(case, "path"), Err(Fault::Case("path".into())), "{case}");
    }
    assert_eq!(look("{\"\u{17f}top\":1}", "stop"), Err(Fault::Case("stop".into())));
    assert_eq!(look("{\"GRÜSSE\":1}", "grüsse"), Err(Fault::Case("grüsse".into())));
    assert_eq!(look("[]", "a"), Err(Fault::NotAnObject));
    assert_eq!(look(r#"{"a":"[masked:m:00]"}"#, "a"), Ok(true));
    assert_eq!(look(r#"{"f":"[masked:m:00]"}"#, "f/c"), Err(Fault::Masked("f/c".into())));
    for hidden in [r#"{"[masked:m:00]":1}"#, r#"{"f":{"[masked:m:00]":1}}"#] {
        assert_eq!(look(hidden, "f/c"), Err(Fault::Masked("f/c".into())), "{hidden}");
    }
    assert_eq!(Path::parse("a~2"), None);
    assert_eq!(Path::parse("a~"), None);
}

#[test]
fn an_objects_names_are_folded_once_however_many_paths_there_are() {
    let members: Vec<String> = (0..2000).map(|n| format!("\"member{n}\":{{}}")).collect();
    let text = format!("{{\"f\":{{{}}}}}", members.join(","));
    let raw: Box<RawValue> = serde_json::from_str(&text).unwrap();
    let arguments = Arguments::read(Some(&raw), None).unwrap();
    let paths: BTreeSet<Path> = (0..50).map(|n| Path::parse(&format!("f/member{n}/x")).unwrap()).collect();
    let mut inner = HashMap::new();
    for path in &paths {
        assert!(matches!(arguments.find(path, &mut inner), Ok(Found::Nothing)));
    }
    // The object that all lead through, and one for each.
    assert_eq!(inner.len(), 51);
}

proptest! {
    #[test]
    fn a_number_that_is_long_is_that_number(n in any::<i64>(), bits in 0..64_u32, zeros in 0..4_usize, shift in 0..4_u32) {
        let n = n >> bits;
        // To a reader with doubles, and to one who reads what that one writes.
        let is_for_all = |n: i128| (n as f64) as i128 == n && (n as f64).to_string() == n.to_string();
        let long = |n: i128| i64::try_from(n).ok().filter(|_| is_for_all(n)).map(|n| n.to_string());
        let text = format!("{n}.{}", "0".repeat(zeros + 1));
        prop_assert_eq!(get(&text, "long"), long(n.into()));
        prop_assert!(n.abs() > 1 << 53 || get(&text, "long").is_some());
        let text = format!("{n}e{shift}");
        prop_assert_eq!(get(&text, "long"), long(i128::from(n) * 10_i128.pow(shift)));
    }
}
