//! Stripe's secret, restricted and webhook keys ("API keys"). Publishable ones (`pk_`) are no secret.

use super::token::{Form, plain};
use crate::config::Detector::StripeKey;

const KEY: &str = "[rs]k_(?:live|test)_[0-9A-Za-z]{16,247}";

pub(super) const FORMS: &[Form] = &[
    plain(StripeKey, "sk_live_", KEY),
    plain(StripeKey, "sk_test_", KEY),
    plain(StripeKey, "rk_live_", KEY),
    plain(StripeKey, "rk_test_", KEY),
    plain(StripeKey, "whsec_", "whsec_[0-9A-Za-z+/]{32,}={0,2}"),
];
