//! Each program on its hook: attached at first, or swapped for another agent's.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::PathBuf,
    sync::Mutex,
};

use aya::programs::ProgramFd;
use weir_ebpf::Settings;

use super::{
    CgroupId,
    attach::AttachError,
    pins::Pins,
    sys::{self, Hook},
};

/// The agent's own programs, loaded, for as long as it lives.
#[derive(Debug)]
pub(super) struct Programs {
    pub(super) bpffs: PathBuf,
    pub(super) base: CgroupId,
    pub(super) base_dir: OwnedFd,
    pub(super) programs: Vec<(&'static str, Hook, ProgramFd)>,
    /// Those of the pinned maps, where they could be read.
    pub(super) map_ids: Vec<Option<u32>>,
    /// As this agent wants them.
    pub(super) settings: Mutex<Settings>,
}

/// How a program came to its hook.
enum Placed {
    /// Into an earlier agent's link.
    Swapped,
    /// By a link of its own, in the place of one that did not take it.
    Replaced,
    /// By a link of its own.
    Added,
}

impl Programs {
    /// Attaches each, or swaps it for another agent's. Says whether any link was there. What was added by a failed attempt is
    /// removed again.
    pub(super) fn attach(&self, pins: &Pins) -> Result<bool, AttachError> {
        let mut added = Vec::new();
        let mut takeover = false;
        for (name, hook, program) in &self.programs {
            match self.place(pins, name, *hook, program.as_fd()) {
                Ok(Placed::Swapped) => takeover = true,
                Ok(Placed::Replaced) => {}
                Ok(Placed::Added) => added.push(*name),
                Err(error) => {
                    for name in added.into_iter().rev() {
                        pins.detach_link(name)?;
                    }
                    return Err(error);
                }
            }
        }
        Ok(takeover)
    }

    /// Puts a program on its hook: into the pinned link, if that sits where it should and takes it, else by another, which is
    /// attached before the old one goes.
    fn place(
        &self,
        pins: &Pins,
        name: &'static str,
        hook: Hook,
        program: BorrowedFd<'_>,
    ) -> Result<Placed, AttachError> {
        let pinned = pins.link(name)?;
        let on_base = |link: &OwnedFd| sys::link_info(link.as_fd()).is_ok_and(|info| info.cgroup_id == self.base.0);
        if pinned.as_ref().is_some_and(|link| on_base(link) && sys::update(link.as_fd(), program).is_ok()) {
            return Ok(Placed::Swapped);
        }
        let refused = |source| AttachError::Attach { name, cgroup: self.base, source };
        let link = sys::attach(program, self.base_dir.as_fd(), hook).map_err(refused)?;
        Ok(match pinned {
            Some(_) => {
                pins.replace_link(name, link.as_fd())?;
                Placed::Replaced
            }
            None => {
                pins.pin_link(name, link.as_fd())?;
                Placed::Added
            }
        })
    }
}
