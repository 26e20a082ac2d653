//! Parse: the captured header to a packet header vector, and the first reason that keeps the packet off the fast path.

use crate::prim::Quiet;
use crate::types::{Phv, HEADER_BITS};
use crate::wide::Wide;
use crate::FastBlock;
use rust_hdl::prelude::*;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 5;

/// Header to [`Phv`]; one per clock.
#[derive(FastBlock, Default)]
pub struct Parse {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a header.
    pub valid: Signal<In, Bit>,
    /// Port of the frame.
    pub port: Signal<In, Bit>,
    /// First 88 bytes of the frame, byte 0 in the top bits.
    pub header: Signal<In, Wide<HEADER_BITS>>,
    /// There is a result.
    pub out_valid: Signal<Out, Bit>,
    /// The result; fields from `unit` on are zero.
    pub out_phv: Signal<Out, Phv>,
    _quiet: Quiet,
}

impl Logic for Parse {
    #[hdl_gen]
    fn update(&mut self) {
        self.out_valid.next = false;
    }
}
