//! How a JSON value was read, so that readings in several languages can be compared: as `peers/differential/canonical.py` has it.

use serde_json::Value;

/// Numbers by the bytes of their double, strings with `s` before them.
pub(crate) fn told(value: &Value) -> Value {
    match value {
        Value::Number(number) => {
            let bytes = number.as_f64().expect("a double").to_be_bytes();
            Value::String(bytes.iter().fold("n".to_owned(), |text, byte| text + &format!("{byte:02x}")))
        }
        Value::String(text) => Value::String(format!("s{text}")),
        Value::Array(values) => values.iter().map(told).collect(),
        Value::Object(members) => members.iter().map(|(key, value)| (key.clone(), told(value))).collect(),
        other => other.clone(),
    }
}

/// Whether two parsers read the same. Doubles may be next to each other, since serde rounds some of them the
/// other way, and Python takes `-0` for 0.
pub(crate) fn alike(one: &Value, other: &Value) -> bool {
    let double = |text: &str| text.strip_prefix('n').and_then(|bits| u64::from_str_radix(bits, 16).ok());
    match (one, other) {
        (Value::String(one), Value::String(other)) => {
            let near = |one: u64, other: u64| one.abs_diff(other) == 1 || (one | other) << 1 == 0;
            one == other || double(one).zip(double(other)).is_some_and(|(one, other)| near(one, other))
        }
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| alike(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, one)| other.get(key).is_some_and(|other| alike(one, other)))
        }
        _ => one == other,
    }
}
