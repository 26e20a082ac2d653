"""The TCP state machine and its timers."""

from gateway import *

EST, TRANS = 7440, 240
ADDRESS_DEPENDENT = configuration(nic="service-set s { filtering address-dependent; }")


def lives(g, seconds, probes=None):
    """The only session is there just before `seconds` and gone just after. `probes`: probes sent meanwhile."""
    sent = g.wait(seconds - 2)
    g.counts(1, 1)
    sent += g.wait(4)
    g.counts(0, 0)
    if probes is not None:
        same("probes", len([s for s in sent if TCP in s.packet]), probes)
    return sent


@case()
def handshake_makes_a_session(g):
    """RFC 6146 3.5.2.2: "The NAT64 translates and forwards the packet as described in the following sections." """
    open_tcp(g)
    g.counts(1, 1)


@case()
def segment_without_session_is_dropped(g):
    """RFC 6146 3.5.2.2: "If there is no corresponding entry in the TCP BIB, the packet is silently discarded." """
    for flags in ("A", "PA", "FA", "R", "RA", "SA"):
        if flags != "SA":
            g.none(g.inside(tcp6(flags)))
        g.none([s for s in g.outside(tcp4(("203.0.113.1", 1024), flags)) if flags != "SA"])
    g.counts(0, 0)


@case()
def v6_init_lives_four_minutes(g):
    """RFC 6146 3.5.2.2: "The lifetime of the TCP Session Table Entry is set to at least TCP_TRANS"; RFC 5382 REQ-5: "The value of the "transitory connection idle-timeout" MUST NOT be less than 4 minutes." """
    open_tcp(g, established=False)
    lives(g, TRANS)


@case()
def repeated_v6_syn_starts_the_timer_anew(g):
    """RFC 6146 3.5.2.2: "If a V6 SYN packet is received, the packet is translated and forwarded. The lifetime of the TCP Session Table Entry is set to at least TCP_TRANS. The state remains unchanged." """
    open_tcp(g, established=False)
    g.wait(200)
    g.out(tcp6("S"))
    lives(g, TRANS)


@case()
def established_lives_two_hours_four_minutes(g):
    """RFC 5382 REQ-5: "the value of the "established connection idle-timeout" MUST NOT be less than 2 hours 4 minutes." """
    open_tcp(g)
    g.wait(EST - 2)
    g.counts(1, 1)


@case()
def probe_when_established_expires(g):
    """RFC 6146 3.5.2.2: "The probe packet is a TCP segment for the connection with no data. The sequence number and the acknowledgment number are set to zero. All flags but the ACK flag are set to zero. The state is moved to TRANS." """
    public = open_tcp(g)
    sent = g.wait(EST - 2)
    same("nothing yet", sent, [])
    sent = g.wait(4)
    true("a probe to at least one end", len(sent) >= 1)
    for s in sent:
        t = s.packet[TCP]
        same("probe", (str(t.flags), t.seq, t.ack, bytes(t.payload)), ("A", 0, 0, b""))
        if s.side == "inside":
            same("ports", (s.packet.src, s.packet.dst, t.sport, t.dport), (SERVER6, CLIENT, 80, 4000))
        else:
            same("ports", (s.packet.src, s.packet.dst, t.sport, t.dport), (public[0], SERVER, public[1], 80))
    g.counts(1, 1)
    g.wait(TRANS - 4)
    g.counts(1, 1)
    g.wait(6)
    g.counts(0, 0)


@case()
def answer_to_a_probe_keeps_the_session(g):
    """RFC 6146 3.5.2.2: "If a packet other than a RST packet is received, the lifetime of the TCP Session Table Entry is set to at least the maximum session lifetime." """
    open_tcp(g)
    g.wait(EST + 2)
    g.out(tcp6("A"))
    g.wait(EST - 4)
    g.counts(1, 1)


@case()
def data_refreshes_from_both_sides(g):
    """RFC 6146 3.5.2.2: "If any other packet is received, the packet is translated and forwarded. The lifetime of the TCP Session Table Entry is set to at least the maximum session lifetime." """
    public = open_tcp(g)
    for _ in range(2):
        g.none(g.wait(EST - 10))
        g.out(tcp6("A", b"x"))
        g.none(g.wait(EST - 10))
        g.back(tcp4(public, "A", b"x"))
    g.counts(1, 1)


@case()
def fin_from_v4_then_v6(g):
    """RFC 6146 3.5.2.2: "If a V6 FIN packet is received, the packet is translated and forwarded. The lifetime is set to TCP_TRANS. The state is moved to V6 FIN + V4 FIN RCV." """
    public = open_tcp(g)
    g.back(tcp4(public, "FA"))
    g.out(tcp6("FA"))
    g.back(tcp4(public, "A"))
    lives(g, TRANS, probes=0)


@case()
def fin_from_v6_then_v4(g):
    """RFC 6146 3.5.2.2: "If a V4 FIN packet is received, the packet is translated and forwarded. The lifetime is set to TCP_TRANS. The state is moved to V6 FIN + V4 FIN RCV." """
    public = open_tcp(g)
    g.out(tcp6("FA"))
    g.back(tcp4(public, "FA"))
    g.out(tcp6("A"))
    lives(g, TRANS, probes=0)


