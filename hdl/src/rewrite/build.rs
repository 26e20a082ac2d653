//! Combinational parts behind the sums: the IP packet's header with its checksums, and the Ethernet header before it.

use super::carry::Carry;
use crate::prelude::*;
use crate::prim::Quiet;
use crate::types::HEADER_BITS;
use crate::wide::*;
use crate::FastBlock;

/// IPv6 and TCP header, the longest.
pub const PACKET_BITS: usize = 480;

/// IP header and transport header.
#[derive(FastBlock, Default)]
pub struct PacketHeader {
    /// Scalars.
    pub carry: Signal<In, Carry>,
    /// New addresses, see `Select`.
    pub addresses: Signal<In, Wide<256>>,
    /// New transport header without checksum.
    pub l4: Signal<In, Wide<160>>,
    /// One's complement sum for the transport checksum.
    pub sum: Signal<In, Bits<16>>,
    /// One's complement sum of the IPv4 header.
    pub ip_sum: Signal<In, Bits<16>>,
    /// Both headers, byte 0 on top, zero past the end.
    pub header: Signal<Out, Wide<PACKET_BITS>>,
    check: Signal<Local, Bits<16>>,
    ip_check: Signal<Local, Bits<16>>,
    transport: Signal<Local, Wide<160>>,
    protocol: Signal<Local, Wide<8>>,
    flags: Signal<Local, Wide<16>>,
    four: Signal<Local, Wide<160>>,
    six: Signal<Local, Wide<320>>,
    _quiet: Quiet,
}

impl Logic for PacketHeader {
    #[hdl_gen]
    fn update(&mut self) {
        // A sum of 0 and one of 0xffff are the same number. The packet's own sum is 0xffff then, checksum 0, since it is
        // not made of zeros alone; only an ICMPv4 message can be.
        self.check.next = !self.sum.val();
        if (!self.sum.val().any()) | self.sum.val().all() {
            self.check.next = 0.into();
            if self.carry.val().udp | self.carry.val().zeros {
                self.check.next = 0xffff.into();
            }
        }
        self.ip_check.next = !self.ip_sum.val();
        if self.carry.val().tcp {
            self.transport.next = self.l4.val() | (bit_cast_wide::<160, 16>(bits_wide(self.check.val())) << 16);
            self.protocol.next = bits_literal::<8>(6);
        } else if self.carry.val().icmp {
            self.transport.next = self.l4.val() | (bit_cast_wide::<160, 16>(bits_wide(self.check.val())) << 128);
            self.protocol.next = bits_literal::<8>(58);
            if self.carry.val().six {
                self.protocol.next = bits_literal::<8>(1);
            }
        } else {
            self.transport.next = self.l4.val() | (bit_cast_wide::<160, 16>(bits_wide(self.check.val())) << 96);
            self.protocol.next = bits_literal::<8>(17);
        }
        self.flags.next = bits_literal::<16>(0);
        if self.carry.val().df {
            self.flags.next = bits_literal::<16>(0x4000);
        }
        self.four.next = (bit_cast_wide::<160, 8>(bits_literal::<8>(0x45)) << 152)
            | (bit_cast_wide::<160, 8>(bits_wide(self.carry.val().tos)) << 144)
            | (bit_cast_wide::<160, 16>(bits_wide(self.carry.val().total)) << 128)
            | (bit_cast_wide::<160, 16>(bits_wide(self.carry.val().ident)) << 112)
            | (bit_cast_wide::<160, 16>(self.flags.val()) << 96)
            | (bit_cast_wide::<160, 8>(bits_wide(self.carry.val().hop)) << 88)
            | (bit_cast_wide::<160, 8>(self.protocol.val()) << 80)
            | (bit_cast_wide::<160, 16>(bits_wide(self.ip_check.val())) << 64)
            | bit_cast_wide::<160, 64>(self.addresses.val().get_bits::<64>(192));
        self.six.next = (bit_cast_wide::<320, 4>(bits_literal::<4>(6)) << 316)
            | (bit_cast_wide::<320, 8>(bits_wide(self.carry.val().tos)) << 308)
            | (bit_cast_wide::<320, 16>(bits_wide(self.carry.val().l4_bytes)) << 272)
            | (bit_cast_wide::<320, 8>(self.protocol.val()) << 264)
            | (bit_cast_wide::<320, 8>(bits_wide(self.carry.val().hop)) << 256)
            | bit_cast_wide::<320, 256>(self.addresses.val());
        if self.carry.val().six {
            self.header.next = (bit_cast_wide::<PACKET_BITS, 160>(self.four.val()) << 320)
                | (bit_cast_wide::<PACKET_BITS, 160>(self.transport.val()) << 160);
        } else {
            self.header.next = (bit_cast_wide::<PACKET_BITS, 320>(self.six.val()) << 160)
                | bit_cast_wide::<PACKET_BITS, 160>(self.transport.val());
        }
    }
}

