//! Egress: carries out the decisions, frame by frame, from the payload ring to the ports.
//!
//! ```text
//!  decisions, end records -> fetch -> queue of 16 beats -> port 0, port 1 <- inject stream
//!                          (ring)                       -> punt stream
//! ```
//!
//! Frames leave in the order of their decisions: a port that is not ready holds up the frames behind it. A beat a clock; a
//! decision reaches its port 7 clocks after `push` when beats, end record and port are there.

mod fetch;
pub mod meta;
mod plan;
mod port;
pub(crate) mod queue;
#[cfg(test)]
mod tests;

pub use meta::PuntMeta;

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::types::{Decision, Tally, Translated};
use crate::wide::Wide;
use crate::FastBlock;
use fetch::Fetch;
use meta::{BeatMeta, FrameEnd, TO_NOWHERE, TO_PUNT};
use port::Port;
use queue::{FallThrough, Queue};

/// See the module documentation. `LB` = log2 of the bytes of a beat, `RN` = log2 of the beats of the ring, `DN` and `EN` = log2 of the
/// decisions and end records that may wait.
#[derive(FastBlock)]
pub struct Egress<const W: usize, const LB: usize, const RN: usize, const DN: usize, const EN: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a decision; at most 2^DN may wait (see `credit`).
    pub push: Signal<In, Bit>,
    /// The decision.
    pub decision: Signal<In, Decision>,
    /// A frame has ended in the ring; one clock, with the ring write of its last beat.
    pub end_valid: Signal<In, Bit>,
    /// Its bytes.
    pub end_bytes: Signal<In, Bits<16>>,
    /// 0 none, 1 `RxError`, 2 `Oversize`.
    pub end_fault: Signal<In, Bits<2>>,
    /// Beats written to the ring so far, modulo 2^RN; a read of them gives them.
    pub written: Signal<In, Bits<RN>>,
    /// Ring read address.
    pub ring_address: Signal<Out, Bits<RN>>,
    /// Beat of the address two clocks ago.
    pub ring_data: Signal<In, Wide<W>>,
    /// Beats given back, modulo 2^RN: every beat before this one may be overwritten.
    pub freed: Signal<Out, Bits<RN>>,
    /// A decision has been carried out, and its place in the FIFO is free; one clock.
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
    fetch: Fetch<W, LB, RN, DN, EN>,
    datas: FallThrough<Wide<W>, 4>,
    beats: FallThrough<BeatMeta, 4>,
    frames: Queue<FrameEnd, 4>,
    port0: Port<W, LB>,
    port1: Port<W, LB>,
    head: Signal<Local, BeatMeta>,
    told: Signal<Local, FrameEnd>,
    inject: Signal<Local, BeatMeta>,
    pop: Signal<Local, Bit>,
    last: Signal<Local, Bit>,
    punted: Signal<Local, Bit>,
    punting: Reg<Bit>,
    punt_data1: Reg<Wide<W>>,
    punt_beat1: Reg<BeatMeta>,
    punt_meta1: Reg<PuntMeta>,
    done1: Reg<Translated>,
    tally1: Reg<Tally>,
    to_punt: Constant<Bits<2>>,
    to_nowhere: Constant<Bits<2>>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize, const RN: usize, const DN: usize, const EN: usize> Default
    for Egress<W, LB, RN, DN, EN>
{
    fn default() -> Self {
        Self {
            clock: Default::default(),
            push: Default::default(),
            decision: Default::default(),
            end_valid: Default::default(),
            end_bytes: Default::default(),
            end_fault: Default::default(),
            written: Default::default(),
            ring_address: Default::default(),
            ring_data: Default::default(),
            freed: Default::default(),
            credit: Default::default(),
            inj_valid: Default::default(),
            inj_ready: Default::default(),
            inj_data: Default::default(),
            inj_count: Default::default(),
            inj_first: Default::default(),
            inj_last: Default::default(),
            inj_port: Default::default(),
            tx0_valid: Default::default(),
            tx0_ready: Default::default(),
            tx0_data: Default::default(),
            tx0_count: Default::default(),
            tx0_first: Default::default(),
            tx0_last: Default::default(),
            tx0_error: Default::default(),
            tx1_valid: Default::default(),
            tx1_ready: Default::default(),
            tx1_data: Default::default(),
            tx1_count: Default::default(),
            tx1_first: Default::default(),
            tx1_last: Default::default(),
            tx1_error: Default::default(),
            punt_valid: Default::default(),
            punt_data: Default::default(),
            punt_count: Default::default(),
            punt_first: Default::default(),
            punt_last: Default::default(),
            punt_abort: Default::default(),
            punt_meta: Default::default(),
            done: Default::default(),
            tally: Default::default(),
            sent0_valid: Default::default(),
            sent0_bytes: Default::default(),
            sent1_valid: Default::default(),
            sent1_bytes: Default::default(),
            busy: Default::default(),
            fetch: Default::default(),
            datas: Default::default(),
            beats: Default::default(),
            frames: Default::default(),
            port0: Default::default(),
            port1: Default::default(),
            head: Default::default(),
            told: Default::default(),
            inject: Default::default(),
            pop: Default::default(),
            last: Default::default(),
            punted: Default::default(),
            punting: Default::default(),
            punt_data1: Default::default(),
            punt_beat1: Default::default(),
            punt_meta1: Default::default(),
            done1: Default::default(),
            tally1: Default::default(),
            to_punt: Constant::new(TO_PUNT.into()),
            to_nowhere: Constant::new(TO_NOWHERE.into()),
            _quiet: Default::default(),
        }
    }
}

