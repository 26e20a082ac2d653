//! The card as a Rust value: transports, DMA rings, session table placement, neighbours, the slow-path loop.
#![deny(missing_docs)]

pub mod config;

pub use config::{GatewayConfig, LinkType, PortConfig, UnitLink};
