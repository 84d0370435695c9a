//! Two texts side by side, line by line.

use std::fmt;

use super::super::clean::escaped;
use crate::{audit::pretty::pretty, guard::definitions::Said};

/// Most pairs of lines that are compared; beyond it all of one text goes and all of the other comes.
const PAIRS: usize = 4 << 20;

/// One line of a comparison.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Line {
    Same(String),
    Gone(String),
    New(String),
}

impl Line {
    pub(super) fn is_same(&self) -> bool {
        matches!(self, Self::Same(_))
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Same(text) => write!(f, "  {text}"),
            Self::Gone(text) => write!(f, "- {text}"),
            Self::New(text) => write!(f, "+ {text}"),
        }
    }
}

/// What a member says, on lines that can be shown.
pub(super) fn lines(said: &Said) -> Vec<String> {
    let Some(text) = &said.text else { return vec![format!("(not kept; SHA-256 {})", said.sha256)] };
    // A text is shown as it reads, anything else laid out; so is what was cut off.
    let text = serde_json::from_str::<String>(text).unwrap_or_else(|_| pretty(text));
    escaped(&text).lines().map(str::to_owned).collect()
}

/// What has to go, and what has to come, to make the one text the other: as few lines as can be.
pub(super) fn compare(was: &[String], is: &[String]) -> Vec<Line> {
    let start = was.iter().zip(is).take_while(|(was, is)| was == is).count();
    let end = was[start..].iter().rev().zip(is[start..].iter().rev()).take_while(|(was, is)| was == is).count();
    let middle = (&was[start..was.len() - end], &is[start..is.len() - end]);
    let same = |lines: &[String]| lines.iter().cloned().map(Line::Same).collect::<Vec<_>>();
    [same(&was[..start]), changes(middle.0, middle.1), same(&was[was.len() - end..])].concat()
}

fn changes(was: &[String], is: &[String]) -> Vec<Line> {
    let width = is.len() + 1;
    if (was.len() + 1).saturating_mul(width) > PAIRS {
        return was.iter().cloned().map(Line::Gone).chain(is.iter().cloned().map(Line::New)).collect();
    }
    // The longest common run of lines of what is left of both, by where each begins.
    let mut common = vec![0_u32; (was.len() + 1) * width];
    for at in (0..was.len()).rev() {
        for other in (0..is.len()).rev() {
            common[at * width + other] = if was[at] == is[other] {
                common[(at + 1) * width + other + 1] + 1
            } else {
                common[(at + 1) * width + other].max(common[at * width + other + 1])
            };
        }
    }
    let (mut at, mut other, mut lines) = (0, 0, Vec::new());
    while at < was.len() || other < is.len() {
        if at < was.len() && other < is.len() && was[at] == is[other] {
            lines.push(Line::Same(was[at].clone()));
            (at, other) = (at + 1, other + 1);
        } else if at < was.len()
            && (other == is.len() || common[(at + 1) * width + other] >= common[at * width + other + 1])
        {
            lines.push(Line::Gone(was[at].clone()));
            at += 1;
        } else {
            lines.push(Line::New(is[other].clone()));
            other += 1;
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(lines: &[&str]) -> Vec<String> {
        lines.iter().map(|line| (*line).to_owned()).collect()
    }

    fn shown(was: &[&str], is: &[&str]) -> Vec<String> {
        compare(&text(was), &text(is)).iter().map(Line::to_string).collect()
    }

    #[test]
    fn only_what_changed_is_marked() {
        assert_eq!(shown(&["a", "b", "c"], &["a", "x", "c", "d"]), ["  a", "- b", "+ x", "  c", "+ d"]);
        assert_eq!(shown(&[], &["a"]), ["+ a"]);
        assert_eq!(shown(&["a", "a"], &["a"]), ["  a", "- a"]);
    }

    #[test]
    fn what_hides_is_written_out() {
        let said = |text: &str| {
            let sha256 = serde_json::from_value("0".repeat(64).into()).unwrap();
            Said { sha256, text: Some(text.to_owned()) }
        };
        let hidden = serde_json::to_string("Adds.\n\u{202e}x\u{1b}[2J\tb\u{e0061}").unwrap();
        assert_eq!(lines(&said(&hidden)), ["Adds.", "\\u{202e}x\\u{1b}[2J\\u{9}b\\u{e0061}"]);
        assert_eq!(lines(&said(r#"{"a":[1]}"#)), ["{", "  \"a\": [", "    1", "  ]", "}"]);
        assert!(lines(&Said { text: None, ..said("") })[0].contains("not kept"));
    }

    proptest! {
        #[test]
        fn the_marks_make_the_one_text_the_other(was in prop::collection::vec("[abc]", 0..12), is in prop::collection::vec("[abc]", 0..12)) {
            let lines = compare(&was, &is);
            let side = |keep: fn(&Line) -> Option<String>| lines.iter().filter_map(keep).collect::<Vec<_>>();
            let gone = side(|line| match line { Line::Same(text) | Line::Gone(text) => Some(text.clone()), Line::New(_) => None });
            let come = side(|line| match line { Line::Same(text) | Line::New(text) => Some(text.clone()), Line::Gone(_) => None });
            prop_assert_eq!((gone, come), (was, is));
        }
    }
}
