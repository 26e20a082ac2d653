"""Drives `nat64-sim replay --stdio` and judges with scapy every packet it sends.

A case is a function that takes a `Gateway`, marked with `@case(...)`; its docstring quotes the sentence it checks.
"""

import ipaddress
import json
import os
import subprocess
import tempfile

from scapy.layers.inet import ICMP, IP, TCP, UDP, in4_chksum
from scapy.layers.inet6 import (
    ICMPv6DestUnreach,
    ICMPv6EchoReply,
    ICMPv6EchoRequest,
    ICMPv6PacketTooBig,
    ICMPv6ParamProblem,
    ICMPv6TimeExceeded,
    IPv6,
    IPv6ExtHdrDestOpt,
    IPv6ExtHdrFragment,
    IPv6ExtHdrHopByHop,
    IPv6ExtHdrRouting,
    in6_chksum,
)
from scapy.packet import Raw
from scapy.utils import checksum

MS = 1_000_000
SECOND = 1_000 * MS

# A client, a second one, a router on the way to them; a server, a second one, a router on the way to it.
CLIENT, CLIENT2, ROUTER6 = "2001:db8::1", "2001:db8::2", "2001:db8:ffff::9"
SERVER, SERVER2, ROUTER4 = "8.8.8.8", "8.8.4.4", "9.9.9.9"
POOL = ipaddress.ip_network("203.0.113.0/24")
CASES = []


def case(config=None, expected_failure=None):
    """Marks a case. `config`: text of its configuration; `expected_failure`: why the program cannot pass it yet."""

    def mark(function):
        function.config = config or configuration()
        function.expected_failure = expected_failure
        CASES.append(function)
        return function

    return mark


def embed(address, prefix="64:ff9b::/96"):
    """RFC 6052 section 2.2: the IPv6 address with an IPv4 address in it."""
    network = ipaddress.ip_network(prefix)
    raw = bytearray(network.network_address.packed)
    at = network.prefixlen // 8
    for byte in ipaddress.ip_address(address).packed:
        if at == 8:
            at = 9
        raw[at] = byte
        at += 1
    return str(ipaddress.ip_address(bytes(raw)))


SERVER6 = embed(SERVER)


def configuration(pool="", then="", options="", nic="", service_set="", prefix="64:ff9b::/96", addresses=None, port="automatic;", source="2001:db8::/32"):
    """The worked example with statements put into its blocks."""
    addresses = addresses or "address 203.0.113.0/24;"
    return f"""
services {{
    nat {{
        pool p {{ {addresses} port {{ {port} }} {pool} }}
        rule r {{
            match-direction input;
            term t {{
                from {{ source-address {{ {source}; }} destination-address {{ {prefix}; }} }}
                then {{
                    translated {{
                        source-pool p;
                        destination-prefix {prefix};
                        translation-type {{ stateful-nat64; }}
                        {then}
                    }}
                }}
            }}
        }}
    }}
    service-set s {{
        nat-options {{ stateful-nat64 {{ clear-dont-fragment-bit; {options} }} }}
        nat-rules r;
        {service_set}
        interface-service {{ service-interface ms-0/1/0; }}
    }}
}}
nat64-nic {{ timers {{ profile rfc; }} {nic} }}
"""


class Wrong(AssertionError):
    """A packet is not what it should be."""


def same(what, got, want):
    """`got` must equal `want`."""
    if got != want:
        raise Wrong(f"{what}: got {got!r}, want {want!r}")


def true(what, value):
    """`value` must hold."""
    if not value:
        raise Wrong(what)


def l4_ok(proto, l3, data):
    """Length and checksum of a whole UDP, TCP, ICMP or ICMPv6 message, recomputed with scapy."""
    at = {6: 16, 17: 6, 1: 2, 58: 2}.get(proto)
    if at is None:
        return
    true(f"protocol {proto}: {len(data)} bytes hold no checksum", len(data) >= at + 2)
    bare = data[:at] + b"\0\0" + data[at + 2 :]
    if proto == 1:
        want = checksum(bare)
    elif isinstance(l3, IP):
        want = in4_chksum(proto, l3, bare)
    else:
        want = in6_chksum(proto, l3, bare)
    if proto == 17:
        same("UDP length", int.from_bytes(data[4:6], "big"), len(data))
        want = want or 0xFFFF
    same(f"checksum of protocol {proto}", hex(int.from_bytes(data[at : at + 2], "big")), hex(want))


def judge(raw):
    """Parses one packet of the program; lengths and all checksums must be what scapy computes."""
    if raw[0] >> 4 == 4:
        packet = IP(raw)
        same("IPv4 header length", packet.ihl, 5)
        again = packet.copy()
        again.remove_payload()
        del again.len, again.chksum
        again = IP(bytes(again / Raw(raw[20:])))
        same("IPv4 total length", packet.len, len(raw))
        same("IPv4 header checksum", hex(packet.chksum), hex(again.chksum))
        if packet.frag == 0 and not packet.flags.MF:
            l4_ok(packet.proto, packet, raw[20:])
            if packet.proto == 1 and raw[20] in (3, 11, 12):
                inner = raw[28:]
                same("header checksum of the quoted packet", checksum(inner[: (inner[0] & 15) * 4]), 0)
    else:
        same("version", raw[0] >> 4, 6)
        packet = IPv6(raw)
        same("IPv6 payload length", packet.plen, len(raw) - 40)
        if packet.nh != 44:
            l4_ok(packet.nh, packet, raw[40:])
    packet.raw_bytes = raw
    return packet


