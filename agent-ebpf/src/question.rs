//! `cgroup_skb/egress`: what a task in scope asks a server of names about a registered name is remembered on its socket, so
//! that only the answer to it is believed. A question that cannot be remembered does not leave.
//!
//! Which sockets ask servers of names, `connect` and `sendmsg` have seen: here, the destination may have been translated
//! already (Docker's resolver, Kubernetes services).

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::{__sk_buff, bpf_sock},
    helpers::generated::{bpf_get_prandom_u32, bpf_ktime_get_boot_ns, bpf_ktime_get_ns, bpf_loop, bpf_skb_load_bytes},
    macros::cgroup_skb,
    programs::SkBuffContext,
};
use aya_log_ebpf::warn;
use weir_ebpf::dns::{
    self, Asked, Asking, DnsCount, Header, MAX_ASKED, Message, Name, NameHash, OPEN_NS, Progress, QUESTION_AT,
    Questions, kind,
};

use crate::{
    counters::count_dns,
    guard::socket_of,
    maps::{NAME_KEY, ORIGIN, PATTERNS, QUESTIONS, create, place, stored},
    packet::Packet,
    report::is_due,
    scope::socket_in_scope,
};

const DROP: i32 = 0;
const PASS: i32 = 1;

/// More than a name can have.
const NAME_STEPS: u32 = 256;

#[cgroup_skb(egress)]
pub(crate) fn weir_question(ctx: SkBuffContext) -> i32 {
    if look(&ctx).is_ok() {
        return PASS;
    }
    count_dns(DnsCount::Refused);
    if is_due() {
        warn!(&ctx, "refused: a question for a registered name that could not be remembered");
    }
    DROP
}

/// Fails if the question must not leave.
#[inline(always)]
fn look(ctx: &SkBuffContext) -> Result<(), ()> {
    let Some(packet) = Packet::read(ctx) else { return Ok(()) };
    let Some((payload, _, port)) = packet.datagram(ctx) else { return Ok(()) };
    let sk = socket_of(ctx);
    if sk.is_null() {
        return Ok(());
    }
    let origin = unsafe { stored(&ORIGIN, sk) };
    // One that is older than the agent must not ask: its namespace is not known. Another one will be made.
    let is_known = origin.is_some();
    if !origin.is_some_and(|origin| origin.asks != 0) && !(port == dns::PORT && socket_in_scope(ctx)) {
        return Ok(());
    }
    let message = Payload { skb: ctx.skb.skb, at: payload };
    let Some(header) = Header::read(&message).filter(Header::is_query) else { return Ok(()) };
    let Some(key) = NAME_KEY.get(0).filter(|key| key.point != 0) else { return Ok(()) };
    let questions = questions_of(sk)?;
    let asking = unsafe { &raw mut (*questions).asking };
    let walk = Walk { message, asking };
    let token = unsafe { bpf_ktime_get_ns() ^ u64::from(bpf_get_prandom_u32()) << 32 };
    unsafe {
        (*asking).key = *key;
        (*asking).name = Name::at(QUESTION_AT);
        (*asking).token = token;
        (*asking).ended = 0;
        (*asking).pattern = 0;
        (*asking).unpower = 1;
    }
    run(read, &walk);
    if unsafe { (*asking).ended } != 0 && asks_for_address(&message, unsafe { (*asking).name.end() }) {
        unsafe {
            (*asking).whole = (*asking).name.hash().value();
            (*asking).name = Name::at(QUESTION_AT);
        }
        run(match_end, &walk);
    }
    let (name, pattern) = unsafe { ((*asking).whole, (*asking).pattern) };
    if unsafe { (*asking).token } != token {
        return Err(());
    }
    if pattern == 0 {
        return Ok(());
    }
    if !is_known {
        return Err(());
    }
    let at_ns = unsafe { bpf_ktime_get_boot_ns() };
    remember(questions, Asked { name, pattern, at_ns, id: header.id.into(), answered: 0 })
}

/// The context of the callbacks.
#[repr(C)]
struct Walk {
    message: Payload,
    asking: *mut Asking,
}

