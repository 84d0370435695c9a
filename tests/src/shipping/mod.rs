//! Shipping under load and under attack: a Kinesis emulator, a way to it on which everything fails now and then, a process
//! that writes a log and ships it, and the check of what arrived.

pub mod bench;
mod emulator;
mod faults;
mod moto;
pub mod soak;
mod stream;
pub mod verifier;
pub mod writer;

pub use self::{
    emulator::Emulator,
    faults::{Fault, Faults},
    moto::{credentials, session},
    stream::{Arrived, KEYS, Stream},
};
