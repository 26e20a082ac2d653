//! Ingress: takes whole frames from the two receive ports in turn and makes one stream of them.
//!
//! ```text
//!  rx0 --> | two beats | --\
//!                           >-- by frame, in turn --> | register | --> valid data count first last port fault
//!  rx1 --> | two beats | --/        ^
//!                          room ----+---- not before 60 bytes' worth of clocks since the last start
//! ```
//!
//! Each port has two beats of buffer, so its `ready` is a register and no choice depends on a pin. Between frames the port
//! that was not served last goes first; the next frame's first beat follows the last beat without a bubble. Clocks in
//! which a frame has begun but its next beat has not come do not count for the distance of two starts: the capture
//! stage stands still in them too.

use crate::prelude::*;
use nat64_layout::regs::Ctrl;
use nat64_layout::{Reason, MAX_FRAME, MIN_FRAME};

use crate::prim::{Quiet, Reg};
use crate::types::{RegisterWrite, Tally};
use crate::wide::Wide;
use crate::FastBlock;

/// `fault`: none.
pub const FAULT_NONE: u64 = 0;
/// `fault`: the MAC marked the frame as damaged.
pub const FAULT_RX_ERROR: u64 = 1;
/// `fault`: the frame was longer than `MAX_FRAME` and has been cut.
pub const FAULT_OVERSIZE: u64 = 2;

/// Two beats of buffer, so that `ready` is a register.
#[derive(FastBlock, Default)]
pub struct Skid<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a beat.
    pub valid: Signal<In, Bit>,
    /// It is taken.
    pub ready: Signal<Out, Bit>,
    /// Bytes.
    pub data: Signal<In, Wide<W>>,
    /// Valid bytes.
    pub count: Signal<In, Bits<LB>>,
    /// First, last, error in bits 0, 1, 2.
    pub flags: Signal<In, Bits<3>>,
    /// There is a beat to take out.
    pub out_valid: Signal<Out, Bit>,
    /// Its bytes.
    pub out_data: Signal<Out, Wide<W>>,
    /// Its valid bytes.
    pub out_count: Signal<Out, Bits<LB>>,
    /// Its flags.
    pub out_flags: Signal<Out, Bits<3>>,
    /// Takes it; only with `out_valid`.
    pub pop: Signal<In, Bit>,
    full: Reg<Bit>,
    full_data: Reg<Wide<W>>,
    full_count: Reg<Bits<LB>>,
    full_flags: Reg<Bits<3>>,
    spare: Reg<Bit>,
    spare_data: Reg<Wide<W>>,
    spare_count: Reg<Bits<LB>>,
    spare_flags: Reg<Bits<3>>,
    take: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Logic for Skid<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, full, full_data, full_count, full_flags);
        dff_setup!(self, clock, spare, spare_data, spare_count, spare_flags);
        self.ready.next = !self.spare.q.val();
        self.take.next = self.valid.val() & !self.spare.q.val();
        if !self.full.q.val() | self.pop.val() {
            if self.spare.q.val() {
                self.full.d.next = true;
                self.full_data.d.next = self.spare_data.q.val();
                self.full_count.d.next = self.spare_count.q.val();
                self.full_flags.d.next = self.spare_flags.q.val();
                self.spare.d.next = false;
            } else {
                self.full.d.next = self.take.val();
                self.full_data.d.next = self.data.val();
                self.full_count.d.next = self.count.val();
                self.full_flags.d.next = self.flags.val();
            }
        } else {
            if self.take.val() {
                self.spare.d.next = true;
            }
        }
        // whether the beat stays here is known late, so it is put here anyway
        if !self.spare.q.val() {
            self.spare_data.d.next = self.data.val();
            self.spare_count.d.next = self.count.val();
            self.spare_flags.d.next = self.flags.val();
        }
        self.out_valid.next = self.full.q.val();
        self.out_data.next = self.full_data.q.val();
        self.out_count.next = self.full_count.q.val();
        self.out_flags.next = self.full_flags.q.val();
    }
}

