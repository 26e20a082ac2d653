"""Pools, allocation of ports, limits, prefix lengths, and the two rules that meet in one server."""

from gateway import *

ONE_ADDRESS = "address-range low 203.0.113.9 high 203.0.113.9;"
FOUR_PORTS = configuration(addresses=ONE_ADDRESS, port="range { low 5000; high 5003; }")
PAIRED = configuration(then="address-pooling paired;", pool="address-allocation { round-robin; }")


@case(FOUR_PORTS)
def pool_is_used_up_exactly(g):
    """RFC 6146 3.5.1.1: "If it is not possible to allocate an appropriate IPv4 transport address or create a BIB entry, then the packet is discarded. The NAT64 SHOULD send an ICMPv6 Destination Unreachable error message with Code 3 (Address Unreachable)." """
    ports = {open_udp(g, sport=4000 + i) for i in range(4)}
    same("mappings", ports, {("203.0.113.9", port) for port in range(5000, 5004)})
    for s in g.inside(udp6(sport=4100)):
        same("answer", (s.side, s.packet[ICMPv6DestUnreach].code), ("inside", 3))
    g.counts(4, 4)
    # Live sessions are not harmed, and other protocols have ports of their own.
    g.out(udp6(sport=4002))
    open_tcp(g)
    g.wait(302)
    open_udp(g, sport=4100)


@case(configuration(addresses=ONE_ADDRESS, port="range { low 5000; high 5003; }", nic="port 0 { unit 0 { family { inet6 { address 2001:db8:aa::1/64; gateway 2001:db8:aa::2; } } } } port 1 { unit 0 { family { inet { address 198.18.0.1/24; gateway 198.18.0.2; } } } }"))
def empty_pool_is_told(g):
    """RFC 6146 3.5.1.1: "The NAT64 SHOULD send an ICMPv6 Destination Unreachable error message with Code 3 (Address Unreachable)." """
    for i in range(4):
        open_udp(g, sport=4000 + i)
    p = g.one(g.inside(udp6(sport=4100)), "inside")
    same("answer", (p.dst, p[ICMPv6DestUnreach].code), (CLIENT, 3))


@case()
def no_port_is_given_twice(g):
    """RFC 4787 REQ-3: "A NAT MUST NOT have a "Port assignment" behavior of "Port overloading"." """
    publics = [open_udp(g, src=f"2001:db8::{i + 1:x}", sport=4000) for i in range(60)]
    same("different mappings", len(set(publics)), 60)


@case()
def one_address_for_all_protocols_of_a_client(g):
    """RFC 6146 3.5.2.3: "If there exists some other BIB entry in any of the BIBs that contains S' as the IPv6 address and maps it to some IPv4 address T, then T SHOULD be used as the IPv4 address." """
    addresses = {open_udp(g)[0], open_udp(g, sport=4001)[0], open_tcp(g)[0], g.out(echo6()).src}
    same("addresses", len(addresses), 1)


@case(PAIRED)
def pairing_with_round_robin(g):
    """RFC 4787 REQ-2: "It is RECOMMENDED that a NAT have an "IP address pooling" behavior of "Paired"." """
    one = {open_udp(g, sport=4000 + i)[0] for i in range(5)} | {open_tcp(g)[0]}
    two = {open_udp(g, src=CLIENT2, sport=4000 + i)[0] for i in range(5)}
    same("addresses of each client", (len(one), len(two)), (1, 1))
    true("another address for the second client", one != two)


@case(configuration(port="automatic; preserve-parity;"))
def parity_is_preserved(g):
    """RFC 4787 REQ-4: "It is RECOMMENDED that a NAT have a "Port parity preservation" behavior of "Yes"." """
    for sport in (4000, 4001, 4003, 4005, 4006, 50001):
        same("parity", open_udp(g, sport=sport)[1] % 2, sport % 2)


@case(configuration(addresses=ONE_ADDRESS, port="range { low 1; high 65535; } preserve-range;"))
def range_is_preserved(g):
    """RFC 6146 3.5.1.1: "If the port s is in the Well-Known port range 0-1023, and the NAT64 has an available port t in the same port range, then the NAT64 SHOULD allocate the port t." """
    for sport in (1, 500, 1023, 1024, 4000, 65535):
        same("range", open_udp(g, sport=sport)[1] < 1024, sport < 1024)