@case()
def closing_lifetime_is_not_renewed(g):
    """RFC 6146 3.5.2.2: "All packets are translated and forwarded." (in V6 FIN + V4 FIN RCV; nothing there sets the lifetime again)"""
    public = open_tcp(g)
    g.out(tcp6("FA"))
    g.back(tcp4(public, "FA"))
    g.wait(200)
    g.out(tcp6("A"))
    g.back(tcp4(public, "A"))
    g.wait(38)
    g.counts(1, 1)
    g.wait(4)
    g.counts(0, 0)


@case()
def half_closed_lives_on(g):
    """RFC 6146 3.5.2.2: "If any packet other than the V6 FIN is received, the packet is translated and forwarded. The lifetime of the TCP Session Table Entry is set to at least the maximum session lifetime." """
    public = open_tcp(g)
    g.back(tcp4(public, "FA"))
    g.wait(3600)
    g.out(tcp6("A", b"more"))
    g.wait(EST - 2)
    g.counts(1, 1)
    g.back(tcp4(public, "A"))


@case()
def half_closed_expires_without_probe(g):
    """RFC 6146 3.5.2.2: "If the lifetime expires, the Session Table Entry is deleted, and the state is moved to CLOSED." """
    open_tcp(g)
    g.out(tcp6("FA"))
    lives(g, EST, probes=0)


@case()
def rst_moves_to_trans(g):
    """RFC 6146 3.5.2.2: "If a V4 RST or a V6 RST packet is received, the packet is translated and forwarded. The lifetime is set to TCP_TRANS and the state is moved to TRANS." RFC 7857 2.2: "the NAT SHOULD wait for 4 minutes before deleting the session" """
    public = open_tcp(g)
    g.back(tcp4(public, "R"))
    lives(g, TRANS, probes=0)


@case()
def rst_of_the_client_moves_to_trans(g):
    """RFC 6146 3.5.2.2: "If a V4 RST or a V6 RST packet is received, the packet is translated and forwarded. The lifetime is set to TCP_TRANS and the state is moved to TRANS." """
    open_tcp(g)
    g.out(tcp6("R"))
    lives(g, TRANS, probes=0)


@case()
def data_after_rst_moves_back(g):
    """RFC 6146 3.5.2.2: "If packets keep flowing, the NAT64 assumes that the peer has not accepted the RST packet and moves back to the ESTABLISHED state." """
    public = open_tcp(g)
    g.back(tcp4(public, "R"))
    g.wait(100)
    g.out(tcp6("A", b"x"))
    g.wait(EST - 10)
    g.counts(1, 1)


@case()
def rst_in_v6_init_changes_nothing(g):
    """RFC 6146 3.5.2.2: "For any other packet, the packet SHOULD be translated and forwarded if the security policy allows doing so. The state remains unchanged." """
    public = open_tcp(g, established=False)
    g.back(tcp4(public, "RA"))
    g.counts(1, 1)
    lives(g, TRANS)


@case()
def unsolicited_syn_is_answered_after_six_seconds(g):
    """RFC 5382 REQ-4: "A NAT MUST NOT respond to an unsolicited inbound SYN packet for at least 6 seconds after the packet is received."; "Otherwise, the NAT SHOULD send an ICMP Port Unreachable error (Type 3, Code 3) for the original SYN" """
    syn = tcp4(("203.0.113.5", 4000), "S")
    g.none(g.outside(syn))
    g.none(g.wait(5.9))
    p = g.one(g.wait(0.4), "outside")
    same("answer", (p.dst, p[ICMP].type, p[ICMP].code), (SERVER, 3, 3))
    same("quoted SYN", p.raw_bytes[28:68], bytes(syn)[:40])
    g.counts(0, 0)


@case()
def repeated_unsolicited_syn_is_answered_once(g):
    """RFC 6146 3.5.2.2: "If the lifetime expires, an ICMP Port Unreachable error (Type 3, Code 3) containing the IPv4 SYN packet stored is sent back to the source of the v4 SYN" """
    syn = tcp4(("203.0.113.5", 4000), "S")
    for _ in range(3):
        g.none(g.outside(syn))
        g.wait(0.5)
    same("answers", len(g.wait(20)), 1)


@case()
def simultaneous_open(g):
    """RFC 6146 3.5.2.2: "If the NAT64 is not performing Address-Dependent Filtering, the lifetime of the STE is set to at least TCP_TRANS (the transitory connection idle timeout as defined in [RFC5382]), and it translates and forwards the packet" RFC 5382 REQ-2: "A NAT MUST handle the TCP simultaneous- open mode of connection initiation." """
    public = open_tcp(g, established=False)
    p = g.back(tcp4(public, "S"))
    same("SYN", (str(p[TCP].flags), p[TCP].dport), ("S", 4000))
    g.out(tcp6("SA"))
    g.back(tcp4(public, "SA"))
    g.wait(EST - 10)
    g.counts(1, 1)


