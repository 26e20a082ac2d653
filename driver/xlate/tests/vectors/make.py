#!/usr/bin/env python3
"""Makes the vectors in this folder with scapy, which shares no code with the translator.

Run it here: `python3 make.py`. It needs scapy (Debian: python3-scapy). Each case is one text file:

    # comment
    direction six_to_four | four_to_six
    to     SRC DST SRC_PORT DST_PORT      translation of the packet
    quote  SRC DST SRC_PORT DST_PORT      translation of the quoted packet (ICMP errors)
    options NAME=VALUE ...                what differs from the defaults of the test
    in  HEX
    out HEX                               one line for each packet, or
    refused REASON
"""
import os
import struct

from scapy.all import ICMP, IP, TCP, UDP, IPOption_LSRR, IPOption_NOP, IPv6, Raw
from scapy.layers.inet import in4_chksum
from scapy.layers.inet6 import (
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    PadN,
    in6_chksum,
)
from scapy.utils import checksum

HERE = os.path.dirname(os.path.abspath(__file__))

# A client, the server as it sees it, the server, the pool, a router in between of each family.
C6, S6, S4, P4 = "2001:db8:1::10", "64:ff9b::c633:6407", "198.51.100.7", "192.0.2.1"
R4, R6, R4AS6 = "203.0.113.9", "2001:db8:1::1", "64:ff9b::cb00:7109"
CP, PP, SP = 40000, 50000, 80

OUT = f"{P4} {S4} {PP} {SP}"  # client to server
IN = f"{S6} {C6} {SP} {CP}"  # server to client


def case(name, comment, direction, to, packet, out, quote=None, **options):
    lines = [f"# {line}" for line in comment.strip().splitlines()]
    lines += [f"direction {direction}", f"to {to}"]
    if quote:
        lines.append(f"quote {quote}")
    if options:
        lines.append("options " + " ".join(f"{k}={v}" for k, v in sorted(options.items())))
    lines.append("in " + bytes(packet).hex())
    if isinstance(out, str):
        lines.append(f"refused {out}")
    else:
        lines += ["out " + bytes(p).hex() for p in (out if isinstance(out, list) else [out])]
    with open(os.path.join(HERE, name + ".txt"), "w") as f:
        f.write("\n".join(lines) + "\n")


def six(name, comment, packet, out, **options):
    case(name, comment, "six_to_four", OUT, packet, out, **options)


def four(name, comment, packet, out, **options):
    case(name, comment, "four_to_six", IN, packet, out, **options)


def v6(**kw):
    return IPv6(**{**dict(src=C6, dst=S6, hlim=64), **kw})


def v4(**kw):
    """What the translator sends: the identification is that of the test's options."""
    return IP(**{**dict(src=P4, dst=S4, ttl=63, id=0x1234, flags=0), **kw})


def r4(**kw):
    """What comes from the server."""
    return IP(**{**dict(src=S4, dst=P4, ttl=57, id=0xBEEF, flags="DF"), **kw})


def r6(**kw):
    return IPv6(**{**dict(src=S6, dst=C6, hlim=56), **kw})


def tcp(sport, dport, **kw):
    return TCP(**{**dict(sport=sport, dport=dport, seq=1000, ack=2000, flags="A", window=4096), **kw})


DATA = bytes(range(97))

# ---- headers, client to server ------------------------------------------------------------------------------------

six("tcp_six_to_four", "TCP segment with data of odd length",
    v6() / tcp(CP, SP) / DATA, v4() / tcp(PP, SP) / DATA)
six("udp_six_to_four", "UDP datagram", v6() / UDP(sport=CP, dport=SP) / DATA, v4() / UDP(sport=PP, dport=SP) / DATA)
six("udp_empty_six_to_four", "UDP datagram without data",
    v6() / UDP(sport=CP, dport=SP), v4() / UDP(sport=PP, dport=SP))
six("echo_request_six_to_four", "Echo request: identifier, type, no pseudo header",
    v6() / ICMPv6EchoRequest(id=CP, seq=7, data=DATA), v4() / ICMP(type=8, id=PP, seq=7) / DATA)
six("echo_reply_six_to_four", "Echo reply",
    v6() / ICMPv6EchoReply(id=CP, seq=7, data=DATA), v4() / ICMP(type=0, id=PP, seq=7) / DATA)
case("echo_reply_all_zero_six_to_four", "The ICMPv4 message is all zero: only 0xffff is a checksum for that",
     "six_to_four", f"{P4} {S4} 0 0", v6() / ICMPv6EchoReply(id=CP, seq=0), v4() / ICMP(type=0, id=0, seq=0))
six("traffic_class_six_to_four", "All 8 bits of the traffic class are copied, the flow label is dropped",
    v6(tc=0xB9, fl=0xABCDE) / UDP(sport=CP, dport=SP) / b"x", v4(tos=0xB9) / UDP(sport=PP, dport=SP) / b"x")
