"""ICMP errors both ways, the packets they quote, path MTU arithmetic, and ICMP the translator makes itself."""

from gateway import *


def error4(public, type, code, quoted=None, word=0, src=ROUTER4, keep=None):
    """An ICMPv4 error about a client's datagram as the IPv4 side saw it. `word`: bytes 4 to 7 of the ICMP header."""
    quoted = quoted if quoted is not None else bytes(IP(src=public[0], dst=SERVER, ttl=9, id=3) / UDP(sport=public[1], dport=53) / Raw(b"request!"))
    body = bytes([type, code, 0, 0]) + word.to_bytes(4, "big") + quoted[:keep]
    body = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    return IP(src=src, dst=public[0], proto=1) / Raw(body)


def error6(type, code, quoted=None, word=0, src=ROUTER6, keep=None):
    """An ICMPv6 error about a server's datagram as the IPv6 side saw it."""
    quoted = quoted if quoted is not None else bytes(IPv6(src=SERVER6, dst=CLIENT, hlim=9) / UDP(sport=53, dport=4000) / Raw(b"response"))
    body = bytes([type, code, 0, 0]) + word.to_bytes(4, "big") + quoted[:keep]
    head = IPv6(src=src, dst=SERVER6, nh=58)
    body = body[:2] + in6_chksum(58, head, body).to_bytes(2, "big") + body[4:]
    return head / Raw(body)


def message(packet):
    """Type, code, bytes 4 to 7, and the quoted packet of an ICMP message in a packet the program sent."""
    body = packet.raw_bytes[20 if packet.version == 4 else 40 :]
    return body[0], body[1], int.from_bytes(body[4:8], "big"), body[8:]


def expect4(g, public, type, code, want, want_word=0, **arguments):
    """The ICMPv4 error comes out as `want` = (type, code), or not at all."""
    sent = g.outside(error4(public, type, code, **arguments))
    if want is None:
        g.none(sent)
        return None
    p = g.one(sent, "inside")
    got = message(p)
    same(f"{type}/{code} becomes", got[:3], (*want, want_word))
    same("addresses", (p.src, p.dst), (embed(ROUTER4), CLIENT))
    return got[3]


def expect6(g, public, type, code, want, want_word=0, **arguments):
    """The ICMPv6 error comes out as `want` = (type, code), or not at all."""
    sent = g.inside(error6(type, code, **arguments))
    if want is None:
        g.none(sent)
        return None
    p = g.one(sent, "outside")
    got = message(p)
    same(f"{type}/{code} becomes", got[:3], (*want, want_word))
    same("destination", p.dst, SERVER)
    true(f"source {p.src} is of the pool", ipaddress.ip_address(p.src) in POOL)
    return got[3]


@case()
def v4_unreachable_codes(g):
    """RFC 7915 4.2: "Code 0, 1 (Net Unreachable, Host Unreachable): Set the Code to 0 (No route to destination)."; "Code 3 (Port Unreachable): Set the Code to 4 (Port unreachable)."; "Code 6, 7, 8: Set the Code to 0 (No route to destination)."; "Code 9, 10 (Communication with Destination Host Administratively Prohibited): Set the Code to 1"; "Code 11, 12: Set the Code to 0 (No route to destination)." """
    public = open_udp(g)
    table = {0: 0, 1: 0, 3: 4, 5: 0, 6: 0, 7: 0, 8: 0, 9: 1, 10: 1, 11: 0, 12: 0, 13: 1, 15: 1}
    for code, want in table.items():
        expect4(g, public, 3, code, (1, want))


@case()
def v4_protocol_unreachable(g):
    """RFC 7915 4.2: "Translate to an ICMPv6 Parameter Problem (Type 4, Code 1) and make the Pointer point to the IPv6 Next Header field." """
    expect4(g, open_udp(g), 3, 2, (4, 1), 6)


