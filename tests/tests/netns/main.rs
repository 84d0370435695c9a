//! Every network namespace with a process in scope is served, and none longer than that. Needs root.

mod containers;
mod finding;
mod footprint;
mod many;
mod release;
mod world;
