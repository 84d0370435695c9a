//! Signed statements as records. The statement's text is copied as it was signed.

use serde::Serialize;

use super::{
    Pen,
    parts::App,
    record::{Activity, Base, Class, Severity, Status},
};
use crate::audit::checkpoint::statement::{Attestation, Signed};

/// Application Lifecycle, with a statement.
#[derive(Debug, Serialize)]
pub(super) struct AttestationRecord<'a> {
    #[serde(flatten)]
    base: Base<'a>,
    app: App,
    #[serde(skip_serializing_if = "Option::is_none")]
    checkpoint: Option<&'a Signed>,
    #[serde(skip_serializing_if = "Option::is_none")]
    signing_key: Option<&'a Signed>,
}

impl Pen {
    pub(super) fn attestation<'a>(&self, attestation: &'a Attestation) -> AttestationRecord<'a> {
        let (name, message, checkpoint, signing_key) = match attestation {
            Attestation::Checkpoint(signed) => ("Checkpoint", "the log's head was signed", Some(signed), None),
            Attestation::KeyChange(signed) => ("Change Key", "another key signs checkpoints", None, Some(signed)),
        };
        let activity = Activity { class: Class::ApplicationLifecycle, id: 99, name };
        let base = self.base(activity, (Severity::Informational, Status::Success), message.to_owned());
        AttestationRecord { base, app: App::WEIR, checkpoint, signing_key }
    }
}
