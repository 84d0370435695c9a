//! JSON Web Tokens (RFC 7519), signed (RFC 7515) or encrypted (RFC 7516): the header is decoded, and of a signed one the claims.

use base64::{
    Engine,
    alphabet::URL_SAFE,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use serde_json::{Map, Value};

use super::token::Form;
use crate::config::Detector;

pub(super) const FORMS: &[Form] = &[Form {
    detector: Detector::Jwt,
    prefix: "eyJ",
    pattern: r"eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*(?:\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+)?",
    check: is_jwt,
}];

const BASE64URL: GeneralPurpose = GeneralPurpose::new(
    &URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true),
);

fn is_jwt(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let Some(header) = object(parts[0]) else { return false };
    match parts.len() {
        3 => header.contains_key("alg") && object(parts[1]).is_some(),
        5 => header.contains_key("enc"),
        _ => false,
    }
}

fn object(part: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64URL.decode(part).ok()?).ok()
}