six("tos_override_six_to_four", "ToS set to a value",
    v6(tc=0xB9) / UDP(sport=CP, dport=SP) / b"x", v4(tos=0) / UDP(sport=PP, dport=SP) / b"x", tos=0)
six("hop_limit_2", "Hop limit 2 leaves with TTL 1",
    v6(hlim=2) / UDP(sport=CP, dport=SP) / b"x", v4(ttl=1) / UDP(sport=PP, dport=SP) / b"x")
six("other_protocol_six_to_four", "A protocol without a known checksum is copied (RFC 7915 section 5.5)",
    v6(nh=132) / Raw(DATA), v4(proto=132) / Raw(DATA))

for size, flags in ((1279, 0), (1280, 0), (1281, "DF"), (1500, "DF")):
    data = bytes(size - 48)
    six(f"df_{size}", f"IPv6 packet of {size} bytes: DF from 1,261 bytes of IPv4 on",
        v6() / UDP(sport=CP, dport=SP) / data, v4(flags=flags) / UDP(sport=PP, dport=SP) / data)
data = bytes(1280 - 48)
six("df_junos_clear_1280", "clear-dont-fragment-bit: DF from an IPv6 packet of 1,280 bytes on",
    v6() / UDP(sport=CP, dport=SP) / data, v4(flags="DF") / UDP(sport=PP, dport=SP) / data, df_clear_max=1259)
six("df_always", "RFC 6145: always DF",
    v6() / UDP(sport=CP, dport=SP) / b"", v4(flags="DF") / UDP(sport=PP, dport=SP) / b"", df_clear_max=0)
six("too_big_six_to_four", "More than 1,280 bytes and more than the IPv4 link takes",
    v6() / UDP(sport=CP, dport=SP) / bytes(1281 - 48), "PacketTooBig", mtu4=1260)

six("df_always_narrow_link", "At most 1,280 bytes of IPv6: cut although DF is always set, for no smaller MTU can be told",
    v6() / UDP(sport=CP, dport=SP) / bytes(1280 - 48),
    [v4(proto=17, flags="MF") / Raw((bytes(v4() / UDP(sport=PP, dport=SP) / bytes(1280 - 48))[20:])[:1224]),
     v4(proto=17, frag=153) / Raw((bytes(v4() / UDP(sport=PP, dport=SP) / bytes(1280 - 48))[20:])[1224:])],
    df_clear_max=0, mtu4=1250)

# An IPv6 packet of at most 1,280 bytes is cut for a narrow IPv4 link (RFC 7915 section 5.1.1).
whole = bytes(v4() / UDP(sport=PP, dport=SP) / (bytes(range(200)) * 6))[20:]
six("cut_for_narrow_link", "1,248 bytes on a link of 600: fragments of 576, 576 and the rest",
    v6() / UDP(sport=CP, dport=SP) / (bytes(range(200)) * 6),
    [v4(proto=17, flags="MF", frag=0) / Raw(whole[:576]), v4(proto=17, flags="MF", frag=72) / Raw(whole[576:1152]),
     v4(proto=17, frag=144) / Raw(whole[1152:])], mtu4=600)

six("extension_headers", "Hop-by-Hop, Destination Options and a finished Routing header are left out",
    v6() / IPv6ExtHdrHopByHop(options=[PadN(optdata=bytes(4))]) / IPv6ExtHdrDestOpt(options=[PadN(optdata=bytes(12))])
    / IPv6ExtHdrRouting(type=0, addresses=["2001:db8::1"], segleft=0) / UDP(sport=CP, dport=SP) / DATA,
    v4() / UDP(sport=PP, dport=SP) / DATA)

# UDP whose checksum comes out as zero is sent as 0xffff.
for first in range(0, 65536):
    body = struct.pack("!H", first) + b"abcd"
    if in4_chksum(17, IP(src=P4, dst=S4), bytes(UDP(sport=PP, dport=SP, chksum=0) / body)) == 0:
        expected = bytearray(bytes(v4() / UDP(sport=PP, dport=SP) / body))
        expected[26:28] = b"\xff\xff"
        six("udp_minus_zero", "The checksum comes out as 0, which would mean none: sent as 0xffff",
            v6() / UDP(sport=CP, dport=SP) / body, bytes(expected))
        break

bad = bytearray(bytes(v6() / UDP(sport=CP, dport=SP) / DATA))
bad[46:48] = b"\0\0"
six("udp_zero_checksum_six_to_four", "UDP over IPv6 must have a checksum", bytes(bad), "BadTransportChecksum")


def wrong(packet, at, by):
    """The checksum at `at` off by `by` in one's complement."""
    packet = bytearray(bytes(packet))
    value = struct.unpack_from("!H", packet, at)[0] + by
    struct.pack_into("!H", packet, at, (value & 0xFFFF) + (value >> 16))
    return bytes(packet)


