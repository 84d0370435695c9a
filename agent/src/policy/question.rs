//! One message, as policy sees it.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Annotations, Principal, arguments::Fault};
use crate::identity::Caller;

/// One message and what surrounds it.
#[derive(Debug, Clone)]
pub struct Question<'a> {
    /// Who asks.
    pub principal: &'a Principal,
    /// For whom, where a verified token says.
    pub caller: Option<&'a Caller>,
    /// The endpoint's configured name.
    pub endpoint: &'a str,
    /// The method, as it was sent.
    pub method: &'a str,
    /// What the method is about: the tool, prompt or resource that `params` names, decoded.
    pub target: Option<&'a str>,
    /// `params`, an object that was checked to have one reading.
    pub params: Option<&'a [u8]>,
    /// `modern`, `session` or `sse`.
    pub era: &'a str,
    /// The revision, where it is known.
    pub protocol_version: Option<&'a str>,
    /// When it came.
    pub time: Timestamp,
    /// The application's address.
    pub source: IpAddr,
    /// Where the application meant to go.
    pub destination: (IpAddr, u16),
    /// The name that it asked for.
    pub hostname: Option<&'a str>,
    /// What the server said of the tool.
    pub annotations: Annotations,
}

/// What a message is about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// A tool, by its name.
    Tool(String),
    /// A prompt, by its name.
    Prompt(String),
    /// A resource, by its URI.
    Resource(String),
    /// The endpoint itself.
    Endpoint,
}

impl Subject {
    /// What a message is about; `None` where its method needs a name and it has none that can be read.
    pub fn of(question: &Question<'_>) -> Option<Self> {
        let named = || question.target.map(str::to_owned);
        match question.method {
            "tools/call" => named().map(Self::Tool),
            "prompts/get" => named().map(Self::Prompt),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => named().map(Self::Resource),
            "completion/complete" => completed(question.params),
            _ => Some(Self::Endpoint),
        }
    }

    /// The name, as it stands in an entity's id behind the endpoint's.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tool(name) | Self::Prompt(name) | Self::Resource(name) => Some(name),
            Self::Endpoint => None,
        }
    }
}

/// What a completion is for (`params.ref`); `None` where that cannot be read.
fn completed(params: Option<&[u8]>) -> Option<Subject> {
    #[derive(Deserialize)]
    struct Params {
        r#ref: Reference,
    }
    #[derive(Deserialize)]
    #[serde(tag = "type")]
    enum Reference {
        #[serde(rename = "ref/prompt")]
        Prompt { name: String },
        #[serde(rename = "ref/resource")]
        Resource { uri: String },
    }
    let Params { r#ref } = serde_json::from_slice(params?).ok()?;
    Some(match r#ref {
        Reference::Prompt { name } => Subject::Prompt(name),
        Reference::Resource { uri } => Subject::Resource(uri),
    })
}

/// `params.arguments`, as written; `None` where there are none, or `null`.
pub(super) fn arguments(params: Option<&[u8]>) -> Result<Option<&RawValue>, Fault> {
    #[derive(Deserialize)]
    struct Params<'a> {
        #[serde(borrow, default)]
        arguments: Option<&'a RawValue>,
    }
    let Some(params) = params else { return Ok(None) };
    let params: Params<'_> = serde_json::from_slice(params).map_err(|_| Fault::NotAnObject)?;
    Ok(params.arguments.filter(|arguments| arguments.get() != "null"))
}