/// Two receive ports to one stream without back-pressure.
#[derive(FastBlock)]
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
    /// There is room for a whole frame; looked at between frames only, a clock before a frame begins.
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
    /// Its bytes; above 32,768 they are no longer counted.
    pub frame_bytes: Signal<Out, Bits<16>>,
    /// No beat is held here and no frame is under way.
    pub idle: Signal<Out, Bit>,
    skid0: Skid<W, LB>,
    skid1: Skid<W, LB>,
    flags0: Signal<Local, Bits<3>>,
    flags1: Signal<Local, Bits<3>>,
    enable: Reg<Bit>,
    /// `enable` as `open` knows it: a frame that was to be refused is not let in.
    enabled: Reg<Bit>,
    word: Signal<Local, Bits<32>>,
    // the beat at the head of the port that is served
    side: Signal<Local, Bit>,
    head_data: Signal<Local, Wide<W>>,
    head_count: Signal<Local, Bits<LB>>,
    head_flags: Signal<Local, Bits<3>>,
    head_last: Signal<Local, Bit>,
    head_error: Signal<Local, Bit>,
    start: Signal<Local, Bit>,
    /// A frame may begin: there was room a clock ago, and the last start is far enough.
    open: Reg<Bit>,
    first0: Signal<Local, Bit>,
    first1: Signal<Local, Bit>,
    last0: Signal<Local, Bit>,
    last1: Signal<Local, Bit>,
    may0: Signal<Local, Bit>,
    may1: Signal<Local, Bit>,
    turn0: Signal<Local, Bit>,
    turn1: Signal<Local, Bit>,
    in0: Signal<Local, Bit>,
    in1: Signal<Local, Bit>,
    next0: Signal<Local, Bit>,
    next1: Signal<Local, Bit>,
    pop0: Signal<Local, Bit>,
    pop1: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    over: Signal<Local, Bit>,
    emit: Signal<Local, Bit>,
    disabled: Signal<Local, Bit>,
    ending: Signal<Local, Bit>,
    bytes_before: Signal<Local, Bits<16>>,
    bytes_here: Signal<Local, Bits<16>>,
    index_here: Signal<Local, Bits<8>>,
    // of the frame that is under way
    in_frame: Reg<Bit>,
    current: Reg<Bit>,
    turn: Reg<Bit>,
    emitting: Reg<Bit>,
    refused: Reg<Bit>,
    index: Reg<Bits<8>>,
    bytes: Reg<Bits<16>>,
    distance: Reg<Bits<4>>,
    /// `distance` is not 0.
    near: Reg<Bit>,
    near_next: Signal<Local, Bit>,
    // the stream
    out_valid: Reg<Bit>,
    out_data: Reg<Wide<W>>,
    out_count: Reg<Bits<LB>>,
    out_first: Reg<Bit>,
    out_last: Reg<Bit>,
    out_port: Reg<Bit>,
    out_fault: Reg<Bits<2>>,
    out_tally: Reg<Tally>,
    out_frame: Reg<Bit>,
    out_frame_port: Reg<Bit>,
    ctrl: Constant<Bits<16>>,
    beat_bytes: Constant<Bits<16>>,
    last_index: Constant<Bits<8>>,
    last_count: Constant<Bits<LB>>,
    start_distance: Constant<Bits<4>>,
    reason_rx_error: Constant<Bits<6>>,
    reason_disabled: Constant<Bits<6>>,
    fault_rx_error: Constant<Bits<2>>,
    fault_oversize: Constant<Bits<2>>,
    _quiet: Quiet,
}

/// Builds a block: fields at their defaults, then constants with their values.
macro_rules! with_constants {
    ($($field:ident)*; $($constant:ident = $value:expr,)*) => {
        Self { $($field: Default::default(),)* $($constant: Constant::new(($value).into()),)* }
    };
}
pub(crate) use with_constants;

