"""Statements of the configuration, each by what it does to packets: limits, mapping, filtering, pools, attacks."""

from gateway import *

ONE_ADDRESS = "address 203.0.113.7/32;"


def refused(g, packet, side="inside"):
    """The packet does not go on; its sender may be told."""
    sent = g.inside(packet) if side == "inside" else g.outside(packet)
    true(f"refused: {sent}", all(s.side == side for s in sent))


@case(configuration(then="secure-nat-mapping { eif-flow-limit 2; }"))
def eif_flow_limit(g):
    """Junos `eif-flow-limit`: sessions from outside through one mapping."""
    public = open_udp(g)
    for last in (1, 2):
        g.back(udp4(public, src=f"9.9.9.{last}"))
    g.none(g.outside(udp4(public, src="9.9.9.3")))
    g.back(udp4(public, src="9.9.9.2"))
    g.back(udp4(public))


@case(configuration(then="secure-nat-mapping { mapping-refresh outbound; }"))
def refresh_outbound(g):
    """RFC 4787 REQ-6a: "The NAT mapping Refresh Direction MAY have a "NAT Inbound refresh behavior" of "True"." Here it has not."""
    public = open_udp(g)
    g.wait(200)
    g.back(udp4(public))
    g.wait(105)
    g.counts(0, 0)
    open_udp(g)
    g.wait(200)
    g.out(udp6())
    g.wait(105)
    g.counts(1, 1)


@case(configuration(then="secure-nat-mapping { mapping-refresh inbound; }"))
def refresh_inbound(g):
    """Junos `mapping-refresh inbound`: only packets from outside keep a mapping alive."""
    public = open_udp(g)
    g.wait(200)
    g.out(udp6())
    g.wait(105)
    g.counts(0, 0)
    public = open_udp(g)
    g.wait(200)
    g.back(udp4(public))
    g.wait(105)
    g.counts(1, 1)


TWO_POOLS = configuration(addresses=ONE_ADDRESS, port="range { low 5000; high 5001; }", then="overload-pool spare;").replace(
    "rule r {", "pool spare { address 198.51.100.7/32; port automatic; }\n        rule r {", 1
)


@case(TWO_POOLS)
def overload_pool(g):
    """Junos `overload-pool`: the pool used when the source pool has no free port."""
    first = [g.out(udp6(sport=4000 + i)) for i in range(4)]
    same("addresses", [p.src for p in first], ["203.0.113.7"] * 2 + ["198.51.100.7"] * 2)
    g.back(udp4(("198.51.100.7", first[3][UDP].sport)))