@case()
def v4_unreachable_dropped_codes(g):
    """RFC 7915 4.2: "Code 14 (Host Precedence Violation): Silently drop."; "Other Code values: Silently drop." """
    public = open_udp(g)
    for code in (14, 16, 200, 255):
        expect4(g, public, 3, code, None)


@case()
def v4_time_exceeded(g):
    """RFC 7915 4.2: "Time Exceeded (Type 11): Set the Type to 3"; "The Code is unchanged." """
    public = open_udp(g)
    for code in (0, 1):
        expect4(g, public, 11, code, (3, code))


@case()
def v4_parameter_problem_pointers(g):
    """RFC 7915 4.2: "Set the Code to 0 (Erroneous header field encountered) and update the pointer as defined in Figure 3." """
    public = open_udp(g)
    table = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6}
    table.update({i: 8 for i in range(12, 16)})
    table.update({i: 24 for i in range(16, 20)})
    for code in (0, 2):
        for pointer in range(24):
            want = table.get(pointer)
            expect4(g, public, 12, code, None if want is None else (4, 0), want or 0, word=pointer << 24)


@case()
def v4_parameter_problem_dropped_codes(g):
    """RFC 7915 4.2: "Code 1 (Missing a required option): Silently drop."; "Other Code values: Silently drop." """
    public = open_udp(g)
    for code in (1, 3, 77):
        expect4(g, public, 12, code, None)


@case()
def v4_dropped_types(g):
    """RFC 7915 4.2: "Redirect (Type 5): Single-hop message. Silently drop."; "Source Quench (Type 4): Obsoleted in ICMPv6. Silently drop."; "Unknown ICMPv4 types: Silently drop." """
    public = open_udp(g)
    for type in (1, 2, 4, 5, 6, 7, 9, 10, 13, 14, 15, 16, 17, 18, 19, 40, 41, 255):
        for code in (0, 1):
            expect4(g, public, type, code, None)


@case()
def v4_quote_is_translated(g):
    """RFC 7915 4.3: "The ICMP error messages containing the packet in error MUST be translated just like a normal IP packet (except the TTL value of the inner IPv4/IPv6 packet)." """
    public = open_udp(g)
    quote = expect4(g, public, 3, 1, (1, 0))
    inner = IPv6(quote)
    same("addresses", (inner.src, inner.dst, inner.hlim, inner.nh), (CLIENT, SERVER6, 9, 17))
    same("ports", (inner[UDP].sport, inner[UDP].dport), (4000, 53))
    same("payload length", inner.plen, 16)
    l4_ok(17, inner, quote[40:])


@case()
def v4_quote_of_eight_bytes(g):
    """RFC 792: the quote is the header and 64 bits. RFC 7915 4.3: "The translation of the inner IP header can be done by invoking the function that translated the outer IP headers." """
    public = open_udp(g)
    quote = expect4(g, public, 3, 3, (1, 4), keep=28)
    same("length", len(quote), 48)
    inner = IPv6(quote)
    same("payload length of the packet in error", inner.plen, 16)
    same("ports", (int.from_bytes(quote[40:42], "big"), int.from_bytes(quote[42:44], "big")), (4000, 53))


@case()
def v4_quote_too_short(g):
    """RFC 6146 3.4: "perhaps because not enough of the embedded packet is reproduced inside the ICMP message), then the incoming IP packet MUST be silently discarded." """
    public = open_udp(g)
    for keep in (0, 4, 19, 20, 21, 23):
        expect4(g, public, 3, 1, None, keep=keep)


@case()
def v4_error_within_error(g):
    """RFC 6146 3.4: "If the incoming IP packet contains a complete (un-fragmented) ICMP error message containing an ICMP error message, then the packet is silently discarded." """
    public = open_udp(g)
    inner = bytes(IP(src=public[0], dst=SERVER) / ICMP(type=3, code=1) / Raw(bytes(IP(src=SERVER, dst=public[0]) / UDP(sport=53, dport=public[1]))))
    expect4(g, public, 3, 1, None, quoted=inner)


