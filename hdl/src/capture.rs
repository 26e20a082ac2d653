//! Capture: writes every beat to the payload ring, cuts the header out of the stream and measures the frame.

use crate::prim::Quiet;
use crate::types::HEADER_BITS;
use crate::wide::Wide;
use crate::FastBlock;
use rust_hdl::prelude::*;

/// Stream to payload ring, header vector and end records. `HB` = beats of the header window, `LB` = log2 of the bytes of
/// a beat, `RN` = log2 of the beats of the ring.
#[derive(FastBlock, Default)]
pub struct Capture<const W: usize, const HB: usize, const LB: usize, const RN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a beat.
    pub valid: Signal<In, Bit>,
    /// Its bytes.
    pub data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub count: Signal<In, Bits<LB>>,
    /// First beat of a frame.
    pub first: Signal<In, Bit>,
    /// Last beat of a frame.
    pub last: Signal<In, Bit>,
    /// Port the frame came from.
    pub port: Signal<In, Bit>,
    /// With `last`: one of the `FAULT_` constants.
    pub fault: Signal<In, Bits<2>>,
    /// Write a beat to the ring.
    pub ring_write: Signal<Out, Bit>,
    /// Where.
    pub ring_address: Signal<Out, Bits<RN>>,
    /// The beat.
    pub ring_data: Signal<Out, Wide<W>>,
    /// Beats written so far, modulo 2^RN; a read of those addresses gives them.
    pub written: Signal<Out, Bits<RN>>,
    /// A header is complete; one clock.
    pub header_valid: Signal<Out, Bit>,
    /// The first 88 bytes, byte 0 in the top bits, zero past the end of the frame; zero without `header_valid`.
    pub header: Signal<Out, Wide<HEADER_BITS>>,
    /// Port of that frame.
    pub header_port: Signal<Out, Bit>,
    /// A frame has ended; one clock, with the ring write of its last beat.
    pub end_valid: Signal<Out, Bit>,
    /// Its bytes.
    pub end_bytes: Signal<Out, Bits<16>>,
    /// One of the `FAULT_` constants.
    pub end_fault: Signal<Out, Bits<2>>,
    /// No frame is under way and no header is still to come.
    pub idle: Signal<Out, Bit>,
    _quiet: Quiet,
}

impl<const W: usize, const HB: usize, const LB: usize, const RN: usize> Logic for Capture<W, HB, LB, RN> {
    #[hdl_gen]
    fn update(&mut self) {
        self.ring_write.next = false;
    }
}
