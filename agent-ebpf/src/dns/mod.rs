//! DNS as the programs read it, in a form that user space can run and test too: names are hashed while they are walked, byte by
//! byte, so that neither memory nor time depends on what a peer sends.

mod answer;
mod hash;
mod name;
mod quota;

pub use self::{
    answer::{Answer, Event},
    hash::{HashKey, NameHash},
    name::{Message, Name, Progress},
    quota::{HOLDERS, LEARNT_PER_CGROUP, LEARNT_PER_NETNS, MAX_ANSWERED, MAX_LEARNT, Quota, TAKERS, Taker},
};

/// Where servers of names listen.
pub const PORT: u32 = 53;

/// Length of a message's header (RFC 1035 §4.1.1), where the question's name begins.
pub const QUESTION_AT: u32 = 12;

/// Most bytes of a name on the wire (RFC 1035 §2.3.4), the root's included.
pub const MAX_NAME: usize = 255;

/// Most steps in which an answer is read; one that takes more is dropped. A record takes about 5, and one for each byte of
/// an owner that is not the question's name.
pub const MAX_ANSWER_STEPS: u32 = 16_384;

/// Most ports that one host may be registered at.
pub const MAX_PORTS: usize = 16;

/// Most questions for registered names that one socket can wait for at once.
pub const MAX_ASKED: usize = 16;

/// How long answers to a question are believed.
pub const OPEN_NS: u64 = 60_000_000_000;

/// How long an address is kept beyond its TTL: applications cache longer.
pub const KEEP_SECONDS: u32 = 3600;

/// Longer TTLs are cut to a week (RFC 8767 §4).
pub const MAX_TTL_SECONDS: u32 = 604_800;

/// The header's fields that count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Names the question to the asker.
    pub id: u16,
    flags: u16,
    questions: u16,
    /// Records in the answer section.
    pub answers: u16,
}

const RESPONSE: u16 = 0x8000;
const OPCODE: u16 = 0x7800;
const TRUNCATED: u16 = 0x0200;
const RCODE: u16 = 0x000f;
// Codes of responses (RFC 1035 §4.1.1).
const NO_ERROR: u16 = 0;
const NO_SUCH_NAME: u16 = 3;

impl Header {
    /// None if it is not there.
    #[inline(always)]
    pub fn read(message: &(impl Message + ?Sized)) -> Option<Self> {
        let [id, flags, questions, answers] = message.words(0)?;
        Some(Self { id, flags, questions, answers })
    }

    /// Whether this is one standard question.
    #[inline(always)]
    #[must_use]
    pub const fn is_query(&self) -> bool {
        self.flags & (RESPONSE | OPCODE) == 0 && self.questions == 1
    }

    /// Whether this answers one standard question, well or badly.
    #[inline(always)]
    #[must_use]
    pub const fn is_response(&self) -> bool {
        self.flags & (RESPONSE | OPCODE) == RESPONSE && self.questions == 1
    }

    /// Whether askers take this for the answer. What says anything else of the question (a refusal, a failure) they pass
    /// over, and wait for the next server's: musl asks all at once, on one socket.
    #[inline(always)]
    #[must_use]
    pub const fn is_final(&self) -> bool {
        matches!(self.flags & RCODE, NO_ERROR | NO_SUCH_NAME)
    }

    /// Whether the question was answered with records.
    #[inline(always)]
    #[must_use]
    pub const fn has_records(&self) -> bool {
        self.flags & RCODE == NO_ERROR && self.answers > 0
    }

    /// Whether the asker is told to ask again over TCP.
    #[inline(always)]
    #[must_use]
    pub const fn is_truncated(&self) -> bool {
        self.flags & TRUNCATED != 0
    }
}

/// Types of records, and the class (RFC 1035 §3.2, RFC 3596).
pub mod kind {
    /// An IPv4 address.
    pub const A: u16 = 1;
    /// Another name for the owner.
    pub const CNAME: u16 = 5;
    /// An IPv6 address.
    pub const AAAA: u16 = 28;
    /// Whatever there is.
    pub const ANY: u16 = 255;
    /// The Internet.
    pub const IN: u16 = 1;
}

