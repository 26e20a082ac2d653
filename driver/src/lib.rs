//! The card as a Rust value: transports, DMA rings, session table placement, neighbours, the slow-path loop.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod config;
pub mod dma;
pub mod link;
pub mod neigh;
pub mod ring;
pub mod table;
pub mod transport;

pub use config::{GatewayConfig, LinkType, PortConfig, UnitLink};
pub use dma::{DmaBuffer, DmaFault, DmaMemory, HostMemory};
pub use transport::{DeviceError, Transport};
