//! The words before a value.

use aho_corasick::AhoCorasick;

use super::Subject;

/// How far back words count, in bytes.
const REACH: usize = 64;

impl<'t> Subject<'t> {
    /// The same with so much of the name as words count: one name may stand over a long list of texts.
    pub(super) fn shortly_named(self) -> Self {
        let end = |name: &'t str| &name[name.floor_char_boundary(name.len().saturating_sub(REACH))..];
        Self { name: self.name.map(end), ..self }
    }

    /// The text before `at`, at most `reach` bytes of it.
    fn before(self, at: usize, reach: usize) -> &'t str {
        let from = self.text.floor_char_boundary(at.saturating_sub(reach));
        &self.text[from..at]
    }

    /// What names the value at `at`: the identifier right before it (`name=value`, `"name": "value"`), or the member's name
    /// where the value begins its text.
    pub(super) fn name_of(self, at: usize) -> Option<&'t str> {
        let before = self.before(at, REACH);
        let bare = before.trim_end_matches([' ', '\t', '"', '\'', '`', '\\', '>']);
        let named = bare.trim_end_matches([':', '=']);
        if bare.is_empty() && at <= REACH {
            return self.name;
        }
        if named.len() == bare.len() {
            return None;
        }
        let named = named.trim_end_matches([' ', '"', '\'', '`', '\\']);
        let start = named
            .rfind(|c: char| !(c.is_ascii_alphanumeric() || "_-.".contains(c)))
            .map_or(0, |at| at + named[at..].chars().next().map_or(0, char::len_utf8));
        Some(&named[start..]).filter(|name| !name.is_empty())
    }

    /// Whether one of the vocabulary's words stands before `at`, nearer to it than any of its others. The member's name counts
    /// as standing before its text.
    pub(super) fn speaks_of(self, at: usize, vocabulary: &Vocabulary) -> bool {
        let before = self.before(at, REACH);
        match self.name {
            Some(name) if before.len() == at => vocabulary.is_last_in(&format!("{name}: {before}")),
            _ => vocabulary.is_last_in(before),
        }
    }
}

/// Words that say what a value is, and others that say that it is something else; all in lower case.
pub(super) struct Vocabulary {
    all: AhoCorasick,
    /// So many of them are words, the rest others.
    words: usize,
}

impl Vocabulary {
    pub(super) fn of(words: &[&str], others: &[&str]) -> Self {
        let all = AhoCorasick::new(words.iter().chain(others)).expect("a few short literals");
        Self { all, words: words.len() }
    }

    fn is_last_in(&self, text: &str) -> bool {
        let text = text.to_lowercase();
        let (mut word, mut other) = (0, 0);
        for found in self.all.find_overlapping_iter(&text) {
            let last = if found.pattern().as_usize() < self.words { &mut word } else { &mut other };
            *last = found.end().max(*last);
        }
        word > other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_right_before_their_values() {
        let name = |text: &str, name| Subject { text, name }.name_of(text.find('V').unwrap()).map(str::to_owned);
        assert_eq!(name("a token=V", None).as_deref(), Some("token"));
        assert_eq!(name("{\"client_secret\" : \"V\"}", None).as_deref(), Some("client_secret"));
        assert_eq!(name("V", Some("token")).as_deref(), Some("token"));
        assert_eq!(name("see token V", Some("note")), None);
        assert_eq!(name("é=V", None), None);
    }

    #[test]
    fn the_nearest_word_decides() {
        let vocabulary = Vocabulary::of(&["secret"], &["sha"]);
        let speaks = |text: &str, name| Subject { text, name }.speaks_of(text.find('V').unwrap(), &vocabulary);
        assert!(speaks("the Secret is V", None) && speaks("V", Some("mySecret")));
        assert!(speaks("sha of the secret V", None) && !speaks("the secret's sha V", None));
        assert!(!speaks(&format!("secret {} V", "x".repeat(80)), None));
    }
}
