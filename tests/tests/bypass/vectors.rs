//! The vectors: `vectors/<program>.c`, with what becomes of it.

use crate::arena::Verdict::{self, Denied, Guarded, Intercepted};

/// An ordinary user; nobody needs to have this id.
const ORDINARY: u32 = 1000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum User {
    Root,
    Ordinary,
}

impl User {
    pub(crate) const ALL: [Self; 2] = [Self::Root, Self::Ordinary];

    pub(crate) fn uid(self) -> u32 {
        match self {
            Self::Root => 0,
            Self::Ordinary => ORDINARY,
        }
    }
}

/// What a vector takes to work at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    Nothing,
    /// Root has it, in a container too.
    NetRaw,
    /// Root has it, but not in a container.
    NetAdmin,
    /// Something that not every kernel offers.
    Kernel,
}

/// How the target is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    V4,
    V6,
    /// IPv4 in IPv6's clothes.
    Mapped,
    /// An address that only a friend of the program's knows; it has none of its own.
    Announced,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Vector {
    pub(crate) program: &'static str,
    pub(crate) argument: &'static str,
    pub(crate) form: Form,
    pub(crate) needs: Needs,
    pub(crate) expected: Verdict,
}

impl Vector {
    pub(crate) fn name(&self) -> String {
        let form = match self.form {
            Form::V4 => "IPv4",
            Form::V6 => "IPv6",
            Form::Mapped => "v4-mapped",
            Form::Announced => "announced",
        };
        [self.program, self.argument, form].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// What becomes of it where all TCP is taken and nobody has registered the target.
    pub(crate) fn expected_where_all_is_taken(&self) -> Verdict {
        match self.program {
            // Its friend is taken too, so that there is nobody to open another subflow to.
            "mptcp_subflow" => Intercepted,
            // It names another address, at the same port.
            "source_route" => Denied,
            _ => self.expected,
        }
    }

    /// Whether it makes its socket elsewhere and then joins the scope.
    pub(crate) fn starts_outside(&self) -> bool {
        self.program.starts_with("outside_")
    }
}

const BOTH: &[Form] = &[Form::V4, Form::V6];
const EVERY: &[Form] = &[Form::V4, Form::V6, Form::Mapped];
const V4: &[Form] = &[Form::V4];
const MAPPED: &[Form] = &[Form::Mapped];

type Line = (&'static str, &'static str, &'static [Form], Needs, Verdict);

const STREAMS: &[Line] = &[
    ("tcp", "", EVERY, Needs::Nothing, Intercepted),
    ("tcp_nonblocking", "", EVERY, Needs::Nothing, Intercepted),
    ("tcp_bound", "", EVERY, Needs::Nothing, Intercepted),
    ("tcp_reconnect", "", BOTH, Needs::Nothing, Intercepted),
    ("tcp_repair", "", BOTH, Needs::NetAdmin, Intercepted),
    ("fastopen_sendto", "", EVERY, Needs::Nothing, Intercepted),
    ("fastopen_connect", "", EVERY, Needs::Nothing, Intercepted),
    ("mptcp", "", EVERY, Needs::Kernel, Intercepted),
    ("mptcp_subflow", "", &[Form::Announced], Needs::Kernel, Guarded),
    ("uring", "inline", BOTH, Needs::Kernel, Intercepted),
    ("uring", "async", BOTH, Needs::Kernel, Intercepted),
    ("uring", "sqpoll", BOTH, Needs::Kernel, Intercepted),
    ("thread", "", V4, Needs::Nothing, Intercepted),
    ("vfork_child", "", V4, Needs::Nothing, Intercepted),
    ("setuid_program", "", V4, Needs::Nothing, Intercepted),
    ("other_netns", "", BOTH, Needs::Kernel, Intercepted),
    ("outside_tcp", "", EVERY, Needs::Nothing, Intercepted),
    ("outside_rights", "", EVERY, Needs::Nothing, Intercepted),
    ("sctp", "", BOTH, Needs::Kernel, Guarded),
    ("sctp", "one-to-many", BOTH, Needs::Kernel, Guarded),
];

const DATAGRAMS: &[Line] = &[
    ("udp_sendto", "", EVERY, Needs::Nothing, Denied),
    ("udp_sendmmsg", "", EVERY, Needs::Nothing, Denied),
    ("udp_unspec", "", V4, Needs::Nothing, Denied),
    ("udp_mixed", "", V4, Needs::Nothing, Denied),
    ("udp_connected", "", BOTH, Needs::Nothing, Guarded),
    // The kernel names the destination itself.
    ("udp_connected", "", MAPPED, Needs::Nothing, Denied),
    ("udp_large", "", BOTH, Needs::Nothing, Guarded),
    ("udp_large", "", MAPPED, Needs::Nothing, Denied),
    ("udp_lite", "", BOTH, Needs::Kernel, Guarded),
    ("uring_sendmsg", "", BOTH, Needs::Kernel, Denied),
    ("outside_udp_sendto", "", EVERY, Needs::Nothing, Denied),
    ("outside_udp_connected", "", BOTH, Needs::Nothing, Guarded),
    ("outside_udp_connected", "", MAPPED, Needs::Nothing, Denied),
    ("source_route", "", V4, Needs::NetRaw, Guarded),
];

const RAW: &[Line] = &[
    ("raw_udp", "", BOTH, Needs::NetRaw, Denied),
    ("raw_header", "", V4, Needs::NetRaw, Denied),
    ("raw_fragment", "", V4, Needs::NetRaw, Denied),
    ("raw_protocol", "", BOTH, Needs::NetRaw, Denied),
];

pub(crate) fn all() -> Vec<Vector> {
    [STREAMS, DATAGRAMS, RAW].into_iter().flatten().flat_map(vectors).collect()
}

pub(crate) fn raw() -> Vec<Vector> {
    RAW.iter().flat_map(vectors).collect()
}

fn vectors(&(program, argument, forms, needs, expected): &Line) -> impl Iterator<Item = Vector> {
    forms.iter().map(move |&form| Vector { program, argument, form, needs, expected })
}
