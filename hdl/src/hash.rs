//! The keyed hash of the session table: HalfSipHash-1-3 in round units, one round per clock each.
//!
//! ```text
//!  key --> message --> | unit |-->...--> | unit |--> || --> | unit |-->...--> | unit |--+--> high half --+
//!          and secret    ^  |              ^  |              ^  |      |               |                +--> hash
//!                        +--+              +--+              +--+      +--> low half --+----------------+
//!                     WORDS units: rounds 0 to 6           FINAL units: rounds 7 to 12
//! ```
//!
//! `nat64_layout::hash` defines the message and the function; the tests compare with it. A round has two 32-bit
//! additions in series, which is what limits the clock: a unit's register stands before its round, so that the choice between
//! a new state and the unit's own costs nothing behind the sums. Where the two kinds of units meet a register (`||`) takes
//! the state: a new one is then never the end of a round of a unit elsewhere, which was the longest path of the table. The message moves along with the rounds and loses the word that
//! was used in each of them.
//!
//! A unit takes a state through as many rounds as there are for each, and hands it on in the clock of the last one, so that the
//! latency is the same however many units there are: [`LATENCY`] clocks. What differs is how near keys may follow each other,
//! [`distance`]: 13 units are a pipeline that takes a key per clock. Where the bus is narrow, headers are further apart than that:
//!
//! | bus | headers apart | `WORDS`, `FINAL` | keys apart |
//! |---|---|---|---|
//! | 64 bits | 8 clocks | 1, 1 | 7 clocks |
//! | 128 bits | 4 clocks | 2, 2 | 4 clocks |
//! | 256, 512 bits | 2, 1 clocks | 7, 6 | 1 clock |
//!
//! There is no back-pressure, and a key that comes too early spoils the one before it. None does: only headers bring keys (the
//! host writes and reads the table by place and never hashes here), ingress keeps the starts of frames 60 bytes' worth of clocks
//! apart, capture completes headers no nearer than that (its test looks at it), and no block between capture and here has a
//! latency that varies. `Core` refuses parameters that do not fit its bus.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

mod word;

use crate::prelude::*;
use crate::prim::{Quiet, Reg};
use crate::types::{Key, RegisterWrite};
use crate::wide::Wide;
use crate::FastBlock;
use nat64_layout::hash::{MESSAGE_BYTES, MESSAGE_FOUR_BIT, TOTAL_ROUNDS};
use nat64_layout::regs::{HashKey0, HashKey1};
pub use word::{bits_low_word, bits_number, bits_word, bits_word_wide, SipWord};

/// Rounds that take in a word of the message.
const WORD_ROUNDS: usize = 7;
/// Rounds of the finalization, two halves.
const FINAL_ROUNDS: usize = TOTAL_ROUNDS - WORD_ROUNDS;
/// Clocks from `key` to `hash`: the register of the first unit, then the rounds, the last of which ends in the output register,
/// and the register between the units for the message and those behind them.
pub const LATENCY: usize = TOTAL_ROUNDS + 2;

/// Clocks that keys must be apart at least, for a hasher with so many units.
pub const fn distance(words: usize, last: usize) -> usize {
    let (mixing, ending) = (WORD_ROUNDS.div_ceil(words), FINAL_ROUNDS.div_ceil(last));
    if mixing > ending {
        mixing
    } else {
        ending
    }
}

/// State of a hash on its way, and the words of the message that are still to come, the next one first.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct SipState {
    /// v0.
    pub a: SipWord,
    /// v1.
    pub b: SipWord,
    /// v2.
    pub c: SipWord,
    /// v3.
    pub d: SipWord,
    /// Word of this round.
    pub m0: SipWord,
    /// Word of the next round.
    pub m1: SipWord,
    /// The one after it.
    pub m2: SipWord,
    /// And so on.
    pub m3: SipWord,
    /// And so on.
    pub m4: SipWord,
    /// And so on.
    pub m5: SipWord,
    /// And so on.
    pub m6: SipWord,
}

