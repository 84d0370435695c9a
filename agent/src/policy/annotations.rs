//! What servers said of their tools, as they last listed them (`annotations` of a tool; MCP 2025-03-26 and later).

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::Deserialize;

/// Most servers that are remembered; beyond it one is forgotten for each that is new.
const SERVERS: usize = 1024;

/// Most tools of one server that are remembered.
const TOOLS: usize = 4096;

/// Hints of a tool, with MCP's defaults for those that the server did not give. They are claims of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Annotations {
    /// Whether the tool was seen listed. If not, the rest is what MCP says of a tool without hints.
    pub listed: bool,
    /// It changes nothing.
    pub read_only: bool,
    /// It may destroy something.
    pub destructive: bool,
    /// Calling it again with the same arguments changes nothing more.
    pub idempotent: bool,
    /// It deals with things beyond the server.
    pub open_world: bool,
}

impl Default for Annotations {
    fn default() -> Self {
        Self { listed: false, read_only: false, destructive: true, idempotent: false, open_world: true }
    }
}

/// A tool's entry in a list, as far as policy reads it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Entry {
    annotations: Option<serde_json::Value>,
}

impl Annotations {
    /// The hints in a tool's entry. What is not a boolean counts as not given.
    pub fn of_entry(entry: &[u8]) -> Self {
        let hints = serde_json::from_slice::<Entry>(entry).unwrap_or_default().annotations;
        let hint = |name: &str| hints.as_ref()?.get(name)?.as_bool();
        let none = Self::default();
        let read_only = hint("readOnlyHint").unwrap_or(none.read_only);
        Self {
            listed: true,
            read_only,
            // Without meaning for a tool that only reads.
            destructive: hint("destructiveHint").unwrap_or(none.destructive) && !read_only,
            idempotent: hint("idempotentHint").unwrap_or(none.idempotent),
            open_world: hint("openWorldHint").unwrap_or(none.open_world),
        }
    }
}

/// Which server: an endpoint may have several.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Server {
    /// The endpoint's name.
    pub endpoint: String,
    /// The name that the application asked for.
    pub hostname: Option<String>,
    /// The path that messages are sent to, without its query.
    pub path: String,
}

/// What servers last listed.
#[derive(Debug, Default)]
pub struct Catalogue(Mutex<HashMap<Server, HashMap<String, Annotations>>>);

impl Catalogue {
    /// What the server said of a tool.
    pub fn of(&self, server: &Server, tool: &str) -> Annotations {
        self.lock().get(server).and_then(|tools| tools.get(tool)).copied().unwrap_or_default()
    }

    /// Notes what a page of a server's list says. Tools of other pages are kept.
    pub fn learn(&self, server: &Server, tools: impl IntoIterator<Item = (String, Annotations)>) {
        let mut servers = self.lock();
        if servers.len() >= SERVERS && !servers.contains_key(server) {
            let forgotten = servers.keys().next().cloned();
            forgotten.map(|server| servers.remove(&server));
        }
        let known = servers.entry(server.clone()).or_default();
        for (name, annotations) in tools {
            if known.len() < TOOLS || known.contains_key(&name) {
                known.insert(name, annotations);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Server, HashMap<String, Annotations>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_have_the_protocols_defaults() {
        let of = |entry: &str| Annotations::of_entry(entry.as_bytes());
        assert_eq!(of(r#"{"name":"a"}"#), Annotations { listed: true, ..Annotations::default() });
        let reads = of(r#"{"name":"a","annotations":{"readOnlyHint":true,"destructiveHint":true}}"#);
        assert!(reads.read_only && !reads.destructive && reads.open_world);
        for odd in [r#"{"annotations":7}"#, r#"{"annotations":{"destructiveHint":"false"}}"#, "[]", "7"] {
            assert!(of(odd).destructive && !of(odd).read_only, "{odd}");
        }
    }

    #[test]
    fn a_server_is_remembered_page_by_page_and_within_bounds() {
        let server = |n: usize| Server { endpoint: format!("e{n}"), hostname: None, path: "/mcp".into() };
        let catalogue = Catalogue::default();
        let reads = Annotations { listed: true, read_only: true, ..Annotations::default() };
        catalogue.learn(&server(0), [("a".to_owned(), reads)]);
        catalogue.learn(&server(0), [("b".to_owned(), reads)]);
        assert!(catalogue.of(&server(0), "a").read_only && catalogue.of(&server(0), "b").read_only);
        assert_eq!(catalogue.of(&server(1), "a"), Annotations::default());
        for n in 0..2 * SERVERS {
            catalogue.learn(&server(n), [("a".to_owned(), reads)]);
        }
        assert_eq!(catalogue.lock().len(), SERVERS);
        catalogue.learn(&server(9999), (0..2 * TOOLS).map(|n| (n.to_string(), reads)));
        assert_eq!(catalogue.lock()[&server(9999)].len(), TOOLS);
    }
}