impl<const W: usize, const LB: usize> Default for Ingress<W, LB> {
    /// Panics unless `LB` is log2(W / 8) and a frame of `MAX_FRAME` bytes ends inside a beat.
    fn default() -> Self {
        let beat = W / 8;
        assert_eq!(beat, 1 << LB);
        let last_index = MAX_FRAME.div_ceil(beat) - 1;
        let last_count = MAX_FRAME - last_index * beat;
        assert!(last_count < beat);
        with_constants!(
            clock rx0_valid rx0_ready rx0_data rx0_count rx0_first rx0_last rx0_error rx1_valid rx1_ready rx1_data
            rx1_count rx1_first rx1_last rx1_error room write valid data count first last port fault tally frame_valid
            frame_port frame_bytes idle skid0 skid1 flags0 flags1 enable word side head_data head_count head_flags
            head_last head_error start open first0 first1 last0 last1 may0 may1 turn0 turn1 in0 in1 next0 next1 pop0 pop1 pop over emit disabled ending bytes_before bytes_here index_here in_frame current
            turn emitting refused index bytes distance near near_next enabled out_valid out_data out_count out_first out_last out_port out_fault
            out_tally out_frame out_frame_port _quiet;
            ctrl = u64::from(Ctrl::OFFSET),
            beat_bytes = beat as u64,
            last_index = last_index as u64,
            last_count = last_count as u64,
            start_distance = (MIN_FRAME.div_ceil(beat) - 1) as u64,
            reason_rx_error = Reason::RxError as u64,
            reason_disabled = Reason::Disabled as u64,
            fault_rx_error = FAULT_RX_ERROR,
            fault_oversize = FAULT_OVERSIZE,
        )
    }
}

