//! Steps through JSON text.

use std::ops::Range;

/// Deepest nesting; `serde_json` stops here too.
const DEPTH: usize = 128;

/// A position in JSON text that is known to be well-formed. Where it is not, steps fail; none goes beyond the text.
pub(super) struct Cursor<'t> {
    pub(super) text: &'t str,
    pub(super) at: usize,
}

impl Cursor<'_> {
    pub(super) fn space(&mut self) {
        let rest = &self.text.as_bytes()[self.at..];
        self.at += rest.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(rest.len());
    }

    pub(super) fn open(&mut self, depth: usize) -> Option<()> {
        self.at += 1;
        self.space();
        (depth <= DEPTH).then_some(())
    }

    /// Steps over the bracket that ends a container, or over the comma before its next value.
    pub(super) fn closes(&mut self, bracket: u8) -> Option<bool> {
        let next = *self.text.as_bytes().get(self.at)?;
        if next == bracket || next == b',' {
            self.at += 1;
        }
        if next == b',' {
            self.space();
        }
        Some(next == bracket)
    }

    pub(super) fn punctuation(&mut self, expected: u8) -> Option<()> {
        self.space();
        (self.text.as_bytes().get(self.at) == Some(&expected)).then_some(())?;
        self.at += 1;
        self.space();
        Some(())
    }

    /// Steps over a string; returns where it stands, with its quotes.
    pub(super) fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        (self.text.as_bytes().get(start) == Some(&b'"')).then_some(())?;
        let mut at = start + 1;
        loop {
            at += memchr::memchr2(b'"', b'\\', self.text.as_bytes().get(at..)?)?;
            if self.text.as_bytes()[at] == b'"' {
                break;
            }
            at += 2;
        }
        self.at = at + 1;
        Some(start..self.at)
    }

    /// Steps over a number or a literal name.
    pub(super) fn plain(&mut self) -> Range<usize> {
        let start = self.at;
        let rest = &self.text.as_bytes()[start..];
        let is_over = |b: &u8| matches!(b, b',' | b'}' | b']') || b.is_ascii_whitespace();
        self.at += rest.iter().position(is_over).unwrap_or(rest.len());
        start..self.at
    }

    /// Steps over a whole value.
    pub(super) fn skip(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            self.space();
            match self.text.as_bytes().get(self.at)? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => self.at += 1,
                b',' | b':' => return None,
                _ => {
                    self.plain();
                }
            }
            if depth == 0 {
                return Some(());
            }
        }
    }
}
