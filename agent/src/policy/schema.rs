//! What policies can speak of.

use std::{collections::HashMap, sync::LazyLock};

use cedar_policy::{Entity, EntityTypeName, EntityUid, Schema};

/// The schema, in Cedar's own syntax.
pub const TEXT: &str = include_str!("schema.cedarschema");

/// The action that stands for every method that the schema does not name.
const UNKNOWN: &str = "unknown";

static SHIPPED: LazyLock<Shipped> = LazyLock::new(Shipped::read);

/// The schema, read once.
pub(super) struct Shipped {
    pub(super) schema: Schema,
    methods: HashMap<String, Action>,
    unknown: Action,
    pub(super) types: Types,
}

/// A method, in Cedar's terms.
#[derive(Debug, Clone)]
pub(super) struct Action {
    pub(super) uid: EntityUid,
    /// With the groups that it is in.
    pub(super) entity: Entity,
    groups: Vec<EntityUid>,
}

/// The types of entities.
pub(super) struct Types {
    pub(super) group: EntityTypeName,
    pub(super) caller: EntityTypeName,
    pub(super) workload: EntityTypeName,
    pub(super) endpoint: EntityTypeName,
    pub(super) tool: EntityTypeName,
    pub(super) prompt: EntityTypeName,
    pub(super) resource: EntityTypeName,
    pub(super) arguments: EntityTypeName,
}

/// The shipped schema.
pub(super) fn shipped() -> &'static Shipped {
    &SHIPPED
}

impl Shipped {
    #[expect(clippy::expect_used, reason = "the text is compiled in, and a test reads it")]
    fn read() -> Self {
        let (schema, _) = Schema::from_cedarschema_str(TEXT).expect("the shipped schema is valid");
        let entities = schema.action_entities().expect("the shipped schema's actions are valid");
        let applies =
            |uid: &EntityUid| schema.resources_for_action(uid).is_some_and(|mut kinds| kinds.next().is_some());
        let action = |uid: &EntityUid| Action {
            uid: uid.clone(),
            entity: entities.get(uid).expect("an action is an entity").clone(),
            groups: entities.ancestors(uid).into_iter().flatten().cloned().collect(),
        };
        let methods: HashMap<String, Action> = schema
            .actions()
            .filter(|uid| applies(uid))
            .map(|uid| (uid.id().unescaped().to_owned(), action(uid)))
            .collect();
        let name = |name: &str| name.parse().expect("a type's name");
        let types = Types {
            group: name("Group"),
            caller: name("Caller"),
            workload: name("Workload"),
            endpoint: name("Endpoint"),
            tool: name("Tool"),
            prompt: name("Prompt"),
            resource: name("Resource"),
            arguments: name("Arguments"),
        };
        let unknown = methods.get(UNKNOWN).expect("the schema has an action for unknown methods").clone();
        Self { schema, methods, unknown, types }
    }

    /// The action of a method.
    pub(super) fn action(&self, method: &str) -> &Action {
        self.methods.get(method).unwrap_or(&self.unknown)
    }
}

impl Action {
    /// Whether this is `uid`, or in the group `uid`.
    pub(super) fn is_in(&self, uid: &EntityUid) -> bool {
        self.uid == *uid || self.groups.contains(uid)
    }
}