@case()
def v6_error_within_error(g):
    """RFC 7915 5.3: "This process MUST stop at the first embedded header and drop the packet if it contains more embedded headers." """
    public = open_udp(g)
    inner = bytes(IPv6(src=SERVER6, dst=CLIENT) / ICMPv6DestUnreach() / bytes(udp6()))
    expect6(g, public, 1, 0, None, quoted=inner)


@case()
def v4_errors_quoting_tcp(g):
    """RFC 7915 4.3: "MUST be translated just like a normal IP packet" """
    public = open_tcp(g)
    quoted = bytes(IP(src=public[0], dst=SERVER) / TCP(sport=public[1], dport=80, seq=99, flags="A") / b"data")
    for keep in (None, 28):
        quote = expect4(g, public, 3, 1, (1, 0), quoted=quoted, keep=keep)
        same("ports and sequence number", (int.from_bytes(quote[40:42], "big"), int.from_bytes(quote[42:44], "big"), int.from_bytes(quote[44:48], "big")), (4000, 80, 99))
        if keep is None:
            l4_ok(6, IPv6(quote), quote[40:])


@case()
def v4_errors_quoting_echo(g):
    """RFC 6146 3.4: "containing an ICMP Query message, then the incoming 3-tuple is computed by extracting the appropriate fields from the IP packet embedded inside the ICMP error message." """
    p = g.out(echo6())
    public = p.src, p[ICMP].id
    quoted = bytes(IP(src=p.src, dst=SERVER) / ICMP(type=8, id=public[1], seq=1) / b"ping")
    quote = expect4(g, public, 11, 0, (3, 0), quoted=quoted)
    inner = IPv6(quote)
    same("quote", (inner.src, inner.dst, inner[ICMPv6EchoRequest].id, inner[ICMPv6EchoRequest].seq), (CLIENT, SERVER6, 77, 1))
    l4_ok(58, inner, quote[40:])


@case()
def v4_error_without_binding(g):
    """RFC 5508 REQ-4: "If a NAT device receives an ICMP Error packet from an external realm, and the NAT device does not have an active mapping for the embedded payload, the NAT SHOULD silently drop the ICMP Error packet." """
    expect4(g, ("203.0.113.1", 5555), 3, 1, None)


@case()
def v4_error_with_bad_checksum(g):
    """RFC 5508 REQ-3: "if the ICMP checksum fails to validate, the NAT SHOULD silently drop the ICMP Error packet." """
    public = open_udp(g)
    bad = bytearray(bytes(error4(public, 3, 1)))
    bad[22] ^= 0x55
    g.none(g.outside(Raw(bytes(bad))))


@case()
def errors_leave_no_trace_in_the_timers(g):
    """RFC 6146 3.5: "For the case of ICMP error messages, they do not affect in any way either the BIBs or the session tables" """
    public = open_udp(g)
    for _ in range(4):
        g.wait(70)
        expect4(g, public, 3, 1, (1, 0))
        expect6(g, public, 1, 0, (3, 1))
        g.counts(1, 1)
    g.wait(30)
    g.counts(0, 0)


@case()
def v6_unreachable_codes(g):
    """RFC 7915 5.2: "Code 0 (No route to destination): Set the Code to 1 (Host unreachable)."; "Set the Code to 10 (Communication with destination host administratively prohibited)."; "Code 3 (Address unreachable): Set the Code to 1 (Host unreachable)."; "Code 4 (Port unreachable): Set the Code to 3 (Port unreachable)."; "Other Code values: Silently drop." """
    public = open_udp(g)
    for code, want in {0: 1, 1: 10, 2: 1, 3: 1, 4: 3}.items():
        expect6(g, public, 1, code, (3, want))
    for code in (5, 6, 7, 8, 255):
        expect6(g, public, 1, code, None)


