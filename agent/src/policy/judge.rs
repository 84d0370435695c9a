//! A question's verdict.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use cedar_policy::{
    AuthorizationError, Authorizer, Decision, Effect, Entities, PolicyId, PolicySet, Request, Response,
};

use super::{
    Ground, Policies, Question, Subject, Verdict,
    annotations::Annotations,
    arguments::{Arguments, Fault, Veil},
    checks::Extensions,
    entities::{self, Asked, Unaskable},
    question,
    replay::Opinion,
    schema::{Action, shipped},
    slice::{Key, Slice},
};
use crate::config::Stance;

/// Most kinds of question whose policies are kept ready.
const SLICES: usize = 4096;

/// What a policy without `@reason` says.
const DENIED: &str = "a policy denies this";
/// What the default says.
const NOT_PERMITTED: &str = "no policy permits this";

/// The policies for each kind of question, as they were first asked for.
#[derive(Debug, Default)]
pub(super) struct Slices(Mutex<HashMap<Key, Arc<Slice>>>);

/// Why a message cannot be judged; it is denied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unjudgeable {
    /// No name where the method needs one.
    #[error(
        "`params` names nothing that a policy could be about; send the name or URI that the method needs, as a string"
    )]
    Nameless,
    /// Arguments.
    #[error(transparent)]
    Arguments(#[from] Fault),
    /// See there.
    #[error(transparent)]
    Unaskable(#[from] Unaskable),
}

/// What the policies say of one question: which matched, and which failed on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Said {
    /// Positions of those that matched and decide, in order.
    pub(super) matched: Vec<usize>,
    /// Positions of those that could not be evaluated, in order.
    pub(super) failed: Vec<usize>,
    /// Whether a `forbid` is among those that matched.
    pub(super) forbidden: bool,
    /// Whether an argument is masked in the record.
    pub(super) veiled: bool,
}

/// A question as Cedar takes it.
struct Posed {
    request: Request,
    entities: Entities,
    veiled: bool,
}

impl Policies {
    /// What the policies say of a message.
    pub fn judge(&self, question: &Question<'_>) -> Verdict {
        match self.ask(question, None) {
            Ok(said) => self.verdict(&said),
            Err(unjudgeable) => self.unjudgeable(&unjudgeable),
        }
    }

    /// Asks them. A `veil` is over recorded calls.
    pub(super) fn ask(&self, question: &Question<'_>, veil: Option<Veil>) -> Result<Said, Unjudgeable> {
        let subject = Subject::of(question).ok_or(Unjudgeable::Nameless)?;
        let slice = self.slice(question, shipped().action(question.method), &subject);
        if slice.all.is_empty() {
            return Ok(Said::default());
        }
        let Posed { request, entities, veiled } = self.pose(question, &subject, &slice, veil)?;
        Ok(Said { veiled, ..said(&Authorizer::new().is_authorized(&request, &slice.all, &entities)) })
    }

    /// What each policy that could matter says of a recorded call.
    pub(super) fn opinions(&self, question: &Question<'_>, veil: Veil) -> Vec<Opinion> {
        let Some(subject) = Subject::of(question) else { return Vec::new() };
        let slice = self.slice(question, shipped().action(question.method), &subject);
        let posed = self.pose(question, &subject, &slice, Some(veil));
        let opinion = |policy: &cedar_policy::Policy| {
            let loaded = self.all.get(position(policy.id())?)?;
            let says = match &posed {
                Err(_) => "undecidable",
                Ok(Posed { request, entities, veiled }) => {
                    let alone = PolicySet::from_policies([policy.clone()]).ok()?;
                    let said = said(&Authorizer::new().is_authorized(request, &alone, entities));
                    match (said.matched.is_empty(), said.failed.is_empty()) {
                        (false, _) => "matches",
                        (true, true) => "does not match",
                        (true, false) if *veiled => "undecidable",
                        (true, false) => "fails",
                    }
                }
            };
            let effect = if loaded.policy.effect() == Effect::Permit { "permit" } else { "forbid" };
            let reason = loaded.says.reason.as_deref().map(str::to_owned);
            Some((position(policy.id()), Opinion { policy: loaded.id.to_string(), effect, says, reason }))
        };
        let mut opinions: Vec<_> = slice.all.policies().filter_map(opinion).collect();
        opinions.sort_by_key(|(position, _)| *position);
        opinions.into_iter().map(|(_, opinion)| opinion).collect()
    }

    /// The denial of what cannot be judged.
    pub(super) fn unjudgeable(&self, why: &Unjudgeable) -> Verdict {
        self.deny("unjudgeable", &why.to_string())
    }

