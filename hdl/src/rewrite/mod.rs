//! Rewrite: from packet, session and tables to the decision, with the whole new header of a translated packet.
//!
//! ```text
//!  phv, found -> 1 -> 2 tables -> 3 select, verdict -> 4 5 6 7 sums -> 8 packet header -> 9 frame header -> decision
//!                 \                     \------------- delay 4 ------/                      /
//!                  next hops ----------> 3 --------- delay 4 -----------------------------/
//! ```
//!
//! Next hops are looked at in stage 9 only, but for whether there is one: so they are in block RAM, which has them a clock later
//! than the other tables, and that one bit is beside it in distributed RAM. Both are read in the same clock, so a
//! packet sees one and the same entry of a table that is being written. A register write is decoded a clock before it
//! reaches the tables: a packet a clock behind the last word of an entry sees it.
//!
//! What the Identification counter does with a packet shows a clock behind the verdict on it, in stage 4, which is early enough
//! for the packet right behind: the counter moves and is read in the same stage.
//!
//! Translation is RFC 7915 sections 4.1 and 5.1 for packets that are no fragments and have neither options nor extension
//! headers, for TCP, UDP and ICMP echo. Transport checksums are updated by RFC 1624 equation 3.

mod build;
mod carry;
pub(crate) mod delay;
mod select;
mod sum;
#[cfg(test)]
mod tests;

use crate::prelude::*;
use crate::prim::{BlockRam, LutRam, Quiet, Reg};
use crate::types::{Decision, Found, Phv, RegisterWrite, FATE_FORWARD, FATE_LOOKUP, RECORD_BITS};
use crate::types::{KIND_DROP, KIND_FORWARD, KIND_PUNT, KIND_TRANSLATE};
use crate::wide::*;
use crate::FastBlock;
use build::{FrameHeader, PacketHeader, PACKET_BITS};
use carry::Carry;
use delay::Delay;
use nat64_layout::{tables, Protocol, Reason};
use select::{Select, TERM_BITS};
use sum::Sum;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 9;

/// First code of `nat64_layout::Reason` that is a drop: codes below are punts.
const FIRST_DROP: u64 = 32;

/// See the module documentation. One packet per clock, never stalls.
#[derive(FastBlock)]
pub struct Rewrite {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a packet.
    pub valid: Signal<In, Bit>,
    /// The packet.
    pub phv: Signal<In, Phv>,
    /// Its session.
    pub found: Signal<In, Found>,
    /// Register writes; next hops, service sets and prefixes are taken from them.
    pub write: Signal<In, RegisterWrite>,
    /// There is a decision.
    pub out_valid: Signal<Out, Bit>,
    /// The decision, [`LATENCY`] clocks after its packet. Fields that its kind does not use mean nothing.
    pub decision: Signal<Out, Decision>,

    // tables and the words of the entry being written
    hops: BlockRam<Wide<128>, 6>,
    /// Bit 127 of each next hop: there is one.
    hops_valid: LutRam<Bit, 6>,
    prefixes: LutRam<Wide<128>, 3>,
    sets: LutRam<Wide<64>, 3>,
    hop_words: Reg<Wide<96>>,
    prefix_words: Reg<Wide<96>>,
    set_word: Reg<Bits<32>>,
    entry: Signal<Local, Wide<128>>,
    // a register write, decoded; the tables and the register of a BAR are too far apart to do it in one clock
    place: Reg<Bits<8>>,
    word: Reg<Bits<32>>,
    in_hops: Reg<Bit>,
    in_prefixes: Reg<Bit>,
    in_sets: Reg<Bit>,
    whole_hop: Reg<Bit>,
    whole_prefix: Reg<Bit>,
    whole_set: Reg<Bit>,
    hit_hops: Signal<Local, Bit>,
    hit_prefixes: Signal<Local, Bit>,
    hit_sets: Signal<Local, Bit>,
    fourth: Signal<Local, Bit>,
    address: Signal<Local, Bits<16>>,
    hop_page: Constant<Bits<16>>,
    prefix_page: Constant<Bits<16>>,
    set_page: Constant<Bits<16>>,

