//! `[[mask]]`: replaces the values that a rule selects by `JSONPath` (RFC 9535) or that its detectors find, before a record is
//! written, and in what the other side gets where the rule says `inline`. Knows JSON text, nothing else.
//!
//! A value becomes a string, by the rule's style: `[masked:<rule>]`, `[masked:<rule>:<16 hex digits>]` or
//! `[masked:<rule>:…<end>]`, or `[masked:<rule>:part]` for what goes on in another notification; `<rule>` is
//! `<name>/<detector>` where a detector found it. The digits are the first 8 bytes of an HMAC-SHA256 under the host's or
//! fleet's key: over the value's canonical JSON text where a path selects it, over the text itself where a detector finds it.
//! Equal values have equal digits whatever the rule, so records correlate without revealing. (Numbers are equal as doubles
//! are, beyond 64 bits.) What is not masked stays as it was, byte for byte.
//!
//! A text that cannot be masked (not JSON, the same key twice, nested beyond 127 levels, a number beyond a double) is
//! replaced as a whole, never kept in the clear.
//!
//! Paths are over the whole JSON-RPC message: `$.params…`, `$.result…`, `$.error…`. Mask the message, then take its
//! parts with [`Masked::at`].
//!
//! | file | job |
//! |---|---|
//! | `detect` | finds values in text; a file for each family |
//! | `query` | one path, and the quick ways to ask the common ones |
//! | `select` | what the paths select |
//! | `walk`, `cursor` | one pass over the text: what is to be replaced |
//! | `told`, `parts` | one value in the texts of several notifications |
//! | `layer` | text behind escapes, and the way back |
//! | `place` | what the protocol needs as it is |
//! | `stand_in`, `key` | what stands in place of a value |
//! | `splice` | the text put together again |
//!
//! Fuzzed by `cargo xtask fuzz mask` and `… detect`.

mod cursor;
mod detect;
mod key;
mod layer;
mod parts;
mod place;
mod query;
mod select;
mod splice;
mod stand_in;
mod strict;
mod told;
mod walk;

use std::sync::Arc;

use self::{query::Query, walk::Walk};
pub use key::MaskKey;
pub use parts::Threads;
pub use splice::{Masked, UNREADABLE};
pub use stand_in::may_be_masked;

use crate::config::{self, Detector, MaskStyle};

/// The rules of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    rules: Vec<Arc<Rule>>,
}

/// Which tool's messages are meant, for the rules that are for some tools only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool<'a> {
    /// None: such rules do not apply.
    Without,
    /// This one.
    Named(&'a str),
    /// One that is not known: all rules apply.
    Unknown,
}

impl<'a> From<Option<&'a str>> for Tool<'a> {
    fn from(tool: Option<&'a str>) -> Self {
        tool.map_or(Self::Without, Self::Named)
    }
}

#[derive(Debug)]
struct Rule {
    name: String,
    paths: Vec<Query>,
    detectors: Vec<Detector>,
    style: MaskStyle,
    inline: bool,
    /// Empty means every endpoint.
    endpoints: Vec<String>,
    /// Empty means every message, also those of no tool.
    tools: Vec<String>,
}

/// Why the rules are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A rule that selects nothing.
    #[error("mask \"{rule}\" has neither paths nor detectors; add one or remove the rule")]
    Nothing {
        /// Its name.
        rule: String,
    },
    /// Not a query.
    #[error("mask \"{rule}\": \"{path}\" is not a JSONPath query (RFC 9535) at position {position}: {why}; correct it")]
    Path {
        /// The rule's name.
        rule: String,
        /// The query.
        path: String,
        /// From 1.
        position: usize,
        /// The parser's words.
        why: String,
    },
}

impl Masks {
    /// Compiles the rules; the first fault is reported.
    pub fn compile(rules: &[config::Mask]) -> Result<Self, MaskError> {
        let rules = rules.iter().enumerate().map(|(at, rule)| Rule::compile(at + 1, rule).map(Arc::new));
        Ok(Self { rules: rules.collect::<Result<_, _>>()? })
    }

    /// The rules for the messages of one call. `tool` is the tool of a `tools/call`; keep the selection for its response.
    pub fn for_call<'a>(&self, endpoint: &str, tool: impl Into<Tool<'a>>) -> Selected {
        let tool = tool.into();
        let rules: Vec<_> = self.rules.iter().filter(|rule| rule.applies(endpoint, tool)).cloned().collect();
        let inline = rules.iter().filter(|rule| rule.inline).cloned().collect();
        Selected { record: Way::of(rules), inline: Way::of(inline) }
    }
}

