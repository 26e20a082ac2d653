//! The card as a Rust value: transports, DMA rings, session table placement, neighbours, the slow-path loop.
// Only `dma::mapping` (memory of files) and `transport::vfio` (windows of a device) have any, each with its reasons.
#![deny(unsafe_code)]
#![deny(missing_docs)]

pub mod books;
pub mod card;
pub mod config;
pub mod dma;
#[cfg(test)]
mod fault_tests;
pub mod gateway;
pub mod hops;
pub mod link;
pub mod neigh;
pub mod pci;
pub mod plan;
pub mod ring;
pub mod selftest;
pub mod table;
#[cfg(test)]
#[allow(missing_docs)]
mod testing;
#[cfg(test)]
#[allow(missing_docs)]
mod testing_wire;
pub mod tlp;
pub mod transport;

pub use card::{
    AdoptCardError, Adopted, Card, CardCounters, CardError, CardMemory, CardOptions, HopMemory, MacCounters, Phy,
};
pub use config::{GatewayConfig, LinkType, PortConfig, UnitLink};
pub use dma::{DmaBuffer, DmaFault, DmaMemory, HostMemory};
pub use gateway::{AdoptReport, CardShare, Exception, Gateway, GatewayError, GatewayStats, Moved, Reopened, Reopener};
pub use selftest::{self_test, Check};
pub use transport::{open, CardSpec, DeviceError, Held, OpenError, SpecError, Transport, VfioTransport};
