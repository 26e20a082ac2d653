//! Parse: the captured header to a packet header vector, and the first reason that keeps the packet off the fast path.
//!
//! | stage | what it does |
//! |---|---|
//! | 1 | compares the ethertypes at the three places they can be |
//! | 2 | skips the VLAN tags; pairs of words of the IPv4 checksum |
//! | 3 | fields of the IP header, its bounds, where the packet ends |
//! | 4 | protocol, transport header, one bit per reason |
//! | 5 | the first reason, in the order of `nat64_layout::reason` |
//!
//! Transport bits are made from whatever follows the IP header; a reason that stands earlier in the order hides them when
//! that is no transport header. The reply bit and the lengths likewise mean something only without an earlier reason.

use crate::prelude::*;
use nat64_layout::{Protocol, Reason, ETHERTYPE_IPV4, ETHERTYPE_IPV6, ETHERTYPE_QINQ, ETHERTYPE_VLAN};

use crate::ingress::with_constants;
use crate::prim::{Quiet, Reg};
use crate::types::{Phv, FATE_REASON, HEADER_BITS};
use crate::wide::{bit_cast_wide, bits_narrow, Wide};
use crate::FastBlock;

/// Clocks from `valid` to `out_valid`.
pub const LATENCY: usize = 5;

/// After stage 1: what stands at bytes 12, 16 and 20.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
struct Types {
    valid: Bit,
    port: Bit,
    tag0: Bit,
    tag1: Bit,
    four: Bits<3>,
    six: Bits<3>,
}

/// After stage 2, beside the bytes from the IP header on.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
struct Frame {
    valid: Bit,
    port: Bit,
    tags: Bits<2>,
    vid0: Bits<12>,
    vid1: Bits<12>,
    four: Bit,
    six: Bit,
    /// Bytes before what the IP length counts.
    before: Bits<6>,
    pair0: Bits<17>,
    pair1: Bits<17>,
    pair2: Bits<17>,
    pair3: Bits<17>,
    pair4: Bits<17>,
}

/// After stage 3.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
struct Ip {
    valid: Bit,
    port: Bit,
    tags: Bits<2>,
    vid0: Bits<12>,
    vid1: Bits<12>,
    four: Bit,
    six: Bit,
    tos: Bits<8>,
    df: Bit,
    hop: Bits<8>,
    proto: Bits<8>,
    l4_bytes: Bits<16>,
    need: Bits<16>,
    bad: Bit,
    options: Bit,
    fragment: Bit,
    sum: Bits<19>,
    pair4: Bits<17>,
}

/// After stage 4: a bit per reason.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
struct Verdicts {
    not_ip: Bit,
    bad_ip: Bit,
    bad_checksum: Bit,
    options: Bit,
    fragment: Bit,
    extension: Bit,
    neighbour: Bit,
    unsupported: Bit,
    bad_transport: Bit,
    hop_limit: Bit,
    not_echo: Bit,
    udp_length: Bit,
    udp_zero: Bit,
    tcp_state: Bit,
}