impl Rule {
    fn compile(position: usize, rule: &config::Mask) -> Result<Self, MaskError> {
        let name = rule.name.clone().unwrap_or_else(|| format!("mask-{position}"));
        if rule.paths.is_empty() && rule.detectors.is_empty() {
            return Err(MaskError::Nothing { rule: name });
        }
        let compile = |path: &String| {
            Query::parse(path).map_err(|error| MaskError::Path {
                rule: name.clone(),
                path: path.clone(),
                position: error.position(),
                why: error.message().to_owned(),
            })
        };
        let paths = rule.paths.iter().map(compile).collect::<Result<_, _>>()?;
        let config::Mask { detectors, style, inline, endpoints, tools, .. } = rule.clone();
        Ok(Self { name, paths, detectors, style, inline, endpoints, tools })
    }

    fn applies(&self, endpoint: &str, tool: Tool<'_>) -> bool {
        let for_endpoint = self.endpoints.is_empty() || self.endpoints.iter().any(|name| name == endpoint);
        let for_tool = self.tools.is_empty()
            || match tool {
                Tool::Without => false,
                Tool::Named(tool) => self.tools.iter().any(|name| name == tool),
                Tool::Unknown => true,
            };
        for_endpoint && for_tool
    }
}

/// The rules that apply to one call, in the order of the configuration. Cheap to clone and to keep.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    record: Way,
    inline: Way,
}

/// The rules of one way that a message goes: to the record, or on to the other side.
#[derive(Debug, Clone, Default)]
struct Way {
    rules: Vec<Arc<Rule>>,
    detectors: detect::Set,
    has_paths: bool,
}

impl Way {
    fn of(rules: Vec<Arc<Rule>>) -> Self {
        let detectors = detect::Set::of(rules.iter().flat_map(|rule| rule.detectors.iter().copied()));
        let has_paths = rules.iter().any(|rule| !rule.paths.is_empty());
        Self { rules, detectors, has_paths }
    }

    /// The first rule that asks a detector.
    fn rule_of(&self, detector: Detector) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.detectors.contains(&detector))
    }
}

impl Selected {
    /// Masks one message for the record. Nothing is parsed when no rule applies. Where rules meet, the outer value is replaced
    /// as a whole, by the first rule that selects it.
    pub fn apply<'t>(&self, message: &'t str, key: &MaskKey) -> Masked<'t> {
        if self.record.rules.is_empty() {
            Masked::untouched(message)
        } else {
            splice::message(message, &Walk::of(&self.record, &key.tokens()))
        }
    }

    /// Masks the messages of one stream for the record of them all. What notifications tell bit by bit is read as one text, so
    /// that a value is masked in each message that has a part of it.
    pub fn apply_all<'t>(&self, messages: &[&'t str], key: &MaskKey) -> Vec<Masked<'t>> {
        if self.record.rules.is_empty() {
            return messages.iter().map(|message| Masked::untouched(message)).collect();
        }
        let tokens = key.tokens();
        let further = parts::across(messages, &self.record);
        let masked = messages.iter().zip(&further).map(|(message, further)| {
            splice::message(message, &Walk { further: further.as_ref(), ..Walk::of(&self.record, &tokens) })
        });
        masked.collect()
    }

    /// Masks one message for the other side, by the rules that say `inline`. The members that the protocol needs stay as they
    /// are (ids, cursors, `requestState`, task ids, progress tokens), also where a rule selects what holds them.
    pub fn inline<'t>(&self, message: &'t str, key: &MaskKey) -> Masked<'t> {
        if self.inline.rules.is_empty() {
            Masked::untouched(message)
        } else {
            splice::message(message, &Walk { inline: true, ..Walk::of(&self.inline, &key.tokens()) })
        }
    }

    /// The same for a message of a stream, read behind what its `threads` have said. Also whether a value that is masked here
    /// began in a message that has passed, where nothing told it for one.
    pub fn inline_next<'t>(&self, threads: &mut Threads, message: &'t str, key: &MaskKey) -> (Masked<'t>, bool) {
        if self.inline.rules.is_empty() {
            return (Masked::untouched(message), false);
        }
        let (tokens, (further, is_late)) = (key.tokens(), threads.follow(message, &self.inline));
        let walk = Walk { inline: true, further: further.as_ref(), ..Walk::of(&self.inline, &tokens) };
        (splice::message(message, &walk), is_late)
    }

    /// Masks a text that stands in the record beside the message, such as a URI, by the detectors alone.
    pub fn plain<'t>(&self, text: &'t str, key: &MaskKey) -> Masked<'t> {
        if self.record.detectors.is_empty() { Masked::untouched(text) } else { splice::plain(text, &self.record, key) }
    }

    /// Whether a rule asks for masks towards the other side.
    pub fn has_inline(&self) -> bool {
        !self.inline.rules.is_empty()
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod time;
