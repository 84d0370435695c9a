//! The eBPF programs. Built for the BPF target only; elsewhere this is an empty program so that workspace-wide
//! commands (`cargo clippy --workspace`) pass.
//!
//! | program | hook | job |
//! |---|---|---|
//! | `weir_origin` | `cgroup/sock_create` | remember which cgroup a socket comes from |
//! | `weir_connect4`, `weir_connect6` | `cgroup/connect4,6` | redirect or deny what is in scope, remember the flow on the socket |
//! | `weir_sock_ops` | `sock_ops` | hand the flow over to the accepting side before the SYN leaves |
//! | `weir_peername4`, `weir_peername6` | `cgroup/getpeername4,6` | show the application the server it meant |
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![cfg_attr(target_arch = "bpf", allow(unsafe_code, reason = "contexts and helpers of the kernel are raw pointers"))]

#[cfg(target_arch = "bpf")]
mod connect;
#[cfg(target_arch = "bpf")]
mod counters;
#[cfg(target_arch = "bpf")]
mod listener;
#[cfg(target_arch = "bpf")]
mod maps;
#[cfg(target_arch = "bpf")]
mod origin;
#[cfg(target_arch = "bpf")]
mod peername;
#[cfg(target_arch = "bpf")]
mod scope;
#[cfg(target_arch = "bpf")]
mod sockops;

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
