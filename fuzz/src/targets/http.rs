//! Any first bytes, and what follows them: more of them never turn a verdict around, and where a connection's bytes are cut does
//! not change where its requests begin and end. Heads that are taken are heads to an independent parser.

use weir::proxy::fuzzing::{Opening, Requests};

/// Most bytes of a head.
const HEAD_BYTES: usize = 4096;

fn read(bytes: &[u8], size: usize) -> (Vec<u8>, Vec<Vec<u8>>, Option<&'static str>) {
    let mut requests = Requests::new(HEAD_BYTES);
    let ambiguity = bytes.chunks(size).find_map(|chunk| requests.observe(chunk).err());
    (requests.bodies, requests.heads, ambiguity)
}

/// One input.
pub(crate) fn run(data: &[u8]) {
    let Some((size, bytes)) = data.split_first() else { return };
    let size = usize::from(*size).max(1);
    if let Some(early) = Opening::of(&bytes[..size.min(bytes.len())]) {
        assert_eq!(Some(early), Opening::of(bytes), "what was told early holds");
    }
    let (whole, cut) = (read(bytes, bytes.len().max(1)), read(bytes, size));
    assert_eq!(whole, cut);
    for head in whole.1 {
        let mut headers = [httparse::EMPTY_HEADER; 256];
        let parsed = httparse::Request::new(&mut headers).parse(&head);
        assert!(!matches!(parsed, Ok(httparse::Status::Partial)), "a head that does not end");
    }
}
