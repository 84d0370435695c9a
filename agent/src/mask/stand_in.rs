//! What stands in place of a value.

use serde_json::Value;

use super::key::Tokens;
use crate::config::MaskStyle;

/// What a stand-in says besides its digits: the rule, and the detector where one found the value.
pub(super) fn text(style: MaskStyle, label: &str, value: &str, tokens: &Tokens) -> String {
    match style {
        MaskStyle::Redact => format!("[masked:{label}]"),
        MaskStyle::Token => format!("[masked:{label}:{}]", tokens.digits(value)),
        MaskStyle::Partial => format!("[masked:{label}:…{}]", last_letters(value)),
    }
}

/// The same for a whole JSON value. A token is that of its canonical text; only a string or a number can be shown in part.
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
    use super::*;

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
