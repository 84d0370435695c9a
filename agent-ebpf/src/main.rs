//! The eBPF programs. Built for the BPF target only; elsewhere this is an empty program so that workspace-wide
//! commands (`cargo clippy --workspace`) pass.
//!
//! | program | hook | job |
//! |---|---|---|
//! | `weir_origin` | `cgroup/sock_create` | remember which cgroup a socket comes from, refuse raw sockets, announce a namespace that is not served |
//! | `weir_connect4`, `weir_connect6` | `cgroup/connect4,6` | redirect or deny what is in scope, remember the flow on the socket |
//! | `weir_sock_ops` | `sock_ops` | hand the flow over to the accepting side, and count what never gets there |
//! | `weir_exec` | raw tracepoint `sched_process_exec` | announce a program in scope before its first socket; optional |
//! | `weir_peername4`, `weir_peername6` | `cgroup/getpeername4,6` | show the application the server it meant |
//! | `weir_sendmsg4`, `weir_sendmsg6` | `cgroup/sendmsg4,6` | deny datagrams to registered addresses, and QUIC where all TCP is taken |
//! | `weir_bind4`, `weir_bind6` | `cgroup/bind4,6` | keep others off the listeners' ports |
//! | `weir_packet` | LSM `socket_create` | refuse packet sockets; only with `link_layer = "deny"` |
//! | `weir_device` | `cgroup/dev` | refuse TUN devices; the same |
//! | `weir_guard` | `cgroup_skb/egress` | stop what still leaves for a registered address, or past `connect()` where all TCP is taken |
//! | `weir_question` | `cgroup_skb/egress` | remember questions to servers of names about registered names |
//! | `weir_answer` | `cgroup_skb/ingress` | learn the addresses that their answers give, before the application does |
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]
#![cfg_attr(target_arch = "bpf", allow(unsafe_code, reason = "contexts and helpers of the kernel are raw pointers"))]

#[cfg(target_arch = "bpf")]
mod announce;
#[cfg(target_arch = "bpf")]
mod answer;
#[cfg(target_arch = "bpf")]
mod bind;
#[cfg(target_arch = "bpf")]
mod connect;
#[cfg(target_arch = "bpf")]
mod counters;
#[cfg(target_arch = "bpf")]
mod destinations;
#[cfg(target_arch = "bpf")]
mod guard;
#[cfg(target_arch = "bpf")]
mod heartbeat;
#[cfg(target_arch = "bpf")]
mod holders;
#[cfg(target_arch = "bpf")]
mod link_layer;
#[cfg(target_arch = "bpf")]
mod listener;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod origin;
#[cfg(target_arch = "bpf")]
mod packet;
#[cfg(target_arch = "bpf")]
mod peername;
#[cfg(target_arch = "bpf")]
mod question;
#[cfg(target_arch = "bpf")]
mod raw;
#[cfg(target_arch = "bpf")]
mod report;
#[cfg(target_arch = "bpf")]
mod scope;
#[cfg(target_arch = "bpf")]
mod sockops;
#[cfg(target_arch = "bpf")]
mod udp;
#[cfg(target_arch = "bpf")]
mod unregistered;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
