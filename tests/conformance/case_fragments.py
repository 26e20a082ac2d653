"""Fragments in and out of order, fragmentation by the translator, and UDP without a checksum."""

from gateway import *


def cut4(packet, size, ident=0x4321):
    """IPv4 fragments with `size` bytes of payload each."""
    packet.id, packet.flags = ident, 0
    raw = bytes(packet)
    payload = raw[20:]
    head = IP(raw[:20])
    head.remove_payload()
    del head.len, head.chksum
    out = []
    for at in range(0, len(payload), size):
        one = head.copy()
        one.frag, one.flags = at // 8, "MF" if at + size < len(payload) else 0
        out.append(one / Raw(payload[at : at + size]))
    return out


def cut6(packet, size, ident=0xABCD1234):
    """IPv6 fragments with `size` bytes of payload each."""
    raw = bytes(packet)
    payload, nh = raw[40:], raw[6]
    out = []
    for at in range(0, len(payload), size):
        head = IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim, tc=packet.tc)
        more = int(at + size < len(payload))
        out.append(head / IPv6ExtHdrFragment(nh=nh, offset=at // 8, m=more, id=ident) / Raw(payload[at : at + size]))
    return out


def join4(sent):
    """The datagram of IPv4 fragments, judged as a whole; and the fragments by offset."""
    parts = sorted((s.packet for s in sent), key=lambda p: p.frag)
    true("fragments to the outside", all(s.side == "outside" for s in sent) and parts)
    payload, at = b"", 0
    for i, p in enumerate(parts):
        same("offset, MF", (p.frag * 8, int(p.flags.MF)), (at, int(i + 1 < len(parts))))
        same("DF", int(p.flags.DF), 0)
        payload += p.raw_bytes[20:]
        at = len(payload)
    same("identifications", len({p.id for p in parts}), 1)
    return judge(bytes(IP(src=parts[0].src, dst=parts[0].dst, proto=parts[0].proto, id=parts[0].id) / Raw(payload))), parts


def join6(sent):
    """The datagram of IPv6 fragments, judged as a whole; and the fragments by offset."""
    true("fragments to the inside", sent and all(s.side == "inside" for s in sent))
    parts = sorted((s.packet for s in sent), key=lambda p: p[IPv6ExtHdrFragment].offset)
    payload, at = b"", 0
    for i, p in enumerate(parts):
        f = p[IPv6ExtHdrFragment]
        same("offset, M", (f.offset * 8, f.m), (at, int(i + 1 < len(parts))))
        same("reserved bits", (f.res1, f.res2), (0, 0))
        payload += p.raw_bytes[48:]
        at = len(payload)
    same("identifications", len({p[IPv6ExtHdrFragment].id for p in parts}), 1)
    first = parts[0]
    return judge(bytes(IPv6(src=first.src, dst=first.dst, nh=first[IPv6ExtHdrFragment].nh) / Raw(payload))), parts


DATA = bytes((i * 11 + i // 256) & 255 for i in range(1000))
ORDERS = ((0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0), (2, 0, 1), (0, 2, 1))


@case()
def v4_fragments_in_any_order(g):
    """RFC 6146 3.4: "The NAT64 MUST handle fragments. In particular, NAT64 MUST handle fragments arriving out of order" """
    public = open_udp(g)
    for n, order in enumerate(ORDERS):
        parts = cut4(udp4(public, DATA), 400, 0x1000 + n)
        sent = [s for i in order for s in g.outside(parts[i])]
        whole, fragments = join6(sent)
        same("data", bytes(whole[UDP].payload), DATA)
        same("port", whole[UDP].dport, 4000)
        same("identification", fragments[0][IPv6ExtHdrFragment].id, 0x1000 + n)


@case()
def v6_fragments_in_any_order(g):
    """RFC 6146 3.4: "The NAT64 MUST handle fragments. In particular, NAT64 MUST handle fragments arriving out of order" """
    for n, order in enumerate(ORDERS):
        parts = cut6(udp6(DATA), 400, 0xABCD0000 + 0x1100 + n)
        sent = [s for i in order for s in g.inside(parts[i])]
        whole, fragments = join4(sent)
        same("data", bytes(whole[UDP].payload), DATA)
        same("identification", fragments[0].id, 0x1100 + n)


@case()
def v4_fragment_fields(g):
    """RFC 7915 4.1: "The low-order 16 bits copied from the Identification field in the IPv4 header. The high-order 16 bits set to zero."; "M flag: More Fragments bit copied from the IPv4 header."; "Total length value from the IPv4 header, plus 8 for the Fragment Header, minus the size of the IPv4 header and IPv4 options, if present." """
    public = open_udp(g)
    parts = cut4(udp4(public, DATA, ttl=9, tos=0x2E), 400, 0xFEDC)
    for i, part in enumerate(parts):
        p = g.back(part)
        f = p[IPv6ExtHdrFragment]
        same("fragment header", (p.nh, f.nh, f.offset, f.m, f.id), (44, 17, i * 50, int(i < 2), 0xFEDC))
        same("hop limit, class, length", (p.hlim, p.tc, p.plen), (8, 0x2E, len(bytes(part)) - 20 + 8))


@case()
def v6_fragment_fields(g):
    """RFC 7915 5.1.1: "Copied from the low-order 16 bits in the Identification field in the Fragment Header."; "The IPv4 Don't Fragment (DF) flag is cleared (set to zero)" """
    for i, part in enumerate(cut6(udp6(DATA, hlim=9, tc=0x2E), 400)):
        p = g.out(part)
        same("fragment", (p.id, p.frag, int(p.flags.MF), int(p.flags.DF), p.proto), (0x1234, i * 50, int(i < 2), 0, 17))
        same("TTL, TOS, length", (p.ttl, p.tos, p.len), (8, 0x2E, len(bytes(part)) - 48 + 20))


@case()
def tcp_fragments_both_ways(g):
    """RFC 6146 3.4: "For incoming packets carrying TCP or UDP fragments with a non-zero checksum" """
    public = open_tcp(g)
    whole, _ = join4([s for p in cut6(tcp6("A", DATA), 512) for s in g.inside(p)])
    same("data", bytes(whole[TCP].payload), DATA)
    whole, _ = join6([s for p in cut4(tcp4(public, "A", DATA), 512) for s in g.outside(p)])
    same("data", bytes(whole[TCP].payload), DATA)


@case()
def ping_in_fragments(g):
    """RFC 6146 3.4: "The NAT64 MUST handle fragments." The checksum of ICMP needs the length of the whole message."""
    sent = [s for p in cut6(echo6(DATA), 400) for s in g.inside(p)]
    whole, _ = join4(sent)
    same("data", bytes(whole[ICMP].payload), DATA)
    reply = IP(src=SERVER, dst=whole.src) / ICMP(type=0, id=whole[ICMP].id, seq=1) / Raw(DATA)
    sent = [s for p in cut4(reply, 400) for s in g.outside(p)]
    # Put together for its checksum, it may go on whole.
    whole = sent[0].packet if len(sent) == 1 and sent[0].packet.nh == 58 else join6(sent)[0]
    same("reply", (whole[ICMPv6EchoReply].id, whole[ICMPv6EchoReply].data), (77, DATA))


@case()
def last_fragment_has_no_more_flag(g):
    """RFC 7915 4.1: "M flag: More Fragments bit copied from the IPv4 header." """
    public = open_udp(g)
    parts = cut4(udp4(public, bytes(24)), 16, 7)
    same("M of the first", g.back(parts[0])[IPv6ExtHdrFragment].m, 1)
    same("M of the last", g.back(parts[1])[IPv6ExtHdrFragment].m, 0)


@case()
def atomic_fragment_from_v6(g):
    """RFC 7915 5.1.1: "The IPv4 More Fragments (MF) flag is copied from the M flag in the IPv6 Fragment Header." A packet with a Fragment header that is whole."""
    p = g.out(cut6(udp6(b"whole"), 400, 0x77770042)[0])
    same("fields", (p.id, p.frag, int(p.flags.MF), int(p.flags.DF)), (0x42, 0, 0, 0))
    same("data", bytes(p[UDP].payload), b"whole")


@case()
def fragments_wait_two_seconds(g):
    """RFC 6146 3.4: "the NAT64 MUST allow the fragments to arrive over a time interval. The time interval SHOULD be configurable and the default value MUST be of at least FRAGMENT_MIN." """
    public = open_udp(g)
    parts = cut4(udp4(public, DATA), 400, 99)
    sent = g.outside(parts[2]) + g.outside(parts[1])
    sent += g.wait(1.9)
    sent += g.outside(parts[0])
    whole, _ = join6(sent)
    same("data", bytes(whole[UDP].payload), DATA)


@case()
def a_fragment_alone_is_given_up(g):
    """RFC 6146 3.4: "The NAT64 MUST limit the amount of resources devoted to the storage of fragmented packets" """
    public = open_udp(g)
    parts = cut4(udp4(public, DATA), 400, 98)
    g.none(g.outside(parts[1]))
    g.wait(60)
    p = g.outside(parts[0])
    true("the old fragment does not come out", len(p) <= 1)
    g.counts(1, 1)


@case()
def many_fragments_alone_do_no_harm(g):
    """RFC 6146 3.4: "MUST limit the amount of resources devoted to the storage of fragmented packets in order to protect from DoS attacks." """
    public = open_udp(g)
    for n in range(600):
        g.none(g.outside(cut4(udp4(public, DATA, src=f"198.19.{n % 200}.{n // 200 + 1}"), 400, n)[1]))
    same("data", bytes(g.back(udp4(public, b"still here"))[UDP].payload), b"still here")
    g.wait(10)
    whole, _ = join6([s for i in (1, 0, 2) for s in g.outside(cut4(udp4(public, DATA), 400, 5)[i])])
    same("data", bytes(whole[UDP].payload), DATA)


@case()
def same_identification_of_two_servers(g):
    """RFC 791 3.2: fragments belong together by source, destination, protocol and identification. RFC 6146 3.4: "by storing information that allows it to compute the 5-tuple for fragments other than the first." """
    one = open_udp(g)
    two = open_udp(g, dst=embed(SERVER2), sport=5000)
    a, b = cut4(udp4(one, DATA), 512, 1), cut4(udp4(two, DATA[::-1], src=SERVER2), 512, 1)
    sent = [s for p in (a[1], b[1], b[0], a[0]) for s in g.outside(p)]
    first = [s for s in sent if s.packet.src == SERVER6]
    second = [s for s in sent if s.packet.src == embed(SERVER2)]
    same("one", bytes(join6(first)[0][UDP].payload), DATA)
    same("two", bytes(join6(second)[0][UDP].payload), DATA[::-1])
    same("port of two", join6(second)[0][UDP].dport, 5000)


@case()
def a_long_packet_without_df_is_fragmented(g):
    """RFC 7915 4.1: "the packet SHOULD be fragmented so that the resulting IPv6 packet (with Fragment Header added to each fragment) will be less than or equal to lowest- ipv6-mtu" """
    public = open_udp(g)
    for size in (1233, 1300, 1400, 1472):
        data = (DATA * 2)[:size]
        sent = g.outside(udp4(public, data, id=0x55))
        whole, parts = join6(sent)
        true("several fragments", len(parts) > 1)
        true("each fits 1280 bytes", all(len(s.raw) <= 1280 for s in sent))
        same("identification", parts[0][IPv6ExtHdrFragment].id, 0x55)
        same("data", bytes(whole[UDP].payload), data)


@case(configuration(options="ipv6-mtu 1400;"))
def lowest_ipv6_mtu_is_configurable(g):
    """RFC 7915 4.1: "The translator MUST provide a configuration function for the network administrator to adjust the threshold of the minimum IPv6 MTU to a value greater than 1280 bytes" """
    public = open_udp(g)
    same("whole", g.back(udp4(public, bytes(1400 - 48))).nh, 17)
    sent = g.outside(udp4(public, bytes(1400 - 47)))
    _, parts = join6(sent)
    true("several fragments of at most 1400", len(parts) > 1 and all(len(s.raw) <= 1400 for s in sent))


@case()
def a_long_v4_fragment_is_fragmented_again(g):
    """RFC 7915 4.1: "The resulting fragments are then translated independently using the logic described below." """
    public = open_udp(g)
    data = (DATA * 3)[:2600]
    sent = [s for p in cut4(udp4(public, data), 1480, 0x66) for s in g.outside(p)]
    whole, parts = join6(sent)
    true("each fits 1280 bytes", all(len(s.raw) <= 1280 for s in sent))
    same("data", bytes(whole[UDP].payload), data)


@case()
def udp_without_checksum(g):
    """RFC 6146 3.4: "if the NAT64 has enough resources, the NAT64 MUST reassemble the packets and MUST calculate the checksum." """
    public = open_udp(g)
    for size in (0, 1, 2, 7, 100, 1000):
        packet = udp4(public, DATA[:size])
        packet[UDP].chksum = 0
        p = g.back(packet)
        same("data", bytes(p[UDP].payload), DATA[:size])
        true("checksum", p[UDP].chksum != 0)


@case()
def udp_without_checksum_in_fragments(g):
    """RFC 6146 3.4: "For incoming IPv4 packets carrying UDP packets with a zero checksum, if the NAT64 has enough resources, the NAT64 MUST reassemble the packets and MUST calculate the checksum." """
    public = open_udp(g)
    for n, order in enumerate(ORDERS):
        packet = udp4(public, DATA)
        packet[UDP].chksum = 0
        parts = cut4(packet, 400, 0x2000 + n)
        sent = [s for i in order for s in g.outside(parts[i])]
        if len(sent) == 1:
            whole = g.one(sent, "inside")
            if whole.nh == 44:
                whole, _ = join6(sent)
        else:
            whole, _ = join6(sent)
        same("data", bytes(whole[UDP].payload), DATA)


@case()
def overlapping_fragments_do_no_harm(g):
    """RFC 6146 3.4: "there are a number of well-known attacks against IP fragmentation; see [RFC1858] and [RFC3128]." A tiny first fragment may not open or change anything."""
    tiny = IPv6(src=CLIENT, dst=SERVER6) / IPv6ExtHdrFragment(nh=6, offset=0, m=1, id=1) / Raw(bytes(tcp6("S"))[40:48])
    sent = g.inside(tiny)
    true("no first fragment without its TCP header goes outside", all(s.side == "inside" for s in sent))
    over = IPv6(src=CLIENT, dst=SERVER6) / IPv6ExtHdrFragment(nh=6, offset=1, m=0, id=1) / Raw(bytes(16))
    true("nor one that overlaps it", all(s.side == "inside" for s in g.inside(over)))


@case()
def fragment_with_authentication_header(g):
    """RFC 7915 5.1.1: "If the Next Header field of the Fragment Header is an extension header (except ESP, but including the Authentication Header (AH)), then the packet SHOULD be dropped and logged." """
    for nh in (0, 43, 51, 60):
        packet = IPv6(src=CLIENT, dst=SERVER6) / IPv6ExtHdrFragment(nh=nh, offset=0, m=1, id=1) / Raw(bytes(64))
        true("nothing goes outside", all(s.side == "inside" for s in g.inside(packet)))