/// Header to [`Phv`]; one per clock.
#[derive(FastBlock)]
pub struct Parse {
    /// Clock.
    pub clock: Signal<In, Clock>,
    /// There is a header.
    pub valid: Signal<In, Bit>,
    /// Port of the frame.
    pub port: Signal<In, Bit>,
    /// First 88 bytes of the frame, byte 0 in the top bits.
    pub header: Signal<In, Wide<HEADER_BITS>>,
    /// There is a result.
    pub out_valid: Signal<Out, Bit>,
    /// The result; fields from `unit` on are zero.
    pub out_phv: Signal<Out, Phv>,
    type0: Signal<Local, Bits<16>>,
    type1: Signal<Local, Bits<16>>,
    type2: Signal<Local, Bits<16>>,
    header1: Reg<Wide<HEADER_BITS>>,
    types1: Reg<Types>,
    four: Signal<Local, Bits<3>>,
    six: Signal<Local, Bits<3>>,
    is_four: Signal<Local, Bit>,
    is_six: Signal<Local, Bit>,
    aligned: Signal<Local, Wide<480>>,
    packet2: Reg<Wide<480>>,
    frame2: Reg<Frame>,
    version: Signal<Local, Bits<4>>,
    words: Signal<Local, Bits<4>>,
    ip_header: Signal<Local, Bits<16>>,
    total: Signal<Local, Bits<16>>,
    reach: Signal<Local, Bits<17>>,
    source3: Reg<Wide<128>>,
    destination3: Reg<Wide<128>>,
    l43: Reg<Wide<160>>,
    ip3: Reg<Ip>,
    sum: Signal<Local, Bits<20>>,
    sum_low: Signal<Local, Bits<4>>,
    sum_mid: Signal<Local, Bits<12>>,
    sum_high: Signal<Local, Bits<4>>,
    tcp: Signal<Local, Bit>,
    udp: Signal<Local, Bit>,
    icmp: Signal<Local, Bit>,
    icmp_type: Signal<Local, Bits<8>>,
    icmp_code: Signal<Local, Bits<8>>,
    udp_bytes: Signal<Local, Bits<16>>,
    udp_checksum: Signal<Local, Bits<16>>,
    offset: Signal<Local, Bits<4>>,
    tcp_header: Signal<Local, Bits<16>>,
    tcp_flags: Signal<Local, Bits<3>>,
    proto: Signal<Local, Bits<8>>,
    l4_bytes: Signal<Local, Bits<16>>,
    hop: Signal<Local, Bits<8>>,
    valid4: Reg<Bit>,
    phv4: Reg<Phv>,
    verdicts4: Reg<Verdicts>,
    early: Signal<Local, Bits<8>>,
    late: Signal<Local, Bits<8>>,
    reason: Signal<Local, Bits<8>>,
    valid5: Reg<Bit>,
    phv5: Reg<Phv>,
    ethertype_ipv4: Constant<Bits<16>>,
    ethertype_ipv6: Constant<Bits<16>>,
    ethertype_vlan: Constant<Bits<16>>,
    ethertype_qinq: Constant<Bits<16>>,
    protocol_tcp: Constant<Bits<2>>,
    protocol_udp: Constant<Bits<2>>,
    protocol_icmp: Constant<Bits<2>>,
    fate_reason: Constant<Bits<2>>,
    not_ip: Constant<Bits<8>>,
    bad_header: Constant<Bits<8>>,
    bad_checksum: Constant<Bits<8>>,
    ipv4_options: Constant<Bits<8>>,
    ipv4_fragment: Constant<Bits<8>>,
    ipv6_extension: Constant<Bits<8>>,
    neighbour: Constant<Bits<8>>,
    unsupported: Constant<Bits<8>>,
    hop_limit: Constant<Bits<8>>,
    not_echo: Constant<Bits<8>>,
    udp_length: Constant<Bits<8>>,
    udp_zero: Constant<Bits<8>>,
    tcp_state: Constant<Bits<8>>,
    _quiet: Quiet,
}

impl Default for Parse {
    fn default() -> Self {
        with_constants!(
            clock valid port header out_valid out_phv type0 type1 type2 header1 types1 four six is_four is_six aligned
            packet2 frame2 version words ip_header total reach source3 destination3 l43 ip3 sum sum_low sum_mid sum_high
            tcp udp icmp icmp_type icmp_code udp_bytes udp_checksum offset tcp_header tcp_flags proto l4_bytes hop valid4
            phv4 verdicts4 early late reason valid5 phv5 _quiet;
            ethertype_ipv4 = u64::from(ETHERTYPE_IPV4),
            ethertype_ipv6 = u64::from(ETHERTYPE_IPV6),
            ethertype_vlan = u64::from(ETHERTYPE_VLAN),
            ethertype_qinq = u64::from(ETHERTYPE_QINQ),
            protocol_tcp = Protocol::Tcp as u64,
            protocol_udp = Protocol::Udp as u64,
            protocol_icmp = Protocol::Icmp as u64,
            fate_reason = FATE_REASON,
            not_ip = Reason::NotIp as u64,
            bad_header = Reason::BadHeader as u64,
            bad_checksum = Reason::BadIpv4Checksum as u64,
            ipv4_options = Reason::Ipv4Options as u64,
            ipv4_fragment = Reason::Ipv4Fragment as u64,
            ipv6_extension = Reason::Ipv6Extension as u64,
            neighbour = Reason::Neighbour as u64,
            unsupported = Reason::UnsupportedProtocol as u64,
            hop_limit = Reason::HopLimit as u64,
            not_echo = Reason::IcmpNotEcho as u64,
            udp_length = Reason::UdpLength as u64,
            udp_zero = Reason::UdpZeroChecksum as u64,
            tcp_state = Reason::TcpState as u64,
        )
    }
}

