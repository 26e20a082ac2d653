"""Header fields, DSCP and ECN, hop limit, DF and Identification."""

from gateway import *


@case()
def v6_to_v4_fields(g):
    """RFC 7915 5.1: "Internet Header Length: 5 (no IPv4 options)"; "Fragment Offset: All zeros."; "The More Fragments flag is set to zero."; "Payload length value from the IPv6 header, plus the size of the IPv4 header." """
    p = g.out(udp6(b"abc", hlim=64))
    same("fields", (p.version, p.ihl, p.frag, int(p.flags.MF), p.proto, p.len), (4, 5, 0, 0, 17, 31))
    same("destination", (p.dst, p[UDP].dport), (SERVER, 53))
    same("data", bytes(p[UDP].payload), b"abc")


@case()
def v4_to_v6_fields(g):
    """RFC 7915 4.1: "Flow Label: 0 (all zero bits)"; "Total length value from the IPv4 header, minus the size of the IPv4 header and IPv4 options, if present." """
    public = open_udp(g)
    p = g.back(udp4(public, b"abc"))
    same("fields", (p.version, p.fl, p.nh, p.plen), (6, 0, 17, 11))
    same("addresses", (p.src, p.dst, p[UDP].sport, p[UDP].dport), (SERVER6, CLIENT, 53, 4000))
    same("data", bytes(p[UDP].payload), b"abc")


@case(configuration(nic="service-set s { tos-override 184; }"))
def tos_override_both_ways(g):
    """RFC 7915 5.1: "SHOULD provide the ability to ignore the IPv6 traffic class and always set the IPv4 TOS Octet to a specified value." """
    public = open_udp(g)
    for tc in (0, 3, 0xFF):
        same("TOS", g.out(udp6(tc=tc)).tos, 184)
        same("traffic class", g.back(udp4(public, tos=tc)).tc, 184)


@case(configuration(nic="service-set s { udp-zero-checksum drop; }"))
def udp_without_checksum_is_dropped_if_configured(g):
    """RFC 7915 4.5: "the translator SHOULD provide a configuration function to allow: 1. Dropping the packet". """
    public = open_udp(g)
    bare = udp4(public)
    bare[UDP].chksum = 0
    g.none(g.outside(bare))
    g.back(udp4(public))


@case()
def extension_header_behind_the_fragment_header(g):
    """RFC 7915 5.1.1: "If the Next Header field of the Fragment Header is an extension header (except ESP, but including the Authentication Header (AH)), then the packet SHOULD be dropped and logged." """
    for nh in (0, 43, 51, 60):
        g.none(g.inside(IPv6(src=CLIENT, dst=SERVER6) / IPv6ExtHdrFragment(nh=nh, id=9, m=0, offset=0) / Raw(bytes([17, 0, 1, 4, 0, 0, 0, 0])) / Raw(bytes(UDP(sport=4000, dport=53)))))
    g.counts(0, 0)


@case()
def mapped_sources_are_illegal(g):
    """RFC 7915 5.1: "If the translator gets an illegal source address (e.g., ::1, etc.), the translator SHOULD silently drop the packet." """
    for src in ("::ffff:192.0.2.1", "::1", "::", "ff02::1", "fe80::1"):
        g.none(g.inside(udp6(src=src)))
    g.counts(0, 0)


@case()
def flow_label_is_not_carried(g):
    """RFC 7915 5.1: "If there is no IPv6 Fragment Header, the IPv4 header fields are set as follows"; a flow label has no place in IPv4."""
    p = g.out(udp6(fl=0xABCDE))
    same("TOS, protocol", (p.tos, p.proto), (0, 17))


@case()
def traffic_class_copied_6_to_4(g):
    """RFC 7915 5.1: "By default, copied from the IPv6 Traffic Class (all 8 bits)." """
    for tc in (0x00, 0x01, 0x02, 0x03, 0xB8, 0xB9, 0x28, 0xFF):
        same("TOS", g.out(udp6(tc=tc)).tos, tc)


@case()
def tos_copied_4_to_6(g):
    """RFC 7915 4.1: "By default, copied from the IP Type Of Service (TOS) octet." """
    public = open_udp(g)
    for tos in (0x00, 0x01, 0x02, 0x03, 0xB8, 0xB9, 0x28, 0xFF):
        same("traffic class", g.back(udp4(public, tos=tos)).tc, tos)


@case()
def hop_limit_falls_by_one_6_to_4(g):
    """RFC 7915 5.1: "it needs to decrement either the IPv6 Hop Limit (before the translation) or the IPv4 TTL (after the translation)." """
    for hlim in (2, 64, 255):
        same("TTL", g.out(udp6(hlim=hlim)).ttl, hlim - 1)


