//! Reads `weir.toml`.

use std::{fs::File, io::Read, ops::Range, path::Path};

use serde::Deserialize;
use toml::{
    Spanned,
    de::{DeTable, DeValue, Deserializer},
};

use super::{Config, ConfigError, HostPattern, Position, Problem, validate};

/// Larger than any configuration.
const MAX_BYTES: u64 = 1 << 20;

/// Reads and validates the file, without a look at the files that it names.
///
/// # Errors
/// The file cannot be read, or is wrong: every error says where and what to do.
pub fn load(path: &Path) -> Result<Config, ConfigError> {
    Config::parse(&read(path)?, path)
}

/// As [`load`], and the files that it names must be readable: what an agent that is to run needs.
///
/// # Errors
/// As [`load`], or a named file cannot be read.
pub fn load_with_files(path: &Path) -> Result<Config, ConfigError> {
    parse(&read(path)?, path, validate::files)
}

impl Config {
    /// Validates a text that came from `path`, which errors name. Hosts come out in canonical spelling.
    ///
    /// # Errors
    /// As [`load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigError> {
        parse(text, path, |_, _| ())
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    let unreadable = |source| ConfigError::Unreadable { path: path.to_owned(), source };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(ConfigError::TooLarge { path: path.to_owned() });
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let text = String::from_utf8_lossy(error.as_bytes());
        let problem = Problem {
            at: Position::of(&text, &(at..at + 1)),
            message: "not UTF-8, which TOML is".into(),
            hint: Some("save the file as UTF-8".into()),
        };
        ConfigError::Invalid { path: path.to_owned(), problems: vec![problem] }
    })
}

fn parse(text: &str, path: &Path, more: impl FnOnce(&Config, &mut Findings<'_>)) -> Result<Config, ConfigError> {
    let invalid = |problems| ConfigError::Invalid { path: path.to_owned(), problems };
    let tree = DeTable::parse(text).map_err(|error| invalid(vec![problem(text, &error)]))?;
    let mut config =
        Config::deserialize(Deserializer::from(tree.clone())).map_err(|error| invalid(vec![problem(text, &error)]))?;
    let mut findings = Findings { text, tree: &tree, problems: Vec::new() };
    validate::meaning(&config, &mut findings);
    more(&config, &mut findings);
    if !findings.problems.is_empty() {
        return Err(invalid(findings.problems));
    }
    canonical(&mut config);
    Ok(config)
}

fn canonical(config: &mut Config) {
    for host in config.endpoints.iter_mut().flat_map(|endpoint| &mut endpoint.hosts) {
        if let Ok(pattern) = host.parse::<HostPattern>() {
            *host = pattern.to_string();
        }
    }
}

/// Problems of meaning, each placed by the path of keys that leads to it.
pub(super) struct Findings<'t> {
    text: &'t str,
    tree: &'t Spanned<DeTable<'t>>,
    problems: Vec<Problem>,
}

/// One step of a path of keys.
#[derive(Debug, Clone, Copy)]
pub(super) enum Step<'k> {
    Key(&'k str),
    Item(usize),
}

impl<'k> From<&'k str> for Step<'k> {
    fn from(key: &'k str) -> Self {
        Self::Key(key)
    }
}

impl From<usize> for Step<'_> {
    fn from(item: usize) -> Self {
        Self::Item(item)
    }
}

impl Findings<'_> {
    pub(super) fn add(&mut self, place: &[Step<'_>], message: impl Into<String>, hint: impl Into<String>) {
        let at = Position::of(self.text, &self.locate(place));
        self.problems.push(Problem { at, message: message.into(), hint: Some(hint.into()) });
    }

    /// The span of the value at a path, or of the deepest part of the path that the file spells out.
    fn locate(&self, place: &[Step<'_>]) -> Range<usize> {
        let mut span = self.tree.span();
        let mut table = Some(self.tree.get_ref());
        let mut array = None;
        for step in place {
            let value: Option<&Spanned<DeValue<'_>>> = match *step {
                Step::Key(key) => table.and_then(|table| table.get(key)),
                Step::Item(item) => array.and_then(|array: &toml::de::DeArray<'_>| array.get(item)),
            };
            let Some(value) = value else { break };
            span = value.span();
            table = value.get_ref().as_table();
            array = value.get_ref().as_array();
        }
        span
    }
}

/// Rewords what the TOML reader says: operators know keys and tables, not fields, maps and machine types.
fn problem(text: &str, error: &toml::de::Error) -> Problem {
    let at = Position::of(text, &error.span().unwrap_or_default());
    let quoted: Vec<&str> = error.message().split('`').skip(1).step_by(2).collect();
    let (message, hint) = match (error.message(), quoted.as_slice()) {
        (said, [unknown, known @ ..]) if said.starts_with("unknown field") => {
            (format!("unknown key `{unknown}`"), Some(suggestion(unknown, known)))
        }
        (said, [unknown, known @ ..]) if said.starts_with("unknown variant") => {
            (format!("unknown value `{unknown}`"), Some(suggestion(unknown, known)))
        }
        (said, [key]) if said.starts_with("missing field") => (format!("missing key `{key}`"), Some("add it".into())),
        ("duplicate key", _) => ("the same key twice".into(), Some("keep one of them".into())),
        (said, _) => (plain(said), None),
    };
    Problem { at, message, hint }
}

fn suggestion(unknown: &str, known: &[&str]) -> String {
    let near = known.iter().map(|known| (strsim::damerau_levenshtein(unknown, known), known));
    match near.min_by_key(|(distance, _)| *distance) {
        Some((distance, known)) if distance <= 1 + known.len() / 3 => format!("did you mean `{known}`?"),
        _ => format!("known here: {}", known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ")),
    }
}

fn plain(said: &str) -> String {
    const WORDS: [(&str, &str); 7] = [
        ("expected usize", "expected a whole number, not negative"),
        ("expected u64", "expected a whole number, not negative"),
        ("expected u32", "expected a whole number up to 4294967295"),
        ("expected u16", "expected a whole number up to 65535"),
        ("expected a sequence", "expected an array"),
        ("expected path string", "expected a path in quotes"),
        ("invalid type: map", "invalid type: table"),
    ];
    WORDS.iter().fold(said.to_owned(), |said, (from, to)| said.replace(from, to))
}
