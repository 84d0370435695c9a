//! JSON laid out for people, token for token as it was written: numbers and escapes stay what they were.

/// `json` with line breaks and indentation. Text that is not JSON comes out as text.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut rest = json.chars().peekable();
    while let Some(char) = rest.next() {
        match char {
            '"' => {
                out.push('"');
                copy_string(&mut rest, &mut out);
            }
            '{' | '[' => {
                out.push(char);
                skip_space(&mut rest);
                if rest.peek().is_some_and(|next| matches!(next, '}' | ']')) {
                    out.extend(rest.next());
                } else {
                    depth += 1;
                    break_line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                break_line(&mut out, depth);
                out.push(char);
            }
            ',' => {
                out.push(',');
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            space if space.is_ascii_whitespace() => {}
            other => out.push(other),
        }
    }
    out
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

fn copy_string(rest: &mut Chars<'_>, out: &mut String) {
    while let Some(char) = rest.next() {
        out.push(char);
        match char {
            '"' => return,
            '\\' => out.extend(rest.next()),
            _ => {}
        }
    }
}

fn skip_space(rest: &mut Chars<'_>) {
    while rest.next_if(char::is_ascii_whitespace).is_some() {}
}

/// Deeper than this is not indented further: a payload nested ten thousand deep must not become a page of spaces.
const DEEPEST: usize = 24;

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(DEEPEST)));
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_laid_out_and_nothing_is_changed() {
        let json = r#"{"n":10000000000000000000000000000001,"s":"a \"{,:[\\","l":[ ],"o":{},"d":[1,{"e":"\ud800"}]}"#;
        let expected = r#"{
  "n": 10000000000000000000000000000001,
  "s": "a \"{,:[\\",
  "l": [],
  "o": {},
  "d": [
    1,
    {
      "e": "\ud800"
    }
  ]
}"#;
        assert_eq!(pretty(json), expected);
    }

    #[test]
    fn depth_does_not_blow_it_up() {
        let deep = format!("{}{}", "[1,".repeat(10_000), "]".repeat(10_000));
        assert!(pretty(&deep).len() < deep.len() * 60);
    }

    fn without_space(json: &str) -> String {
        let mut in_string = false;
        let mut escaped = false;
        let keep = |char: &char| {
            let space = !in_string && char.is_ascii_whitespace();
            match char {
                _ if escaped => escaped = false,
                '\\' if in_string => escaped = true,
                '"' => in_string = !in_string,
                _ => {}
            }
            !space
        };
        json.chars().filter(keep).collect()
    }

    proptest! {
        #[test]
        fn only_space_between_tokens_is_added(text in ".*", json in r#"(\[|\]|\{|\}|,|:|"|\\| |a|1){0,64}"#) {
            let quoted = serde_json::json!({ "k": [text, { "x": text }] }).to_string();
            prop_assert_eq!(without_space(&pretty(&quoted)), quoted);
            let _ = pretty(&json);
        }
    }
}