    // stage 1 and 2
    valid1: Reg<Bit>,
    carry1: Reg<Carry>,
    arrived1: Reg<Wide<256>>,
    l4_1: Reg<Wide<160>>,
    record1: Reg<Wide<RECORD_BITS>>,
    valid2: Reg<Bit>,
    carry2: Reg<Carry>,
    arrived2: Reg<Wide<256>>,
    l4_2: Reg<Wide<160>>,
    record2: Reg<Wide<RECORD_BITS>>,
    hop_valid2: Reg<Bit>,
    prefix2: Reg<Wide<128>>,
    set2: Reg<Wide<64>>,
    /// The longest packet this one may become.
    mtu2: Reg<Bits<14>>,
    fresh: Signal<Local, Wide<64>>,
    grow: Signal<Local, Bits<16>>,
    hop_index: Signal<Local, Wide<6>>,
    prefix_index: Signal<Local, Wide<3>>,
    lower: Signal<Local, Bits<8>>,
    bytes2: Signal<Local, Bits<16>>,

    // stage 3
    select: Select,
    valid3: Reg<Bit>,
    carry3: Reg<Carry>,
    addresses3: Reg<Wide<256>>,
    narrow3: Reg<Wide<64>>,
    l4_3: Reg<Wide<160>>,
    terms3: Reg<Wide<TERM_BITS>>,
    mtu: Signal<Local, Wide<14>>,
    clear_max: Signal<Local, Wide<16>>,
    verdict: Signal<Local, Bits<2>>,
    reason: Signal<Local, Bits<8>>,
    clear: Signal<Local, Bit>,
    fate_lookup: Constant<Bits<2>>,
    fate_forward: Constant<Bits<2>>,
    kind_drop: Constant<Bits<2>>,
    kind_translate: Constant<Bits<2>>,
    kind_forward: Constant<Bits<2>>,
    kind_punt: Constant<Bits<2>>,
    first_drop: Constant<Bits<8>>,
    no_session: Constant<Bits<8>>,
    too_big: Constant<Bits<8>>,
    no_next_hop: Constant<Bits<8>>,
    tcp: Constant<Bits<2>>,
    udp: Constant<Bits<2>>,
    icmp: Constant<Bits<2>>,

    // stages 4 to 7
    counter: Reg<Bits<16>>,
    ident4: Reg<Bits<16>>,
    ident7: Delay<Bits<16>, 3>,
    sum: Sum,
    carry7: Delay<Carry, 4>,
    addresses7: Delay<Wide<256>, 4>,
    l4_7: Delay<Wide<160>, 4>,
    hop7: Delay<Wide<128>, 4>,
    valid4: Reg<Bit>,
    valid5: Reg<Bit>,
    valid6: Reg<Bit>,
    valid7: Reg<Bit>,
    w0: Signal<Local, Wide<16>>,
    w1: Signal<Local, Wide<16>>,
    w2: Signal<Local, Wide<16>>,
    w3: Signal<Local, Wide<16>>,
    flags: Signal<Local, Bits<16>>,
    protocol: Signal<Local, Bits<16>>,
    ip4a: Reg<Bits<18>>,
    ip4b: Reg<Bits<17>>,
    ip4c: Reg<Bits<17>>,
    ip5a: Reg<Bits<19>>,
    ip5b: Reg<Bits<18>>,
    ip6: Reg<Bits<20>>,
    ip7: Reg<Bits<16>>,
    once: Signal<Local, Bits<17>>,

    // stages 8 and 9
    packet: PacketHeader,
    valid8: Reg<Bit>,
    carry8: Reg<Carry>,
    packet8: Reg<Wide<PACKET_BITS>>,
    hop8: Reg<Wide<128>>,
    frame: FrameHeader,
    valid9: Reg<Bit>,
    decision9: Reg<Decision>,
    tags_out: Signal<Local, Wide<2>>,
    ethernet_in: Signal<Local, Bits<7>>,
    ethernet_out: Signal<Local, Bits<7>>,
    ip_in: Signal<Local, Bits<7>>,
    ip_out: Signal<Local, Bits<7>>,
    l4_header: Signal<Local, Bits<7>>,
    _quiet: Quiet,
}

