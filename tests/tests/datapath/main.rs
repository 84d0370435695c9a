//! The datapath on the running kernel: real programs, real sockets, in a world of their own. Needs root.
//!
//! The test's own process is the application; it moves between cgroups. Destinations are addresses of a neighbour or of
//! nobody: what is redirected never gets there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails where it stands")]

mod census;
mod counts;
mod denial;
mod distrust;
mod guard;
mod handover;
mod kernel;
mod learning;
mod lifecycle;
mod link_layer;
mod redirect;
mod scene;
