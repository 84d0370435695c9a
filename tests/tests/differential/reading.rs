//! How a JSON value was read, so that readings in several languages can be compared: as `peers/differential/canonical.py` has it.

use serde_json::Value;

/// Whole numbers by their digits, others by the bytes of their double, strings with `s` before them.
pub(crate) fn told(value: &Value) -> Value {
    match value {
        Value::Number(number) if !number.is_f64() => format!("i{number}").into(),
        Value::Number(number) => match number.as_f64().expect("a double") {
            // Adding 0 makes 0 of -0.
            whole if whole.fract() == 0.0 => format!("i{:.0}", whole + 0.0).into(),
            other => format!("n{:016x}", other.to_bits()).into(),
        },
        Value::String(text) => Value::String(format!("s{text}")),
        Value::Array(values) => values.iter().map(told).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), told(value))).collect(),
        other => other.clone(),
    }
}

/// Whether two parsers read the same. Doubles may be next to each other, since serde rounds some of them the other way; whole
/// numbers are the same or not.
pub(crate) fn alike(one: &Value, other: &Value) -> bool {
    let double = |text: &str| text.strip_prefix('n').and_then(|bits| u64::from_str_radix(bits, 16).ok());
    every(one, other, &|one, other| double(one).zip(double(other)).is_some_and(|(one, other)| one.abs_diff(other) == 1))
}

/// The same where whole numbers beyond 2^53 may be the nearest double: what is judged of these, servers are asked about.
pub(crate) fn alike_as_doubles(one: &Value, other: &Value) -> bool {
    let double = |text: &str| match text.split_at_checked(1)? {
        ("n", bits) => u64::from_str_radix(bits, 16).ok(),
        ("i", digits) => digits.parse::<f64>().ok().map(f64::to_bits),
        _ => None,
    };
    every(one, other, &|one, other| double(one).zip(double(other)).is_some_and(|(one, other)| one.abs_diff(other) <= 1))
}

/// Whether two values are the same but for texts that `near` takes for the same.
fn every(one: &Value, other: &Value, near: &impl Fn(&str, &str) -> bool) -> bool {
    match (one, other) {
        (Value::String(one), Value::String(other)) => one == other || near(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| every(one, other, near))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| every(one, other, near)))
        }
        _ => one == other,
    }
}
