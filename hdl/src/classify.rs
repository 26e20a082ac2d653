//! Classify: which unit, prefix, rule term and pool a packet belongs to, and the key its session is looked up with.
//!
//! | stage | what it does |
//! |---|---|
//! | 1 | compares the packet with every unit, prefix and term |
//! | 2 | first match of either half of the units; prefixes and terms that match |
//! | 3 | the unit; keeps what belongs to its service set |
//! | 4 | first prefix |
//! | 5 | the server's address out of the destination (RFC 6052 section 2.2); terms that apply to the prefix |
//! | 6 | first term; pools that have the server's address or, in IPv4, the destination, and pools of the service set |
//! | 7 | fate, reason, key |
//!
//! What a later stage needs of an entry travels with the packet, so a packet never sees half of a new entry. Pools are looked at
//! in stage 6 alone, for both families by the same comparators.
//!
//! The first of several is picked in fours, and then one of those: a carry chain over all of them is too slow.
//!
//! In the order of `nat64_layout::reason`: a packet of no unit, or of a family its unit does not take, gets the port's
//! policy whatever parse said (but `NotIp` stays `NotIp`); then come parse's reasons; then the policy for a packet
//! without prefix, term or pool, `RuleAction`, `Hairpin`.

use crate::prelude::*;
use nat64_layout::tables::{PortPolicy, TermAction, PREFIX_LENGTHS};
use nat64_layout::{Protocol, Reason};

use crate::ingress::with_constants;
use crate::prim::{Quiet, Reg};
use crate::rewrite::delay::Delay;
use crate::types::{Key, Phv, RegisterWrite, FATE_FORWARD, FATE_LOOKUP, FATE_REASON};
use crate::wide::{bit_cast_wide, bits_literal, bits_narrow, bits_wide, Wide};
use crate::FastBlock;

mod tables;
pub use tables::Tables;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 7;

/// The unit of a packet.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
struct UnitMatch {
    valid: Bit,
    index: Bits<4>,
    set: Bits<3>,
    six: Bit,
    four: Bit,
}

