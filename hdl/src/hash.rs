//! The keyed hash of the session table as a pipeline: HalfSipHash-1-3, one round per clock, one key per clock.
//!
//! ```text
//!  key --> message --> [round 0] --> ... --> [round 6] --> [final 7..9] --> low half --+
//!            |             ^                     ^              |                      |
//!            +-- words ----+---------------------+              +-> [final 10..12] ----+--> hash
//! ```
//!
//! `nat64_layout::hash` defines the message and the function; the tests compare with it. A round has two 32-bit
//! additions in series, which is what limits the clock. The message moves along with the rounds and loses the word that was
//! used in each of them.

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

/// Clocks from `key` to `hash`: the message register, the rounds, the output register.
pub const LATENCY: usize = TOTAL_ROUNDS + 2;

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

/// One SipRound and the exclusive or with message words that ends it and begins the next, then a register.
///
/// After the last word zeros come, which makes the same block a round of the finalization.
#[derive(FastBlock, Default)]
pub struct SipRound {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// State before.
    pub state: Signal<In, SipState>,
    /// State after, one clock later.
    pub out: Signal<Out, SipState>,
    kept: Reg<SipState>,
    a0: Signal<Local, SipWord>,
    a1: Signal<Local, SipWord>,
    a2: Signal<Local, SipWord>,
    b0: Signal<Local, SipWord>,
    b1: Signal<Local, SipWord>,
    c0: Signal<Local, SipWord>,
    c1: Signal<Local, SipWord>,
    d0: Signal<Local, SipWord>,
    d1: Signal<Local, SipWord>,
    _quiet: Quiet,
}

impl Logic for SipRound {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, kept);
        self.a0.next = self.state.val().a + self.state.val().b;
        self.b0.next = ((self.state.val().b << 5) | (self.state.val().b >> 27)) ^ self.a0.val();
        self.a1.next = (self.a0.val() << 16) | (self.a0.val() >> 16);
        self.c0.next = self.state.val().c + self.state.val().d;
        self.d0.next = ((self.state.val().d << 8) | (self.state.val().d >> 24)) ^ self.c0.val();
        self.a2.next = self.a1.val() + self.d0.val();
        self.d1.next = ((self.d0.val() << 7) | (self.d0.val() >> 25)) ^ self.a2.val();
        self.c1.next = self.c0.val() + self.b0.val();
        self.b1.next = ((self.b0.val() << 13) | (self.b0.val() >> 19)) ^ self.c1.val();
        self.kept.d.next.a = self.a2.val() ^ self.state.val().m0;
        self.kept.d.next.b = self.b1.val();
        self.kept.d.next.c = (self.c1.val() << 16) | (self.c1.val() >> 16);
        self.kept.d.next.d = self.d1.val() ^ self.state.val().m1;
        self.kept.d.next.m0 = self.state.val().m1;
        self.kept.d.next.m1 = self.state.val().m2;
        self.kept.d.next.m2 = self.state.val().m3;
        self.kept.d.next.m3 = self.state.val().m4;
        self.kept.d.next.m4 = self.state.val().m5;
        self.kept.d.next.m5 = self.state.val().m6;
        self.kept.d.next.m6 = bits_number(0);
        self.out.next = self.kept.q.val();
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

/// See the module documentation.
#[derive(FastBlock)]
pub struct KeyHasher {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// Key of a packet; every clock may bring one.
    pub key: Signal<In, Key>,
    /// BAR0 writes: the secret.
    pub write: Signal<In, RegisterWrite>,
    /// Hash of the key [`LATENCY`] clocks ago.
    pub hash: Signal<Out, Wide<64>>,
    message: Message,
    words: Reg<SipState>,
    secret0: Reg<SipWord>,
    secret1: Reg<SipWord>,
    rounds: [SipRound; 13],
    low: [Reg<SipWord>; 4],
    high: Reg<SipWord>,
    state: Signal<Local, SipState>,
    middle: Signal<Local, SipState>,
    last: Signal<Local, SipState>,
    at_key0: Constant<Bits<16>>,
    at_key1: Constant<Bits<16>>,
    init1: Constant<SipWord>,
    init2: Constant<SipWord>,
    init3: Constant<SipWord>,
    finish1: Constant<SipWord>,
    finish2: Constant<SipWord>,
    _quiet: Quiet,
}