class Sent:
    """A packet the program sent."""

    def __init__(self, answer):
        self.side, self.t_ns = answer["side"], answer["t_ns"]
        self.raw = bytes.fromhex(answer["hex"])
        self.packet = judge(self.raw)

    def __repr__(self):
        return f"{self.side} {self.t_ns / SECOND:.3f}s {self.packet.summary()}"


class Gateway:
    """The program as a co-process, with a clock."""

    def __init__(self, program, engine, root):
        self.root, self.engine, self.config_text, self.now = root, engine, None, 0
        self.directory = tempfile.TemporaryDirectory()
        self.files = {}
        self.process = subprocess.Popen(
            [program, "replay", "--stdio", "--linktype", "raw", "--engine", engine],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
        )

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.directory.cleanup()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise Wrong(f"the program ended at {json.dumps(request)[:200]}")
        answer = json.loads(line)
        if "error" in answer:
            raise Wrong(f"error: {answer['error']}")
        return answer

    def prepare(self, text):
        """An empty gateway of this configuration. The card starts anew only for a new one; else its sessions are cleared."""
        if self.engine == "soft" or text != self.config_text:
            path = self.files.get(text)
            if path is None:
                path = os.path.join(self.directory.name, f"{len(self.files)}.conf")
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                self.files[text] = path
            self.ask(op="reset", config=path, seed=1)
            self.now, self.config_text = SECOND, text
        else:
            self.now += 10 * SECOND
            self.config("clear services sessions")
            self.now += 10 * SECOND
            self.ask(op="advance", t_ns=self.now)

    def packets(self, answer):
        return [Sent(one) for one in answer["tx"]]

    def send(self, side, packet):
        self.now += MS
        return self.packets(self.ask(op="packet", side=side, t_ns=self.now, hex=bytes(packet).hex()))

    def inside(self, packet):
        """A packet of a client; what the program sends."""
        return self.send("inside", packet)

    def outside(self, packet):
        """A packet of a server; what the program sends."""
        return self.send("outside", packet)

    def one(self, sent, side):
        """The only packet sent, to this side."""
        if len(sent) != 1 or sent[0].side != side:
            raise Wrong(f"want one packet to the {side}, got {sent}")
        return sent[0].packet

    def out(self, packet):
        """A client's packet that must come out as one IPv4 packet."""
        return self.one(self.inside(packet), "outside")

    def back(self, packet):
        """A server's packet that must come out as one IPv6 packet."""
        return self.one(self.outside(packet), "inside")

    def none(self, sent):
        """Nothing was sent."""
        same("packets sent", sent, [])

    def wait(self, seconds):
        """Lets time pass; what the program sends meanwhile."""
        self.now += int(seconds * SECOND)
        return self.packets(self.ask(op="advance", t_ns=self.now))

    def config(self, *commands):
        return self.packets(self.ask(op="config", t_ns=self.now, commands=list(commands)))

    def count(self, what):
        return self.ask(op="query", what=what)["count"]

    def counts(self, sessions, bibs):
        """Numbers of sessions and of BIB entries."""
        same("sessions, BIB entries", (self.count("sessions"), self.count("bibs")), (sessions, bibs))


def udp6(data=b"request", sport=4000, dport=53, src=CLIENT, dst=SERVER6, **fields):
    """A client's datagram."""
    return IPv6(src=src, dst=dst, **fields) / UDP(sport=sport, dport=dport) / Raw(data)


def udp4(public, data=b"response", src=SERVER, sport=53, **fields):
    """A server's datagram to a public address and port."""
    return IP(src=src, dst=public[0], **fields) / UDP(sport=sport, dport=public[1]) / Raw(data)


def tcp6(flags, data=b"", sport=4000, dport=80, src=CLIENT, dst=SERVER6, **fields):
    """A client's segment."""
    return IPv6(src=src, dst=dst) / TCP(sport=sport, dport=dport, flags=flags, seq=1000, ack=0, **fields) / Raw(data)


def tcp4(public, flags, data=b"", src=SERVER, sport=80, **fields):
    """A server's segment."""
    return IP(src=src, dst=public[0]) / TCP(sport=sport, dport=public[1], flags=flags, seq=5000, ack=1001, **fields) / Raw(data)


def echo6(data=b"ping", ident=77, seq=1, src=CLIENT, dst=SERVER6, **fields):
    """A client's echo request."""
    return IPv6(src=src, dst=dst, **fields) / ICMPv6EchoRequest(id=ident, seq=seq, data=data)


def open_udp(gateway, **arguments):
    """A UDP session; its public address and port."""
    packet = gateway.out(udp6(**arguments))
    true("the public address is of the pool", ipaddress.ip_address(packet.src) in POOL)
    return packet.src, packet[UDP].sport


def open_tcp(gateway, established=True, **arguments):
    """A TCP session after its handshake, or after its first SYN; its public address and port."""
    packet = gateway.out(tcp6("S", **arguments))
    public = packet.src, packet[TCP].sport
    if established:
        dport, source = arguments.get("dport", 80), packet.dst
        gateway.back(tcp4(public, "SA", sport=dport, src=source))
        gateway.out(tcp6("A", **arguments))
    return public
