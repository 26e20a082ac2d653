"""A network port's pins against the RGMII models of cocotbext-eth: frames of all lengths in both directions with random gaps, wrong
check sequences, error signals, PAUSE frames and carriers without a frame; every frame compared, every one accounted for.

Environment: NAT64_SEED, NAT64_FRAMES (frames each way), NAT64_CORE_NS (period of the core's clock; those of the link have 8 ns
and are apart by 100 parts in a million).
"""

import logging
import os
import random
import struct
import zlib

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, ReadOnly, RisingEdge, Timer
from cocotbext.eth import GmiiFrame, RgmiiSink, RgmiiSource

WORDS = (
    "Status RxGood RxRunt RxOversize RxSymbol RxFcs RxPause RxControl RxNoStart RxOverrun RxNoRoom "
    "TxGood TxPoisoned TxUnderrun"
).split()
LONGEST = 9626
PRESENT = 1 << 31


class Port:
    def __init__(self, dut, seed):
        self.dut = dut
        self.random = random.Random(seed)
        self.received = []
        self.frames = []
        self.ready = 0.8

    async def core(self):
        """The core: takes beats and gives them, with gaps on the receive side only (a core never stops inside a frame)."""
        d, rnd = self.dut, self.random
        frame, at, bad, collecting = None, 0, False, bytearray()
        while True:
            await FallingEdge(d.core_clock)
            if frame is None and self.frames:
                (frame, bad), at = self.frames.pop(0), 0
            d.tx_valid.value = frame is not None
            if frame is not None:
                part = frame[at : at + 8]
                last = at + 8 >= len(frame)
                d.tx_data.value = int.from_bytes(part.ljust(8, b"\0"), "big")
                d.tx_count.value = len(part) % 8 if last else 0
                d.tx_last.value, d.tx_error.value = last, last and bad
            ready = rnd.random() < self.ready
            d.rx_ready.value = ready
            await ReadOnly()
            taken = frame is not None and d.tx_ready.value.integer
            if ready and d.rx_valid.value.integer:
                data = d.rx_data.value.integer.to_bytes(8, "big")
                assert bool(d.rx_first.value.integer) == (not collecting)
                count = d.rx_count.value.integer
                end = d.rx_last.value.integer
                collecting += data[:count] if end and count else data
                if end:
                    self.received.append(bytes(collecting))
                    collecting = bytearray()
            await RisingEdge(d.core_clock)
            if taken:
                at += 8
                if at >= len(frame):
                    frame = None

    async def word(self, name):
        await FallingEdge(self.dut.core_clock)
        self.dut.word.value = WORDS.index(name)
        # mac::state::READ clocks
        for _ in range(4):
            await RisingEdge(self.dut.core_clock)
        await ReadOnly()
        return self.dut.word_data.value.integer

    async def idle(self, source, status):
        """Lets the link be idle with a status; the source model itself leaves zeros there."""
        await source.wait()
        await ClockCycles(self.dut.rgmii_rx_clk, 4)
        self.dut.rgmii_rxd.value = status
        await ClockCycles(self.dut.rgmii_rx_clk, 40)
        await ClockCycles(self.dut.core_clock, 40)


def incoming(rnd):
    """A frame for the card: what the model sends, which counter it moves, and its payload if it is good."""
    kind = rnd.choice(["Good"] * 6 + ["Runt", "Fcs", "Symbol", "Pause", "Control", "NoStart", "Oversize", "Empty"])
    if kind == "Oversize" and rnd.random() < 0.7:
        kind = "Good"
    size = rnd.choice([60, 61, 64, rnd.randint(60, 200), rnd.randint(60, 1600), rnd.randint(60, 9600) if rnd.random() < 0.3 else 1514])
    payload = bytearray(rnd.randbytes(size))
    payload[12:14] = b"\x86\xdd"
    if kind == "Pause":
        payload[12:16] = b"\x88\x08\x00\x01"
    if kind == "Control":
        payload[12:16] = b"\x88\x08\x01\x01"
    if kind == "Runt":
        payload = payload[: rnd.randint(0, 59)]
    if kind == "Oversize":
        payload = bytearray(rnd.randbytes(rnd.randint(LONGEST - 4 + 1, LONGEST + 300)))
    frame = GmiiFrame.from_raw_payload(payload + struct.pack("<L", zlib.crc32(payload)))
    start = frame.get_preamble_len()
    if rnd.random() < 0.3 and start == 8:
        # a link may eat preamble
        del frame.data[: rnd.randint(1, 7)]
        start = frame.get_preamble_len()
    if kind == "Fcs":
        frame.data[rnd.randrange(start, len(frame.data))] ^= 1 << rnd.randrange(8)
    if kind == "Symbol":
        frame.normalize()
        frame.error[rnd.randrange(start, len(frame.data))] = 1
    if kind == "NoStart":
        frame.data[start - 1] = 0x57
    if kind == "Empty":
        # a delimiter and nothing, or less than a check sequence
        frame.data = frame.data[: start + rnd.randint(0, 4)]
        kind = "Runt"
    return frame, kind, bytes(payload) if kind == "Good" else None


