//! Blocks that can be placed and timed alone, on the harness of three pins.
//!
//! What place and route says of one is a bound: in a core a block has neighbours that pull its registers apart. A block that
//! misses the constraint alone misses it in every core.

use super::harnessed;
use crate::prelude::*;

/// A block of the core at W = 64, by the name of its file.
#[derive(Clone, Copy, Debug)]
pub struct TimedBlock {
    /// Name.
    pub name: &'static str,
    build: fn() -> String,
}

impl TimedBlock {
    /// The block of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TIMED_BLOCKS.iter().find(|block| block.name == name)
    }

    /// Verilog-2005 of the block on the harness, top module [`super::TOP`]; `None` when no thread can be had to build it on.
    pub fn verilog(&self) -> Option<String> {
        super::on_a_large_stack(self.build)
    }
}

const fn block<B: Block + Default>(name: &'static str) -> TimedBlock {
    TimedBlock {
        name,
        build: harnessed::<B>,
    }
}

const RECORDS: usize = nat64_layout::RECORD_LOG2;
const BUCKETS: usize = nat64_layout::BUCKET_LOG2;
const TIMEOUT: usize = nat64_layout::pcie::COMPLETION_TIMEOUT_LOG2;

/// Every block that is worth timing alone.
pub const TIMED_BLOCKS: &[TimedBlock] = &[
    block::<crate::ingress::Ingress<64, 3>>("ingress"),
    block::<crate::capture::Capture<64, 11, 3, 9>>("capture"),
    block::<crate::parse::Parse>("parse"),
    block::<crate::classify::Classify>("classify"),
    block::<crate::hash::KeyHasher<1, 1>>("hash"),
    block::<crate::cam::SessionCam<RECORDS, BUCKETS, 4, 1, 1>>("cam"),
    block::<crate::rewrite::Rewrite>("rewrite"),
    block::<crate::egress::Egress<64, 3, 9, 4, 5>>("egress"),
    block::<crate::punt::Punt<64, 3>>("punt"),
    block::<crate::inject::Inject<64, 3>>("inject"),
    block::<crate::counters::Counters>("counters"),
    block::<crate::activity::Activity<RECORDS, BUCKETS>>("activity"),
    block::<crate::pcie::layer::Layer<BUCKETS, TIMEOUT>>("pcie"),
    block::<crate::pcie::unpack::Unpack>("pcie-unpack"),
    block::<crate::pcie::receive::Receive>("pcie-receive"),
    block::<crate::pcie::access::Access>("pcie-access"),
    block::<crate::pcie::post::Post>("pcie-post"),
    block::<crate::pcie::fetch::Fetch<TIMEOUT>>("pcie-fetch"),
    block::<crate::pcie::msix::Msix>("pcie-msix"),
    block::<crate::pcie::state::State>("pcie-state"),
    block::<crate::pcie::clear::Clear<BUCKETS>>("pcie-clear"),
    block::<crate::pcie::transmit::Transmit>("pcie-transmit"),
    block::<crate::serial::receive::SerialReceive>("serial-receive"),
    block::<crate::serial::transmit::SerialTransmit<22>>("serial-transmit"),
    block::<crate::mac::receive::Receive>("mac-receive"),
    block::<crate::mac::transmit::Transmit>("mac-transmit"),
    block::<crate::mac::store::Store<64, 3, 11, 12>>("mac-store"),
    block::<crate::mac::state::State>("mac-state"),
];
