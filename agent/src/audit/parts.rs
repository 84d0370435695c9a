//! `audit.oversized = "split"`: the rest of a payload that does not fit its record, in records before it.
//!
//! Each holds a piece of the masked text; `payload_part.of` is the `metadata.uid` of the record that begins with the text's
//! prefix. The pieces are in the log first: where that record is, the whole payload is.

use std::ops::Range;

use jiff::Timestamp;
use serde::Serialize;
use uuid::Uuid;

use super::{
    event::{Call, Event, What},
    ocsf,
};

/// A text beyond the limit, and how it is cut.
#[derive(Debug, Clone)]
pub(super) struct Pieces {
    whole: String,
    pieces: Vec<Range<usize>>,
    digest: String,
}

/// `event.payload_part`.
#[derive(Debug, Serialize)]
pub(super) struct Part<'a> {
    /// `metadata.uid` of the record that the piece belongs to.
    pub(super) of: Uuid,
    /// That record's call.
    pub(super) call_id: Uuid,
    /// `params`, `result` or `error`.
    pub(super) field: &'static str,
    /// Its position, from 1.
    pub(super) part: usize,
    /// How many pieces follow the prefix.
    pub(super) parts: usize,
    /// The keyed digest of the whole text.
    pub(super) hmac_sha256: &'a str,
    /// The piece.
    pub(super) text: &'a str,
}

impl Pieces {
    /// Cuts what follows the first `prefix` bytes of `whole` into pieces that take at most `limit` bytes in a JSON string.
    pub(super) fn after(whole: &str, prefix: usize, limit: usize, digest: String) -> Self {
        let mut pieces = Vec::new();
        let mut start = prefix;
        while start < whole.len() {
            let end =
                start + fitting(&whole[start..], limit).max(whole[start..].chars().next().map_or(1, char::len_utf8));
            pieces.push(start..end);
            start = end;
        }
        Self { whole: whole.to_owned(), pieces, digest }
    }

    /// Bytes of the whole text.
    pub(super) fn bytes(&self) -> u64 {
        self.whole.len() as u64
    }

    /// How many pieces there are.
    pub(super) fn count(&self) -> usize {
        self.pieces.len()
    }

    fn parts(&self, of: Uuid, call_id: Uuid, field: &'static str) -> impl Iterator<Item = Part<'_>> {
        let parts = self.pieces.len();
        (1..).zip(&self.pieces).map(move |(part, piece)| Part {
            of,
            call_id,
            field,
            part,
            parts,
            hmac_sha256: &self.digest,
            text: &self.whole[piece.clone()],
        })
    }
}

/// How much of `text`, in bytes, takes at most `limit` bytes in a JSON string. It ends between characters. JSON without white
/// space between tokens holds no control characters: two characters need an escape.
pub(super) fn fitting(text: &str, limit: usize) -> usize {
    let mut taken = 0;
    let past = text.char_indices().find(|(_, char)| {
        taken += char.len_utf8() + usize::from(matches!(char, '"' | '\\'));
        taken > limit
    });
    past.map_or(text.len(), |(at, _)| at)
}

/// The texts of the records that go before the record `uid` of `event`.
///
/// # Errors
/// As [`ocsf::render`].
pub(super) fn render(event: &Event, uid: Uuid) -> serde_json::Result<Vec<String>> {
    let What::Call(call) = &event.what else { return Ok(Vec::new()) };
    let Call { mcp, .. } = &**call;
    let fields = [("params", &mcp.params), ("result", &mcp.result), ("error", &mcp.error)];
    let cut = fields.into_iter().filter_map(|(field, payload)| Some((field, payload.as_ref()?.pieces()?)));
    let parts = cut.flat_map(|(field, pieces)| pieces.parts(uid, mcp.call_id, field));
    parts.map(|part| part_text(event.time, &part)).collect()
}

fn part_text(time: Timestamp, part: &Part<'_>) -> serde_json::Result<String> {
    ocsf::render_part(time, part, Uuid::now_v7())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;
    use crate::audit::{
        payload::Longer,
        samples::{call, event, payloads},
    };

    proptest! {
        #[test]
        fn prefix_and_pieces_are_the_whole(text in "[a-zé\"\\\\\u{10348}]{0,9000}") {
            let json = serde_json::to_string(&[&text]).unwrap();
            let payload = payloads(1024).keeping(Longer::Split).fit(json.as_bytes()).unwrap();
            let mut call = call(crate::audit::event::Phase::Request, Uuid::from_u128(5));
            let first: Value = serde_json::from_str(payload.text()).unwrap();
            let truncated = payload.is_truncated();
            prop_assert!(payload.text().len() <= 1024);
            call.mcp.params = Some(payload);
            let uid = Uuid::from_u128(6);
            let parts = render(&event(What::Call(Box::new(call))), uid).unwrap();
            let mut whole = match truncated {
                true => first["weir_truncated"]["prefix"].as_str().unwrap().to_owned(),
                false => json.clone(),
            };
            prop_assert_eq!(first["weir_truncated"]["parts"].as_u64().unwrap_or(0), parts.len() as u64);
            for (number, part) in (1..).zip(&parts) {
                let part: Value = serde_json::from_str(part).unwrap();
                let part = &part["payload_part"];
                prop_assert_eq!(part["part"].as_u64(), Some(number));
                prop_assert_eq!(part["of"].as_str().unwrap(), uid.to_string());
                prop_assert_eq!(&part["hmac_sha256"], &first["weir_truncated"]["hmac_sha256"]);
                prop_assert!(serde_json::to_string(&part["text"]).unwrap().len() <= 1024 + 2);
                whole.push_str(part["text"].as_str().unwrap());
            }
            prop_assert_eq!(whole, json);
        }
    }
}