@case()
def high_ports_stay_high(g):
    """RFC 6146 3.5.1.1: "If the port s is in the range 1024-65535, and the NAT64 has an available port t in the same port range, then the NAT64 SHOULD allocate the port t." """
    for sport in (1024, 4000, 65535):
        true("high", open_udp(g, sport=sport)[1] >= 1024)


@case(configuration(port="automatic { random-allocation; }"))
def random_ports_are_random(g):
    """RFC 6056 3.1: "ephemeral ports"; the statement `random-allocation`: no order, no port twice."""
    ports = [open_udp(g, sport=4000 + i)[1] for i in range(40)]
    same("different", len(set(ports)), 40)
    true("not in order", ports != sorted(ports))
    true("spread", max(ports) - min(ports) > 10000)


@case(configuration(pool="limit-ports-per-address 3;"))
def limit_of_a_client(g):
    """RFC 6888 REQ-4: "A CGN MUST support limiting the number of external ports (or, equivalently, "identifiers" for ICMP) that are assigned per subscriber." """
    for i in range(3):
        open_udp(g, sport=4000 + i)
    true("no more for this client", all(s.side == "inside" for s in g.inside(udp6(sport=4100))))
    open_udp(g, src=CLIENT2)
    g.out(udp6(sport=4000, dst=embed(SERVER2)))


@case(configuration(addresses=ONE_ADDRESS, port="range { low 5000; high 5001; }", nic="pool p { quarantine 120; }"))
def freed_ports_rest(g):
    """RFC 6888 REQ-8: "Once an external port is deallocated, it SHOULD NOT be reallocated to a new mapping until at least 120 seconds have passed" """
    open_udp(g, sport=4000)
    open_udp(g, sport=4001)
    g.wait(302)
    g.counts(0, 0)
    true("both rest", all(s.side == "inside" for s in g.inside(udp6(sport=4002))))
    g.wait(122)
    open_udp(g, sport=4002)


@case(configuration(nic="limits { sessions 3; }"))
def limit_of_sessions(g):
    """RFC 5508 REQ-8: "When a NAT device is unable to establish a NAT Session for a new transport-layer (TCP, UDP, ICMP, etc.) flow due to resource constraints or administrative restrictions, the NAT device SHOULD send an ICMP destination unreachable message" """
    for i in range(3):
        open_udp(g, sport=4000 + i)
    for s in g.inside(udp6(sport=4100)):
        same("answer", s.side, "inside")
    g.counts(3, 3)
    g.out(udp6(sport=4000))


@case(configuration(nic="service-set s { static-binding udp inside 2001:db8::5 port 53 outside 203.0.113.200 port 5353 { rule r; term t; } }"))
def static_binding(g):
    """RFC 6146 3.5.1: "If all the UDP sessions corresponding to a dynamically created UDP BIB entry are deleted, then the UDP BIB entry is also deleted." A static one stays."""
    for _ in range(2):
        p = g.back(udp4(("203.0.113.200", 5353), sport=777))
        same("packet", (p.src, p.dst, p[UDP].sport, p[UDP].dport), (SERVER6, "2001:db8::5", 777, 53))
        q = g.out(udp6(src="2001:db8::5", sport=53, dport=777))
        same("answer", (q.src, q[UDP].sport), ("203.0.113.200", 5353))
        g.wait(400)


def prefix_case(prefix):
    @case(configuration(prefix=prefix))
    def check(g):
        """RFC 6052 2.3: "IPv4-embedded IPv6 addresses are composed according to the following algorithm"; 2.2: "The IPv4 address is encoded following the prefix, most significant bits first." """
        for server in (SERVER, "1.2.3.4", "198.41.0.4", "223.255.254.253"):
            inside = embed(server, prefix)
            p = g.out(udp6(dst=inside))
            same("destination", p.dst, server)
            same("source", g.back(udp4((p.src, p[UDP].sport), src=server)).src, inside)

    check.__name__ = "prefix_length_" + prefix.split("/")[1]

    if not prefix.endswith("/96"):

        @case(configuration(prefix=prefix))
        def suffix(g):
            """RFC 6052 2.2: "Address translators who receive IPv4- embedded IPv6 addresses where these bits are not zero SHOULD ignore the bits' value and proceed as if the bits' value were zero." """
            raw = bytearray(ipaddress.ip_address(embed(SERVER, prefix)).packed)
            raw[15] = 0x5A
            p = g.out(udp6(dst=str(ipaddress.ip_address(bytes(raw)))))
            same("destination", p.dst, SERVER)

        suffix.__name__ = "suffix_is_ignored_" + prefix.split("/")[1]


