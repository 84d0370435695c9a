//! What the end-to-end tests share.

pub mod clock;
pub mod corpus;
pub mod cpu;
pub mod dns;
pub mod fixture;
pub mod raw;
pub mod shipping;
pub mod world;