impl<const W: usize, const LB: usize, const RN: usize, const DN: usize, const EN: usize> Logic
    for Egress<W, LB, RN, DN, EN>
{
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, punting, punt_data1, punt_beat1, punt_meta1, done1, tally1);
        clock!(self, clock, fetch, datas, beats, frames, port0, port1);
        self.fetch.push.next = self.push.val();
        self.fetch.decision.next = self.decision.val();
        self.fetch.end_valid.next = self.end_valid.val();
        self.fetch.end_bytes.next = self.end_bytes.val();
        self.fetch.end_fault.next = self.end_fault.val();
        self.fetch.written.next = self.written.val();
        self.ring_address.next = self.fetch.ring_address.val();
        self.fetch.ring_data.next = self.ring_data.val();
        self.freed.next = self.fetch.freed.val();
        self.credit.next = self.fetch.credit.val();

        self.datas.push.next = self.fetch.beat_push.val();
        self.datas.data_in.next = self.fetch.beat_data.val();
        self.beats.push.next = self.fetch.beat_push.val();
        self.beats.data_in.next = self.fetch.beat.val();
        self.frames.push.next = self.fetch.frame_push.val();
        self.frames.data_in.next = self.fetch.frame.val();
        self.head.next = self.beats.data.val();
        self.told.next = self.frames.data.val();

        self.inject.next.to = 0.into();
        self.inject.next.first = self.inj_first.val();
        self.inject.next.last = self.inj_last.val();
        self.inject.next.error = false;
        self.inject.next.count = bit_cast::<6, LB>(self.inj_count.val());
        self.port0.fast_valid.next = self.beats.valid.val() & (self.head.val().to == 0);
        self.port0.fast_data.next = self.datas.data.val();
        self.port0.fast.next = self.head.val();
        self.port0.inject_valid.next = self.inj_valid.val() & (!self.inj_port.val());
        self.port0.inject_data.next = self.inj_data.val();
        self.port0.inject.next = self.inject.val();
        self.port0.tx_ready.next = self.tx0_ready.val();
        self.port1.fast_valid.next = self.beats.valid.val() & (self.head.val().to == 1);
        self.port1.fast_data.next = self.datas.data.val();
        self.port1.fast.next = self.head.val();
        self.port1.inject_valid.next = self.inj_valid.val() & self.inj_port.val();
        self.port1.inject_data.next = self.inj_data.val();
        self.port1.inject.next = self.inject.val();
        self.port1.tx_ready.next = self.tx1_ready.val();
        self.inj_ready.next = self.port0.inject_taken.val() | self.port1.inject_taken.val();

        self.punted.next = self.beats.valid.val() & (self.head.val().to == self.to_punt.val());
        self.pop.next = self.port0.fast_taken.val()
            | self.port1.fast_taken.val()
            | self.punted.val()
            | (self.beats.valid.val() & (self.head.val().to == self.to_nowhere.val()));
        self.last.next = self.pop.val() & self.head.val().last;
        self.datas.pop.next = self.pop.val();
        self.beats.pop.next = self.pop.val();
        self.frames.pop.next = self.last.val();
        self.fetch.taken.next = self.pop.val();

        self.punting.d.next = self.punted.val();
        if self.punted.val() {
            self.punt_data1.d.next = self.datas.data.val();
            self.punt_beat1.d.next = self.head.val();
            self.punt_meta1.d.next.reason = self.told.val().reason;
            self.punt_meta1.d.next.port = self.told.val().port;
            self.punt_meta1.d.next.unit = self.told.val().unit;
            self.punt_meta1.d.next.unit_valid = self.told.val().unit_valid;
        }
        self.done1.d.next.valid = self.last.val() & self.told.val().done;
        self.tally1.d.next.valid = self.last.val() & self.told.val().tally;
        if self.last.val() {
            self.done1.d.next.index = self.told.val().index;
            self.done1.d.next.direction = self.told.val().direction;
            self.done1.d.next.set = self.told.val().set;
            self.done1.d.next.bytes = self.told.val().bytes;
            self.tally1.d.next.reason = self.told.val().reason;
        }
        self.done.next = self.done1.q.val();
        self.tally.next = self.tally1.q.val();
        self.punt_valid.next = self.punting.q.val();
        self.punt_data.next = self.punt_data1.q.val();
        self.punt_count.next = bit_cast::<LB, 6>(self.punt_beat1.q.val().count);
        self.punt_first.next = self.punt_beat1.q.val().first;
        self.punt_last.next = self.punt_beat1.q.val().last;
        self.punt_abort.next = self.punt_beat1.q.val().error;
        self.punt_meta.next = self.punt_meta1.q.val();

        self.tx0_valid.next = self.port0.tx_valid.val();
        self.tx0_data.next = self.port0.tx_data.val();
        self.tx0_count.next = self.port0.tx_count.val();
        self.tx0_first.next = self.port0.tx_first.val();
        self.tx0_last.next = self.port0.tx_last.val();
        self.tx0_error.next = self.port0.tx_error.val();
        self.sent0_valid.next = self.port0.sent_valid.val();
        self.sent0_bytes.next = self.port0.sent_bytes.val();
        self.tx1_valid.next = self.port1.tx_valid.val();
        self.tx1_data.next = self.port1.tx_data.val();
        self.tx1_count.next = self.port1.tx_count.val();
        self.tx1_first.next = self.port1.tx_first.val();
        self.tx1_last.next = self.port1.tx_last.val();
        self.tx1_error.next = self.port1.tx_error.val();
        self.sent1_valid.next = self.port1.sent_valid.val();
        self.sent1_bytes.next = self.port1.sent_bytes.val();
        self.busy.next = self.fetch.busy.val()
            | self.port0.tx_valid.val()
            | self.port1.tx_valid.val()
            | self.port0.counting.val()
            | self.port1.counting.val()
            | self.punting.q.val()
            | self.done1.q.val().valid
            | self.tally1.q.val().valid;
    }
}
