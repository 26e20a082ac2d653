#!/usr/bin/env python3
"""Makes the example captures with scapy 2.5 (Debian: python3-scapy).

    make-captures.py [DIRECTORY]

Each pair of files is what arrives at the two ports of the card: IPv6 clients on the inside, IPv4 servers on the
outside. The servers answer to the public addresses and ports that the gateway gives out with `port automatic`: the
first session of each protocol gets 203.0.113.1:1024, the next 1025, and so on. Running it again gives the same bytes.

The servers have global addresses: private ones cannot stand under the well-known prefix 64:ff9b::/96 (RFC 6052 section
3.1), and the gateway refuses them there.
"""

import os
import random
import sys

from scapy.layers.dns import DNS, DNSQR, DNSRR
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoReply, ICMPv6EchoRequest, IPv6
from scapy.layers.l2 import ARP, Dot1Q, Ether
from scapy.utils import PcapWriter

CARD_INSIDE = "02:4e:36:34:00:00"
CARD_OUTSIDE = "02:4e:36:34:00:01"
PUBLIC = "203.0.113.1"
FIRST_PORT = 1024
START = 1_700_000_000  # seconds since 1970
LEAST_FRAME = 60  # without FCS

WEB = "93.184.216.34"
QUAD9 = "9.9.9.9"
ONES = "1.1.1.1"
SERVERS = {WEB: "02:00:5e:00:04:01", QUAD9: "02:00:5e:00:04:02", ONES: "02:00:5e:00:04:03"}


def embed(ipv4):
    """The IPv6 address of an IPv4 address under 64:ff9b::/96."""
    return "64:ff9b::" + ipv4


class Capture:
    """Two ports, each with the frames that arrive there; the clock runs in microseconds."""

    def __init__(self, seed, inside_vlan=None, outside_vlan=None):
        self.random = random.Random(seed)
        self.vlans = {"inside": inside_vlan, "outside": outside_vlan}
        self.frames = {"inside": [], "outside": []}
        self.next_port = {"tcp": FIRST_PORT, "udp": FIRST_PORT, "icmp": FIRST_PORT}
        self.ipv4_id = 1
        for number, (address, mac) in enumerate(SERVERS.items()):
            request = ARP(op="who-has", hwsrc=mac, psrc=address, hwdst="00:00:00:00:00:00", pdst=PUBLIC)
            self.add(1_000 * (number + 1), "outside", mac, "ff:ff:ff:ff:ff:ff", request)

    def add(self, time, side, source, destination, packet):
        """One frame, padded as a MAC pads it."""
        vlan = self.vlans[side]
        frame = Ether(src=source, dst=destination)
        data = bytes(frame / packet if vlan is None else frame / Dot1Q(vlan=vlan) / packet)
        self.frames[side].append((time, data.ljust(LEAST_FRAME, b"\0")))

    def public_port(self, protocol):
        """What sequential allocation gives the next session."""
        port = self.next_port[protocol]
        self.next_port[protocol] += 1
        return port

    def write(self, directory, inside, outside):
        for side, name in (("inside", inside), ("outside", outside)):
            # The order of frames of one time is the order they were added in.
            frames = sorted(self.frames[side], key=lambda frame: frame[0])
            writer = PcapWriter(os.path.join(directory, name), linktype=1, endianness="<")
            writer.write_header(None)
            for time, data in frames:
                second, micro = divmod(time, 1_000_000)
                writer.write_packet(data, sec=START + second, usec=micro, caplen=len(data), wirelen=len(data))
            writer.close()


