//! Whether the kernel runs BPF programs at its security hooks. Without `bpf` among its security modules they attach all the
//! same, and never run.

use std::fs;

use super::sys;

/// Where securityfs lists the modules.
const LISTED: &str = "/sys/kernel/security/lsm";

/// Whether `bpf` is among the kernel's security modules.
///
/// # Errors
///
/// What is in its place, in words.
pub(super) fn require_bpf() -> Result<(), String> {
    // Since Linux 6.8 the kernel says it itself; before, only where securityfs is mounted.
    if let Ok(modules) = sys::security_modules() {
        return found(modules.contains(&sys::LSM_ID_BPF), "this kernel runs no BPF security hooks");
    }
    match fs::read_to_string(LISTED) {
        Ok(list) => {
            let list = list.trim();
            found(list.split(',').any(|module| module == "bpf"), &format!("this kernel runs {list} only"))
        }
        Err(error) => Err(format!("whether this kernel runs BPF security hooks cannot be read from {LISTED}: {error}")),
    }
}

fn found(is_there: bool, otherwise: &str) -> Result<(), String> {
    if is_there { Ok(()) } else { Err(otherwise.to_owned()) }
}