@case()
def v6_time_exceeded(g):
    """RFC 7915 5.2: "Time Exceeded (Type 3): Set the Type to 11"; "The Code is unchanged." """
    public = open_udp(g)
    for code in (0, 1):
        expect6(g, public, 3, code, (11, code))


@case()
def v6_parameter_problem_pointers(g):
    """RFC 7915 5.2: "Code 0 (Erroneous header field encountered): Set to Type 12, Code 0, and update the pointer as defined in Figure 6." """
    public = open_udp(g)
    table = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8}
    table.update({i: 12 for i in range(8, 24)})
    table.update({i: 16 for i in range(24, 40)})
    for pointer in list(range(44)) + [256, 0x01000000, 0xFFFFFFFF]:
        want = table.get(pointer)
        expect6(g, public, 4, 0, None if want is None else (12, 0), (want or 0) << 24, word=pointer)


@case()
def v6_unrecognized_next_header(g):
    """RFC 7915 5.2: "Translate this to an ICMPv4 protocol unreachable (Type 3, Code 2)."; "Code 2 (Unrecognized IPv6 option encountered): Silently drop." """
    public = open_udp(g)
    expect6(g, public, 4, 1, (3, 2), word=6)
    for code in (2, 3, 99):
        expect6(g, public, 4, code, None, word=6)


@case()
def v6_dropped_types(g):
    """RFC 7915 5.2: "MLD Multicast Listener Query/Report/Done (Type 130, 131, 132): Single-hop message. Silently drop."; "Unknown informational messages: Silently drop."; "Unknown error messages: Silently drop." """
    public = open_udp(g)
    for type in (5, 100, 127, 130, 131, 132, 133, 134, 135, 136, 137, 138, 143, 200, 255):
        expect6(g, public, type, 0, None)


@case()
def v6_quote_is_translated(g):
    """RFC 7915 5.3: "MUST be translated just like a normal IP packet (except that the TTL/Hop Limit value of the inner IPv4/IPv6 packet are not decremented)." """
    public = open_udp(g)
    quote = expect6(g, public, 1, 4, (3, 3))
    inner = IP(quote)
    same("addresses", (inner.src, inner.dst, inner.ttl, inner.proto, inner.len), (SERVER, public[0], 9, 17, 36))
    same("ports", (inner[UDP].sport, inner[UDP].dport), (53, public[1]))
    l4_ok(17, inner, quote[20:])


@case()
def v6_error_from_the_client_itself(g):
    """RFC 5508 REQ-5: "If a NAT device receives an ICMP Error packet from the private realm, and the NAT does not have an active mapping for the embedded payload, the NAT SHOULD silently drop the ICMP Error packet."; with a mapping it goes on, from the client's public address."""
    public = open_udp(g)
    p = g.out(error6(1, 4, src=CLIENT))
    same("addresses", (p.src, p.dst), (public[0], SERVER))
    other = bytes(IPv6(src=SERVER6, dst=CLIENT2) / UDP(sport=53, dport=4999) / Raw(b"response"))
    g.none(g.inside(error6(1, 4, src=CLIENT2, quoted=other)))


@case()
def v6_error_quoting_a_tcp_segment(g):
    """RFC 7915 5.3: "MUST be translated just like a normal IP packet" """
    public = open_tcp(g)
    quoted = bytes(IPv6(src=SERVER6, dst=CLIENT) / TCP(sport=80, dport=4000, seq=7, flags="A") / b"data")
    quote = expect6(g, public, 1, 0, (3, 1), quoted=quoted)
    inner = IP(quote)
    same("quote", (inner[TCP].sport, inner[TCP].dport, inner[TCP].seq), (80, public[1], 7))
    l4_ok(6, inner, quote[20:])