impl<const W: usize, const LB: usize> Logic for Ingress<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, skid0, skid1);
        dff_setup!(
            self, clock, enable, in_frame, current, turn, emitting, refused, index, bytes, distance, near, open,
            enabled
        );
        dff_setup!(self, clock, out_valid, out_data, out_count, out_first, out_last, out_port, out_fault);
        dff_setup!(self, clock, out_tally, out_frame, out_frame_port);
        self.word.next = self.write.val().data;
        if self.write.val().valid & (self.write.val().address == self.ctrl.val()) {
            self.enable.d.next = self.word.val().get_bit(0);
        }
        // ports
        self.flags0.next = (bit_cast::<3, 1>(self.rx0_error.val().into()) << 2)
            | (bit_cast::<3, 1>(self.rx0_last.val().into()) << 1)
            | bit_cast::<3, 1>(self.rx0_first.val().into());
        self.skid0.valid.next = self.rx0_valid.val();
        self.skid0.data.next = self.rx0_data.val();
        self.skid0.count.next = self.rx0_count.val();
        self.skid0.flags.next = self.flags0.val();
        self.rx0_ready.next = self.skid0.ready.val();
        self.flags1.next = (bit_cast::<3, 1>(self.rx1_error.val().into()) << 2)
            | (bit_cast::<3, 1>(self.rx1_last.val().into()) << 1)
            | bit_cast::<3, 1>(self.rx1_first.val().into());
        self.skid1.valid.next = self.rx1_valid.val();
        self.skid1.data.next = self.rx1_data.val();
        self.skid1.count.next = self.rx1_count.val();
        self.skid1.flags.next = self.flags1.val();
        self.rx1_ready.next = self.skid1.ready.val();
        // whose turn it is
        self.side.next = self.skid1.out_valid.val() & (!self.skid0.out_valid.val() | self.turn.q.val());
        if self.in_frame.q.val() {
            self.side.next = self.current.q.val();
        }
        self.head_flags.next = self.skid0.out_flags.val();
        self.head_data.next = self.skid0.out_data.val();
        self.head_count.next = self.skid0.out_count.val();
        if self.side.val() {
            self.head_flags.next = self.skid1.out_flags.val();
            self.head_data.next = self.skid1.out_data.val();
            self.head_count.next = self.skid1.out_count.val();
        }
        self.head_last.next = self.head_flags.val().get_bit(1);
        self.head_error.next = self.head_flags.val().get_bit(2);
        // between frames: start one, or throw away the rest of a frame whose first beat was lost
        // told for each port by itself: both buffers wait for it
        self.first0.next = self.skid0.out_flags.val().get_bit(0);
        self.first1.next = self.skid1.out_flags.val().get_bit(0);
        self.may0.next = !self.first0.val() | self.open.q.val();
        self.may1.next = !self.first1.val() | self.open.q.val();
        self.turn0.next = !(self.skid1.out_valid.val() & self.turn.q.val());
        self.turn1.next = !self.skid0.out_valid.val() | self.turn.q.val();
        self.in0.next = self.in_frame.q.val() & self.skid0.out_valid.val() & !self.current.q.val();
        self.in1.next = self.in_frame.q.val() & self.skid1.out_valid.val() & self.current.q.val();
        self.next0.next = !self.in_frame.q.val() & self.skid0.out_valid.val() & self.turn0.val();
        self.next1.next = !self.in_frame.q.val() & self.skid1.out_valid.val() & self.turn1.val();
        self.pop0.next = self.in0.val() | (self.next0.val() & self.may0.val());
        self.pop1.next = self.in1.val() | (self.next1.val() & self.may1.val());
        self.skid0.pop.next = self.pop0.val();
        self.skid1.pop.next = self.pop1.val();
        self.pop.next = self.pop0.val() | self.pop1.val();
        // from these, not from the head: which port's that is has to reach the whole beat first
        self.start.next =
            self.open.q.val() & ((self.next0.val() & self.first0.val()) | (self.next1.val() & self.first1.val()));
        self.last0.next = self.skid0.out_flags.val().get_bit(1);
        self.last1.next = self.skid1.out_flags.val().get_bit(1);
        self.disabled.next = self.refused.q.val();
        self.emit.next =
            (self.start.val() & self.enabled.q.val()) | ((self.in0.val() | self.in1.val()) & self.emitting.q.val());
        self.index_here.next = self.index.q.val();
        self.bytes_before.next = self.bytes.q.val();
        if self.start.val() {
            self.disabled.next = !self.enabled.q.val();
            self.index_here.next = 0.into();
            self.bytes_before.next = 0.into();
            self.in_frame.d.next = true;
            self.current.d.next = self.side.val();
            self.turn.d.next = !self.side.val();
            self.refused.d.next = !self.enabled.q.val();
            self.emitting.d.next = self.enabled.q.val();
        }
        self.ending.next = ((self.pop0.val() & self.last0.val()) | (self.pop1.val() & self.last1.val()))
            & (self.start.val() | self.in_frame.q.val());
        if self.ending.val() {
            self.in_frame.d.next = false;
        }
        // clocks without a beat inside a frame do not count
        self.near_next.next = self.near.q.val();
        if self.near.q.val() & (!self.in_frame.q.val() | !self.emitting.q.val() | self.pop.val()) {
            self.distance.d.next = self.distance.q.val() - 1;
            self.near_next.next = self.distance.q.val() != 1;
        }
        if self.start.val() & self.enabled.q.val() {
            self.distance.d.next = self.start_distance.val();
            self.near_next.next = self.start_distance.val().any();
        }
        self.near.d.next = self.near_next.val();
        self.open.d.next = !self.enable.q.val() | (self.room.val() & !self.near_next.val());
        self.enabled.d.next = self.enable.q.val();
        // bytes of the frame, whether they are sent on or not
        self.bytes_here.next = self.beat_bytes.val();
        if self.head_last.val() & self.head_count.val().any() {
            self.bytes_here.next = bit_cast::<16, LB>(self.head_count.val());
        }
        if self.start.val() | (self.pop.val() & !self.bytes.q.val().get_bit(15)) {
            self.bytes.d.next = self.bytes_before.val() + self.bytes_here.val();
        }
        // the stream
        self.over.next = false;
        if self.index_here.val() == self.last_index.val() {
            self.over.next =
                !self.head_last.val() | !self.head_count.val().any() | (self.head_count.val() > self.last_count.val());
        }
        self.out_valid.d.next = self.emit.val();
        self.out_data.d.next = self.head_data.val();
        self.out_count.d.next = 0.into();
        if self.head_last.val() {
            self.out_count.d.next = self.head_count.val();
        }
        self.out_first.d.next = self.start.val();
        self.out_last.d.next = self.head_last.val() | self.over.val();
        self.out_port.d.next = self.side.val();
        self.out_fault.d.next = 0.into();
        if self.over.val() {
            self.out_fault.d.next = self.fault_oversize.val();
        }
        if self.head_last.val() & self.head_error.val() {
            self.out_fault.d.next = self.fault_rx_error.val();
        }
        if self.emit.val() {
            self.index.d.next = self.index_here.val() + 1;
            if self.over.val() {
                self.emitting.d.next = false;
            }
        }
        self.valid.next = self.out_valid.q.val();
        self.data.next = self.out_data.q.val();
        self.count.next = self.out_count.q.val();
        self.first.next = self.out_first.q.val();
        self.last.next = self.out_last.q.val();
        self.port.next = self.out_port.q.val();
        self.fault.next = self.out_fault.q.val();
        // events
        self.out_tally.d.next.valid = self.ending.val() & self.disabled.val();
        self.out_tally.d.next.reason = self.reason_disabled.val();
        if self.head_error.val() {
            self.out_tally.d.next.reason = self.reason_rx_error.val();
        }
        self.tally.next = self.out_tally.q.val();
        self.out_frame.d.next = self.ending.val();
        self.out_frame_port.d.next = self.side.val();
        self.frame_valid.next = self.out_frame.q.val();
        self.frame_port.next = self.out_frame_port.q.val();
        self.frame_bytes.next = self.bytes.q.val();
        self.idle.next = !self.skid0.out_valid.val()
            & !self.skid1.out_valid.val()
            & !self.in_frame.q.val()
            & !self.out_valid.q.val()
            & !self.out_frame.q.val();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testkit::Bench;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    /// A frame as a MAC gives it.
    #[derive(Clone, Debug)]
    pub(crate) struct Frame {
        pub(crate) bytes: Vec<u8>,
        pub(crate) error: bool,
    }

    /// One beat of the stream.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Beat {
        pub(crate) clock: u64,
        pub(crate) data: Vec<u8>,
        pub(crate) first: bool,
        pub(crate) last: bool,
        pub(crate) port: usize,
        pub(crate) fault: u64,
    }

    /// A frame of the stream.
    #[derive(Clone, Debug, Default, PartialEq)]
    struct Got {
        start: u64,
        end: u64,
        /// Clocks inside the frame without a beat.
        gaps: u64,
        bytes: Vec<u8>,
        port: usize,
        fault: u64,
    }

    pub(crate) fn random_frame(rng: &mut StdRng, size: usize) -> Frame {
        Frame {
            bytes: (0..size).map(|_| rng.random()).collect(),
            error: rng.random_ratio(1, 20),
        }
    }

    /// How the ports behave.
    #[derive(Clone, Copy, Debug)]
    pub(crate) struct Traffic {
        /// Share of clocks in which a port has no beat.
        pub(crate) idle: f64,
        /// Share of clocks with room.
        pub(crate) room: f64,
    }

    /// The two ports of a MAC, a queue of frames each.
    pub(crate) struct Ports<const W: usize, const LB: usize> {
        pub(crate) bench: Bench<Ingress<W, LB>>,
        queues: [VecDeque<Frame>; 2],
        at: [usize; 2],
        offered: [bool; 2],
        pub(crate) ended: Vec<(usize, u64)>,
        pub(crate) tallies: Vec<u64>,
    }

    impl<const W: usize, const LB: usize> Ports<W, LB> {
        pub(crate) fn new(bench: Bench<Ingress<W, LB>>, enable: bool) -> Self {
            let mut ports = Self {
                bench,
                queues: Default::default(),
                at: [0; 2],
                offered: [false; 2],
                ended: Vec::new(),
                tallies: Vec::new(),
            };
            ports.set_enable(enable);
            ports
        }

        pub(crate) fn set_enable(&mut self, enable: bool) {
            self.bench.uut.write.next = RegisterWrite {
                valid: true,
                address: u64::from(Ctrl::OFFSET).into(),
                data: u64::from(enable).into(),
            };
            self.bench.tick();
            self.bench.uut.write.next = RegisterWrite::default();
        }

        pub(crate) fn push(&mut self, port: usize, frame: Frame) {
            self.queues[port].push_back(frame);
        }

        pub(crate) fn done(&self) -> bool {
            self.queues.iter().all(VecDeque::is_empty) && self.bench.uut.idle.val()
        }

        /// One clock; gives the beat of the stream.
        pub(crate) fn clock(&mut self, rng: &mut StdRng, traffic: Traffic) -> Option<Beat> {
            let beat = W / 8;
            for port in 0..2 {
                // a beat that was offered stays until it is taken
                let offer = !self.queues[port].is_empty() && (self.offered[port] || !rng.random_bool(traffic.idle));
                self.offered[port] = offer;
                let uut = &mut self.bench.uut;
                let mut pins = (
                    rng.random(),
                    rng.random(),
                    rng.random(),
                    rng.random::<u64>(),
                    vec![0xa5; beat],
                );
                if offer {
                    let frame = &self.queues[port][0];
                    let at = self.at[port];
                    let left = frame.bytes.len() - at;
                    let end = (at + beat).min(frame.bytes.len());
                    let count = if left <= beat {
                        left % beat
                    } else {
                        rng.random_range(0..beat)
                    };
                    let mut data = frame.bytes[at..end].to_vec();
                    data.resize_with(beat, || rng.random());
                    pins = (at == 0, left <= beat, frame.error && left <= beat, count as u64, data);
                }
                let (first, last, error, count, data) = pins;
                let (data, count) = (Wide::from_frame(&data), (count % beat as u64).into());
                if port == 0 {
                    uut.rx0_valid.next = offer;
                    uut.rx0_first.next = first;
                    uut.rx0_last.next = last;
                    uut.rx0_error.next = error;
                    uut.rx0_count.next = count;
                    uut.rx0_data.next = data;
                } else {
                    uut.rx1_valid.next = offer;
                    uut.rx1_first.next = first;
                    uut.rx1_last.next = last;
                    uut.rx1_error.next = error;
                    uut.rx1_count.next = count;
                    uut.rx1_data.next = data;
                }
            }
            self.bench.uut.room.next = rng.random_bool(traffic.room);
            self.bench.settle();
            let uut = &self.bench.uut;
            for port in 0..2 {
                let ready = if port == 0 {
                    uut.rx0_ready.val()
                } else {
                    uut.rx1_ready.val()
                };
                if self.offered[port] && ready {
                    self.offered[port] = false;
                    self.at[port] += beat;
                    if self.at[port] >= self.queues[port][0].bytes.len() {
                        self.at[port] = 0;
                        self.queues[port].pop_front();
                    }
                }
            }
            if uut.frame_valid.val() {
                self.ended
                    .push((usize::from(uut.frame_port.val()), uut.frame_bytes.val().index() as u64));
            }
            if uut.tally.val().valid {
                self.tallies.push(uut.tally.val().reason.index() as u64);
            }
            let out = uut.valid.val().then(|| {
                let count = uut.count.val().index();
                Beat {
                    clock: self.bench.clocks,
                    data: uut.data.val().to_frame(if count == 0 { beat } else { count }),
                    first: uut.first.val(),
                    last: uut.last.val(),
                    port: usize::from(uut.port.val()),
                    fault: uut.fault.val().index() as u64,
                }
            });
            self.bench.edge();
            out
        }

        /// Runs until everything has come out.
        fn run(&mut self, rng: &mut StdRng, traffic: Traffic) -> Vec<Got> {
            let (mut all, mut now): (Vec<Got>, Option<Got>) = (Vec::new(), None);
            let limit = self.bench.clocks + 2_000_000;
            while !self.done() {
                assert!(self.bench.clocks < limit, "stuck");
                let Some(beat) = self.clock(rng, traffic) else {
                    if let Some(frame) = now.as_mut() {
                        frame.gaps += 1;
                    }
                    continue;
                };
                assert_eq!(beat.first, now.is_none(), "first at clock {}", beat.clock);
                let mut frame = now.take().unwrap_or(Got {
                    start: beat.clock,
                    port: beat.port,
                    ..Got::default()
                });
                assert_eq!(frame.port, beat.port);
                frame.bytes.extend(&beat.data);
                frame.end = beat.clock;
                frame.fault = beat.fault;
                if beat.last {
                    all.push(frame);
                } else {
                    now = Some(frame);
                }
            }
            assert!(now.is_none(), "a frame has no end");
            all
        }
    }

    /// What ingress makes of a frame.
    fn expected<const W: usize>(frame: &Frame) -> (Vec<u8>, u64) {
        let beat = W / 8;
        let most = MAX_FRAME.div_ceil(beat) * beat;
        let cut = frame.bytes.len() > most;
        let bytes = frame.bytes[..frame.bytes.len().min(most)].to_vec();
        match (frame.error && !cut, frame.bytes.len() > MAX_FRAME) {
            (true, _) => (bytes, FAULT_RX_ERROR),
            (_, true) => (bytes, FAULT_OVERSIZE),
            _ => (bytes, FAULT_NONE),
        }
    }

    fn sizes<const W: usize>(rng: &mut StdRng) -> Vec<usize> {
        let mut sizes: Vec<usize> = (60..60 + W / 8 + 2).chain(1510..1530).collect();
        sizes.extend((0..20).map(|_| rng.random_range(60..1518)));
        sizes.extend([1, 7, 8, 59, 1583, 1600, 1600, 4000]);
        sizes
    }

    fn check<const W: usize, const LB: usize>(seed: u64, traffic: Traffic, record: bool) -> Ports<W, LB> {
        println!("seed {seed}, W {W}, {traffic:?}");
        let mut rng = StdRng::seed_from_u64(seed);
        let bench = Bench::new(Ingress::<W, LB>::default());
        let mut ports = Ports::new(if record { bench } else { bench.without_record() }, true);
        let mut sent: [Vec<Frame>; 2] = Default::default();
        let mut sizes = sizes::<W>(&mut rng);
        if record {
            sizes.truncate(W / 8 + 2);
            sizes.extend([1522, 1523, 1600, 3, 60]);
        }
        for size in sizes {
            let port = rng.random_range(0..2);
            let frame = random_frame(&mut rng, size);
            sent[port].push(frame.clone());
            ports.push(port, frame);
        }
        let got = ports.run(&mut rng, traffic);
        let apart = MIN_FRAME.div_ceil(W / 8) as u64;
        for pair in got.windows(2) {
            assert!(pair[1].start - pair[0].start - pair[0].gaps >= apart, "starts too near");
        }
        for (port, frames) in sent.iter().enumerate() {
            let mine: Vec<_> = got.iter().filter(|g| g.port == port).collect();
            assert_eq!(mine.len(), frames.len());
            for (g, f) in mine.iter().zip(frames) {
                assert_eq!((&g.bytes, g.fault), (&expected::<W>(f).0, expected::<W>(f).1));
            }
            let ended: Vec<_> = ports.ended.iter().filter(|e| e.0 == port).map(|e| e.1).collect();
            let lengths: Vec<_> = frames.iter().map(|f| f.bytes.len() as u64).collect();
            assert_eq!(ended, lengths, "port counters");
        }
        assert!(ports.tallies.is_empty());
        ports
    }

    fn grid<const W: usize, const LB: usize>() {
        for (i, idle) in [0.0, 0.2, 0.9].into_iter().enumerate() {
            for (k, room) in [1.0, 0.5, 0.05].into_iter().enumerate() {
                check::<W, LB>((10 * i + k) as u64, Traffic { idle, room }, false);
            }
        }
    }

    #[test]
    fn frames_come_through_whole_at_64() {
        grid::<64, 3>();
    }

    #[test]
    fn frames_come_through_whole_at_128() {
        grid::<128, 4>();
    }

    #[test]
    fn frames_come_through_whole_at_512() {
        grid::<512, 6>();
    }

    #[test]
    fn verilog_agrees() {
        let traffic = Traffic { idle: 0.2, room: 0.7 };
        check::<64, 3>(77, traffic, true)
            .bench
            .agrees_with_verilog("ingress_64");
        check::<128, 4>(78, traffic, true)
            .bench
            .agrees_with_verilog("ingress_128");
        check::<512, 6>(79, traffic, true)
            .bench
            .agrees_with_verilog("ingress_512");
    }

    /// Clocks between starts when every frame has `size` bytes and `which` ports have frames waiting.
    fn spacing<const W: usize, const LB: usize>(size: usize, which: &[usize]) -> Vec<u64> {
        let mut rng = StdRng::seed_from_u64(size as u64);
        let mut ports = Ports::new(Bench::new(Ingress::<W, LB>::default()).without_record(), true);
        for i in 0..20 {
            ports.push(which[i % which.len()], random_frame(&mut rng, size));
        }
        let got = ports.run(&mut rng, Traffic { idle: 0.0, room: 1.0 });
        if which.len() == 2 {
            assert!(got.windows(2).all(|p| p[0].port != p[1].port), "not in turn");
        }
        got.windows(2).map(|p| p[1].start - p[0].start).collect()
    }

    #[test]
    fn no_bubble_between_frames() {
        for which in [&[0][..], &[1], &[0, 1]] {
            for size in [60usize, 61, 64, 65, 72, 100, 127, 128, 129, 1514] {
                let near = |found: Vec<u64>, width: usize| {
                    let clocks = (8 * size).div_ceil(width) as u64;
                    assert!(
                        found.iter().all(|&n| n == clocks),
                        "{size} at {width} on {which:?}: {found:?}"
                    );
                };
                near(spacing::<64, 3>(size, which), 64);
                near(spacing::<128, 4>(size, which), 128);
                near(spacing::<512, 6>(size, which), 512);
            }
        }
    }

    #[test]
    fn frames_are_refused_while_disabled() {
        let mut rng = StdRng::seed_from_u64(5);
        let mut ports = Ports::new(Bench::new(Ingress::<64, 3>::default()), false);
        let frames: Vec<_> = (0..20).map(|_| random_frame(&mut rng, 100)).collect();
        for (i, frame) in frames.iter().enumerate() {
            ports.push(i % 2, frame.clone());
        }
        // room is not asked for: nothing is kept
        assert!(ports.run(&mut rng, Traffic { idle: 0.3, room: 0.0 }).is_empty());
        let damaged = frames.iter().filter(|f| f.error).count();
        let count = |reason: Reason| ports.tallies.iter().filter(|&&t| t == reason as u64).count();
        assert_eq!(
            (count(Reason::RxError), count(Reason::Disabled)),
            (damaged, 20 - damaged)
        );
        assert_eq!(ports.ended.len(), 20);
        ports.set_enable(true);
        for frame in &frames {
            ports.push(1, frame.clone());
        }
        assert_eq!(ports.run(&mut rng, Traffic { idle: 0.3, room: 1.0 }).len(), 20);
        ports.bench.agrees_with_verilog("ingress_disabled");
    }

    #[test]
    fn a_frame_without_its_first_beat_is_thrown_away() {
        let mut bench = Bench::new(Ingress::<64, 3>::default());
        bench.uut.room.next = true;
        bench.uut.write.next = RegisterWrite {
            valid: true,
            address: u64::from(Ctrl::OFFSET).into(),
            data: 1u64.into(),
        };
        bench.tick();
        bench.uut.write.next = RegisterWrite::default();
        let (mut starts, mut ended) = (0, 0);
        for clock in 0..40 {
            bench.uut.rx0_valid.next = clock < 20;
            bench.uut.rx0_first.next = clock == 10;
            bench.uut.rx0_last.next = clock == 9 || clock == 19;
            bench.settle();
            starts += usize::from(bench.uut.valid.val() && bench.uut.first.val());
            ended += usize::from(bench.uut.frame_valid.val());
            bench.edge();
        }
        assert_eq!((starts, ended), (1, 1));
    }
}
