//! Punt: buffers punted frames and writes them into the exception ring.

use crate::egress::PuntMeta;
use crate::prim::Quiet;
use crate::types::{RegisterWrite, Tally};
use crate::wide::Wide;
use crate::FastBlock;
use rust_hdl::prelude::*;

/// See the module documentation. `LB` = log2 of the bytes of a beat.
#[derive(FastBlock, Default)]
pub struct Punt<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Card time, nanoseconds.
    pub time_ns: Signal<In, Wide<64>>,
    /// Register writes; the `Exc` registers are owned here.
    pub write: Signal<In, RegisterWrite>,
    /// There is a beat (no back-pressure).
    pub punt_valid: Signal<In, Bit>,
    /// Its bytes, the first in the top bits.
    pub punt_data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub punt_count: Signal<In, Bits<LB>>,
    /// First beat of a frame.
    pub punt_first: Signal<In, Bit>,
    /// Last beat of a frame.
    pub punt_last: Signal<In, Bit>,
    /// With `last`: throw the frame away.
    pub punt_abort: Signal<In, Bit>,
    /// With `last`: why and from where.
    pub punt_meta: Signal<In, PuntMeta>,
    /// DMA write: there is a word.
    pub mw_valid: Signal<Out, Bit>,
    /// DMA write: it is taken.
    pub mw_ready: Signal<In, Bit>,
    /// DMA write: address of the word.
    pub mw_addr: Signal<Out, Wide<64>>,
    /// DMA write: the word, its byte 0 in the low bits.
    pub mw_data: Signal<Out, Wide<64>>,
    /// DMA write: first word of a burst.
    pub mw_first: Signal<Out, Bit>,
    /// DMA write: last word of a burst.
    pub mw_last: Signal<Out, Bit>,
    /// Slots filled, free running (`ExcHead`).
    pub head: Signal<Out, Bits<32>>,
    /// A slot was filled; one clock.
    pub irq: Signal<Out, Bit>,
    /// A frame was punted, or dropped here.
    pub tally: Signal<Out, Tally>,
    /// A frame is buffered or being written.
    pub busy: Signal<Out, Bit>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Logic for Punt<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        self.irq.next = false;
    }
}
