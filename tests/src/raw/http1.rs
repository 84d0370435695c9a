//! As much HTTP/1.1 as raw peers need: a head, and a body by its length or in chunks. What it cannot read is an error.

use std::io::{self, Read};

use super::is_end;

/// A message's start line, headers and body, as they came.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Http1 {
    /// The request line or the status line.
    pub start: String,
    /// Names in lower case, values trimmed.
    pub headers: Vec<(String, String)>,
    /// The body, without its framing.
    pub body: Vec<u8>,
    /// Whether the body came to its end.
    pub whole: bool,
}

impl Http1 {
    /// A header's first value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The second word of the start line: a request's target, a response's status.
    #[must_use]
    pub fn second_word(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or_default()
    }

    /// A response's status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.second_word().parse().unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// Reads one message; `None` when the peer ended the connection before its first byte. A body without a length, in a
/// response, goes on to the end of the connection.
///
/// # Errors
/// The stream's, and `InvalidData` for what is not HTTP/1.1.
pub fn read(stream: &mut (impl Read + ?Sized)) -> io::Result<Option<Http1>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match byte(stream) {
            Ok(Some(byte)) => head.push(byte),
            Ok(None) if head.is_empty() => return Ok(None),
            Ok(None) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Err(error) if head.is_empty() && is_end(&error) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let text = String::from_utf8_lossy(&head).into_owned();
    let mut lines = text.trim_end().split("\r\n");
    let start = lines.next().unwrap_or_default().to_owned();
    let headers = lines.filter_map(|line| line.split_once(':'));
    let headers = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned())).collect();
    let mut message = Http1 { start, headers, ..Http1::default() };
    read_body(stream, &mut message)?;
    Ok(Some(message))
}

fn read_body(stream: &mut (impl Read + ?Sized), message: &mut Http1) -> io::Result<()> {
    let is_response = message.start.starts_with("HTTP/");
    let has_none = is_response && matches!(message.status(), 100..=199 | 204 | 304);
    if has_none {
        message.whole = true;
    } else if message.header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        message.whole = read_chunks(stream, &mut message.body)?;
    } else if let Some(length) = message.header("content-length") {
        let length: usize = length.parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        message.whole = read_exactly(stream, &mut message.body, length)?;
    } else if is_response {
        while let Some(byte) = byte(stream)? {
            message.body.push(byte);
        }
        message.whole = true;
    } else {
        message.whole = true;
    }
    Ok(())
}

/// Whether the last chunk came.
fn read_chunks(stream: &mut (impl Read + ?Sized), body: &mut Vec<u8>) -> io::Result<bool> {
    loop {
        let Some(line) = line(stream)? else { return Ok(false) };
        let size =
            usize::from_str_radix(line.trim_end(), 16).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        if !read_exactly(stream, body, size)? {
            return Ok(false);
        }
        let Some(end) = self::line(stream)? else { return Ok(false) };
        if size == 0 {
            // Trailers, up to the empty line.
            let mut trailer = end;
            while trailer != "\r\n" {
                let Some(next) = self::line(stream)? else { return Ok(false) };
                trailer = next;
            }
            return Ok(true);
        }
    }
}

fn line(stream: &mut (impl Read + ?Sized)) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    while !line.ends_with(b"\n") {
        match byte(stream)? {
            Some(byte) => line.push(byte),
            None => return Ok(None),
        }
    }
    Ok(Some(String::from_utf8_lossy(&line).into_owned()))
}

/// Whether all of them came.
fn read_exactly(stream: &mut (impl Read + ?Sized), body: &mut Vec<u8>, length: usize) -> io::Result<bool> {
    let had = body.len();
    match stream.take(length as u64).read_to_end(body) {
        Ok(_) => {}
        Err(error) if is_end(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(body.len() - had == length)
}

/// The next byte; `None` at the end of the connection, orderly or not.
fn byte(stream: &mut (impl Read + ?Sized)) -> io::Result<Option<u8>> {
    let mut byte = [0];
    loop {
        return match stream.read(&mut byte) {
            Ok(0) => Ok(None),
            Ok(_) => Ok(Some(byte[0])),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if is_end(&error) => Ok(None),
            Err(error) => Err(error),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(mut text: &[u8]) -> Http1 {
        read(&mut text).unwrap().unwrap()
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let sized = parsed(b"POST /m HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{}rest");
        assert_eq!((sized.second_word(), sized.header("host"), sized.whole), ("/m", Some("a"), true));
        assert_eq!(sized.body, b"{}");
        let chunked =
            parsed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1\r\n}\r\n0\r\nx: y\r\n\r\nrest");
        assert_eq!((chunked.status(), chunked.body.as_slice(), chunked.whole), (200, &b"{}"[..], true));
        let open = parsed(b"HTTP/1.1 200 OK\r\n\r\nto the end");
        assert_eq!((open.body.as_slice(), open.whole), (&b"to the end"[..], true));
    }

    #[test]
    fn what_was_cut_is_not_whole() {
        assert!(!parsed(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort").whole);
        assert!(!parsed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsh").whole);
        assert_eq!(read(&mut &b""[..]).unwrap(), None);
        assert!(read(&mut &b"HTTP/1.1 20"[..]).is_err());
    }
}
