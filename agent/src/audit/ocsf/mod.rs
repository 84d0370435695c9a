//! An [`Event`] as the text of `event`: OCSF 1.9, with our own objects as the extension in `deploy/ocsf/`.
//!
//! | event | class | profiles besides `weir/weir` |
//! |---|---|---|
//! | [`What::Call`], [`What::Unfinished`] | API Activity 6003 | `ai_operation`, `security_control` |
//! | [`What::Http`] | HTTP Activity 4002 | `host`, `security_control` |
//! | [`What::Flow`], [`What::Sighting`] | Network Activity 4001 | `host`, `security_control` |
//! | [`What::Login`] | Authentication 3002 | `host` |
//! | [`What::Agent`], [`What::Attestation`] | Application Lifecycle 6002 | `host` |
//! | a piece of a long payload | Base Event 0 | |

mod activity;
mod attestation;
mod bound;
mod cloud;
mod life;
mod login;
mod part;
mod parts;
mod record;
mod sighting;
mod unfinished;

pub(super) use self::{part::render_part, unfinished::restate};

use std::{borrow::Cow, time::Duration};

use uuid::Uuid;

use self::{
    cloud::{Cloud, Device},
    parts::{
        Actor, ApiPart, App, Connection, Endpoint, FlowPart, HttpPart, HttpResponse, Lifecycle, MessageContext, Policy,
        Resource, Traffic,
    },
    record::{
        Activity, AgentRecord, Base, CallRecord, Class, Control, Counted, FlowRecord, HttpRecord, Metadata,
        OnlyEndpoint, Ours, Parties, Severity, Status,
    },
};
use super::event::{Action, Agent, Call, Event, Flow, FlowEnd, Http, Phase, Requester, Route, Verdict, What};
use crate::identity::Workload;

/// The OCSF version that records state.
pub const OCSF_VERSION: &str = "1.9.0";

/// The version of our extension's schema.
pub const EXTENSION_VERSION: &str = "1.0.0";

/// Our extension's id: OCSF's registry keeps 999 for extensions in development.
pub const EXTENSION_UID: &str = "999";

/// Writes `event` as one line of JSON. `uid` names the event (`event.metadata.uid`).
///
/// # Errors
/// Only when a value cannot be serialised, which no [`Event`] holds.
pub fn render(mut event: Event, uid: Uuid) -> serde_json::Result<String> {
    let truncated = bound::bound(&mut event.what);
    let pen = Pen { time: event.time.as_millisecond(), uid, truncated };
    match &event.what {
        What::Call(call) => serde_json::to_string(&pen.call(call)),
        What::Http(http) => serde_json::to_string(&pen.http(http)),
        What::Flow(flow) => serde_json::to_string(&pen.flow(flow)),
        What::Sighting(sighting) => serde_json::to_string(&pen.sighting(sighting)),
        What::Login(login) => serde_json::to_string(&pen.login(login)),
        What::Agent(agent) => serde_json::to_string(&pen.agent(agent)),
        What::Attestation(attestation) => serde_json::to_string(&pen.attestation(attestation)),
        What::Unfinished(open) => serde_json::to_string(&unfinished::fields(open, pen.time, uid)?),
    }
}

/// What every record of one event shares.
struct Pen {
    time: i64,
    uid: Uuid,
    truncated: bool,
}

