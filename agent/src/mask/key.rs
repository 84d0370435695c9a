//! The key under which values get their tokens.

use std::fmt::Write;

use aws_lc_rs::hmac;
use serde_json::Value;
use zeroize::Zeroizing;

/// Secret: with it, short values could be found by trying. It has no `Debug` and is erased when dropped.
pub struct MaskKey(Box<Zeroizing<[u8; 32]>>);

impl MaskKey {
    /// Takes the key; the caller loads it, and erases its own copy.
    pub fn from_bytes(bytes: &[u8; 32]) -> Self {
        Self(Box::new(Zeroizing::new(*bytes)))
    }

    /// What makes tokens for one message.
    pub(super) fn tokens(&self) -> Tokens {
        Tokens(hmac::Key::new(hmac::HMAC_SHA256, &self.0[..]))
    }
}

pub(super) struct Tokens(hmac::Key);

impl Tokens {
    /// What is the same for equal texts: the first 8 bytes of their HMAC, in hex.
    pub(super) fn digits(&self, text: &str) -> String {
        let tag = hmac::sign(&self.0, text.as_bytes());
        tag.as_ref()[..8].iter().fold(String::with_capacity(16), |mut digits, byte| {
            // Writing to a string does not fail.
            let _ = write!(digits, "{byte:02x}");
            digits
        })
    }

    /// The JSON string that stands for a text.
    pub(super) fn of_text(&self, label: &str, text: &str) -> String {
        Value::String(format!("[masked:{label}:{}]", self.digits(text))).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_hmac_sha256() {
        // Computed with OpenSSL: printf '"4111111111111111"' | openssl dgst -sha256 -mac HMAC -macopt hexkey:0101…
        let tokens = MaskKey::from_bytes(&[1; 32]).tokens();
        let token = tokens.of_text("card", "\"4111111111111111\"");
        assert_eq!(token, "\"[masked:card:5f06a8c1f9d6e37d]\"");
    }

    #[test]
    fn the_rule_name_is_escaped() {
        let tokens = MaskKey::from_bytes(&[1; 32]).tokens();
        let token: String = serde_json::from_str(&tokens.of_text("a\"b\n", "x")).unwrap();
        assert!(token.starts_with("[masked:a\"b\n:") && token.ends_with(']'));
    }
}
