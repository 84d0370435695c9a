//! Checkpoints: signed statements of the log's head, written into the log itself and so carried wherever it goes.
//!
//! | file | job |
//! |---|---|
//! | [`statement`] | what a checkpoint and a change of key state, and the exact bytes that are signed |
//! | [`key`] | public keys: their names, forms, and the check of a signature |
//! | [`signer`], [`kms`] | the private half: a key in the state directory, or one in AWS KMS |
//! | [`last`] | where the log's statements left off, at a start |
//! | [`task`] | when one is due |
//!
//! A checkpoint covers a head that was already durable, and stands a few records after it: signing does not hold the log
//! up. What it promises is *when* a reader can expect the next one. Calls do not wait for checkpoints: one that cannot be
//! signed is tried again and reported, and verification names the records that no checkpoint covers.

pub mod key;
mod kms;
mod last;
pub mod signer;
pub mod statement;
mod task;

pub use self::{
    key::{Algorithm, KeyId, PublicKey},
    signer::{KeyFiles, KeySource, SignerError},
    task::{Checkpointer, CheckpointerStatus, Gate, Options, Paused, Progress},
};

/// A checkpoint stands at most this many records after the head that it covers, so that a reader need not remember more
/// hashes than that.
pub const REACH: u64 = 1 << 17;
