//! What stands in place of a value.

use std::sync::LazyLock;

use aho_corasick::AhoCorasick;
use serde_json::Value;

use super::key::Tokens;
use crate::config::MaskStyle;

/// How every stand-in begins, of any style; and the same in base64, where a text was masked behind that encoding: what of it
/// is the same whatever stands before and behind, with none, one or two bytes of its first group before it.
const OPENINGS: [&str; 4] = ["[masked:", "W21hc2tlZD", "ttYXNrZWQ6", "bbWFza2VkO"];

/// Whether a text that was masked, JSON or plain, may have something masked in it, by any style, also behind base64. It may be
/// wrong only where it says yes.
pub fn may_be_masked(text: &str) -> bool {
    static ANY: LazyLock<Option<AhoCorasick>> = LazyLock::new(|| AhoCorasick::new(OPENINGS).ok());
    ANY.as_ref().is_none_or(|any| any.is_match(text))
}

/// What a stand-in says besides its digits: the rule, and the detector where one found the value.
pub(super) fn text(style: MaskStyle, label: &str, value: &str, tokens: &Tokens) -> String {
    match style {
        MaskStyle::Redact => format!("[masked:{label}]"),
        MaskStyle::Token => format!("[masked:{label}:{}]", tokens.digits(value)),
        MaskStyle::Partial => format!("[masked:{label}:…{}]", last_letters(value)),
    }
}

/// What stands for a value as far as it is in this text.
pub(super) fn of_part(label: &str) -> String {
    format!("[masked:{label}:part]")
}

/// What stands for a whole JSON value. A token is that of its canonical text; only a string or a number can be shown in part.
pub(super) fn of_value(style: MaskStyle, label: &str, value: &Value, tokens: &Tokens) -> String {
    match (style, value) {
        (MaskStyle::Partial, Value::String(shown)) => text(style, label, shown, tokens),
        (MaskStyle::Partial, Value::Number(shown)) => text(style, label, &shown.to_string(), tokens),
        (MaskStyle::Partial, _) | (MaskStyle::Redact, _) => text(MaskStyle::Redact, label, "", tokens),
        (MaskStyle::Token, _) => {
            let mut canonical = value.clone();
            canonical.sort_all_objects();
            text(style, label, &canonical.to_string(), tokens)
        }
    }
}

/// At most four letters or digits, and at most a quarter of the value.
fn last_letters(value: &str) -> &str {
    let shown = (value.chars().count() / 4).min(4);
    let mut end = value.char_indices().rev().take(shown).take_while(|(_, c)| c.is_alphanumeric());
    end.by_ref().last().map_or("", |(at, _)| &value[at..])
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use proptest::prelude::*;

    use super::*;
    use crate::mask::MaskKey;

    fn any_stand_in() -> impl Strategy<Value = String> {
        let style = prop::sample::select(vec![MaskStyle::Redact, MaskStyle::Token, MaskStyle::Partial]);
        (style, "[a-z]{1,8}(/[a-z_]{1,8})?", "\\PC{0,40}")
            .prop_map(|(style, label, value)| text(style, &label, &value, &MaskKey::from_bytes(&[7; 32]).tokens()))
    }

    proptest! {
        #[test]
        fn every_style_is_known_again_also_in_base64(before in "[ -Z]{0,5}", shown in any_stand_in(), after in "[a-z]{0,5}") {
            let text = format!("{before}{shown}{after}");
            prop_assert!(may_be_masked(&text) && may_be_masked(&STANDARD.encode(&text)));
            prop_assert!(may_be_masked(&Value::from(text).to_string()));
        }

        #[test]
        fn other_text_is_not_taken_for_masked(text in "[^\\[]{0,80}") {
            prop_assert!(!may_be_masked(&text) && !may_be_masked(&STANDARD.encode(text)));
        }
    }

    #[test]
    fn a_part_is_never_most() {
        for (value, shown) in
            [("4111111111111111", "1111"), ("12345678", "78"), ("abc", ""), ("", ""), ("id-é-----", "")]
        {
            assert_eq!(last_letters(value), shown, "{value}");
        }
        assert_eq!(last_letters("ключ-секрет"), "ет");
    }
}
