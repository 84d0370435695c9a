//! GitLab's tokens (its "Token overview", prefixes by kind).

use super::token::{Form, plain};
use crate::config::Detector::GitlabToken;

/// The older form, and the routable one with its length and checksum.
const TOKEN: &str =
    r"gl[a-z]{2,5}-(?:t[0-9]_)?(?:[0-9A-Za-z_-]{27,300}\.[0-9a-z]{2}\.[0-9a-z]{7,9}|[0-9A-Za-z_-]{20,64})";

pub(super) const FORMS: &[Form] = &[
    plain(GitlabToken, "glpat-", TOKEN),
    plain(GitlabToken, "gldt-", TOKEN),
    plain(GitlabToken, "glrt-", TOKEN),
    plain(GitlabToken, "glrtr-", TOKEN),
    plain(GitlabToken, "glcbt-", TOKEN),
    plain(GitlabToken, "glptt-", TOKEN),
    plain(GitlabToken, "glft-", TOKEN),
    plain(GitlabToken, "glimt-", TOKEN),
    plain(GitlabToken, "glagent-", r"glagent-[0-9A-Za-z_-]{50,}"),
    plain(GitlabToken, "gloas-", r"gloas-[0-9a-f]{64}"),
    plain(GitlabToken, "glsoat-", r"glsoat-[0-9A-Za-z_-]{20,64}"),
];
