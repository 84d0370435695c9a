//! A stream of bytes as server-sent events, byte for byte (WHATWG HTML, section 9.2 "Server-sent events").
//!
//! Lines end with LF, CR or CRLF. An event ends with an empty line; a comment line that stands outside an event is passed
//! on as an event of its own, so that keep-alives are not held back. An event that ends with CR is complete without waiting for
//! an LF, which then opens the next one: what arrives is never delayed, and the `raw` bytes of all events plus the remainder
//! are always exactly the input.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

/// One event, or one comment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SseEvent {
    /// Its exact bytes, with the empty line that ends it.
    pub raw: Bytes,
    /// The `data` lines joined with LF; a slice of `raw` where there is one line. `None` when there is none: clients see no
    /// event then.
    pub data: Option<Bytes>,
    /// `event`: the last one; `None`, which means `message`, also where it is empty. Who reads a message by its name must know
    /// that clients differ here.
    pub event: Option<Bytes>,
    /// `id`: the last one, which may be empty.
    pub id: Option<Bytes>,
    /// `retry`, in milliseconds.
    pub retry: Option<u64>,
    /// Some reader may find data where this one finds none: see [`is_data_to_some`].
    pub is_ambiguous: bool,
}

/// An event is larger than the limit, or does not end within it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an event of the stream is larger than {limit} bytes")]
pub struct TooLarge {
    /// In bytes.
    pub limit: usize,
}

/// Cuts a stream into events. Holds what was pushed and not yet taken: at most one chunk more than the limit.
#[derive(Debug)]
pub struct SseReader {
    limit: usize,
    /// Complete events, then the one that is arriving.
    buffer: BytesMut,
    /// Lengths of the complete events.
    complete: VecDeque<usize>,
    line: Line,
    /// Whether the first event was taken.
    started: bool,
}

/// Where the line that is arriving stands. Offsets are into the buffer.
#[derive(Debug)]
struct Line {
    /// Where its event starts.
    event: usize,
    /// Where it starts.
    start: usize,
    /// Up to where it was searched for its end.
    searched: usize,
    /// The line before it ended with CR, so a leading LF is that line's.
    after_cr: bool,
    /// Its event has a line that is not a comment.
    in_event: bool,
    /// It is the first of the stream, where a byte order mark may stand.
    first: bool,
}

const BOM: &[u8] = b"\xef\xbb\xbf";

impl SseReader {
    /// A reader for events of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let line = Line { event: 0, start: 0, searched: 0, after_cr: false, in_event: false, first: true };
        Self { limit, buffer: BytesMut::new(), complete: VecDeque::new(), line, started: false }
    }

    /// Adds what arrived. After an error the events before the large one can still be taken; nothing more may be pushed.
    pub fn push(&mut self, chunk: Bytes) -> Result<(), TooLarge> {
        if self.buffer.is_empty() {
            self.buffer = chunk.into();
        } else {
            self.buffer.extend_from_slice(&chunk);
        }
        while let Some(end) = self.line.next_end(&self.buffer) {
            let length = end - self.line.event;
            if length > self.limit {
                return Err(TooLarge { limit: self.limit });
            }
            self.complete.push_back(length);
            self.line.event = end;
        }
        if self.buffer.len() - self.line.event > self.limit {
            return Err(TooLarge { limit: self.limit });
        }
        Ok(())
    }

    /// Takes the next complete event.
    pub fn next_event(&mut self) -> Option<SseEvent> {
        let length = self.complete.pop_front()?;
        let raw = self.buffer.split_to(length).freeze();
        self.line.event -= length;
        self.line.start -= length;
        self.line.searched -= length;
        let skip = if !std::mem::replace(&mut self.started, true) && raw.starts_with(BOM) { BOM.len() } else { 0 };
        Some(SseEvent::parse(raw, skip))
    }

    /// What is left when the stream ends: the bytes of an event that was not finished, which clients drop. Take the complete
    /// events first.
    pub fn finish(self) -> Bytes {
        self.buffer.freeze()
    }
}

impl Line {
    /// Reads on to the end of the next event, or of the next comment outside one.
    fn next_end(&mut self, buffer: &[u8]) -> Option<usize> {
        loop {
            if self.after_cr && self.start < buffer.len() {
                if buffer[self.start] == b'\n' {
                    self.start += 1;
                }
                self.after_cr = false;
            }
            self.searched = self.searched.max(self.start);
            let Some(at) = memchr2(b'\n', b'\r', &buffer[self.searched..]) else {
                self.searched = buffer.len();
                return None;
            };
            let end = self.searched + at;
            let mut line = &buffer[self.start..end];
            if std::mem::take(&mut self.first) {
                line = line.strip_prefix(BOM).unwrap_or(line);
            }
            // CRLF that arrived together stays together.
            let is_crlf = buffer[end] == b'\r' && buffer.get(end + 1) == Some(&b'\n');
            self.after_cr = buffer[end] == b'\r' && !is_crlf;
            self.start = end + if is_crlf { 2 } else { 1 };
            self.searched = self.start;
            match line.first() {
                None => {
                    self.in_event = false;
                    return Some(self.start);
                }
                Some(b':') if !self.in_event => return Some(self.start),
                Some(b':') => {}
                Some(_) => self.in_event = true,
            }
        }
    }
}

