"""Packets that are broken or answer badly, and the ICMP messages the translator makes itself."""

from case_icmp import error4, error6, message
from gateway import *

ADDRESSES = "port 0 { unit 0 { mtu %d; family { inet6 { address 2001:db8:aa::1/64; gateway 2001:db8:aa::2; } } } } port 1 { unit 0 { mtu %d; family { inet { address 198.18.0.1/24; gateway 198.18.0.2; } } } }"
ADDRESSED = configuration(nic=ADDRESSES % (1500, 1500))


def nothing_through(g, side, packet):
    """No packet goes to the other side."""
    true("nothing goes through", all(s.side == side for s in g.send(side, packet)))


@case()
def v4_lengths_that_lie(g):
    """RFC 7915 4.1: "Total length value from the IPv4 header, minus the size of the IPv4 header and IPv4 options, if present." A length beyond the packet, or within its header, has no such value."""
    public = open_udp(g)
    for length in (0, 19, 20, 27, 37, 2000):
        nothing_through(g, "outside", udp4(public, b"response", len=length))
    for ihl in (0, 4, 15):
        nothing_through(g, "outside", udp4(public, b"response", ihl=ihl))


@case()
def v6_lengths_that_lie(g):
    """RFC 7915 5.1: "Payload length value from the IPv6 header, plus the size of the IPv4 header." A payload beyond the packet or too short for its header has none."""
    for length in (0, 7, 16, 2000):
        nothing_through(g, "inside", udp6(b"request", plen=length))
    g.counts(0, 0)


@case()
def bytes_after_the_packet_are_cut_off(g):
    """RFC 7915 5.1: "Payload length value from the IPv6 header, plus the size of the IPv4 header." What follows is padding of the link."""
    p = g.out(Raw(bytes(udp6(b"abc")) + bytes(9)))
    same("length", (p.len, bytes(p[UDP].payload)), (31, b"abc"))
    p = g.back(Raw(bytes(udp4((p.src, p[UDP].sport), b"abc")) + bytes(9)))
    same("length", (p.plen, bytes(p[UDP].payload)), (11, b"abc"))


@case()
def udp_length_that_lies(g):
    """RFC 6146 3.4: the 5-tuple is computed "by extracting the appropriate fields from the received packet"; a UDP length beyond its packet makes none (RFC 768)."""
    public = open_udp(g)
    for length in (0, 7, 100):
        bad = udp4(public, b"response")
        bad[UDP].len = length
        nothing_through(g, "outside", bad)
        bad = udp6(b"request")
        bad[UDP].len = length
        nothing_through(g, "inside", bad)


@case()
def tcp_offset_that_lies(g):
    """RFC 6146 3.4: "by extracting the appropriate fields from the received packet"; a TCP header longer than its packet or shorter than 20 bytes is none."""
    for offset in (0, 4, 15):
        nothing_through(g, "inside", tcp6("S", dataofs=offset))
    g.counts(0, 0)


@case()
def destinations_that_are_no_host(g):
    """RFC 7915 5.1: "Destination Address: Mapped to an IPv4 address based on the algorithms presented in Section 6."; one of a group, of no host or of this host is never sent to (RFC 1812 5.3.7)."""
    for server in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "239.1.2.3", "255.255.255.255"):
        nothing_through(g, "inside", udp6(dst=embed(server)))
    g.counts(0, 0)


@case()
def embedded_packet_with_bad_checksum(g):
    """RFC 5508 REQ-3: "If the IP checksum of the embedded packet fails to validate, the NAT SHOULD silently drop the Error packet" """
    public = open_udp(g)
    quoted = bytearray(bytes(IP(src=public[0], dst=SERVER) / UDP(sport=public[1], dport=53) / Raw(b"request!")))
    quoted[10] ^= 0x40
    g.none(g.outside(error4(public, 3, 1, quoted=bytes(quoted))))


@case()
def error_about_somebody_elses_packet(g):
    """RFC 5508 REQ-4: "the NAT device does not have an active mapping for the embedded payload, the NAT SHOULD silently drop the ICMP Error packet." """
    public = open_udp(g)
    quoted = bytes(IP(src="203.0.113.99", dst=SERVER) / UDP(sport=public[1], dport=53) / Raw(b"request!"))
    g.none(g.outside(error4(public, 3, 1, quoted=quoted)))
    quoted = bytes(IP(src=public[0], dst=SERVER) / UDP(sport=public[1] + 7, dport=53) / Raw(b"request!"))
    g.none(g.outside(error4(public, 3, 1, quoted=quoted)))


@case()
def error_about_the_first_fragment(g):
    """RFC 7915 4.3: "The translation of the inner IP header can be done by invoking the function that translated the outer IP headers." A quoted fragment gets its Fragment header."""
    public = open_udp(g)
    quoted = bytes(IP(src=public[0], dst=SERVER, id=0x777, flags="MF") / UDP(sport=public[1], dport=53, len=2000, chksum=0x1234) / Raw(bytes(16)))
    type, code, _, quote = message(g.back(error4(public, 11, 1, quoted=quoted)))
    same("error", (type, code), (3, 1))
    inner = IPv6(quote)
    f = inner[IPv6ExtHdrFragment]
    same("quote", (inner.src, inner.dst, f.nh, f.m, f.offset, f.id), (CLIENT, SERVER6, 17, 1, 0, 0x777))
    same("port", int.from_bytes(quote[48:50], "big"), 4000)


