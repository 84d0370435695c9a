//! `weir policy explain`.

use std::fmt;

use jiff::Timestamp;
use serde::Serialize;

use super::Asking;
use crate::{
    admin::{Context, Ended, Failure},
    policy::replay::{Answer, Opinion},
};

/// Arguments of `weir policy explain`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// The call's id, or its beginning or end
    call: String,
    #[command(flatten)]
    asking: Asking,
}

#[derive(Debug, Serialize)]
struct Explanation {
    time: Timestamp,
    call_id: String,
    workload: String,
    endpoint: String,
    what: String,
    /// What was decided, by what, of which version.
    was: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    was_version: Option<String>,
    /// What the policies that are asked say: a verdict, or `undecidable`.
    says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    version: String,
    /// Each policy whose scope fits.
    opinions: Vec<Opinion>,
}

/// Explains one call.
///
/// # Errors
/// The policies are wrong, the log cannot be read, or no call or several have that id.
pub(super) fn execute(args: &ExplainArgs, context: &Context) -> Result<Ended, Failure> {
    let config = context.load()?;
    let policies = args.asking.policies(&config)?;
    let mut found: Option<Explanation> = None;
    args.asking.each(&config, |recorded, catalogue| {
        let id = recorded.call_id();
        if !(id.starts_with(&args.call) || id.ends_with(&args.call)) {
            return Ok(());
        }
        if let Some(other) = &found {
            let several = format!("several calls have ids like that: {} and {id}; give more of it", other.call_id);
            return Err(Failure::Usage(several));
        }
        let (says, policy, why) = match recorded.ask(&policies, catalogue) {
            Answer::Undecidable { why } => ("undecidable", None, Some(why)),
            Answer::Decided(verdict) => {
                let ground = verdict.ground();
                (
                    verdict.action(),
                    ground.policy.as_deref().map(str::to_owned),
                    ground.reason.as_deref().map(str::to_owned),
                )
            }
        };
        found = Some(Explanation {
            time: recorded.time(),
            call_id: id.to_owned(),
            workload: recorded.workload().to_owned(),
            endpoint: recorded.endpoint().to_owned(),
            what: recorded.what(),
            was: recorded.verdict.action.clone(),
            was_policy: recorded.verdict.policy.clone(),
            was_version: recorded.verdict.version.clone(),
            says: says.to_owned(),
            policy,
            why,
            version: policies.version().to_string(),
            opinions: recorded.opinions(&policies, catalogue),
        });
        Ok(())
    })?;
    let missing = || {
        let call = &args.call;
        Failure::Failed(format!(
            "no call {call} that policies are asked about is in the log; `weir audit query --call {call}` shows what is"
        ))
    };
    context.print(&found.ok_or_else(missing)?)?;
    Ok(Ended::Done)
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { time, call_id, workload, endpoint, what, was, was_policy, was_version, .. } = self;
        writeln!(f, "{time:.0} #{call_id}\n{workload} at {endpoint}: {what}")?;
        write!(f, "recorded   {was}{}", by(was_policy.as_deref()))?;
        writeln!(f, "{}", was_version.as_ref().map(|version| format!(", version {version}")).unwrap_or_default())?;
        let Self { says, policy, why, version, opinions, .. } = self;
        write!(f, "now        {says}{}, version {version}", by(policy.as_deref()))?;
        if let Some(why) = why {
            write!(f, ": {why}")?;
        }
        for Opinion { policy, effect, says, reason } in opinions {
            write!(f, "\n           {effect} {policy} {says}")?;
            if let Some(reason) = reason {
                write!(f, ": {reason}")?;
            }
        }
        if opinions.is_empty() {
            write!(f, "\n           no policy is about this")?;
        }
        Ok(())
    }
}

fn by(policy: Option<&str>) -> String {
    policy.map(|policy| format!(" by {policy}")).unwrap_or_default()
}
