//! Text that peers chose, made fit to show: it must neither steer a terminal nor reorder what stands around it.

/// What stands for a character that is not shown.
pub(super) const MARK: char = '\u{fffd}';

/// `text` on one line.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(visible).collect()
}

/// `text` on as many lines as it has.
pub(super) fn clean_lines(text: &str) -> String {
    text.chars().map(|char| if matches!(char, '\n' | '\t') { char } else { visible(char) }).collect()
}

/// `text` with what cannot be seen, or steers a terminal, written out as an escape; tabs too, line breaks not.
pub(super) fn escaped(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '\n' => shown.push('\n'),
            char if visible(char) == char => shown.push(char),
            char => shown.extend(char.escape_unicode()),
        }
    }
    shown
}

/// `text` cleaned, cut with an ellipsis when longer than `width` characters.
pub(super) fn cut(text: &str, width: usize) -> String {
    let mut chars = text.chars().map(visible);
    let start: String = chars.by_ref().take(width).collect();
    match chars.next() {
        None => start,
        Some(_) => start.chars().take(width - 1).chain(['…']).collect(),
    }
}

/// `text` cut and padded to `width` characters.
pub(super) fn column(text: &str, width: usize) -> String {
    format!("{:width$}", cut(text, width))
}

/// Control characters (C0, DEL, C1), those that reorder text, and those that cannot be seen become a mark.
fn visible(char: char) -> char {
    let hides = matches!(
        char,
        '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}'
            | '\u{e0000}'..='\u{e007f}'
    );
    if char.is_control() || hides { MARK } else { char }
}