/// Unit, pref64, term and pool tables; one packet per clock.
#[derive(FastBlock)]
pub struct Classify {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a packet.
    pub valid: Signal<In, Bit>,
    /// The packet, from parse.
    pub phv: Signal<In, Phv>,
    /// Register writes; the unit, pref64, term and pool tables and `Policy` are owned here.
    pub write: Signal<In, RegisterWrite>,
    /// There is a result.
    pub out_valid: Signal<Out, Bit>,
    /// The packet with its fate, unit, set, pref64 and remote.
    pub out_phv: Signal<Out, Phv>,
    /// What its session is looked up with; meaningful with fate `FATE_LOOKUP`.
    pub out_key: Signal<Out, Key>,
    tables: Tables,
    present: Reg<Bits<7>>,
    carry: Delay<Phv, 6>,
    carry_destination: Delay<Wide<128>, 4>,
    // stage 1
    unit_key: Signal<Local, Wide<28>>,
    source: Signal<Local, Wide<128>>,
    destination: Signal<Local, Wide<128>>,
    differs_high: Signal<Local, Wide<64>>,
    differs_low: Signal<Local, Wide<64>>,
    units: Signal<Local, Bits<16>>,
    same0: Signal<Local, Bits<8>>,
    same1: Signal<Local, Bits<8>>,
    same2: Signal<Local, Bits<8>>,
    same3: Signal<Local, Bits<8>>,
    same4: Signal<Local, Bits<8>>,
    same5: Signal<Local, Bits<8>>,
    high: Signal<Local, Bits<8>>,
    low: Signal<Local, Bits<8>>,
    units1: Reg<Bits<16>>,
    unit_info1: Reg<Wide<80>>,
    same10: Reg<Bits<8>>,
    same11: Reg<Bits<8>>,
    same12: Reg<Bits<8>>,
    same13: Reg<Bits<8>>,
    same14: Reg<Bits<8>>,
    same15: Reg<Bits<8>>,
    pref_valid1: Reg<Bits<8>>,
    pref_info1: Reg<Wide<48>>,
    high1: Reg<Bits<8>>,
    low1: Reg<Bits<8>>,
    term_info1: Reg<Wide<104>>,
    // stage 2
    unit_any: [Signal<Local, Bit>; 4],
    unit_at: [Signal<Local, Bits<2>>; 4],
    unit_info: [Signal<Local, Wide<5>>; 4],
    index: Signal<Local, Bits<4>>,
    info: Signal<Local, Wide<5>>,
    length: Signal<Local, Wide<3>>,
    length_code: Signal<Local, Bits<3>>,
    prefs: Signal<Local, Bits<8>>,
    /// Of units 0 to 7.
    unit2: Reg<UnitMatch>,
    /// Of units 8 to 15.
    upper2: Reg<UnitMatch>,
    prefs2: Reg<Bits<8>>,
    pref_info2: Reg<Wide<48>>,
    terms2: Reg<Bits<8>>,
    term_info2: Reg<Wide<104>>,
    // stage 3
    unit: Signal<Local, UnitMatch>,
    set: Signal<Local, Wide<3>>,
    of_set: Signal<Local, Bits<8>>,
    unit3: Reg<UnitMatch>,
    prefs3: Reg<Bits<8>>,
    pref_info3: Reg<Wide<48>>,
    terms3: Reg<Bits<8>>,
    term_info3: Reg<Wide<104>>,
    // stage 4
    first8: Signal<Local, Bits<8>>,
    pref_any: [Signal<Local, Bit>; 2],
    pref_at: [Signal<Local, Bits<3>>; 2],
    pref_code: [Signal<Local, Wide<3>>; 2],
    /// The packets of the stages before are IPv6.
    sixes: Reg<Bits<3>>,
    pref_index: Signal<Local, Bits<3>>,
    code: Signal<Local, Wide<3>>,
    unit4: Reg<UnitMatch>,
    pref4: Reg<Bits<8>>,
    pref_index4: Reg<Bits<3>>,
    code4: Reg<Bits<3>>,
    terms4: Reg<Bits<8>>,
    term_info4: Reg<Wide<104>>,
    // stage 5
    server: Signal<Local, Wide<32>>,
    applies: Signal<Local, Wide<8>>,
    terms: Signal<Local, Bits<8>>,
    unit5: Reg<UnitMatch>,
    pref_index5: Reg<Bits<3>>,
    server5: Reg<Bits<32>>,
    terms5: Reg<Bits<8>>,
    term_info5: Reg<Wide<104>>,
    // stage 6
    term_any: [Signal<Local, Bit>; 2],
    term_action: [Signal<Local, Wide<2>>; 2],
    action: Signal<Local, Wide<2>>,
    pool_low: Signal<Local, Wide<32>>,
    pool_high: Signal<Local, Wide<32>>,
    pools: Signal<Local, Bits<8>>,
    own: Signal<Local, Bits<8>>,
    unit6: Reg<UnitMatch>,
    pref_index6: Reg<Bits<3>>,
    server6: Reg<Bits<32>>,
    action6: Reg<Bits<2>>,
    /// Pools that have the address.
    pools6: Reg<Bits<8>>,
    /// Pools of the unit's service set.
    own6: Reg<Bits<8>>,
    // stage 7
    packet: Signal<Local, Phv>,
    shared: Signal<Local, Bits<8>>,
    policies: Signal<Local, Bits<8>>,
    policy: Signal<Local, Bits<2>>,
    accepted: Signal<Local, Bit>,
    decided: Signal<Local, Bit>,
    by_policy: Signal<Local, Bit>,
    not_checked: Signal<Local, Bit>,
    fate: Signal<Local, Bits<2>>,
    reason: Signal<Local, Bits<8>>,
    l4: Signal<Local, Wide<160>>,
    first_port: Signal<Local, Bits<16>>,
    second_port: Signal<Local, Bits<16>>,
    identifier: Signal<Local, Bits<16>>,
    packet_source: Signal<Local, Wide<128>>,
    source4: Signal<Local, Bits<32>>,
    phv7: Reg<Phv>,
    key7: Reg<Key>,
    fate_lookup: Constant<Bits<2>>,
    fate_forward: Constant<Bits<2>>,
    fate_reason: Constant<Bits<2>>,
    policy_forward: Constant<Bits<2>>,
    policy_punt: Constant<Bits<2>>,
    action_translate: Constant<Bits<2>>,
    action_punt: Constant<Bits<2>>,
    protocol_icmp: Constant<Bits<2>>,
    reason_not_ip: Constant<Bits<8>>,
    reason_policy_drop: Constant<Bits<8>>,
    reason_policy_punt: Constant<Bits<8>>,
    reason_rule_action: Constant<Bits<8>>,
    reason_hairpin: Constant<Bits<8>>,
    _quiet: Quiet,
}

