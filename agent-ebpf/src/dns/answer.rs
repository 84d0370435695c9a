//! The answer section: which addresses it gives to the name that was asked for, through its other names (CNAME) where they come
//! in order, as servers write them. Records of other names are passed over.

use super::{HashKey, Message, Name, Progress, QUESTION_AT, kind};
use crate::Address;

/// What one step found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// Nothing yet.
    More,
    /// An address of the name, and its time to live in seconds.
    Address([u32; 4], u32),
    /// The section has ended.
    End,
    /// It cannot be read on.
    Bad,
}

/// A walk over the answer section.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    name: Name,
    /// The name's hash that was asked for, and the one that it leads to so far.
    question: u64,
    current: u64,
    at: u32,
    phase: u32,
    records: u32,
    /// 1 if the record belongs to the current name.
    owned: u32,
}

// Numbers, not an enum: they live in a map.
const RECORD: u32 = 0;
const OWNER: u32 = 1;
const FIELDS: u32 = 2;
const TARGET: u32 = 3;

const FIELDS_LEN: u32 = 10;
const QUESTION_POINTER: [u8; 2] = [0xc0, QUESTION_AT as u8];

impl Answer {
    /// Begins at the first record of `records`; `question` is the hash of the name that was asked for.
    #[inline(always)]
    #[must_use]
    pub const fn new(question: u64, at: u32, records: u16) -> Self {
        let (name, records) = (Name::at(at), records as u32);
        Self { name, question, current: question, at, phase: RECORD, records, owned: 0 }
    }

    /// One step.
    #[inline(always)]
    pub fn step(&mut self, message: &(impl Message + ?Sized), key: &HashKey) -> Event {
        match self.phase {
            RECORD => self.record(message),
            FIELDS => self.fields(message),
            _ => self.name(message, key),
        }
    }

    /// Most records belong to the question's name, and point to it.
    #[inline(always)]
    fn record(&mut self, message: &(impl Message + ?Sized)) -> Event {
        if self.records == 0 {
            return Event::End;
        }
        self.records -= 1;
        let Some(high) = message.byte(self.at) else { return Event::Bad };
        if high == QUESTION_POINTER[0] && message.byte(self.at + 1) == Some(QUESTION_POINTER[1]) {
            self.owned = u32::from(self.question == self.current);
            (self.at, self.phase) = (self.at + 2, FIELDS);
        } else {
            (self.name, self.phase) = (Name::at(self.at), OWNER);
        }
        Event::More
    }

    #[inline(always)]
    fn name(&mut self, message: &(impl Message + ?Sized), key: &HashKey) -> Event {
        match self.name.step(message, key) {
            Progress::Byte(_) | Progress::Jump => {}
            Progress::Bad => return Event::Bad,
            Progress::End if self.phase == OWNER => {
                self.owned = u32::from(self.name.hash().value() == self.current);
                (self.at, self.phase) = (self.name.end(), FIELDS);
            }
            // The record's end is known already.
            Progress::End => {
                self.current = self.name.hash().value();
                self.phase = RECORD;
            }
        }
        Event::More
    }

    #[inline(always)]
    fn fields(&mut self, message: &(impl Message + ?Sized)) -> Event {
        // Type, class, and time to live; then the length of what follows.
        let (Some([kind, class, ttl_high, ttl_low]), Some([len_high, len_low])) =
            (message.words(self.at), both(message.byte(self.at + 8), message.byte(self.at + 9)))
        else {
            return Event::Bad;
        };
        let data = self.at + FIELDS_LEN;
        let len = u32::from(u16::from_be_bytes([len_high, len_low]));
        (self.at, self.phase) = (data + len, RECORD);
        if self.owned == 0 || class != kind::IN {
            return Event::More;
        }
        let ttl = u32::from(ttl_high) << 16 | u32::from(ttl_low);
        match (kind, len) {
            (kind::CNAME, _) => {
                (self.name, self.phase) = (Name::at(data), TARGET);
                Event::More
            }
            (kind::A, 4) => match message.bytes4(data) {
                Some(ip) => Event::Address(Address::v4(u32::from_ne_bytes(ip), 0).ip, ttl),
                None => Event::Bad,
            },
            (kind::AAAA, 16) => match message.address(data) {
                Some(ip) => Event::Address(ip, ttl),
                None => Event::Bad,
            },
            _ => Event::More,
        }
    }
}

#[inline(always)]
fn both(a: Option<u8>, b: Option<u8>) -> Option<[u8; 2]> {
    Some([a?, b?])
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::{vec, vec::Vec};

    use super::*;
    use crate::dns::{Header, MAX_ANSWER_STEPS};

    const KEY: HashKey = HashKey::from_random(42);

    /// What the programs would learn; none if they would drop it.
    fn addresses(message: &[u8]) -> Option<Vec<([u32; 4], u32)>> {
        let header = Header::read(message).filter(Header::is_response)?;
        let mut name = Name::at(QUESTION_AT);
        let question = loop {
            match name.step(message, &KEY) {
                Progress::Byte(_) => {}
                Progress::End => break name.hash().value(),
                Progress::Jump | Progress::Bad => return None,
            }
        };
        let mut answer = Answer::new(question, name.end() + 4, header.answers);
        let mut found = Vec::new();
        for _ in 0..MAX_ANSWER_STEPS {
            match answer.step(message, &KEY) {
                Event::More => {}
                Event::Address(ip, ttl) => found.push((ip, ttl)),
                Event::End => return Some(found),
                Event::Bad => return None,
            }
        }
        None
    }

    /// `mcp.test` is `edge.test`, which has two addresses; and there is one of somebody else's.
    fn message() -> Vec<u8> {
        let mut message = vec![0, 7, 0x81, 0x80, 0, 1, 0, 4, 0, 0, 0, 0];
        message.extend(b"\x03MCP\x04test\0\0\x01\0\x01");
        message.extend(b"\xc0\x0c\0\x05\0\x01\0\0\0\x3c\0\x07\x04edge\xc0\x10");
        let edge = u8::try_from(message.len() - 7).unwrap();
        message.extend([0xc0, edge]);
        message.extend(b"\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x01");
        message.extend(b"\x05other\xc0\x10\0\x01\0\x01\0\0\0\x05\0\x04\xc0\0\x02\x02");
        message.extend(b"\x04EDGE\x04test\0\0\x1c\0\x01\0\0\0\x06\0\x10");
        message.extend([0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        message
    }

    #[test]
    fn aliases_are_followed_and_strangers_passed_over() {
        let v6 = [0x2001_0db8_u32.to_be(), 0, 0, 1_u32.to_be()];
        let expected = vec![(Address::v4(0xc000_0201_u32.to_be(), 0).ip, 5), (v6, 6)];
        assert_eq!(addresses(&message()), Some(expected));
    }

    #[test]
    fn every_cut_is_noticed() {
        let whole = message();
        for len in 0..whole.len() {
            assert_eq!(addresses(&whole[..len]), None, "{len}");
        }
    }

    /// Whatever is changed, reading ends and stays inside; nothing panics.
    #[test]
    fn any_message_is_read_to_an_end() {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..50_000 {
            let mut changed = message();
            for _ in 0..3 {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                let at = 12 + (x >> 8) as usize % (changed.len() - 12);
                changed[at] = if x & 1 == 0 { x as u8 } else { 0xc0 | (x as u8 & 3) };
            }
            let _ = addresses(&changed);
        }
        // A pointer to itself, and one forward.
        for to in [29, 60] {
            let mut looping = message();
            looping[25..27].copy_from_slice(&[0xc0, to]);
            assert_eq!(addresses(&looping), None);
        }
    }
}
