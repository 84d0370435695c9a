//! Which calls wait for a response.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
};

use super::Id;

/// A bounded table of open calls. Ids are unique within a scope, which is the caller's to choose (endpoint, workload and
/// session, or the flow): a second call with an open id could not be told from the first by its answer.
#[derive(Debug)]
pub struct Calls<S, T> {
    limit: usize,
    count: usize,
    scopes: HashMap<S, HashMap<Id, T>>,
}

/// Why a call is not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The table is full.
    #[error("too many calls are waiting for a response; try again later")]
    Full,
    /// The id is open in this scope.
    #[error("a call with this id is still waiting for its response; use another id")]
    DuplicateId,
}

impl OpenError {
    /// The stable id of the rule that was broken.
    pub fn rule(self) -> &'static str {
        match self {
            Self::Full => "calls-full",
            Self::DuplicateId => "calls-duplicate-id",
        }
    }
}

impl<S: Eq + Hash, T> Calls<S, T> {
    /// A table for at most `limit` open calls over all scopes.
    pub fn new(limit: usize) -> Self {
        Self { limit, count: 0, scopes: HashMap::new() }
    }

    /// Notes an open call.
    pub fn open(&mut self, scope: S, id: Id, call: T) -> Result<(), OpenError> {
        if self.count == self.limit {
            return Err(OpenError::Full);
        }
        match self.scopes.entry(scope).or_default().entry(id) {
            Entry::Occupied(_) => Err(OpenError::DuplicateId),
            Entry::Vacant(place) => {
                place.insert(call);
                self.count += 1;
                Ok(())
            }
        }
    }

    /// An open call.
    pub fn get(&self, scope: &S, id: &Id) -> Option<&T> {
        self.scopes.get(scope)?.get(id)
    }

    /// The open calls of a scope.
    pub fn of(&self, scope: &S) -> impl Iterator<Item = (&Id, &T)> {
        self.scopes.get(scope).into_iter().flatten()
    }

    /// Takes a call out, when its response has come or it was cancelled.
    pub fn close(&mut self, scope: &S, id: &Id) -> Option<T> {
        let calls = self.scopes.get_mut(scope)?;
        let call = calls.remove(id)?;
        if calls.is_empty() {
            self.scopes.remove(scope);
        }
        self.count -= 1;
        Some(call)
    }

    /// Takes out every call of a scope that ended.
    pub fn close_scope(&mut self, scope: &S) -> Vec<(Id, T)> {
        let calls: Vec<_> = self.scopes.remove(scope).into_iter().flatten().collect();
        self.count -= calls.len();
        calls
    }

    /// Takes out every call that `expired` names, e.g. by a deadline kept in `T`.
    pub fn close_expired(&mut self, mut expired: impl FnMut(&T) -> bool) -> Vec<(Id, T)> {
        let mut closed = Vec::new();
        self.scopes.retain(|_, calls| {
            closed.extend(calls.extract_if(|_, call| expired(call)));
            !calls.is_empty()
        });
        self.count -= closed.len();
        closed
    }

    /// How many calls are open.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;
    use crate::mcp::id::tests::id;

    #[test]
    fn an_open_id_is_taken_within_its_scope() {
        let mut calls = Calls::new(3);
        calls.open("a", id("1"), "first").unwrap();
        assert_eq!(calls.open("a", id("1"), "second"), Err(OpenError::DuplicateId));
        calls.open("a", id("\"1\""), "third").unwrap();
        calls.open("b", id("1"), "fourth").unwrap();
        assert_eq!(calls.open("c", id("1"), "fifth"), Err(OpenError::Full));
        assert_eq!(calls.close(&"a", &id("1")), Some("first"));
        assert_eq!(calls.close(&"a", &id("1")), None);
        assert_eq!(calls.close_scope(&"a"), [(id("\"1\""), "third")]);
        assert_eq!(calls.close_expired(|call| *call == "fourth"), [(id("1"), "fourth")]);
        assert!(calls.is_empty() && calls.scopes.is_empty());
    }

    proptest! {
        #[test]
        fn it_is_a_bounded_map(steps in prop::collection::vec((0u8..4, 0u8..3, 0u8..3), 0..60)) {
            let ids = [id("0"), id("1"), id("2")];
            let mut calls = Calls::new(4);
            let mut model = BTreeMap::new();
            for (serial, (step, scope, which)) in steps.into_iter().enumerate() {
                let id = &ids[usize::from(which)];
                match step {
                    0 | 1 => {
                        let (full, taken) = (model.len() == 4, model.contains_key(&(scope, which)));
                        let expected = match (full, taken) {
                            (true, _) => Err(OpenError::Full),
                            (_, true) => Err(OpenError::DuplicateId),
                            _ => Ok(()),
                        };
                        if expected.is_ok() {
                            model.insert((scope, which), serial);
                        }
                        prop_assert_eq!(calls.open(scope, id.clone(), serial), expected);
                    }
                    2 => prop_assert_eq!(calls.close(&scope, id), model.remove(&(scope, which))),
                    _ => {
                        let gone = model.extract_if(.., |(s, _), _| *s == scope).count();
                        prop_assert_eq!(calls.close_scope(&scope).len(), gone);
                    }
                }
                prop_assert_eq!(calls.len(), model.len());
                let scopes: BTreeSet<_> = model.keys().map(|(scope, _)| scope).collect();
                prop_assert_eq!(calls.scopes.len(), scopes.len());
            }
        }
    }
}
