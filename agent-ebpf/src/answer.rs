//! `cgroup_skb/ingress`: an answer to a question that was asked, from a server that the namespace is configured with, is
//! read before the application can read it, and its addresses are registered for the namespace. An answer whose addresses
//! cannot be is dropped: the application must not know what the agent does not.

use core::{ffi::c_void, ptr};

use aya_ebpf::{
    bindings::BPF_NOEXIST,
    helpers::generated::{bpf_ktime_get_boot_ns, bpf_loop, bpf_skb_ancestor_cgroup_id, bpf_skb_cgroup_id},
    macros::{cgroup_skb, map},
    maps::PerCpuArray,
    programs::SkBuffContext,
};
use aya_log_ebpf::warn;
use weir_ebpf::{
    Address,
    dns::{
        self, Answer, Asked, DnsCount, Event, HOLDERS, HashKey, Header, KEEP_SECONDS, Learnt, LearntFrom, LearntKey,
        MAX_ANSWER_STEPS, MAX_ASKED, MAX_PORTS, MAX_TTL_SECONDS, Name, OPEN_NS, Pattern, Progress, QUESTION_AT,
        Questions, Resolver, TAKERS, Taker,
    },
};

use crate::{
    counters::{add, count_dns},
    guard::socket_of,
    maps::{LEARNT, NAME_KEY, ORIGIN, PATTERNS, QUESTIONS, QUOTAS, RESOLVERS, place, stored},
    packet::Packet,
    question::Payload,
    report::is_due,
};

const DROP: i32 = 0;
const PASS: i32 = 1;

// How reading an answer ends: numbers, not an enum, because they live in a map.
const BELIEVED: u64 = DnsCount::Believed as u64;
const NO_ROOM: u64 = DnsCount::NoRoom as u64;
const UNREAD: u64 = DnsCount::Unread as u64;

const NAME_STEPS: u32 = 256;
const NS_PER_S: u64 = 1_000_000_000;

/// What the walk over an answer needs beside the packet. Packets are received with soft interrupts off, so that each CPU has
/// one at a time.
#[map]
static READING: PerCpuArray<Reading> = PerCpuArray::with_max_entries(1, 0);

#[repr(C)]
struct Reading {
    key: HashKey,
    name: Name,
    answer: Answer,
    netns: u64,
    now_ns: u64,
    ended: u64,
    /// How it went.
    outcome: u64,
    learnt: Learnt,
}

/// The context of the callbacks.
#[repr(C)]
struct Walk {
    message: Payload,
    reading: *mut Reading,
}

#[cgroup_skb(ingress)]
pub(crate) fn weir_answer(ctx: SkBuffContext) -> i32 {
    let Some(outcome) = look(&ctx) else { return PASS };
    count_dns(outcome);
    let dropped = matches!(outcome, DnsCount::NoRoom | DnsCount::Unread);
    if dropped && is_due() {
        warn!(&ctx, "dropped: an answer about a registered name, reason {}", outcome as u32);
    }
    if dropped { DROP } else { PASS }
}

