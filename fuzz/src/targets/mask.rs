//! Any text: the output is JSON, and under a masked key stands a token.
use std::sync::LazyLock;

use weir::{
    config::Mask,
    mask::{MaskKey, Masks},
};

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let paths = ["$..a", "$.b[1:]", "$..[?@.c]"].map(String::from).into();
    Masks::compile(&[Mask { paths, ..Mask::default() }]).expect("these paths are valid")
});

/// Whether a value is left under the key `a`.
fn shows(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(values) => values.iter().any(shows),
        serde_json::Value::Object(members) => members.iter().any(|(key, value)| {
            let masked = value.as_str().is_some_and(|text| text.starts_with("[masked:mask-1:"));
            (key == "a" && !masked) || shows(value)
        }),
        _ => false,
    }
}

/// One input.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let masked = MASKS.for_call("any", None).apply(text, &MaskKey::from_bytes(&[1; 32]));
    let value = serde_json::from_str(&masked.text).expect("the output is JSON");
    assert!(!shows(&value));
}