impl Default for Rewrite {
    fn default() -> Self {
        let reason = |r: Reason| Constant::new((r as u64).into());
        let protocol = |p: Protocol| Constant::new((p as u64).into());
        Self {
            clock: Default::default(),
            valid: Default::default(),
            phv: Default::default(),
            found: Default::default(),
            write: Default::default(),
            out_valid: Default::default(),
            decision: Default::default(),
            hops: Default::default(),
            hops_valid: Default::default(),
            prefixes: Default::default(),
            sets: Default::default(),
            hop_words: Default::default(),
            prefix_words: Default::default(),
            set_word: Default::default(),
            entry: Default::default(),
            place: Default::default(),
            word: Default::default(),
            in_hops: Default::default(),
            in_prefixes: Default::default(),
            in_sets: Default::default(),
            whole_hop: Default::default(),
            whole_prefix: Default::default(),
            whole_set: Default::default(),
            hit_hops: Default::default(),
            hit_prefixes: Default::default(),
            hit_sets: Default::default(),
            fourth: Default::default(),
            address: Default::default(),
            hop_page: Constant::new(u64::from(tables::NEXT_HOP_BASE >> 10).into()),
            prefix_page: Constant::new(u64::from(tables::PREF64_BASE >> 7).into()),
            set_page: Constant::new(u64::from(tables::SERVICE_SET_BASE >> 6).into()),
            valid1: Default::default(),
            carry1: Default::default(),
            arrived1: Default::default(),
            l4_1: Default::default(),
            record1: Default::default(),
            valid2: Default::default(),
            carry2: Default::default(),
            arrived2: Default::default(),
            l4_2: Default::default(),
            record2: Default::default(),
            hop_valid2: Default::default(),
            prefix2: Default::default(),
            set2: Default::default(),
            mtu2: Default::default(),
            fresh: Default::default(),
            grow: Default::default(),
            hop_index: Default::default(),
            prefix_index: Default::default(),
            lower: Default::default(),
            bytes2: Default::default(),
            select: Default::default(),
            valid3: Default::default(),
            carry3: Default::default(),
            addresses3: Default::default(),
            narrow3: Default::default(),
            l4_3: Default::default(),
            terms3: Default::default(),
            mtu: Default::default(),
            clear_max: Default::default(),
            verdict: Default::default(),
            reason: Default::default(),
            clear: Default::default(),
            fate_lookup: Constant::new(FATE_LOOKUP.into()),
            fate_forward: Constant::new(FATE_FORWARD.into()),
            kind_drop: Constant::new(KIND_DROP.into()),
            kind_translate: Constant::new(KIND_TRANSLATE.into()),
            kind_forward: Constant::new(KIND_FORWARD.into()),
            kind_punt: Constant::new(KIND_PUNT.into()),
            first_drop: Constant::new(FIRST_DROP.into()),
            no_session: reason(Reason::NoSession),
            too_big: reason(Reason::TooBig),
            no_next_hop: reason(Reason::NoNextHop),
            tcp: protocol(Protocol::Tcp),
            udp: protocol(Protocol::Udp),
            icmp: protocol(Protocol::Icmp),
            counter: Default::default(),
            ident4: Default::default(),
            ident7: Default::default(),
            sum: Default::default(),
            carry7: Default::default(),
            addresses7: Default::default(),
            l4_7: Default::default(),
            hop7: Default::default(),
            valid4: Default::default(),
            valid5: Default::default(),
            valid6: Default::default(),
            valid7: Default::default(),
            w0: Default::default(),
            w1: Default::default(),
            w2: Default::default(),
            w3: Default::default(),
            flags: Default::default(),
            protocol: Default::default(),
            ip4a: Default::default(),
            ip4b: Default::default(),
            ip4c: Default::default(),
            ip5a: Default::default(),
            ip5b: Default::default(),
            ip6: Default::default(),
            ip7: Default::default(),
            once: Default::default(),
            packet: Default::default(),
            valid8: Default::default(),
            carry8: Default::default(),
            packet8: Default::default(),
            hop8: Default::default(),
            frame: Default::default(),
            valid9: Default::default(),
            decision9: Default::default(),
            tags_out: Default::default(),
            ethernet_in: Default::default(),
            ethernet_out: Default::default(),
            ip_in: Default::default(),
            ip_out: Default::default(),
            l4_header: Default::default(),
            _quiet: Default::default(),
        }
    }
}