/// Where the hosts of a registered pattern are reached, and for which endpoints.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pattern {
    /// The first `len` count.
    pub ports: [PatternPort; MAX_PORTS],
    /// How many.
    pub len: u32,
    /// Zero.
    pub reserved: u32,
}

/// One port of a [`Pattern`].
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PatternPort {
    /// In host byte order.
    pub port: u32,
    /// Which endpoint is there.
    pub endpoint: u32,
}

/// An address that a network namespace has learnt.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LearntKey {
    /// The namespace's cookie.
    pub netns: u64,
    /// IPv4 in its v4-mapped form, each word in network byte order.
    pub ip: [u32; 4],
    /// In host byte order; 0 for the address whatever the port, which packets without ports are compared with.
    pub port: u32,
    /// Zero.
    pub reserved: u32,
}

/// What an address was learnt from.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LearntFrom {
    /// An answer that the application got.
    Answer = 0,
    /// The hosts file of the namespace's container.
    HostsFile = 1,
}

/// What was learnt of an address.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learnt {
    /// When it may be forgotten: nanoseconds since boot, suspend included.
    pub until_ns: u64,
    /// The cgroup of the socket that asked, or of the process whose hosts file it is.
    pub cgroup: u64,
    /// The cgroups above it and itself, from the first below the hierarchy's root on; 0 beyond its end.
    pub holders: [u64; HOLDERS],
    /// The [`NameHash`] of the last name that led to it.
    pub name: u64,
    /// The pattern that this name matched.
    pub pattern: u64,
    /// The endpoint at the port.
    pub endpoint: u32,
    /// [`LearntFrom`].
    pub from: u32,
    /// 1 if several names have led to it, else 0.
    pub several: u32,
    /// Length of the name.
    pub len: u32,
    /// The name on the wire, in lower case, without the root.
    pub text: [u8; 256],
}

/// A question for a registered name.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// The name's [`NameHash`].
    pub name: u64,
    /// The pattern that it matched.
    pub pattern: u64,
    /// Nanoseconds since boot; 0 if there is no question here.
    pub at_ns: u64,
    /// The message's id.
    pub id: u32,
    /// 1 once there was an answer that the asker takes, else 0. Another server's may follow, and the asker may read that too.
    pub answered: u32,
}

/// What one socket asks.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Questions {
    /// The questions, in no order.
    pub asked: [Asked; MAX_ASKED],
    /// The question that is being looked at. Here rather than on the stack, where the verifier would follow every value.
    pub asking: Asking,
}

/// A walk over a question's name.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Asking {
    /// What names are hashed with.
    pub key: HashKey,
    /// The walk.
    pub name: Name,
    /// The hash of the whole name.
    pub whole: u64,
    /// See [`NameHash::rest`].
    pub unpower: u64,
    /// The pattern that the name matches, or 0.
    pub pattern: u64,
    /// 1 once the name has been read to its end, else 0.
    pub ended: u64,
    /// Whose walk this is: another one on the same socket, at the same time, spoils it.
    pub token: u64,
}

/// A server of names that a network namespace is configured with. With the address zero: what it is configured with is known.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Resolver {
    /// The namespace's cookie.
    pub netns: u64,
    /// As in [`LearntKey`].
    pub ip: [u32; 4],
}

/// What became of questions and answers about registered names.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DnsCount {
    /// Answers that were believed.
    Believed = 0,
    /// Answers to a question that was asked, from a server that the namespace is not configured with.
    Stranger = 1,
    /// Answers dropped because there was no room, or no quota left, for their addresses.
    NoRoom = 2,
    /// Answers dropped because they could not be read to their end.
    Unread = 3,
    /// Questions refused because they could not be remembered.
    Refused = 4,
}

impl DnsCount {
    /// Every one, in the order of their numbers.
    pub const ALL: [Self; 5] = [Self::Believed, Self::Stranger, Self::NoRoom, Self::Unread, Self::Refused];
}

const _: () = {
    assert!(size_of::<HashKey>() == 16);
    assert!(size_of::<Pattern>() == 136);
    assert!(size_of::<LearntKey>() == 32);
    assert!(size_of::<Learnt>() == 344);
    assert!(size_of::<Questions>() == 32 * MAX_ASKED + 96);
    assert!(size_of::<Resolver>() == 24);
    assert!(size_of::<Quota>() == 16);
};
