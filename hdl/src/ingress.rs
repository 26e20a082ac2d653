//! Ingress: takes whole frames from the two receive ports in turn and makes one stream of them.

use crate::prim::Quiet;
use crate::types::{RegisterWrite, Tally};
use crate::wide::Wide;
use crate::FastBlock;
use rust_hdl::prelude::*;

/// `fault`: none.
pub const FAULT_NONE: u64 = 0;
/// `fault`: the MAC marked the frame as damaged.
pub const FAULT_RX_ERROR: u64 = 1;
/// `fault`: the frame was longer than `MAX_FRAME` and has been cut.
pub const FAULT_OVERSIZE: u64 = 2;

/// Two receive ports to one stream without back-pressure.
#[derive(FastBlock, Default)]
pub struct Ingress<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Port 0: there is a beat.
    pub rx0_valid: Signal<In, Bit>,
    /// Port 0: the beat is taken.
    pub rx0_ready: Signal<Out, Bit>,
    /// Port 0: bytes, the first in the top bits.
    pub rx0_data: Signal<In, Wide<W>>,
    /// Port 0: valid bytes of the last beat, 0 for all.
    pub rx0_count: Signal<In, Bits<LB>>,
    /// Port 0: first beat of a frame.
    pub rx0_first: Signal<In, Bit>,
    /// Port 0: last beat of a frame.
    pub rx0_last: Signal<In, Bit>,
    /// Port 0: with `last`, the frame is damaged.
    pub rx0_error: Signal<In, Bit>,
    /// Port 1: there is a beat.
    pub rx1_valid: Signal<In, Bit>,
    /// Port 1: the beat is taken.
    pub rx1_ready: Signal<Out, Bit>,
    /// Port 1: bytes, the first in the top bits.
    pub rx1_data: Signal<In, Wide<W>>,
    /// Port 1: valid bytes of the last beat, 0 for all.
    pub rx1_count: Signal<In, Bits<LB>>,
    /// Port 1: first beat of a frame.
    pub rx1_first: Signal<In, Bit>,
    /// Port 1: last beat of a frame.
    pub rx1_last: Signal<In, Bit>,
    /// Port 1: with `last`, the frame is damaged.
    pub rx1_error: Signal<In, Bit>,
    /// There is room for a whole frame; looked at between frames only.
    pub room: Signal<In, Bit>,
    /// Register writes; `Ctrl` is owned here.
    pub write: Signal<In, RegisterWrite>,
    /// There is a beat.
    pub valid: Signal<Out, Bit>,
    /// Its bytes.
    pub data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub last: Signal<Out, Bit>,
    /// Port the frame came from, with every beat.
    pub port: Signal<Out, Bit>,
    /// With `last`: one of the `FAULT_` constants.
    pub fault: Signal<Out, Bits<2>>,
    /// A frame was thrown away (`Disabled`).
    pub tally: Signal<Out, Tally>,
    /// A frame ended, whatever became of it.
    pub frame_valid: Signal<Out, Bit>,
    /// The port it came from.
    pub frame_port: Signal<Out, Bit>,
    /// Its bytes, stopping short of 65,536.
    pub frame_bytes: Signal<Out, Bits<16>>,
    /// No beat is held here and no frame is under way.
    pub idle: Signal<Out, Bit>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Logic for Ingress<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        self.rx0_ready.next = false;
    }
}
