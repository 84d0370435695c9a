//! System calls that no safe wrapper offers. Every one checks its result and owns what it returns.
#![allow(unsafe_code, reason = "raw system calls: bpf(2), open_by_handle_at(2), getsockopt(2)")]

use std::{
    ffi::CStr,
    io,
    mem::{size_of, size_of_val},
    os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd},
    ptr,
};

// `enum bpf_cmd`, include/uapi/linux/bpf.h
const BPF_OBJ_PIN: libc::c_int = 6;
const BPF_OBJ_GET: libc::c_int = 7;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_LINK_CREATE: libc::c_int = 28;
const BPF_LINK_UPDATE: libc::c_int = 29;
const BPF_LINK_DETACH: libc::c_int = 34;

/// `FILEID_KERNFS`, include/linux/exportfs.h: the handle is the 64-bit id of a cgroup's directory.
const FILEID_KERNFS: libc::c_int = 0xfe;

/// Where a cgroup program attaches: `enum bpf_attach_type`, include/uapi/linux/bpf.h.
#[repr(u32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hook {
    Ingress = 0,
    Egress = 1,
    SockCreate = 2,
    SockOps = 3,
    Device = 6,
    Bind4 = 8,
    Bind6 = 9,
    Connect4 = 10,
    Connect6 = 11,
    SendMsg4 = 14,
    SendMsg6 = 15,
    PeerName4 = 29,
    PeerName6 = 30,
    LsmCgroup = 43,
}

/// What the kernel says of a cgroup link: `struct bpf_link_info`.
#[derive(Debug, Clone, Copy)]
pub(super) struct CgroupLinkInfo {
    pub(super) program_id: u32,
    /// 0 when the cgroup is gone.
    pub(super) cgroup_id: u64,
}

#[repr(C)]
struct ObjectAttr {
    pathname: u64,
    bpf_fd: u32,
    file_flags: u32,
}

#[repr(C)]
struct LinkCreateAttr {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
}

#[repr(C)]
struct LinkUpdateAttr {
    link_fd: u32,
    new_prog_fd: u32,
    flags: u32,
    old_prog_fd: u32,
}

#[repr(C)]
struct LinkDetachAttr {
    link_fd: u32,
}

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    r#type: u32,
    id: u32,
    prog_id: u32,
    reserved: u32,
    cgroup_id: u64,
    attach_type: u32,
    reserved_2: u32,
}

/// How `struct bpf_prog_info` and `struct bpf_map_info` begin.
#[repr(C)]
#[derive(Default)]
struct ObjectInfo {
    r#type: u32,
    id: u32,
}

#[repr(C)]
struct CgroupHandle {
    handle_bytes: u32,
    handle_type: libc::c_int,
    id: u64,
}

/// Runs `bpf(command, attr)`.
///
/// # Safety
///
/// `T` is the part of `union bpf_attr` that `command` reads, and every address in it is valid for what `command` does.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_long> {
    // SAFETY: the caller vouches for `attr`; its size is passed, and the kernel takes what is missing as zero.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_mut(attr), size_of::<T>()) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Takes ownership of a descriptor that the kernel just returned.
///
/// # Safety
///
/// `fd` is open, and nobody else owns it.
unsafe fn own(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = libc::c_int::try_from(fd).map_err(|_| io::ErrorKind::InvalidData)?;
    // SAFETY: the caller vouches for `fd`.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn raw(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Pins an object of the bpf subsystem in a bpffs.
pub(super) fn pin(object: BorrowedFd<'_>, path: &CStr) -> io::Result<()> {
    let mut attr = ObjectAttr { pathname: path.as_ptr() as u64, bpf_fd: raw(object), file_flags: 0 };
    // SAFETY: `path` is a C string that outlives the call.
    unsafe { bpf(BPF_OBJ_PIN, &mut attr) }.map(drop)
}

/// Opens what is pinned at a path.
pub(super) fn open_pinned(path: &CStr) -> io::Result<OwnedFd> {
    let mut attr = ObjectAttr { pathname: path.as_ptr() as u64, bpf_fd: 0, file_flags: 0 };
    // SAFETY: `path` is a C string that outlives the call; the descriptor returned is new and ours.
    unsafe { own(bpf(BPF_OBJ_GET, &mut attr)?) }
}

/// Attaches a program to a cgroup. Closing the link detaches it, unless it is pinned.
pub(super) fn attach(program: BorrowedFd<'_>, cgroup: BorrowedFd<'_>, hook: Hook) -> io::Result<OwnedFd> {
    // No flags: cgroup links are always "multi", and saying so is refused.
    let mut attr = LinkCreateAttr { prog_fd: raw(program), target_fd: raw(cgroup), attach_type: hook as u32, flags: 0 };
    // SAFETY: only descriptors and numbers go in; the descriptor returned is new and ours.
    unsafe { own(bpf(BPF_LINK_CREATE, &mut attr)?) }
}

/// Replaces a link's program in one step: every call sees the old one or the new one.
pub(super) fn update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkUpdateAttr { link_fd: raw(link), new_prog_fd: raw(program), flags: 0, old_prog_fd: 0 };
    // SAFETY: only descriptors and numbers go in.
    unsafe { bpf(BPF_LINK_UPDATE, &mut attr) }.map(drop)
}

