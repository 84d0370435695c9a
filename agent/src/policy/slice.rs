//! The policies that can matter to a kind of question, by their scope (`action`, `resource`): with a thousand policies, most
//! are about other tools. What is left out could not have matched.

use std::collections::BTreeSet;

use cedar_policy::{
    ActionConstraint, Effect, EntityTypeName, EntityUid, Policy, PolicyId, PolicySet, ResourceConstraint,
};

use super::{arguments::Path, checks::Extensions, load::Loaded, schema::Action};

/// Policies that can match, ready to be asked. Their ids there are their positions in the whole set.
#[derive(Debug, Default)]
pub(super) struct Slice {
    /// For a message.
    pub(super) all: PolicySet,
    /// For an entry in a list, whose arguments nobody knows yet: what could allow it counts as if it did, what could
    /// forbid it as if it did not.
    pub(super) listing: PolicySet,
    /// The costly values that any names.
    pub(super) extensions: Extensions,
    /// Whether any looks at arguments.
    pub(super) reads_arguments: bool,
    /// Whether any may look at them as a whole.
    pub(super) reads_whole: bool,
    /// The arguments that they name.
    pub(super) paths: BTreeSet<Path>,
}

/// What a question is about, as scopes see it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) method: String,
    pub(super) kind: EntityTypeName,
    pub(super) endpoint: EntityUid,
    /// The tool, prompt or resource, where a policy names just that.
    pub(super) named: Option<EntityUid>,
}

impl Slice {
    /// Takes the policies that can match.
    pub(super) fn of(policies: &[Loaded], action: &Action, key: &Key) -> Self {
        let mut slice = Self::default();
        for (position, loaded) in policies.iter().enumerate() {
            if matches_action(&loaded.policy, action) && matches_resource(&loaded.policy, key) {
                slice.take(position, loaded);
            }
        }
        slice
    }

    fn take(&mut self, position: usize, loaded: &Loaded) {
        let id = PolicyId::new(position.to_string());
        // Positions differ, so there is never one of that id already.
        let _ = self.all.add(loaded.policy.new_id(id.clone()));
        let listed = match (loaded.reads.any, loaded.policy.effect()) {
            (false, _) => Some(&loaded.policy),
            (true, Effect::Permit) => loaded.scope.as_ref(),
            (true, Effect::Forbid) => None,
        };
        if let Some(policy) = listed {
            let _ = self.listing.add(policy.new_id(id));
        }
        self.extensions = self.extensions.or(loaded.reads.extensions);
        self.reads_arguments |= loaded.reads.any;
        self.reads_whole |= loaded.reads.any && loaded.reads.whole;
        self.paths.extend(loaded.reads.paths.iter().cloned());
    }
}

fn matches_action(policy: &Policy, action: &Action) -> bool {
    match policy.action_constraint() {
        ActionConstraint::Any => true,
        ActionConstraint::In(uids) => uids.iter().any(|uid| action.is_in(uid)),
        ActionConstraint::Eq(uid) => action.uid == uid,
    }
}

fn matches_resource(policy: &Policy, key: &Key) -> bool {
    let is = |uid: &EntityUid| match &key.named {
        Some(named) => named == uid,
        None => false,
    };
    let within = |uid: &EntityUid| *uid == key.endpoint || is(uid);
    match policy.resource_constraint() {
        ResourceConstraint::Any => true,
        // An endpoint is its own kind of resource, too.
        ResourceConstraint::Eq(uid) => is(&uid) || (uid == key.endpoint && key.kind == *key.endpoint.type_name()),
        ResourceConstraint::In(uid) => within(&uid),
        ResourceConstraint::Is(kind) => kind == key.kind,
        ResourceConstraint::IsIn(kind, uid) => kind == key.kind && within(&uid),
    }
}