#[inline(always)]
fn run(step: unsafe extern "C" fn(u64, *mut c_void) -> i64, walk: &Walk) {
    unsafe { bpf_loop(NAME_STEPS, step as *mut c_void, ptr::from_ref(walk).cast_mut().cast(), 0) };
}

/// Goes on with the name to its end. A question has no names before it to point to.
unsafe extern "C" fn read(_: u64, walk: *mut c_void) -> i64 {
    let walk = unsafe { &*walk.cast::<Walk>() };
    let asking = unsafe { &mut *walk.asking };
    let progress = asking.name.step(&walk.message, &asking.key);
    if let Progress::End = progress {
        asking.ended = 1;
    }
    i64::from(!matches!(progress, Progress::Byte(_)))
}

/// Goes on until what is left of the name is registered: the longest pattern wins.
unsafe extern "C" fn match_end(_: u64, walk: *mut c_void) -> i64 {
    let walk = unsafe { &*walk.cast::<Walk>() };
    let asking = unsafe { &mut *walk.asking };
    if asking.name.is_between_labels() {
        let is_below = asking.name.len() > 0;
        let pattern = asking.name.hash().rest(asking.whole, asking.unpower) << 1 | u64::from(is_below);
        if unsafe { PATTERNS.get(&pattern) }.is_some() {
            asking.pattern = pattern;
            return 1;
        }
    }
    asking.unpower = NameHash::next_unpower(&asking.key, asking.unpower);
    i64::from(!matches!(asking.name.step(&walk.message, &asking.key), Progress::Byte(_)))
}

#[inline(always)]
fn asks_for_address(message: &Payload, at: u32) -> bool {
    let Some([a, b, c, d]) = message.bytes4(at) else { return false };
    let (kind, class) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
    class == kind::IN && matches!(kind, kind::A | kind::AAAA | kind::ANY)
}

/// What the socket asks; made if need be.
#[inline(always)]
fn questions_of(sk: *mut bpf_sock) -> Result<*mut Questions, ()> {
    if unsafe { place(&QUESTIONS, sk) }.is_null() {
        unsafe { create(&QUESTIONS, sk) };
    }
    let questions = unsafe { place(&QUESTIONS, sk) };
    if questions.is_null() { Err(()) } else { Ok(questions) }
}

/// In the place of the same question, or of the oldest one that is not waited for any more.
#[inline(always)]
fn remember(questions: *mut Questions, question: Asked) -> Result<(), ()> {
    let mut free = MAX_ASKED;
    let mut oldest = u64::MAX;
    for n in 0..MAX_ASKED {
        let asked = unsafe { &(*questions).asked[n] };
        if asked.id == question.id && asked.name == question.name {
            free = n;
            break;
        }
        let is_open = asked.at_ns != 0 && question.at_ns.saturating_sub(asked.at_ns) <= OPEN_NS;
        if (!is_open || asked.answered != 0) && asked.at_ns < oldest {
            (free, oldest) = (n, asked.at_ns);
        }
    }
    if free >= MAX_ASKED {
        return Err(());
    }
    unsafe { (*questions).asked[free] = question };
    Ok(())
}

/// A datagram's payload.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct Payload {
    pub(crate) skb: *mut __sk_buff,
    /// Where it begins.
    pub(crate) at: u32,
}

impl Payload {
    #[inline(always)]
    fn load<T: Copy + Default>(&self, at: u32) -> Option<T> {
        let mut value = T::default();
        let to = (&raw mut value).cast();
        let failed = unsafe { bpf_skb_load_bytes(self.skb.cast(), self.at + at, to, size_of::<T>() as u32) };
        (failed == 0).then_some(value)
    }
}

impl Message for Payload {
    #[inline(always)]
    fn byte(&self, at: u32) -> Option<u8> {
        self.load(at)
    }

    #[inline(always)]
    fn bytes4(&self, at: u32) -> Option<[u8; 4]> {
        self.load(at)
    }

    #[inline(always)]
    fn words(&self, at: u32) -> Option<[u16; 4]> {
        let [a, b, c, d]: [u16; 4] = self.load(at)?;
        Some([u16::from_be(a), u16::from_be(b), u16::from_be(c), u16::from_be(d)])
    }

    #[inline(always)]
    fn address(&self, at: u32) -> Option<[u32; 4]> {
        self.load(at)
    }
}
