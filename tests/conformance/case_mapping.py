"""UDP and ICMP sessions and their timers, mapping, filtering, hairpinning."""

from gateway import *

ADDRESS_DEPENDENT = configuration(nic="service-set s { filtering address-dependent; }")
PORT_DEPENDENT = configuration(nic="service-set s { filtering address-and-port-dependent; }")


@case()
def udp_lives_five_minutes(g):
    """RFC 6146 3.5.1: "The maximum session lifetime MAY be configurable, and the default SHOULD be at least UDP_DEFAULT."; "When the timer expires, the UDP session is deleted." """
    open_udp(g)
    g.wait(298)
    g.counts(1, 1)
    g.wait(4)
    g.counts(0, 0)


@case()
def udp_is_refreshed_from_both_sides(g):
    """RFC 4787 REQ-6: "The NAT mapping Refresh Direction MUST have a "NAT Outbound refresh behavior" of "True"." RFC 6146 3.5.1: "The NAT64 sets (or resets) the timer in the Session Table Entry to the maximum session lifetime." """
    public = open_udp(g)
    for _ in range(3):
        g.wait(250)
        g.out(udp6())
        g.wait(250)
        g.back(udp4(public))
    g.wait(298)
    g.counts(1, 1)
    g.wait(4)
    g.counts(0, 0)


@case(configuration().replace("profile rfc;", "profile rfc; udp 130; icmp 70;"))
def timers_are_configurable(g):
    """RFC 6146 3.5.1: "The maximum session lifetime MAY be configurable"; RFC 6146 3.5.3: "The maximum lifetime value SHOULD be configurable." """
    open_udp(g)
    g.out(echo6())
    g.wait(68)
    g.counts(2, 2)
    g.wait(4)
    g.counts(1, 1)
    g.wait(54)
    g.counts(1, 1)
    g.wait(8)
    g.counts(0, 0)


@case()
def ping_lives_one_minute(g):
    """RFC 5508 REQ-2: "An ICMP Query session timer MUST NOT expire in less than 60 seconds." RFC 6146 3.5.3: "By default, the maximum session lifetime is ICMP_DEFAULT." """
    g.out(echo6())
    g.wait(58)
    g.counts(1, 1)
    g.wait(4)
    g.counts(0, 0)


@case()
def ping_identifier_is_mapped_for_all_hosts(g):
    """RFC 5508 REQ-1: "NAT mapping of ICMP Query Identifiers SHOULD be external- host independent." """
    one, two = g.out(echo6()), g.out(echo6(dst=embed(SERVER2)))
    same("mapping", (one.src, one[ICMP].id), (two.src, two[ICMP].id))
    g.counts(2, 1)


@case()
def two_pings_with_one_identifier(g):
    """RFC 6146 3.5.3: "any identifier value for which no other entry exists with the same (IPv4 address, ICMPv4 Identifier) pair." """
    one, two = g.out(echo6()), g.out(echo6(src=CLIENT2))
    true("mappings differ", (one.src, one[ICMP].id) != (two.src, two[ICMP].id))
    p = g.back(IP(src=SERVER, dst=two.src) / ICMP(type=0, id=two[ICMP].id, seq=1) / b"ping")
    same("to the second client", p.dst, CLIENT2)


@case()
def echo_request_from_outside(g):
    """RFC 6146 3.5.3: "The NAT64 searches for an ICMP Query BIB entry that contains X as the IPv4 address and i2 as the ICMPv4 Identifier." """
    p = g.out(echo6())
    q = g.back(IP(src=SERVER2, dst=p.src) / ICMP(type=8, id=p[ICMP].id, seq=9) / b"hello")
    same("request", (q.src, q.dst, q[ICMPv6EchoRequest].id, q[ICMPv6EchoRequest].seq), (embed(SERVER2), CLIENT, 77, 9))
    sent = g.outside(IP(src=SERVER2, dst=p.src) / ICMP(type=8, id=p[ICMP].id ^ 1, seq=9) / b"hello")
    true("nothing to the inside", all(s.side == "outside" for s in sent))