@case()
def ttl_falls_by_one_4_to_6(g):
    """RFC 7915 4.1: "it needs to decrement either the IPv4 TTL (before the translation) or the IPv6 Hop Limit (after the translation)." """
    public = open_udp(g)
    for ttl in (2, 64, 255):
        same("hop limit", g.back(udp4(public, ttl=ttl)).hlim, ttl - 1)


@case(configuration(nic="port 0 { unit 0 { family { inet6 { address 2001:db8:aa::1/64; gateway 2001:db8:aa::2; } } } } port 1 { unit 0 { family { inet { address 198.18.0.1/24; gateway 198.18.0.2; } } } }"))
def hop_limit_zero_is_answered_inside(g):
    """RFC 7915 5.1: "MUST check for zero and send the ICMPv4 "TTL Exceeded" or ICMPv6 "Hop Limit Exceeded" error." """
    open_udp(g)
    for hlim in (0, 1):
        p = g.one(g.inside(udp6(hlim=hlim)), "inside")
        same("answer", (p.dst, p[ICMPv6TimeExceeded].code), (CLIENT, 0))
        same("quote", bytes(p.raw_bytes[48:88])[:8], bytes(udp6(hlim=hlim))[:8])


@case(configuration(nic="port 0 { unit 0 { family { inet6 { address 2001:db8:aa::1/64; gateway 2001:db8:aa::2; } } } } port 1 { unit 0 { family { inet { address 198.18.0.1/24; gateway 198.18.0.2; } } } }"))
def ttl_zero_is_answered_outside(g):
    """RFC 7915 4.1: "MUST check for zero and send the ICMPv4 "TTL Exceeded" or ICMPv6 "Hop Limit Exceeded" error." """
    public = open_udp(g)
    for ttl in (0, 1):
        p = g.one(g.outside(udp4(public, ttl=ttl)), "outside")
        same("answer", (p.dst, p[ICMP].type, p[ICMP].code), (SERVER, 11, 0))
        same("quote", p.raw_bytes[28:36], bytes(udp4(public, ttl=ttl))[:8])


@case()
def df_clear_up_to_1260(g):
    """RFC 7915 5.1: "If the size of the translated IPv4 packet is less than or equal to 1260 bytes, it is set to zero; otherwise, it is set to one." """
    for size in (28, 1000, 1259, 1260, 1261, 1400, 1480):
        p = g.out(udp6(b"x" * (size - 28)))
        same(f"length, DF at {size}", (p.len, int(p.flags.DF)), (size, int(size > 1260)))


@case()
def identification_differs_while_df_is_clear(g):
    """RFC 7915 5.1: "Identification: Set according to a Fragment Identification generator at the translator." """
    idents = [g.out(udp6()).id for _ in range(40)]
    same("different identifications", len(set(idents)), 40)


@case()
def df_4_to_6_has_no_fragment_header(g):
    """RFC 7915 4: "an IPv6 Fragment Header is only included if the IPv4 packet is already fragmented." """
    public = open_udp(g)
    for size in (10, 1232, 1300, 1452):
        p = g.back(udp4(public, b"x" * size, flags="DF", id=0x1234))
        same("next header", p.nh, 17)


@case()
def no_atomic_fragments(g):
    """RFC 7915 4: "When the IPv4 sender does not set the DF bit, the translator MUST NOT include the Fragment Header for the non-fragmented IPv6 packets." RFC 8021 3: "atomic fragments"."""
    public = open_udp(g)
    for size in (0, 1, 100, 1232):
        p = g.back(udp4(public, b"x" * size, id=0x1234))
        same("next header, payload", (p.nh, p.plen), (17, size + 8))


@case()
def tcp_ports_and_data_both_ways(g):
    """RFC 7915 4: "The data portion of the packet is left unchanged." """
    public = open_tcp(g)
    data = bytes(range(256)) * 3
    p = g.out(tcp6("PA", data, options=[("NOP", None), ("NOP", None), ("Timestamp", (1, 2))]))
    same("out", (p[TCP].dport, p[TCP].seq, str(p[TCP].flags), bytes(p[TCP].payload)), (80, 1000, "PA", data))
    same("options", p[TCP].options[-1], ("Timestamp", (1, 2)))
    p = g.back(tcp4(public, "PA", data))
    same("back", (p[TCP].sport, p[TCP].dport, p[TCP].seq, bytes(p[TCP].payload)), (80, 4000, 5000, data))


@case()
def tcp_data_of_odd_lengths(g):
    """RFC 7915 5.5: "the recalculation and updating of the transport-layer headers that contain pseudo-headers need to be performed." """
    public = open_tcp(g)
    for size in (1, 2, 3, 5, 7, 8, 9, 63, 64, 65, 1219, 1220):
        data = bytes((7 * i + size) & 255 for i in range(size))
        same("data", bytes(g.out(tcp6("A", data))[TCP].payload), data)
        same("data", bytes(g.back(tcp4(public, "A", data))[TCP].payload), data)


