//! A name on the wire, walked in steps of bounded work.

use super::{HashKey, MAX_NAME, NameHash};

/// A message's bytes.
pub trait Message {
    /// One byte; none beyond the end.
    fn byte(&self, at: u32) -> Option<u8>;
    /// Four bytes.
    fn bytes4(&self, at: u32) -> Option<[u8; 4]>;
    /// Four numbers of two bytes each, in network byte order.
    fn words(&self, at: u32) -> Option<[u16; 4]>;
    /// An IPv6 address, each word in network byte order.
    fn address(&self, at: u32) -> Option<[u32; 4]>;
}

/// Outside the programs.
impl Message for [u8] {
    fn byte(&self, at: u32) -> Option<u8> {
        self.get(at as usize).copied()
    }

    fn bytes4(&self, at: u32) -> Option<[u8; 4]> {
        self.get(at as usize..)?.first_chunk().copied()
    }

    fn words(&self, at: u32) -> Option<[u16; 4]> {
        let bytes: &[u8; 8] = self.get(at as usize..)?.first_chunk()?;
        let words = bytes.as_chunks::<2>().0;
        Some([words[0], words[1], words[2], words[3]].map(u16::from_be_bytes))
    }

    fn address(&self, at: u32) -> Option<[u32; 4]> {
        let bytes: &[u8; 16] = self.get(at as usize..)?.first_chunk()?;
        let words = bytes.as_chunks::<4>().0;
        Some([words[0], words[1], words[2], words[3]].map(u32::from_ne_bytes))
    }
}

/// What one step did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// It read one byte of the name, in lower case: a label's length, or of a label.
    Byte(u8),
    /// It followed a pointer (RFC 1035 §4.1.4).
    Jump,
    /// The name has ended.
    End,
    /// It is no name.
    Bad,
}

/// A walk over a name.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    hash: NameHash,
    at: u32,
    /// Where the message goes on after the name, once a pointer was followed; else 0.
    resume: u32,
    /// Pointers lead before this place, each before the last.
    before: u32,
    /// Bytes left of the label.
    label: u32,
    len: u32,
    reserved: u32,
}

const POINTER: u8 = 0xc0;

impl Name {
    /// Begins at a place.
    #[inline(always)]
    #[must_use]
    pub const fn at(at: u32) -> Self {
        Self { hash: NameHash::EMPTY, at, resume: 0, before: at, label: 0, len: 0, reserved: 0 }
    }

    /// One step.
    #[inline(always)]
    pub fn step(&mut self, message: &(impl Message + ?Sized), key: &HashKey) -> Progress {
        let Some(byte) = message.byte(self.at) else { return Progress::Bad };
        if self.label > 0 {
            self.label -= 1;
            return self.push(key, byte.to_ascii_lowercase());
        }
        if byte == 0 {
            self.at += 1;
            return Progress::End;
        }
        if byte & POINTER == POINTER {
            return self.jump(message, byte);
        }
        if byte & POINTER != 0 {
            return Progress::Bad;
        }
        self.label = u32::from(byte);
        self.push(key, byte)
    }

    #[inline(always)]
    fn push(&mut self, key: &HashKey, byte: u8) -> Progress {
        self.at += 1;
        self.len += 1;
        // The root's byte comes on top.
        if self.len >= MAX_NAME as u32 {
            return Progress::Bad;
        }
        self.hash.push(key, byte);
        Progress::Byte(byte)
    }

    #[inline(always)]
    fn jump(&mut self, message: &(impl Message + ?Sized), high: u8) -> Progress {
        let Some(low) = message.byte(self.at + 1) else { return Progress::Bad };
        let to = u32::from(u16::from_be_bytes([high & !POINTER, low]));
        if to >= self.before {
            return Progress::Bad;
        }
        if self.resume == 0 {
            self.resume = self.at + 2;
        }
        (self.at, self.before) = (to, to);
        Progress::Jump
    }

    /// The hash of what was read.
    #[inline(always)]
    #[must_use]
    pub const fn hash(&self) -> &NameHash {
        &self.hash
    }

    /// How many bytes of the name were read.
    #[inline(always)]
    #[must_use]
    pub const fn len(&self) -> u32 {
        self.len
    }

    /// Whether the name is the root, as far as it was read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether the next byte begins a label, or ends the name.
    #[inline(always)]
    #[must_use]
    pub const fn is_between_labels(&self) -> bool {
        self.label == 0
    }

    /// Where the message goes on, once the name has ended.
    #[inline(always)]
    #[must_use]
    pub const fn end(&self) -> u32 {
        if self.resume == 0 { self.at } else { self.resume }
    }
}