class Session:
    """One client and one server; every session of a protocol takes the next public port."""

    def __init__(self, capture, protocol, client, port, server, server_port=0):
        self.capture = capture
        self.server, self.server_port, self.port = server, server_port, port
        self.public = capture.public_port(protocol)
        self.client = "2001:db8::%x" % client
        self.client_mac = "02:00:5e:00:06:%02x" % client
        self.flow_label = capture.random.randrange(1, 1 << 20)

    def inside(self, time, transport):
        ip = IPv6(src=self.client, dst=embed(self.server), hlim=64, fl=self.flow_label)
        self.capture.add(time, "inside", self.client_mac, CARD_INSIDE, ip / transport)

    def outside(self, time, transport):
        self.capture.ipv4_id = self.capture.ipv4_id % 0xFFFF + 1
        ip = IP(src=self.server, dst=PUBLIC, ttl=57, id=self.capture.ipv4_id, flags="DF")
        self.capture.add(time, "outside", SERVERS[self.server], CARD_OUTSIDE, ip / transport)


class Tcp(Session):
    """A TCP connection with its sequence numbers."""

    def __init__(self, capture, client, port, server, server_port):
        super().__init__(capture, "tcp", client, port, server, server_port)
        self.client_seq = capture.random.randrange(1 << 32)
        self.server_seq = capture.random.randrange(1 << 32)

    def up(self, time, flags, data=b"", options=()):
        """Client to server."""
        ack = self.server_seq if "A" in flags else 0
        tcp = TCP(sport=self.port, dport=self.server_port, seq=self.client_seq, ack=ack, flags=flags,
                  window=64_800 if "S" in flags else 502, options=list(options))
        self.inside(time, tcp / data if data else tcp)
        self.client_seq = (self.client_seq + len(data) + ("S" in flags) + ("F" in flags)) % (1 << 32)

    def down(self, time, flags, data=b"", options=()):
        """Server to client."""
        tcp = TCP(sport=self.server_port, dport=self.public, seq=self.server_seq, ack=self.client_seq, flags=flags,
                  window=65_160 if "S" in flags else 509, options=list(options))
        self.outside(time, tcp / data if data else tcp)
        self.server_seq = (self.server_seq + len(data) + ("S" in flags) + ("F" in flags)) % (1 << 32)

    def open(self, time, rtt=10_000):
        """Three segments; returns the time after them."""
        self.up(time, "S", options=[("MSS", 1440), ("SAckOK", b""), ("NOP", None), ("WScale", 7)])
        self.down(time + rtt, "SA", options=[("MSS", 1460), ("SAckOK", b""), ("NOP", None), ("WScale", 7)])
        self.up(time + rtt + 100, "A")
        return time + rtt + 200

    def close(self, time, rtt=10_000):
        """The client closes first."""
        self.up(time, "FA")
        self.down(time + rtt, "A")
        self.down(time + rtt + 50, "FA")
        self.up(time + rtt + 150, "A")
        return time + rtt + 200


def web(capture, time, client, port, path, length):
    """A page of `length` bytes over HTTP."""
    tcp = Tcp(capture, client, port, WEB, 80)
    now = tcp.open(time)
    tcp.up(now, "PA", b"GET %s HTTP/1.1\r\nHost: example.com\r\nUser-Agent: curl/8\r\n\r\n" % path)
    tcp.down(now + 10_000, "A")
    body = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n" % length
    body += bytes(capture.random.choices(b"abcdefghijklmnopqrstuvwxyz \n", k=length))
    now += 11_000
    for at in range(0, len(body), 1440):
        last = at + 1440 >= len(body)
        tcp.down(now, "PA" if last else "A", body[at : at + 1440])
        tcp.up(now + 60, "A")
        now += 130
    return tcp.close(now + 5_000)


def lookup(capture, time, client, port, server, name, address):
    """One question, one answer."""
    session = Session(capture, "udp", client, port, server, 53)
    identity = capture.random.randrange(1 << 16)
    question = DNSQR(qname=name, qtype="A")
    session.inside(time, UDP(sport=port, dport=53) / DNS(id=identity, rd=1, qd=question))
    answer = DNS(id=identity, qr=1, rd=1, ra=1, qd=question, an=DNSRR(rrname=name, ttl=300, rdata=address))
    session.outside(time + 12_000, UDP(sport=53, dport=session.public) / answer)


