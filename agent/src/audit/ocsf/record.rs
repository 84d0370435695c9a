//! The shape of a record: OCSF's attributes, then ours.

use std::{borrow::Cow, collections::BTreeMap};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use uuid::Uuid;

use super::{
    super::event::{Mcp, Reconciliation, Verdict},
    EXTENSION_UID, EXTENSION_VERSION, OCSF_VERSION,
    cloud::{Cloud, Device},
    parts::{
        Actor, ApiPart, App, Connection, Endpoint, FlowPart, HttpPart, HttpResponse, Lifecycle, MessageContext, Policy,
        Resource, Traffic,
    },
};
use crate::{
    credentials::Used,
    identity::{Caller, Workload},
};

/// An OCSF class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    BaseEvent,
    Authentication,
    NetworkActivity,
    HttpActivity,
    ApplicationLifecycle,
    ApiActivity,
}

impl Class {
    const fn uid(self) -> u32 {
        match self {
            Self::BaseEvent => 0,
            Self::Authentication => 3002,
            Self::NetworkActivity => 4001,
            Self::HttpActivity => 4002,
            Self::ApplicationLifecycle => 6002,
            Self::ApiActivity => 6003,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::BaseEvent => "Base Event",
            Self::Authentication => "Authentication",
            Self::NetworkActivity => "Network Activity",
            Self::HttpActivity => "HTTP Activity",
            Self::ApplicationLifecycle => "Application Lifecycle",
            Self::ApiActivity => "API Activity",
        }
    }

    const fn category(self) -> (u32, &'static str) {
        match self {
            Self::BaseEvent => (0, "Uncategorized"),
            Self::Authentication => (3, "Identity & Access Management"),
            Self::NetworkActivity | Self::HttpActivity => (4, "Network Activity"),
            Self::ApplicationLifecycle | Self::ApiActivity => (6, "Application Activity"),
        }
    }

    const fn profiles(self) -> &'static [&'static str] {
        match self {
            Self::BaseEvent => &["weir/weir"],
            Self::NetworkActivity | Self::HttpActivity => &["host", "security_control", "weir/weir"],
            Self::Authentication | Self::ApplicationLifecycle => &["host", "weir/weir"],
            Self::ApiActivity => &["ai_operation", "security_control", "weir/weir"],
        }
    }
}

/// What happened, in the words of the class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Activity<'a> {
    pub(super) class: Class,
    pub(super) id: u32,
    pub(super) name: &'a str,
}

/// `severity_id`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Severity {
    Informational = 1,
    Low = 2,
    Medium = 3,
}

/// `status_id`, its caption in `status`, and `status_code`: of a failure, which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    Unknown,
    Success,
    Failure(Option<&'static str>),
    Other(&'static str),
}

impl Status {
    const fn id(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Success => 1,
            Self::Failure(_) => 2,
            Self::Other(_) => 99,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Success => "Success",
            Self::Failure(_) => "Failure",
            Self::Other(name) => name,
        }
    }

    const fn code(self) -> Option<&'static str> {
        match self {
            Self::Failure(code) => code,
            Self::Unknown | Self::Success | Self::Other(_) => None,
        }
    }
}

/// What every record states.
#[derive(Debug)]
pub(super) struct Base<'a> {
    pub(super) activity: Activity<'a>,
    pub(super) time: i64,
    pub(super) severity: Severity,
    pub(super) status: Status,
    pub(super) status_detail: Option<&'a str>,
    pub(super) message: String,
    pub(super) duration: Option<u64>,
    pub(super) metadata: Metadata,
}

/// What varies from record to record in `metadata`.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) uid: Uuid,
    /// Joins the records of one call or one flow.
    pub(super) correlation: Option<Uuid>,
    pub(super) truncated: bool,
    /// Whether the record has `cloud`.
    pub(super) in_cloud: bool,
}

impl Serialize for Base<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { activity, time, severity, status, status_detail, message, duration, metadata } = self;
        let Activity { class, id, name } = *activity;
        let (category_uid, category_name) = class.category();
        let mut out = serializer.serialize_struct("Base", 16)?;
        out.serialize_field("class_uid", &class.uid())?;
        out.serialize_field("class_name", class.name())?;
        out.serialize_field("category_uid", &category_uid)?;
        out.serialize_field("category_name", category_name)?;
        out.serialize_field("activity_id", &id)?;
        out.serialize_field("activity_name", name)?;
        out.serialize_field("type_uid", &(class.uid() * 100 + id))?;
        out.serialize_field("time", time)?;
        out.serialize_field("severity_id", &(*severity as u32))?;
        out.serialize_field("status_id", &status.id())?;
        out.serialize_field("status", status.name())?;
        if let Some(code) = status.code() {
            out.serialize_field("status_code", code)?;
        }
        if let Some(detail) = status_detail {
            out.serialize_field("status_detail", detail)?;
        }
        out.serialize_field("message", message)?;
        if let Some(duration) = duration {
            out.serialize_field("duration", duration)?;
        }
        out.serialize_field("metadata", &metadata.of(class))?;
        out.end()
    }
}

