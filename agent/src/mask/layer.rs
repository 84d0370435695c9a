//! Text below text: what a JSON string says behind its escapes, and a URI behind its percent signs. Finds in the lower text are
//! led back to the bytes of the upper one, so that what is not masked keeps its spelling.

use std::{borrow::Cow, cell::OnceCell, ops::Range};

/// A lower text, and how it is led back to the upper one.
#[derive(Debug)]
pub(super) struct Layer<'t> {
    pub(super) text: Cow<'t, str>,
    back: Back<'t>,
}

#[derive(Debug)]
enum Back<'t> {
    /// Both run alike, the upper one from here.
    Alike(usize),
    /// A string with escapes, from here in the upper text. Its joints are looked for when something was found.
    Spelled(&'t str, usize, OnceCell<Joints>),
    Known(Joints),
}

/// Where both run alike again: offsets in the lower and the upper text, ascending.
type Joints = Vec<(usize, usize)>;

impl<'t> Layer<'t> {
    /// What the JSON string literal at `literal` of `upper`, with its quotes, says. `None` when it says no text (an unpaired
    /// surrogate).
    pub(super) fn of_string(upper: &'t str, literal: &Range<usize>) -> Option<Self> {
        let start = literal.start + 1;
        let spelled = &upper[start..literal.end - 1];
        let Some(first) = memchr::memchr(b'\\', spelled.as_bytes()) else {
            return Some(Self { text: spelled.into(), back: Back::Alike(start) });
        };
        let mut text = String::with_capacity(spelled.len());
        unescaped(spelled, first, |plain, c| {
            text.push_str(plain);
            text.extend(c);
        })?;
        Some(Self { text: text.into(), back: Back::Spelled(spelled, start, OnceCell::new()) })
    }

    /// `upper` with percent-encoding undone (RFC 3986 section 2.1); `None` when it has none, or says no text.
    pub(super) fn of_uri(upper: &'t str) -> Option<Self> {
        let mut bytes = Vec::with_capacity(upper.len());
        let mut joints = vec![(0, 0)];
        let mut at = 0;
        while at < upper.len() {
            let encoded = upper.as_bytes().get(at..at + 3).filter(|code| code[0] == b'%');
            let value = encoded.and_then(|code| std::str::from_utf8(&code[1..]).ok());
            match value
                .filter(|v| v.bytes().all(|b| b.is_ascii_hexdigit()))
                .and_then(|v| u8::from_str_radix(v, 16).ok())
            {
                Some(byte) => {
                    bytes.push(byte);
                    at += 3;
                    joints.push((bytes.len(), at));
                }
                None => {
                    bytes.push(upper.as_bytes()[at]);
                    at += 1;
                }
            }
        }
        let text = String::from_utf8(bytes).ok().filter(|_| joints.len() > 1)?;
        Some(Self { text: text.into(), back: Back::Known(joints) })
    }

    /// Where a range of the lower text stands in the upper one.
    pub(super) fn above(&self, range: &Range<usize>) -> Range<usize> {
        self.offset_above(range.start)..self.offset_above(range.end)
    }

    fn offset_above(&self, offset: usize) -> usize {
        let joints = match &self.back {
            Back::Alike(start) => return start + offset,
            Back::Spelled(spelled, start, joints) => joints.get_or_init(|| joints_of(spelled, *start)),
            Back::Known(joints) => joints,
        };
        let next = joints.partition_point(|(lower, _)| *lower <= offset);
        let (lower, upper) = joints.get(next.saturating_sub(1)).copied().unwrap_or_default();
        upper + (offset - lower)
    }
}

