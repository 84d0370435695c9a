//! The audit log: what happened, in records that are chained, durable before the effect, and checkable by anyone.
//!
//! | to | there is |
//! |---|---|
//! | say what happened | [`event`], with payloads bounded by [`payload`], written as OCSF by [`ocsf`] |
//! | keep what does not fit a record | [`parts`], [`objects`] |
//! | keep it | [`Log`](log::Log): one writer thread, group commit; [`recovery`] at its opening; [`open_calls`], restated |
//! | pass it from one agent to the next | [`queue`], [`relay`] |
//! | read it back, with the directory alone | [`reader`], [`view`], [`verify`] |
//! | sign where it stands, into the log itself | [`checkpoint`] |
//! | send it on, and let go of what was sent | [`ship`] |
//! | agree on bytes | [`chain`] (the line), [`segment`] and [`head`] (the files) |

pub mod chain;
pub mod checkpoint;
pub mod event;
pub(crate) mod flows;
pub mod head;
pub mod log;
pub mod objects;
pub mod ocsf;
pub mod open_calls;
mod open_segment;
mod parts;
pub mod payload;
pub(crate) mod pretty;
pub mod queue;
mod quota;
pub mod reader;
pub mod recovery;
pub mod relay;
mod report;
mod restate;
#[cfg(test)]
pub(crate) mod samples;
pub mod segment;
pub mod ship;
pub mod verify;
pub mod view;
mod writer;
