//! One transmit port: chooses between fast path and inject stream frame by frame, in turn when both have a frame.

use super::meta::BeatMeta;
use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::wide::*;
use crate::FastBlock;

/// See the module documentation. Latency: one clock, the output register.
#[derive(FastBlock)]
pub struct Port<const W: usize, const LB: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// The fast path has a beat for this port.
    pub fast_valid: Signal<In, Bit>,
    /// It is taken.
    pub fast_taken: Signal<Out, Bit>,
    /// Its bytes.
    pub fast_data: Signal<In, Wide<W>>,
    /// What it is.
    pub fast: Signal<In, BeatMeta>,
    /// The inject stream has a beat for this port.
    pub inject_valid: Signal<In, Bit>,
    /// It is taken.
    pub inject_taken: Signal<Out, Bit>,
    /// Its bytes.
    pub inject_data: Signal<In, Wide<W>>,
    /// What it is.
    pub inject: Signal<In, BeatMeta>,
    /// There is a beat.
    pub tx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub tx_ready: Signal<In, Bit>,
    /// Its bytes.
    pub tx_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub tx_count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub tx_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub tx_last: Signal<Out, Bit>,
    /// The frame is damaged.
    pub tx_error: Signal<Out, Bit>,
    /// A good frame was sent.
    pub sent_valid: Signal<Out, Bit>,
    /// Its bytes.
    pub sent_bytes: Signal<Out, Bits<16>>,
    /// A beat that was taken is not counted yet, or `sent_valid`.
    pub counting: Signal<Out, Bit>,
    in_fast: Reg<Bit>,
    in_inject: Reg<Bit>,
    inject_next: Reg<Bit>,
    /// A beat of the inject stream was there in the last clock and was not taken.
    inject_waits: Reg<Bit>,
    full: Reg<Bit>,
    data: Reg<Wide<W>>,
    beat: Reg<BeatMeta>,
    took: Reg<Bit>,
    bytes: Reg<Bits<16>>,
    sent: Reg<Bit>,
    sent_size: Reg<Bits<16>>,
    open: Signal<Local, Bit>,
    inject_turn: Signal<Local, Bit>,
    take_fast: Signal<Local, Bit>,
    take_inject: Signal<Local, Bit>,
    taken: Signal<Local, BeatMeta>,
    size: Signal<Local, Bits<16>>,
    total: Signal<Local, Bits<16>>,
    beat_bytes: Constant<Bits<16>>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize> Default for Port<W, LB> {
    fn default() -> Self {
        Self {
            clock: Default::default(),
            fast_valid: Default::default(),
            fast_taken: Default::default(),
            fast_data: Default::default(),
            fast: Default::default(),
            inject_valid: Default::default(),
            inject_taken: Default::default(),
            inject_data: Default::default(),
            inject: Default::default(),
            tx_valid: Default::default(),
            tx_ready: Default::default(),
            tx_data: Default::default(),
            tx_count: Default::default(),
            tx_first: Default::default(),
            tx_last: Default::default(),
            tx_error: Default::default(),
            sent_valid: Default::default(),
            sent_bytes: Default::default(),
            counting: Default::default(),
            in_fast: Default::default(),
            in_inject: Default::default(),
            inject_next: Default::default(),
            inject_waits: Default::default(),
            full: Default::default(),
            data: Default::default(),
            beat: Default::default(),
            took: Default::default(),
            bytes: Default::default(),
            sent: Default::default(),
            sent_size: Default::default(),
            open: Default::default(),
            inject_turn: Default::default(),
            take_fast: Default::default(),
            take_inject: Default::default(),
            taken: Default::default(),
            size: Default::default(),
            total: Default::default(),
            beat_bytes: Constant::new((W as u64 / 8).into()),
            _quiet: Default::default(),
        }
    }
}

impl<const W: usize, const LB: usize> Logic for Port<W, LB> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            in_fast,
            in_inject,
            inject_next,
            inject_waits,
            full,
            data,
            beat,
            took,
            bytes,
            sent,
            sent_size
        );
        self.open.next = (!self.full.q.val()) | self.tx_ready.val();
        // whose turn it is comes out of registers: the fast path does not wait for what the inject stream says in this clock
        self.inject_turn.next = self.inject_next.q.val() & self.inject_waits.q.val();
        self.take_fast.next = self.open.val()
            & self.fast_valid.val()
            & (!self.in_inject.q.val())
            & (self.in_fast.q.val() | (!self.inject_turn.val()));
        self.take_inject.next = self.open.val()
            & self.inject_valid.val()
            & (!self.in_fast.q.val())
            & (self.in_inject.q.val() | self.inject_turn.val() | (!self.fast_valid.val()));
        self.inject_waits.d.next = self.inject_valid.val() & (!self.take_inject.val());
        self.fast_taken.next = self.take_fast.val();
        self.inject_taken.next = self.take_inject.val();
        self.taken.next = self.fast.val();
        if self.take_inject.val() {
            self.taken.next = self.inject.val();
        }
        if self.take_fast.val() {
            self.in_fast.d.next = !self.taken.val().last;
            self.inject_next.d.next = true;
            self.data.d.next = self.fast_data.val();
        }
        if self.take_inject.val() {
            self.in_inject.d.next = !self.taken.val().last;
            self.inject_next.d.next = false;
            self.data.d.next = self.inject_data.val();
        }
        self.took.d.next = self.take_fast.val() | self.take_inject.val();
        if self.take_fast.val() | self.take_inject.val() {
            self.beat.d.next = self.taken.val();
        }
        // bytes are counted a clock later, when the beat is in its register
        self.size.next = self.beat_bytes.val();
        if self.beat.q.val().last & self.beat.q.val().count.any() {
            self.size.next = bit_cast::<16, 6>(self.beat.q.val().count);
        }
        self.total.next = self.bytes.q.val() + self.size.val();
        if self.beat.q.val().first {
            self.total.next = self.size.val();
        }
        self.sent.d.next = false;
        if self.took.q.val() {
            self.bytes.d.next = self.total.val();
            self.sent.d.next = self.beat.q.val().last & (!self.beat.q.val().error);
            self.sent_size.d.next = self.total.val();
        }
        self.counting.next = self.took.q.val() | self.sent.q.val();
        self.full.d.next = self.take_fast.val() | self.take_inject.val() | (self.full.q.val() & (!self.tx_ready.val()));
        self.tx_valid.next = self.full.q.val();
        self.tx_data.next = self.data.q.val();
        self.tx_count.next = bit_cast::<LB, 6>(self.beat.q.val().count);
        self.tx_first.next = self.beat.q.val().first;
        self.tx_last.next = self.beat.q.val().last;
        self.tx_error.next = self.beat.q.val().error;
        self.sent_valid.next = self.sent.q.val();
        self.sent_bytes.next = self.sent_size.q.val();
    }
}