impl Logic for Rewrite {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(self, clock, hop_words, prefix_words, set_word, counter, ident4);
        dff_setup!(
            self,
            clock,
            place,
            word,
            in_hops,
            in_prefixes,
            in_sets,
            whole_hop,
            whole_prefix,
            whole_set
        );
        dff_setup!(
            self, clock, valid1, carry1, arrived1, l4_1, record1, valid2, carry2, arrived2, l4_2, record2, hop_valid2,
            prefix2, set2, mtu2
        );
        dff_setup!(self, clock, valid3, carry3, addresses3, narrow3, l4_3, terms3, valid4, valid5, valid6, valid7);
        dff_setup!(
            self, clock, ip4a, ip4b, ip4c, ip5a, ip5b, ip6, ip7, valid8, carry8, packet8, hop8, valid9, decision9
        );
        clock!(self, clock, hops, hops_valid, prefixes, sets, sum, ident7, carry7, addresses7, l4_7, hop7);

        // tables: words but the last are kept aside, the last one commits the entry
        self.hit_hops.next = self.write.val().valid & ((self.write.val().address >> 10) == self.hop_page.val());
        self.hit_prefixes.next = self.write.val().valid & ((self.write.val().address >> 7) == self.prefix_page.val());
        self.hit_sets.next = self.write.val().valid & ((self.write.val().address >> 6) == self.set_page.val());
        self.address.next = self.write.val().address;
        self.fourth.next = self.address.val().get_bits::<2>(2) == 3;
        self.in_hops.d.next = self.hit_hops.val();
        self.in_prefixes.d.next = self.hit_prefixes.val();
        self.in_sets.d.next = self.hit_sets.val();
        self.whole_hop.d.next = self.hit_hops.val() & self.fourth.val();
        self.whole_prefix.d.next = self.hit_prefixes.val() & self.fourth.val();
        self.whole_set.d.next = self.hit_sets.val() & self.address.val().get_bit(2);
        self.place.d.next = bit_cast::<8, 16>(self.write.val().address >> 2);
        self.word.d.next = self.write.val().data;
        if self.in_hops.q.val() {
            self.hop_words.d.next =
                (self.hop_words.q.val() >> 32) | (bit_cast_wide::<96, 32>(bits_wide(self.word.q.val())) << 64);
        }
        if self.in_prefixes.q.val() {
            self.prefix_words.d.next =
                (self.prefix_words.q.val() >> 32) | (bit_cast_wide::<96, 32>(bits_wide(self.word.q.val())) << 64);
        }
        if self.in_sets.q.val() {
            self.set_word.d.next = self.word.q.val();
        }
        self.entry.next = bit_cast_wide::<128, 32>(bits_wide(self.word.q.val())) << 96;
        self.hops.write.next = self.whole_hop.q.val();
        self.hops.write_address.next = bit_cast::<6, 8>(self.place.q.val() >> 2);
        self.hops.write_data.next = self.entry.val() | bit_cast_wide::<128, 96>(self.hop_words.q.val());
        self.hops_valid.write.next = self.whole_hop.q.val();
        self.hops_valid.write_address.next = bit_cast::<6, 8>(self.place.q.val() >> 2);
        self.hops_valid.write_data.next = self.entry.val().get_bit(127);
        self.prefixes.write.next = self.whole_prefix.q.val();
        self.prefixes.write_address.next = bit_cast::<3, 8>(self.place.q.val() >> 2);
        self.prefixes.write_data.next = self.entry.val() | bit_cast_wide::<128, 96>(self.prefix_words.q.val());
        self.sets.write.next = self.whole_set.q.val();
        self.sets.write_address.next = bit_cast::<3, 8>(self.place.q.val() >> 1);
        self.sets.write_data.next = (bit_cast_wide::<64, 32>(bits_wide(self.word.q.val())) << 32)
            | bit_cast_wide::<64, 32>(bits_wide(self.set_word.q.val()));

