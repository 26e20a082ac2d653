//! Egress: carries out the decisions, frame by frame, from the payload ring to the ports.

use crate::prim::Quiet;
use crate::types::{Decision, Tally, Translated};
use crate::wide::Wide;
use crate::FastBlock;
use rust_hdl::prelude::*;

pub mod meta;

pub use meta::PuntMeta;

/// See the module documentation. `LB` = log2 of the bytes of a beat, `RN` = log2 of the beats of the ring.
#[derive(FastBlock, Default)]
pub struct Egress<const W: usize, const LB: usize, const RN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a decision; at most 16 may wait (see `credit`).
    pub push: Signal<In, Bit>,
    /// The decision.
    pub decision: Signal<In, Decision>,
    /// A frame has ended in the ring; one clock, not before the ring write of its last beat, not more than a clock after.
    pub end_valid: Signal<In, Bit>,
    /// Its bytes.
    pub end_bytes: Signal<In, Bits<16>>,
    /// 0 none, 1 `RxError`, 2 `Oversize`.
    pub end_fault: Signal<In, Bits<2>>,
    /// Beats written to the ring so far, modulo 2^RN.
    pub written: Signal<In, Bits<RN>>,
    /// Ring read address.
    pub ring_address: Signal<Out, Bits<RN>>,
    /// Beat of the address two clocks ago.
    pub ring_data: Signal<In, Wide<W>>,
    /// Beats given back, modulo 2^RN: every beat before this one may be overwritten.
    pub release: Signal<Out, Bits<RN>>,
    /// A decision has left the FIFO; one clock.
    pub credit: Signal<Out, Bit>,
    /// Inject stream: there is a beat.
    pub inj_valid: Signal<In, Bit>,
    /// Inject stream: it is taken.
    pub inj_ready: Signal<Out, Bit>,
    /// Inject stream: bytes.
    pub inj_data: Signal<In, Wide<W>>,
    /// Inject stream: valid bytes of the last beat, 0 for all.
    pub inj_count: Signal<In, Bits<LB>>,
    /// Inject stream: first beat of a frame.
    pub inj_first: Signal<In, Bit>,
    /// Inject stream: last beat of a frame.
    pub inj_last: Signal<In, Bit>,
    /// Inject stream: port to send on, with every beat.
    pub inj_port: Signal<In, Bit>,
    /// Port 0: there is a beat.
    pub tx0_valid: Signal<Out, Bit>,
    /// Port 0: it is taken.
    pub tx0_ready: Signal<In, Bit>,
    /// Port 0: bytes, the first in the top bits.
    pub tx0_data: Signal<Out, Wide<W>>,
    /// Port 0: valid bytes of the last beat, 0 for all.
    pub tx0_count: Signal<Out, Bits<LB>>,
    /// Port 0: first beat of a frame.
    pub tx0_first: Signal<Out, Bit>,
    /// Port 0: last beat of a frame.
    pub tx0_last: Signal<Out, Bit>,
    /// Port 0: with `last`, the frame is damaged and must not be believed.
    pub tx0_error: Signal<Out, Bit>,
    /// Port 1: there is a beat.
    pub tx1_valid: Signal<Out, Bit>,
    /// Port 1: it is taken.
    pub tx1_ready: Signal<In, Bit>,
    /// Port 1: bytes, the first in the top bits.
    pub tx1_data: Signal<Out, Wide<W>>,
    /// Port 1: valid bytes of the last beat, 0 for all.
    pub tx1_count: Signal<Out, Bits<LB>>,
    /// Port 1: first beat of a frame.
    pub tx1_first: Signal<Out, Bit>,
    /// Port 1: last beat of a frame.
    pub tx1_last: Signal<Out, Bit>,
    /// Port 1: with `last`, the frame is damaged and must not be believed.
    pub tx1_error: Signal<Out, Bit>,
    /// Punt stream (no back-pressure): there is a beat.
    pub punt_valid: Signal<Out, Bit>,
    /// Punt stream: bytes.
    pub punt_data: Signal<Out, Wide<W>>,
    /// Punt stream: valid bytes of the last beat, 0 for all.
    pub punt_count: Signal<Out, Bits<LB>>,
    /// Punt stream: first beat of a frame.
    pub punt_first: Signal<Out, Bit>,
    /// Punt stream: last beat of a frame.
    pub punt_last: Signal<Out, Bit>,
    /// Punt stream: with `last`, the frame is damaged (counted here) and must be thrown away.
    pub punt_abort: Signal<Out, Bit>,
    /// Punt stream: with `last`, why and from where.
    pub punt_meta: Signal<Out, PuntMeta>,
    /// The last good beat of a translated frame has left.
    pub done: Signal<Out, Translated>,
    /// A frame was dropped here, or had to be ended with an error.
    pub tally: Signal<Out, Tally>,
    /// Port 0: a good frame was sent; one clock.
    pub sent0_valid: Signal<Out, Bit>,
    /// Its bytes.
    pub sent0_bytes: Signal<Out, Bits<16>>,
    /// Port 1: a good frame was sent; one clock.
    pub sent1_valid: Signal<Out, Bit>,
    /// Its bytes.
    pub sent1_bytes: Signal<Out, Bits<16>>,
    /// A decision waits or a frame is being sent.
    pub busy: Signal<Out, Bit>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize, const RN: usize> Logic for Egress<W, LB, RN> {
    #[hdl_gen]
    fn update(&mut self) {
        self.credit.next = false;
    }
}
