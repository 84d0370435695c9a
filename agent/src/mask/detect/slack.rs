//! Slack's tokens ("Token types") and incoming webhooks.

use super::token::{Form, plain};
use crate::config::Detector::SlackToken;

const TOKEN: &str = r"xox[abeoprs](?:\.xox[bp])?-(?:[0-9]-)?[0-9A-Za-z-]{24,}";

pub(super) const FORMS: &[Form] = &[
    plain(SlackToken, "xoxa-", TOKEN),
    plain(SlackToken, "xoxb-", TOKEN),
    plain(SlackToken, "xoxe-", TOKEN),
    plain(SlackToken, "xoxe.", TOKEN),
    plain(SlackToken, "xoxo-", TOKEN),
    plain(SlackToken, "xoxp-", TOKEN),
    plain(SlackToken, "xoxr-", TOKEN),
    plain(SlackToken, "xoxs-", TOKEN),
    plain(SlackToken, "xapp-", r"xapp-[0-9]-[0-9A-Z]{9,}-[0-9]{10,}-[0-9a-f]{32,}"),
    plain(
        SlackToken,
        "hooks.slack.com/",
        r"hooks\.slack\.com/(?:services|workflows|triggers)/[0-9A-Z]{8,}/[0-9A-Za-z/]{20,}",
    ),
];