impl Pen {
    fn base<'a>(&self, activity: Activity<'a>, rating: (Severity, Status), message: String) -> Base<'a> {
        let (severity, status) = rating;
        let metadata = Metadata { uid: self.uid, correlation: None, truncated: self.truncated, in_cloud: false };
        Base { activity, time: self.time, severity, status, status_detail: None, message, duration: None, metadata }
    }

    fn call<'a>(&self, call: &'a Call) -> CallRecord<'a> {
        let Call { workload, caller, route, mcp, verdict, masked, credential, http } = call;
        let denied = verdict.action != Action::Allow;
        let rating = match mcp.outcome {
            None if denied => (Severity::Medium, Status::Failure(Some("denied"))),
            outcome => activity::outcome(outcome),
        };
        let mut base = self.base(activity::mcp(mcp.method.as_deref()), rating, call_message(call));
        base.status_detail = verdict.reason.as_deref();
        base.duration = mcp.duration_ms;
        base.metadata.correlation = Some(mcp.call_id);
        CallRecord {
            base,
            control: control(verdict.action, verdict.policy.as_deref()),
            parties: parties(workload, route, Some(&mcp.endpoint)),
            api: ApiPart::new(mcp),
            resources: Resource::new(mcp).map(|resource| [resource]),
            http_request: HttpPart::new(http, route),
            message_context: MessageContext::new(mcp),
            mcp,
            caller: caller.as_deref(),
            ours: Ours { workload, verdict: Cow::Borrowed(verdict), flow: FlowPart::of(route) },
            credential: credential.as_deref(),
            masked,
        }
    }

    fn http<'a>(&self, http: &'a Http) -> HttpRecord<'a> {
        let Http {
            workload,
            caller,
            route,
            endpoint,
            request,
            request_id,
            verdict,
            credential,
            status,
            duration,
            events,
        } = http;
        let denied = verdict.action == Action::Deny;
        let rating = match status {
            _ if denied => (Severity::Medium, Status::Failure(Some("denied"))),
            Some(200..400) => (Severity::Informational, Status::Success),
            Some(_) => (Severity::Informational, Status::Failure(None)),
            None if duration.is_none() => (Severity::Informational, Status::Unknown),
            None => (Severity::Low, Status::Failure(Some("broken"))),
        };
        let (id, name) = activity::http(&request.method);
        let activity = Activity { class: Class::HttpActivity, id: id.unwrap_or(99), name };
        let answer = match (denied, status) {
            (true, _) => "denied".to_owned(),
            (false, Some(status)) => status.to_string(),
            (false, None) if duration.is_none() => "allowed".to_owned(),
            (false, None) => "no response".to_owned(),
        };
        let message = format!("{} {} at {endpoint}: {answer}", request.method, request.path);
        let mut base = self.base(activity, rating, message);
        base.status_detail = verdict.reason.as_deref();
        base.duration = duration.map(milliseconds);
        base.metadata.correlation = Some(*request_id);
        HttpRecord {
            base,
            control: control(verdict.action, verdict.policy.as_deref()),
            parties: parties(workload, route, Some(endpoint)),
            http_request: HttpPart::new(request, route),
            http_response: status.map(|code| HttpResponse { code }),
            connection_info: Connection::new(route),
            credential: credential.as_deref(),
            mcp: OnlyEndpoint { endpoint, events: (*events > 0).then_some(Counted { count: *events }) },
            caller: caller.as_deref(),
            ours: Ours { workload, verdict: Cow::Borrowed(verdict), flow: FlowPart::of(route) },
        }
    }

    fn flow<'a>(&self, flow: &'a Flow) -> FlowRecord<'a> {
        let Flow { workload, route, endpoint, tally, end, reason, duration, bytes_out, bytes_in, protocol, shadow } =
            flow;
        let (activity, severity, status) = activity::flow(*end);
        let to = route.hostname.clone().unwrap_or_else(|| route.dst.to_string());
        let message = format!("{protocol} flow to {to}: {}", end.as_str());
        let mut base = self.base(activity, (severity, status), message);
        base.status_detail = reason.as_deref();
        base.duration = Some(milliseconds(*duration));
        base.metadata.correlation = Some(route.flow_id);
        let action = if *end == FlowEnd::Refused { Action::Deny } else { Action::Allow };
        let verdict = Verdict { action, policy: None, version: None, reason: reason.clone() };
        FlowRecord {
            base,
            control: control(action, None),
            parties: parties(workload, route, endpoint.as_deref()),
            connection_info: Connection::new(route),
            traffic: Traffic { bytes: bytes_in + bytes_out, bytes_in: *bytes_in, bytes_out: *bytes_out },
            mcp: endpoint.as_deref().map(|endpoint| OnlyEndpoint { endpoint, events: None }),
            ours: Ours {
                workload,
                verdict: Cow::Owned(verdict),
                flow: FlowPart {
                    id: route.flow_id,
                    end: Some(*end),
                    tally: tally.clone(),
                    protocol: Some(protocol),
                    shadow: shadow.clone(),
                },
            },
        }
    }

    fn agent<'a>(&self, agent: &'a Agent) -> AgentRecord<'a> {
        let none = Lifecycle::default();
        let (id, name, message, lifecycle) = match agent {
            Agent::Started { version, config_digest, boot_id, instance: _ } => {
                let (config_digest, boot_id) = (Some(config_digest.as_str()), Some(boot_id.as_str()));
                let lifecycle = Lifecycle { kind: "started", config_digest, boot_id, ..none };
                (3, "Start", format!("weir {version} started"), lifecycle)
            }
            Agent::Stopped { reason } => {
                let lifecycle = Lifecycle { kind: "stopped", reason: Some(reason), ..none };
                (4, "Stop", format!("weir stopped: {reason}"), lifecycle)
            }
            Agent::Recovered { cut_bytes, lost_records, open_calls } => {
                let (cut, lost, open) = (Some(*cut_bytes), Some(*lost_records), Some(*open_calls));
                let lifecycle =
                    Lifecycle { kind: "recovered", cut_bytes: cut, lost_records: lost, open_calls: open, ..none };
                let message = format!("the log was recovered: {cut_bytes} bytes cut, {open_calls} calls left open");
                (99, "Recover", message, lifecycle)
            }
            Agent::Attached { takeover } => {
                let lifecycle = Lifecycle { kind: "attached", takeover: Some(*takeover), ..none };
                (6, "Enable", "interception attached".to_owned(), lifecycle)
            }
            Agent::Tally(tally) => {
                let message = match tally.stopped {
                    Some(stopped) if stopped > 0 => format!("{stopped} attempts to get past the agent were stopped"),
                    _ => "connections and their records were counted".to_owned(),
                };
                (99, "Tally", message, Lifecycle { kind: "tally", ..none })
            }
            Agent::Detached { by: Requester { uid, pid, login_uid } } => {
                let (who, pid, login_uid) = (Some(*uid), *pid, *login_uid);
                let lifecycle = Lifecycle { kind: "detached", uid: who, pid, login_uid, ..none };
                (7, "Disable", format!("interception detached by uid {uid}"), lifecycle)
            }
            Agent::Life(life) => life::say(life),
        };
        let rating = match agent {
            Agent::Detached { .. } | Agent::Recovered { .. } => (Severity::Medium, Status::Success),
            Agent::Life(life) => life::rate(life),
            Agent::Tally(tally) if tally.stopped > Some(0) => (Severity::Low, Status::Success),
            _ => (Severity::Informational, Status::Success),
        };
        let activity = Activity { class: Class::ApplicationLifecycle, id, name };
        let reconciliation = match agent {
            Agent::Tally(reconciliation) => Some(&**reconciliation),
            _ => None,
        };
        let mut base = self.base(activity, rating, message);
        let instance = match agent {
            Agent::Started { instance, .. } => instance.as_ref(),
            _ => None,
        };
        base.metadata.in_cloud = instance.is_some();
        let (cloud, device) = (instance.map(Cloud::of), instance.map(Device::of));
        AgentRecord { base, app: App::WEIR, cloud, device, lifecycle, reconciliation }
    }
}

