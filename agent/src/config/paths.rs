//! Which request paths are an endpoint's.
//!
//! Servers read paths differently: some decode `%2f` before they route, merge `//`, cut `;x`, take `\` for `/` or ignore
//! case. A path is therefore read twice: *strictly*, where only what RFC 3986 §6.2.2 calls equivalent is equal (so
//! `/%6Dcp` is `/mcp`), and *loosely*, with all of those. What matches strictly also matches loosely. Where only the
//! loose reading matches a prefix, the server's view cannot be known and the request is refused. Dot segments, plain or
//! encoded, are always refused: clients resolve them before they send (RFC 3986 §5.2.4).

/// Rounds of percent-decoding that some chain of servers may plausibly do.
const MAX_DECODES: usize = 3;

/// A request's path in both readings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NormalPath {
    strict: Vec<Vec<u8>>,
    loose: Vec<Vec<u8>>,
}

/// Path prefixes, by whole segments.
#[derive(Debug, Clone, Default)]
pub struct Paths(Vec<NormalPath>);

/// Why a path is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PathRefusal {
    /// Authority form, asterisk form, or nothing.
    #[error("it does not begin with `/`")]
    NotOriginForm,
    /// `.` or `..`, however encoded.
    #[error("the path has a dot segment (`.` or `..`), plain or encoded")]
    DotSegment,
    /// A control character, however encoded.
    #[error("the path has a control character, plain or encoded")]
    Control,
    /// Encoded more than three times over.
    #[error("the path is percent-encoded too many times over")]
    Encoding,
    /// Some servers would take it for a registered path, others not.
    #[error("the path can be read as a registered path or as another; send it in the registered spelling")]
    Ambiguous,
}

/// Reads a request target in origin form: a path, and a query that is ignored.
///
/// # Errors
/// As [`PathRefusal`] says; never [`PathRefusal::Ambiguous`], which takes a prefix to compare with.
pub fn normal_path(target: &str) -> Result<NormalPath, PathRefusal> {
    let path = target.split(['?', '#']).next().unwrap_or_default();
    let path = path.strip_prefix('/').ok_or(PathRefusal::NotOriginForm)?;
    let strict = path.split('/').map(|segment| equivalent(segment.as_bytes())).collect();
    Ok(NormalPath { strict, loose: loose(path.as_bytes())? })
}

impl NormalPath {
    /// The loose reading: equal for all paths that some server takes for one.
    pub fn loosely(self) -> Vec<Vec<u8>> {
        self.loose
    }
}

impl Paths {
    /// Reads configured prefixes. None at all means every path. A final `/` makes no difference.
    ///
    /// # Errors
    /// As [`normal_path`].
    pub fn new<'p>(prefixes: impl IntoIterator<Item = &'p str>) -> Result<Self, PathRefusal> {
        let prefixes = prefixes.into_iter().map(|prefix| {
            normal_path(prefix.trim_end_matches('/')).or_else(|refusal| {
                let is_root = !prefix.is_empty() && prefix.bytes().all(|b| b == b'/');
                if is_root { Ok(NormalPath { strict: Vec::new(), loose: Vec::new() }) } else { Err(refusal) }
            })
        });
        prefixes.collect::<Result<_, _>>().map(Self)
    }

    /// Whether a request target is the endpoint's.
    ///
    /// # Errors
    /// As [`PathRefusal`] says. With no prefixes every target is the endpoint's, and nothing is refused.
    pub fn cover(&self, target: &str) -> Result<bool, PathRefusal> {
        if self.0.is_empty() {
            return Ok(true);
        }
        let path = normal_path(target)?;
        if self.0.iter().any(|prefix| path.strict.starts_with(&prefix.strict)) {
            return Ok(true);
        }
        if self.0.iter().any(|prefix| path.loose.starts_with(&prefix.loose)) {
            return Err(PathRefusal::Ambiguous);
        }
        Ok(false)
    }
}

/// RFC 3986 §6.2.2: unreserved characters decoded, hex digits in upper case.
fn equivalent(segment: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment;
    while let Some((&first, tail)) = rest.split_first() {
        match escape(rest) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => out.push(byte),
            Some(_) => out.extend(rest[..3].to_ascii_uppercase()),
            None => out.push(first),
        }
        rest = if escape(rest).is_some() { &rest[3..] } else { tail };
    }
    out
}

/// Every reading that a server may have, folded into one: decoded, cut at `;`, split at `/` and `\`, without empty
/// segments, in lower case.
fn loose(path: &[u8]) -> Result<Vec<Vec<u8>>, PathRefusal> {
    let mut text = path.to_vec();
    for _ in 0..=MAX_DECODES {
        if text.iter().any(u8::is_ascii_control) {
            return Err(PathRefusal::Control);
        }
        let segments = text.split(|b| matches!(b, b'/' | b'\\')).map(|segment| {
            let cut = segment.iter().position(|&b| b == b';').unwrap_or(segment.len());
            &segment[..cut]
        });
        if segments.clone().any(|segment| matches!(segment, b"." | b"..")) {
            return Err(PathRefusal::DotSegment);
        }
        let decoded = decode(&text);
        if decoded == text {
            return Ok(segments.filter(|segment| !segment.is_empty()).map(<[u8]>::to_ascii_lowercase).collect());
        }
        text = decoded;
    }
    Err(PathRefusal::Encoding)
}

fn decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        if let Some(byte) = escape(rest) {
            out.push(byte);
            rest = &rest[3..];
        } else {
            out.push(first);
            rest = tail;
        }
    }
    out
}

/// The byte that `%xx` at the start of `text` stands for. A `%` without two hex digits is itself.
fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |b: u8| char::from(b).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

#[cfg(test)]
mod tests;
