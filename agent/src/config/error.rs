//! What is wrong with a configuration, where, and what to do.

use std::{
    fmt::{self, Write as _},
    io,
    ops::Range,
    path::PathBuf,
};

use serde::Serialize;

/// Longest excerpt of a line, in characters.
const EXCERPT: usize = 120;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {}: {source}; check its path (`--config`) and its permissions", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is larger than any configuration.
    #[error("{} is larger than 1 MiB, which no configuration is; check its path (`--config`)", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// The file says something wrong.
    #[error("{}", render(path, problems))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// What is wrong: one problem of syntax or type, or every problem of meaning.
        problems: Vec<Problem>,
    },
}

/// One thing wrong in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// Where.
    #[serde(flatten)]
    pub at: Position,
    /// What.
    pub message: String,
    /// What to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A place in a text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Counted from 1.
    pub line: usize,
    /// In characters, counted from 1.
    pub column: usize,
    /// The line, or the part of a long line that matters.
    pub excerpt: String,
    /// Which characters of the excerpt are meant.
    #[serde(skip)]
    pub marked: Range<usize>,
}

impl Position {
    /// Finds a span of bytes. A span past the end means the end; one over several lines is marked on its first.
    pub(crate) fn of(text: &str, span: &Range<usize>) -> Self {
        let start = text.floor_char_boundary(span.start);
        let end = text.floor_char_boundary(span.end).max(start);
        let before = &text[..start];
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let column = text[line_start..start].chars().count();
        let marked = text[start..end.min(line_end)].chars().count().max(1);

        let first = column.saturating_sub(EXCERPT / 2);
        let visible = text[line_start..line_end].trim_end_matches('\r').chars().skip(first).take(EXCERPT);
        Self {
            line: before.matches('\n').count() + 1,
            column: column + 1,
            excerpt: visible.map(|c| if c.is_control() { ' ' } else { c }).collect(),
            marked: column - first..(column - first + marked).min(EXCERPT),
        }
    }
}

/// Everything wrong in a file, for people.
pub(crate) fn render(path: &std::path::Path, problems: &[Problem]) -> String {
    let each = problems.iter().map(|Problem { at, message, hint }| {
        let mut text = format!("{}:{}:{}: {message}", path.display(), at.line, at.column);
        if let Some(hint) = hint {
            // Writing to a string cannot fail.
            let _ = write!(text, "; {hint}");
        }
        format!("{text}\n{at}")
    });
    each.collect::<Vec<_>>().join("\n")
}

/// The excerpt, with the place underlined.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column: _, excerpt, marked } = self;
        let gutter = line.to_string().len();
        writeln!(f, "{:gutter$} |", "")?;
        writeln!(f, "{line} | {excerpt}")?;
        write!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(marked.len().max(1)), indent = marked.start)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_place_is_shown() {
        let text = "a = 1\n\tné = \"x\"\r\n";
        let at = text.find('"').expect("there");
        let position = Position::of(text, &(at..at + 3));
        assert_eq!((position.line, position.column), (2, 7));
        assert_eq!(position.to_string(), "  |\n2 |  né = \"x\"\n  |       ^^^");
    }

    #[test]
    fn a_long_line_is_cut_around_the_place() {
        let text = format!("{}HERE{}", "x".repeat(5000), "y".repeat(5000));
        let position = Position::of(&text, &(5000..5004));
        assert_eq!(position.excerpt.chars().count(), EXCERPT);
        assert_eq!(&position.excerpt[position.marked.clone()], "HERE");
        assert_eq!(position.column, 5001);
    }

    proptest! {
        #[test]
        fn any_span_has_a_place(text in "(?s).{0,200}", start in 0..900_usize, len in 0..900_usize) {
            let position = Position::of(&text, &(start..start + len));
            prop_assert!(position.line <= text.matches('\n').count() + 1);
            prop_assert!(position.marked.start <= position.marked.end);
            prop_assert!(!position.to_string().is_empty());
        }
    }
}