/// Detaches a link at once. Removing its pin alone would leave that to a kernel worker, some time later.
pub(super) fn detach(link: BorrowedFd<'_>) -> io::Result<()> {
    let mut attr = LinkDetachAttr { link_fd: raw(link) };
    // SAFETY: only a descriptor goes in.
    unsafe { bpf(BPF_LINK_DETACH, &mut attr) }.map(drop)
}

/// Which program a link runs, and on which cgroup.
pub(super) fn link_info(link: BorrowedFd<'_>) -> io::Result<CgroupLinkInfo> {
    let mut info = LinkInfo::default();
    let mut attr =
        InfoAttr { bpf_fd: raw(link), info_len: size_of_val(&info) as u32, info: ptr::from_mut(&mut info) as u64 };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which lives until the call returns.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    let LinkInfo { prog_id, cgroup_id, .. } = info;
    Ok(CgroupLinkInfo { program_id: prog_id, cgroup_id })
}

/// The id of a program or a map.
pub(super) fn object_id(object: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = ObjectInfo::default();
    let mut attr =
        InfoAttr { bpf_fd: raw(object), info_len: size_of_val(&info) as u32, info: ptr::from_mut(&mut info) as u64 };
    // SAFETY: the kernel writes at most `info_len` bytes to `info`, which lives until the call returns.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }?;
    Ok(info.id)
}

/// Opens a cgroup's directory by id, as `O_PATH`. Needs `CAP_DAC_READ_SEARCH`; `ESTALE` when the cgroup is gone.
pub(super) fn open_cgroup(mount: BorrowedFd<'_>, id: u64) -> io::Result<OwnedFd> {
    let mut handle = CgroupHandle { handle_bytes: size_of::<u64>() as u32, handle_type: FILEID_KERNFS, id };
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
    // SAFETY: `CgroupHandle` is `struct file_handle` with its 8 bytes of handle, and lives until the call returns.
    let fd = unsafe { libc::open_by_handle_at(mount.as_raw_fd(), ptr::from_mut(&mut handle).cast(), flags) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor is new and ours.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `SO_NETNS_COOKIE` of a socket.
pub(super) fn netns_cookie(socket: impl AsFd) -> io::Result<u64> {
    let mut cookie = 0_u64;
    let mut len = size_of_val(&cookie) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `cookie`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            ptr::from_mut(&mut cookie).cast(),
            &raw mut len,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(cookie) }
}

/// `SO_PEERPIDFD` of a Unix socket: a handle on the process that connected, since Linux 6.5.
///
/// # Errors
///
/// `ENOPROTOOPT` before that; `ESRCH` when it has been reaped.
pub(crate) fn peer_pidfd(socket: impl AsFd) -> io::Result<OwnedFd> {
    let mut fd: libc::c_int = -1;
    let mut len = size_of_val(&fd) as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes to `fd`.
    let result = unsafe {
        libc::getsockopt(
            socket.as_fd().as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            ptr::from_mut(&mut fd).cast(),
            &raw mut len,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just opened it for this process, and nobody else knows of it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `lsm_list_modules`, by its number on every architecture: include/uapi/asm-generic/unistd.h.
const LSM_LIST_MODULES: libc::c_long = 461;

/// `LSM_ID_BPF`, include/uapi/linux/lsm.h.
pub(super) const LSM_ID_BPF: u64 = 109;

/// The kernel's security modules by their ids, as `lsm_list_modules(2)` tells since Linux 6.8.
pub(super) fn security_modules() -> io::Result<Vec<u64>> {
    // More than there are kinds of modules.
    let mut ids = [0_u64; 64];
    let mut size = size_of_val(&ids) as u32;
    // SAFETY: the kernel writes at most `size` bytes to `ids`, and the size of what it wrote to `size`; both outlive the call.
    let count = unsafe { libc::syscall(LSM_LIST_MODULES, ids.as_mut_ptr(), ptr::from_mut(&mut size), 0_u32) };
    let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
    Ok(ids.iter().take(count).copied().collect())
}

/// Sets a socket option of the size of an `int`.
pub(super) fn set_option(socket: impl AsFd, level: libc::c_int, name: libc::c_int, value: u32) -> io::Result<()> {
    let size = size_of_val(&value) as libc::socklen_t;
    // SAFETY: the kernel reads `size` bytes of `value`, which outlives the call.
    let result = unsafe {
        libc::setsockopt(socket.as_fd().as_raw_fd(), level, name, ptr::from_ref(&value).cast::<libc::c_void>(), size)
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