        // stage 1: take the packet
        self.valid1.d.next = self.valid.val();
        if self.valid.val() {
            self.carry1.d.next.kind = self.phv.val().fate;
            self.carry1.d.next.reason = self.phv.val().reason;
            self.carry1.d.next.six = self.phv.val().six;
            self.carry1.d.next.udp = self.phv.val().protocol == self.udp.val();
            self.carry1.d.next.tcp = self.phv.val().protocol == self.tcp.val();
            self.carry1.d.next.icmp = self.phv.val().protocol == self.icmp.val();
            self.carry1.d.next.reply = self.phv.val().reply;
            self.carry1.d.next.tags = self.phv.val().tags;
            self.carry1.d.next.tos = self.phv.val().tos;
            self.carry1.d.next.df = self.phv.val().df;
            self.carry1.d.next.hop = self.phv.val().hop;
            self.carry1.d.next.l4_bytes = self.phv.val().l4_bytes;
            self.carry1.d.next.ident = self.found.val().ident;
            self.carry1.d.next.need = self.phv.val().need;
            self.carry1.d.next.port = self.phv.val().port;
            self.carry1.d.next.unit = self.phv.val().unit;
            self.carry1.d.next.unit_valid = self.phv.val().unit_valid;
            self.carry1.d.next.set = self.phv.val().set;
            self.carry1.d.next.hit = self.found.val().hit;
            self.carry1.d.next.index = self.found.val().index;
            self.arrived1.d.next = (bit_cast_wide::<256, 128>(self.phv.val().source) << 128)
                | bit_cast_wide::<256, 128>(self.phv.val().destination);
            self.l4_1.d.next = self.phv.val().l4;
            self.record1.d.next = self.found.val().record;
        }

        // stage 2: read the tables, length of the new packet
        if self.carry1.q.val().six {
            self.hop_index.next = self.record1.q.val().get_bits::<6>(15);
            self.grow.next = 20.into();
        } else {
            self.hop_index.next = self.record1.q.val().get_bits::<6>(9);
            self.grow.next = 40.into();
        }
        self.prefix_index.next = self.record1.q.val().get_bits::<3>(2);
        self.hops.read_address.next = bits_narrow(self.hop_index.val());
        self.hops_valid.read_address.next = bits_narrow(self.hop_index.val());
        self.prefixes.read_address.next = bits_narrow(self.prefix_index.val());
        self.sets.read_address.next = self.carry1.q.val().set;
        // what may be fragmented is told from what may not: only the former keeps to the path MTU of the IPv6 network
        self.fresh.next = self.sets.read_data.val();
        self.mtu.next = self.fresh.val().get_bits::<14>(48);
        if self.carry1.q.val().df {
            self.mtu.next = self.fresh.val().get_bits::<14>(16);
        }
        if self.carry1.q.val().six {
            self.mtu.next = self.fresh.val().get_bits::<14>(0);
        }
        self.valid2.d.next = self.valid1.q.val();
        if self.valid1.q.val() {
            self.carry2.d.next = self.carry1.q.val();
            self.carry2.d.next.total = self.carry1.q.val().l4_bytes + self.grow.val();
            self.lower.next = self.carry1.q.val().hop - 1;
            self.carry2.d.next.hop = self.lower.val();
            self.arrived2.d.next = self.arrived1.q.val();
            self.l4_2.d.next = self.l4_1.q.val();
            self.record2.d.next = self.record1.q.val();
            self.hop_valid2.d.next = self.hops_valid.read_data.val();
            self.prefix2.d.next = self.prefixes.read_data.val();
            self.set2.d.next = self.fresh.val();
            self.mtu2.d.next = bits_narrow(self.mtu.val());
        } else {
            self.lower.next = 0.into();
        }