@case()
def udp_checksum_is_never_zero_in_v4(g):
    """RFC 7915 5.5: "Translators MUST do this for TCP, UDP, and ICMP."; the computed sum 0 is sent as 0xffff (RFC 768)."""
    first = g.out(udp6(b"\0\0"))
    # A datagram whose IPv4 checksum computes to 0: put the checksum of the same one with zero data into the data.
    data = first[UDP].chksum.to_bytes(2, "big")
    same("checksum", g.out(udp6(data))[UDP].chksum, 0xFFFF)


@case()
def udp_checksum_is_never_zero_in_v6(g):
    """RFC 7915 4.5: "the recalculation and updating of the transport-layer headers that contain pseudo-headers need to be performed."; in IPv6 a UDP checksum of 0 is not allowed (RFC 8200 8.1)."""
    public = open_udp(g)
    data = g.back(udp4(public, b"\0\0"))[UDP].chksum.to_bytes(2, "big")
    same("checksum", g.back(udp4(public, data))[UDP].chksum, 0xFFFF)


@case()
def echo_both_ways(g):
    """RFC 7915 4.2: "Adjust the Type values to 128 and 129, respectively, and adjust the ICMP checksum both to take the type change into account and to include the ICMPv6 pseudo-header." """
    data = b"abcdefghi"
    p = g.out(echo6(data))
    same("request", (p.proto, p[ICMP].type, p[ICMP].code, p[ICMP].seq, bytes(p[ICMP].payload)), (1, 8, 0, 1, data))
    p = g.back(IP(src=SERVER, dst=p.src) / ICMP(type=0, id=p[ICMP].id, seq=1) / data)
    q = p[ICMPv6EchoReply]
    same("reply", (p.src, p.dst, p.nh, q.id, q.seq, q.data), (SERVER6, CLIENT, 58, 77, 1, data))


@case()
def illegal_v4_sources_are_dropped(g):
    """RFC 7915 4.1: "If the translator gets an illegal source address (e.g., 0.0.0.0, 127.0.0.1, etc.), the translator SHOULD silently discard the packet" """
    public = open_udp(g)
    for src in ("0.0.0.0", "127.0.0.1", "224.0.0.1", "255.255.255.255"):
        g.none(g.outside(udp4(public, src=src)))


@case(configuration(source="::/0"))
def illegal_v6_sources_are_dropped(g):
    """RFC 7915 5.1: "If the translator gets an illegal source address (e.g., ::1, etc.), the translator SHOULD silently drop the packet." """
    for src in ("::1", "::", "ff02::1"):
        g.none(g.inside(udp6(src=src)))


@case(configuration(source="::/0"))
def source_in_pref64_is_dropped(g):
    """RFC 6146 3.5: "the NAT64 MUST silently discard all incoming IPv6 packets containing a source address that contains the Pref64::/n." """
    g.none(g.inside(udp6(src=embed("1.2.3.4"))))
    g.counts(0, 0)


@case()
def only_pref64_destinations(g):
    """RFC 6146 3.5: "the NAT64 MUST only process incoming IPv6 packets that contain a destination address that contains Pref64::/n." """
    sent = g.inside(udp6(dst="2001:4860::8888"))
    true("nothing goes outside", all(s.side == "inside" for s in sent))
    g.counts(0, 0)


@case()
def only_pool_destinations(g):
    """RFC 6146 3.5: "the NAT64 MUST only process incoming IPv4 packets that contain a destination address that belongs to the IPv4 pool assigned to the NAT64." """
    open_udp(g)
    sent = g.outside(udp4(("198.18.0.77", 1024)))
    true("nothing goes inside", all(s.side == "outside" for s in sent))


@case()
def bad_v4_header_checksum_is_dropped(g):
    """RFC 7915 4: "it translates the IPv4 header of that packet into an IPv6 header."; one with a wrong checksum is none (RFC 1812 5.2.2)."""
    public = open_udp(g)
    g.none(g.outside(udp4(public, chksum=0x1234)))


@case()
def wrong_l4_checksum_stays_wrong(g):
    """RFC 7915 5: "the checksum MUST be evaluated before translation and the ICMP and transport-layer headers MUST be updated." A translator must not make a broken packet look whole."""
    bad = udp6(b"abc")
    bad[UDP].chksum = 0x1234
    try:
        sent = g.inside(bad)
    except Wrong as e:
        true(str(e), "checksum of protocol 17" in str(e))
        return
    g.none([s for s in sent if s.side == "outside"])
