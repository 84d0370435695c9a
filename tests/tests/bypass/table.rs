//! What the suite prints: a line for each vector, user and state of the agent.

use std::{collections::HashMap, fmt};

use crate::{
    arena::Verdict,
    vectors::{Needs, User, Vector},
};

/// What a vector can do where nobody minds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    /// Get to the target.
    Reached,
    /// Nothing: the kernel says that it does not have what the vector takes.
    NotOffered,
    /// Get nowhere.
    Nowhere,
}

#[derive(Default)]
pub(crate) struct Table {
    lines: Vec<Line>,
    controls: HashMap<(String, User), Control>,
}

struct Line {
    when: &'static str,
    vector: String,
    user: User,
    outcome: String,
    failure: bool,
}

impl Table {
    /// What became of the vector out of scope, which may not be what it should.
    pub(crate) fn note_control(&mut self, vector: &Vector, user: User, control: Control) {
        self.controls.insert((vector.name(), user), control);
        let ok = match (vector.needs, control) {
            (Needs::Nothing, Control::Reached) | (Needs::Kernel, Control::Reached | Control::NotOffered) => true,
            (Needs::Root, control) => (control == Control::Reached) == (user == User::Root),
            _ => false,
        };
        if !ok {
            let outcome = format!("out of scope: {control:?}");
            self.lines.push(Line { when: "no agent", vector: vector.name(), user, outcome, failure: true });
        }
    }

    /// What became of the vector in scope, where `expected` is what should have. What does not work even out of scope only must
    /// not get through.
    pub(crate) fn note(
        &mut self,
        when: &'static str,
        vector: &Vector,
        user: User,
        expected: Verdict,
        verdict: Verdict,
    ) {
        let control = self.controls.get(&(vector.name(), user)).copied().unwrap_or(Control::Reached);
        let (outcome, failure) = match control {
            _ if verdict == Verdict::Through => ("THROUGH".to_owned(), true),
            Control::NotOffered => ("not offered by this kernel".to_owned(), false),
            Control::Nowhere => ("not possible for this user".to_owned(), false),
            Control::Reached if expected == verdict => (verdict.to_string(), false),
            Control::Reached => (format!("{verdict}, expected {expected}"), true),
        };
        self.lines.push(Line { when, vector: vector.name(), user, outcome, failure });
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.lines.iter().filter(|line| line.failure).map(ToString::to_string).collect()
    }
}

/// The last column is the outcome; what comes before it tells the line from all others. The kernel suite reads this.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, vector, user, outcome, failure } = self;
        let mark = if *failure { " ✗" } else { "" };
        write!(f, "| {when:<11} | {vector:<31} | uid {:<4} | {outcome}{mark}", user.uid())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
