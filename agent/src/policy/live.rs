//! The policies in force: read again when their files change, and exchanged whole or not at all.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{
    LoadError, Policies,
    load::{self, Source},
};
use crate::config;

/// How long a change must stand before it is taken, and how often that is tried.
const SETTLING: Duration = Duration::from_millis(200);
const READINGS: usize = 10;

const UNSETTLED: &str =
    "the policies' files change while they are read; write them elsewhere and rename them into place";

/// See the module.
#[derive(Debug)]
pub struct Live {
    config: config::Policy,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    current: Arc<Policies>,
    since: Timestamp,
    /// What the files say now, if it was refused.
    refused: Option<Refused>,
}

/// Policies that were not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refused {
    /// What they were read as: the same again is not tried again.
    sources: Option<Vec<Source>>,
    why: String,
    since: Timestamp,
}

/// What came of reading the files again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reloaded {
    /// They say what they said before.
    Unchanged,
    /// Other policies are in force.
    Changed {
        /// The version before.
        from: Arc<str>,
        /// The version now.
        to: Arc<str>,
        /// How many policies there are now.
        policies: usize,
    },
    /// The policies in force stay in force.
    Refused {
        /// Their version.
        version: Arc<str>,
        /// What is wrong with the new ones, with its place.
        why: String,
    },
}

/// The policies' state, for `weir status`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveStatus {
    /// The version in force.
    pub version: String,
    /// Since when.
    pub since: Timestamp,
    /// How many policies.
    pub policies: u64,
    /// `allow` or `deny`.
    pub default: String,
    /// Why the files, as they are now, are not in force; absent while they are.
    pub refused: Option<String>,
}

impl Live {
    /// Reads the configured files.
    ///
    /// # Errors
    /// As [`LoadError`].
    pub fn load(config: &config::Policy) -> Result<Self, LoadError> {
        let state = State { current: Arc::new(Policies::load(config)?), since: Timestamp::now(), refused: None };
        Ok(Self { config: config.clone(), state: RwLock::new(state) })
    }

    /// The policies in force. Ask one message by one of these: it is never half exchanged.
    pub fn current(&self) -> Arc<Policies> {
        Arc::clone(&self.state.read().unwrap_or_else(PoisonError::into_inner).current)
    }

    /// Reads the files again; waits until a change stands. What was refused before is refused without being reported again, unless `again`.
    pub fn reload(&self, again: bool) -> Reloaded {
        match self.settled() {
            Ok(Some(sources)) => self.take(sources, again),
            Ok(None) => self.refuse(None, UNSETTLED.to_owned(), again),
            Err(error) => self.refuse(None, error.to_string(), again),
        }
    }

    /// What the files say, once they say it twice: one that is being written may be empty, and so forbid nothing. `None` where
    /// they go on changing.
    fn settled(&self) -> Result<Option<Vec<Source>>, LoadError> {
        let mut sources = load::read(&self.config.files)?;
        for _ in 0..READINGS {
            if self.knows(&sources) {
                return Ok(Some(sources));
            }
            std::thread::sleep(SETTLING);
            let next = load::read(&self.config.files)?;
            if next == sources {
                return Ok(Some(sources));
            }
            sources = next;
        }
        Ok(None)
    }

    /// Whether these are in force, or were refused.
    fn knows(&self, sources: &Vec<Source>) -> bool {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        load::version(&self.config, sources) == *state.current.version()
            || state.refused.as_ref().is_some_and(|refused| refused.sources.as_ref() == Some(sources))
    }

    fn take(&self, sources: Vec<Source>, again: bool) -> Reloaded {
        let current = self.current();
        if load::version(&self.config, &sources) == *current.version() {
            self.state.write().unwrap_or_else(PoisonError::into_inner).refused = None;
            return Reloaded::Unchanged;
        }
        let was_refused = |refused: &Refused| refused.sources.as_ref() == Some(&sources);
        if !again && self.state.read().unwrap_or_else(PoisonError::into_inner).refused.as_ref().is_some_and(was_refused)
        {
            return Reloaded::Unchanged;
        }
        match Policies::of(&self.config, &sources) {
            Ok(policies) => {
                let changed = Reloaded::Changed {
                    from: Arc::clone(current.version()),
                    to: Arc::clone(policies.version()),
                    policies: policies.len(),
                };
                let state = State { current: Arc::new(policies), since: Timestamp::now(), refused: None };
                *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
                changed
            }
            Err(error) => self.refuse(Some(sources), error.to_string(), again),
        }
    }

    fn refuse(&self, sources: Option<Vec<Source>>, why: String, again: bool) -> Reloaded {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        let known = state.refused.as_ref().is_some_and(|refused| refused.why == why);
        let since = state.refused.as_ref().map_or_else(Timestamp::now, |refused| refused.since);
        state.refused = Some(Refused { sources, why: why.clone(), since });
        if known && !again {
            return Reloaded::Unchanged;
        }
        Reloaded::Refused { version: Arc::clone(state.current.version()), why }
    }

    /// How they are.
    pub fn status(&self) -> LiveStatus {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        LiveStatus {
            version: state.current.version().to_string(),
            since: state.since,
            policies: state.current.len() as u64,
            default: self.config.default.as_str().to_owned(),
            refused: state.refused.as_ref().map(|refused| format!("since {:.0}: {}", refused.since, refused.why)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_bad_file_keeps_the_old_policies_and_is_reported_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cedar");
        let write = |text: &str| fs::write(&path, text).unwrap();
        write("forbid (principal, action, resource);");
        let live = Live::load(&config::Policy { files: vec![path.clone()], ..config::Policy::default() }).unwrap();
        let first = Arc::clone(live.current().version());
        assert_eq!(live.reload(false), Reloaded::Unchanged);

        write("forbid (principal, action, resource) when { context.nonsense };");
        let Reloaded::Refused { version, why } = live.reload(false) else { panic!("taken") };
        assert_eq!((&version, live.current().version()), (&first, &first));
        assert!(why.contains("a.cedar:1:45: ") && why.contains("nonsense"), "{why}");
        assert_eq!(live.reload(false), Reloaded::Unchanged);
        assert!(matches!(live.reload(true), Reloaded::Refused { .. }));
        assert!(live.status().refused.is_some());

        write("permit (principal, action, resource);");
        assert!(matches!(live.reload(false), Reloaded::Changed { from, policies: 1, .. } if from == first));
        assert_eq!(live.status().refused, None);
        fs::remove_file(&path).unwrap();
        assert!(matches!(live.reload(false), Reloaded::Refused { .. }));
        assert_eq!(live.reload(false), Reloaded::Unchanged);
        assert_eq!(live.current().len(), 1);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_taken_before_it_stands() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.cedar");
        let policy = |tool: &str| format!("forbid (principal, action, resource == Tool::\"{tool}\");");
        fs::write(&path, policy("e/a")).unwrap();
        let live = Live::load(&config::Policy { files: vec![path.clone()], ..config::Policy::default() }).unwrap();
        // Truncated now, written once the first reading is over.
        fs::write(&path, "").unwrap();
        let writing = std::thread::spawn(move || {
            std::thread::sleep(SETTLING / 2);
            fs::write(path, policy("e/b")).unwrap();
        });
        let reloaded = live.reload(false);
        writing.join().unwrap();
        assert!(matches!(reloaded, Reloaded::Changed { policies: 1, .. }), "{reloaded:?}");
        assert_eq!(live.current().len(), 1);
    }
}
