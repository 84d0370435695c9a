//! People signing in and out.

use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use crate::identity::{Caller, Workload};

/// See the module.
#[derive(Debug, Clone)]
pub struct Login {
    /// What happened.
    pub kind: LoginKind,
    /// Who it is about, once that is verified.
    pub caller: Option<Arc<Caller>>,
    /// Where it was asked for, and by which process; absent where that could not be told.
    pub workload: Option<Workload>,
    /// The user who asked.
    pub uid: u32,
    /// The user who logged in, whoever the process has become since.
    pub login_uid: Option<u32>,
    /// How long it holds; of one that succeeded only.
    pub until: Option<Timestamp>,
    /// Why it was refused.
    pub reason: Option<String>,
}

/// `event.login.kind`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LoginKind {
    /// Somebody proved who they are, and the session is theirs from now on.
    SignedIn,
    /// Somebody did not.
    Refused,
    /// Somebody gave the session back.
    SignedOut,
    /// The time was over.
    Expired,
}