for _prefix in ("2001:db8::/32", "2001:db8:100::/40", "2001:db8:122::/48", "2001:db8:122:300::/56", "2001:db8:122:344::/64", "2001:db8:122:344::/96"):
    # The clients are elsewhere when the prefix covers their network.
    prefix_case(_prefix.replace("2001:db8", "2001:dba"))


@case()
def well_known_prefix_and_private_addresses(g):
    """RFC 6052 3.1: "The Well-Known Prefix MUST NOT be used to represent non-global IPv4 addresses, such as those defined in [RFC1918]" """
    for server in ("10.0.0.1", "172.16.0.1", "192.168.1.1"):
        true("nothing goes outside", all(s.side == "inside" for s in g.inside(udp6(dst=embed(server)))))
    g.counts(0, 0)


@case(configuration(prefix="2001:dba::/96"))
def other_prefixes_and_private_addresses(g):
    """RFC 6052 3.1: "The Well-Known Prefix MUST NOT be used to represent non-global IPv4 addresses" (only the well-known one)"""
    for server in ("10.0.0.1", "192.168.1.1"):
        same("destination", g.out(udp6(dst=embed(server, "2001:dba::/96"))).dst, server)


TWO_RULES = """
services {{ nat {{
    pool p {{ address 203.0.113.0/24; port {{ automatic; }} }}
    rule a {{ match-direction input; term t {{ from {{ destination-address {{ 2001:dba:1::/96; }} }} then {{ translated {{ source-pool p; destination-prefix 2001:dba:1::/96; translation-type {{ stateful-nat64; }} mapping-type endpoint-independent; }} }} }} }}
    rule b {{ match-direction input; term t {{ from {{ destination-address {{ 2001:dba:2::/96; }} }} then {{ translated {{ source-pool p; destination-prefix 2001:dba:2::/96; translation-type {{ stateful-nat64; }} mapping-type endpoint-independent; }} }} }} }}
  }}
  service-set s {{ nat-options {{ stateful-nat64 {{ clear-dont-fragment-bit; }} }} nat-rules [ a b ]; interface-service {{ service-interface ms-0/1/0; }} }}
}}
nat64-nic {{ {nic} }}
"""


def both_prefixes(g):
    one, two = embed(SERVER, "2001:dba:1::/96"), embed(SERVER, "2001:dba:2::/96")
    p, q = g.out(udp6(b"one", dst=one)), g.out(udp6(b"two", dst=two))
    a, b = (p.src, p[UDP].sport), (q.src, q[UDP].sport)
    true("the sessions can be told apart", a != b)
    same("answers", (g.back(udp4(a)).src, g.back(udp4(b)).src), (one, two))
    for _ in range(2):
        same("stays", (g.out(udp6(dst=one))[UDP].sport, g.out(udp6(dst=two))[UDP].sport), (a[1], b[1]))


@case(TWO_RULES.format(nic=""))
def two_prefixes_one_server(g):
    """RFC 6146 3.6.1: "The outgoing source transport address is generated from S using the address transformation algorithm" : with two prefixes the answer must come from the one that was asked."""
    both_prefixes(g)


@case(TWO_RULES.format(nic="service-set s { eim-scope service-set; on-conflict reallocate; }"))
def two_prefixes_one_server_reallocated(g):
    """The same with one mapping per service set: `on-conflict reallocate`: a session that would clash gets another port."""
    both_prefixes(g)


@case(TWO_RULES.format(nic="service-set s { eim-scope service-set; on-conflict drop; }"))
def two_prefixes_one_server_dropped(g):
    """The same as Junos does it: the second session is refused, the first one lives on unharmed."""
    one, two = embed(SERVER, "2001:dba:1::/96"), embed(SERVER, "2001:dba:2::/96")
    p = g.out(udp6(dst=one))
    true("refused", all(s.side == "inside" for s in g.inside(udp6(dst=two))))
    same("answer", g.back(udp4((p.src, p[UDP].sport))).src, one)
    same("another server", g.out(udp6(dst=embed(SERVER2, "2001:dba:2::/96"))).dst, SERVER2)
