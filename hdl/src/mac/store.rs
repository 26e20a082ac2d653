//! Store: keeps the words of a received frame until its verdict, then gives the frame to the core or forgets it.
//!
//! ```text
//!  words --> | block RAM, 2^A words | --> queue --> stream to the core
//!               ^ write  ^ commit ^ read
//!  last, good: commit = write     last, bad: write = commit
//! ```
//!
//! Words are always taken, so that the FIFO between the clocks never fills from this side. A frame that finds no room is forgotten
//! whole and told as [`Verdict::NoRoom`]. The core gets whole frames only: none begins that does not end well, and one that
//! began comes without a gap, whatever the receive clock does.

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{BlockRam, Quiet, Reg, SmallFifo};
use crate::wide::{bit_cast_wide, bits_narrow, Wide};
use crate::FastBlock;

use super::types::{RxMeta, Verdict};

/// Words that may be on their way out of the RAM: what the queue holds.
const IN_FLIGHT: u64 = 7;

/// See the module documentation. W bits a word, `LB` = log2(W / 8), 2^A words, `P` = A + 1.
#[derive(FastBlock)]
pub struct Store<const W: usize, const LB: usize, const A: usize, const P: usize> {
    /// Clock of the core.
    pub clock: Signal<In, Clock>,
    /// There is a word; it is taken.
    pub word_valid: Signal<In, Bit>,
    /// Its bytes.
    pub word: Signal<In, Wide<W>>,
    /// What it is.
    pub meta: Signal<In, RxMeta>,
    /// There is a beat for the core.
    pub rx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub rx_ready: Signal<In, Bit>,
    /// Its bytes.
    pub rx_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub rx_count: Signal<Out, Bits<LB>>,
    /// First of a frame.
    pub rx_first: Signal<Out, Bit>,
    /// Last of a frame.
    pub rx_last: Signal<Out, Bit>,
    /// A frame ended or the link's status came.
    pub ended: Signal<Out, Bit>,
    /// Which, a [`Verdict`].
    pub verdict: Signal<Out, Bits<4>>,
    /// First word of the event: the link's status in bits 3:0 of its first byte.
    pub told: Signal<Out, Bits<4>>,
    memory: BlockRam<Wide<W>, A>,
    metas: BlockRam<RxMeta, A>,
    queue: SmallFifo<Wide<W>, 3>,
    queue_meta: SmallFifo<RxMeta, 3>,
    write_at: Reg<Bits<P>>,
    commit_at: Reg<Bits<P>>,
    read_at: Reg<Bits<P>>,
    spoiled: Reg<Bit>,
    coming1: Reg<Bit>,
    coming2: Reg<Bit>,
    open: Reg<Bits<3>>,
    inside: Reg<Bit>,
    out_event: Reg<Bit>,
    out_verdict: Reg<Bits<4>>,
    out_told: Reg<Bits<4>>,
    used: Signal<Local, Bits<P>>,
    full: Signal<Local, Bit>,
    keep: Signal<Local, Bit>,
    ending: Signal<Local, Bit>,
    is_good: Signal<Local, Bit>,
    after: Signal<Local, Bits<P>>,
    issue: Signal<Local, Bit>,
    pop: Signal<Local, Bit>,
    beat: Signal<Local, RxMeta>,
    arrival: Signal<Local, RxMeta>,
    shifted: Signal<Local, Wide<W>>,
    top: Constant<Bits<P>>,
    by_top: Constant<Bits<10>>,
    in_flight: Constant<Bits<3>>,
    good: Constant<Bits<4>>,
    no_room: Constant<Bits<4>>,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize, const A: usize, const P: usize> Default for Store<W, LB, A, P> {
    /// Panics unless `LB` is log2(W / 8) and `P` is A + 1.
    fn default() -> Self {
        assert!(W == 8 << LB && P == A + 1 && LB <= 6);
        with_constants!(
            clock word_valid word meta rx_valid rx_ready rx_data rx_count rx_first rx_last ended verdict told memory metas queue
            queue_meta write_at commit_at read_at spoiled coming1 coming2 open inside out_event out_verdict out_told used full keep
            ending is_good after issue pop beat arrival shifted _quiet;
            top = 1u64 << A,
            by_top = (W - 8) as u64,
            in_flight = IN_FLIGHT,
            good = Verdict::Good as u64,
            no_room = Verdict::NoRoom as u64,
        )
    }
}

impl<const W: usize, const LB: usize, const A: usize, const P: usize> Logic for Store<W, LB, A, P> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, write_at, commit_at, read_at, spoiled, coming1, coming2, open, inside);
        dff_setup!(self, clock, out_event, out_verdict, out_told);
        clock!(self, clock, memory, metas, queue, queue_meta);
        // in
        self.arrival.next = self.meta.val();
        self.used.next = self.write_at.q.val() - self.read_at.q.val();
        self.full.next = self.used.val() == self.top.val();
        self.ending.next = self.word_valid.val() & self.arrival.val().last;
        self.is_good.next = self.arrival.val().verdict == self.good.val();
        self.keep.next = self.word_valid.val()
            & (!self.full.val())
            & (!self.spoiled.q.val())
            & ((!self.arrival.val().last) | self.is_good.val());
        self.after.next = self.write_at.q.val() + 1;
        self.memory.write.next = self.keep.val();
        self.memory.write_address.next = bit_cast::<A, P>(self.write_at.q.val());
        self.memory.write_data.next = self.word.val();
        self.metas.write.next = self.keep.val();
        self.metas.write_address.next = bit_cast::<A, P>(self.write_at.q.val());
        self.metas.write_data.next = self.meta.val();
        self.shifted.next = self.word.val() >> self.by_top.val();
        self.out_event.d.next = self.ending.val();
        self.out_verdict.d.next = self.arrival.val().verdict;
        self.out_told.d.next = bits_narrow::<4>(bit_cast_wide::<4, W>(self.shifted.val()));
        if self.keep.val() {
            self.write_at.d.next = self.after.val();
        }
        if self.word_valid.val() & (!self.keep.val()) {
            self.spoiled.d.next = true;
        }
        if self.ending.val() {
            self.spoiled.d.next = false;
            if self.keep.val() {
                self.commit_at.d.next = self.after.val();
            } else {
                self.write_at.d.next = self.commit_at.q.val();
                if self.is_good.val() {
                    self.out_verdict.d.next = self.no_room.val();
                }
            }
        }
        // out
        self.issue.next =
            (self.read_at.q.val() != self.commit_at.q.val()) & (self.open.q.val() != self.in_flight.val());
        self.memory.read_address.next = bit_cast::<A, P>(self.read_at.q.val());
        self.metas.read_address.next = bit_cast::<A, P>(self.read_at.q.val());
        if self.issue.val() {
            self.read_at.d.next = self.read_at.q.val() + 1;
        }
        self.coming1.d.next = self.issue.val();
        self.coming2.d.next = self.coming1.q.val();
        self.queue.push.next = self.coming2.q.val();
        self.queue.data_in.next = self.memory.read_data.val();
        self.queue_meta.push.next = self.coming2.q.val();
        self.queue_meta.data_in.next = self.metas.read_data.val();
        self.pop.next = self.queue.valid.val() & self.rx_ready.val();
        self.queue.pop.next = self.pop.val();
        self.queue_meta.pop.next = self.pop.val();
        if self.issue.val() & (!self.pop.val()) {
            self.open.d.next = self.open.q.val() + 1;
        }
        if self.pop.val() & (!self.issue.val()) {
            self.open.d.next = self.open.q.val() - 1;
        }
        self.beat.next = self.queue_meta.data.val();
        self.rx_valid.next = self.queue.valid.val();
        self.rx_data.next = self.queue.data.val();
        self.rx_count.next = bit_cast::<LB, 6>(self.beat.val().count);
        self.rx_first.next = !self.inside.q.val();
        self.rx_last.next = self.beat.val().last;
        if self.pop.val() {
            self.inside.d.next = !self.beat.val().last;
        }
        self.ended.next = self.out_event.q.val();
        self.verdict.next = self.out_verdict.q.val();
        self.told.next = self.out_told.q.val();
    }
}