impl Default for Classify {
    /// Panics when the contract has other length codes than this text.
    fn default() -> Self {
        assert_eq!(PREFIX_LENGTHS, [32, 40, 48, 56, 64, 96]);
        with_constants!(
            clock valid phv write out_valid out_phv out_key tables present carry carry_destination unit_key source
            destination differs_high differs_low units same0 same1 same2 same3 same4 same5 high low pools
            pool_low pool_high units1 unit_info1 same10 same11 same12 same13 same14 same15 pref_valid1 pref_info1 high1
            low1 term_info1 index info length length_code prefs prefs2 pref_info2 terms2 term_info2 set of_set unit3
            prefs3 pref_info3 terms3 term_info3 pref_index code unit4 pref4 pref_index4 code4 terms4 term_info4 server
            applies terms unit5 pref_index5 server5 terms5 term_info5 unit6 pref_index6 server6 action6 policies policy
            accepted decided by_policy not_checked fate reason l4 first_port second_port identifier packet_source
            source4 phv7 key7 _quiet unit2 first8 packet action unit_any unit_at unit_info upper2 unit pref_any pref_at
            pref_code sixes term_any term_action own pools6 own6 shared;
            fate_lookup = FATE_LOOKUP,
            fate_forward = FATE_FORWARD,
            fate_reason = FATE_REASON,
            policy_forward = PortPolicy::Forward as u64,
            policy_punt = PortPolicy::Punt as u64,
            action_translate = TermAction::Translate as u64,
            action_punt = TermAction::Punt as u64,
            protocol_icmp = Protocol::Icmp as u64,
            reason_not_ip = Reason::NotIp as u64,
            reason_policy_drop = Reason::PolicyDrop as u64,
            reason_policy_punt = Reason::PolicyPunt as u64,
            reason_rule_action = Reason::RuleAction as u64,
            reason_hairpin = Reason::Hairpin as u64,
        )
    }
}