@case()
def error_about_a_later_fragment(g):
    """RFC 6146 3.4: "If it is not possible to determine the incoming 5-tuple (perhaps because not enough of the embedded packet is reproduced inside the ICMP message), then the incoming IP packet MUST be silently discarded." """
    public = open_udp(g)
    quoted = bytes(IP(src=public[0], dst=SERVER, id=0x777, frag=50, proto=17) / Raw(bytes(24)))
    g.none(g.outside(error4(public, 11, 1, quoted=quoted)))


@case(ADDRESSED)
def no_error_about_an_error(g):
    """RFC 7915 4.4: "unless the discarded packet is itself an ICMPv4 error message." RFC 4443 2.4: "An ICMPv6 error message MUST NOT be originated as a result of receiving" """
    public = open_udp(g)
    late = error4(public, 3, 1)
    late.ttl = 1
    g.none(g.outside(late))
    late = error6(1, 0)
    late.hlim = 1
    g.none(g.inside(late))


@case(ADDRESSED)
def no_error_about_a_later_fragment_or_a_group(g):
    """RFC 1812 4.3.2.7: no ICMP error about a later fragment or a source that is no host. RFC 6146 3.4: "The NAT64 MUST handle fragments." """
    public = open_udp(g)
    g.none(g.outside(IP(src=SERVER, dst=public[0], ttl=1, frag=10, proto=17) / Raw(bytes(32))))
    g.none(g.outside(udp4(public, src="224.0.0.5", ttl=1)))


@case(ADDRESSED)
def size_of_the_errors_made(g):
    """RFC 4443 2.4: "the minimum IPv6 MTU" bounds ICMPv6 errors; RFC 1812 4.3.2.3 bounds ICMPv4 ones at 576 bytes."""
    public = open_udp(g)
    p = g.one(g.inside(udp6(bytes(1400), hlim=1)), "inside")
    true(f"{len(p.raw_bytes)} bytes", 1000 < len(p.raw_bytes) <= 1280)
    p = g.one(g.outside(udp4(public, bytes(1400), ttl=1)), "outside")
    true(f"{len(p.raw_bytes)} bytes", 28 + 20 + 8 <= len(p.raw_bytes) <= 576)


@case(configuration(nic=ADDRESSES % (1500, 1400)))
def packet_too_long_for_the_ipv4_link(g):
    """RFC 4443 3.2: "A Packet Too Big MUST be sent by a router in response to a packet that it cannot forward because the packet is larger than the MTU of the outgoing link." (IPv4 MTU plus 20)"""
    same("fits", g.out(udp6(bytes(1420 - 48))).len, 1400)
    p = g.one(g.inside(udp6(bytes(1421 - 48))), "inside")
    same("answer", (p.dst, *message(p)[:3]), (CLIENT, 2, 0, 1420))


@case(ADDRESSED)
def errors_come_from_our_own_addresses(g):
    """RFC 4443 2.2: "A node that originates an ICMPv6 message has to determine both the Source and Destination IPv6 Addresses"; RFC 6146 3.4: "SHOULD send an ICMPv4 Destination Unreachable error message" """
    public = open_udp(g)
    same("source inside", g.one(g.inside(udp6(hlim=1)), "inside").src, "2001:db8:aa::1")
    p = g.one(g.outside(udp4(public, ttl=1)), "outside")
    true(f"source {p.src} is ours", p.src == "198.18.0.1" or ipaddress.ip_address(p.src) in POOL)


@case()
def echo_with_wrong_checksum_does_not_become_right(g):
    """RFC 7915 5: "the checksum MUST be evaluated before translation and the ICMP and transport-layer headers MUST be updated." """
    bad = echo6(b"ping")
    bad[ICMPv6EchoRequest].cksum = 0x1234
    try:
        sent = g.inside(bad)
    except Wrong as e:
        true(str(e), "checksum of protocol 1" in str(e))
        return
    true("nothing goes out as if it were right", all(s.side == "inside" for s in sent))


@case()
def filtered_pings(g):
    """RFC 6146 3.5.3: "If such an entry does not exist, the packet is dropped." """
    p = g.out(echo6())
    nothing_through(g, "outside", IP(src=SERVER, dst=p.src) / ICMP(type=0, id=p[ICMP].id + 1, seq=1) / b"x")
    for type in (13, 15, 17):
        nothing_through(g, "outside", IP(src=SERVER, dst=p.src) / ICMP(type=type, id=p[ICMP].id, seq=1))


@case()
def igmp_is_dropped(g):
    """RFC 7915 4.2: "all the "normal" IGMP messages are single-hop messages and SHOULD be silently dropped by the translator." """
    public = open_udp(g)
    nothing_through(g, "outside", IP(src=SERVER, dst=public[0], proto=2) / Raw(bytes(8)))
    nothing_through(g, "outside", IP(src=SERVER, dst="224.0.0.1", proto=2) / Raw(bytes(8)))