@case()
def mapping_is_endpoint_independent(g):
    """RFC 4787 REQ-1: "A NAT MUST have an "Endpoint-Independent Mapping" behavior." RFC 5382 REQ-1: "A NAT MUST have an "Endpoint-Independent Mapping" behavior for TCP." """
    publics = {open_udp(g, dst=embed(s), dport=d) for s in (SERVER, SERVER2, "1.1.1.1") for d in (53, 443)}
    same("public addresses and ports", len(publics), 1)
    publics = {open_tcp(g, dst=embed(s), dport=d) for s in (SERVER, SERVER2) for d in (80, 443)}
    same("public addresses and ports", len(publics), 1)
    g.counts(10, 2)


@case(configuration(nic="service-set s { mapping address-and-port-dependent; }"))
def mapping_can_depend_on_the_server(g):
    """The statement `mapping address-and-port-dependent`. RFC 4787 REQ-11: "A NAT MUST have deterministic behavior" """
    publics = {open_udp(g, dst=embed(s), dport=d) for s in (SERVER, SERVER2) for d in (53, 443)}
    same("public addresses and ports", len(publics), 4)


@case()
def filtering_is_endpoint_independent(g):
    """RFC 4787 REQ-8: "If application transparency is most important, it is RECOMMENDED that a NAT have an "Endpoint-Independent Filtering" behavior." """
    public = open_udp(g)
    p = g.back(udp4(public, src=SERVER2, sport=9999))
    same("packet", (p.src, p.dst, p[UDP].sport, p[UDP].dport), (embed(SERVER2), CLIENT, 9999, 4000))
    g.counts(2, 1)


@case(ADDRESS_DEPENDENT)
def filtering_can_depend_on_the_address(g):
    """RFC 6146 3.5.1: "If such an entry is found (there may be more than one), packet processing continues. Otherwise, the packet is discarded."; "The ICMP error message, if sent, has Type 3 (Destination Unreachable) and Code 13 (Communication Administratively Prohibited)." """
    public = open_udp(g)
    same("other port of the server", g.back(udp4(public, sport=9999))[UDP].sport, 9999)
    for s in g.outside(udp4(public, src=SERVER2)):
        same("answer", (s.side, s.packet[ICMP].type, s.packet[ICMP].code), ("outside", 3, 13))
    open_udp(g, dst=embed(SERVER2), dport=1)
    same("now the other server too", g.back(udp4(public, src=SERVER2)).src, embed(SERVER2))


@case(PORT_DEPENDENT)
def filtering_can_depend_on_the_port(g):
    """RFC 4787 5: "Address and Port-Dependent Filtering" """
    public = open_udp(g)
    g.back(udp4(public))
    for packet in (udp4(public, sport=9999), udp4(public, src=SERVER2)):
        true("nothing to the inside", all(s.side == "outside" for s in g.outside(packet)))


@case()
def no_mapping_no_packet(g):
    """RFC 6146 3.5.1: "If such an entry does not exist, the packet MUST be dropped. An ICMP error message with Type 3 (Destination Unreachable) MAY be sent to the original sender of the packet." """
    for s in g.outside(udp4(("203.0.113.1", 2000))):
        same("answer", (s.side, s.packet[ICMP].type), ("outside", 3))
    g.counts(0, 0)


@case()
def protocols_have_their_own_tables(g):
    """RFC 6146 3.5.1.1: "MUST NOT be in use in another entry in the same BIB, but can be in use in other BIBs (e.g., the UDP and TCP BIBs)." """
    public = open_udp(g)
    g.none(g.outside(tcp4(public, "A")))
    sent = g.outside(IP(src=SERVER, dst=public[0]) / ICMP(type=0, id=public[1], seq=1))
    true("nothing to the inside", all(s.side == "outside" for s in sent))


@case()
def icmp_errors_do_not_end_a_mapping(g):
    """RFC 4787 REQ-12: "Receipt of any sort of ICMP message MUST NOT terminate the NAT mapping." """
    public = open_udp(g)
    quoted = bytes(IP(src=public[0], dst=SERVER) / UDP(sport=public[1], dport=53) / b"x")
    g.back(IP(src=ROUTER4, dst=public[0]) / ICMP(type=3, code=3) / Raw(quoted))
    g.counts(1, 1)
    g.back(udp4(public))


