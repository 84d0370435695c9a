//! A question in Cedar's terms: entities, and a request about them.

use std::net::IpAddr;

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression as Expression,
};
use jiff::tz::TimeZone;

use super::{
    Annotations, Question, Subject,
    checks::Extensions,
    schema::{Action, shipped},
};

/// A question's entities could not be made. None of what questions hold leads to this; it denies all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the call could not be put to the policies")]
pub(super) struct Unaskable;

pub(super) type Attributes = Vec<(String, Expression)>;

/// The id of the one entity that holds a call's arguments.
const ARGUMENTS: &str = "call";

/// What is asked about one message, but for what it is about.
pub(super) struct Asked<'a> {
    question: &'a Question<'a>,
    action: &'a Action,
    principal: EntityUid,
    /// The action, the principal with those it works for, the endpoint.
    entities: Vec<Entity>,
    context: Attributes,
}

impl<'a> Asked<'a> {
    /// Who asks, and around what. Of the costly values, `made` are made.
    pub(super) fn new(
        question: &'a Question<'a>,
        action: &'a Action,
        zone: &TimeZone,
        made: Extensions,
    ) -> Result<Self, Unaskable> {
        let principal = question.principal.uid();
        let mut entities = vec![action.entity.clone()];
        entities.extend(question.principal.entities(question.caller)?.iter().cloned());
        let name = vec![attribute("name", question.endpoint)];
        entities.push(entity(endpoint(question.endpoint), name, [])?);
        Ok(Self { question, action, principal, entities, context: context(question, zone, made) })
    }

    /// The request, and all entities. `arguments` are the attributes and tags of the arguments, for methods that have them.
    pub(super) fn about(
        &self,
        subject: &Subject,
        annotations: Annotations,
        arguments: Option<(Attributes, Attributes)>,
    ) -> Result<(Request, Entities), Unaskable> {
        let mut entities = self.entities.clone();
        let resource = resource(self.question.endpoint, subject);
        match subject {
            Subject::Endpoint => {}
            Subject::Tool(name) | Subject::Prompt(name) => {
                entities.push(entity(
                    resource.clone(),
                    vec![attribute("name", name)],
                    [endpoint(self.question.endpoint)],
                )?);
            }
            Subject::Resource(uri) => {
                entities.push(entity(
                    resource.clone(),
                    vec![attribute("uri", uri)],
                    [endpoint(self.question.endpoint)],
                )?);
            }
        }
        let mut context = self.context.clone();
        if matches!(subject, Subject::Tool(_)) {
            context.push(("annotations".to_owned(), annotations_record(annotations)?));
        }
        if let Some((attributes, tags)) = arguments {
            let arguments = uid(&shipped().types.arguments, ARGUMENTS);
            context.push(("arguments".to_owned(), Expression::new_entity_uid(arguments.clone())));
            entities.push(Entity::new_with_tags(arguments, attributes, [], tags).map_err(|_| Unaskable)?);
        }
        let context = Context::from_pairs(context).map_err(|_| Unaskable)?;
        // Without the schema: it would refuse arguments that lack the forms which the schema gives to all (see the room's doc).
        let request = Request::new(self.principal.clone(), self.action.uid.clone(), resource, context, None);
        let entities = Entities::from_entities(entities, None).map_err(|_| Unaskable)?;
        Ok((request.map_err(|_| Unaskable)?, entities))
    }
}

/// The entity that stands for an endpoint.
pub(super) fn endpoint(name: &str) -> EntityUid {
    uid(&shipped().types.endpoint, name)
}

/// The type of what a message is about.
pub(super) fn kind(subject: &Subject) -> &'static EntityTypeName {
    let types = &shipped().types;
    match subject {
        Subject::Tool(_) => &types.tool,
        Subject::Prompt(_) => &types.prompt,
        Subject::Resource(_) => &types.resource,
        Subject::Endpoint => &types.endpoint,
    }
}

/// The entity that stands for what a message is about.
pub(super) fn resource(of: &str, subject: &Subject) -> EntityUid {
    match subject.name() {
        None => endpoint(of),
        Some(name) => uid(kind(subject), &format!("{of}/{name}")),
    }
}

pub(super) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn context(question: &Question<'_>, zone: &TimeZone, made: Extensions) -> Attributes {
    let local = question.time.to_zoned(zone.clone());
    let now = || Expression::new_datetime(question.time.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string());
    let ip = |ip: IpAddr| made.ip.then(|| ("ip".to_owned(), Expression::new_ip(ip.to_string())));
    let mut time = vec![
        ("hour".to_owned(), Expression::new_long(local.hour().into())),
        ("minute".to_owned(), Expression::new_long(local.minute().into())),
        attribute("weekday", &local.strftime("%A").to_string().to_ascii_lowercase()),
    ];
    time.extend(made.now.then(|| ("now".to_owned(), now())));
    let (address, port) = question.destination;
    let mut destination = vec![("port".to_owned(), Expression::new_long(port.into()))];
    destination.extend(ip(address));
    destination.extend(optional("hostname", question.hostname));
    let source = ip(question.source).into_iter().collect();
    let mut context = vec![attribute("method", question.method), attribute("era", question.era)];
    context.extend(optional("protocol_version", question.protocol_version));
    let records = [("time", record(time)), ("source", record(source)), ("destination", record(destination))];
    // Names within each are different, so none fails.
    context.extend(records.into_iter().filter_map(|(name, record)| Some((name.to_owned(), record.ok()?))));
    context
}

fn annotations_record(annotations: Annotations) -> Result<Expression, Unaskable> {
    let Annotations { listed, read_only, destructive, idempotent, open_world } = annotations;
    let hint = |name: &str, value| (name.to_owned(), Expression::new_bool(value));
    record(vec![
        hint("listed", listed),
        hint("readOnlyHint", read_only),
        hint("destructiveHint", destructive),
        hint("idempotentHint", idempotent),
        hint("openWorldHint", open_world),
    ])
}

pub(super) fn attribute(name: &str, value: &str) -> (String, Expression) {
    (name.to_owned(), Expression::new_string(value.to_owned()))
}

pub(super) fn optional(name: &str, value: Option<impl AsRef<str>>) -> Option<(String, Expression)> {
    value.map(|value| attribute(name, value.as_ref()))
}

pub(super) fn record(fields: Attributes) -> Result<Expression, Unaskable> {
    Expression::new_record(fields).map_err(|_| Unaskable)
}

pub(super) fn entity(
    uid: EntityUid,
    attributes: Attributes,
    parents: impl IntoIterator<Item = EntityUid>,
) -> Result<Entity, Unaskable> {
    Entity::new_with_tags(uid, attributes, parents, []).map_err(|_| Unaskable)
}