@case()
def v6_error_quoting_an_echo_reply(g):
    """RFC 6146 3.4: "the embedded ICMP Identifier is used as the ICMP Identifier of the incoming 3-tuple." """
    p = g.out(echo6())
    ident = p[ICMP].id
    quoted = bytes(IPv6(src=SERVER6, dst=CLIENT) / ICMPv6EchoReply(id=77, seq=1, data=b"ping"))
    quote = expect6(g, (p.src, ident), 3, 0, (11, 0), quoted=quoted)
    inner = IP(quote)
    same("quote", (inner[ICMP].type, inner[ICMP].id, inner.src, inner.dst), (0, ident, SERVER, p.src))


# Path MTU.

MTU_1400_4 = configuration(nic="port 0 { unit 0; } port 1 { unit 0 { mtu 1400; } }")
MTU_1300_6 = configuration(nic="port 0 { unit 0 { mtu 1300; } } port 1 { unit 0; }")


def too_big4(g, public, mtu, want, total=1500):
    quoted = bytes(IP(src=public[0], dst=SERVER, flags="DF", len=total) / UDP(sport=public[1], dport=53, len=total - 20, chksum=0x1234) / Raw(bytes(20)))
    expect4(g, public, 3, 4, (2, 0), want, quoted=quoted, word=mtu)


@case()
def fragmentation_needed_mtu(g):
    """RFC 7915 4.2: "maximum(1280, minimum((MTU value in the Packet Too Big Message) + 20, MTU_of_IPv6_nexthop, (MTU_of_IPv4_nexthop) + 20))" """
    public = open_udp(g)
    for mtu, want in ((68, 1280), (576, 1280), (1259, 1280), (1260, 1280), (1261, 1281), (1400, 1420), (1479, 1499), (1480, 1500), (1481, 1500), (1500, 1500), (9000, 1500), (65535, 1500)):
        too_big4(g, public, mtu, want)


@case(MTU_1400_4)
def fragmentation_needed_mtu_of_the_ipv4_link(g):
    """RFC 7915 4.2: "minimum((MTU value in the Packet Too Big Message) + 20, MTU_of_IPv6_nexthop, (MTU_of_IPv4_nexthop) + 20)" """
    public = open_udp(g)
    for mtu, want in ((1300, 1320), (1400, 1420), (1450, 1420), (9000, 1420)):
        too_big4(g, public, mtu, want)


@case(MTU_1300_6)
def fragmentation_needed_mtu_of_the_ipv6_link(g):
    """RFC 7915 4.2: "minimum((MTU value in the Packet Too Big Message) + 20, MTU_of_IPv6_nexthop, (MTU_of_IPv4_nexthop) + 20)" """
    public = open_udp(g)
    for mtu, want in ((1270, 1290), (1280, 1300), (1281, 1300), (1500, 1300)):
        too_big4(g, public, mtu, want)


@case()
def fragmentation_needed_without_mtu(g):
    """RFC 7915 4.2: "Use the greatest plateau value that is less than the returned Total Length field, but that is larger than or equal to 1280." Plateaus: RFC 1191 7.1: "1492"."""
    public = open_udp(g)
    # Plateau 1492: min(1492 + 20, 1500, 1520); no plateau is left between 1280 and 1492.
    for total, want in ((1500, 1500), (2002, 1500), (1493, 1500), (1492, 1280), (1300, 1280), (576, 1280)):
        too_big4(g, public, 0, want, total)


@case()
def packet_too_big_mtu(g):
    """RFC 7915 5.2: "minimum((MTU value in the Packet Too Big Message)-20, MTU_of_IPv4_nexthop, (MTU_of_IPv6_nexthop)-20)." """
    public = open_udp(g)
    for mtu, want in ((1280, 1260), (1281, 1261), (1400, 1380), (1500, 1480), (1501, 1480), (9000, 1480), (0xFFFFFFFF, 1480)):
        expect6(g, public, 2, 0, (3, 4), want, word=mtu)


@case(MTU_1400_4)
def packet_too_big_mtu_of_the_ipv4_link(g):
    """RFC 7915 5.2: "minimum((MTU value in the Packet Too Big Message)-20, MTU_of_IPv4_nexthop, (MTU_of_IPv6_nexthop)-20)." """
    public = open_udp(g)
    for mtu, want in ((1300, 1280), (1420, 1400), (1450, 1400), (1500, 1400)):
        expect6(g, public, 2, 0, (3, 4), want, word=mtu)


