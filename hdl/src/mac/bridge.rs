//! Bridge: the boundary between the core and a MAC, each on its own clock.
//!
//! ```text
//!    receive clock        |              core's clock              |      transmit clock
//!  push word meta --> | FIFO | --> | store, whole good frames | --> rx stream of the core
//!  beat ------------------|--> | state | <-------------------------|-- good poisoned underrun
//!                                            tx stream of the core --> | FIFO | --> word meta pop
//! ```
//!
//! Any MAC fits: the one of this folder ([`super::port`]), or a vendor's block with a stream of W bits on its own clocks. Its receive
//! side gives words (`rx_push`, without back-pressure: a MAC cannot wait) and with the last one a
//! [`Verdict`](super::types::Verdict), `Good` or else; its transmit side takes words (`tx_valid`, `tx_pop`) and must send a
//! frame with `error` so that nobody takes it for a good one. A MAC that has no status words leaves the link down and gives
//! them once (`Verdict::Status`); its `sent` bits change with each frame, or stay.

use crate::ingress::with_constants;
use crate::prelude::*;
use crate::prim::{Domains, Edge, Quiet, Reg};
use crate::wide::Wide;
use crate::FastBlock;

use super::fifo::AsyncFifo;
use super::state::State;
use super::store::Store;
use super::types::{RxMeta, TxMeta};

/// Divides the receive clock by 128, so that it can be seen to run. `beat` changes every 64 clocks.
#[derive(FastBlock, Default)]
pub struct Heart {
    /// Receive clock.
    pub clock: Signal<In, Clock>,
    /// Changes every 64 clocks; a register.
    pub beat: Signal<Out, Bit>,
    count: Reg<Bits<6>>,
    level: Reg<Bit>,
    _quiet: Quiet,
}

impl Logic for Heart {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, count, level);
        self.count.d.next = self.count.q.val() + 1;
        if self.count.q.val() == 0 {
            self.level.d.next = !self.level.q.val();
        }
        self.beat.next = self.level.q.val();
    }
}

/// See the module documentation. W bits a word, `LB` = log2(W / 8), a store of 2^A words, `P` = A + 1.
#[derive(FastBlock)]
pub struct Bridge<const W: usize, const LB: usize, const A: usize, const P: usize> {
    /// Clock of the core.
    pub core_clock: Signal<In, Clock>,
    /// Receive clock.
    pub rx_clock: Signal<In, Clock>,
    /// Transmit clock.
    pub tx_clock: Signal<In, Clock>,
    /// Receive clock: there is a word.
    pub rx_push: Signal<In, Bit>,
    /// Receive clock: it can be taken.
    pub rx_room: Signal<Out, Bit>,
    /// Receive clock: its bytes, the first in the top bits.
    pub rx_word: Signal<In, Wide<W>>,
    /// Receive clock: what it is.
    pub rx_meta: Signal<In, RxMeta>,
    /// There is a beat for the core.
    pub rx_valid: Signal<Out, Bit>,
    /// It is taken.
    pub rx_ready: Signal<In, Bit>,
    /// Its bytes.
    pub rx_data: Signal<Out, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub rx_count: Signal<Out, Bits<LB>>,
    /// First beat of a frame.
    pub rx_first: Signal<Out, Bit>,
    /// Last beat of a frame.
    pub rx_last: Signal<Out, Bit>,
    /// There is a beat of the core.
    pub tx_valid: Signal<In, Bit>,
    /// It is taken.
    pub tx_ready: Signal<Out, Bit>,
    /// Its bytes.
    pub tx_data: Signal<In, Wide<W>>,
    /// Valid bytes of the last beat, 0 for all.
    pub tx_count: Signal<In, Bits<LB>>,
    /// Last beat of a frame.
    pub tx_last: Signal<In, Bit>,
    /// With `tx_last`: the frame is damaged.
    pub tx_error: Signal<In, Bit>,
    /// Transmit clock: there is a word.
    pub tx_word_valid: Signal<Out, Bit>,
    /// Transmit clock: its bytes.
    pub tx_word: Signal<Out, Wide<W>>,
    /// Transmit clock: what it is.
    pub tx_meta: Signal<Out, TxMeta>,
    /// Transmit clock: it is taken.
    pub tx_pop: Signal<In, Bit>,
    /// Transmit clock: bits 0 good, 1 poisoned, 2 underrun; each change is a frame.
    pub sent: Signal<In, Bits<3>>,
    /// Word of the state to read, see [`super::state::State`].
    pub word: Signal<In, Bits<4>>,
    /// That word, [`super::state::READ`] clocks later.
    pub word_data: Signal<Out, Bits<32>>,
    /// The link is up.
    pub up: Signal<Out, Bit>,
    receive: AsyncFifo<Wide<W>, RxMeta, 4, 5>,
    transmit: AsyncFifo<Wide<W>, TxMeta, 4, 5>,
    store: Store<W, LB, A, P>,
    state: State,
    heart: Heart,
    _quiet: Quiet,
}

