//! Stateful NAT64 (RFC 6146) and IP/ICMP translation (RFC 7915) as pure logic.
//!
//! No I/O, no clock: time is an argument, and everything a packet causes comes back as [`Effects`]. The crate is the
//! slow path of the card, the reference the RTL is checked against, and the data path of the software card.
//!
//! A packet of a session it knows costs no allocation. A session with a binding of its own takes less than 200 bytes of
//! memory when the tables are as full as 2^20 of them make them (`tests/memory.rs`).
#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod bib;
pub mod checksum;
pub mod config;
pub mod effect;
pub mod engine;
pub mod extension;
pub mod fragment;
pub mod icmp;
pub mod icmp_error;
mod index;
pub mod keyed;
pub mod packet;
pub mod pages;
pub mod policy;
pub mod pool;
pub mod rfc6052;
pub mod session;
pub mod shard;
pub mod slab;
pub mod stats;
pub mod tcp;
pub mod translate;
pub mod wheel;

pub use config::Config;
pub use effect::{Effect, Effects, Event, Flow, SessionId, Time};
pub use engine::{
    AdoptError, BibInfo, BindingKey, CardSession, DeterministicBlock, DrainError, Draining, Explanation, Nat64,
    ReconfigureReport, SessionInfo, Stage, StageName, Verdict,
};
pub use policy::ConfigError;
pub use shard::Shard;
pub use stats::Stats;
pub use tcp::State;
