//! What was judged is what servers parse, whatever the spelling, or it is refused.

mod bodies;
mod parsers;
mod reading;
mod servers;
