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

use crate::prim::{Quiet, Reg};
use crate::types::{Key, RegisterWrite};
use crate::wide::{bit_cast_wide, bits_narrow, bits_wide, Wide};
use crate::FastBlock;
use nat64_layout::hash::{MESSAGE_BYTES, MESSAGE_FOUR_BIT, TOTAL_ROUNDS};
use nat64_layout::regs::{HashKey0, HashKey1};
use rust_hdl::prelude::*;

/// Clocks from `key` to `hash`: the message register, the rounds, the output register.
pub const LATENCY: usize = TOTAL_ROUNDS + 2;

/// The four words of the hash state.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct SipState {
    /// v0.
    pub a: Bits<32>,
    /// v1.
    pub b: Bits<32>,
    /// v2.
    pub c: Bits<32>,
    /// v3.
    pub d: Bits<32>,
}

/// One SipRound, then an exclusive or with `mask`, then a register.
#[derive(FastBlock, Default)]
pub struct SipRound {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// State before.
    pub state: Signal<In, SipState>,
    /// Added to the state after the round.
    pub mask: Signal<In, SipState>,
    /// State after, one clock later.
    pub out: Signal<Out, SipState>,
    kept: Reg<SipState>,
    a0: Signal<Local, Bits<32>>,
    a1: Signal<Local, Bits<32>>,
    a2: Signal<Local, Bits<32>>,
    b0: Signal<Local, Bits<32>>,
    b1: Signal<Local, Bits<32>>,
    c0: Signal<Local, Bits<32>>,
    c1: Signal<Local, Bits<32>>,
    d0: Signal<Local, Bits<32>>,
    d1: Signal<Local, Bits<32>>,
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
        self.kept.d.next.a = self.a2.val() ^ self.mask.val().a;
        self.kept.d.next.b = self.b1.val() ^ self.mask.val().b;
        self.kept.d.next.c = ((self.c1.val() << 16) | (self.c1.val() >> 16)) ^ self.mask.val().c;
        self.kept.d.next.d = self.d1.val() ^ self.mask.val().d;
        self.out.next = self.kept.q.val();
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
    secret0: Reg<Bits<32>>,
    secret1: Reg<Bits<32>>,
    words0: Reg<Wide<224>>,
    words1: Reg<Wide<192>>,
    words2: Reg<Wide<160>>,
    words3: Reg<Wide<128>>,
    words4: Reg<Wide<96>>,
    words5: Reg<Wide<64>>,
    words6: Reg<Wide<32>>,
    rounds: [SipRound; 13],
    low: [Reg<Bits<32>>; 4],
    high: Reg<Bits<32>>,
    address_bits: Signal<Local, Wide<128>>,
    big: [Signal<Local, Bits<32>>; 6],
    word: [Signal<Local, Bits<32>>; 6],
    all: Signal<Local, Wide<224>>,
    scope: Signal<Local, Bits<32>>,
    now: [Signal<Local, Bits<32>>; 7],
    after: [Signal<Local, Bits<32>>; 7],
    start: Signal<Local, SipState>,
    mask: Signal<Local, SipState>,
    middle: Signal<Local, SipState>,
    last: Signal<Local, SipState>,
    at_key0: Constant<Bits<16>>,
    at_key1: Constant<Bits<16>>,
    length: Constant<Bits<32>>,
    four: Constant<Bits<32>>,
    init2: Constant<Bits<32>>,
    init3: Constant<Bits<32>>,
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
            secret0: Default::default(),
            secret1: Default::default(),
            words0: Default::default(),
            words1: Default::default(),
            words2: Default::default(),
            words3: Default::default(),
            words4: Default::default(),
            words5: Default::default(),
            words6: Default::default(),
            rounds: Default::default(),
            low: Default::default(),
            high: Default::default(),
            address_bits: Default::default(),
            big: Default::default(),
            word: Default::default(),
            all: Default::default(),
            scope: Default::default(),
            now: Default::default(),
            after: Default::default(),
            start: Default::default(),
            mask: Default::default(),
            middle: Default::default(),
            last: Default::default(),
            at_key0: Constant::new(u64::from(HashKey0::OFFSET).into()),
            at_key1: Constant::new(u64::from(HashKey1::OFFSET).into()),
            length: Constant::new(((MESSAGE_BYTES as u64) << 24).into()),
            four: Constant::new(u64::from(MESSAGE_FOUR_BIT).into()),
            init2: Constant::new(0x6c79_6765u64.into()),
            init3: Constant::new(0x7465_6462u64.into()),
            _quiet: Default::default(),
        }
    }
}

