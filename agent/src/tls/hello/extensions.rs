//! The extension types of a `ClientHello`, which rustls parses and does not show.

/// Whether a hello that rustls has accepted carries an extension. What cannot be walked counts as carrying it, since every
/// use of this makes the agent more careful.
pub(super) fn contains(records: &[u8], extension: u16) -> bool {
    scan(&handshake_bytes(records), extension).unwrap_or(true)
}

/// The payloads of consecutive records, joined: a hello may be cut into several (RFC 8446 §5.1).
fn handshake_bytes(records: &[u8]) -> Vec<u8> {
    const HANDSHAKE: u8 = 22;
    let mut reader = Reader(records);
    let mut joined = Vec::new();
    while let Some([HANDSHAKE, _, _]) = reader.array() {
        let Some(payload) = reader.vector::<2>() else { break };
        joined.extend_from_slice(payload);
    }
    joined
}

/// Walks the structure of RFC 8446 §4.1.2.
fn scan(handshake: &[u8], extension: u16) -> Option<bool> {
    let mut handshake = Reader(handshake);
    let _message_type: [u8; 1] = handshake.array()?;
    let mut hello = Reader(handshake.vector::<3>()?);
    let _version_and_random: [u8; 2 + 32] = hello.array()?;
    let _session_id = hello.vector::<1>()?;
    let _cipher_suites = hello.vector::<2>()?;
    let _compression_methods = hello.vector::<1>()?;
    let Some(extensions) = hello.vector::<2>() else { return Some(false) };
    let mut extensions = Reader(extensions);
    while let Some(found) = extensions.array() {
        if u16::from_be_bytes(found) == extension {
            return Some(true);
        }
        extensions.vector::<2>()?;
    }
    Some(false)
}

/// Takes from the front of what is left, never beyond its end.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    /// A vector whose length is written in `N` bytes before it.
    fn vector<const N: usize>(&mut self) -> Option<&'a [u8]> {
        let length = self.array::<N>()?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }
}