fn call_message(call: &Call) -> String {
    let Call { mcp, verdict, .. } = call;
    let method = mcp.method.as_deref().unwrap_or("message");
    let name = mcp.name.as_deref().map(|name| format!(" {name}")).unwrap_or_default();
    let end = match (mcp.outcome, verdict.action, mcp.phase) {
        (Some(outcome), _, _) => outcome.as_str(),
        (None, Action::Deny, _) => "denied",
        (None, Action::Hold, _) => "held",
        (None, Action::Allow, Phase::Request) => "allowed",
        (None, Action::Allow, Phase::ServerRequest) => "asked by the server",
        (None, Action::Allow, Phase::ClientResponse | Phase::Response) => "answered",
    };
    format!("{method}{name} at {}: {end}", mcp.endpoint)
}

fn parties<'a>(workload: &'a Workload, route: &'a Route, endpoint: Option<&'a str>) -> Parties<'a> {
    Parties {
        actor: Actor::new(workload),
        src_endpoint: Endpoint::source(route),
        dst_endpoint: Endpoint::destination(route, endpoint),
    }
}

/// Allowed is 1 in both enumerations; denied is action 2 Denied, disposition 2 Blocked, and so is what is held.
fn control(action: Action, policy: Option<&str>) -> Control<'_> {
    let id = match action {
        Action::Allow => 1,
        Action::Deny | Action::Hold => 2,
    };
    Control { action_id: id, disposition_id: id, policy: policy.map(|name| Policy { name }) }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
