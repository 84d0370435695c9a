//! What is written below IP passes every other hook: packet sockets (`AF_PACKET`, `AF_XDP`), and the far end of a TUN or TAP
//! device. These programs take both from the scope. They are attached only where `intercept.link_layer = "deny"` asks for it:
//! a host's own DHCP client needs a packet socket.

use aya_ebpf::{
    EbpfContext,
    macros::{cgroup_device, lsm_cgroup},
    programs::{DeviceContext, LsmContext},
};
use aya_log_ebpf::warn;
use weir_ebpf::Denial;

use crate::{counters::count_denial, report::is_due, scope::task_in_scope};

// include/linux/socket.h
const AF_PACKET: i32 = 17;
const AF_XDP: i32 = 44;

// include/uapi/linux/bpf.h: the device's type is in the lower half of `access_type`, what is asked for in the upper.
const BPF_DEVCG_ACC_READ: u32 = 1 << 1;
const BPF_DEVCG_ACC_WRITE: u32 = 1 << 2;
const BPF_DEVCG_DEV_CHAR: u32 = 1 << 1;

/// `/dev/net/tun`: Documentation/admin-guide/devices.txt.
const TUN: (u32, u32) = (10, 200);

/// `socket_create(family, type, protocol, kern)`: every `socket()`, by io_uring too. 0 refuses with `EPERM`.
#[lsm_cgroup(hook = "socket_create")]
pub(crate) fn weir_packet(ctx: LsmContext) -> i32 {
    let (family, is_kernels): (i32, i32) = (ctx.arg(0), ctx.arg(3));
    if is_kernels != 0 || !matches!(family, AF_PACKET | AF_XDP) {
        return 1;
    }
    refuses(&ctx, "packet socket of family", family as u32)
}

/// Every opening of a device. 0 refuses with `EPERM`.
#[cgroup_device]
pub(crate) fn weir_device(ctx: DeviceContext) -> i32 {
    let device = unsafe { &*ctx.device };
    let (kind, access) = (device.access_type & 0xffff, device.access_type >> 16);
    let is_tun = kind == BPF_DEVCG_DEV_CHAR && (device.major, device.minor) == TUN;
    if !is_tun || access & (BPF_DEVCG_ACC_READ | BPF_DEVCG_ACC_WRITE) == 0 {
        return 1;
    }
    refuses(&ctx, "TUN device", device.minor)
}

/// 0 if the scope asks. The agent never does.
#[inline(always)]
fn refuses(ctx: &impl EbpfContext, what: &'static str, number: u32) -> i32 {
    if !task_in_scope() {
        return 1;
    }
    count_denial(Denial::LinkLayer);
    if is_due() {
        warn!(ctx, "denied: {} {}", what, number);
    }
    0
}
