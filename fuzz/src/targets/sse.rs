//! Any stream, cut at any byte: nothing is lost, and where it is cut does not change what is read.
use bytes::Bytes;
use weir::mcp::SseReader;

const LIMIT: usize = 4096;

/// The bytes that came out, and the data of the events; `None` where the limit was met.
fn read(stream: &[u8], size: usize) -> Option<(Vec<u8>, Vec<Bytes>)> {
    let mut reader = SseReader::new(LIMIT);
    let (mut raw, mut data) = (Vec::new(), Vec::new());
    for chunk in stream.chunks(size) {
        reader.push(Bytes::copy_from_slice(chunk)).ok()?;
        while let Some(event) = reader.next_event() {
            assert!(event.raw.len() <= LIMIT);
            raw.extend_from_slice(&event.raw);
            data.extend(event.data);
        }
    }
    raw.extend_from_slice(&reader.finish());
    Some((raw, data))
}

/// One input.
pub(crate) fn run(data: &[u8]) {
    let Some((size, stream)) = data.split_first() else { return };
    let (whole, cut) = (read(stream, stream.len().max(1)), read(stream, usize::from(*size).max(1)));
    if let (Some(whole), Some(cut)) = (whole, cut) {
        assert_eq!(whole.0, stream);
        assert_eq!(whole, cut);
    }
}
