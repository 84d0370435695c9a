//! What is kept of a record until its neighbours are known: enough to follow the chain, and the event where a visitor
//! needs it. As it is written into the files that sorting leaves behind.

use std::io::{self, Read, Write};

use super::{super::chain::Hash, visitor::Facts};

/// One line that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// Which log, by the order in which they were met.
    pub(super) log: u32,
    pub(super) seq: u64,
    pub(super) hash: Hash,
    /// Its hash is not that of its content: only its claim to a place is left.
    pub(super) altered: bool,
    /// Which file or shard.
    pub(super) source: u32,
    pub(super) offset: u64,
    pub(super) epoch: u64,
    pub(super) prev: Hash,
    pub(super) facts: Facts,
    pub(super) event: Option<Box<str>>,
}

impl Entry {
    /// The order of the chain; copies of one record stand together, the right ones first.
    pub(super) fn key(&self) -> (u32, u64, &[u8; 32], bool, u32, u64) {
        let Self { log, seq, hash, altered, source, offset, .. } = self;
        (*log, *seq, &hash.0, *altered, *source, *offset)
    }

    /// Memory that it takes, in bytes.
    pub(super) fn size(&self) -> usize {
        size_of::<Self>() + self.event.as_ref().map_or(0, |event| event.len())
    }

    pub(super) fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let Self { log, seq, hash, altered, source, offset, epoch, prev, facts, event } = self;
        out.write_all(&log.to_le_bytes())?;
        out.write_all(&seq.to_le_bytes())?;
        out.write_all(&hash.0)?;
        out.write_all(&[u8::from(*altered) | u8::from(event.is_some()) << 1])?;
        out.write_all(&source.to_le_bytes())?;
        out.write_all(&offset.to_le_bytes())?;
        out.write_all(&epoch.to_le_bytes())?;
        out.write_all(&prev.0)?;
        out.write_all(&facts.class_uid.to_le_bytes())?;
        out.write_all(&facts.time.to_le_bytes())?;
        if let Some(event) = event {
            out.write_all(&(event.len() as u64).to_le_bytes())?;
            out.write_all(event.as_bytes())?;
        }
        Ok(())
    }

    /// The next one, or `None` at the end.
    pub(super) fn read(from: &mut impl Read) -> io::Result<Option<Self>> {
        let mut log = [0; 4];
        match from.read_exact(&mut log) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other?,
        }
        let seq = u64::from_le_bytes(bytes(from)?);
        let hash = Hash(bytes(from)?);
        let [flags] = bytes(from)?;
        let source = u32::from_le_bytes(bytes(from)?);
        let offset = u64::from_le_bytes(bytes(from)?);
        let epoch = u64::from_le_bytes(bytes(from)?);
        let prev = Hash(bytes(from)?);
        let facts = Facts { class_uid: u32::from_le_bytes(bytes(from)?), time: i64::from_le_bytes(bytes(from)?) };
        let event = if flags & 2 == 0 { None } else { Some(text(from)?) };
        let log = u32::from_le_bytes(log);
        Ok(Some(Self { log, seq, hash, altered: flags & 1 != 0, source, offset, epoch, prev, facts, event }))
    }
}

fn bytes<const N: usize>(from: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn text(from: &mut impl Read) -> io::Result<Box<str>> {
    let length = usize::try_from(u64::from_le_bytes(bytes(from)?)).map_err(io::Error::other)?;
    let mut text = vec![0; length];
    from.read_exact(&mut text)?;
    String::from_utf8(text).map(String::into_boxed_str).map_err(io::Error::other)
}