@case()
def udp_hairpin(g):
    """RFC 4787 REQ-9: "A NAT MUST support "Hairpinning"."; "A NAT Hairpinning behavior MUST be "External source IP address and port"." RFC 6146 3.8: "The packet is treated as if it was received on the outgoing interface." """
    one = open_udp(g)
    p = g.one(g.inside(udp6(b"hello", sport=7000, src=CLIENT2, dst=embed(one[0]), dport=one[1])), "inside")
    same("to the first client", (p.dst, p[UDP].dport, bytes(p[UDP].payload)), (CLIENT, 4000, b"hello"))
    outer = ipaddress.ip_address(p.src).packed
    same("prefix of the source", outer[:12], ipaddress.ip_address(SERVER6).packed[:12])
    true("source of the pool", ipaddress.ip_address(outer[12:]) in POOL)
    true("another mapping", (str(ipaddress.ip_address(outer[12:])), p[UDP].sport) != one)
    q = g.one(g.inside(udp6(b"back", dst=p.src, dport=p[UDP].sport)), "inside")
    same("answer", (q.src, q.dst, q[UDP].sport, q[UDP].dport), (embed(one[0]), CLIENT2, one[1], 7000))


@case()
def hairpin_falls_by_one_hop_or_two(g):
    """RFC 7915 5.1: "it needs to decrement either the IPv6 Hop Limit (before the translation) or the IPv4 TTL (after the translation)." """
    one = open_udp(g)
    p = g.one(g.inside(udp6(sport=7000, src=CLIENT2, dst=embed(one[0]), dport=one[1], hlim=50)), "inside")
    true(f"hop limit {p.hlim}", p.hlim in (48, 49))


@case()
def tcp_hairpin(g):
    """RFC 5382 REQ-8: "A NAT MUST support "hairpinning" for TCP." """
    one = open_tcp(g)
    p = g.one(g.inside(tcp6("S", sport=7000, src=CLIENT2, dst=embed(one[0]), dport=one[1])), "inside")
    same("SYN", (p.dst, p[TCP].dport, str(p[TCP].flags)), (CLIENT, 4000, "S"))
    q = g.one(g.inside(tcp6("SA", dst=p.src, dport=p[TCP].sport)), "inside")
    same("SYN ACK", (q.src, q.dst, q[TCP].sport, q[TCP].dport), (embed(one[0]), CLIENT2, one[1], 7000))
    r = g.one(g.inside(tcp6("PA", b"data", sport=7000, src=CLIENT2, dst=embed(one[0]), dport=one[1])), "inside")
    same("data", (r.dst, bytes(r[TCP].payload)), (CLIENT, b"data"))


@case()
def hairpinned_icmp_error(g):
    """RFC 5508 REQ-7: "All NAT devices (i.e., Basic NAT as well as NAPT devices) MUST support the traversal of hairpinned ICMP Error messages" """
    one = open_udp(g)
    p = g.one(g.inside(udp6(b"hello", sport=7000, src=CLIENT2, dst=embed(one[0]), dport=one[1])), "inside")
    error = IPv6(src=CLIENT, dst=p.src) / ICMPv6DestUnreach(code=4) / Raw(p.raw_bytes)
    q = g.one(g.inside(error), "inside")
    same("error", (q.dst, q[ICMPv6DestUnreach].code), (CLIENT2, 4))
    inner = IPv6(q.raw_bytes[48:])
    same("quote", (inner.src, inner.dst, inner[UDP].sport, inner[UDP].dport), (CLIENT2, embed(one[0]), 7000, one[1]))
    same("source", q.src, embed(one[0]))


@case()
def hairpin_to_no_mapping(g):
    """RFC 6146 3.5.1: "If such an entry does not exist, the packet MUST be dropped." """
    sent = g.inside(udp6(dst="64:ff9b::cb00:71c8", dport=9999))
    true("nothing to the outside", all(s.side == "inside" for s in sent))


@case()
def ping_within_the_pool(g):
    """RFC 5508 REQ-7: "MUST support the traversal of hairpinned ICMP Query sessions." (asked of Basic NAT.) A ping to one's own public address does no harm."""
    p = g.out(echo6())
    for s in g.inside(echo6(dst=embed(p.src), ident=5)):
        same("side", s.side, "inside")
