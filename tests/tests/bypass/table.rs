//! What the suite prints: a line for each vector, user and state of the agent.

use std::{collections::HashMap, fmt};

use crate::{
    arena::Verdict,
    vectors::{User, Vector},
};

#[derive(Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    possible: HashMap<(String, User), bool>,
}

struct Line {
    when: &'static str,
    vector: String,
    user: User,
    outcome: String,
    failure: bool,
}

impl Table {
    /// What became of the vector out of scope; `ok` says whether that is as it should be.
    pub(crate) fn note_control(&mut self, vector: &Vector, user: User, reached: bool, ok: bool) {
        self.possible.insert((vector.name(), user), reached);
        if !ok {
            let outcome = format!("out of scope: {}", if reached { "reached the target" } else { "got nowhere" });
            self.lines.push(Line { when: "no agent", vector: vector.name(), user, outcome, failure: true });
        }
    }

    pub(crate) fn was_possible(&self, vector: &Vector, user: User) -> bool {
        self.possible.get(&(vector.name(), user)).copied().unwrap_or_default()
    }

    /// What became of the vector in scope. `expected` is none where it cannot work even out of scope; then it only must not
    /// get through.
    pub(crate) fn note(
        &mut self,
        when: &'static str,
        vector: &Vector,
        user: User,
        expected: Option<Verdict>,
        verdict: Verdict,
    ) {
        let (outcome, failure) = match expected {
            _ if verdict == Verdict::Through => ("THROUGH".to_owned(), true),
            None => ("not possible here".to_owned(), false),
            Some(expected) if expected == verdict => (verdict.to_string(), false),
            Some(expected) => (format!("{verdict}, expected {expected}"), true),
        };
        self.lines.push(Line { when, vector: vector.name(), user, outcome, failure });
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.lines.iter().filter(|line| line.failure).map(ToString::to_string).collect()
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, vector, user, outcome, failure } = self;
        let mark = if *failure { " ✗" } else { "" };
        write!(f, "{when:<12} {vector:<32} uid {:<5} {outcome}{mark}", user.uid())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
