//! No arguments get past a `forbid`, and no policy is left out that could match.

use proptest::prelude::*;

use super::*;

/// Any JSON value, deep ones too.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_filter("JSON has no others", |n| n.is_finite()).prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        "-?[0-9]{1,25}".prop_map(Value::from),
    ];
    let name = || prop_oneof![Just("secret".to_owned()), Just("Secret".to_owned()), Just("in".to_owned()), ".{0,6}"];
    leaf.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Whether some server could take the arguments to hold `secret`, or `in/secret`.
fn could_hold_it(arguments: &Value) -> bool {
    let holds =
        |value: &Value| value.as_object().is_some_and(|o| o.keys().any(|key| key.eq_ignore_ascii_case("secret")));
    let inner = |value: &Value| match value {
        Value::Object(_) | Value::Null => holds(value),
        Value::String(_) | Value::Array(_) | Value::Bool(_) | Value::Number(_) => true,
    };
    let Some(members) = arguments.as_object() else { return !arguments.is_null() };
    holds(arguments)
        || members.iter().any(|(key, value)| key.eq_ignore_ascii_case("in") && (key != "in" || inner(value)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_arguments_get_past_a_forbid(arguments in any_json()) {
        let policies = policies(
            r#"forbid (principal, action, resource) when { context has arguments && context.arguments.hasTag("secret")
                 && context.arguments.getTag("secret").text != "" };
               forbid (principal, action, resource) when { context has arguments && context.arguments.hasTag("in/secret")
                 && context.arguments.getTag("in/secret").long != 0 };"#,
        );
        let verdict = call(&policies, "any", &arguments);
        let harmless = |value: Option<&Value>, zero: Value| value.is_none_or(|value| *value == zero);
        let may_pass = !could_hold_it(&arguments)
            || harmless(arguments.get("secret"), json!("")) && harmless(arguments.pointer("/in/secret"), json!(0));
        prop_assert!(may_pass || verdict.action() == "deny", "{arguments} {verdict:?}");
        // And what nothing forbids is not denied.
        prop_assert!(could_hold_it(&arguments) || verdict.action() == "allow", "{arguments} {verdict:?}");
    }

    #[test]
    fn what_is_left_out_of_a_slice_could_not_match(
        scopes in prop::collection::vec((0..2_usize, 0..3_usize, 0..6_usize, any::<bool>()), 0..12),
        tool in 0..3_usize,
    ) {
        const ACTIONS: [&str; 3] = ["action", "action == Action::\"tools/call\"", "action in Action::\"use\""];
        const RESOURCES: [&str; 6] = ["resource", "resource == Tool::\"billing/t1\"", "resource in Endpoint::\"billing\"",
            "resource is Tool", "resource is Tool in Endpoint::\"other\"", "resource in Endpoint::\"other\""];
        let matches = |resource: usize| match resource { 0 | 2 | 3 => true, 1 => tool == 1, _ => false };
        let text: String = scopes.iter().map(|(effect, action, resource, now)| {
            let (effect, action, resource) = (["permit", "forbid"][*effect], ACTIONS[*action], RESOURCES[*resource]);
            let hour = if *now { 24 } else { 1 };
            format!("{effect} (principal, {action}, {resource}) when {{ context.time.hour < {hour} }};\n")
        }).collect();
        let hit = |wanted: usize| scopes.iter().position(|(effect, _, resource, now)| {
            *effect == wanted && *now && matches(*resource)
        });
        let expected = match (hit(1), hit(0)) {
            (Some(forbid), _) => ("deny", format!("p/{}", forbid + 1)),
            (None, Some(permit)) => ("allow", format!("p/{}", permit + 1)),
            (None, None) => ("deny", "default".to_owned()),
        };
        let verdict = call(&permitting(&text), &format!("t{tool}"), &json!({}));
        let (action, policy) = brief(&verdict);
        prop_assert_eq!((action, policy), (expected.0, expected.1.as_str()));
    }
}
