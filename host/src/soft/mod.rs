//! The software card: a NAT64 gateway on interfaces of this machine, without a card.
//!
//! ```text
//!   interface (packet socket, TAP) --> worker: Core::frame --> Nat64::step --> interface
//!                                        |  ^                  one translator per worker
//!                                        v  |
//!                     ARP, discovery: neighbours, shared by the workers
//! ```
//!
//! [`core`] judges and translates frames and knows no interface; [`offload`] takes super-segments and unfinished
//! checksums; [`port`] and [`sys`] are the interfaces; [`card`] runs the workers
//! ([`worker`]).
//!
//! A packet costs no lock and no allocation once its session is known and its next hop was asked for.

pub mod card;
pub mod core;
pub mod hops;
pub mod log;
pub mod offload;
pub mod port;
pub mod ra;
pub mod steer;
pub mod sys;
pub mod vnet;
pub mod worker;