/// A register and one SipRound behind it, with the exclusive or with message words that ends the round and begins the next.
///
/// After the last word zeros come, which makes the same block a round of the finalization.
#[derive(FastBlock)]
pub struct SipUnit {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A state comes in.
    pub load: Signal<In, Bit>,
    /// That state.
    pub state: Signal<In, SipState>,
    /// The state after this round stays here for another one; without it the unit stands still.
    pub run: Signal<In, Bit>,
    /// The second half begins after this round.
    pub half: Signal<In, Bit>,
    /// State after the round.
    pub out: Signal<Out, SipState>,
    /// Output word, if this is the last round of a half.
    pub sum: Signal<Out, SipWord>,
    kept: Reg<SipState>,
    after: Signal<Local, SipState>,
    a0: Signal<Local, SipWord>,
    a1: Signal<Local, SipWord>,
    a2: Signal<Local, SipWord>,
    b0: Signal<Local, SipWord>,
    b1: Signal<Local, SipWord>,
    c0: Signal<Local, SipWord>,
    c1: Signal<Local, SipWord>,
    d0: Signal<Local, SipWord>,
    d1: Signal<Local, SipWord>,
    d2: Signal<Local, SipWord>,
    finish2: Constant<SipWord>,
    _quiet: Quiet,
}

impl Default for SipUnit {
    fn default() -> Self {
        Self {
            clock: Default::default(),
            load: Default::default(),
            state: Default::default(),
            run: Default::default(),
            half: Default::default(),
            out: Default::default(),
            sum: Default::default(),
            kept: Default::default(),
            after: Default::default(),
            a0: Default::default(),
            a1: Default::default(),
            a2: Default::default(),
            b0: Default::default(),
            b1: Default::default(),
            c0: Default::default(),
            c1: Default::default(),
            d0: Default::default(),
            d1: Default::default(),
            d2: Default::default(),
            finish2: Constant::new(SipWord(0xdd)),
            _quiet: Default::default(),
        }
    }
}

impl Logic for SipUnit {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, kept);
        self.a0.next = self.kept.q.val().a + self.kept.q.val().b;
        self.b0.next = ((self.kept.q.val().b << 5) | (self.kept.q.val().b >> 27)) ^ self.a0.val();
        self.a1.next = (self.a0.val() << 16) | (self.a0.val() >> 16);
        self.c0.next = self.kept.q.val().c + self.kept.q.val().d;
        self.d0.next = ((self.kept.q.val().d << 8) | (self.kept.q.val().d >> 24)) ^ self.c0.val();
        self.a2.next = self.a1.val() + self.d0.val();
        self.d1.next = ((self.d0.val() << 7) | (self.d0.val() >> 25)) ^ self.a2.val();
        self.c1.next = self.c0.val() + self.b0.val();
        self.b1.next = ((self.b0.val() << 13) | (self.b0.val() >> 19)) ^ self.c1.val();
        self.d2.next = self.d1.val() ^ self.kept.q.val().m1;
        self.after.next.a = self.a2.val() ^ self.kept.q.val().m0;
        self.after.next.b = self.b1.val();
        if self.half.val() {
            self.after.next.b = self.b1.val() ^ self.finish2.val();
        }
        self.after.next.c = (self.c1.val() << 16) | (self.c1.val() >> 16);
        self.after.next.d = self.d2.val();
        self.after.next.m0 = self.kept.q.val().m1;
        self.after.next.m1 = self.kept.q.val().m2;
        self.after.next.m2 = self.kept.q.val().m3;
        self.after.next.m3 = self.kept.q.val().m4;
        self.after.next.m4 = self.kept.q.val().m5;
        self.after.next.m5 = self.kept.q.val().m6;
        self.after.next.m6 = bits_number(0);
        if self.run.val() {
            self.kept.d.next = self.after.val();
        }
        if self.load.val() {
            self.kept.d.next = self.state.val();
        }
        self.out.next = self.after.val();
        self.sum.next = self.b1.val() ^ self.d2.val();
    }
}

