//! The audit log: what happened, in records that are chained, durable before the effect, and checkable by anyone.
//!
//! | to | there is |
//! |---|---|
//! | say what happened | [`event`], with payloads bounded by [`payload`], written as OCSF by [`ocsf`] |
//! | keep it | [`Log`](log::Log): one writer thread, group commit; [`recovery`] at its opening |
//! | pass it from one agent to the next | [`queue`], [`relay`] |
//! | read it back, with the directory alone | [`reader`], [`view`], [`verify`] |
//! | agree on bytes | [`chain`] (the line), [`segment`] and [`head`] (the files) |

pub mod chain;
pub mod event;
pub mod head;
pub mod log;
pub mod ocsf;
pub mod open_calls;
pub mod payload;
pub(crate) mod pretty;
pub mod queue;
pub mod reader;
pub mod recovery;
pub mod relay;
#[cfg(test)]
pub(crate) mod samples;
pub mod segment;
pub mod verify;
pub mod view;
mod writer;
