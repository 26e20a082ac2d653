"""The endpoint's pins below the root complex model of cocotbext-pcie.

    RootComplex <--> Device, Card (configuration space: the model's) <--> TLP stream of the endpoint

TLPs are packed and unpacked by the model. This file gives DWs to the pins and takes them off, with gaps and back-pressure at
random, and holds completions for the card back, so that those of different requests come mixed.
"""

import random
import struct
from collections import deque

import cocotb
from cocotb.triggers import ReadOnly, RisingEdge, FallingEdge
from cocotbext.pcie.core import Endpoint
from cocotbext.pcie.core.tlp import Tlp, TlpType


def to_dws(tlp):
    raw = bytes(tlp.pack())
    return list(struct.unpack(f">{len(raw) // 4}L", raw))


def from_dws(dws):
    return Tlp.unpack(bytearray(struct.pack(f">{len(dws)}L", *dws)))


class Card(Endpoint):
    """The function: configuration requests are the model's, all others go to the RTL."""

    def __init__(self, dut, seed, idle=0.3, stall=0.3):
        super().__init__()
        self.dut = dut
        self.random = random.Random(seed)
        self.idle, self.stall = idle, stall
        self.configure_bar(0, 1 << 16)
        self.configure_bar(2, 1 << 23, ext=True, prefetch=True)
        self.pcie_cap.max_payload_size_supported = 2
        # posted and non-posted requests, in order
        self.requests = deque()
        # completions for the card by tag; those of one tag stay in order
        self.completions = {}
        self.sent = []
        # beats that must follow each other: (dws, bar)
        self.now = None
        self.at = 0
        self.tlps_in = self.tlps_out = 0
        self.hold_np = False
        # the card's read requests that were refused, for the counters
        self.errors_in = 0
        self.unexpected = 0

    async def handle_tlp(self, tlp):
        if tlp.fmt_type in (TlpType.CFG_READ_0, TlpType.CFG_WRITE_0):
            await super().handle_tlp(tlp)
            return
        dws = to_dws(tlp)
        tlp.release_fc()
        if tlp.is_completion():
            if tlp.status != 0:
                self.errors_in += 1
            self.completions.setdefault(tlp.tag, deque()).append(dws)
            return
        bar = self.match_bar(tlp.address)
        bar = {0: 1, 2: 2}[bar[0]] if bar else 0
        self.requests.append((dws, bar, tlp.is_nonposted()))

    def inject(self, dws, bar=1, non_posted=False):
        """A TLP the model would not send: malformed, poisoned, unexpected."""
        self.requests.append((list(dws), bar, non_posted))

    def quiet(self):
        return not self.requests and not any(self.completions.values()) and self.now is None

    def choose(self):
        """The next TLP for the card; completions may pass requests and each other, requests keep their order."""
        ready = [tag for tag, queue in self.completions.items() if queue]
        request = self.requests[0] if self.requests else None
        if request and request[2] and self.hold_np:
            request = None
        if request and (not ready or self.random.random() < 0.5):
            self.requests.popleft()
            return request[0], request[1]
        # a host has its memory ready at different times
        if ready and self.random.random() < 0.3:
            return self.completions[self.random.choice(ready)].popleft(), 0
        return None

    async def run(self):
        d, rnd = self.dut, self.random
        beat = None
        collecting = []
        while True:
            # pins change behind the rising edge and are looked at before the next
            if self.now is None:
                self.now = self.choose()
                self.at = 0
            if beat is None and self.now is not None and rnd.random() >= self.idle:
                dws, bar = self.now
                two = self.at + 1 < len(dws)
                beat = (dws[self.at] | (dws[self.at + 1] << 32 if two else 0), 3 if two else 1, self.at + 2 >= len(dws), bar)
                d.tlp_rx_data.value, d.tlp_rx_keep.value = beat[0], beat[1]
                d.tlp_rx_last.value, d.tlp_rx_bar.value = beat[2], beat[3]
            d.tlp_rx_valid.value = beat is not None
            ready = rnd.random() >= self.stall
            d.tlp_tx_ready.value = ready
            for credit in (d.credit_p, d.credit_n, d.credit_c):
                credit.value = rnd.random() >= self.stall / 2
            d.cfg_bus_master.value = bool(self.bus_master_enable)
            d.cfg_id.value = int(self.pcie_id)
            d.cfg_max_payload.value = min(self.pcie_cap.max_payload_size, 2)
            d.cfg_max_read.value = self.pcie_cap.max_read_request_size
            await ReadOnly()
            taken = beat is not None and d.tlp_rx_ready.value.integer
            self.hold_np = not d.tlp_rx_np_ok.value.integer
            done = None
            if ready and d.tlp_tx_valid.value.integer:
                data = d.tlp_tx_data.value.integer
                collecting.append(data & 0xFFFF_FFFF)
                if d.tlp_tx_keep.value.integer == 3:
                    collecting.append(data >> 32)
                if d.tlp_tx_last.value.integer:
                    done, collecting = collecting, []
            await RisingEdge(d.clock)
            if taken:
                self.at += 2
                if beat[2]:
                    self.now = None
                    self.tlps_in += 1
                beat = None
            if done:
                self.tlps_out += 1
                tlp = from_dws(done)
                assert tlp.check(), f"the model finds {tlp!r} wrong"
                self.sent.append(tlp)
                cocotb.start_soon(self.upward())
            await FallingEdge(d.clock)

    async def upward(self):
        # one at a time, in order
        tlp = self.sent.pop(0)
        await self.send(tlp)


class Port:
    """A network port: sends and collects frames."""

    def __init__(self, dut, port, seed):
        self.dut, self.port = dut, port
        self.random = random.Random(seed)
        self.frames = deque()
        self.received = []

    def pin(self, name):
        return getattr(self.dut, name.replace("P", str(self.port)))

    async def run(self):
        frame, at, collecting = None, 0, bytearray()
        valid, ready = self.pin("rxP_valid"), self.pin("rxP_ready")
        self.pin("txP_ready").value = 1
        while True:
            if frame is None and self.frames:
                frame, at = self.frames.popleft(), 0
            offer = frame is not None
            if offer:
                part = frame[at : at + 8]
                last = at + 8 >= len(frame)
                self.pin("rxP_data").value = int.from_bytes(part.ljust(8, b"\0"), "big")
                self.pin("rxP_count").value = len(part) % 8 if last else 0
                self.pin("rxP_first").value, self.pin("rxP_last").value = at == 0, last
                self.pin("rxP_error").value = 0
            valid.value = offer
            await ReadOnly()
            taken = offer and ready.value.integer
            end = False
            if self.pin("txP_valid").value.integer:
                data = self.pin("txP_data").value.integer.to_bytes(8, "big")
                end = self.pin("txP_last").value.integer
                count = self.pin("txP_count").value.integer
                if self.pin("txP_first").value.integer:
                    collecting = bytearray()
                collecting += data[:count] if end and count else data
                assert not (end and self.pin("txP_error").value.integer)
            await RisingEdge(self.dut.clock)
            if end:
                self.received.append(bytes(collecting))
            if taken:
                at += 8
                if at >= len(frame):
                    frame = None
            await FallingEdge(self.dut.clock)