impl Logic for KeyHasher {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, secret0, secret1, words0, words1, words2, words3, words4, words5, words6, high);
        if self.write.val().valid & (self.write.val().address == self.at_key0.val()) {
            self.secret0.d.next = self.write.val().data;
        }
        if self.write.val().valid & (self.write.val().address == self.at_key1.val()) {
            self.secret1.d.next = self.write.val().data;
        }
        // the message, most significant byte first
        self.address_bits.next = self.key.val().local;
        if !self.key.val().six {
            self.address_bits.next = self.address_bits.val() << 96;
        }
        self.big[0].next = bits_narrow::<32>(self.address_bits.val().get_bits::<32>(96));
        self.big[1].next = bits_narrow::<32>(self.address_bits.val().get_bits::<32>(64));
        self.big[2].next = bits_narrow::<32>(self.address_bits.val().get_bits::<32>(32));
        self.big[3].next = bits_narrow::<32>(self.address_bits.val().get_bits::<32>(0));
        self.big[4].next = self.key.val().remote;
        self.big[5].next =
            (bit_cast::<32, 16>(self.key.val().local_port) << 16) | bit_cast::<32, 16>(self.key.val().remote_port);
        self.scope.next = self.length.val() | bit_cast::<32, 2>(self.key.val().protocol);
        if self.key.val().six {
            self.scope.next = self.scope.val()
                | (bit_cast::<32, 3>(self.key.val().pref64) << 2)
                | (bit_cast::<32, 4>(self.key.val().unit) << 5);
        } else {
            self.scope.next = self.scope.val() | self.four.val() | (bit_cast::<32, 3>(self.key.val().set) << 2);
        }
        // its little-endian words, word 0 lowest
        for i in 0..6 {
            self.word[i].next = (self.big[i].val() << 24)
                | ((self.big[i].val() << 8) & 0x00ff_0000)
                | ((self.big[i].val() >> 8) & 0x0000_ff00)
                | (self.big[i].val() >> 24);
        }
        self.all.next = bit_cast_wide::<224, 32>(bits_wide::<32>(self.scope.val()));
        self.all.next = (self.all.val() << 32) | bit_cast_wide::<224, 32>(bits_wide::<32>(self.word[5].val()));
        self.all.next = (self.all.val() << 32) | bit_cast_wide::<224, 32>(bits_wide::<32>(self.word[4].val()));
        self.all.next = (self.all.val() << 32) | bit_cast_wide::<224, 32>(bits_wide::<32>(self.word[3].val()));
        self.all.next = (self.all.val() << 32) | bit_cast_wide::<224, 32>(bits_wide::<32>(self.word[2].val()));
        self.all.next = (self.all.val() << 32) | bit_cast_wide::<224, 32>(bits_wide::<32>(self.word[1].val()));
        self.all.next = (self.all.val() << 32) | bit_cast_wide::<224, 32>(bits_wide::<32>(self.word[0].val()));
        self.words0.d.next = self.all.val();
        self.words1.d.next = self.words0.q.val().get_bits::<192>(32);
        self.words2.d.next = self.words1.q.val().get_bits::<160>(32);
        self.words3.d.next = self.words2.q.val().get_bits::<128>(32);
        self.words4.d.next = self.words3.q.val().get_bits::<96>(32);
        self.words5.d.next = self.words4.q.val().get_bits::<64>(32);
        self.words6.d.next = self.words5.q.val().get_bits::<32>(32);
        self.now[0].next = bits_narrow::<32>(self.words0.q.val().get_bits::<32>(0));
        self.now[1].next = bits_narrow::<32>(self.words1.q.val().get_bits::<32>(0));
        self.now[2].next = bits_narrow::<32>(self.words2.q.val().get_bits::<32>(0));
        self.now[3].next = bits_narrow::<32>(self.words3.q.val().get_bits::<32>(0));
        self.now[4].next = bits_narrow::<32>(self.words4.q.val().get_bits::<32>(0));
        self.now[5].next = bits_narrow::<32>(self.words5.q.val().get_bits::<32>(0));
        self.now[6].next = bits_narrow::<32>(self.words6.q.val());
        self.after[0].next = bits_narrow::<32>(self.words0.q.val().get_bits::<32>(32));
        self.after[1].next = bits_narrow::<32>(self.words1.q.val().get_bits::<32>(32));
        self.after[2].next = bits_narrow::<32>(self.words2.q.val().get_bits::<32>(32));
        self.after[3].next = bits_narrow::<32>(self.words3.q.val().get_bits::<32>(32));
        self.after[4].next = bits_narrow::<32>(self.words4.q.val().get_bits::<32>(32));
        self.after[5].next = bits_narrow::<32>(self.words5.q.val().get_bits::<32>(32));
        self.after[6].next = 0.into();
        // rounds; the exclusive or that precedes a round is done at the end of the one before it
        self.start.next.a = self.secret0.q.val();
        self.start.next.b = self.secret1.q.val() ^ 0xee;
        self.start.next.c = self.secret0.q.val() ^ self.init2.val();
        self.start.next.d = (self.secret1.q.val() ^ self.init3.val()) ^ self.now[0].val();
        self.rounds[0].state.next = self.start.val();
        for i in 0..12 {
            self.rounds[i + 1].state.next = self.rounds[i].out.val();
        }
        for i in 0..13 {
            self.rounds[i].clock.next = self.clock.val();
            self.mask.next.a = 0.into();
            self.mask.next.b = 0.into();
            self.mask.next.c = 0.into();
            self.mask.next.d = 0.into();
            self.rounds[i].mask.next = self.mask.val();
        }
        for i in 0..7 {
            self.mask.next.a = self.now[i].val();
            self.mask.next.b = 0.into();
            self.mask.next.c = 0.into();
            self.mask.next.d = self.after[i].val();
            self.rounds[i].mask.next = self.mask.val();
        }
        self.mask.next.a = self.now[6].val();
        self.mask.next.c = 0xee.into();
        self.rounds[6].mask.next = self.mask.val();
        self.middle.next = self.rounds[9].out.val();
        self.start.next = self.middle.val();
        self.start.next.b = self.middle.val().b ^ 0xdd;
        self.rounds[10].state.next = self.start.val();
        self.last.next = self.rounds[12].out.val();
        self.high.d.next = self.last.val().b ^ self.last.val().d;
        for i in 0..4 {
            self.low[i].clock.next = self.clock.val();
        }
        self.low[0].d.next = self.middle.val().b ^ self.middle.val().d;
        for i in 0..3 {
            self.low[i + 1].d.next = self.low[i].q.val();
        }
        self.hash.next = (bit_cast_wide::<64, 32>(bits_wide::<32>(self.high.q.val())) << 32)
            | bit_cast_wide::<64, 32>(bits_wide::<32>(self.low[3].q.val()));
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
