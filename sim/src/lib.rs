//! The simulated card and what is done with it: replay of captures, the stdio co-process.
#![forbid(unsafe_code)]

pub mod card;
pub mod compiled;
pub mod engine;
pub mod events;
#[cfg(test)]
mod fake;
pub mod output;
pub mod pcap;
pub mod pins;

/// Names of the ports: what the command line and the output files call port 0 and port 1.
pub const SIDES: [&str; nat64_layout::PORTS] = ["inside", "outside"];