impl<const W: usize, const LB: usize, const A: usize, const P: usize> Default for Bridge<W, LB, A, P> {
    /// Panics unless `LB` is log2(W / 8) and `P` is A + 1.
    fn default() -> Self {
        with_constants!(
            core_clock rx_clock tx_clock rx_push rx_room rx_word rx_meta rx_valid rx_ready rx_data rx_count rx_first rx_last tx_valid
            tx_ready tx_data tx_count tx_last tx_error tx_word_valid tx_word tx_meta tx_pop sent word word_data up receive transmit
            store state heart _quiet;
        )
    }
}

impl<const W: usize, const LB: usize, const A: usize, const P: usize> Bridge<W, LB, A, P> {
    /// Lets synchronizers be unsure about changes beside an edge; see [`super::sync::Synchronizer::unsure`].
    pub fn unsure(&mut self, seed: u64) {
        self.receive.unsure(seed);
        self.transmit.unsure(seed.wrapping_mul(5));
    }

    /// An edge of the core's clock; what the block around it has to know.
    pub fn core_edge(&mut self) -> u8 {
        let moved = self.receive.read_edge() | self.transmit.write_edge() | self.store.edge() | self.state.edge();
        self._quiet.after_edge(moved)
    }

    /// An edge of the receive clock; what the block around it has to know.
    pub fn rx_edge(&mut self) -> u8 {
        let moved = self.receive.write_edge() | self.heart.edge();
        self._quiet.after_edge(moved)
    }

    /// An edge of the transmit clock; what the block around it has to know.
    pub fn tx_edge(&mut self) -> u8 {
        let moved = self.transmit.read_edge();
        self._quiet.after_edge(moved)
    }
}

impl<const W: usize, const LB: usize, const A: usize, const P: usize> Domains for Bridge<W, LB, A, P> {
    const CLOCKS: &'static [&'static str] = &["core_clock", "rx_clock", "tx_clock"];
    fn edge_of(&mut self, clock: usize) {
        match clock {
            0 => self.core_edge(),
            1 => self.rx_edge(),
            _ => self.tx_edge(),
        };
    }
}

impl<const W: usize, const LB: usize, const A: usize, const P: usize> Logic for Bridge<W, LB, A, P> {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, core_clock, store, state);
        clock!(self, rx_clock, heart);
        self.receive.write_clock.next = self.rx_clock.val();
        self.receive.read_clock.next = self.core_clock.val();
        self.transmit.write_clock.next = self.core_clock.val();
        self.transmit.read_clock.next = self.tx_clock.val();
        // towards the core
        self.receive.push.next = self.rx_push.val();
        self.receive.data_in.next = self.rx_word.val();
        self.receive.meta_in.next = self.rx_meta.val();
        self.rx_room.next = self.receive.room.val();
        self.receive.pop.next = self.receive.valid.val();
        self.store.word_valid.next = self.receive.valid.val();
        self.store.word.next = self.receive.data.val();
        self.store.meta.next = self.receive.meta.val();
        self.rx_valid.next = self.store.rx_valid.val();
        self.store.rx_ready.next = self.rx_ready.val();
        self.rx_data.next = self.store.rx_data.val();
        self.rx_count.next = self.store.rx_count.val();
        self.rx_first.next = self.store.rx_first.val();
        self.rx_last.next = self.store.rx_last.val();
        // from the core
        self.transmit.push.next = self.tx_valid.val();
        self.transmit.data_in.next = self.tx_data.val();
        self.transmit.meta_in.next.last = self.tx_last.val();
        self.transmit.meta_in.next.count = bit_cast::<6, LB>(self.tx_count.val());
        self.transmit.meta_in.next.error = self.tx_error.val();
        self.tx_ready.next = self.transmit.room.val();
        self.tx_word_valid.next = self.transmit.valid.val();
        self.tx_word.next = self.transmit.data.val();
        self.tx_meta.next = self.transmit.meta.val();
        self.transmit.pop.next = self.tx_pop.val();
        // what is known
        self.state.ended.next = self.store.ended.val();
        self.state.verdict.next = self.store.verdict.val();
        self.state.told.next = self.store.told.val();
        self.state.sent.next = self.sent.val();
        self.state.alive.next = self.heart.beat.val();
        self.state.word.next = self.word.val();
        self.word_data.next = self.state.data.val();
        self.up.next = self.state.up.val();
    }
}