@case(MTU_1300_6)
def packet_too_big_mtu_of_the_ipv6_link(g):
    """RFC 7915 5.2: "minimum((MTU value in the Packet Too Big Message)-20, MTU_of_IPv4_nexthop, (MTU_of_IPv6_nexthop)-20)." """
    public = open_udp(g)
    for mtu, want in ((1290, 1270), (1300, 1280), (1400, 1280)):
        expect6(g, public, 2, 0, (3, 4), want, word=mtu)


@case()
def packet_too_big_quoting_a_fragment(g):
    """RFC 7915 5.2: "taking into account whether or not the packet in error includes a Fragment Header" """
    public = open_udp(g)
    quoted = bytes(IPv6(src=SERVER6, dst=CLIENT) / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=5) / UDP(sport=53, dport=4000, len=3000, chksum=1) / Raw(bytes(64)))
    quote = expect6(g, public, 2, 0, (3, 4), 1380 - 8, quoted=quoted, word=1400)
    inner = IP(quote)
    same("quote", (inner.src, inner.dst, inner.id, int(inner.flags.MF), inner.frag), (SERVER, public[0], 5, 1, 0))


NEXT_HOPS = "port 0 { unit 0 { mtu %d; family { inet6 { address 2001:db8:aa::1/64; gateway 2001:db8:aa::2; } } } } port 1 { unit 0 { family { inet { address 198.18.0.1/24; gateway 198.18.0.2; } } } }"


@case(configuration(nic=NEXT_HOPS % 1400))
def df_packet_too_long_for_the_ipv6_link(g):
    """RFC 7915 4.1: "If the DF bit is set and the MTU of the next-hop interface is less than the total length value of the IPv4 packet plus 20, the translator MUST send an ICMPv4 "Fragmentation Needed" error message to the IPv4 source address." """
    public = open_udp(g)
    same("fits", g.back(udp4(public, bytes(1380 - 28), flags="DF")).plen, 1360)
    p = g.one(g.outside(udp4(public, bytes(1381 - 28), flags="DF")), "outside")
    type, code, mtu, _ = message(p)
    same("answer", (p.dst, type, code, mtu), (SERVER, 3, 4, 1380))


@case()
def datagram_of_other_protocols(g):
    """RFC 6146 3.4: "the NAT64 SHOULD send an ICMPv6 Destination Unreachable error message with Code 4 (Port Unreachable) to the source address of the received packet."; "SHOULD send an ICMPv4 Destination Unreachable error message with Code 2 (Protocol Unreachable)" (both if the security policy permits; never translated)"""
    public = open_udp(g)
    for proto in (2, 41, 47, 50, 51, 89, 132):
        sent = g.inside(IPv6(src=CLIENT, dst=SERVER6, nh=proto) / Raw(bytes(40)))
        for s in sent:
            same("answer to the client", (s.side, message(s.packet)[:2]), ("inside", (1, 4)))
        sent = g.outside(IP(src=SERVER, dst=public[0], proto=proto) / Raw(bytes(40)))
        for s in sent:
            same("answer to the server", (s.side, message(s.packet)[:2]), ("outside", (3, 2)))


@case(configuration(nic=NEXT_HOPS % 1500))
def other_protocols_are_answered(g):
    """RFC 6146 3.4: "the NAT64 SHOULD send an ICMPv6 Destination Unreachable error message with Code 4 (Port Unreachable) to the source address of the received packet." """
    public = open_udp(g)
    p = g.one(g.inside(IPv6(src=CLIENT, dst=SERVER6, nh=132) / Raw(bytes(40))), "inside")
    same("answer", message(p)[:2], (1, 4))
    p = g.one(g.outside(IP(src=SERVER, dst=public[0], proto=132) / Raw(bytes(40))), "outside")
    same("answer", message(p)[:2], (3, 2))