impl Default for KeyHasher {
    fn default() -> Self {
        assert_eq!(TOTAL_ROUNDS, 13, "the rounds below are wired for 1-3");
        Self {
            clock: Default::default(),
            key: Default::default(),
            write: Default::default(),
            hash: Default::default(),
            message: Default::default(),
            words: Default::default(),
            secret0: Default::default(),
            secret1: Default::default(),
            rounds: Default::default(),
            low: Default::default(),
            high: Default::default(),
            state: Default::default(),
            middle: Default::default(),
            last: Default::default(),
            at_key0: Constant::new(u64::from(HashKey0::OFFSET).into()),
            at_key1: Constant::new(u64::from(HashKey1::OFFSET).into()),
            init1: Constant::new(SipWord(0xee)),
            init2: Constant::new(SipWord(0x6c79_6765)),
            init3: Constant::new(SipWord(0x7465_6462)),
            finish1: Constant::new(SipWord(0xee)),
            finish2: Constant::new(SipWord(0xdd)),
            _quiet: Default::default(),
        }
    }
}

impl Logic for KeyHasher {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, words, secret0, secret1, high);
        if self.write.val().valid {
            if self.write.val().address == self.at_key0.val() {
                self.secret0.d.next = bits_word(self.write.val().data);
            }
            if self.write.val().address == self.at_key1.val() {
                self.secret1.d.next = bits_word(self.write.val().data);
            }
        }
        self.message.key.next = self.key.val();
        self.words.d.next = self.message.words.val();
        // the exclusive or that precedes a round is done at the end of the one before it
        self.state.next = self.words.q.val();
        self.state.next.a = self.secret0.q.val();
        self.state.next.b = self.secret1.q.val() ^ self.init1.val();
        self.state.next.c = self.secret0.q.val() ^ self.init2.val();
        self.state.next.d = (self.secret1.q.val() ^ self.init3.val()) ^ self.words.q.val().m0;
        self.rounds[0].state.next = self.state.val();
        for i in 0..13 {
            self.rounds[i].clock.next = self.clock.val();
        }
        for i in 0..12 {
            self.rounds[i + 1].state.next = self.rounds[i].out.val();
        }
        // after the last word, and between the halves
        self.state.next = self.rounds[6].out.val();
        self.last.next = self.rounds[6].out.val();
        self.state.next.c = self.last.val().c ^ self.finish1.val();
        self.rounds[7].state.next = self.state.val();
        self.middle.next = self.rounds[9].out.val();
        self.state.next = self.middle.val();
        self.state.next.b = self.middle.val().b ^ self.finish2.val();
        self.rounds[10].state.next = self.state.val();
        for i in 0..4 {
            self.low[i].clock.next = self.clock.val();
        }
        self.low[0].d.next = self.middle.val().b ^ self.middle.val().d;
        for i in 0..3 {
            self.low[i + 1].d.next = self.low[i].q.val();
        }
        self.last.next = self.rounds[12].out.val();
        self.high.d.next = self.last.val().b ^ self.last.val().d;
        self.hash.next = (bits_word_wide::<64>(self.high.q.val()) << 32) | bits_word_wide::<64>(self.low[3].q.val());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testkit::Bench;
    use nat64_layout::hash::{half_sip_hash_1_3, message_four, message_six, HashKey};
    use nat64_layout::record::Protocol;
    use rand::{rngs::StdRng, Rng, SeedableRng};
    use std::collections::VecDeque;

    fn set_secret(bench: &mut Bench<KeyHasher>, secret: HashKey) {
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
        (key, hash.0)
    }

    #[test]
    fn one_key_per_clock_gives_the_hash_of_the_layout() {
        let mut rng = StdRng::seed_from_u64(21);
        let mut bench = Bench::new(KeyHasher::default()).without_record();
        for _ in 0..4 {
            let secret = HashKey(rng.random());
            set_secret(&mut bench, secret);
            let mut want = VecDeque::new();
            for clock in 0..1000 {
                let (key, hash) = random_key(&mut rng, secret);
                bench.uut.key.next = key;
                want.push_back(hash);
                bench.settle();
                if clock >= LATENCY {
                    assert_eq!(Some(bench.uut.hash.val().low()), want.pop_front(), "clock {clock}");
                }
                bench.edge();
            }
        }
    }

    #[test]
    fn agrees_with_its_verilog() {
        let mut rng = StdRng::seed_from_u64(22);
        let mut bench = Bench::new(KeyHasher::default());
        let secret = HashKey(rng.random());
        set_secret(&mut bench, secret);
        for _ in 0..200 {
            bench.uut.key.next = random_key(&mut rng, secret).0;
            bench.tick();
        }
        bench.agrees_with_verilog("hash");
    }
}