impl SseEvent {
    /// Reads the fields after the first `skip` bytes.
    fn parse(raw: Bytes, skip: usize) -> Self {
        let (mut data, mut event, mut id, mut retry) = (None::<Bytes>, None, None, None);
        let mut joined = None::<BytesMut>;
        let mut is_ambiguous = false;
        for line in lines(&raw[skip..]) {
            let (field, value) = match memchr::memchr(b':', line) {
                Some(colon) => (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..])),
                None => (line, &line[line.len()..]),
            };
            match field {
                b"data" => match (&mut joined, &data) {
                    (Some(joined), _) => join(joined, value),
                    (None, Some(first)) => join(joined.insert(BytesMut::from(&first[..])), value),
                    (None, None) => data = Some(raw.slice_ref(value)),
                },
                b"event" => event = Some(raw.slice_ref(value)).filter(|name| !name.is_empty()),
                b"id" if !value.contains(&0) => id = Some(raw.slice_ref(value)),
                b"retry" if !value.is_empty() && value.iter().all(u8::is_ascii_digit) => {
                    retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok());
                }
                _ => {}
            }
            is_ambiguous |= is_data_to_some(field, line);
        }
        let data = joined.map(BytesMut::freeze).or(data);
        Self { raw, data, event, id, retry, is_ambiguous }
    }

    /// Whether every client takes it for a message. Others are events of a name, which some clients read as messages too.
    pub fn is_message(&self) -> bool {
        self.event.as_deref().is_none_or(|name| name == b"message")
    }

    /// Whether it announces the message path of the 2024-11-05 transport, to a reader who cares about neither case nor spaces.
    pub fn is_endpoint(&self) -> bool {
        self.event.as_deref().is_some_and(|name| name.trim_ascii().eq_ignore_ascii_case(b"endpoint"))
    }

    /// The event's bytes with other data, in the place of the first `data` line; all else stays as it came (where the data has
    /// several lines, but for the ends of lines).
    pub fn with_data(&self, data: &[u8]) -> Bytes {
        let is_line = !data.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
        let within = self.raw.as_ptr_range();
        if let Some(old) = self.data.as_ref().filter(|old| is_line && within.contains(&old.as_ptr())) {
            let start = old.as_ptr().addr() - self.raw.as_ptr().addr();
            return [&self.raw[..start], data, &self.raw[start + old.len()..]].concat().into();
        }
        let skip = if self.raw.starts_with(BOM) { BOM.len() } else { 0 };
        let mut raw = BytesMut::with_capacity(self.raw.len() + data.len());
        raw.extend_from_slice(&self.raw[..skip]);
        let mut is_written = false;
        for line in lines(&self.raw[skip..]) {
            if !(line == b"data" || line.starts_with(b"data:")) {
                raw.extend_from_slice(line);
                raw.extend_from_slice(b"\n");
            } else if !std::mem::replace(&mut is_written, true) {
                for part in data.split(|byte| matches!(byte, b'\n' | b'\r')) {
                    raw.extend_from_slice(b"data: ");
                    raw.extend_from_slice(part);
                    raw.extend_from_slice(b"\n");
                }
            }
        }
        raw.extend_from_slice(b"\n");
        raw.freeze()
    }
}

/// Whether a line that is not `data` might be, or hold, data to another reader than the standard's: one that is generous with names,
/// that does not know CR as the end of a line, or that knows ends which are none.
fn is_data_to_some(field: &[u8], line: &[u8]) -> bool {
    if field == b"data" {
        return false;
    }
    let is_edge = |byte: &u8| !byte.is_ascii_alphanumeric();
    let from = field.iter().position(|byte| !is_edge(byte)).unwrap_or(field.len());
    let to = field.iter().rposition(|byte| !is_edge(byte)).map_or(from, |last| last + 1);
    field[from..to].eq_ignore_ascii_case(b"data")
        || matches!(line.trim_ascii_start().first(), Some(b'{' | b'['))
        || has_odd_line_end(line)
}

/// Whether a text holds a character that Python's `str.splitlines` takes for the end of a line and the standard does not: clients
/// that read streams so are in use (httpx-sse before 0.4.1).
pub fn has_odd_line_end(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, 0x0b | 0x0c | 0x1c..=0x1e))
        || memchr::memmem::find(text, "\u{85}".as_bytes()).is_some()
        || memchr::memmem::find(text, "\u{2028}".as_bytes()).is_some()
        || memchr::memmem::find(text, "\u{2029}".as_bytes()).is_some()
}

fn join(data: &mut BytesMut, line: &[u8]) {
    data.extend_from_slice(b"\n");
    data.extend_from_slice(line);
}

/// Lines without their ends. Empty ones fall out: within one event they say nothing.
fn lines(mut rest: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            let line = &rest[..end];
            rest = rest.get(end + 1..).unwrap_or_default();
            if !line.is_empty() {
                return Some(line);
            }
        }
    })
}

#[cfg(test)]
mod tests;
