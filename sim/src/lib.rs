//! The simulated card and what is done with it: replay of captures, the stdio co-process.
//!
//! ```text
//!   cli --> replay (pcap, events, output, summary) --\
//!       \-> stdio ------------------------------------> Device: gateway, compare
//!        \-> lab (namespaces, TAP)
//!                                                         |
//!                             nat64_driver::Gateway <-----+-----> card: Wire
//!                                       \-- SimTransport --/
//!                                              engine: rtl | compiled
//! ```
#![forbid(unsafe_code)]

pub mod bench_engine;
pub mod card;
pub mod cli;
pub mod compare;
pub mod compiled;
pub mod device;
pub mod engine;
pub mod events;
pub mod failure;
#[cfg(test)]
mod fake;
pub mod gateway;
pub mod lab;
pub mod output;
pub mod pcap;
pub mod pins;
pub mod replay;
pub mod rtl;
pub mod serve;
pub mod stdio;
pub mod summary;
pub mod tlp;
pub mod waves;

/// Names of the ports: what the command line and the output files call port 0 and port 1.
pub const SIDES: [&str; nat64_layout::PORTS] = ["inside", "outside"];

/// Latest virtual time, in nanoseconds (the year 2116 as a stamp): timers added to it cannot overflow.
pub const MAX_TIME: u64 = 1 << 62;