@case()
def extension_object_keeps_its_place_4_to_6(g):
    """RFC 7915 4.2: "the ICMPv6 Extension length attribute MUST be adjusted accordingly (e.g., longer due to the translation from IPv4 to IPv6)." RFC 4884 4: "length". """
    public = open_udp(g)
    original = bytes(IP(src=public[0], dst=SERVER, len=128) / UDP(sport=public[1], dport=53, len=108, chksum=0x1234) / Raw(bytes(100)))
    same("original datagram", len(original), 128)
    objects = bytes([0x20, 0, 0, 0]) + bytes([0, 8, 1, 1]) + b"\x00\x01\x01\x40"
    objects = objects[:2] + checksum(objects).to_bytes(2, "big") + objects[4:]
    p = g.back(error4(public, 11, 0, quoted=original + objects, word=32 << 16))
    type, code, word, rest = message(p)
    length = (word >> 24) * 8
    same("type, code", (type, code), (3, 0))
    true(f"length attribute {length} is not 0", length >= 128)
    same("extension", rest[length:], objects)
    same("quoted destination", IPv6(rest[:40]).dst, SERVER6)


@case()
def error_to_another_server_than_it_quotes(g):
    """RFC 6146 3.4: "the role of source and destination transport addresses in the incoming 5-tuple is reversed"; an error goes back to the source of what it quotes."""
    open_udp(g)
    bad = error6(1, 4)
    bad.dst = embed(SERVER2)
    body = bytes(bad[Raw])
    body = body[:2] + bytes(2) + body[4:]
    bad[Raw].load = body[:2] + in6_chksum(58, IPv6(src=bad.src, dst=bad.dst), body).to_bytes(2, "big") + body[4:]
    g.none(g.inside(bad))
    g.out(error6(1, 4))


@case(configuration(nic="service-set s { icmp-source-extension; }"))
def the_address_of_a_router_is_told(g):
    """RFC 6791 4: "The ICMP message SHOULD include the Interface IP Address Sub-Object and specify the source IPv6 addresses of the original ICMPv6." """
    public = open_udp(g)
    quoted = bytes(IPv6(src=SERVER6, dst=CLIENT) / UDP(sport=53, dport=4000) / Raw(b"abc"))
    p = g.out(error6(3, 0, quoted=quoted, src=ROUTER6))
    type, code, word, rest = message(p)
    same("source", p.src, public[0])
    same("type, code, length attribute", (type, code, (word >> 16 & 255) * 4), (11, 0, 128))
    extension = rest[128:]
    same("checksum", checksum(extension), 0)
    same("object", extension[4:12], bytes([0, 24, 2, 4, 0, 2, 0, 0]))
    same("address", str(ipaddress.ip_address(extension[12:])), ROUTER6)


@case()
def extension_object_keeps_its_place_6_to_4(g):
    """RFC 7915 5.2: "the ICMPv6 Extension length attribute MUST be adjusted accordingly (e.g., shorter due to the translation from IPv6 to IPv4)." """
    public = open_udp(g)
    original = bytes(IPv6(src=SERVER6, dst=CLIENT) / UDP(sport=53, dport=4000, len=112, chksum=0x1234) / Raw(bytes(104)))
    same("original datagram", len(original), 152)
    objects = bytes([0x20, 0, 0, 0]) + bytes([0, 8, 1, 1]) + b"\x00\x01\x01\x40"
    objects = objects[:2] + checksum(objects).to_bytes(2, "big") + objects[4:]
    p = g.out(error6(3, 0, quoted=original + objects, word=19 << 24))
    type, code, word, rest = message(p)
    length = (word >> 16 & 255) * 4
    same("type, code", (type, code), (11, 0))
    true(f"length attribute {length} is at least 128", length >= 128)
    same("extension", rest[length:], objects)
