//! What is said at STS about who a session is for, within its limits.

use aws_lc_rs::digest;

use crate::{
    config::{RoleProof, SessionTag, SourceIdentity},
    credentials::Asking,
    identity::{Caller, Workload},
};

/// Most characters of a session's name and of a source identity (AWS STS API Reference, `AssumeRole`).
const NAME: usize = 64;
/// Most characters of a tag's value (IAM User Guide, "Rules for adding session tags").
const TAG: usize = 256;
/// Hex digits of the digest that stands for what was cut or replaced.
const DIGEST: usize = 12;

/// One session.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(in crate::credentials) struct Session {
    pub(super) name: String,
    pub(super) source_identity: Option<String>,
    pub(super) tags: Vec<(&'static str, String)>,
    /// Who vouches for the caller: another provider's of the same name is somebody else.
    pub(super) issuer: Option<String>,
}

impl Session {
    pub(super) fn new(proof: &RoleProof, endpoint: &str, asking: &Asking<'_>) -> Self {
        let Asking { workload, caller, .. } = asking;
        let name = match caller {
            Some(caller) => name_of(&format!("{}+{}", caller.sub, workload.id)),
            None => name_of(&workload.id),
        };
        let issuer = caller.map(|caller| caller.issuer.clone());
        let RoleProof::Agent { tags, source_identity, .. } = proof else {
            return Self { name, source_identity: None, tags: Vec::new(), issuer };
        };
        let source_identity = match source_identity {
            SourceIdentity::Caller => Some(name_of(caller.map_or(&workload.id, |caller| &caller.sub))),
            SourceIdentity::Workload => Some(name_of(&workload.id)),
            SourceIdentity::None => None,
        };
        let tags = tags.iter().filter_map(|tag| tag_of(*tag, endpoint, workload, *caller)).collect();
        Self { name, source_identity, tags, issuer }
    }
}

fn tag_of(
    tag: SessionTag,
    endpoint: &str,
    workload: &Workload,
    caller: Option<&Caller>,
) -> Option<(&'static str, String)> {
    let pod = workload.pod.as_ref();
    let (key, value) = match tag {
        SessionTag::Workload => ("weir-workload", Some(workload.id.as_str())),
        SessionTag::WorkloadKind => ("weir-workload-kind", Some(workload.kind.name())),
        SessionTag::Unit => ("weir-unit", workload.unit.as_deref()),
        SessionTag::Container => ("weir-container", workload.container.as_ref().map(|container| container.id.as_str())),
        SessionTag::Pod => ("weir-pod", pod.map(|pod| pod.uid.as_str())),
        SessionTag::Namespace => ("weir-namespace", pod.and_then(|pod| pod.namespace.as_deref())),
        SessionTag::ServiceAccount => ("weir-service-account", pod.and_then(|pod| pod.service_account.as_deref())),
        SessionTag::Caller => ("weir-caller", caller.map(|caller| caller.sub.as_str())),
        SessionTag::CallerIssuer => ("weir-caller-issuer", caller.map(|caller| caller.issuer.as_str())),
        SessionTag::Endpoint => ("weir-endpoint", Some(endpoint)),
    };
    value.filter(|value| !value.is_empty()).map(|value| (key, value_of(value)))
}

/// A session's name: `[\w+=,.@-]{2,64}`. `/` becomes `=`, whatever else does not fit `_`.
fn name_of(text: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || "_+,.@-".contains(c);
    let plain = text.chars().map(|c| match c {
        '/' => '=',
        c if fits(c) => c,
        _ => '_',
    });
    bounded(plain.collect(), text.chars().all(|c| c == '/' || fits(c)), text, NAME)
}

/// A tag's value: letters, digits, blanks and `_.:/=+-@`.
fn value_of(text: &str) -> String {
    let fits = |c: char| c.is_alphanumeric() || " _.:/=+-@".contains(c);
    let plain = text.chars().map(|c| if fits(c) { c } else { '_' });
    bounded(plain.collect(), text.chars().all(fits), text, TAG)
}

/// At most `most` characters; what says less than it did ends in a digest of the whole, so that no two become the same.
fn bounded(plain: String, is_whole: bool, text: &str, most: usize) -> String {
    let length = plain.chars().count();
    if is_whole && (2..=most).contains(&length) {
        return plain;
    }
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).take(DIGEST / 2).collect();
    let kept: String = plain.chars().take(most - DIGEST - 1).collect();
    format!("{kept}-{hex}")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_say_who_it_is_for() {
        assert_eq!(name_of("systemd/billing@1.service"), "systemd=billing@1.service");
        assert_eq!(name_of("process/app"), "process=app");
        let container = format!("container/{}", "0123456789abcdef".repeat(4));
        let name = name_of(&container);
        assert_eq!(name.len(), 64);
        assert!(name.starts_with("container=0123456789abcdef"), "{name}");
        assert_ne!(name, name_of(&container.replace("abcdef", "abcdee")));
        assert_ne!(name_of("a b"), name_of("a_b"));
        assert_ne!(name_of("a=b"), name_of("a/b"));
        assert!(name_of("").len() >= 2);
    }

    proptest! {
        #[test]
        fn whatever_it_is_called_it_fits(text in ".{0,300}") {
            let (name, value) = (name_of(&text), value_of(&text));
            prop_assert!((2..=64).contains(&name.len()), "{name}");
            prop_assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || "_+=,.@-".contains(c)), "{name}");
            prop_assert!(value.chars().count() <= 256, "{value}");
        }

        #[test]
        fn different_ones_stay_different(one in "[a-c/=_ é]{0,80}", other in "[a-c/=_ é]{0,80}") {
            prop_assert_eq!(one == other, name_of(&one) == name_of(&other));
            prop_assert_eq!(one == other, value_of(&one) == value_of(&other));
        }
    }
}
