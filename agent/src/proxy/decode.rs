//! `Content-Encoding` (RFC 9110 §8.4), undone within a limit.

use std::{io, pin::Pin};

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, header::CONTENT_ENCODING};
use tokio::io::{AsyncBufRead, AsyncRead, AsyncReadExt};

/// Why content could not be decoded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// Decoded, it is larger than the limit.
    #[error("the decoded content is too large")]
    TooLarge,
    /// A coding that is not one of ours.
    #[error("content-encoding {0:?} is not supported (gzip, deflate, br, zstd are)")]
    Unknown(String),
    /// Not what the coding says.
    #[error("the content is not valid {0}: {1}")]
    Invalid(&'static str, #[source] io::Error),
}

/// A content coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding that the headers name; `None` for identity.
    ///
    /// # Errors
    /// [`Error::Unknown`], for others and for several at once.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let mut named = headers.get_all(CONTENT_ENCODING).iter();
        let Some(value) = named.next() else { return Ok(None) };
        let text = String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase();
        if named.next().is_some() {
            return Err(Error::Unknown("several".into()));
        }
        match text.as_str() {
            "" | "identity" => Ok(None),
            "gzip" | "x-gzip" => Ok(Some(Self::Gzip)),
            "deflate" => Ok(Some(Self::Deflate)),
            "br" => Ok(Some(Self::Brotli)),
            "zstd" => Ok(Some(Self::Zstd)),
            _ => Err(Error::Unknown(text)),
        }
    }

    /// The coding's name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        }
    }

    /// A reader of the decoded content.
    pub(crate) fn reader<'a, R>(self, encoded: R) -> Pin<Box<dyn AsyncRead + Send + 'a>>
    where
        R: AsyncBufRead + Send + 'a,
    {
        match self {
            Self::Gzip => Box::pin(GzipDecoder::new(encoded)),
            Self::Deflate => Box::pin(ZlibDecoder::new(encoded)),
            Self::Brotli => Box::pin(BrotliDecoder::new(encoded)),
            Self::Zstd => Box::pin(ZstdDecoder::new(encoded)),
        }
    }
}

/// Decodes a whole body into at most `limit` bytes.
///
/// # Errors
/// As [`Error`].
pub(crate) async fn whole(headers: &HeaderMap, raw: Bytes, limit: usize) -> Result<Bytes, Error> {
    let Some(coding) = Coding::of(headers)? else { return Ok(raw) };
    let mut encoded = io::Cursor::new(raw);
    let mut reader = coding.reader(&mut encoded).take(limit as u64 + 1);
    let mut decoded = BytesMut::new();
    while reader.read_buf(&mut decoded).await.map_err(|e| Error::Invalid(coding.name(), e))? > 0 {}
    drop(reader);
    if decoded.len() > limit {
        return Err(Error::TooLarge);
    }
    // A second member behind the first is read by some decoders and skipped by others: two readings of one body.
    if encoded.position() < encoded.get_ref().len() as u64 {
        return Err(Error::Invalid(coding.name(), io::Error::other("more data follows the end of the content")));
    }
    Ok(decoded.freeze())
}

#[cfg(test)]
mod tests {
    use async_compression::tokio::bufread::{BrotliEncoder, GzipEncoder, ZlibEncoder, ZstdEncoder};

    use super::*;

    async fn read<R: AsyncRead + Unpin>(mut reader: R) -> Bytes {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).await.expect("encodes");
        all.into()
    }

    fn headers(coding: &str) -> HeaderMap {
        HeaderMap::from_iter([(CONTENT_ENCODING, coding.parse().expect("a value"))])
    }

    #[tokio::test]
    async fn every_coding_is_undone() {
        let text: &[u8] = br#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#;
        let encoded = [
            ("gzip", read(GzipEncoder::new(text)).await),
            ("deflate", read(ZlibEncoder::new(text)).await),
            ("br", read(BrotliEncoder::new(text)).await),
            ("zstd", read(ZstdEncoder::new(text)).await),
            ("identity", Bytes::from_static(text)),
        ];
        for (coding, raw) in encoded {
            assert_eq!(whole(&headers(coding), raw, 1024).await.expect(coding), text, "{coding}");
        }
    }

    #[tokio::test]
    async fn a_bomb_is_cut_at_the_limit() {
        let bomb = read(GzipEncoder::new(&[0_u8; 1 << 20][..])).await;
        assert!(matches!(whole(&headers("gzip"), bomb, 1 << 16).await, Err(Error::TooLarge)));
    }

    #[tokio::test]
    async fn a_second_member_is_refused() {
        let one = read(GzipEncoder::new(&b"{}"[..])).await;
        let two = Bytes::from([one.as_ref(), one.as_ref()].concat());
        assert!(matches!(whole(&headers("gzip"), two, 1 << 16).await, Err(Error::Invalid(..))));
    }

    #[tokio::test]
    async fn what_is_not_understood_is_refused() {
        assert!(matches!(whole(&headers("compress"), Bytes::new(), 9).await, Err(Error::Unknown(_))));
        assert!(matches!(whole(&headers("gzip, br"), Bytes::new(), 9).await, Err(Error::Unknown(_))));
        assert!(matches!(whole(&headers("gzip"), Bytes::from_static(b"no"), 9).await, Err(Error::Invalid(..))));
    }
}
