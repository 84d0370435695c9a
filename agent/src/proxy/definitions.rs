//! The steps of a call that ask what is known of a server's definitions: a list is compared with what was trusted before it is
//! delivered, and what waits to be accepted is not called.

use std::{borrow::Cow, fmt};

use bytes::Bytes;
use jiff::Timestamp;

use super::{Shared, calls::OpenCall, guards, judge, record::ExchangeFacts};
use crate::{
    audit::event::{Agent, Catalogue, CatalogueKind, DEFINITIONS, Defined, Event, Life, What},
    config::{GuardStance, Permission},
    guard::{
        Finding,
        definitions::{Definition, Entry, Fingerprint, Item, Noted, Offered, Place},
    },
    mask::Tool,
    mcp::{Class, Era, Message, Params, Refusal},
    policy::listing::{Kind, Page},
};

/// As records name it.
const POLICY: &str = "guard/rug-pull";

/// What a client is told that calls what waits.
const HELD: &str = "its definition is not what it was when it was first seen here, and nobody has accepted it since; \
     use something else, or ask the host's operator (weir catalog list)";

/// Most entries that a verdict names.
const NAMED: usize = 3;

/// Longest name in a verdict, in bytes.
const NAME: usize = 64;

/// Why an entry is not delivered as a matter of course.
enum Doubt {
    /// Nothing tells it from others.
    Unnamed,
    /// It is not as it was trusted; these members differ.
    Changed { name: String, members: Vec<String> },
    /// There is no room, or no way, to remember it.
    Unremembered,
}

/// Why a message may not be sent: what it uses waits to be accepted.
pub(super) fn held(shared: &Shared, facts: &ExchangeFacts, message: &Message, method: &str) -> Option<Refusal> {
    let item = Item::used_by(method)?;
    let endpoint = facts.endpoint.name();
    if !shared.definitions.holds_anything(endpoint) {
        return None;
    }
    let name = Params::of(message).target?;
    let server = Server::of(facts);
    let is_held = shared.definitions.holds(endpoint, server.place(), item, &name);
    is_held.then(|| Refusal::new(POLICY, Class::Denied, HELD))
}

/// Compares a list, as its reader would get it, with what was trusted of it; what is new is remembered first. Returns what there
/// is to say, and the message without what may not be delivered.
pub(super) async fn compare(shared: &Shared, call: &OpenCall, message: &Bytes) -> Option<(Finding, Option<Bytes>)> {
    let (kind, item) = (Kind::of(&call.method)?, Item::listed_by(&call.method)?);
    let permission = match shared.definitions.stance(call.facts.endpoint.name()) {
        GuardStance::Off => return None,
        GuardStance::Alert => Permission::Allow,
        GuardStance::Deny => Permission::Deny,
    };
    let result = guards::result_of(message)?;
    let page = Page::read(kind, std::str::from_utf8(&result).ok()?)?;
    let list = List { facts: &call.facts, server: Server::of(&call.facts), kind, item, entries: read(item, &page) };
    if list.entries.iter().all(|entry| entry.as_ref().is_some_and(|entry| list.is_settled(shared, entry))) {
        return None;
    }
    let doubts = list.note(shared, message, permission).await.unwrap_or_else(|error| {
        tracing::error!(error, "what a server lists cannot be remembered");
        list.unremembered(shared)
    });
    let reason = describe(item, &doubts)?;
    let without = (permission == Permission::Deny).then(|| {
        let keep: Vec<bool> = doubts.iter().map(Option::is_none).collect();
        judge::replace(message, &[(&result, page.keep(&keep).as_bytes())])
    });
    Some((Finding { policy: POLICY, reason, permission }, without))
}

/// What is watched of a page's entries; none of one without a name.
fn read(item: Item, page: &Page<'_>) -> Vec<Option<Listed>> {
    let listed = |(name, text): (Option<&str>, &str)| {
        let definition = Definition::read(item, text)?;
        Some(Listed { name: name?.to_owned(), fingerprint: definition.fingerprint(), definition })
    };
    page.entries().map(listed).collect()
}

/// An entry of a list.
struct Listed {
    name: String,
    fingerprint: Fingerprint,
    definition: Definition,
}

/// One page of a list.
struct List<'l> {
    facts: &'l ExchangeFacts,
    server: Server<'l>,
    kind: Kind,
    item: Item,
    entries: Vec<Option<Listed>>,
}