@case()
def opened_from_v4_on_an_existing_mapping(g):
    """RFC 6146 3.5.2.2: "The STE transport IPv6 source address is set to the IPv6 transport address contained in the corresponding TCP BIB entry." """
    public = open_tcp(g)
    p = g.back(tcp4(public, "S", src=SERVER2, sport=999))
    same("SYN", (p.src, p.dst, p[TCP].sport, p[TCP].dport), (embed(SERVER2), CLIENT, 999, 4000))
    g.counts(2, 1)
    g.out(tcp6("SA", dst=embed(SERVER2), dport=999))
    g.back(tcp4(public, "A", src=SERVER2, sport=999))
    g.wait(EST - 10)
    g.counts(2, 1)


@case()
def opened_from_v4_and_never_answered(g):
    """RFC 6146 3.5.2.2: "the lifetime of the STE is set to at least TCP_TRANS (the transitory connection idle timeout as defined in [RFC5382])" """
    public = open_tcp(g)
    g.back(tcp4(public, "S", src=SERVER2, sport=999))
    g.wait(TRANS - 2)
    g.counts(2, 1)
    g.wait(4)
    g.counts(1, 1)


@case(ADDRESS_DEPENDENT)
def filtered_syn_is_stored(g):
    """RFC 6146 3.5.2.2: "If the NAT64 is performing Address-Dependent Filtering, the lifetime of the STE entry is set to TCP_INCOMING_SYN as per [RFC5382], and the packet is stored." """
    public = open_tcp(g)
    g.none(g.outside(tcp4(public, "S", src=SERVER2, sport=999)))
    g.none(g.wait(5.9))
    p = g.one(g.wait(0.4), "outside")
    same("answer", (p.dst, p[ICMP].type, p[ICMP].code), (SERVER2, 3, 3))


@case(ADDRESS_DEPENDENT)
def filtered_syn_then_syn_from_inside(g):
    """RFC 5382 REQ-4: "If during this interval the NAT receives and translates an outbound SYN for the connection the NAT MUST silently drop the original unsolicited inbound SYN packet." """
    public = open_tcp(g)
    g.none(g.outside(tcp4(public, "S", src=SERVER2, sport=999)))
    p = g.one([s for s in g.inside(tcp6("S", dst=embed(SERVER2), dport=999)) if s.side == "outside"], "outside")
    same("SYN", (p.dst, p[TCP].sport, p[TCP].dport), (SERVER2, public[1], 999))
    true("no ICMP error", not [s for s in g.wait(20) if ICMP in s.packet])


@case(configuration(nic="service-set s { no-outside-tcp-open; }"))
def outside_may_not_open(g):
    """RFC 6146 3.5.2.2: "If the security policy requires silently dropping externally initiated TCP connections, then the packet is silently discarded." """
    public = open_tcp(g)
    g.none(g.outside(tcp4(public, "S", src=SERVER2, sport=999)))
    g.none(g.outside(tcp4(("203.0.113.77", 5), "S")))
    g.none(g.wait(30))


@case()
def icmp_errors_do_not_end_a_session(g):
    """RFC 5382 REQ-10: "Receipt of any sort of ICMP message MUST NOT terminate the NAT mapping or TCP connection for which the ICMP was generated." """
    public = open_tcp(g)
    quoted = bytes(IP(src=public[0], dst=SERVER) / TCP(sport=public[1], dport=80, flags="A"))
    for code in (0, 1, 2, 3, 13):
        g.back(IP(src=ROUTER4, dst=public[0]) / ICMP(type=3, code=code) / Raw(quoted))
    g.counts(1, 1)
    g.back(tcp4(public, "A", b"x"))


@case(configuration(service_set="tcp-mss 1300;"))
def mss_is_clamped_in_syns(g):
    """RFC 7915 4: "the transport checksum is updated as needed"; the statement `tcp-mss`: largest MSS option in SYN segments."""
    p = g.out(tcp6("S", options=[("MSS", 1440)]))
    same("MSS", p[TCP].options[0], ("MSS", 1300))
    public = p.src, p[TCP].sport
    same("MSS", g.back(tcp4(public, "SA", options=[("MSS", 1460)]))[TCP].options[0], ("MSS", 1300))
    p = g.out(tcp6("S", sport=4001, options=[("MSS", 1000)]))
    same("smaller MSS", p[TCP].options[0], ("MSS", 1000))


@case()
def several_sessions_of_one_mapping(g):
    """RFC 6146 3.5.2.1: "If all the TCP sessions corresponding to a TCP BIB entry are deleted, then the dynamically created TCP BIB entry is also deleted." """
    public = open_tcp(g)
    same("same mapping", open_tcp(g, established=False, dst=embed(SERVER2)), public)
    g.counts(2, 1)
    g.wait(TRANS + 2)
    g.counts(1, 1)
    g.back(tcp4(public, "FA"))
    g.out(tcp6("FA"))
    g.wait(TRANS + 2)
    g.counts(0, 0)
