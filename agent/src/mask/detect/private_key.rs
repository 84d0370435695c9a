//! Private keys in text: PEM (RFC 7468) of every kind, and `PuTTY`'s format. One that is cut off is one all the same.

use memchr::memmem;

use super::Found;
use crate::config::Detector;

const BEGIN: &str = "-----BEGIN ";
const LABEL: &str = "PRIVATE KEY";
const DASHES: &str = "-----";
const PUTTY: &str = "PuTTY-User-Key-File-";
/// Longest label between the dashes.
const LONGEST_LABEL: usize = 64;

pub(super) fn look(text: &str, found: &mut Vec<Found>) {
    let mut from = 0;
    while let Some(at) = memmem::find(&text.as_bytes()[from..], BEGIN.as_bytes()) {
        let start = from + at;
        let label = start + BEGIN.len();
        from = label;
        let room = &text[label..text.floor_char_boundary(label + LONGEST_LABEL)];
        let Some(label_end) = room.find(DASHES).filter(|end| room[..*end].contains(LABEL)) else { continue };
        // A public certificate's lines may be quoted without their body: the dashes alone are no key.
        let body = label + label_end + DASHES.len();
        let end = end_of(text, body, &room[..label_end]);
        found.push(Found { range: start..end, detector: Detector::PrivateKey });
        from = end;
    }
    if let Some(at) =
        memmem::find(text.as_bytes(), PUTTY.as_bytes()).filter(|at| text[*at..].contains("Private-Lines:"))
    {
        found.push(Found { range: at..text.len(), detector: Detector::PrivateKey });
    }
}

/// Behind the matching end line, or the end of the text.
fn end_of(text: &str, body: usize, label: &str) -> usize {
    let end_line = format!("-----END {label}-----");
    match memmem::find(&text.as_bytes()[body..], end_line.as_bytes()) {
        Some(at) => body + at + end_line.len(),
        None => text.len(),
    }
}
