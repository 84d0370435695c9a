//! The audit log: what happened, in records that are chained, durable before the effect, and checkable by anyone.
//!
//! [`event`] says what a record can state, [`ocsf`] how it is written, [`Log`](log::Log) appends it (one writer thread, group
//! commit), [`verify`] and [`reader`] read it back with nothing but the directory.

pub mod event;
