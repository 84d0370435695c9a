//! What stands at the other end of the log: pages in a browser, tables in a query engine, consumers of a stream, each fed
//! from the log of an agent that ran.

#![cfg(test)]

mod consumer;
mod log;
mod page;
mod tables;
