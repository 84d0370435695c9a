//! The shared types as aya takes them.
#![allow(unsafe_code, reason = "`aya::Pod` is a promise about layout that only its implementor can make")]

use crate::{
    Address, Agent, EndpointCounters, FailedOpen, Flow, ListenerPorts, Origin, PendingKey, Settings,
    dns::{HashKey, Learnt, LearntKey, Pattern, Quota, Resolver},
};

macro_rules! pod {
    ($($shared:ty),+) => {$(
        // SAFETY: `repr(C)`, made of integers only, without padding (see the size asserts), valid for every bit pattern.
        unsafe impl aya::Pod for $shared {}
    )+};
}

pod!(Address, Agent, EndpointCounters, FailedOpen, Flow, ListenerPorts, Origin, PendingKey, Settings);
pod!(HashKey, Learnt, LearntKey, Pattern, Quota, Resolver);