/// The Ethernet header of a next hop before the packet's.
#[derive(FastBlock, Default)]
pub struct FrameHeader {
    /// IPv6 to IPv4.
    pub six: Signal<In, Bit>,
    /// Next-hop entry (`nat64_layout::tables::NextHop`), word 0 lowest.
    pub hop: Signal<In, Wide<128>>,
    /// Headers of the packet.
    pub packet: Signal<In, Wide<PACKET_BITS>>,
    /// Headers of the frame.
    pub header: Signal<Out, Wide<HEADER_BITS>>,
    macs: Signal<Local, Wide<96>>,
    ethertype: Signal<Local, Wide<16>>,
    tpid: Signal<Local, Wide<16>>,
    tags: Signal<Local, Wide<2>>,
    outer: Signal<Local, Wide<32>>,
    inner: Signal<Local, Wide<32>>,
    tail: Signal<Local, Wide<496>>,
    _quiet: Quiet,
}

impl Logic for FrameHeader {
    #[hdl_gen]
    fn update(&mut self) {
        self.macs.next = (bit_cast_wide::<96, 32>(self.hop.val().get_bits::<32>(0)) << 64)
            | (bit_cast_wide::<96, 32>(self.hop.val().get_bits::<32>(32)) << 32)
            | bit_cast_wide::<96, 32>(self.hop.val().get_bits::<32>(64));
        self.ethertype.next = bits_literal::<16>(0x86dd);
        if self.six.val() {
            self.ethertype.next = bits_literal::<16>(0x0800);
        }
        self.tpid.next = bits_literal::<16>(0x8100);
        if self.hop.val().get_bit(126) {
            self.tpid.next = bits_literal::<16>(0x88a8);
        }
        self.outer.next = (bit_cast_wide::<32, 16>(self.tpid.val()) << 16)
            | bit_cast_wide::<32, 12>(self.hop.val().get_bits::<12>(100));
        self.inner.next =
            (bits_literal::<32>(0x8100) << 16) | bit_cast_wide::<32, 12>(self.hop.val().get_bits::<12>(112));
        self.tags.next = self.hop.val().get_bits::<2>(97);
        self.tail.next =
            (bit_cast_wide::<496, 16>(self.ethertype.val()) << 480) | bit_cast_wide::<496, 480>(self.packet.val());
        if self.tags.val() == bits_literal::<2>(0) {
            self.header.next = (bit_cast_wide::<HEADER_BITS, 96>(self.macs.val()) << 608)
                | (bit_cast_wide::<HEADER_BITS, 496>(self.tail.val()) << 112);
        } else if self.tags.val() == bits_literal::<2>(1) {
            self.header.next = (bit_cast_wide::<HEADER_BITS, 96>(self.macs.val()) << 608)
                | (bit_cast_wide::<HEADER_BITS, 32>(self.outer.val()) << 576)
                | (bit_cast_wide::<HEADER_BITS, 496>(self.tail.val()) << 80);
        } else {
            self.header.next = (bit_cast_wide::<HEADER_BITS, 96>(self.macs.val()) << 608)
                | (bit_cast_wide::<HEADER_BITS, 32>(self.outer.val()) << 576)
                | (bit_cast_wide::<HEADER_BITS, 32>(self.inner.val()) << 544)
                | (bit_cast_wide::<HEADER_BITS, 496>(self.tail.val()) << 48);
        }
    }
}