impl Logic for Classify {
    #[hdl_gen]
    fn update(&mut self) {
        clock!(self, clock, tables, carry, carry_destination);
        dff_setup!(self, clock, present, units1, unit_info1, same10, same11, same12, same13, same14, same15);
        dff_setup!(self, clock, pref_valid1, pref_info1, high1, low1, term_info1);
        dff_setup!(self, clock, unit2, upper2, prefs2, pref_info2, terms2, term_info2);
        dff_setup!(self, clock, unit3, prefs3, pref_info3, terms3, term_info3);
        dff_setup!(self, clock, sixes, unit4, pref4, pref_index4, code4, terms4, term_info4);
        dff_setup!(self, clock, unit5, pref_index5, server5, terms5, term_info5);
        dff_setup!(
            self,
            clock,
            unit6,
            pref_index6,
            server6,
            action6,
            pools6,
            own6,
            phv7,
            key7
        );
        self.tables.write.next = self.write.val();
        self.present.d.next = (self.present.q.val() << 1) | bit_cast::<7, 1>(self.valid.val().into());
        self.carry.d.next = self.phv.val();
        // stage 1. The work of a stage is done only for a packet: nothing looks at what the registers hold without one.
        self.source.next = self.phv.val().source;
        self.destination.next = self.phv.val().destination;
        self.carry_destination.d.next = self.destination.val();
        self.unit_key.next = bits_literal::<28>(0);
        self.units.next = 0.into();
        self.same0.next = 0.into();
        self.same1.next = 0.into();
        self.same2.next = 0.into();
        self.same3.next = 0.into();
        self.same4.next = 0.into();
        self.same5.next = 0.into();
        self.high.next = 0.into();
        self.low.next = 0.into();
        self.differs_high.next = bits_literal::<64>(0);
        self.differs_low.next = bits_literal::<64>(0);
        if self.valid.val() {
            self.unit_key.next = (bit_cast_wide::<28, 12>(bits_wide(self.phv.val().vid1)) << 16)
                | (bit_cast_wide::<28, 12>(bits_wide(self.phv.val().vid0)) << 4)
                | (bit_cast_wide::<28, 2>(bits_wide(self.phv.val().tags)) << 1)
                | bit_cast_wide::<28, 1>(bits_wide(self.phv.val().port.into()));
            for k in 0..16 {
                self.units.next = self.units.val().replace_bit(
                    k,
                    self.tables.unit_valid.val().get_bit(k)
                        & (self.tables.unit_match.val().get_bits::<28>(k * 28) == self.unit_key.val()),
                );
            }
            for k in 0..8 {
                self.same0.next = self.same0.val().replace_bit(
                    k,
                    self.tables.pref_bits.val().get_bits::<32>(k * 96 + 64)
                        == self.destination.val().get_bits::<32>(96),
                );
                self.same1.next = self.same1.val().replace_bit(
                    k,
                    self.tables.pref_bits.val().get_bits::<8>(k * 96 + 56) == self.destination.val().get_bits::<8>(88),
                );
                self.same2.next = self.same2.val().replace_bit(
                    k,
                    self.tables.pref_bits.val().get_bits::<8>(k * 96 + 48) == self.destination.val().get_bits::<8>(80),
                );
                self.same3.next = self.same3.val().replace_bit(
                    k,
                    self.tables.pref_bits.val().get_bits::<8>(k * 96 + 40) == self.destination.val().get_bits::<8>(72),
                );
                self.same4.next = self.same4.val().replace_bit(
                    k,
                    self.tables.pref_bits.val().get_bits::<8>(k * 96 + 32) == self.destination.val().get_bits::<8>(64),
                );
                self.same5.next = self.same5.val().replace_bit(
                    k,
                    self.tables.pref_bits.val().get_bits::<32>(k * 96) == self.destination.val().get_bits::<32>(32),
                );
                self.differs_high.next = (self.tables.term_high.val().get_bits::<64>(k * 64)
                    ^ self.source.val().get_bits::<64>(64))
                    & self.tables.mask_high.val().get_bits::<64>(k * 64);
                self.differs_low.next = (self.tables.term_low.val().get_bits::<64>(k * 64)
                    ^ self.source.val().get_bits::<64>(0))
                    & self.tables.mask_low.val().get_bits::<64>(k * 64);
                self.high.next = self.high.val().replace_bit(
                    k,
                    self.tables.term_valid.val().get_bit(k) & !self.differs_high.val().any(),
                );
                self.low.next = self.low.val().replace_bit(k, !self.differs_low.val().any());
            }
        }
        self.units1.d.next = self.units.val();
        self.same10.d.next = self.same0.val();
        self.same11.d.next = self.same1.val();
        self.same12.d.next = self.same2.val();
        self.same13.d.next = self.same3.val();
        self.same14.d.next = self.same4.val();
        self.same15.d.next = self.same5.val();
        self.pref_valid1.d.next = self.tables.pref_valid.val();
        self.high1.d.next = self.high.val();
        self.low1.d.next = self.low.val();
        self.unit_info1.d.next = self.tables.unit_info.val();
        self.pref_info1.d.next = self.tables.pref_info.val();
        self.term_info1.d.next = self.tables.term_info.val();
        self.sixes.d.next = (self.sixes.q.val() << 1) | bit_cast::<3, 1>(self.phv.val().six.into());
        // stage 2
        for q in 0..4 {
            self.unit_any[q].next = false;
            self.unit_at[q].next = 0.into();
            self.unit_info[q].next = bits_literal::<5>(0);
        }
        self.prefs.next = 0.into();
        self.length_code.next = 0.into();
        self.length.next = bits_literal::<3>(0);
        if self.present.q.val().get_bit(0) {
            for q in 0..4 {
                if self.units1.q.val().get_bit(q * 4 + 3) {
                    self.unit_any[q].next = true;
                    self.unit_at[q].next = 3.into();
                    self.unit_info[q].next = self.unit_info1.q.val().get_bits::<5>(q * 20 + 15);
                }
                if self.units1.q.val().get_bit(q * 4 + 2) {
                    self.unit_any[q].next = true;
                    self.unit_at[q].next = 2.into();
                    self.unit_info[q].next = self.unit_info1.q.val().get_bits::<5>(q * 20 + 10);
                }
                if self.units1.q.val().get_bit(q * 4 + 1) {
                    self.unit_any[q].next = true;
                    self.unit_at[q].next = 1.into();
                    self.unit_info[q].next = self.unit_info1.q.val().get_bits::<5>(q * 20 + 5);
                }
                if self.units1.q.val().get_bit(q * 4) {
                    self.unit_any[q].next = true;
                    self.unit_at[q].next = 0.into();
                    self.unit_info[q].next = self.unit_info1.q.val().get_bits::<5>(q * 20);
                }
            }
            for k in 0..8 {
                self.length.next = self.pref_info1.q.val().get_bits::<3>(k * 6);
                self.length_code.next = bits_narrow(self.length.val());
                self.prefs.next = self.prefs.val().replace_bit(
                    k,
                    self.pref_valid1.q.val().get_bit(k)
                        & self.same10.q.val().get_bit(k)
                        & (self.same11.q.val().get_bit(k) | (self.length_code.val() < 1))
                        & (self.same12.q.val().get_bit(k) | (self.length_code.val() < 2))
                        & (self.same13.q.val().get_bit(k) | (self.length_code.val() < 3))
                        & (self.same14.q.val().get_bit(k) | (self.length_code.val() < 4))
                        & (self.same15.q.val().get_bit(k) | (self.length_code.val() < 5)),
                );
            }
        }
        self.index.next = 0.into();
        self.info.next = self.unit_info[1].val();
        if self.unit_any[0].val() {
            self.index.next = bit_cast::<4, 2>(self.unit_at[0].val());
            self.info.next = self.unit_info[0].val();
        } else if self.unit_any[1].val() {
            self.index.next = bit_cast::<4, 2>(self.unit_at[1].val()) | 4;
        }
        self.unit2.d.next.valid = self.unit_any[0].val() | self.unit_any[1].val();
        self.unit2.d.next.index = self.index.val();
        self.unit2.d.next.set = bits_narrow(self.info.val().get_bits::<3>(0));
        self.unit2.d.next.six = self.info.val().get_bit(3);
        self.unit2.d.next.four = self.info.val().get_bit(4);
        self.index.next = 0.into();
        self.info.next = self.unit_info[3].val();
        if self.unit_any[2].val() {
            self.index.next = bit_cast::<4, 2>(self.unit_at[2].val()) | 8;
            self.info.next = self.unit_info[2].val();
        } else if self.unit_any[3].val() {
            self.index.next = bit_cast::<4, 2>(self.unit_at[3].val()) | 12;
        }
        self.upper2.d.next.valid = self.unit_any[2].val() | self.unit_any[3].val();
        self.upper2.d.next.index = self.index.val();
        self.upper2.d.next.set = bits_narrow(self.info.val().get_bits::<3>(0));
        self.upper2.d.next.six = self.info.val().get_bit(3);
        self.upper2.d.next.four = self.info.val().get_bit(4);
        self.prefs2.d.next = self.prefs.val();
        self.terms2.d.next = self.high1.q.val() & self.low1.q.val();
        self.pref_info2.d.next = self.pref_info1.q.val();
        self.term_info2.d.next = self.term_info1.q.val();
        // stage 3
        self.unit.next = self.upper2.q.val();
        if self.unit2.q.val().valid {
            self.unit.next = self.unit2.q.val();
        }
        self.set.next = bits_wide(self.unit.val().set);
        self.prefs3.d.next = 0.into();
        self.terms3.d.next = 0.into();
        self.of_set.next = 0.into();
        if self.present.q.val().get_bit(1) {
            for k in 0..8 {
                self.of_set.next = self.of_set.val().replace_bit(
                    k,
                    self.prefs2.q.val().get_bit(k)
                        & (self.pref_info2.q.val().get_bits::<3>(k * 6 + 3) == self.set.val()),
                );
            }
            self.prefs3.d.next = self.of_set.val();
            for k in 0..8 {
                self.of_set.next = self.of_set.val().replace_bit(
                    k,
                    self.terms2.q.val().get_bit(k) & (self.term_info2.q.val().get_bits::<3>(k * 13) == self.set.val()),
                );
            }
            self.terms3.d.next = self.of_set.val();
        }
        self.unit3.d.next = self.unit.val();
        self.pref_info3.d.next = self.pref_info2.q.val();
        self.term_info3.d.next = self.term_info2.q.val();
        // stage 4
        self.first8.next = !self.prefs3.q.val();
        self.first8.next = self.first8.val() + 1;
        self.first8.next = self.first8.val() & self.prefs3.q.val();
        for q in 0..2 {
            self.pref_any[q].next = false;
            self.pref_at[q].next = 0.into();
            self.pref_code[q].next = bits_literal::<3>(0);
            if self.prefs3.q.val().get_bit(q * 4 + 3) {
                self.pref_any[q].next = true;
                self.pref_at[q].next = 3.into();
                self.pref_code[q].next = self.pref_info3.q.val().get_bits::<3>(q * 24 + 18);
            }
            if self.prefs3.q.val().get_bit(q * 4 + 2) {
                self.pref_any[q].next = true;
                self.pref_at[q].next = 2.into();
                self.pref_code[q].next = self.pref_info3.q.val().get_bits::<3>(q * 24 + 12);
            }
            if self.prefs3.q.val().get_bit(q * 4 + 1) {
                self.pref_any[q].next = true;
                self.pref_at[q].next = 1.into();
                self.pref_code[q].next = self.pref_info3.q.val().get_bits::<3>(q * 24 + 6);
            }
            if self.prefs3.q.val().get_bit(q * 4) {
                self.pref_any[q].next = true;
                self.pref_at[q].next = 0.into();
                self.pref_code[q].next = self.pref_info3.q.val().get_bits::<3>(q * 24);
            }
        }
        self.pref_index.next = 0.into();
        self.code.next = self.pref_code[1].val();
        if self.pref_any[0].val() {
            self.pref_index.next = self.pref_at[0].val();
            self.code.next = self.pref_code[0].val();
        } else if self.pref_any[1].val() {
            self.pref_index.next = self.pref_at[1].val() | 4;
        }
        // an IPv4 destination stands where a prefix of 96 bits has the address
        if !self.sixes.q.val().get_bit(2) {
            self.code.next = bits_literal::<3>(5);
        }
        self.pref4.d.next = self.first8.val();
        self.pref_index4.d.next = self.pref_index.val();
        self.code4.d.next = bits_narrow(self.code.val());
        self.unit4.d.next = self.unit3.q.val();
        self.terms4.d.next = self.terms3.q.val();
        self.term_info4.d.next = self.term_info3.q.val();
        // stage 5: the address lies around octet 8, which is skipped
        self.server.next = self.carry_destination.q.val().get_bits::<32>(0);
        if self.code4.q.val() == 0 {
            self.server.next = self.carry_destination.q.val().get_bits::<32>(64);
        }
        if self.code4.q.val() == 1 {
            self.server.next = (bit_cast_wide::<32, 24>(self.carry_destination.q.val().get_bits::<24>(64)) << 8)
                | bit_cast_wide::<32, 8>(self.carry_destination.q.val().get_bits::<8>(48));
        }
        if self.code4.q.val() == 2 {
            self.server.next = (bit_cast_wide::<32, 16>(self.carry_destination.q.val().get_bits::<16>(64)) << 16)
                | bit_cast_wide::<32, 16>(self.carry_destination.q.val().get_bits::<16>(40));
        }
        if self.code4.q.val() == 3 {
            self.server.next = (bit_cast_wide::<32, 8>(self.carry_destination.q.val().get_bits::<8>(64)) << 24)
                | bit_cast_wide::<32, 24>(self.carry_destination.q.val().get_bits::<24>(32));
        }
        if self.code4.q.val() == 4 {
            self.server.next = self.carry_destination.q.val().get_bits::<32>(24);
        }
        self.server5.d.next = bits_narrow(self.server.val());
        self.applies.next = bits_literal::<8>(0);
        self.terms.next = 0.into();
        if self.present.q.val().get_bit(3) {
            for k in 0..8 {
                self.applies.next = self.term_info4.q.val().get_bits::<8>(k * 13 + 3);
                self.applies.next = self.applies.val() & bits_wide(self.pref4.q.val());
                self.terms.next = self
                    .terms
                    .val()
                    .replace_bit(k, self.terms4.q.val().get_bit(k) & self.applies.val().any());
            }
        }
        self.terms5.d.next = self.terms.val();
        self.pref_index5.d.next = self.pref_index4.q.val();
        self.unit5.d.next = self.unit4.q.val();
        self.term_info5.d.next = self.term_info4.q.val();
        // stage 6
        for q in 0..2 {
            self.term_any[q].next = false;
            self.term_action[q].next = bits_literal::<2>(0);
            if self.terms5.q.val().get_bit(q * 4 + 3) {
                self.term_any[q].next = true;
                self.term_action[q].next = self.term_info5.q.val().get_bits::<2>(q * 52 + 50);
            }
            if self.terms5.q.val().get_bit(q * 4 + 2) {
                self.term_any[q].next = true;
                self.term_action[q].next = self.term_info5.q.val().get_bits::<2>(q * 52 + 37);
            }
            if self.terms5.q.val().get_bit(q * 4 + 1) {
                self.term_any[q].next = true;
                self.term_action[q].next = self.term_info5.q.val().get_bits::<2>(q * 52 + 24);
            }
            if self.terms5.q.val().get_bit(q * 4) {
                self.term_any[q].next = true;
                self.term_action[q].next = self.term_info5.q.val().get_bits::<2>(q * 52 + 11);
            }
        }
        self.action.next = self.term_action[1].val();
        if self.term_any[0].val() {
            self.action.next = self.term_action[0].val();
        }
        self.set.next = bits_wide(self.unit5.q.val().set);
        self.pools.next = 0.into();
        self.own.next = 0.into();
        self.pool_low.next = bits_literal::<32>(0);
        self.pool_high.next = bits_literal::<32>(0);
        if self.present.q.val().get_bit(4) {
            for k in 0..8 {
                self.pool_low.next = self.tables.pool_low.val().get_bits::<32>(k * 32);
                self.pool_high.next = self.tables.pool_high.val().get_bits::<32>(k * 32);
                self.pools.next = self.pools.val().replace_bit(
                    k,
                    self.tables.pool_valid.val().get_bit(k)
                        & (bits_narrow(self.pool_low.val()) <= self.server5.q.val())
                        & (bits_narrow(self.pool_high.val()) >= self.server5.q.val()),
                );
                self.own.next = self
                    .own
                    .val()
                    .replace_bit(k, self.tables.pool_set.val().get_bits::<3>(k * 3) == self.set.val());
            }
        }
        self.action6.d.next = bits_narrow(self.action.val());
        self.pools6.d.next = self.pools.val();
        self.own6.d.next = self.own.val();
        self.unit6.d.next = self.unit5.q.val();
        self.pref_index6.d.next = self.pref_index5.q.val();
        self.server6.d.next = self.server5.q.val();
        // stage 7: fate
        self.packet.next = self.carry.q.val();
        self.policies.next = self.tables.policy.val();
        self.policy.next = self.policies.val().get_bits::<2>(0);
        if self.packet.val().port {
            self.policy.next = self.policies.val().get_bits::<2>(4);
        }
        self.shared.next = self.pools6.q.val() & self.own6.q.val();
        self.fate.next = self.packet.val().fate;
        self.reason.next = self.packet.val().reason;
        self.decided.next = self.packet.val().fate == self.fate_reason.val();
        self.accepted.next = self.unit6.q.val().valid & self.unit6.q.val().four;
        if self.packet.val().six {
            self.accepted.next = self.unit6.q.val().valid & self.unit6.q.val().six;
        }
        self.by_policy.next = false;
        self.not_checked.next = false;
        if !self.decided.val() | (self.packet.val().reason != self.reason_not_ip.val()) {
            if !self.accepted.val() {
                self.by_policy.next = true;
                self.not_checked.next = true;
            } else {
                if !self.decided.val() {
                    self.fate.next = self.fate_lookup.val();
                    if self.packet.val().six {
                        if self.action6.q.val() == self.action_punt.val() {
                            self.fate.next = self.fate_reason.val();
                            self.reason.next = self.reason_rule_action.val();
                        } else {
                            if self.pools6.q.val().any() {
                                self.fate.next = self.fate_reason.val();
                                self.reason.next = self.reason_hairpin.val();
                            }
                        }
                        self.by_policy.next = (self.action6.q.val() != self.action_translate.val())
                            & (self.action6.q.val() != self.action_punt.val());
                    } else {
                        self.by_policy.next = !self.shared.val().any();
                    }
                }
            }
        }
        if self.by_policy.val() {
            self.fate.next = self.fate_reason.val();
            self.reason.next = self.reason_policy_drop.val();
            if self.policy.val() == self.policy_forward.val() {
                self.fate.next = self.fate_forward.val();
                self.reason.next = 0.into();
            }
            if self.policy.val() == self.policy_punt.val() {
                self.reason.next = self.reason_policy_punt.val();
            }
        }
        self.l4.next = self.packet.val().l4;
        self.first_port.next = bits_narrow(self.l4.val().get_bits::<16>(144));
        self.second_port.next = bits_narrow(self.l4.val().get_bits::<16>(128));
        self.identifier.next = bits_narrow(self.l4.val().get_bits::<16>(112));
        self.packet_source.next = self.packet.val().source;
        self.source4.next = bits_narrow(self.packet_source.val().get_bits::<32>(0));
        self.phv7.d.next = self.packet.val();
        self.phv7.d.next.fate = self.fate.val();
        self.phv7.d.next.reason = self.reason.val();
        if self.not_checked.val() {
            self.phv7.d.next.need = 0.into();
        }
        self.phv7.d.next.unit = self.unit6.q.val().index;
        self.phv7.d.next.unit_valid = self.unit6.q.val().valid;
        self.phv7.d.next.set = self.unit6.q.val().set;
        self.key7.d.next.six = self.packet.val().six;
        self.key7.d.next.protocol = self.packet.val().protocol;
        if self.packet.val().six {
            self.phv7.d.next.pref64 = self.pref_index6.q.val();
            self.phv7.d.next.remote = self.server6.q.val();
            self.key7.d.next.local = self.packet.val().source;
            self.key7.d.next.remote = self.server6.q.val();
            self.key7.d.next.local_port = self.first_port.val();
            self.key7.d.next.remote_port = self.second_port.val();
            self.key7.d.next.pref64 = self.pref_index6.q.val();
            self.key7.d.next.unit = self.unit6.q.val().index;
            self.key7.d.next.set = 0.into();
        } else {
            self.phv7.d.next.pref64 = 0.into();
            self.phv7.d.next.remote = self.source4.val();
            self.key7.d.next.local = self.packet.val().destination;
            self.key7.d.next.remote = self.source4.val();
            self.key7.d.next.local_port = self.second_port.val();
            self.key7.d.next.remote_port = self.first_port.val();
            self.key7.d.next.pref64 = 0.into();
            self.key7.d.next.unit = 0.into();
            self.key7.d.next.set = self.unit6.q.val().set;
        }
        if self.packet.val().protocol == self.protocol_icmp.val() {
            self.key7.d.next.local_port = self.identifier.val();
            self.key7.d.next.remote_port = 0.into();
        }
        self.out_valid.next = self.present.q.val().get_bit(6);
        self.out_phv.next = self.phv7.q.val();
        self.out_key.next = self.key7.q.val();
    }
}

#[cfg(test)]
mod tests;
