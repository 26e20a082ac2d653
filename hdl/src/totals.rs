//! Totals: up to 14 counters of 32 bits with one adder, for events of which each may come twice in every clock.
//!
//! ```text
//!  events twice --> | pending, 6 bits each |--+
//!                          ^ taken            +--> + total --> data (of `word`, READ clocks later)
//!  word, sweep --> | slot |--+                     ^   |
//!                            +--------------> | LUT RAM | (total)
//! ```
//!
//! What is counted waits in a few bits of its own until its counter is visited: it then goes to the total, and nothing else is left
//! behind. A visit is every other clock's turn of the reader, so that a word is exact however late its events came, and every other
//! clock's of a sweep. The sweep stands still while there is nothing to be found.
//!
//! * Between two visits of a counter by the sweep are at most 2 N + 2 clocks with two events each, which six bits hold.
//! * A total is read, added to and written in one clock, so visits of the same counter need no forwarding.
//!
//! Counters wrap. A word that is no counter reads as 0.

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{LutRam, Quiet, Reg};
use crate::FastBlock;

/// Clocks from `word` to `data`; `word` stands still meanwhile.
pub const READ: usize = 4;

/// See the module documentation. N counters, at most 14.
#[derive(FastBlock)]
pub struct Totals<const N: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// One event of each counter.
    pub events: Signal<In, Bits<14>>,
    /// One more in the same clock.
    pub twice: Signal<In, Bits<14>>,
    /// Counter to read.
    pub word: Signal<In, Bits<4>>,
    /// That counter, with at least all events of the clocks before `word` came.
    pub data: Signal<Out, Bits<32>>,
    memory: LutRam<Bits<32>, 4>,
    pending: [Reg<Bits<6>>; 14],
    /// It is the reader's turn in this clock.
    own: Reg<Bit>,
    sweep: Reg<Bits<4>>,
    /// There may be something pending; and some of it since the sweep began.
    some: Reg<Bit>,
    fresh: Reg<Bit>,
    slot: Reg<Bits<4>>,
    slot_own: Reg<Bit>,
    visit: Reg<Bits<4>>,
    visit_own: Reg<Bit>,
    taken: Reg<Bits<6>>,
    total: Reg<Bits<32>>,
    found: Signal<Local, Bits<6>>,
    more: Signal<Local, Bits<6>>,
    rest: Signal<Local, Bits<6>>,
    sum: Signal<Local, Bits<32>>,
    final_slot: Constant<Bits<4>>,
    _quiet: Quiet,
}

impl<const N: usize> Default for Totals<N> {
    /// Panics unless `N` is 1 to 14.
    fn default() -> Self {
        assert!((1..=14).contains(&N) && 2 * (2 * N + 2) < 64);
        with_constants!(
            clock events twice word data memory pending own sweep some fresh slot slot_own visit visit_own taken total found more rest sum _quiet;
            final_slot = (N - 1) as u64,
        )
    }
}

