//! Combinational parts in front of the sums: the embedded address, the new addresses and transport header, and the terms
//! that the transport checksum changes by.

use crate::prelude::*;
use crate::prim::Quiet;
use crate::types::RECORD_BITS;
use crate::wide::*;
use crate::FastBlock;

/// 16-bit terms of the transport checksum, filled up to groups of three.
pub const TERMS: usize = 27;
/// Their bits.
pub const TERM_BITS: usize = 16 * TERMS;

/// An IPv4 address inside a translation prefix (RFC 6052 section 2.2).
#[derive(FastBlock, Default)]
pub struct Embed {
    /// The prefix entry (`nat64_layout::tables::Pref64`), word 0 lowest.
    pub prefix: Signal<In, Wide<128>>,
    /// IPv4 address.
    pub address: Signal<In, Bits<32>>,
    /// IPv6 address.
    pub embedded: Signal<Out, Wide<128>>,
    code: Signal<Local, Wide<3>>,
    v4: Signal<Local, Wide<32>>,
    low: Signal<Local, Wide<128>>,
    first: Signal<Local, Wide<128>>,
    part: Signal<Local, Wide<128>>,
    _quiet: Quiet,
}

impl Logic for Embed {
    #[hdl_gen]
    fn update(&mut self) {
        self.code.next = self.prefix.val().get_bits::<3>(96);
        self.v4.next = bits_wide(self.address.val());
        // bits 64 to 71 of the address, the u octet, stay zero
        if self.code.val() == bits_literal::<3>(1) {
            self.first.next = bit_cast_wide::<128, 24>(self.v4.val().get_bits::<24>(8)) << 64;
            self.part.next = bit_cast_wide::<128, 8>(self.v4.val().get_bits::<8>(0)) << 48;
        } else if self.code.val() == bits_literal::<3>(2) {
            self.first.next = bit_cast_wide::<128, 16>(self.v4.val().get_bits::<16>(16)) << 64;
            self.part.next = bit_cast_wide::<128, 16>(self.v4.val().get_bits::<16>(0)) << 40;
        } else if self.code.val() == bits_literal::<3>(3) {
            self.first.next = bit_cast_wide::<128, 8>(self.v4.val().get_bits::<8>(24)) << 64;
            self.part.next = bit_cast_wide::<128, 24>(self.v4.val().get_bits::<24>(0)) << 32;
        } else if self.code.val() == bits_literal::<3>(4) {
            self.first.next = bits_literal::<128>(0);
            self.part.next = bit_cast_wide::<128, 32>(self.v4.val()) << 24;
        } else if self.code.val() == bits_literal::<3>(5) {
            self.first.next = bits_literal::<128>(0);
            self.part.next = bit_cast_wide::<128, 32>(self.v4.val());
        } else {
            self.first.next = bit_cast_wide::<128, 32>(self.v4.val()) << 64;
            self.part.next = bits_literal::<128>(0);
        }
        self.low.next = (bit_cast_wide::<128, 32>(self.prefix.val().get_bits::<32>(0)) << 96)
            | (bit_cast_wide::<128, 32>(self.prefix.val().get_bits::<32>(32)) << 64)
            | (bit_cast_wide::<128, 32>(self.prefix.val().get_bits::<32>(64)) << 32);
        self.embedded.next = self.low.val() | self.first.val() | self.part.val();
    }
}

/// New addresses, new transport header, checksum terms.
#[derive(FastBlock, Default)]
pub struct Select {
    /// IPv6 to IPv4.
    pub six: Signal<In, Bit>,
    /// TCP.
    pub tcp: Signal<In, Bit>,
    /// ICMP echo.
    pub icmp: Signal<In, Bit>,
    /// Echo reply.
    pub reply: Signal<In, Bit>,
    /// Bytes of transport header and payload.
    pub l4_bytes: Signal<In, Bits<16>>,
    /// Source and destination as they arrived, source on top.
    pub arrived: Signal<In, Wide<256>>,
    /// Transport header as it arrived.
    pub l4: Signal<In, Wide<160>>,
    /// Session.
    pub record: Signal<In, Wide<RECORD_BITS>>,
    /// Prefix entry.
    pub prefix: Signal<In, Wide<128>>,
    /// New source and destination: IPv6 addresses, or IPv4 addresses in the top 64 bits.
    pub addresses: Signal<Out, Wide<256>>,
    /// IPv4 source and destination, of either side.
    pub narrow: Signal<Out, Wide<64>>,
    /// New transport header, its checksum zero, and zero past the fixed header.
    pub new_l4: Signal<Out, Wide<160>>,
    /// The new ICMPv4 header is all zero but for its checksum.
    pub zeros: Signal<Out, Bit>,
    /// What the one's complement sum is made of (RFC 1624 equation 3).
    pub terms: Signal<Out, Wide<TERM_BITS>>,
    embed: Embed,
    remote: Signal<Local, Wide<32>>,
    local_port: Signal<Local, Wide<16>>,
    old_port: Signal<Local, Wide<16>>,
    old_sum: Signal<Local, Wide<16>>,
    delta: Signal<Local, Wide<16>>,
    length: Signal<Local, Wide<16>>,
    kind: Signal<Local, Wide<8>>,
    ports: Signal<Local, Wide<32>>,
    far: Signal<Local, Wide<64>>,
    far_terms: Signal<Local, Wide<64>>,
    wide: Signal<Local, Wide<256>>,
    wide_terms: Signal<Local, Wide<256>>,
    _quiet: Quiet,
}

