//! Numbers and their limits, which are stated once: in the schema.

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::Value;

/// A number outside its limits.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outside {
    pub(super) key: String,
    pub(super) value: u64,
    pub(super) min: u64,
    pub(super) max: u64,
}

/// Finds the numbers of a table that are outside the `range` that its fields declare.
pub(super) fn outside<T: JsonSchema + Serialize>(table: &T) -> Vec<Outside> {
    let schema = schema_for!(T);
    let (Some(Value::Object(properties)), Ok(Value::Object(values))) =
        (schema.get("properties"), serde_json::to_value(table))
    else {
        return Vec::new();
    };
    let number = |value: Option<&Value>| value.and_then(Value::as_u64);
    let checked = properties.iter().filter_map(|(key, property)| {
        let (min, max) = (number(property.get("minimum"))?, number(property.get("maximum"))?);
        let value = number(values.get(key))?;
        (!(min..=max).contains(&value)).then(|| Outside { key: key.clone(), value, min, max })
    });
    checked.collect()
}