impl<const N: usize> Logic for Totals<N> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, own, sweep, some, fresh, slot, slot_own, visit, visit_own, taken, total);
        clock!(self, clock, memory);
        // whose counter
        self.slot.d.next = self.sweep.q.val();
        self.slot_own.d.next = self.own.q.val();
        self.own.d.next = true;
        if self.own.q.val() {
            self.slot.d.next = self.word.val();
            self.own.d.next = !self.some.q.val();
        } else {
            self.sweep.d.next = self.sweep.q.val() + 1;
            if self.sweep.q.val() == self.final_slot.val() {
                self.sweep.d.next = 0.into();
                self.some.d.next = self.fresh.q.val();
                self.fresh.d.next = false;
            }
        }
        if self.events.val().any() | self.twice.val().any() {
            self.some.d.next = true;
            self.fresh.d.next = true;
        }
        // what waits for it
        self.visit.d.next = self.slot.q.val();
        self.visit_own.d.next = self.slot_own.q.val();
        self.found.next = 0.into();
        for i in 0..14 {
            // one adder for each, whatever comes and whether it is visited
            self.more.next = 0.into();
            if self.events.val().get_bit(i) ^ self.twice.val().get_bit(i) {
                self.more.next = 1.into();
            }
            if self.events.val().get_bit(i) & self.twice.val().get_bit(i) {
                self.more.next = 2.into();
            }
            self.rest.next = self.pending[i].q.val();
            if self.slot.q.val() == i.to_bits() {
                self.found.next = self.found.val() | self.pending[i].q.val();
                self.rest.next = 0.into();
            }
            self.pending[i].clock.next = self.clock.val();
            self.pending[i].d.next = self.rest.val() + self.more.val();
        }
        self.taken.d.next = self.found.val();
        // the total
        self.memory.read_address.next = self.visit.q.val();
        self.sum.next = self.memory.read_data.val() + bit_cast::<32, 6>(self.taken.q.val());
        self.memory.write.next = true;
        self.memory.write_address.next = self.visit.q.val();
        self.memory.write_data.next = self.sum.val();
        if self.visit_own.q.val() {
            self.total.d.next = self.sum.val();
        }
        self.data.next = self.total.q.val();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use rand::{rngs::StdRng, Rng, SeedableRng};

    /// Counts with events at these chances and reads at random moments; the bench and how many reads there were.
    fn run<const N: usize>(seed: u64, chances: &[f64], clocks: usize) -> (Bench<Totals<N>>, usize) {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut bench = Bench::new(Totals::<N>::default());
        // what each counter was after each of the last clocks
        let mut history = vec![[0u64; 16]];
        let (mut word, mut stands, mut reads) = (0u64, 0, 0);
        for clock in 0..clocks {
            let chance = chances[clock / 200 % chances.len()];
            let mut now = *history.last().unwrap();
            let (mut events, mut twice) = (0u64, 0u64);
            for (i, count) in now.iter_mut().enumerate().take(N) {
                for bits in [&mut events, &mut twice] {
                    if rng.random_bool(chance) {
                        *bits |= 1 << i;
                        *count += 1;
                    }
                }
            }
            if stands > READ && rng.random_bool(0.2) {
                (word, stands) = (rng.random_range(0..16), 0);
            }
            bench.uut.events.next = events.into();
            bench.uut.twice.next = twice.into();
            bench.uut.word.next = word.into();
            bench.settle();
            if stands >= READ {
                let got = bench.uut.data.val().index() as u64;
                let at = |ago: usize| history[history.len().saturating_sub(1 + ago)][word as usize];
                // never less than when the word came, never more than there were, and exact where nothing moves
                assert!(at(READ) <= got && got <= at(0), "clock {clock}, word {word}: {got}");
                reads += 1;
            }
            bench.edge();
            history.push(now);
            stands += 1;
        }
        (bench, reads)
    }

    #[test]
    fn every_event_is_counted_once_and_a_read_is_exact() {
        for seed in 0..4 {
            // all at once for a while, nothing, and a few
            let (mut bench, reads) = run::<14>(seed, &[1.0, 0.0, 0.05, 0.5], 4000);
            assert!(reads > 500, "{reads}");
            bench.uut.events.next = 0u64.into();
            bench.uut.twice.next = 0u64.into();
            for _ in 0..70 {
                bench.tick();
            }
            assert!(bench.uut.pending.iter().all(|p| p.q.val().index() == 0));
            assert!(!bench.uut.some.q.val() && bench.uut.own.q.val(), "the sweep rests");
        }
        let (bench, _) = run::<11>(9, &[0.02, 0.0, 1.0], 2000);
        bench.agrees_with_verilog("totals");
        bench.agrees_with_netlist("totals");
    }

    #[test]
    fn an_event_of_the_clock_before_the_word_is_in_it() {
        for wait in 0..40 {
            let mut bench = Bench::new(Totals::<11>::default());
            // an event sets the sweep going, so that the read meets it everywhere
            bench.uut.events.next = 1u64.into();
            bench.tick();
            bench.uut.events.next = 0u64.into();
            for _ in 0..wait {
                bench.tick();
            }
            bench.uut.events.next = 32u64.into();
            bench.uut.twice.next = 32u64.into();
            bench.tick();
            bench.uut.events.next = 0u64.into();
            bench.uut.twice.next = 0u64.into();
            bench.uut.word.next = 5u64.into();
            for _ in 0..READ {
                bench.tick();
            }
            bench.settle();
            assert_eq!(bench.uut.data.val().index(), 2, "{wait}");
        }
    }
}