    fn pose(
        &self,
        question: &Question<'_>,
        subject: &Subject,
        slice: &Slice,
        veil: Option<Veil>,
    ) -> Result<Posed, Unjudgeable> {
        let action = shipped().action(question.method);
        let mut veiled = false;
        let arguments = match question.method {
            "tools/call" | "prompts/get" if slice.reads_arguments => {
                let arguments = Arguments::read(question::arguments(question.params)?, veil)?;
                veiled = arguments.is_veiled();
                let tags = arguments.tags(&slice.paths, slice.extensions.decimal)?;
                Some((if slice.reads_whole { arguments.whole() } else { Vec::new() }, tags))
            }
            "tools/call" | "prompts/get" => Some((Vec::new(), Vec::new())),
            _ => None,
        };
        let asked = Asked::new(question, action, &self.zone, slice.extensions)?;
        let (request, entities) = asked.about(subject, question.annotations, arguments)?;
        Ok(Posed { request, entities, veiled })
    }

    /// Which entries of a list may be seen: those that may be used, with some arguments. `method` is the one that uses them.
    pub(super) fn shows(
        &self,
        question: &Question<'_>,
        method: &str,
        entries: &[(Subject, Annotations)],
    ) -> Result<Vec<bool>, Unaskable> {
        let action = shipped().action(method);
        let question = Question { method, ..question.clone() };
        let asked = Asked::new(&question, action, &self.zone, Extensions::ALL)?;
        let authorizer = Authorizer::new();
        let shows = |(subject, annotations): &(Subject, Annotations)| {
            let slice = self.slice(&question, action, subject);
            if slice.listing.is_empty() {
                return Ok(self.default == Stance::Allow);
            }
            let arguments = matches!(method, "tools/call" | "prompts/get").then(Default::default);
            let (request, entities) = asked.about(subject, *annotations, arguments)?;
            let said = said(&authorizer.is_authorized(&request, &slice.listing, &entities));
            Ok(!matches!(self.verdict(&said), Verdict::Deny(_)))
        };
        entries.iter().map(shows).collect()
    }

    fn slice(&self, question: &Question<'_>, action: &Action, subject: &Subject) -> Arc<Slice> {
        let resource = entities::resource(question.endpoint, subject);
        let key = Key {
            method: action.uid.id().unescaped().to_owned(),
            kind: entities::kind(subject).clone(),
            endpoint: entities::endpoint(question.endpoint),
            named: self.named.contains(&resource).then_some(resource),
        };
        let mut slices = self.slices.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slice) = slices.get(&key) {
            return Arc::clone(slice);
        }
        if slices.len() >= SLICES {
            slices.clear();
        }
        let slice = Arc::new(Slice::of(&self.all, action, &key));
        slices.insert(key, Arc::clone(&slice));
        slice
    }

    /// From what they say to what is done.
    pub(super) fn verdict(&self, said: &Said) -> Verdict {
        let first = said.matched.first().and_then(|position| self.all.get(*position));
        let ground = |id: &Arc<str>, reason: Option<Arc<str>>| Ground {
            policy: Some(Arc::clone(id)),
            reason,
            version: Arc::clone(&self.version),
        };
        if let (true, Some(forbid)) = (said.forbidden, first) {
            return Verdict::Deny(ground(
                &forbid.id,
                Some(forbid.says.reason.clone().unwrap_or_else(|| DENIED.into())),
            ));
        }
        if let Some(failed) = said.failed.first() {
            let id = self.all.get(*failed).map_or_else(|| "unknown".into(), |failed| Arc::clone(&failed.id));
            let reason = "a policy could not be evaluated for this call: an argument has another form than the policy reads, or is too large for it";
            return Verdict::Deny(ground(&id, Some(reason.into())));
        }
        let held = said.matched.iter().filter_map(|position| self.all.get(*position));
        for permit in held {
            if let Some(group) = &permit.says.hold {
                let ground = ground(&permit.id, permit.says.reason.clone());
                return Verdict::Hold { group: Arc::clone(group), ground };
            }
        }
        match (first, self.default) {
            (Some(permit), _) => Verdict::Allow(ground(&permit.id, permit.says.reason.clone())),
            (None, Stance::Deny) => self.deny("default", NOT_PERMITTED),
            (None, Stance::Allow) => {
                Verdict::Allow(Ground { policy: None, reason: None, version: Arc::clone(&self.version) })
            }
        }
    }

    fn deny(&self, policy: &str, reason: &str) -> Verdict {
        let version = Arc::clone(&self.version);
        Verdict::Deny(Ground { policy: Some(policy.into()), reason: Some(reason.into()), version })
    }
}

fn said(response: &Response) -> Said {
    let mut matched: Vec<usize> = response.diagnostics().reason().filter_map(position).collect();
    let failed =
        response.diagnostics().errors().map(|AuthorizationError::PolicyEvaluationError(error)| error.policy_id());
    // One that cannot be told still denies.
    let mut failed: Vec<usize> = failed.map(|id| position(id).unwrap_or(usize::MAX)).collect();
    matched.sort_unstable();
    failed.sort_unstable();
    let forbidden = response.decision() == Decision::Deny && !matched.is_empty();
    Said { matched, failed, forbidden, veiled: false }
}

/// Where a policy stands among all.
fn position(id: &PolicyId) -> Option<usize> {
    AsRef::<str>::as_ref(id).parse().ok()
}
