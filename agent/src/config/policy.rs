//! `[policy]`: who may do what.

use std::path::PathBuf;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::load::{Findings, Step};

/// `[policy]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Policy {
    /// Files of Cedar policies. They are read again when they change, all or none.
    pub files: Vec<PathBuf>,
    /// What becomes of a message that no policy matches.
    pub default: Stance,
    /// The time zone of `context.time`: `UTC`, or a name as in `Europe/Berlin`.
    pub time_zone: String,
}

/// `policy.default`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Stance {
    /// It goes on: policies say what is forbidden.
    #[default]
    Allow,
    /// It is denied: policies say what is permitted.
    Deny,
}

impl Stance {
    /// As it is configured.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self { files: Vec::new(), default: Stance::default(), time_zone: "UTC".into() }
    }
}

impl Policy {
    /// The time zone. `UTC` needs no tzdata: images from scratch have none.
    ///
    /// # Errors
    /// This host does not know it.
    pub fn zone(&self) -> Result<TimeZone, jiff::Error> {
        if self.time_zone == "UTC" { Ok(TimeZone::UTC) } else { TimeZone::get(&self.time_zone) }
    }
}

/// Checks what the table itself can tell.
pub(super) fn meaning(policy: &Policy, findings: &mut Findings<'_>) {
    for (i, path) in policy.files.iter().enumerate() {
        let place = ["policy".into(), "files".into(), Step::Item(i)];
        if !path.is_absolute() {
            findings.add(
                &place,
                "a relative path",
                "the agent has no working directory of yours: begin the path with `/`",
            );
        }
        if policy.files[..i].contains(path) {
            findings.add(&place, format!("`{}` twice", path.display()), "keep one of them");
        }
    }
    if policy.zone().is_err() {
        let message = format!("this host does not know the time zone `{}`", policy.time_zone.escape_debug());
        findings.add(
            &["policy".into(), "time_zone".into()],
            message,
            "use `UTC`, or a name as in `Europe/Berlin`; tzdata has them",
        );
    }
}
