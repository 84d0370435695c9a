//! The eBPF programs. Built for the BPF target only; elsewhere this is an empty program so that workspace-wide
//! commands (`cargo clippy --workspace`) pass.
#![cfg_attr(target_arch = "bpf", no_std, no_main)]

#[cfg(not(target_arch = "bpf"))]
fn main() {}

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