impl List<'_> {
    fn endpoint(&self) -> &str {
        self.facts.endpoint.name()
    }

    fn is_settled(&self, shared: &Shared, entry: &Listed) -> bool {
        let known = &shared.definitions;
        known.is_settled(self.endpoint(), self.server.place(), self.item, &entry.name, entry.fingerprint)
    }

    /// Remembers what is new, once that is recorded. Returns what there is to doubt of each entry; the error is for the operator.
    async fn note(
        &self,
        shared: &Shared,
        message: &Bytes,
        permission: Permission,
    ) -> Result<Vec<Option<Doubt>>, String> {
        let masked = self.masked(shared, message);
        let server = shared.masked_text(self.endpoint(), &self.server.to_string());
        let edit = shared.definitions.edit(self.endpoint()).await.map_err(|error| error.to_string())?;
        let Some(mut edit) = edit else { return Ok(Vec::new()) };
        let (mut seen, mut changed, mut doubts) = (Vec::new(), Vec::new(), Vec::new());
        for (at, entry) in self.entries.iter().enumerate() {
            let Some(Listed { name, fingerprint, definition }) = entry else {
                doubts.push(Some(Doubt::Unnamed));
                continue;
            };
            let masked = masked.get(at).and_then(Option::as_ref);
            let shown = masked.map_or("[masked]", |masked| &masked.name);
            let offered = Offered { name, shown, definition, masked: masked.map(|masked| &masked.definition) };
            let (noted, entry) = edit.note(self.server.place(), &server, self.item, offered, Timestamp::now());
            let entry = entry.filter(|_| noted != Noted::NoRoom);
            match (noted, entry) {
                (Noted::New, Some(entry)) => seen.push(defined(entry, *fingerprint)),
                (Noted::Changed, Some(entry)) => changed.push(defined(entry, *fingerprint)),
                _ => {}
            }
            doubts.push(doubt(noted, entry, *fingerprint, permission));
        }
        for (kind, definitions) in [(CatalogueKind::Seen, seen), (CatalogueKind::Changed, changed)] {
            record(shared, kind, self.endpoint(), definitions).await?;
        }
        edit.keep().await.map_err(|error| error.to_string())?;
        Ok(doubts)
    }

    /// The entries as they may be kept; none where a mask leaves no list.
    fn masked(&self, shared: &Shared, message: &Bytes) -> Vec<Option<Listed>> {
        let masked = shared.mask(self.endpoint(), Tool::Without, message);
        let page = masked.at(&["result"]).and_then(|result| Page::read(self.kind, result));
        // Masks may take entries out of recognition, but not away.
        page.filter(|page| page.entries().len() == self.entries.len())
            .map_or_else(Vec::new, |page| read(self.item, &page))
    }

    /// What is doubted where nothing can be remembered: all that is not trusted already.
    fn unremembered(&self, shared: &Shared) -> Vec<Option<Doubt>> {
        let is_settled = |entry: &Option<Listed>| entry.as_ref().is_some_and(|entry| self.is_settled(shared, entry));
        self.entries.iter().map(|entry| (!is_settled(entry)).then_some(Doubt::Unremembered)).collect()
    }
}

/// Why an entry is doubted, where it is. A form that is trusted still may be used while another one waits, unless that is to be denied.
fn doubt(noted: Noted, entry: Option<&Entry>, fingerprint: Fingerprint, permission: Permission) -> Option<Doubt> {
    let Some(entry) = entry else { return Some(Doubt::Unremembered) };
    match noted {
        Noted::Trusted | Noted::New => None,
        Noted::Waiting if permission == Permission::Allow && entry.trusts(fingerprint) => None,
        Noted::Changed | Noted::Waiting => {
            let members = entry.changed_members().into_iter().map(str::to_owned).collect();
            Some(Doubt::Changed { name: entry.name.clone(), members })
        }
        Noted::NoRoom => Some(Doubt::Unremembered),
    }
}

/// A definition as records say it.
pub(crate) fn defined(entry: &Entry, fingerprint: Fingerprint) -> Defined {
    let was = entry.trusted.first().map(|form| form.fingerprint).filter(|was| *was != fingerprint);
    let members = if was.is_some() { entry.changed_members() } else { Vec::new() };
    Defined {
        item: entry.item.as_str().to_owned(),
        name: entry.name.clone(),
        server: entry.server.clone(),
        fingerprint: fingerprint.to_string(),
        was: was.map(|was| was.to_string()),
        members: members.into_iter().map(str::to_owned).collect(),
    }
}

async fn record(shared: &Shared, kind: CatalogueKind, endpoint: &str, definitions: Vec<Defined>) -> Result<(), String> {
    for definitions in definitions.chunks(DEFINITIONS) {
        let (endpoint, definitions) = (endpoint.to_owned(), definitions.to_vec());
        let life = Life::Catalogue(Catalogue { kind, endpoint, by: None, definitions, reason: None });
        let event = Event { time: Timestamp::now(), what: What::Agent(Agent::Life(life)) };
        shared.log.append(event).await.map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// What there is to say, in one sentence; none where nothing is doubted.
fn describe(item: Item, doubts: &[Option<Doubt>]) -> Option<String> {
    let item = item.as_str();
    let mut said = Vec::new();
    let mut others = 0_usize;
    for doubt in doubts.iter().flatten() {
        match doubt {
            Doubt::Changed { name, members } if said.len() < NAMED => {
                let name = &name[..name.floor_char_boundary(NAME)];
                said.push(match members.as_slice() {
                    [] => format!("{item} {name} is not known to be trusted"),
                    members => format!("{item} {name} is not as it was trusted ({})", members.join(", ")),
                });
            }
            _ => others += 1,
        }
    }
    let others = match (others, said.is_empty()) {
        (0, true) => return None,
        (0, false) => String::new(),
        (others, true) => format!("{others} cannot be told apart or remembered, and are not trusted"),
        (others, false) => format!(" and {others} more"),
    };
    Some(format!("{}{others}; weir catalog list shows them", said.join(", ")))
}

/// Where an exchange's server is.
struct Server<'f> {
    host: Cow<'f, str>,
    port: u16,
    path: Option<&'f str>,
}

impl<'f> Server<'f> {
    fn of(facts: &'f ExchangeFacts) -> Self {
        let destination = facts.flow.route(None).dst;
        let host = facts.hostname.as_deref().map_or_else(|| destination.ip().to_string().into(), Cow::Borrowed);
        // The legacy transport's path is the server's own choice for each session.
        let path = facts.http.path.split('?').next().filter(|_| facts.era != Era::Sse);
        Self { host, port: destination.port(), path }
    }

    fn place(&self) -> Place<'_> {
        Place { host: &self.host, port: self.port, path: self.path }
    }
}

impl fmt::Display for Server<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}{}", self.host, self.port, self.path.unwrap_or_default())
    }
}