        // stage 3: new addresses and terms, verdict
        self.select.six.next = self.carry2.q.val().six;
        self.select.tcp.next = self.carry2.q.val().tcp;
        self.select.icmp.next = self.carry2.q.val().icmp;
        self.select.reply.next = self.carry2.q.val().reply;
        self.select.l4_bytes.next = self.carry2.q.val().l4_bytes;
        self.select.arrived.next = self.arrived2.q.val();
        self.select.l4.next = self.l4_2.q.val();
        self.select.record.next = self.record2.q.val();
        self.select.prefix.next = self.prefix2.q.val();
        self.bytes2.next = self.carry2.q.val().l4_bytes;
        self.verdict.next = self.kind_drop.val();
        self.reason.next = self.carry2.q.val().reason;
        if self.carry2.q.val().kind == self.fate_forward.val() {
            self.verdict.next = self.kind_forward.val();
        } else if self.carry2.q.val().kind == self.fate_lookup.val() {
            self.verdict.next = self.kind_punt.val();
            if (!self.carry2.q.val().hit) | ((!self.carry2.q.val().six) & (!self.prefix2.q.val().get_bit(127))) {
                self.reason.next = self.no_session.val();
            } else if (!self.set2.q.val().get_bit(63))
                | self.bytes2.val().get_bits::<2>(14).any()
                | (self.carry2.q.val().total > bit_cast::<16, 14>(self.mtu2.q.val()))
            {
                self.reason.next = self.too_big.val();
            } else if !self.hop_valid2.q.val() {
                self.reason.next = self.no_next_hop.val();
            } else {
                self.verdict.next = self.kind_translate.val();
            }
        } else if self.carry2.q.val().reason < self.first_drop.val() {
            self.verdict.next = self.kind_punt.val();
        }
        self.clear_max.next = self.set2.q.val().get_bits::<16>(32);
        self.clear.next = self.carry2.q.val().total <= bits_narrow(self.clear_max.val());
        self.valid3.d.next = self.valid2.q.val();
        if self.valid2.q.val() {
            self.carry3.d.next = self.carry2.q.val();
            self.carry3.d.next.kind = self.verdict.val();
            self.carry3.d.next.reason = self.reason.val();
            self.carry3.d.next.zeros = self.select.zeros.val();
            self.carry3.d.next.df = !self.clear.val();
            self.addresses3.d.next = self.select.addresses.val();
            self.narrow3.d.next = self.select.narrow.val();
            self.l4_3.d.next = self.select.new_l4.val();
            self.terms3.d.next = self.select.terms.val();
        }

        // stages 4 to 7: sums
        self.sum.terms.next = self.terms3.q.val();
        self.carry7.d.next = self.carry3.q.val();
        self.carry7.d.next.ident = 0.into();
        // Identification: the counter and the packet's hash bits, and a packet that gets one takes the counter on
        self.ident4.d.next = 0.into();
        if !self.carry3.q.val().df {
            self.ident4.d.next = self.counter.q.val() + self.carry3.q.val().ident;
            if self.valid3.q.val() & self.carry3.q.val().six & (self.carry3.q.val().kind == self.kind_translate.val()) {
                self.counter.d.next = self.counter.q.val() + 1;
            }
        }
        self.ident7.d.next = self.ident4.q.val();
        self.addresses7.d.next = self.addresses3.q.val();
        self.l4_7.d.next = self.l4_3.q.val();
        // the block RAM's word comes with the registers of stage 3
        self.hop7.d.next = self.hops.read_data.val();
        self.valid4.d.next = self.valid3.q.val();
        self.valid5.d.next = self.valid4.q.val();
        self.valid6.d.next = self.valid5.q.val();
        self.valid7.d.next = self.valid6.q.val();
        self.flags.next = 0x4500.into();
        if self.carry3.q.val().df {
            self.flags.next = 0x8500.into();
        }
        self.protocol.next = 1.into();
        if self.carry3.q.val().tcp {
            self.protocol.next = 6.into();
        }
        if self.carry3.q.val().udp {
            self.protocol.next = 17.into();
        }
        self.w0.next = self.narrow3.q.val().get_bits::<16>(0);
        self.w1.next = self.narrow3.q.val().get_bits::<16>(16);
        self.w2.next = self.narrow3.q.val().get_bits::<16>(32);
        self.w3.next = self.narrow3.q.val().get_bits::<16>(48);
        // version, header length, ToS and the flags word in one: 0x4500 + 0x4000 does not carry out
        self.flags.next = self.flags.val() | bit_cast::<16, 8>(self.carry3.q.val().tos);
        self.protocol.next = self.protocol.val() | (bit_cast::<16, 8>(self.carry3.q.val().hop) << 8);
        self.ip4a.d.next = bit_cast::<18, 16>(self.flags.val())
            + bit_cast::<18, 16>(self.protocol.val())
            + bit_cast::<18, 16>(self.carry3.q.val().total);
        self.ip4b.d.next =
            bit_cast::<17, 16>(bits_narrow(self.w0.val())) + bit_cast::<17, 16>(bits_narrow(self.w1.val()));
        self.ip4c.d.next =
            bit_cast::<17, 16>(bits_narrow(self.w2.val())) + bit_cast::<17, 16>(bits_narrow(self.w3.val()));
        self.ip5a.d.next = bit_cast::<19, 18>(self.ip4a.q.val()) + bit_cast::<19, 17>(self.ip4c.q.val());
        self.ip5b.d.next = bit_cast::<18, 17>(self.ip4b.q.val()) + bit_cast::<18, 16>(self.ident4.q.val());
        self.ip6.d.next = bit_cast::<20, 19>(self.ip5a.q.val()) + bit_cast::<20, 18>(self.ip5b.q.val());
        self.once.next = bit_cast::<17, 16>(self.ip6.q.val().get_bits::<16>(0))
            + bit_cast::<17, 4>(self.ip6.q.val().get_bits::<4>(16));
        self.ip7.d.next = self.once.val().get_bits::<16>(0) + bit_cast::<16, 1>(self.once.val().get_bits::<1>(16));