six("wrong_checksum_six_to_four", "A wrong checksum stays wrong by the same amount",
    wrong(v6() / tcp(CP, SP) / DATA, 40 + 16, 0x101), wrong(v4() / tcp(PP, SP) / DATA, 20 + 16, 0x101))
four("wrong_checksum_four_to_six", "A wrong checksum stays wrong by the same amount",
     wrong(r4() / tcp(SP, PP) / DATA, 20 + 16, 0x101), wrong(r6() / tcp(SP, CP) / DATA, 40 + 16, 0x101))

# UDP length shorter than the IP payload: the bytes are carried as they are.
inner6 = bytes(v6() / UDP(sport=CP, dport=SP) / DATA)[40:]
inner4 = bytes(v4() / UDP(sport=PP, dport=SP) / DATA)[20:]
six("udp_length_short", "UDP length shorter than the payload: trailing bytes are carried along",
    v6(nh=17, plen=len(inner6) + 3) / Raw(inner6 + b"abc"), v4(proto=17) / Raw(inner4 + b"abc"))

# ---- fragments ------------------------------------------------------------------------------------------------------

big = bytes(range(250)) * 8
udp6 = bytes(v6() / UDP(sport=CP, dport=SP) / big)[40:]
udp4 = bytes(v4() / UDP(sport=PP, dport=SP) / big)[20:]
for name, lo, hi, more in (("first", 0, 800, 1), ("middle", 800, 1600, 1), ("last", 1600, 2008, 0)):
    six(f"fragment_{name}_six_to_four", "Offset and M copied, identification cut to 16 bits, DF clear",
        v6() / IPv6ExtHdrFragment(nh=17, offset=lo // 8, m=more, id=0xDEADBEEF) / Raw(udp6[lo:hi]),
        v4(proto=17, id=0xBEEF, flags=more, frag=lo // 8) / Raw(udp4[lo:hi]))
    down4 = bytes(r4() / UDP(sport=SP, dport=PP) / big)[20:]
    down6 = bytes(r6() / UDP(sport=SP, dport=CP) / big)[40:]
    four(f"fragment_{name}_four_to_six", "Offset and M copied, identification in the low half",
         r4(proto=17, flags=more, frag=lo // 8) / Raw(down4[lo:hi]),
         r6() / IPv6ExtHdrFragment(nh=17, offset=lo // 8, m=more, id=0xBEEF) / Raw(down6[lo:hi]))
six("fragment_atomic", "A whole packet with a Fragment header: identification copied, DF clear although long",
    v6() / IPv6ExtHdrFragment(nh=17, offset=0, m=0, id=0x00017777) / Raw(bytes(v6() / UDP(sport=CP, dport=SP) / bytes(1400))[40:]),
    v4(id=0x7777) / UDP(sport=PP, dport=SP) / bytes(1400))
six("fragment_before_extension", "Fragment header in front of Destination Options (RFC 7915 section 5.1.1)",
    v6() / IPv6ExtHdrFragment(nh=60, offset=10, m=0, id=1) / Raw(bytes(80)), "UnsupportedProtocol")
six("fragment_icmp_six_to_four", "A fragment of ICMPv6 needs the whole",
    v6() / IPv6ExtHdrFragment(nh=58, offset=0, m=1, id=1) / Raw(bytes(v6() / ICMPv6EchoRequest(data=bytes(80)))[40:]),
    "Ipv6Extension")
four("fragment_icmp_four_to_six", "A fragment of ICMPv4 needs the whole",
     r4(proto=1, flags="MF", frag=0) / Raw(bytes(ICMP() / bytes(80))), "Ipv4Fragment")
four("fragment_udp_zero_checksum", "A first fragment of UDP without checksum needs the whole",
     r4(proto=17, flags="MF", frag=0) / Raw(bytes(UDP(sport=SP, dport=PP, len=800, chksum=0) / bytes(80))),
     "FragmentZeroChecksum")

# ---- headers, server to client ------------------------------------------------------------------------------------

four("tcp_four_to_six", "TCP segment", r4() / tcp(SP, PP) / DATA, r6() / tcp(SP, CP) / DATA)
four("udp_four_to_six", "UDP datagram", r4() / UDP(sport=SP, dport=PP) / DATA, r6() / UDP(sport=SP, dport=CP) / DATA)
four("udp_zero_checksum_four_to_six", "UDP without checksum gets one",
     r4() / UDP(sport=SP, dport=PP, chksum=0) / DATA, r6() / UDP(sport=SP, dport=CP) / DATA)
four("echo_reply_four_to_six", "Echo reply gets a pseudo header",
     r4() / ICMP(type=0, id=PP, seq=9) / DATA, r6() / ICMPv6EchoReply(id=CP, seq=9, data=DATA))
four("echo_request_four_to_six", "Echo request",
     r4() / ICMP(type=8, id=PP, seq=9) / DATA, r6() / ICMPv6EchoRequest(id=CP, seq=9, data=DATA))
four("tos_four_to_six", "ToS copied, flow label zero",
     r4(tos=0x2E) / UDP(sport=SP, dport=PP) / b"x", r6(tc=0x2E) / UDP(sport=SP, dport=CP) / b"x")
four("tos_override_four_to_six", "Traffic class set to zero",
     r4(tos=0x2E) / UDP(sport=SP, dport=PP) / b"x", r6(tc=0) / UDP(sport=SP, dport=CP) / b"x", tos=0)
four("options_dropped", "IPv4 options are ignored",
     r4(options=[IPOption_NOP(), IPOption_LSRR(routers=[P4], pointer=8)]) / UDP(sport=SP, dport=PP) / DATA,
     r6() / UDP(sport=SP, dport=CP) / DATA)
four("no_fragment_header_below_1280", "DF clear and the IPv6 packet has 1,280 bytes: no Fragment header",
     r4(flags=0) / UDP(sport=SP, dport=PP) / bytes(1232), r6() / UDP(sport=SP, dport=CP) / bytes(1232))
four("df_1500", "DF set: never a Fragment header",
     r4() / UDP(sport=SP, dport=PP) / bytes(1452), r6() / UDP(sport=SP, dport=CP) / bytes(1452))
four("df_too_big", "DF set and 20 bytes too long for the IPv6 link",
     r4() / UDP(sport=SP, dport=PP) / bytes(1453), "PacketTooBig")
whole = bytes(r6() / UDP(sport=SP, dport=CP) / bytes(1233))[40:]
four("cut_at_1281", "DF clear and one byte over 1,280: two packets with Fragment header",
     r4(flags=0) / UDP(sport=SP, dport=PP) / bytes(1233),
     [r6() / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0xBEEF) / Raw(whole[:1232]),
      r6() / IPv6ExtHdrFragment(nh=17, offset=154, m=0, id=0xBEEF) / Raw(whole[1232:])])
four("lowest_mtu_1400", "ipv6-mtu 1400: the same packet in one piece",
     r4(flags=0) / UDP(sport=SP, dport=PP) / bytes(1233), r6() / UDP(sport=SP, dport=CP) / bytes(1233), lowest=1400)
down4 = bytes(r4() / UDP(sport=SP, dport=PP) / (bytes(range(250)) * 8))[20:]
down6 = bytes(r6() / UDP(sport=SP, dport=CP) / (bytes(range(250)) * 8))[40:]
four("fragment_cut_again", "A fragment of 1,500 bytes without DF is cut once more, M stays set",
     r4(proto=17, flags="MF", frag=0) / Raw(down4[:1480]),
     [r6() / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0xBEEF) / Raw(down6[:1232]),
      r6() / IPv6ExtHdrFragment(nh=17, offset=154, m=1, id=0xBEEF) / Raw(down6[1232:1480])])
for first in range(0, 65536):
    body = struct.pack("!H", first) + b"abcd"
    if in6_chksum(17, IPv6(src=S6, dst=C6), bytes(UDP(sport=SP, dport=CP, chksum=0) / body)) == 0:
        expected = bytearray(bytes(r6() / UDP(sport=SP, dport=CP) / body))
        expected[46:48] = b"\xff\xff"
        four("udp_minus_zero_four_to_six", "The checksum comes out as 0: sent as 0xffff",
             r4() / UDP(sport=SP, dport=PP) / body, bytes(expected))
        four("udp_minus_zero_made", "The same for a checksum made from nothing",
             r4() / UDP(sport=SP, dport=PP, chksum=0) / body, bytes(expected))
        break

# ---- MSS ------------------------------------------------------------------------------------------------------------

OPTIONS = [("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]
CLAMPED = [("MSS", 1220), ("SAckOK", b""), ("NOP", None), ("WScale", 7)]
six("mss_clamped", "MSS of a SYN lowered", v6() / tcp(CP, SP, flags="S", options=OPTIONS),
    v4() / tcp(PP, SP, flags="S", options=CLAMPED), mss=1220)
six("mss_small_enough", "MSS never raised", v6() / tcp(CP, SP, flags="S", options=OPTIONS),
    v4() / tcp(PP, SP, flags="S", options=OPTIONS), mss=1461)
six("mss_no_syn", "Only SYN segments carry an MSS", v6() / tcp(CP, SP, flags="A", options=OPTIONS),
    v4() / tcp(PP, SP, flags="A", options=OPTIONS), mss=1220)
ODD = [("NOP", None), ("MSS", 1460), ("NOP", None), ("NOP", None), ("NOP", None)]
ODDC = [("NOP", None), ("MSS", 1220), ("NOP", None), ("NOP", None), ("NOP", None)]
four("mss_odd_offset", "MSS at an odd offset", r4() / tcp(SP, PP, flags="SA", options=ODD),
     r6() / tcp(SP, CP, flags="SA", options=ODDC), mss=1220)

# ---- ICMP errors ------------------------------------------------------------------------------------------------------


def icmp4(kind, code, word, body):
    message = struct.pack("!BBHI", kind, code, 0, word) + bytes(body)
    return message[:2] + struct.pack("!H", checksum(message)) + message[4:]


def icmp6(ip, kind, code, word, body):
    message = struct.pack("!BBHI", kind, code, 0, word) + bytes(body)
    return ip / Raw(message[:2] + struct.pack("!H", in6_chksum(58, ip, message)) + message[4:])


def error4(name, comment, head, out, quoted=None, expected=None, source=R4, body=None, outbody=None, **options):
    """An error from the IPv4 side about a packet of the client."""
    quoted = quoted if quoted is not None else v4(ttl=1, flags="DF") / tcp(PP, SP) / DATA
    expected = expected if expected is not None else v6(hlim=1) / tcp(CP, SP) / DATA
    packet = IP(src=source, dst=P4, ttl=61, id=77, proto=1) / Raw(icmp4(*head, body or quoted))
    if not isinstance(out, str):
        out = icmp6(IPv6(src=R4AS6, dst=C6, hlim=60, nh=58), *out, outbody or expected)
    case(name, comment, "four_to_six", f"{R4AS6} {C6} 0 0", packet, out, quote=f"{C6} {S6} {CP} {SP}", **options)


def error6(name, comment, head, out, quoted=None, expected=None, body=None, outbody=None, flags=0, **options):
    """An error from the IPv6 side about a packet of the server."""
    quoted = quoted if quoted is not None else r6(hlim=1) / tcp(SP, CP) / DATA
    expected = expected if expected is not None else r4(ttl=1, id=0, flags=0) / tcp(SP, PP) / DATA
    packet = icmp6(IPv6(src=R6, dst=S6, hlim=61, nh=58), *head, body or quoted)
    if not isinstance(out, str):
        out = IP(src=P4, dst=S4, ttl=60, id=0x1234, proto=1, flags=flags) / Raw(icmp4(*out, outbody or expected))
    case(name, comment, "six_to_four", f"{P4} {S4} 0 0", packet, out, quote=f"{S4} {P4} {SP} {PP}", **options)


NO = "IcmpNotTranslated"
for code in (*range(4), *range(5, 17)):
    if code in (0, 1, 5, 6, 7, 8, 11, 12):
        out = (1, 0, 0)
    elif code == 2:
        out = (4, 1, 6)
    elif code == 3:
        out = (1, 4, 0)
    elif code in (9, 10, 13, 15):
        out = (1, 1, 0)
    else:
        out = NO
    error4(f"icmp4_unreachable_{code}", f"RFC 7915 section 4.2: Destination Unreachable code {code}", (3, code, 0), out)
for code in (0, 1):
    error4(f"icmp4_time_exceeded_{code}", "RFC 7915 section 4.2: Time Exceeded, code unchanged", (11, code, 0), (3, code, 0))
for kind in (4, 5):
    error4(f"icmp4_type_{kind}", "RFC 7915 section 4.2: Source Quench and Redirect are dropped", (kind, 0, 0), NO)
POINTERS4 = {0: 0, 1: 1, 2: 4, 3: 4, 8: 7, 9: 6, **{i: 8 for i in range(12, 16)}, **{i: 24 for i in range(16, 20)}}
for pointer in range(22):
    out = (4, 0, POINTERS4[pointer]) if pointer in POINTERS4 else NO
    error4(f"icmp4_parameter_{pointer}", f"RFC 7915 figure 3: pointer {pointer}", (12, 0, pointer << 24), out)
error4("icmp4_parameter_bad_length", "Code 2 is treated as code 0", (12, 2, 9 << 24), (4, 0, 6))
error4("icmp4_parameter_missing_option", "Code 1 is dropped", (12, 1, 0), NO)
for name, mtu, out, options in (
    ("plain", 1400, 1420, {}),
    ("floor", 600, 1280, {}),
    ("floor_1259", 1259, 1280, {}),
    ("nexthop6", 1500, 1500, {}),
    ("nexthop4", 1490, 1420, dict(mtu4=1400)),
    ("plateau", 0, 1280, {}),
):
    error4(f"icmp4_mtu_{name}", "RFC 7915 section 4.2: maximum(1280, minimum(MTU + 20, nexthop6, nexthop4 + 20))",
           (3, 4, mtu), (2, 0, out), **options)
for total, out in ((1492, 1280), (1493, 1512), (2002, 1512), (2003, 2022), (9000, 8186)):
    quoted = bytes(v4(ttl=9, flags="DF") / UDP(sport=PP, dport=SP) / bytes(total - 28))
    expected = bytes(v6(hlim=9) / UDP(sport=CP, dport=SP) / bytes(total - 28))
    error4(f"icmp4_mtu_zero_{total}", f"MTU 0 about {total} bytes: the next lower plateau of RFC 1191",
           (3, 4, 0), (2, 0, out), quoted[:28], expected[:48], mtu6=9192, mtu4=9192)

for code in range(8):
    out = {0: (3, 1, 0), 1: (3, 10, 0), 2: (3, 1, 0), 3: (3, 1, 0), 4: (3, 3, 0)}.get(code, NO)
    error6(f"icmp6_unreachable_{code}", f"RFC 7915 section 5.2: Destination Unreachable code {code}", (1, code, 0), out)
for code in (0, 1):
    error6(f"icmp6_time_exceeded_{code}", "RFC 7915 section 5.2: Time Exceeded, code unchanged", (3, code, 0), (11, code, 0))
POINTERS6 = {0: 0, 1: 1, 4: 2, 5: 2, 6: 9, 7: 8, **{i: 12 for i in range(8, 24)}, **{i: 16 for i in range(24, 40)}}
for pointer in (*range(10), 15, 22, 23, 24, 25, 38, 39, 40, 41, 255, 256, 1 << 24):
    out = (12, 0, POINTERS6[pointer] << 24) if pointer in POINTERS6 else NO
    error6(f"icmp6_parameter_{pointer}", f"RFC 7915 figure 6: pointer {pointer}", (4, 0, pointer), out)
error6("icmp6_parameter_next_header", "Unrecognized Next Header becomes Protocol Unreachable", (4, 1, 6), (3, 2, 0))
error6("icmp6_parameter_option", "Unrecognized option is dropped", (4, 2, 6), NO)
error6("icmp6_unknown", "Unknown errors are dropped", (100, 0, 0), NO)
for name, mtu, out, options in (
    ("plain", 1400, 1380, {}),
    ("nexthop4", 1500, 1400, dict(mtu4=1400)),
    ("nexthop6", 9000, 1480, {}),
    ("wide", 0xFFFFFFFF, 1480, {}),
    ("zero", 0, 68, {}),
):
    error6(f"icmp6_mtu_{name}", "RFC 7915 section 5.2: minimum(MTU - 20, nexthop4, nexthop6 - 20)",
           (2, 0, mtu), (3, 4, out), **options)
frag6 = r6(hlim=1) / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0xBEEF) / Raw(down6[:1200])
frag4 = r4(ttl=1, id=0xBEEF, flags="MF", proto=17) / Raw(down4[:1200])
error6("icmp6_mtu_fragment", "The quoted packet has a Fragment header: 8 bytes more", (2, 0, 1400), (3, 4, 1372),
       frag6, frag4, flags=0)
q4 = v4(ttl=1, id=0x7777, flags="MF", proto=17) / Raw(udp4[:400])
q6 = v6(hlim=1) / IPv6ExtHdrFragment(nh=17, offset=0, m=1, id=0x7777) / Raw(udp6[:400])
error4("icmp4_quoted_fragment", "The quote of a first fragment gets a Fragment header", (11, 0, 0), (3, 0, 0), q4, q6)
error4("icmp4_quoted_later_fragment", "Without ports there is no session", (11, 0, 0), "IcmpErrorNoSession",
       v4(ttl=1, id=0x7777, flags=0, frag=50, proto=17) / Raw(udp4[400:500]))

# Quotes of each protocol, whole and cut to 8 bytes of transport.
for name, a4, a6 in (
    ("tcp", v4(ttl=1, flags="DF") / tcp(PP, SP) / DATA, v6(hlim=1) / tcp(CP, SP) / DATA),
    ("udp", v4(ttl=1, flags="DF") / UDP(sport=PP, dport=SP) / DATA, v6(hlim=1) / UDP(sport=CP, dport=SP) / DATA),
    ("echo", v4(ttl=1, flags="DF") / ICMP(type=8, id=PP, seq=3) / DATA, v6(hlim=1) / ICMPv6EchoRequest(id=CP, seq=3, data=DATA)),
):
    error4(f"icmp4_quote_{name}", "Quote of a whole packet", (3, 13, 0), (1, 1, 0), a4, a6)
    error4(f"icmp4_quote_{name}_8", "Quote cut to 8 bytes of transport", (3, 13, 0), (1, 1, 0), bytes(a4)[:28], bytes(a6)[:48])
    error4(f"icmp4_quote_{name}_7", "Quote cut to 7 bytes of transport has no ports", (3, 13, 0), "IcmpErrorMalformed", bytes(a4)[:27])
for name, a6, a4 in (
    ("tcp", r6(hlim=1) / tcp(SP, CP) / DATA, r4(ttl=1, id=0, flags=0) / tcp(SP, PP) / DATA),
    ("udp", r6(hlim=1) / UDP(sport=SP, dport=CP) / DATA, r4(ttl=1, id=0, flags=0) / UDP(sport=SP, dport=PP) / DATA),
    ("echo", r6(hlim=1) / ICMPv6EchoReply(id=CP, seq=3, data=DATA), r4(ttl=1, id=0, flags=0) / ICMP(type=0, id=PP, seq=3) / DATA),
):
    error6(f"icmp6_quote_{name}", "Quote of a whole packet", (1, 1, 0), (3, 10, 0), a6, a4)
    error6(f"icmp6_quote_{name}_8", "Quote cut to 8 bytes of transport", (1, 1, 0), (3, 10, 0), bytes(a6)[:48], bytes(a4)[:28])
    error6(f"icmp6_quote_{name}_7", "Quote cut to 7 bytes of transport has no ports", (1, 1, 0), "IcmpErrorMalformed", bytes(a6)[:47])
error4("icmp4_quote_error", "An error about an error is refused", (3, 1, 0), "IcmpErrorMalformed",
       v4(ttl=1, proto=1) / Raw(icmp4(3, 1, 0, r4() / tcp(SP, PP))))
error6("icmp6_quote_error", "An error about an error is refused", (1, 0, 0), "IcmpErrorMalformed",
       icmp6(r6(nh=58), 1, 0, 0, v6() / tcp(CP, SP)))
error4("icmp4_quote_other", "A protocol without sessions", (3, 1, 0), "IcmpErrorNoSession", v4(proto=132) / Raw(DATA))
error6("icmp6_quote_other", "A protocol without sessions", (1, 0, 0), "IcmpErrorNoSession", r6(nh=132) / Raw(DATA))
error4("icmp4_quote_options", "Options of the quoted packet are left out", (3, 1, 0), (1, 0, 0),
       v4(ttl=1, flags="DF", options=[IPOption_NOP()] * 4) / tcp(PP, SP) / DATA, v6(hlim=1) / tcp(CP, SP) / DATA)
error6("icmp6_quote_extension", "Extension headers of the quoted packet are left out", (1, 0, 0), (3, 1, 0),
       r6(hlim=1, nh=60, plen=8 + 117) / Raw(bytes.fromhex("0600010400000000") + bytes(r6() / tcp(SP, CP) / DATA)[40:]),
       r4(ttl=1, id=0, flags=0) / tcp(SP, PP) / DATA)
packet = wrong(IP(src=R4, dst=P4, ttl=61, id=77, proto=1) / Raw(icmp4(3, 1, 0, v4() / tcp(PP, SP) / DATA)), 22, 1)
case("icmp4_wrong_checksum", "A damaged error must not become a valid one", "four_to_six", f"{R4AS6} {C6} 0 0", packet,
     "BadTransportChecksum", quote=f"{C6} {S6} {CP} {SP}")
packet = wrong(icmp6(IPv6(src=R6, dst=S6, hlim=61, nh=58), 1, 0, 0, r6() / tcp(SP, CP) / DATA), 42, 1)
case("icmp6_wrong_checksum", "A damaged error must not become a valid one", "six_to_four", f"{P4} {S4} 0 0", packet,
     "BadTransportChecksum", quote=f"{S4} {P4} {SP} {PP}")

error4("icmp4_quote_udp_zero", "A quoted UDP checksum of zero stays zero", (3, 13, 0), (1, 1, 0),
       v4(ttl=1, flags="DF") / UDP(sport=PP, dport=SP, chksum=0) / DATA, v6(hlim=1) / UDP(sport=CP, dport=SP, chksum=0) / DATA)

error4("icmp4_quote_bad_header_checksum", "RFC 5508 REQ-3a: the quoted IPv4 header is damaged", (3, 1, 0), "IcmpErrorMalformed",
       wrong(v4(ttl=1, flags="DF") / tcp(PP, SP) / DATA, 10, 1))
error4("icmp4_quote_bad_transport_checksum", "RFC 5508 REQ-3c: the quoted transport checksum is not looked at", (3, 1, 0), (1, 0, 0),
       wrong(v4(ttl=1, flags="DF") / tcp(PP, SP) / DATA, 36, 0x101), wrong(v6(hlim=1) / tcp(CP, SP) / DATA, 56, 0x101))

# An ICMPv6 error may be at most 1,280 bytes long.
a4, a6 = v4(ttl=1, flags="DF") / UDP(sport=PP, dport=SP) / bytes(1400), v6(hlim=1) / UDP(sport=CP, dport=SP) / bytes(1400)
error4("icmp4_quote_long", "A long quote is cut so that the ICMPv6 error has 1,280 bytes", (3, 1, 0), (1, 0, 0), a4,
       bytes(a6)[:1232])

# ---- RFC 4884 -----------------------------------------------------------------------------------------------------------

# Extension header (version 2, checksum) and one MPLS label stack object (RFC 4950).
ext = bytes.fromhex("2000 0000 0008 0101 0001 01ff".replace(" ", ""))
ext = ext[:2] + struct.pack("!H", checksum(ext)) + ext[4:]


def padded(data, size):
    return bytes(data) + bytes(size - len(bytes(data)))


a4, a6 = v4(ttl=1, flags="DF") / tcp(PP, SP) / bytes(16), v6(hlim=1) / tcp(CP, SP) / bytes(16)
error4("rfc4884_short_four_to_six", "Quote padded to 128 bytes stays so; 32 words of 4 become 16 of 8",
       (11, 0, 32 << 16), (3, 0, 16 << 24), body=padded(a4, 128) + ext, outbody=padded(a6, 128) + ext)
a4, a6 = v4(ttl=1, flags="DF") / tcp(PP, SP) / bytes(89), v6(hlim=1) / tcp(CP, SP) / bytes(89)
error4("rfc4884_grows_four_to_six", "129 bytes of quote in 33 words become 149 in 19 words of 8, padded to 152",
       (3, 1, 33 << 16), (1, 0, 19 << 24), body=padded(a4, 132) + ext, outbody=padded(a6, 152) + ext)
error4("rfc4884_fragmentation_needed", "Packet Too Big has no length field: the extensions are left out",
       (3, 4, 33 << 16 | 1400), (2, 0, 1420), body=padded(a4, 132) + ext, outbody=a6)
error4("rfc4884_parameter", "ICMPv6 Parameter Problem has no length field: the extensions are left out",
       (12, 0, 8 << 24 | 33 << 16), (4, 0, 7), body=padded(a4, 132) + ext, outbody=a6)
error4("rfc4884_protocol", "Protocol Unreachable becomes a Parameter Problem: the extensions are left out",
       (3, 2, 33 << 16), (4, 1, 6), body=padded(a4, 132) + ext, outbody=a6)
error4("rfc4884_length_too_long", "A length past the end means nothing",
       (11, 0, 200 << 16), (3, 0, 0), body=bytes(a4), outbody=a6)
a4, a6 = v4(ttl=1, flags="DF") / UDP(sport=PP, dport=SP) / bytes(900), v6(hlim=1) / UDP(sport=CP, dport=SP) / bytes(900)
long_ext = bytes.fromhex("20000000") + struct.pack("!HBB", 404, 1, 1) + bytes(400)
long_ext = long_ext[:2] + struct.pack("!H", checksum(long_ext)) + long_ext[4:]
error4("rfc4884_long_four_to_six", "Quote and extensions are too long together: the quote is cut, to whole words",
       (11, 0, (928 // 4) << 16), (3, 0, 103 << 24), body=bytes(a4) + long_ext, outbody=bytes(a6)[:824] + long_ext)
huge_ext = bytes.fromhex("20000000") + struct.pack("!HBB", 1204, 1, 1) + bytes(1200)
a4, a6 = v4(ttl=1, flags="DF") / tcp(PP, SP) / bytes(88), v6(hlim=1) / tcp(CP, SP) / bytes(88)
error4("rfc4884_huge_four_to_six", "Extensions that leave no room for 128 bytes of quote are cut off",
       (11, 0, 32 << 16), (3, 0, 0), body=padded(a4, 128) + huge_ext, outbody=a6)

a6, a4 = r6(hlim=1) / tcp(SP, CP) / bytes(16), r4(ttl=1, id=0, flags=0) / tcp(SP, PP) / bytes(16)
error6("rfc4884_short_six_to_four", "Quote padded to 128 bytes stays so; 16 words of 8 become 32 of 4",
       (3, 0, 16 << 24), (11, 0, 32 << 16), body=padded(a6, 128) + ext, outbody=padded(a4, 128) + ext)
a6, a4 = r6(hlim=1) / tcp(SP, CP) / bytes(110), r4(ttl=1, id=0, flags=0) / tcp(SP, PP) / bytes(110)
error6("rfc4884_shrinks_six_to_four", "170 bytes of quote in 22 words become 150 in 38 words of 4, padded to 152",
       (1, 3, 22 << 24), (3, 1, 38 << 16), body=padded(a6, 176) + ext, outbody=padded(a4, 152) + ext)
a6, a4 = r6(hlim=1) / tcp(SP, CP) / bytes(1100), r4(ttl=1, id=0, flags=0) / tcp(SP, PP) / bytes(1100)
error6("rfc4884_long_six_to_four", "ICMPv4 can tell 1,020 bytes of quote: the rest is cut",
       (1, 3, 145 << 24), (3, 1, 255 << 16), body=bytes(a6) + ext, outbody=bytes(a4)[:1020] + ext)
