//! `[[mask]]`: replaces the values that a rule selects, before a record is written. Knows JSON text and `JSONPath`
//! (RFC 9535), nothing else.
//!
//! A masked value becomes the string `[masked:<rule>:<16 hex digits>]`. The digits are the first 8 bytes of an
//! HMAC-SHA256 under the host's or fleet's key over the value's canonical JSON text: equal values have equal digits whatever
//! the rule, so records correlate without revealing. (Numbers are equal as doubles are, beyond 64 bits.) What is not
//! masked stays as it was, byte for byte.
//!
//! A text that cannot be masked (not JSON, the same key twice, nested beyond 127 levels, a number beyond a double) is
//! replaced as a whole, never kept in the clear.
//!
//! Paths are over the whole JSON-RPC message: `$.params…`, `$.result…`, `$.error…`. Mask the message, then take its
//! parts with [`Masked::at`].
//!
//! Fuzzed by `cargo +nightly fuzz run mask` (with `cargo-fuzz`, from the repository's root).

mod key;
mod splice;
mod strict;

use std::sync::Arc;

use serde_json_path::JsonPath;

pub use key::MaskKey;
pub use splice::{Masked, UNREADABLE};

use crate::config;

/// Whether a text that was masked may have something masked in it. It may be wrong only where it says yes.
pub fn may_be_masked(text: &str) -> bool {
    text.contains("[masked:")
}

/// The rules of the configuration.
#[derive(Debug, Clone, Default)]
pub struct Masks {
    rules: Vec<Arc<Rule>>,
}

#[derive(Debug)]
struct Rule {
    name: String,
    paths: Vec<JsonPath>,
    /// Empty means every endpoint.
    endpoints: Vec<String>,
    /// Empty means every message, also those of no tool.
    tools: Vec<String>,
}

/// Why the rules are not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MaskError {
    /// A rule that selects nothing.
    #[error("mask \"{rule}\" has no paths; add one or remove the rule")]
    NoPaths {
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
    pub fn for_call(&self, endpoint: &str, tool: Option<&str>) -> Selected {
        let rules = self.rules.iter().filter(|rule| rule.applies(endpoint, tool));
        Selected { rules: rules.cloned().collect() }
    }
}

impl Rule {
    fn compile(position: usize, rule: &config::Mask) -> Result<Self, MaskError> {
        let name = rule.name.clone().unwrap_or_else(|| format!("mask-{position}"));
        if rule.paths.is_empty() {
            return Err(MaskError::NoPaths { rule: name });
        }
        let compile = |path: &String| {
            JsonPath::parse(path).map_err(|error| MaskError::Path {
                rule: name.clone(),
                path: path.clone(),
                position: error.position(),
                why: error.message().to_owned(),
            })
        };
        let paths = rule.paths.iter().map(compile).collect::<Result<_, _>>()?;
        Ok(Self { name, paths, endpoints: rule.endpoints.clone(), tools: rule.tools.clone() })
    }

    fn applies(&self, endpoint: &str, tool: Option<&str>) -> bool {
        let for_endpoint = self.endpoints.is_empty() || self.endpoints.iter().any(|name| name == endpoint);
        let for_tool = self.tools.is_empty() || tool.is_some_and(|tool| self.tools.iter().any(|name| name == tool));
        for_endpoint && for_tool
    }
}

/// The rules that apply to one call, in the order of the configuration. Cheap to clone and to keep.
#[derive(Debug, Clone, Default)]
pub struct Selected {
    rules: Vec<Arc<Rule>>,
}

impl Selected {
    /// Masks one message. Nothing is parsed when no rule applies. Where rules meet, the outer value is replaced as a whole, by
    /// the first rule that selects it.
    pub fn apply<'t>(&self, message: &'t str, key: &MaskKey) -> Masked<'t> {
        if self.rules.is_empty() { Masked::untouched(message) } else { splice::mask(message, &self.rules, key) }
    }
}

#[cfg(test)]
mod tests;