@case(configuration(port="secured-port-block-allocation { block-size 4; max-blocks-per-address 2; }"))
def port_blocks(g):
    """RFC 6888 REQ-14: "a CGN SHOULD be able to allocate ports in blocks"; Junos `secured-port-block-allocation`."""
    ports = [open_udp(g, sport=4000 + i) for i in range(8)]
    blocks = {(address, (port - 1024) // 4) for address, port in ports}
    same("blocks", len(blocks), 2)
    refused(g, udp6(sport=4100))
    other = open_udp(g, src=CLIENT2)
    true("a block of its own", (other[0], (other[1] - 1024) // 4) not in blocks)


DETERMINISTIC = configuration(
    addresses="address 203.0.113.0/30;",
    port="deterministic-port-block-allocation { block-size 1000; include-boundary-addresses; }",
    source="2001:db8::/122",
).replace("stateful-nat64; }", "deterministic-napt64; }", 1)


@case(DETERMINISTIC)
def deterministic_ports(g):
    """RFC 7422 2: the address and ports of a client are computed from its address."""
    seen = {}
    for client in (1, 2, 0x3F):
        for sport in (4000, 4001):
            address, port = open_udp(g, src=f"2001:db8::{client:x}", sport=sport)
            seen.setdefault(client, set()).add((address, (port - 1024) // 1000))
    true(f"one block each: {seen}", all(len(blocks) == 1 for blocks in seen.values()))
    same("block of the second client", seen[2], {("203.0.113.1", 2)})
    same("different blocks", len(set.union(*seen.values())), 3)


@case(configuration(service_set="service-set-options { max-sessions-per-subscriber 2; }", nic="service-set s { subscriber-prefix-length 64; }"))
def sessions_of_a_subscriber(g):
    """RFC 6888 REQ-5: "A CGN SHOULD support limiting the amount of state memory allocated per mapping and per subscriber." """
    open_udp(g)
    open_udp(g, src=CLIENT2)
    refused(g, udp6(sport=4100))
    open_udp(g, src="2001:db8:0:1::1")


@case(configuration(service_set="max-session-setup-rate 3;"))
def setup_rate(g):
    """RFC 6888 REQ-4c: "RECOMMENDED that the CGN include administratively adjustable thresholds" of the rate of new mappings."""
    sent = [g.inside(udp6(sport=4000 + i)) for i in range(6)]
    same("let through", sum(any(s.side == "outside" for s in one) for one in sent), 3)
    g.wait(1)
    open_udp(g, sport=4100)


@case(configuration(service_set="max-flows 2;"))
def sessions_of_a_service_set(g):
    """Junos `max-flows`."""
    public = open_udp(g)
    open_udp(g, sport=4001)
    refused(g, udp6(sport=4002))
    g.back(udp4(public))


@case(configuration(nic="limits { embryonic 2; bibs 4; }"))
def half_open_connections_and_bindings(g):
    """RFC 6146 5.3: "the NAT64 MUST protect itself" against exhaustion of its memory by connections that are never opened."""
    open_tcp(g, established=False)
    open_tcp(g, established=False, sport=4001)
    refused(g, tcp6("S", sport=4002))
    open_udp(g, sport=5000)
    open_udp(g, sport=5001)
    refused(g, udp6(sport=5002))
    g.counts(4, 4)


@case(configuration().replace("nat-options {", "nat-options { land-attack-check ip-port;", 1))
def land_attack(g):
    """Junos `land-attack-check ip-port`: source and destination are the same."""
    public = open_udp(g)
    refused(g, udp6(dport=public[1], dst=embed(public[0])))
    g.none(g.outside(udp4(public, src=public[0], sport=public[1])))
    g.back(udp4(public))


@case(configuration(addresses="address-range low 203.0.113.7 high 203.0.113.8;", nic="pool p { drain 203.0.113.7; }"))
def drained_address(g):
    """An address that is drained gets no new mappings."""
    for i in range(3):
        same("address", open_udp(g, sport=4000 + i)[0], "203.0.113.8")


PREFIX_LIST = configuration(then="filtering-type { endpoint-independent { prefix-list friends; } }").replace(
    "services {", "policy-options { prefix-list friends { 9.9.9.0/24; } }\nservices {", 1
)


@case(PREFIX_LIST)
def filter_by_prefix_list(g):
    """Junos `filtering-type endpoint-independent prefix-list`: who may send to a mapping."""
    public = open_udp(g)
    g.back(udp4(public, src="9.9.9.1"))
    g.none(g.outside(udp4(public, src="9.9.8.1")))
    g.back(udp4(public))


@case(configuration(service_set="service-set-options { tcp-session { tcp-non-syn drop-flow-send-rst; } }"))
def reset_for_what_is_no_syn(g):
    """Junos `tcp-non-syn drop-flow-send-rst`; RFC 9293 3.5.2: a reset for a segment of no connection."""
    p = g.one(g.inside(tcp6("A")), "inside")
    same("reset", (p.src, p.dst, str(p[TCP].flags), p[TCP].sport, p[TCP].dport), (SERVER6, CLIENT, "R", 80, 4000))
    g.none(g.inside(tcp6("R")))
    g.counts(0, 0)


@case(configuration(nic="limits { icmp-errors-per-second 0; }"))
def errors_can_be_turned_off(g):
    """RFC 7915 4.4: "The translator SHOULD allow an administrator to configure whether the ICMPv4 error messages are sent, rate-limited, or not sent." """
    public = open_udp(g)
    g.none(g.outside(udp4(public, ttl=1)))
    g.none(g.inside(udp6(hlim=1)))


@case(configuration(nic="limits { icmp-errors-per-second 2; }"))
def errors_are_rate_limited(g):
    """RFC 4443 2.4 (f): "an IPv6 node MUST limit the rate of ICMPv6 error messages it originates." """
    sent = [g.inside(udp6(hlim=1)) for _ in range(5)]
    same("answers", sum(len(one) for one in sent), 2)
    g.wait(1)
    same("answers", len(g.inside(udp6(hlim=1))), 1)


@case(configuration(nic="limits { fragments-per-packet 3; fragmented-packets-per-source 2; }"))
def fragments_are_bounded(g):
    """RFC 6146 3.4: "The NAT64 MUST limit the amount of resources devoted to the storage of fragmented packets in order to protect from DoS attacks." """
    public = open_udp(g)
    later = [IP(src=SERVER, dst=public[0], id=i, frag=4, proto=17) / Raw(bytes(8)) for i in range(3)]
    for packet in later:
        g.none(g.outside(packet))
    # The first of the third packet finds nothing that waits: it was refused.
    head = IP(src=SERVER, dst=public[0], flags="MF", proto=17) / Raw(bytes(UDP(sport=53, dport=public[1], len=40, chksum=0x1234)) + bytes(24))
    for ident, count in ((0, 2), (1, 2)):
        head.id = ident
        sent = g.outside(head)
        same(f"pieces of packet {ident}", len(sent), count)


@case(configuration().replace("pool p {", "pool p { mapping-timeout 200;", 1))
def mapping_outlives_its_sessions(g):
    """Junos `mapping-timeout`: how long a mapping without sessions stays."""
    public = open_udp(g)
    g.wait(302)
    g.counts(0, 1)
    same("the same mapping", open_udp(g), public)
    g.wait(302)
    g.wait(202)
    g.counts(0, 0)


@case(configuration(service_set="service-set-options { inactivity-non-tcp-timeout 20; }"))
def inactivity_timeout(g):
    """Junos `inactivity-non-tcp-timeout`: RFC 4787 REQ-5b: "The value of the NAT UDP mapping timer MAY be configurable." """
    open_udp(g)
    g.wait(18)
    g.counts(1, 1)
    g.wait(4)
    g.counts(0, 0)


@case(configuration(options="no-v6-frag-header;"))
def no_fragment_header(g):
    """Junos `no-v6-frag-header`: a packet that comes whole and without DF is treated as with it."""
    public = open_udp(g)
    p = g.back(udp4(public, b"x" * 1400))
    same("next header", p.nh, 17)
    p = g.one(g.outside(udp4(public, b"x" * 1470)), "outside")
    same("answer", (p[ICMP].type, p[ICMP].code, p[ICMP].nexthopmtu), (3, 4, 1480))