/// From a key to the words of its message; no clock.
#[derive(FastBlock)]
pub struct Message {
    /// Key.
    pub key: Signal<In, Key>,
    /// Words in `m0` to `m6`; the state is zero.
    pub words: Signal<Out, SipState>,
    address: Signal<Local, Wide<128>>,
    big: [Signal<Local, SipWord>; 6],
    little: [Signal<Local, SipWord>; 6],
    scope: Signal<Local, SipWord>,
    length: Constant<SipWord>,
    four: Constant<SipWord>,
    byte1: Constant<SipWord>,
    byte2: Constant<SipWord>,
    _quiet: Quiet,
}

impl Default for Message {
    fn default() -> Self {
        Self {
            key: Default::default(),
            words: Default::default(),
            address: Default::default(),
            big: Default::default(),
            little: Default::default(),
            scope: Default::default(),
            length: Constant::new(SipWord((MESSAGE_BYTES as u32) << 24)),
            four: Constant::new(SipWord(MESSAGE_FOUR_BIT.into())),
            byte1: Constant::new(SipWord(0x0000_ff00)),
            byte2: Constant::new(SipWord(0x00ff_0000)),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Message {
    #[hdl_gen]
    fn update(&mut self) {
        // most significant byte first
        self.address.next = self.key.val().local;
        if !self.key.val().six {
            self.address.next = self.address.val() << 96;
        }
        self.big[0].next = bits_low_word(self.address.val().get_bits::<32>(96));
        self.big[1].next = bits_low_word(self.address.val().get_bits::<32>(64));
        self.big[2].next = bits_low_word(self.address.val().get_bits::<32>(32));
        self.big[3].next = bits_low_word(self.address.val().get_bits::<32>(0));
        self.big[4].next = bits_word(self.key.val().remote);
        self.big[5].next = (bits_word(self.key.val().local_port) << 16) | bits_word(self.key.val().remote_port);
        self.scope.next = self.length.val() | bits_word(self.key.val().protocol);
        if self.key.val().six {
            self.scope.next =
                self.scope.val() | (bits_word(self.key.val().pref64) << 2) | (bits_word(self.key.val().unit) << 5);
        } else {
            self.scope.next = self.scope.val() | self.four.val() | (bits_word(self.key.val().set) << 2);
        }
        // little-endian words
        for i in 0..6 {
            self.little[i].next = (self.big[i].val() << 24)
                | ((self.big[i].val() << 8) & self.byte2.val())
                | ((self.big[i].val() >> 8) & self.byte1.val())
                | (self.big[i].val() >> 24);
        }
        self.words.next.a = bits_number(0);
        self.words.next.b = bits_number(0);
        self.words.next.c = bits_number(0);
        self.words.next.d = bits_number(0);
        self.words.next.m0 = self.little[0].val();
        self.words.next.m1 = self.little[1].val();
        self.words.next.m2 = self.little[2].val();
        self.words.next.m3 = self.little[3].val();
        self.words.next.m4 = self.little[4].val();
        self.words.next.m5 = self.little[5].val();
        self.words.next.m6 = self.scope.val();
    }
}

/// Clocks after that of `valid`, one bit each.
type Clocks = Bits<LATENCY>;

/// See the module documentation. `WORDS` round units for the rounds of the message and `FINAL` for those behind them.
#[derive(FastBlock)]
pub struct KeyHasher<const WORDS: usize, const FINAL: usize> {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// A key is on the pins, [`distance`] clocks after the one before it or later.
    pub valid: Signal<In, Bit>,
    /// Key of a packet.
    pub key: Signal<In, Key>,
    /// BAR0 writes: the secret.
    pub write: Signal<In, RegisterWrite>,
    /// Hash of the key [`LATENCY`] clocks ago, if there was one.
    pub hash: Signal<Out, Wide<64>>,
    message: Message,
    secret0: Reg<SipWord>,
    secret1: Reg<SipWord>,
    mixing: [SipUnit; WORDS],
    ending: [SipUnit; FINAL],
    /// The state between the last of `mixing` and the first of `ending`.
    between: Reg<SipState>,
    /// Bit n is set n clocks after a key; bit 0 is not used.
    passed: Reg<Clocks>,
    low: [Reg<SipWord>; 4],
    high: Reg<SipWord>,
    at: Signal<Local, Clocks>,
    picked: Signal<Local, Clocks>,
    load: Signal<Local, Bit>,
    run: Signal<Local, Bit>,
    half: Signal<Local, Bit>,
    state: Signal<Local, SipState>,
    before: Signal<Local, SipState>,
    middle: Signal<Local, SipWord>,
    last: Signal<Local, SipWord>,
    /// A key may come in every clock, so that every unit does in every clock what its place asks for.
    pipelined: Constant<Bit>,
    every_clock: Constant<Clocks>,
    // clocks in which a unit takes a state, keeps it for another round, and ends the first half
    mixing_load: [Constant<Clocks>; WORDS],
    mixing_run: [Constant<Clocks>; WORDS],
    ending_load: [Constant<Clocks>; FINAL],
    ending_run: [Constant<Clocks>; FINAL],
    ending_half: [Constant<Clocks>; FINAL],
    /// Words from the fourth on are used up behind this unit, which synthesis cannot see.
    used_up: [Constant<Bit>; WORDS],
    /// The first half ends in this unit.
    is_middle: [Constant<Bit>; FINAL],
    middle_at: Constant<Bits<4>>,
    last_at: Constant<Bits<4>>,
    at_key0: Constant<Bits<16>>,
    at_key1: Constant<Bits<16>>,
    init1: Constant<SipWord>,
    init2: Constant<SipWord>,
    init3: Constant<SipWord>,
    finish1: Constant<SipWord>,
    _quiet: Quiet,
}

impl<const WORDS: usize, const FINAL: usize> Default for KeyHasher<WORDS, FINAL> {
    /// Panics unless every unit has something to do and the halves of a hash meet.
    fn default() -> Self {
        assert_eq!(TOTAL_ROUNDS, 13, "the units below are wired for 1-3");
        let apart = distance(WORDS, FINAL);
        let (mixing, ending) = (WORD_ROUNDS.div_ceil(WORDS), FINAL_ROUNDS.div_ceil(FINAL));
        assert!((WORDS - 1) * mixing < WORD_ROUNDS && (FINAL - 1) * ending < FINAL_ROUNDS);
        // either a chain of registers carries the low half, or one holds it until the high half is there
        assert!(apart == 1 || apart > FINAL_ROUNDS / 2);
        // what is number n in the chain of rounds is done n + 1 clocks after the key; a state is taken in the clock before. The
        // register between the units has a number, too.
        let last = TOTAL_ROUNDS + 1;
        let clocks = |from: usize, to: usize| Constant::new((from..to).map(|n| 1u64 << n).sum::<u64>().into());
        let first_mixing = |unit: usize| unit * mixing;
        let first_ending = |unit: usize| WORD_ROUNDS + 1 + unit * ending;
        let run = |first: usize, rounds: usize, end: usize| clocks(first + 1, end.min(first + rounds));
        let middle = WORD_ROUNDS + FINAL_ROUNDS / 2;
        let is_middle = |unit: usize| (first_ending(unit)..first_ending(unit) + ending).contains(&middle);
        Self {
            clock: Default::default(),
            valid: Default::default(),
            key: Default::default(),
            write: Default::default(),
            hash: Default::default(),
            message: Default::default(),
            secret0: Default::default(),
            secret1: Default::default(),
            mixing: std::array::from_fn(|_| Default::default()),
            ending: std::array::from_fn(|_| Default::default()),
            between: Default::default(),
            passed: Default::default(),
            low: Default::default(),
            high: Default::default(),
            at: Default::default(),
            picked: Default::default(),
            load: Default::default(),
            run: Default::default(),
            half: Default::default(),
            state: Default::default(),
            before: Default::default(),
            middle: Default::default(),
            last: Default::default(),
            pipelined: Constant::new(apart == 1),
            every_clock: clocks(0, LATENCY),
            mixing_load: std::array::from_fn(|unit| clocks(first_mixing(unit), first_mixing(unit) + 1)),
            mixing_run: std::array::from_fn(|unit| run(first_mixing(unit), mixing, WORD_ROUNDS)),
            ending_load: std::array::from_fn(|unit| clocks(first_ending(unit), first_ending(unit) + 1)),
            // the last state of all is not needed
            ending_run: std::array::from_fn(|unit| run(first_ending(unit), ending, last)),
            ending_half: std::array::from_fn(|unit| {
                let from = middle + 1;
                clocks(from, from + usize::from(is_middle(unit)))
            }),
            used_up: std::array::from_fn(|unit| Constant::new(first_mixing(unit + 1) + 3 >= WORD_ROUNDS)),
            is_middle: std::array::from_fn(|unit| Constant::new(is_middle(unit))),
            middle_at: Constant::new((middle as u64 + 1).into()),
            last_at: Constant::new((last as u64).into()),
            at_key0: Constant::new(u64::from(HashKey0::OFFSET).into()),
            at_key1: Constant::new(u64::from(HashKey1::OFFSET).into()),
            init1: Constant::new(SipWord(0xee)),
            init2: Constant::new(SipWord(0x6c79_6765)),
            init3: Constant::new(SipWord(0x7465_6462)),
            finish1: Constant::new(SipWord(0xee)),
            _quiet: Default::default(),
        }
    }
}

impl<const WORDS: usize, const FINAL: usize> Logic for KeyHasher<WORDS, FINAL> {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, secret0, secret1, between, passed, high);
        if self.write.val().valid {
            if self.write.val().address == self.at_key0.val() {
                self.secret0.d.next = bits_word(self.write.val().data);
            }
            if self.write.val().address == self.at_key1.val() {
                self.secret1.d.next = bits_word(self.write.val().data);
            }
        }
        // how far the keys under way are
        self.at.next = self.passed.q.val().replace_bit(0, self.valid.val());
        self.passed.d.next = self.at.val() << 1;
        if self.pipelined.val() {
            self.at.next = self.every_clock.val();
        }
        // the exclusive or that precedes a round is done at the end of the one before it
        self.message.key.next = self.key.val();
        self.before.next = self.message.words.val();
        self.state.next = self.message.words.val();
        self.state.next.a = self.secret0.q.val();
        self.state.next.b = self.secret1.q.val() ^ self.init1.val();
        self.state.next.c = self.secret0.q.val() ^ self.init2.val();
        self.state.next.d = (self.secret1.q.val() ^ self.init3.val()) ^ self.before.val().m0;
        for i in 0..WORDS {
            self.picked.next = self.at.val() & self.mixing_load[i].val();
            self.load.next = self.picked.val().any();
            self.picked.next = self.at.val() & self.mixing_run[i].val();
            self.run.next = self.picked.val().any();
            self.mixing[i].clock.next = self.clock.val();
            self.mixing[i].load.next = self.load.val();
            self.mixing[i].run.next = self.run.val();
            self.mixing[i].half.next = false;
            self.mixing[i].state.next = self.state.val();
            self.state.next = self.mixing[i].out.val();
            if self.used_up[i].val() {
                self.state.next.m3 = bits_number(0);
                self.state.next.m4 = bits_number(0);
                self.state.next.m5 = bits_number(0);
                self.state.next.m6 = bits_number(0);
            }
        }
        // after the last word; the exclusive or between the halves is the unit's
        self.before.next = self.state.val();
        self.state.next.c = self.before.val().c ^ self.finish1.val();
        self.state.next.m0 = bits_number(0);
        self.state.next.m1 = bits_number(0);
        self.state.next.m2 = bits_number(0);
        self.state.next.m3 = bits_number(0);
        self.state.next.m4 = bits_number(0);
        self.state.next.m5 = bits_number(0);
        self.state.next.m6 = bits_number(0);
        self.between.d.next = self.state.val();
        self.state.next = self.between.q.val();
        self.middle.next = bits_number(0);
        self.last.next = bits_number(0);
        for i in 0..FINAL {
            self.picked.next = self.at.val() & self.ending_load[i].val();
            self.load.next = self.picked.val().any();
            self.picked.next = self.at.val() & self.ending_run[i].val();
            self.run.next = self.picked.val().any();
            self.picked.next = self.at.val() & self.ending_half[i].val();
            self.half.next = self.picked.val().any();
            self.ending[i].clock.next = self.clock.val();
            self.ending[i].load.next = self.load.val();
            self.ending[i].run.next = self.run.val();
            self.ending[i].half.next = self.half.val();
            self.ending[i].state.next = self.state.val();
            self.state.next = self.ending[i].out.val();
            self.last.next = self.ending[i].sum.val();
            if self.is_middle[i].val() {
                self.middle.next = self.ending[i].sum.val();
            }
        }
        for i in 0..4 {
            self.low[i].clock.next = self.clock.val();
        }
        self.low[0].d.next = self.low[0].q.val();
        if self.at.val().get_bit(self.middle_at.val().index()) {
            self.low[0].d.next = self.middle.val();
        }
        for i in 0..3 {
            self.low[i + 1].d.next = self.low[i].q.val();
        }
        if self.at.val().get_bit(self.last_at.val().index()) {
            self.high.d.next = self.last.val();
        }
        self.hash.next = (bits_word_wide::<64>(self.high.q.val()) << 32) | bits_word_wide::<64>(self.low[0].q.val());
        if self.pipelined.val() {
            self.hash.next =
                (bits_word_wide::<64>(self.high.q.val()) << 32) | bits_word_wide::<64>(self.low[3].q.val());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::testkit::Bench;
    use nat64_layout::hash::{half_sip_hash_1_3, message_four, message_six, HashKey};
    use nat64_layout::record::Protocol;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    fn set_secret<const WORDS: usize, const FINAL: usize>(bench: &mut Bench<KeyHasher<WORDS, FINAL>>, secret: HashKey) {
        for (offset, word) in [(HashKey0::OFFSET, secret.0[0]), (HashKey1::OFFSET, secret.0[1])] {
            bench.uut.write.next = RegisterWrite {
                valid: true,
                address: u64::from(offset).into(),
                data: u64::from(word).into(),
            };
            bench.tick();
        }
        bench.uut.write.next = Default::default();
    }

    /// The hash of what is on the pins, whether or not a session can have such a key.
    pub(crate) fn hash_of(key: &Key, secret: HashKey) -> u64 {
        let mut message = [0; MESSAGE_BYTES];
        let local = key.local.to_frame(16);
        let mut scope = key.protocol.index() as u16;
        if key.six {
            message[..16].copy_from_slice(&local);
            scope |= (key.pref64.index() << 2 | key.unit.index() << 5) as u16;
        } else {
            message[..4].copy_from_slice(&local[12..]);
            scope |= (key.set.index() << 2) as u16 | MESSAGE_FOUR_BIT;
        }
        message[16..20].copy_from_slice(&(key.remote.index() as u32).to_be_bytes());
        message[20..22].copy_from_slice(&(key.local_port.index() as u16).to_be_bytes());
        message[22..24].copy_from_slice(&(key.remote_port.index() as u16).to_be_bytes());
        message[24..].copy_from_slice(&scope.to_le_bytes());
        half_sip_hash_1_3(secret, &message).0
    }

    fn random_key(rng: &mut StdRng, secret: HashKey) -> (Key, u64) {
        let (protocol, remote) = (Protocol::ALL[rng.random_range(0..3)], rng.random::<u32>());
        let (local_port, remote_port) = (rng.random::<u16>(), rng.random::<u16>());
        let mut key = Key {
            six: rng.random(),
            protocol: (protocol as u64).into(),
            remote: u64::from(remote).into(),
            local_port: u64::from(local_port).into(),
            remote_port: u64::from(remote_port).into(),
            ..Default::default()
        };
        let hash = if key.six {
            let (client, pref64, unit) = (
                rng.random::<u128>(),
                rng.random_range(0..8u8),
                rng.random_range(0..16u8),
            );
            key.local = Wide::from_frame(&client.to_be_bytes());
            (key.pref64, key.unit) = (u64::from(pref64).into(), u64::from(unit).into());
            let message = message_six(protocol, client, remote, local_port, remote_port, pref64, unit);
            half_sip_hash_1_3(secret, &message)
        } else {
            let (pool, set) = (rng.random::<u32>(), rng.random_range(0..8u8));
            key.local = u64::from(pool).into();
            key.set = u64::from(set).into();
            half_sip_hash_1_3(
                secret,
                &message_four(protocol, pool, remote, local_port, remote_port, set),
            )
        };
        assert_eq!(hash_of(&key, secret), hash.0);
        (key, hash.0)
    }

    /// Keys as near as they may be (or `spread` further apart at times); other keys on the pins between them.
    fn run<const WORDS: usize, const FINAL: usize>(
        bench: &mut Bench<KeyHasher<WORDS, FINAL>>,
        rng: &mut StdRng,
        secret: HashKey,
        clocks: u64,
        spread: u64,
    ) -> u64 {
        let apart = distance(WORDS, FINAL) as u64;
        let (mut want, mut next, mut seen) = (VecDeque::new(), bench.clocks, 0);
        for _ in 0..clocks {
            let now = bench.clocks;
            let (key, hash) = random_key(rng, secret);
            bench.uut.key.next = key;
            bench.uut.valid.next = now == next;
            if now == next {
                want.push_back((now + LATENCY as u64, hash));
                next += apart + rng.random_range(0..=spread);
            }
            bench.settle();
            if want.front().is_some_and(|due| due.0 == now) {
                let due = want.pop_front().expect("looked at");
                assert_eq!(bench.uut.hash.val().low(), due.1, "clock {now}");
                seen += 1;
            }
            bench.edge();
        }
        bench.uut.valid.next = false;
        for _ in 0..LATENCY {
            bench.tick();
        }
        seen
    }

    fn gives_the_hash_of_the_layout<const WORDS: usize, const FINAL: usize>(apart: u64) {
        assert_eq!(distance(WORDS, FINAL) as u64, apart);
        let mut rng = StdRng::seed_from_u64(21);
        let mut bench = Bench::new(KeyHasher::<WORDS, FINAL>::default()).without_record();
        for spread in [0, 1, 0, 30] {
            let secret = HashKey(rng.random());
            set_secret(&mut bench, secret);
            let seen = run(&mut bench, &mut rng, secret, 1000 * apart, spread);
            assert!(spread != 0 || seen > 980, "{seen} keys");
        }
    }

    #[test]
    fn one_key_per_clock_gives_the_hash_of_the_layout() {
        gives_the_hash_of_the_layout::<7, 6>(1);
    }

    #[test]
    fn one_key_in_four_clocks_gives_the_hash_of_the_layout() {
        gives_the_hash_of_the_layout::<2, 2>(4);
    }

    #[test]
    fn one_key_in_seven_clocks_gives_the_hash_of_the_layout() {
        gives_the_hash_of_the_layout::<1, 1>(7);
    }

    /// Units that are shared have no place for a second key: what keeps keys apart is load-bearing, and this is how it would show.
    #[test]
    fn a_key_that_comes_too_early_spoils_the_one_before() {
        let mut rng = StdRng::seed_from_u64(23);
        let mut bench = Bench::new(KeyHasher::<1, 1>::default()).without_record();
        let keys = [0, 1].map(|_| random_key(&mut rng, HashKey::default()));
        for clock in 0..LATENCY {
            bench.uut.valid.next = clock == 0 || clock + 1 == distance(1, 1);
            bench.uut.key.next = keys[usize::from(clock > 0)].0;
            bench.tick();
        }
        bench.settle();
        assert_ne!(bench.uut.hash.val().low(), keys[0].1);
    }

    fn replayed<const WORDS: usize, const FINAL: usize>(name: &str) {
        let mut rng = StdRng::seed_from_u64(22);
        let mut bench = Bench::new(KeyHasher::<WORDS, FINAL>::default());
        let secret = HashKey(rng.random());
        set_secret(&mut bench, secret);
        run(&mut bench, &mut rng, secret, 200, 2);
        bench.agrees_with_verilog(name);
    }

    #[test]
    fn agrees_with_its_verilog() {
        replayed::<7, 6>("hash");
        replayed::<2, 2>("hash_2_2");
        replayed::<1, 1>("hash_1_1");
    }
}