/// Calls `each` with every stretch of `spelled` without escapes, and what the escape behind it says. `first` is the first
/// backslash. `None` at an escape that says nothing.
fn unescaped(spelled: &str, first: usize, mut each: impl FnMut(&str, Option<char>)) -> Option<()> {
    let (mut copied, mut at) = (0, first);
    loop {
        let (c, length) = unescape(&spelled[at..])?;
        each(&spelled[copied..at], Some(c));
        copied = at + length;
        match memchr::memchr(b'\\', &spelled.as_bytes()[copied..]) {
            Some(next) => at = copied + next,
            None => break,
        }
    }
    each(&spelled[copied..], None);
    Some(())
}

fn joints_of(spelled: &str, start: usize) -> Joints {
    let (mut joints, mut lower) = (vec![(0, start)], 0);
    let first = memchr::memchr(b'\\', spelled.as_bytes()).unwrap_or(spelled.len());
    let base = spelled.as_ptr().addr();
    let mut before = None;
    // It was unescaped once already, so nothing fails.
    let _ = unescaped(spelled, first, |plain, c| {
        if before.is_some() {
            joints.push((lower, start + plain.as_ptr().addr() - base));
        }
        lower += plain.len() + c.map_or(0, char::len_utf8);
        before = c;
    });
    joints
}

/// The character that an escape at the beginning of `text` stands for, and the escape's length.
fn unescape(text: &str) -> Option<(char, usize)> {
    let c = match text.as_bytes().get(1)? {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'u' => return unescape_unicode(text),
        literal @ (b'"' | b'\\' | b'/') => char::from(*literal),
        _ => return None,
    };
    Some((c, 2))
}

fn unescape_unicode(text: &str) -> Option<(char, usize)> {
    let unit = |at: usize| u32::from_str_radix(text.get(at..at + 6)?.strip_prefix("\\u")?, 16).ok();
    let high = unit(0)?;
    if !(0xd800..0xdc00).contains(&high) {
        return Some((char::from_u32(high)?, 6));
    }
    let low = unit(6).filter(|low| (0xdc00..0xe000).contains(low))?;
    Some((char::from_u32(0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00))?, 12))
}

/// `text` as it is spelled within a JSON string.
pub(super) fn escaped(text: &str) -> String {
    let literal = serde_json::Value::from(text).to_string();
    literal[1..literal.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_find_below_an_escape_is_led_back() {
        let upper = r#"["a\u0041\ud83d\ude00\nb"]"#;
        let layer = Layer::of_string(upper, &(1..upper.len() - 1)).unwrap();
        assert_eq!(layer.text, "aA😀\nb");
        let at = layer.text.find('😀').unwrap();
        assert_eq!(&upper[layer.above(&(at..at + 4))], r"\ud83d\ude00");
        assert_eq!(&upper[layer.above(&(0..2))], r"a\u0041");
        assert_eq!(&upper[layer.above(&(layer.text.len() - 1..layer.text.len()))], "b");
        assert!(Layer::of_string(r#""\ud83d""#, &(0..8)).is_none());
    }

    #[test]
    fn a_uri_is_read_behind_its_percent_signs() {
        let layer = Layer::of_uri("/u/ada%40example.com%zz").unwrap();
        assert_eq!(layer.text, "/u/ada@example.com%zz");
        assert_eq!(layer.above(&(3..18)), 3..20);
        assert!(Layer::of_uri("/u/ada").is_none() && Layer::of_uri("/%ff").is_none());
    }

    proptest! {
        #[test]
        fn strings_say_what_serde_says(text in "\\PC{0,20}|[\"\\\\/\u{0}-\u{20}a-c\u{1f600}]{0,20}") {
            let literal = serde_json::to_string(&text).unwrap();
            let layer = Layer::of_string(&literal, &(0..literal.len())).unwrap();
            prop_assert_eq!(&*layer.text, text.as_str());
            for (at, c) in text.char_indices() {
                let above = &literal[layer.above(&(at..at + c.len_utf8()))];
                prop_assert_eq!(serde_json::from_str::<String>(&format!("\"{above}\"")).unwrap(), c.to_string());
            }
        }
    }
}