impl Logic for Select {
    #[hdl_gen]
    fn update(&mut self) {
        self.remote.next = self.record.val().get_bits::<32>(69);
        self.embed.prefix.next = self.prefix.val();
        self.embed.address.next = bits_narrow(self.remote.val());
        // the IPv6 pair and the IPv4 pair of the packet: one of them arrived, the other is new
        if self.six.val() {
            self.wide.next = self.arrived.val();
            self.wide_terms.next = !self.arrived.val();
            self.far.next = (bit_cast_wide::<64, 32>(self.record.val().get_bits::<32>(101)) << 32)
                | bit_cast_wide::<64, 32>(self.remote.val());
            self.far_terms.next = self.far.val();
            self.addresses.next = bit_cast_wide::<256, 64>(self.far.val()) << 192;
            self.local_port.next = self.record.val().get_bits::<16>(53);
            self.old_port.next = self.l4.val().get_bits::<16>(144);
            self.ports.next = (bit_cast_wide::<32, 16>(self.local_port.val()) << 16)
                | bit_cast_wide::<32, 16>(self.l4.val().get_bits::<16>(128));
        } else {
            self.wide.next = (bit_cast_wide::<256, 128>(self.embed.embedded.val()) << 128)
                | bit_cast_wide::<256, 128>(self.record.val().get_bits::<128>(133));
            self.wide_terms.next = self.wide.val();
            self.far.next = (bit_cast_wide::<64, 32>(self.arrived.val().get_bits::<32>(128)) << 32)
                | bit_cast_wide::<64, 32>(self.arrived.val().get_bits::<32>(0));
            self.far_terms.next = !self.far.val();
            self.addresses.next = self.wide.val();
            self.local_port.next = self.record.val().get_bits::<16>(21);
            self.old_port.next = self.l4.val().get_bits::<16>(128);
            self.ports.next = (bit_cast_wide::<32, 16>(self.l4.val().get_bits::<16>(144)) << 16)
                | bit_cast_wide::<32, 16>(self.local_port.val());
        }
        self.narrow.next = self.far.val();
        self.delta.next = bits_literal::<16>(0);
        self.length.next = bits_literal::<16>(0);
        self.kind.next = bits_literal::<8>(0);
        self.zeros.next = false;
        if self.icmp.val() {
            // ICMPv4 has no pseudo header; ICMPv6 sums addresses, length and next header 58. `delta` is the change of the
            // type word and of the 58: 128 <-> 8 and 129 <-> 0.
            self.old_port.next = self.l4.val().get_bits::<16>(112);
            self.old_sum.next = self.l4.val().get_bits::<16>(128);
            self.far_terms.next = bits_literal::<64>(0);
            self.length.next = bits_wide(self.l4_bytes.val());
            self.delta.next = bits_literal::<16>(0x783a);
            self.kind.next = bits_literal::<8>(128);
            if self.reply.val() {
                self.delta.next = bits_literal::<16>(0x813a);
                self.kind.next = bits_literal::<8>(129);
            }
            if self.six.val() {
                self.delta.next = !self.delta.val();
                self.length.next = !self.length.val();
                self.kind.next = bits_literal::<8>(8);
                if self.reply.val() {
                    self.kind.next = bits_literal::<8>(0);
                    self.zeros.next = !self.local_port.val().any()
                        & !self.l4.val().get_bits::<16>(96).any()
                        & !self.l4.val().get_bits::<8>(144).any();
                }
            }
            self.new_l4.next = (bit_cast_wide::<160, 8>(self.kind.val()) << 152)
                | (bit_cast_wide::<160, 8>(self.l4.val().get_bits::<8>(144)) << 144)
                | (bit_cast_wide::<160, 16>(self.local_port.val()) << 112)
                | (bit_cast_wide::<160, 16>(self.l4.val().get_bits::<16>(96)) << 96);
        } else if self.tcp.val() {
            self.old_sum.next = self.l4.val().get_bits::<16>(16);
            self.new_l4.next = (bit_cast_wide::<160, 32>(self.ports.val()) << 128)
                | (bit_cast_wide::<160, 96>(self.l4.val().get_bits::<96>(32)) << 32)
                | bit_cast_wide::<160, 16>(self.l4.val().get_bits::<16>(0));
        } else {
            self.old_sum.next = self.l4.val().get_bits::<16>(96);
            self.new_l4.next = (bit_cast_wide::<160, 32>(self.ports.val()) << 128)
                | (bit_cast_wide::<160, 16>(self.l4.val().get_bits::<16>(112)) << 112);
        }
        self.old_sum.next = !self.old_sum.val();
        self.old_port.next = !self.old_port.val();
        self.terms.next = (bit_cast_wide::<TERM_BITS, 256>(self.wide_terms.val()) << 176)
            | (bit_cast_wide::<TERM_BITS, 64>(self.far_terms.val()) << 112)
            | (bit_cast_wide::<TERM_BITS, 16>(self.old_sum.val()) << 96)
            | (bit_cast_wide::<TERM_BITS, 16>(self.old_port.val()) << 80)
            | (bit_cast_wide::<TERM_BITS, 16>(self.local_port.val()) << 64)
            | (bit_cast_wide::<TERM_BITS, 16>(self.delta.val()) << 48)
            | (bit_cast_wide::<TERM_BITS, 16>(self.length.val()) << 32);
    }
}
