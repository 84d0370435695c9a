//! E-mail addresses (RFC 5321, international ones by RFC 6531), found from their `@`.

use super::{Found, oauth::LONGEST_USERINFO};
use crate::config::Detector;

/// RFC 5321 section 4.5.3.1.
const LONGEST_LOCAL: usize = 64;
const LONGEST_DOMAIN: usize = 255;

/// What stands behind the last dot of a file, not of an address (`icon@2x.png`).
const FILES: [&str; 16] = [
    "png", "jpg", "jpeg", "gif", "svg", "webp", "css", "js", "ts", "mjs", "json", "yaml", "yml", "toml", "html", "zip",
];

/// The address around the `@` at `at`.
pub(super) fn around(text: &str, at: usize) -> Option<Found> {
    let local = local(&text[..at])?;
    let domain = domain(&text[at + 1..])?;
    let start = at - local.len();
    // A URL's user, or what git and ssh call a remote.
    let before = &text[text.floor_char_boundary(start.saturating_sub(LONGEST_USERINFO))..start];
    let after = &text[at + 1 + domain.len()..];
    if before.ends_with("//")
        || before.ends_with(':')
            && before[..before.len() - 1].ends_with(char::is_alphanumeric)
            && before.contains("://")
    {
        return None;
    }
    if local == "git" && after.starts_with([':', '/']) {
        return None;
    }
    Some(Found { range: start..at + 1 + domain.len(), detector: Detector::Email })
}

/// Scripts without spaces stand next to an address in another script: a run ends where the script changes.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Script {
    Latin,
    Other,
}

fn script(c: char) -> Option<Script> {
    match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' => Some(Script::Latin),
        '\u{c0}'..='\u{24f}' if c.is_alphabetic() => Some(Script::Latin),
        // Full stops of the Indic scripts, among letters and the marks that belong to them.
        '\u{964}' | '\u{965}' => None,
        '\u{300}'..='\u{36f}' | '\u{900}'..='\u{eff}' => Some(Script::Other),
        _ if c > '\u{24f}' && c.is_alphanumeric() => Some(Script::Other),
        _ => None,
    }
}

fn local(before: &str) -> Option<&str> {
    let mut of = None;
    let mut start = before.len();
    for (at, c) in before.char_indices().rev() {
        let fits = match script(c) {
            Some(script) if c.is_ascii_digit() => of.is_none_or(|of| of == script) || of == Some(Script::Other),
            Some(script) => *of.get_or_insert(script) == script,
            None => "!#$%&'*+-/=?^_`{|}~.".contains(c),
        };
        if !fits {
            break;
        }
        start = at;
    }
    // What may stand in an address but at its beginning is rather punctuation, or a `key=`.
    let run = &before[start..];
    let run = &run[run.rfind(['=', '\'', '`', '?', '&', '/', '|', '{', '}', '#']).map_or(0, |at| at + 1)..];
    let run = run.trim_start_matches(|c: char| !c.is_alphanumeric() && c != '_');
    let is_local = (1..=LONGEST_LOCAL).contains(&run.len()) && !run.ends_with('.') && !run.contains("..");
    is_local.then_some(run)
}

fn domain(after: &str) -> Option<&str> {
    let mut of = None;
    let mut end = after.len();
    for (at, c) in after.char_indices() {
        let fits = match script(c) {
            // Names end in one script; labels before the last may be of another.
            Some(script) if !c.is_ascii_digit() => *of.get_or_insert(script) == script,
            Some(_) => true,
            None => {
                if c == '.' {
                    of = None;
                }
                matches!(c, '.' | '-')
            }
        };
        if !fits || at > LONGEST_DOMAIN {
            end = at;
            break;
        }
    }
    let domain = after[..end].trim_end_matches(['.', '-']);
    let (host, top) = domain.rsplit_once('.')?;
    let is_label = |label: &str| !label.is_empty() && !label.starts_with('-') && !label.ends_with('-');
    let is_top = top.chars().count() >= 2 && top.chars().all(char::is_alphabetic) || top.starts_with("xn--");
    let is_file = FILES.contains(&top.to_ascii_lowercase().as_str());
    (host.split('.').all(is_label) && is_top && !is_file).then_some(domain)
}
