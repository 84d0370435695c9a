//! What the suite prints: a line for each vector, user and state of the agent.

use std::{collections::HashMap, fmt};

use crate::{
    arena::Verdict,
    place::Place,
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

/// Of one place.
pub(crate) struct Table {
    place: Place,
    lines: Vec<Line>,
    controls: HashMap<(String, User), Control>,
}

struct Line {
    when: &'static str,
    place: Place,
    vector: String,
    user: User,
    outcome: String,
    failure: bool,
}

impl Table {
    pub(crate) fn new(place: Place) -> Self {
        Self { place, lines: Vec::new(), controls: HashMap::new() }
    }

    /// What became of the vector out of scope, which may not be what it should.
    pub(crate) fn note_control(&mut self, vector: &Vector, user: User, control: Control) {
        self.controls.insert((vector.name(), user), control);
        let may = match vector.needs {
            Needs::Nothing | Needs::Kernel => true,
            Needs::NetRaw => user == User::Root,
            Needs::NetAdmin => user == User::Root && self.place == Place::Host,
        };
        let ok = match control {
            Control::Reached => may,
            Control::NotOffered => vector.needs == Needs::Kernel,
            Control::Nowhere => !may,
        };
        if !ok {
            self.push("no agent", vector, user, format!("out of scope: {control:?}"), true);
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
        self.push(when, vector, user, outcome, failure);
    }

    /// Whether anything of the vector reached the target, where that is all that is known.
    pub(crate) fn note_reached(&mut self, when: &'static str, vector: &Vector, user: User, reached: bool) {
        self.push(when, vector, user, if reached { "THROUGH" } else { "stopped" }.to_owned(), reached);
    }

    fn push(&mut self, when: &'static str, vector: &Vector, user: User, outcome: String, failure: bool) {
        let vector = vector.name();
        self.lines.push(Line { when, place: self.place, vector, user, outcome, failure });
    }

    pub(crate) fn failures(&self) -> Vec<String> {
        self.lines.iter().filter(|line| line.failure).map(ToString::to_string).collect()
    }
}

/// The last column is the outcome; what comes before it tells the line from all others. The kernel suite reads this.
impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { when, place, vector, user, outcome, failure } = self;
        let mark = if *failure { " ✗" } else { "" };
        write!(f, "| {when:<12} | {place:<9} | {vector:<31} | uid {:<4} | {outcome}{mark}", user.uid())
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}
