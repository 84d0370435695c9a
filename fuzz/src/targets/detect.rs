//! Any text in a message under every detector: the output is JSON, and what is not masked stays as it was.
use std::sync::LazyLock;

use serde_json::json;
use weir::{
    config::{Detector, Mask},
    mask::{MaskKey, Masks},
};

static MASKS: LazyLock<Masks> = LazyLock::new(|| {
    let rule = Mask { detectors: Detector::ALL.into(), inline: true, ..Mask::default() };
    Masks::compile(&[rule]).expect("a rule without paths is valid")
});

/// One input.
pub(crate) fn run(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let selected = MASKS.for_call("any", None);
    let key = MaskKey::from_bytes(&[1; 32]);
    let message = json!({ "jsonrpc": "2.0", "id": 1, "result": { "password": text, "blob": text } }).to_string();
    for masked in [selected.apply(&message, &key), selected.inline(&message, &key)] {
        serde_json::from_str::<serde_json::Value>(&masked.text).expect("the output is JSON");
        if masked.counts.is_empty() {
            assert_eq!(masked.text, message);
        }
    }
    let plain = selected.plain(text, &key);
    assert!(plain.is_changed() || plain.text == text);
}
