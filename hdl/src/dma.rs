//! Merges three masters of DMA writes into one; a burst is never split.
//!
//! ```text
//!  a_* (punt)     -->|     |
//!  b_* (inject)   -->| dma |--> mw_valid mw_addr mw_data mw_first mw_last (mw_ready)
//!  c_* (activity) -->|     |
//! ```
//!
//! Latency: none once a master is chosen; choosing takes one clock between bursts. Round robin by burst. The order of the
//! bursts of one master is kept, which is what the owner bit of a descriptor relies on.

use crate::prelude::*;

use crate::prim::{Quiet, Reg};
use crate::wide::Wide;
use crate::FastBlock;

/// See the module documentation.
#[derive(FastBlock, Default)]
pub struct DmaMerge {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Master a has a word.
    pub a_valid: Signal<In, Bit>,
    /// It is taken.
    pub a_ready: Signal<Out, Bit>,
    /// Address of the word.
    pub a_addr: Signal<In, Wide<64>>,
    /// Word.
    pub a_data: Signal<In, Wide<64>>,
    /// First of a burst.
    pub a_first: Signal<In, Bit>,
    /// Last of a burst.
    pub a_last: Signal<In, Bit>,
    /// Master b has a word.
    pub b_valid: Signal<In, Bit>,
    /// It is taken.
    pub b_ready: Signal<Out, Bit>,
    /// Address of the word.
    pub b_addr: Signal<In, Wide<64>>,
    /// Word.
    pub b_data: Signal<In, Wide<64>>,
    /// First of a burst.
    pub b_first: Signal<In, Bit>,
    /// Last of a burst.
    pub b_last: Signal<In, Bit>,
    /// Master c has a word.
    pub c_valid: Signal<In, Bit>,
    /// It is taken.
    pub c_ready: Signal<Out, Bit>,
    /// Address of the word.
    pub c_addr: Signal<In, Wide<64>>,
    /// Word.
    pub c_data: Signal<In, Wide<64>>,
    /// First of a burst.
    pub c_first: Signal<In, Bit>,
    /// Last of a burst.
    pub c_last: Signal<In, Bit>,
    /// A word for host memory.
    pub mw_valid: Signal<Out, Bit>,
    /// Host memory takes it.
    pub mw_ready: Signal<In, Bit>,
    /// Its address.
    pub mw_addr: Signal<Out, Wide<64>>,
    /// The word.
    pub mw_data: Signal<Out, Wide<64>>,
    /// First of a burst.
    pub mw_first: Signal<Out, Bit>,
    /// Last of a burst.
    pub mw_last: Signal<Out, Bit>,
    /// A burst is under way.
    pub busy: Signal<Out, Bit>,
    /// 0: none, 1 to 3: the master whose burst is under way.
    owner: Reg<Bits<2>>,
    /// The master served last.
    served: Reg<Bits<2>>,
    /// The owner once more for each master: what the masters wait for has no part in choosing 128 bits.
    is_a: Reg<Bit>,
    is_b: Reg<Bit>,
    is_c: Reg<Bit>,
    next_owner: Signal<Local, Bits<2>>,
    burst_end: Signal<Local, Bit>,
    _quiet: Quiet,
}