/// None if it is no answer to a question that was remembered. Every server that was asked may answer, and the application
/// may read each.
#[inline(always)]
fn look(ctx: &SkBuffContext) -> Option<DnsCount> {
    let packet = Packet::read(ctx)?;
    let (payload, port, _) = packet.datagram(ctx)?;
    if port != dns::PORT {
        return None;
    }
    let sk = socket_of(ctx);
    if sk.is_null() {
        return None;
    }
    let questions = unsafe { place(&QUESTIONS, sk) };
    if questions.is_null() {
        return None;
    }
    let netns = unsafe { stored(&ORIGIN, sk) }?.netns;
    let message = Payload { skb: ctx.skb.skb, at: payload };
    let header = Header::read(&message).filter(Header::is_response)?;
    let reading = READING.get_ptr_mut(0)?;
    let walk = Walk { message, reading };

    unsafe {
        (*reading).key = *NAME_KEY.get(0)?;
        (*reading).name = Name::at(QUESTION_AT);
        (*reading).ended = 0;
        (*reading).now_ns = bpf_ktime_get_boot_ns();
        (*reading).netns = netns;
    }
    run(read_question, NAME_STEPS, &walk);
    if unsafe { (*reading).ended } == 0 {
        return None;
    }
    let name = unsafe { (*reading).name.hash().value() };
    let asked = unsafe { open_question(questions, header.id.into(), name, (*reading).now_ns) }?;
    if !is_believed(netns, packet.from) {
        return Some(DnsCount::Stranger);
    }
    if header.is_final() {
        unsafe { (*asked).answered = 1 };
    }
    if !header.has_records() {
        return Some(DnsCount::Believed);
    }
    unsafe {
        // Type and class come between the question's name and the first record.
        (*reading).answer = Answer::new(name, (*reading).name.end() + 4, header.answers);
        let len = (*reading).name.len();
        let Learnt { until_ns, cgroup, holders, name: of, pattern, endpoint, from, several, len: text_len, text: _ } =
            &mut (*reading).learnt;
        (*until_ns, *endpoint, *several) = (0, 0, 0);
        (*cgroup, *of, *pattern) = (bpf_skb_cgroup_id(ctx.skb.skb), name, (*asked).pattern);
        for level in 0..HOLDERS {
            holders[level] = bpf_skb_ancestor_cgroup_id(ctx.skb.skb, level as i32 + 1);
        }
        (*from, *text_len) = (LearntFrom::Answer as u32, len);
        (*reading).outcome = UNREAD;
    }
    run(read_answer, MAX_ANSWER_STEPS, &walk);
    Some(match unsafe { (*reading).outcome } {
        BELIEVED => DnsCount::Believed,
        NO_ROOM => DnsCount::NoRoom,
        // The application asks again, over TCP; what came of it is learnt.
        _ if header.is_truncated() => DnsCount::Believed,
        _ => DnsCount::Unread,
    })
}

#[inline(always)]
fn run(step: unsafe extern "C" fn(u64, *mut c_void) -> i64, times: u32, walk: &Walk) {
    unsafe { bpf_loop(times, step as *mut c_void, ptr::from_ref(walk).cast_mut().cast(), 0) };
}

/// The remembered question with this id and name.
#[inline(always)]
unsafe fn open_question(questions: *mut Questions, id: u32, name: u64, now_ns: u64) -> Option<*mut Asked> {
    for n in 0..MAX_ASKED {
        let asked = unsafe { &mut (*questions).asked[n] };
        if asked.id == id && asked.name == name && asked.at_ns != 0 {
            return (now_ns - asked.at_ns <= OPEN_NS).then_some(ptr::from_mut(asked));
        }
    }
    None
}

/// Until it is known what a namespace is configured with, the server that was asked is believed: it counts nowhere else.
#[inline(always)]
fn is_believed(netns: u64, from: [u32; 4]) -> bool {
    let is_known = unsafe { RESOLVERS.get(Resolver { netns, ip: [0; 4] }) }.is_some();
    !is_known || unsafe { RESOLVERS.get(Resolver { netns, ip: from }) }.is_some()
}

/// Keeps the name as it goes.
unsafe extern "C" fn read_question(_: u64, walk: *mut c_void) -> i64 {
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    let reading = unsafe { &mut *walk.reading };
    match reading.name.step(&walk.message, &reading.key) {
        Progress::Byte(byte) => {
            let at = (reading.name.len() - 1) & 0xff;
            reading.learnt.text[at as usize] = byte;
            0
        }
        Progress::Jump | Progress::Bad => 1,
        Progress::End => {
            reading.ended = 1;
            1
        }
    }
}

