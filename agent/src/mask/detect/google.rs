//! Google's API keys, OAuth client secrets, access and refresh tokens.

use super::token::{Form, plain};
use crate::config::Detector::GoogleKey;

pub(super) const FORMS: &[Form] = &[
    plain(GoogleKey, "AIza", "AIza[0-9A-Za-z_-]{35}"),
    plain(GoogleKey, "GOCSPX-", "GOCSPX-[0-9A-Za-z_-]{28}"),
    plain(GoogleKey, "ya29.", r"ya29\.[0-9A-Za-z_-]{20,}"),
    plain(GoogleKey, "1//0", "1//0[0-9A-Za-z_-]{40,}"),
];