impl Metadata {
    pub(super) fn of(&self, class: Class) -> impl Serialize + use<> {
        #[derive(Serialize)]
        struct Written {
            version: &'static str,
            uid: Uuid,
            #[serde(skip_serializing_if = "Option::is_none")]
            correlation_uid: Option<Uuid>,
            product: App,
            profiles: &'static [&'static str],
            extensions: [Extension; 1],
            #[serde(skip_serializing_if = "Option::is_none")]
            is_truncated: Option<bool>,
        }
        #[derive(Serialize)]
        struct Extension {
            name: &'static str,
            uid: &'static str,
            version: &'static str,
        }
        Written {
            version: OCSF_VERSION,
            uid: self.uid,
            correlation_uid: self.correlation,
            product: App::WEIR,
            profiles: if self.in_cloud { &["cloud", "host", "weir/weir"] } else { class.profiles() },
            extensions: [Extension { name: "weir", uid: EXTENSION_UID, version: EXTENSION_VERSION }],
            is_truncated: self.truncated.then_some(true),
        }
    }
}

/// `action_id`, `disposition_id` and `policy` of the profile `security_control`.
#[derive(Debug, Serialize)]
pub(super) struct Control<'a> {
    pub(super) action_id: u32,
    pub(super) disposition_id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) policy: Option<Policy<'a>>,
}

/// Who, from where, to where.
#[derive(Debug, Serialize)]
pub(super) struct Parties<'a> {
    pub(super) actor: Actor<'a>,
    pub(super) src_endpoint: Endpoint<'a>,
    pub(super) dst_endpoint: Endpoint<'a>,
}

/// Our own objects that calls, requests and flows share.
#[derive(Debug, Serialize)]
pub(super) struct Ours<'a> {
    pub(super) workload: &'a Workload,
    pub(super) verdict: Cow<'a, Verdict>,
    pub(super) flow: FlowPart,
}

/// API Activity.
#[derive(Debug, Serialize)]
pub(super) struct CallRecord<'a> {
    #[serde(flatten)]
    pub(super) base: Base<'a>,
    #[serde(flatten)]
    pub(super) control: Control<'a>,
    #[serde(flatten)]
    pub(super) parties: Parties<'a>,
    pub(super) api: ApiPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resources: Option<[Resource<'a>; 1]>,
    pub(super) http_request: HttpPart<'a>,
    pub(super) message_context: MessageContext<'a>,
    pub(super) mcp: &'a Mcp,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<&'a Caller>,
    #[serde(flatten)]
    pub(super) ours: Ours<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<&'a Used>,
    pub(super) masked: &'a BTreeMap<String, u64>,
}

/// HTTP Activity.
#[derive(Debug, Serialize)]
pub(super) struct HttpRecord<'a> {
    #[serde(flatten)]
    pub(super) base: Base<'a>,
    #[serde(flatten)]
    pub(super) control: Control<'a>,
    #[serde(flatten)]
    pub(super) parties: Parties<'a>,
    pub(super) http_request: HttpPart<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) http_response: Option<HttpResponse>,
    pub(super) connection_info: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) credential: Option<&'a Used>,
    pub(super) mcp: OnlyEndpoint<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) caller: Option<&'a Caller>,
    #[serde(flatten)]
    pub(super) ours: Ours<'a>,
}

/// Network Activity.
#[derive(Debug, Serialize)]
pub(super) struct FlowRecord<'a> {
    #[serde(flatten)]
    pub(super) base: Base<'a>,
    #[serde(flatten)]
    pub(super) control: Control<'a>,
    #[serde(flatten)]
    pub(super) parties: Parties<'a>,
    pub(super) connection_info: Connection,
    pub(super) traffic: Traffic,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mcp: Option<OnlyEndpoint<'a>>,
    #[serde(flatten)]
    pub(super) ours: Ours<'a>,
}

/// `event.mcp` of a record that is not a message.
#[derive(Debug, Serialize)]
pub(super) struct OnlyEndpoint<'a> {
    pub(super) endpoint: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<Counted>,
}

/// Events of a stream that was no call's.
#[derive(Debug, Serialize)]
pub(super) struct Counted {
    pub(super) count: u64,
}

/// Application Lifecycle.
#[derive(Debug, Serialize)]
pub(super) struct AgentRecord<'a> {
    #[serde(flatten)]
    pub(super) base: Base<'a>,
    pub(super) app: App,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cloud: Option<Cloud<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) device: Option<Device<'a>>,
    pub(super) lifecycle: Lifecycle<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reconciliation: Option<&'a Reconciliation>,
}
