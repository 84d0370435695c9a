//! How the words that end a call, request or connection are shown.

use anstyle::{AnsiColor, Style};

/// What a word means for whoever reads it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mood {
    Good,
    Odd,
    Bad,
}

impl Mood {
    /// Of a verdict, an outcome, a connection's end, or an HTTP status.
    pub(super) fn of(word: &str) -> Self {
        match word {
            "ok" | "allow" | "closed" | "spliced" | "" => Self::Good,
            "cancelled" | "unknown" | "timeout" | "broken" | "hold" => Self::Odd,
            status if status.starts_with(['1', '2', '3']) => Self::Good,
            _ => Self::Bad,
        }
    }

    pub(super) const fn style(self) -> Style {
        match self {
            Self::Good => AnsiColor::Green.on_default(),
            Self::Odd => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default(),
        }
    }

    /// In the page's style sheet.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Odd => "odd",
            Self::Bad => "bad",
        }
    }
}