unsafe extern "C" fn read_answer(_: u64, walk: *mut c_void) -> i64 {
    let walk = unsafe { &mut *walk.cast::<Walk>() };
    let reading = unsafe { &mut *walk.reading };
    match reading.answer.step(&walk.message, &reading.key) {
        Event::More => 0,
        Event::Bad => 1,
        Event::End => {
            reading.outcome = BELIEVED;
            1
        }
        Event::Address(ip, ttl) => match learn(reading, ip, ttl) {
            Ok(()) => 0,
            Err(()) => {
                reading.outcome = NO_ROOM;
                1
            }
        },
    }
}

/// Registers an address of the name at each of its pattern's ports.
#[inline(always)]
fn learn(reading: &mut Reading, ip: [u32; 4], ttl: u32) -> Result<(), ()> {
    // A name that is registered no more has nothing to be learnt.
    let Some(pattern) = (unsafe { PATTERNS.get(&reading.learnt.pattern) }) else { return Ok(()) };
    let kept = u64::from(ttl.min(MAX_TTL_SECONDS) + KEEP_SECONDS) * NS_PER_S;
    reading.learnt.until_ns = reading.now_ns + kept;
    let ip = Address { ip, port: 0 }.connected().ip;
    take_room(reading, missing(reading, pattern, ip))?;
    for n in 0..MAX_PORTS {
        if n >= pattern.len as usize {
            break;
        }
        let port = pattern.ports[n];
        reading.learnt.endpoint = port.endpoint;
        keep(reading, ip, port.port)?;
        if n == 0 {
            keep(reading, ip, 0)?;
        }
    }
    Ok(())
}

/// How many entries an address takes that are not there yet.
#[inline(always)]
fn missing(reading: &Reading, pattern: &Pattern, ip: [u32; 4]) -> u64 {
    let is_missing = |port| LEARNT.get_ptr(LearntKey { netns: reading.netns, ip, port, reserved: 0 }).is_none();
    let mut missing = u64::from(is_missing(0));
    for n in 0..MAX_PORTS {
        if n >= pattern.len as usize {
            break;
        }
        missing += u64::from(is_missing(pattern.ports[n].port));
    }
    missing
}

#[inline(always)]
fn keep(reading: &Reading, ip: [u32; 4], port: u32) -> Result<(), ()> {
    let key = LearntKey { netns: reading.netns, ip, port, reserved: 0 };
    if let Some(known) = LEARNT.get_ptr_mut(key) {
        let known = unsafe { &mut *known };
        known.until_ns = known.until_ns.max(reading.learnt.until_ns);
        if known.name != reading.learnt.name {
            known.several = 1;
        }
        return Ok(());
    }
    match LEARNT.insert(key, &reading.learnt, BPF_NOEXIST.into()) {
        Ok(()) => Ok(()),
        // Another CPU was faster, or there is no room.
        Err(_) if LEARNT.get_ptr(key).is_some() => Ok(()),
        Err(_) => Err(()),
    }
}

/// Takes room for so many entries from all whose room they take, or from nobody. CPUs may look at the same time and miss one
/// another, and what then fails is not given back: the agent counts again now and then.
#[inline(always)]
fn take_room(reading: &Reading, entries: u64) -> Result<(), ()> {
    if entries == 0 {
        return Ok(());
    }
    for n in 0..TAKERS {
        let Some(Taker { quota, most }) = reading.learnt.taker(reading.netns, n) else { continue };
        let taken = unsafe { QUOTAS.get(quota) }.copied().unwrap_or(0);
        if taken + entries > most {
            return Err(());
        }
    }
    for n in 0..TAKERS {
        let Some(Taker { quota, .. }) = reading.learnt.taker(reading.netns, n) else { continue };
        match QUOTAS.get_ptr_mut(quota) {
            Some(taken) => add(unsafe { &mut *taken }, entries),
            None => QUOTAS.insert(quota, entries, 0).map_err(|_| ())?,
        }
    }
    Ok(())
}
