//! Inject: reads frames out of the inject ring and sends them.

use crate::prim::Quiet;
use crate::types::{RegisterWrite, Tally};
use crate::wide::Wide;
use crate::FastBlock;
use rust_hdl::prelude::*;

/// See the module documentation. `LB` = log2 of the bytes of a beat.
#[derive(FastBlock, Default)]
pub struct Inject<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Register writes; the `Inj` registers are owned here.
    pub write: Signal<In, RegisterWrite>,
    /// DMA read request: there is one.
    pub mr_valid: Signal<Out, Bit>,
    /// DMA read request: it is taken.
    pub mr_ready: Signal<In, Bit>,
    /// DMA read request: address.
    pub mr_addr: Signal<Out, Wide<64>>,
    /// DMA read request: bytes, a multiple of 8.
    pub mr_len: Signal<Out, Bits<13>>,
    /// DMA read data: there is a word.
    pub md_valid: Signal<In, Bit>,
    /// DMA read data: it is taken.
    pub md_ready: Signal<Out, Bit>,
    /// DMA read data: the word, its byte 0 in the low bits.
    pub md_data: Signal<In, Wide<64>>,
    /// DMA read data: last word of the request.
    pub md_last: Signal<In, Bit>,
    /// DMA read data: the read failed.
    pub md_error: Signal<In, Bit>,
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
    /// There is a beat.
    pub inj_valid: Signal<Out, Bit>,
    /// It is taken.
    pub inj_ready: Signal<In, Bit>,
    /// Its bytes, the first in the top bits.
    pub inj_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub inj_count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub inj_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub inj_last: Signal<Out, Bit>,
    /// Port to send on, with every beat.
    pub inj_port: Signal<Out, Bit>,
    /// Slots consumed, free running (`InjHead`).
    pub head: Signal<Out, Bits<32>>,
    /// The new head was written to host memory; one clock.
    pub irq: Signal<Out, Bit>,
    /// A slot was skipped: `BadInject` or `DmaError`.
    pub tally: Signal<Out, Tally>,
    /// The ring has slots to read or one is being worked on.
    pub busy: Signal<Out, Bit>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Logic for Inject<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        self.irq.next = false;
    }
}