impl Logic for DmaMerge {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, owner, served, is_a, is_b, is_c);
        self.a_ready.next = self.mw_ready.val() & self.is_a.q.val();
        self.b_ready.next = self.mw_ready.val() & self.is_b.q.val();
        self.c_ready.next = self.mw_ready.val() & self.is_c.q.val();
        self.mw_valid.next = false;
        self.mw_addr.next = self.a_addr.val();
        self.mw_data.next = self.a_data.val();
        self.mw_first.next = self.a_first.val();
        self.mw_last.next = self.a_last.val();
        self.burst_end.next = false;
        self.next_owner.next = self.owner.q.val();
        if self.owner.q.val() == 1 {
            self.mw_valid.next = self.a_valid.val();
            self.burst_end.next = self.a_valid.val() & self.mw_ready.val() & self.a_last.val();
        }
        if self.owner.q.val() == 2 {
            self.mw_valid.next = self.b_valid.val();
            self.mw_addr.next = self.b_addr.val();
            self.mw_data.next = self.b_data.val();
            self.mw_first.next = self.b_first.val();
            self.mw_last.next = self.b_last.val();
            self.burst_end.next = self.b_valid.val() & self.mw_ready.val() & self.b_last.val();
        }
        if self.owner.q.val() == 3 {
            self.mw_valid.next = self.c_valid.val();
            self.mw_addr.next = self.c_addr.val();
            self.mw_data.next = self.c_data.val();
            self.mw_first.next = self.c_first.val();
            self.mw_last.next = self.c_last.val();
            self.burst_end.next = self.c_valid.val() & self.mw_ready.val() & self.c_last.val();
        }
        if self.burst_end.val() {
            self.next_owner.next = 0.into();
        }
        if self.owner.q.val() == 0 {
            // the one after the last served comes first, so that no master waits for more than two bursts of others
            if self.served.q.val() == 1 {
                if self.b_valid.val() {
                    self.next_owner.next = 2.into();
                    self.served.d.next = 2.into();
                } else if self.c_valid.val() {
                    self.next_owner.next = 3.into();
                    self.served.d.next = 3.into();
                } else if self.a_valid.val() {
                    self.next_owner.next = 1.into();
                    self.served.d.next = 1.into();
                }
            } else if self.served.q.val() == 2 {
                if self.c_valid.val() {
                    self.next_owner.next = 3.into();
                    self.served.d.next = 3.into();
                } else if self.a_valid.val() {
                    self.next_owner.next = 1.into();
                    self.served.d.next = 1.into();
                } else if self.b_valid.val() {
                    self.next_owner.next = 2.into();
                    self.served.d.next = 2.into();
                }
            } else {
                if self.a_valid.val() {
                    self.next_owner.next = 1.into();
                    self.served.d.next = 1.into();
                } else if self.b_valid.val() {
                    self.next_owner.next = 2.into();
                    self.served.d.next = 2.into();
                } else if self.c_valid.val() {
                    self.next_owner.next = 3.into();
                    self.served.d.next = 3.into();
                }
            }
        }
        self.owner.d.next = self.next_owner.val();
        self.is_a.d.next = self.next_owner.val() == 1;
        self.is_b.d.next = self.next_owner.val() == 2;
        self.is_c.d.next = self.next_owner.val() == 3;
        self.busy.next = self.owner.q.val() != 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    /// Address, data, first, last.
    type Word = (u64, u64, bool, bool);

    #[test]
    fn bursts_arrive_whole_and_in_order_of_their_master() {
        let mut rng = StdRng::seed_from_u64(4);
        let mut bench = Bench::new(DmaMerge::default());
        let mut queues: [VecDeque<Word>; 3] = Default::default();
        for (master, queue) in queues.iter_mut().enumerate() {
            for burst in 0..60u64 {
                let words = rng.random_range(1..=16u64);
                for w in 0..words {
                    let address = (master as u64) << 32 | burst << 12 | w << 3;
                    queue.push_back((address, rng.random(), w == 0, w + 1 == words));
                }
            }
        }
        let mut want = queues.clone();
        let (mut open, mut got) = (None, 0);
        let total: usize = queues.iter().map(VecDeque::len).sum();
        for _ in 0..20_000 {
            let offer: Vec<Option<Word>> = queues
                .iter()
                .map(|q| q.front().copied().filter(|_| rng.random_range(0..4) != 0))
                .collect();
            let uut = &mut bench.uut;
            let w = |i: usize| offer[i].unwrap_or_default();
            uut.a_valid.next = offer[0].is_some();
            (uut.a_addr.next, uut.a_data.next) = (w(0).0.into(), w(0).1.into());
            (uut.a_first.next, uut.a_last.next) = (w(0).2, w(0).3);
            uut.b_valid.next = offer[1].is_some();
            (uut.b_addr.next, uut.b_data.next) = (w(1).0.into(), w(1).1.into());
            (uut.b_first.next, uut.b_last.next) = (w(1).2, w(1).3);
            uut.c_valid.next = offer[2].is_some();
            (uut.c_addr.next, uut.c_data.next) = (w(2).0.into(), w(2).1.into());
            (uut.c_first.next, uut.c_last.next) = (w(2).2, w(2).3);
            uut.mw_ready.next = rng.random();
            bench.settle();
            let uut = &bench.uut;
            if uut.mw_valid.val() && uut.mw_ready.val() {
                let word = (
                    uut.mw_addr.val().low(),
                    uut.mw_data.val().low(),
                    uut.mw_first.val(),
                    uut.mw_last.val(),
                );
                let master = (word.0 >> 32) as usize;
                assert_eq!(open.is_none(), word.2, "a burst starts inside another");
                assert!(open.is_none_or(|m| m == master), "bursts are mixed");
                open = (!word.3).then_some(master);
                assert_eq!(want[master].pop_front(), Some(word));
                got += 1;
            }
            let taken = [
                uut.a_valid.val() && uut.a_ready.val(),
                uut.b_valid.val() && uut.b_ready.val(),
                uut.c_valid.val() && uut.c_ready.val(),
            ];
            bench.edge();
            for (queue, taken) in queues.iter_mut().zip(taken) {
                if taken {
                    queue.pop_front();
                }
            }
        }
        assert_eq!(got, total);
        bench.agrees_with_verilog("dma");
        bench.agrees_with_netlist("dma");
    }
}
