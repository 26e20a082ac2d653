"""IPv4 options and IPv6 extension headers."""

from scapy.layers.inet import IPOption_LSRR, IPOption_NOP, IPOption_RR, IPOption_SSRR, IPOption_Timestamp
from scapy.layers.inet6 import PadN

from gateway import *

ADDRESSED = configuration(nic="port 0 { unit 0 { family { inet6 { address 2001:db8:aa::1/64; gateway 2001:db8:aa::2; } } } } port 1 { unit 0 { family { inet { address 198.18.0.1/24; gateway 198.18.0.2; } } } }")


@case()
def v4_options_are_ignored(g):
    """RFC 7915 4.1: "If any IPv4 options are present in the IPv4 packet, they MUST be ignored and the packet translated normally; there is no attempt to translate the options." """
    public = open_udp(g)
    for options in ([IPOption_NOP()] * 4, [IPOption_RR(routers=["0.0.0.0"] * 3)], [IPOption_Timestamp(length=12, pointer=5)], [IPOption_NOP()] * 40):
        packet = udp4(public, b"data", options=options)
        true("the packet has options", IP(bytes(packet)).ihl > 5)
        p = g.back(packet)
        same("payload", (p.nh, p.plen, bytes(p[UDP].payload)), (17, 12, b"data"))


@case(ADDRESSED)
def unexpired_source_route(g):
    """RFC 7915 4.1: "if an unexpired source route option is present, then the packet MUST instead be discarded, and an ICMPv4 "Destination Unreachable, Source Route Failed" (Type 3, Code 5) error message SHOULD be returned to the sender." """
    public = open_udp(g)
    for option in (IPOption_LSRR, IPOption_SSRR):
        p = g.one(g.outside(udp4(public, options=[option(routers=["1.2.3.4"], pointer=4)])), "outside")
        same("answer", (p.dst, p[ICMP].type, p[ICMP].code), (SERVER, 3, 5))


@case()
def expired_source_route(g):
    """RFC 7915 4.1: "they MUST be ignored and the packet translated normally" """
    public = open_udp(g)
    for option in (IPOption_LSRR, IPOption_SSRR):
        packet = udp4(public, b"data", options=[option(routers=["1.2.3.4"], pointer=8)])
        # scapy would take the destination of the checksum from the option.
        packet[UDP].chksum = IP(bytes(udp4(public, b"data")))[UDP].chksum
        p = g.back(packet)
        same("data", bytes(p[UDP].payload), b"data")


@case()
def options_in_the_quoted_packet(g):
    """RFC 7915 4.3: "The translation of the inner IP header can be done by invoking the function that translated the outer IP headers." """
    public = open_udp(g)
    quoted = IP(src=public[0], dst=SERVER, options=[IPOption_NOP()] * 4) / UDP(sport=public[1], dport=53) / Raw(b"request!")
    p = g.back(IP(src=ROUTER4, dst=public[0]) / ICMP(type=11, code=0) / Raw(bytes(quoted)))
    inner = IPv6(p.raw_bytes[48:])
    same("quote", (inner.nh, inner.plen, inner.src, inner[UDP].sport), (17, 16, CLIENT, 4000))


def extended(*headers, data=b"data", tail=None):
    packet = IPv6(src=CLIENT, dst=SERVER6)
    for header in headers:
        packet = packet / header
    datagram = UDP(bytes(udp6(data))[40:])
    return packet / datagram


@case()
def extension_headers_are_skipped(g):
    """RFC 7915 5.1: "those IPv6 extension headers MUST be ignored (i.e., there is no attempt to translate the extension headers) and the packet translated normally. However, the Total Length field and the Protocol field are adjusted to "skip" these extension headers." """
    pad = PadN(optdata=bytes(12))
    for headers in (
        [IPv6ExtHdrHopByHop()],
        [IPv6ExtHdrDestOpt()],
        [IPv6ExtHdrHopByHop(options=[pad]), IPv6ExtHdrDestOpt(options=[pad])],
        [IPv6ExtHdrRouting(segleft=0, addresses=["2001:db8::99"])],
        [IPv6ExtHdrHopByHop(), IPv6ExtHdrDestOpt(), IPv6ExtHdrRouting(segleft=0, addresses=[]), IPv6ExtHdrDestOpt()],
    ):
        p = g.out(extended(*headers))
        same("packet", (p.proto, p.len, bytes(p[UDP].payload), int(p.flags.DF)), (17, 32, b"data", 0))


@case()
def extension_headers_before_ping(g):
    """RFC 7915 5.1: "The IPv6 headers HOPOPT (0), IPv6-Route (43), and IPv6-Opts (60) are skipped over during processing as they have no meaning in IPv4." """
    packet = IPv6(src=CLIENT, dst=SERVER6) / IPv6ExtHdrDestOpt() / ICMPv6EchoRequest(id=3, data=b"ping")
    p = g.out(packet)
    same("packet", (p.proto, p[ICMP].type, bytes(p[ICMP].payload)), (1, 8, b"ping"))


@case(ADDRESSED)
def routing_header_with_segments_left(g):
    """RFC 7915 5.1: "the packet MUST NOT be translated, and an ICMPv6 "parameter problem/erroneous header field encountered" (Type 4, Code 0) error message, with the Pointer field indicating the first byte of the Segments Left field, SHOULD be returned to the sender." """
    for before, pointer in (([], 43), ([IPv6ExtHdrHopByHop()], 51)):
        packet = extended(*before, IPv6ExtHdrRouting(segleft=1, addresses=["2001:db8::99"]))
        p = g.one(g.inside(packet), "inside")
        q = p[ICMPv6ParamProblem]
        same("answer", (p.dst, q.code, q.ptr), (CLIENT, 0, pointer))


@case()
def extension_headers_before_a_fragment_header(g):
    """RFC 7915 5.1.1: "the Total Length MUST be set to Payload Length value from IPv6 header, minus the length of the extension headers up to the Fragmentation Header, minus 8 for the Fragment Header, plus the size of the IPv4 header." """
    datagram = bytes(udp6(bytes(100)))[40:]
    packet = IPv6(src=CLIENT, dst=SERVER6) / IPv6ExtHdrDestOpt() / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=8) / Raw(datagram[:64])
    p = g.out(packet)
    same("packet", (p.proto, p.len, p.id, int(p.flags.MF)), (17, 84, 8, 1))


@case()
def broken_chains_are_dropped(g):
    """RFC 7915 5.1: "For the first 'next header' that does not match one of the cases above"; a chain that ends nowhere has none."""
    raw = bytes(extended(IPv6ExtHdrDestOpt()))
    long = bytearray(raw)
    long[41] = 200
    for packet in (bytes(long), raw[:41], raw[:44], raw[:50]):
        head = bytearray(packet)
        head[4:6] = (len(packet) - 40).to_bytes(2, "big")
        true("nothing goes outside", all(s.side == "inside" for s in g.inside(Raw(bytes(head)))))
    g.counts(0, 0)


@case()
def df_counts_the_ipv4_packet_without_the_headers_skipped(g):
    """RFC 7915 5.1: "If the size of the translated IPv4 packet is less than or equal to 1260 bytes, it is set to zero; otherwise, it is set to one." """
    for size, df in ((1260, 0), (1261, 1)):
        p = g.out(extended(IPv6ExtHdrDestOpt(), data=bytes(size - 28)))
        same("length, DF", (p.len, int(p.flags.DF)), (size, df))
