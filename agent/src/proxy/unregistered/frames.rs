//! HTTP/2 in clear text, as far as bodies go: the payloads of DATA frames (RFC 9113 §4.1, §6.1). Headers are not read.

use super::super::opening::H2_PREFACE;

const HEADER: usize = 9;
const DATA: u8 = 0;

/// Follows a client's frames.
#[derive(Debug)]
pub(super) struct Frames {
    preface_left: usize,
    header: Vec<u8>,
    payload_left: usize,
    /// The stream that the frame's payload belongs to, if it is a body's.
    stream: Option<u32>,
}

impl Frames {
    /// At the beginning of a connection.
    pub(super) fn new() -> Self {
        Self { preface_left: H2_PREFACE.len(), header: Vec::with_capacity(HEADER), payload_left: 0, stream: None }
    }

    /// Follows `bytes`, and tells the payloads of bodies, each with its stream.
    pub(super) fn observe(&mut self, mut bytes: &[u8], mut tell: impl FnMut(u32, &[u8])) {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        bytes = &bytes[preface..];
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let (payload, rest) = bytes.split_at(self.payload_left.min(bytes.len()));
                self.payload_left -= payload.len();
                bytes = rest;
                if let Some(stream) = self.stream {
                    tell(stream, payload);
                }
                continue;
            }
            let (header, rest) = bytes.split_at((HEADER - self.header.len()).min(bytes.len()));
            self.header.extend_from_slice(header);
            bytes = rest;
            if let Ok([high, middle, low, kind, _flags, stream @ ..]) = <[u8; HEADER]>::try_from(self.header.as_slice())
            {
                self.header.clear();
                self.payload_left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.stream = (kind == DATA).then(|| u32::from_be_bytes(stream) & 0x7fff_ffff);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_found_however_the_bytes_are_cut() {
        let frame = |kind: u8, stream: u8, payload: &[u8]| {
            [&[0, 0, u8::try_from(payload.len()).unwrap(), kind, 0, 0, 0, 0, stream][..], payload].concat()
        };
        let bytes =
            [H2_PREFACE, &frame(4, 0, b""), &frame(1, 1, b"head"), &frame(0, 1, b"bo"), &frame(0, 1, b"dy")].concat();
        for size in 1..bytes.len() {
            let (mut frames, mut bodies) = (Frames::new(), Vec::new());
            for chunk in bytes.chunks(size) {
                frames.observe(chunk, |stream, payload| {
                    assert_eq!(stream, 1);
                    bodies.extend_from_slice(payload);
                });
            }
            assert_eq!(bodies, b"body", "in pieces of {size}");
        }
    }
}
