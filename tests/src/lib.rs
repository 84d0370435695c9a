//! What the end-to-end tests share.

pub mod clock;
pub mod world;
