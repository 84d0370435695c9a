//! Whether the kernel's side is still as the agent left it.

use std::{ffi::CString, os::fd::AsFd, os::unix::ffi::OsStrExt as _};

use super::{Datapath, attach::AttachError, hooks::Programs, maps, pins::Pins, sys};

impl Datapath {
    /// The programs whose pinned link is not on the base's cgroup, or does not run this agent's program.
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub fn misplaced_links(&self) -> Result<Vec<&'static str>, AttachError> {
        let Programs { bpffs, base, programs, .. } = &*self.programs;
        let pins = Pins::open(bpffs)?;
        let mut misplaced = Vec::new();
        for (name, _, program) in programs {
            let info = pins.link(name)?.and_then(|link| sys::link_info(link.as_fd()).ok());
            let own = sys::object_id(program.as_fd()).ok();
            let is_right = info.is_some_and(|info| info.cgroup_id == base.0 && Some(info.program_id) == own);
            if !is_right {
                misplaced.push(*name);
            }
        }
        Ok(misplaced)
    }

    /// The maps that are not pinned any more, or replaced by others: the next agent would not find this one's.
    ///
    /// # Errors
    ///
    /// [`AttachError`].
    pub fn misplaced_maps(&self) -> Result<Vec<&'static str>, AttachError> {
        let Programs { bpffs, map_ids, .. } = &*self.programs;
        let pins = Pins::open(bpffs)?;
        let misplaced = maps::PINNED.into_iter().zip(map_ids).filter(|(name, id)| id_of(&pins, name) != **id);
        Ok(misplaced.map(|(name, _)| name).collect())
    }
}

/// The ids of the pinned maps, in the order of their names.
pub(super) fn map_ids(pins: &Pins) -> Vec<Option<u32>> {
    maps::PINNED.iter().map(|name| id_of(pins, name)).collect()
}

fn id_of(pins: &Pins, map: &str) -> Option<u32> {
    let path = CString::new(pins.map(map).as_os_str().as_bytes()).ok()?;
    sys::object_id(sys::open_pinned(&path).ok()?.as_fd()).ok()
}