def ping(capture, time, client, server, count, gap=200_000):
    """Echo requests and their replies."""
    session = Session(capture, "icmp", client, 0, server)
    identity = capture.random.randrange(1 << 16)
    for seq in range(1, count + 1):
        data = bytes(range(0x10, 0x10 + 48))
        session.inside(time, ICMPv6EchoRequest(id=identity, seq=seq, data=data))
        session.outside(time + 9_000, ICMP(type="echo-reply", id=session.public, seq=seq) / data)
        time += gap


def seed(directory):
    """For seed.conf: five clients, TCP with data both ways, DNS, ping."""
    capture = Capture(seed=64)
    lookup(capture, 10_000, 2, 40_053, QUAD9, "example.com", WEB)
    web(capture, 30_000, 1, 40_000, b"/", 6_000)
    ping(capture, 50_000, 3, ONES, 4)
    web(capture, 60_000, 4, 51_514, b"/small", 200)
    lookup(capture, 70_000, 5, 53_535, ONES, "example.net", WEB)
    web(capture, 200_000, 1, 40_001, b"/again", 3_000)
    ping(capture, 210_000, 2, QUAD9, 2)
    capture.write(directory, "inside.pcap", "outside.pcap")


def vlan(directory):
    """For vlan.conf: the same kinds of traffic with tags."""
    capture = Capture(seed=1020, inside_vlan=10, outside_vlan=20)
    lookup(capture, 10_000, 2, 40_053, QUAD9, "example.com", WEB)
    web(capture, 30_000, 1, 40_000, b"/", 4_000)
    ping(capture, 50_000, 3, ONES, 3)
    capture.write(directory, "inside-vlan.pcap", "outside-vlan.pcap")


def flows(directory):
    """For seed.conf: 20 flows of 500 packets, of three protocols, within half a second."""
    capture = Capture(seed=20_500)
    servers = list(SERVERS)
    # (session, packets still to come); set-up one after the other, so that the ports are known.
    running = []
    now = 10_000
    for number in range(20):
        client, port, server = 0x10 + number, 41_000 + number, servers[number % len(servers)]
        if number % 5 < 2:
            tcp = Tcp(capture, client, port, server, 443)
            tcp.open(now, rtt=2_000)
            running.append([tcp, 497 - 4])
        elif number % 5 < 4:
            running.append([Session(capture, "udp", client, port, server, 4433), 500])
        else:
            running.append([Session(capture, "icmp", client, 0, server), 500])
        now += 200
    now += 5_000
    identity = {}
    step = 0
    # Packets of all flows take turns; each client packet has its answer 500 us later.
    while any(left > 0 for _, left in running):
        for session, left in running:
            if left <= 0:
                continue
            size = 1_200 if capture.random.random() < 0.02 else capture.random.randrange(1, 64)
            # The first byte keeps tshark from taking random bytes for RTP.
            up = b"d" + capture.random.randbytes(size)
            down = b"d" + capture.random.randbytes(capture.random.randrange(1, 64))
            answer = left > 1
            if isinstance(session, Tcp):
                session.up(now, "PA", up)
                if answer:
                    session.down(now + 500, "PA", down)
            elif session.server_port:
                session.inside(now, UDP(sport=session.port, dport=session.server_port) / up)
                if answer:
                    session.outside(now + 500, UDP(sport=session.server_port, dport=session.public) / down)
            else:
                name = identity.setdefault(session.public, capture.random.randrange(1 << 16))
                session.inside(now, ICMPv6EchoRequest(id=name, seq=step, data=up))
                if answer:
                    session.outside(now + 500, ICMP(type="echo-reply", id=session.public, seq=step) / up)
            now += 60
        for entry in running:
            entry[1] -= 2
        step += 1
    for session, _ in running:
        if isinstance(session, Tcp):
            session.close(now + 1_000, rtt=2_000)
        now += 100
    capture.write(directory, "flows-inside.pcap", "flows-outside.pcap")


def main():
    directory = sys.argv[1] if len(sys.argv) > 1 else os.path.dirname(os.path.abspath(__file__))
    seed(directory)
    vlan(directory)
    flows(directory)


if __name__ == "__main__":
    main()
