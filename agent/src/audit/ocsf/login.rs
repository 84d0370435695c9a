//! Signing in and out, as Authentication.

use jiff::Timestamp;
use serde::Serialize;

use super::{
    super::event::{Login, LoginKind},
    Pen,
    parts::Actor,
    record::{Activity, Base, Class, Severity, Status},
};
use crate::identity::{Caller, Workload};

/// Authentication.
#[derive(Debug, Serialize)]
pub(super) struct LoginRecord<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<Actor<'a>>,
    user: User<'a>,
    service: Service,
    auth_protocol_id: u32,
    auth_protocol: &'static str,
    login: LoginPart,
    #[serde(skip_serializing_if = "Option::is_none")]
    caller: Option<&'a Caller>,
    #[serde(skip_serializing_if = "Option::is_none")]
    workload: Option<&'a Workload>,
}

/// Who signs in, as the provider knows them; unknown until that is verified.
#[derive(Debug, Serialize)]
struct User<'a> {
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    domain: Option<&'a str>,
}

/// What is signed in to.
#[derive(Debug, Serialize)]
struct Service {
    name: &'static str,
}

/// `event.login`.
#[derive(Debug, Serialize)]
struct LoginPart {
    kind: LoginKind,
    uid: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    login_uid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<i64>,
}

impl Pen {
    pub(super) fn login<'a>(&self, login: &'a Login) -> LoginRecord<'a> {
        let Login { kind, caller, workload, uid, login_uid, until, reason } = login;
        let who = caller.as_ref().map_or("unknown", |caller| caller.sub.as_str());
        let (id, name, rating, what) = match kind {
            LoginKind::SignedIn => (1, "Logon", (Severity::Informational, Status::Success), "signed in"),
            LoginKind::Refused => {
                (1, "Logon", (Severity::Medium, Status::Failure(Some("refused"))), "was not signed in")
            }
            LoginKind::SignedOut => (2, "Logoff", (Severity::Informational, Status::Success), "signed out"),
            LoginKind::Expired => (2, "Logoff", (Severity::Informational, Status::Success), "is signed in no more"),
        };
        let activity = Activity { class: Class::Authentication, id, name };
        let mut base = self.base(activity, rating, format!("{who} {what} (user {uid})"));
        base.status_detail = reason.as_deref();
        LoginRecord {
            base,
            actor: workload.as_ref().map(Actor::new),
            user: User { name: who, domain: caller.as_ref().map(|caller| caller.issuer.as_str()) },
            service: Service { name: "Weir" },
            // OpenID.
            auth_protocol_id: 4,
            auth_protocol: "OpenID",
            login: LoginPart {
                kind: *kind,
                uid: *uid,
                login_uid: *login_uid,
                until: until.map(Timestamp::as_millisecond),
            },
            caller: caller.as_deref(),
            workload: workload.as_ref(),
        }
    }
}