impl Logic for Parse {
    #[hdl_gen]
    fn update(&mut self) {
        dff_setup!(
            self,
            clock,
            header1,
            types1,
            packet2,
            frame2,
            source3,
            destination3,
            l43,
            ip3
        );
        dff_setup!(self, clock, valid4, phv4, verdicts4, valid5, phv5);
        // stage 1: ethertypes at bytes 12, 16 and 20. Byte i of the header ends at bit 696 - 8 i.
        self.header1.d.next = self.header.val();
        self.type0.next = bits_narrow(self.header.val().get_bits::<16>(592));
        self.type1.next = bits_narrow(self.header.val().get_bits::<16>(560));
        self.type2.next = bits_narrow(self.header.val().get_bits::<16>(528));
        self.four.next = 0.into();
        self.six.next = 0.into();
        if self.type0.val() == self.ethertype_ipv4.val() {
            self.four.next = self.four.val() | 1;
        }
        if self.type1.val() == self.ethertype_ipv4.val() {
            self.four.next = self.four.val() | 2;
        }
        if self.type2.val() == self.ethertype_ipv4.val() {
            self.four.next = self.four.val() | 4;
        }
        if self.type0.val() == self.ethertype_ipv6.val() {
            self.six.next = self.six.val() | 1;
        }
        if self.type1.val() == self.ethertype_ipv6.val() {
            self.six.next = self.six.val() | 2;
        }
        if self.type2.val() == self.ethertype_ipv6.val() {
            self.six.next = self.six.val() | 4;
        }
        self.types1.d.next.valid = self.valid.val();
        self.types1.d.next.port = self.port.val();
        self.types1.d.next.tag0 =
            (self.type0.val() == self.ethertype_vlan.val()) | (self.type0.val() == self.ethertype_qinq.val());
        self.types1.d.next.tag1 = self.type1.val() == self.ethertype_vlan.val();
        self.types1.d.next.four = self.four.val();
        self.types1.d.next.six = self.six.val();
        // stage 2: skip the tags
        self.four.next = self.types1.q.val().four;
        self.six.next = self.types1.q.val().six;
        self.aligned.next = self.header1.q.val().get_bits::<480>(112);
        self.is_four.next = self.four.val().get_bit(0);
        self.is_six.next = self.six.val().get_bit(0);
        self.frame2.d.next.valid = self.types1.q.val().valid;
        self.frame2.d.next.port = self.types1.q.val().port;
        self.frame2.d.next.tags = 0.into();
        self.frame2.d.next.vid0 = 0.into();
        self.frame2.d.next.vid1 = 0.into();
        self.frame2.d.next.before = 14.into();
        if self.is_six.val() {
            self.frame2.d.next.before = 54.into();
        }
        if self.types1.q.val().tag0 {
            self.frame2.d.next.vid0 = bits_narrow(self.header1.q.val().get_bits::<12>(576));
            if self.types1.q.val().tag1 {
                self.aligned.next = self.header1.q.val().get_bits::<480>(48);
                self.is_four.next = self.four.val().get_bit(2);
                self.is_six.next = self.six.val().get_bit(2);
                self.frame2.d.next.tags = 2.into();
                self.frame2.d.next.vid1 = bits_narrow(self.header1.q.val().get_bits::<12>(544));
                self.frame2.d.next.before = 22.into();
                if self.is_six.val() {
                    self.frame2.d.next.before = 62.into();
                }
            } else {
                self.aligned.next = self.header1.q.val().get_bits::<480>(80);
                self.is_four.next = self.four.val().get_bit(1);
                self.is_six.next = self.six.val().get_bit(1);
                self.frame2.d.next.tags = 1.into();
                self.frame2.d.next.before = 18.into();
                if self.is_six.val() {
                    self.frame2.d.next.before = 58.into();
                }
            }
        }
        self.frame2.d.next.four = self.is_four.val();
        self.frame2.d.next.six = self.is_six.val();
        self.packet2.d.next = self.aligned.val();
        // byte i of the packet ends at bit 472 - 8 i
        self.frame2.d.next.pair0 = bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(464)))
            + bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(448)));
        self.frame2.d.next.pair1 = bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(432)))
            + bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(416)));
        self.frame2.d.next.pair2 = bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(400)))
            + bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(384)));
        self.frame2.d.next.pair3 = bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(368)))
            + bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(352)));
        self.frame2.d.next.pair4 = bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(336)))
            + bit_cast::<17, 16>(bits_narrow(self.aligned.val().get_bits::<16>(320)));
        // stage 3: the IP header
        self.ip3.d.next.valid = self.frame2.q.val().valid;
        self.ip3.d.next.port = self.frame2.q.val().port;
        self.ip3.d.next.tags = self.frame2.q.val().tags;
        self.ip3.d.next.vid0 = self.frame2.q.val().vid0;
        self.ip3.d.next.vid1 = self.frame2.q.val().vid1;
        self.ip3.d.next.four = self.frame2.q.val().four;
        self.ip3.d.next.six = self.frame2.q.val().six;
        self.version.next = bits_narrow(self.packet2.q.val().get_bits::<4>(476));
        self.words.next = bits_narrow(self.packet2.q.val().get_bits::<4>(472));
        self.ip_header.next = bit_cast::<16, 4>(self.words.val()) << 2;
        self.total.next = bits_narrow(self.packet2.q.val().get_bits::<16>(448));
        self.ip3.d.next.options = self.words.val() != 5;
        self.ip3.d.next.fragment = self.packet2.q.val().get_bits::<14>(416).any();
        self.ip3.d.next.df = false;
        if self.frame2.q.val().six {
            self.total.next = bits_narrow(self.packet2.q.val().get_bits::<16>(432));
            self.ip3.d.next.tos = bits_narrow(self.packet2.q.val().get_bits::<8>(468));
            self.ip3.d.next.hop = bits_narrow(self.packet2.q.val().get_bits::<8>(416));
            self.ip3.d.next.proto = bits_narrow(self.packet2.q.val().get_bits::<8>(424));
            self.ip3.d.next.l4_bytes = self.total.val();
            self.ip3.d.next.bad = self.version.val() != 6;
            self.source3.d.next = self.packet2.q.val().get_bits::<128>(288);
            self.destination3.d.next = self.packet2.q.val().get_bits::<128>(160);
            self.l43.d.next = self.packet2.q.val().get_bits::<160>(0);
        } else {
            self.ip3.d.next.df = self.packet2.q.val().get_bit(430);
            self.ip3.d.next.tos = bits_narrow(self.packet2.q.val().get_bits::<8>(464));
            self.ip3.d.next.hop = bits_narrow(self.packet2.q.val().get_bits::<8>(408));
            self.ip3.d.next.proto = bits_narrow(self.packet2.q.val().get_bits::<8>(400));
            self.ip3.d.next.l4_bytes = self.total.val() - 20;
            self.ip3.d.next.bad =
                (self.version.val() != 4) | (self.words.val() < 5) | (self.total.val() < self.ip_header.val());
            self.source3.d.next = bit_cast_wide::<128, 32>(self.packet2.q.val().get_bits::<32>(352));
            self.destination3.d.next = bit_cast_wide::<128, 32>(self.packet2.q.val().get_bits::<32>(320));
            self.l43.d.next = self.packet2.q.val().get_bits::<160>(160);
        }
        // no frame is that long: an end past 65,535 need not be told exactly
        self.reach.next = bit_cast::<17, 16>(self.total.val()) + bit_cast::<17, 6>(self.frame2.q.val().before);
        self.ip3.d.next.need = bit_cast::<16, 17>(self.reach.val());
        if self.reach.val().get_bit(16) {
            self.ip3.d.next.need = 0xffff.into();
        }
        self.ip3.d.next.sum = bit_cast::<19, 17>(self.frame2.q.val().pair0)
            + bit_cast::<19, 17>(self.frame2.q.val().pair1)
            + bit_cast::<19, 17>(self.frame2.q.val().pair2)
            + bit_cast::<19, 17>(self.frame2.q.val().pair3);
        self.ip3.d.next.pair4 = self.frame2.q.val().pair4;
        // stage 4: the ten words add up to 0xffff when their carries are added in again: high + low = 0xffff
        self.sum.next = bit_cast::<20, 19>(self.ip3.q.val().sum) + bit_cast::<20, 17>(self.ip3.q.val().pair4);
        self.sum_high.next = self.sum.val().get_bits::<4>(16);
        self.sum_mid.next = self.sum.val().get_bits::<12>(4);
        self.sum_low.next = self.sum.val().get_bits::<4>(0) ^ self.sum_high.val();
        self.proto.next = self.ip3.q.val().proto;
        self.hop.next = self.ip3.q.val().hop;
        self.l4_bytes.next = self.ip3.q.val().l4_bytes;
        // byte i of the transport header ends at bit 152 - 8 i
        self.icmp_type.next = bits_narrow(self.l43.q.val().get_bits::<8>(152));
        self.icmp_code.next = bits_narrow(self.l43.q.val().get_bits::<8>(144));
        self.udp_bytes.next = bits_narrow(self.l43.q.val().get_bits::<16>(112));
        self.udp_checksum.next = bits_narrow(self.l43.q.val().get_bits::<16>(96));
        self.offset.next = bits_narrow(self.l43.q.val().get_bits::<4>(60));
        self.tcp_header.next = bit_cast::<16, 4>(self.offset.val()) << 2;
        self.tcp_flags.next = bits_narrow(self.l43.q.val().get_bits::<3>(48));
        self.tcp.next = self.proto.val() == 6;
        self.udp.next = self.proto.val() == 17;
        self.icmp.next = self.proto.val() == 1;
        if self.ip3.q.val().six {
            self.icmp.next = self.proto.val() == 58;
        }
        self.verdicts4.d.next.not_ip = !self.ip3.q.val().four & !self.ip3.q.val().six;
        self.verdicts4.d.next.bad_ip = self.ip3.q.val().bad;
        self.verdicts4.d.next.bad_checksum =
            self.ip3.q.val().four & !self.ip3.q.val().options & !(self.sum_mid.val().all() & self.sum_low.val().all());
        self.verdicts4.d.next.options = self.ip3.q.val().four & self.ip3.q.val().options;
        self.verdicts4.d.next.fragment = self.ip3.q.val().four & self.ip3.q.val().fragment;
        // Hop-by-Hop, Routing, Fragment, ESP, AH, Destination Options, Mobility, HIP, Shim6
        self.verdicts4.d.next.extension = self.ip3.q.val().six
            & ((self.proto.val() == 0)
                | (self.proto.val() == 43)
                | (self.proto.val() == 44)
                | (self.proto.val() == 50)
                | (self.proto.val() == 51)
                | (self.proto.val() == 60)
                | (self.proto.val() == 135)
                | (self.proto.val() == 139)
                | (self.proto.val() == 140));
        self.verdicts4.d.next.neighbour =
            self.ip3.q.val().six & self.icmp.val() & (self.icmp_type.val() >= 133) & (self.icmp_type.val() <= 137);
        self.verdicts4.d.next.unsupported = !self.tcp.val() & !self.udp.val() & !self.icmp.val();
        self.verdicts4.d.next.bad_transport = self.l4_bytes.val() < 8;
        if self.udp.val() {
            self.verdicts4.d.next.bad_transport = (self.l4_bytes.val() < 8) | (self.udp_bytes.val() < 8);
        }
        if self.tcp.val() {
            self.verdicts4.d.next.bad_transport =
                (self.l4_bytes.val() < 20) | (self.offset.val() < 5) | (self.tcp_header.val() > self.l4_bytes.val());
        }
        self.verdicts4.d.next.hop_limit = !self.hop.val().get_bits::<7>(1).any();
        self.verdicts4.d.next.udp_length = self.udp.val() & (self.udp_bytes.val() != self.l4_bytes.val());
        self.verdicts4.d.next.udp_zero = self.udp.val() & !self.udp_checksum.val().any();
        self.verdicts4.d.next.tcp_state = self.tcp.val() & self.tcp_flags.val().any();
        self.phv4.d.next.reply = self.icmp.val() & (self.icmp_type.val() == 0);
        self.verdicts4.d.next.not_echo = self.icmp.val()
            & (self.icmp_code.val().any() | ((self.icmp_type.val() != 8) & (self.icmp_type.val() != 0)));
        if self.ip3.q.val().six {
            self.phv4.d.next.reply = self.icmp.val() & (self.icmp_type.val() == 129);
            self.verdicts4.d.next.not_echo = self.icmp.val()
                & (self.icmp_code.val().any() | ((self.icmp_type.val() != 128) & (self.icmp_type.val() != 129)));
        }
        self.valid4.d.next = self.ip3.q.val().valid;
        self.phv4.d.next.port = self.ip3.q.val().port;
        self.phv4.d.next.tags = self.ip3.q.val().tags;
        self.phv4.d.next.vid0 = self.ip3.q.val().vid0;
        self.phv4.d.next.vid1 = self.ip3.q.val().vid1;
        self.phv4.d.next.six = self.ip3.q.val().six;
        self.phv4.d.next.protocol = 0.into();
        if self.tcp.val() {
            self.phv4.d.next.protocol = self.protocol_tcp.val();
        }
        if self.udp.val() {
            self.phv4.d.next.protocol = self.protocol_udp.val();
        }
        if self.icmp.val() {
            self.phv4.d.next.protocol = self.protocol_icmp.val();
        }
        self.phv4.d.next.tos = self.ip3.q.val().tos;
        self.phv4.d.next.df = self.ip3.q.val().df;
        self.phv4.d.next.hop = self.hop.val();
        self.phv4.d.next.l4_bytes = self.l4_bytes.val();
        self.phv4.d.next.need = self.ip3.q.val().need;
        self.phv4.d.next.source = self.source3.q.val();
        self.phv4.d.next.destination = self.destination3.q.val();
        self.phv4.d.next.l4 = self.l43.q.val();
        // stage 5: the first reason that applies is written last
        self.late.next = 0.into();
        if self.verdicts4.q.val().tcp_state {
            self.late.next = self.tcp_state.val();
        }
        if self.verdicts4.q.val().udp_zero {
            self.late.next = self.udp_zero.val();
        }
        if self.verdicts4.q.val().udp_length {
            self.late.next = self.udp_length.val();
        }
        if self.verdicts4.q.val().not_echo {
            self.late.next = self.not_echo.val();
        }
        if self.verdicts4.q.val().hop_limit {
            self.late.next = self.hop_limit.val();
        }
        if self.verdicts4.q.val().bad_transport {
            self.late.next = self.bad_header.val();
        }
        if self.verdicts4.q.val().unsupported {
            self.late.next = self.unsupported.val();
        }
        self.early.next = 0.into();
        if self.verdicts4.q.val().neighbour {
            self.early.next = self.neighbour.val();
        }
        if self.verdicts4.q.val().extension {
            self.early.next = self.ipv6_extension.val();
        }
        if self.verdicts4.q.val().fragment {
            self.early.next = self.ipv4_fragment.val();
        }
        if self.verdicts4.q.val().options {
            self.early.next = self.ipv4_options.val();
        }
        if self.verdicts4.q.val().bad_checksum {
            self.early.next = self.bad_checksum.val();
        }
        if self.verdicts4.q.val().bad_ip {
            self.early.next = self.bad_header.val();
        }
        if self.verdicts4.q.val().not_ip {
            self.early.next = self.not_ip.val();
        }
        self.reason.next = self.late.val();
        if self.early.val().any() {
            self.reason.next = self.early.val();
        }
        self.valid5.d.next = self.valid4.q.val();
        self.phv5.d.next = self.phv4.q.val();
        self.phv5.d.next.reason = self.reason.val();
        if self.reason.val().any() {
            self.phv5.d.next.fate = self.fate_reason.val();
        }
        // the length is not to be trusted before the header is
        if self.verdicts4.q.val().not_ip | self.verdicts4.q.val().bad_ip | self.verdicts4.q.val().bad_checksum {
            self.phv5.d.next.need = 0.into();
        }
        self.out_valid.next = self.valid5.q.val();
        self.out_phv.next = self.phv5.q.val();
    }
}

#[cfg(test)]
mod tests;