        // stage 8: headers of the packet
        self.packet.carry.next = self.carry7.q.val();
        self.packet.carry.next.ident = self.ident7.q.val();
        self.packet.addresses.next = self.addresses7.q.val();
        self.packet.l4.next = self.l4_7.q.val();
        self.packet.sum.next = self.sum.sum.val();
        self.packet.ip_sum.next = self.ip7.q.val();
        self.valid8.d.next = self.valid7.q.val();
        if self.valid7.q.val() {
            self.carry8.d.next = self.carry7.q.val();
            self.packet8.d.next = self.packet.header.val();
            self.hop8.d.next = self.hop7.q.val();
        }

        // stage 9: Ethernet before it, and the decision
        self.frame.six.next = self.carry8.q.val().six;
        self.frame.hop.next = self.hop8.q.val();
        self.frame.packet.next = self.packet8.q.val();
        self.tags_out.next = self.hop8.q.val().get_bits::<2>(97);
        self.ethernet_in.next = bit_cast::<7, 2>(self.carry8.q.val().tags) << 2;
        self.ethernet_out.next = bit_cast::<7, 2>(bits_narrow(self.tags_out.val())) << 2;
        if self.carry8.q.val().tcp {
            self.l4_header.next = 34.into();
        } else {
            self.l4_header.next = 22.into();
        }
        if self.carry8.q.val().six {
            self.ip_in.next = 40.into();
            self.ip_out.next = 20.into();
        } else {
            self.ip_in.next = 20.into();
            self.ip_out.next = 40.into();
        }
        self.valid9.d.next = self.valid8.q.val();
        if self.valid8.q.val() {
            self.decision9.d.next.kind = self.carry8.q.val().kind;
            self.decision9.d.next.reason = self.carry8.q.val().reason;
            self.decision9.d.next.port = self.hop8.q.val().get_bit(96);
            if self.carry8.q.val().kind == self.kind_forward.val() {
                self.decision9.d.next.port = !self.carry8.q.val().port;
            }
            self.decision9.d.next.port_in = self.carry8.q.val().port;
            self.decision9.d.next.unit = self.carry8.q.val().unit;
            self.decision9.d.next.unit_valid = self.carry8.q.val().unit_valid;
            self.decision9.d.next.header = self.frame.header.val();
            self.decision9.d.next.header_bytes = self.ethernet_out.val() + self.ip_out.val() + self.l4_header.val();
            self.decision9.d.next.skip = self.ethernet_in.val() + self.ip_in.val() + self.l4_header.val();
            self.decision9.d.next.length = self.carry8.q.val().total + bit_cast::<16, 7>(self.ethernet_out.val()) + 14;
            self.decision9.d.next.need = self.carry8.q.val().need;
            self.decision9.d.next.index = self.carry8.q.val().index;
            self.decision9.d.next.direction = !self.carry8.q.val().six;
            self.decision9.d.next.set = self.carry8.q.val().set;
            self.decision9.d.next.ip_bytes = self.carry8.q.val().l4_bytes + bit_cast::<16, 7>(self.ip_in.val());
        }
        self.out_valid.next = self.valid9.q.val();
        self.decision.next = self.decision9.q.val();
    }
}