@cocotb.test()
async def frames_of_all_lengths(dut):
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    seed, number = int(os.environ["NAT64_SEED"]), int(os.environ["NAT64_FRAMES"])
    rnd = random.Random(seed)
    port = Port(dut, seed)
    for pin in "rx_ready tx_valid tx_data tx_count tx_last tx_error word rgmii_rxd rgmii_rx_ctl".split():
        getattr(dut, pin).value = 0
    core_ps = round(1000 * float(os.environ["NAT64_CORE_NS"]))
    cocotb.start_soon(Clock(dut.core_clock, core_ps // 2 * 2, units="ps").start())
    # transmit and receive clocks are 100 parts in a million apart
    cocotb.start_soon(Clock(dut.tx_clock, 8000, units="ps").start())
    cocotb.start_soon(Clock(dut.rgmii_rx_clk, 8000 + 2 * rnd.choice([-1, 0, 1]), units="ps").start())

    async def late():
        # the PLL's second clock, a quarter later
        await Timer(2, units="ns")
        await Clock(dut.tx_clock90, 8000, units="ps").start()

    dut.tx_clock90.value = 0
    cocotb.start_soon(late())
    cocotb.start_soon(port.core())
    dut.rgmii_rxd.value = 0xD
    await ClockCycles(dut.rgmii_rx_clk, 200)
    assert await port.word("Status") == PRESENT | 0x1D, "link up, 1000 Mbit/s, full duplex, clock runs"
    source = RgmiiSource(dut.rgmii_rxd, dut.rgmii_rx_ctl, dut.rgmii_rx_clk)
    sink = RgmiiSink(dut.rgmii_txd, dut.rgmii_tx_ctl, dut.rgmii_tx_clk)
    # towards the card
    want, counts, bytes_in = [], dict.fromkeys(WORDS, 0), 0
    lengths = [60 + i for i in range(12)] + [9600, 9622, LONGEST - 4]
    for i in range(number):
        frame, kind, payload = incoming(rnd)
        if i < len(lengths):
            payload, kind = bytearray(rnd.randbytes(lengths[i])), "Good"
            payload[12:14] = b"\x08\x00"
            frame, payload = GmiiFrame.from_payload(payload), bytes(payload)
        if payload is not None:
            want.append(payload)
        counts["Rx" + kind] += 1
        bytes_in += len(frame.data)
        source.ifg = rnd.choice([12, 12, 5, 1, 30])
        await source.send(frame)
        if rnd.random() < 0.3:
            await source.wait()
    # from the card
    sent = []
    for i in range(number):
        size = lengths[i] if i < len(lengths) else rnd.choice([1, 14, 59, 60, rnd.randint(60, 300), rnd.randint(60, 1522)])
        if i == len(lengths):
            size = 9600
        bad = i >= len(lengths) and rnd.random() < 0.2
        sent.append((rnd.randbytes(size), bad))
    port.frames.extend(sent)
    start, got = None, []
    for payload, bad in sent:
        frame = await sink.recv()
        good = frame.check_fcs() and frame.error is None
        assert frame.get_preamble() == b"\x55" * 7 + b"\xd5"
        if start is not None:
            # from the last byte of the check sequence to the first of the preamble: 12 clocks are the gap
            assert frame.sim_time_start - start >= 12 * 8000, f"a gap of {(frame.sim_time_start - start) / 8000} bytes"
        start = frame.sim_time_end
        assert good == (not bad), f"frame {len(got)} of {len(payload)} bytes"
        assert bytes(frame.get_payload()) == payload.ljust(60, b"\0")
        if bad:
            assert all(frame.error[-4:]) and not frame.check_fcs()
        counts["TxPoisoned" if bad else "TxGood"] += 1
        got.append(frame)
    await port.idle(source, 0xD)
    for _ in range(3000):
        if len(port.received) >= len(want):
            break
        await ClockCycles(dut.core_clock, 10)
    assert len(port.received) == len(want), f"{len(port.received)} of {len(want)} frames"
    for i, (received, payload) in enumerate(zip(port.received, want)):
        assert received == payload, f"frame {i} of {len(payload)} bytes"
    assert await port.word("Status") == PRESENT | 0x1D
    for name in WORDS[1:]:
        assert await port.word(name) == counts[name], f"{name} is {await port.word(name)}, expected {counts[name]}"
    # at 100 Mbit/s there is no frame, and it shows
    source.mii_mode = True
    await source.send(GmiiFrame.from_payload(rnd.randbytes(60)))
    await port.idle(source, 0xB)
    assert await port.word("RxNoStart") == counts["RxNoStart"] + 1
    assert await port.word("Status") == PRESENT | 0x1B
    print(f"FRAMES {len(want) + len(sent)} good in {len(want)} bad in {number - len(want)} out {len(sent)} bytes in {bytes_in}", flush=True)
