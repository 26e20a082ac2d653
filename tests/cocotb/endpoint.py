"""The endpoint against the root complex model of cocotbext-pcie: register accesses of all shapes, DMA rings in both
directions, poisoned and malformed TLPs; every byte compared, every TLP accounted for.

Environment: NAT64_SEED, NAT64_PAYLOAD (0: 128 bytes, 1: 256 bytes), NAT64_ACCESSES (host accesses),
NAT64_REGISTERS (the register map as JSON).
"""

import json
import logging
import os
import random
import struct

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, RisingEdge
from cocotbext.pcie.core import Device, RootComplex
from cocotbext.pcie.core.tlp import CplStatus, Tlp, TlpAttr, TlpTc, TlpType

from link import Card, Port, to_dws

SLOT = 2048
LOG2 = 3


def register_offsets():
    with open(os.environ["NAT64_REGISTERS"]) as file:
        registers = json.load(file)["registers"]
    return {r["name"]: int(r["offset"], 0) if isinstance(r["offset"], str) else r["offset"] for r in registers}


class Bench:
    def __init__(self, dut):
        self.dut = dut
        self.seed = int(os.environ["NAT64_SEED"])
        self.payload = int(os.environ["NAT64_PAYLOAD"])
        self.random = random.Random(self.seed)
        self.at = register_offsets()
        # BAR0 keeps what is written below 0x800 where no register is: memory to compare with
        self.memory = bytearray(0x200)
        self.memory_at = 0x600
        self.expected = dict.fromkeys(
            ["PcieUnsupported", "PcieAborted", "PcieMalformed", "PciePoisoned", "PcieUnexpected", "PcieTimeouts"], 0
        )
        self.accesses = 0

    async def start(self):
        dut = self.dut
        for pin in "rx0_valid rx1_valid tlp_rx_valid tlp_tx_ready cfg_bus_master cfg_msix_enable cfg_msix_mask cfg_flr".split():
            getattr(dut, pin).value = 0
        for pin in "time_ns rx0_data rx1_data rx0_error rx1_error tlp_rx_data tlp_rx_keep tlp_rx_last tlp_rx_bar".split():
            getattr(dut, pin).value = 0
        cocotb.start_soon(Clock(dut.clock, 8, units="ns").start())
        await ClockCycles(dut.clock, 4)
        self.rc = RootComplex()
        self.rc.max_payload_size = self.payload
        self.rc.max_payload_size_supported = self.payload
        self.rc.max_read_request_size = 5
        self.card = Card(dut, self.seed)
        self.device = Device(self.card)
        self.rc.make_port().connect(self.device)
        self.ports = [Port(dut, port, self.seed + port) for port in (0, 1)]
        cocotb.start_soon(self.card.run())
        for port in self.ports:
            cocotb.start_soon(port.run())
        await self.rc.enumerate()
        self.card.pcie_cap.max_read_request_size = self.payload
        await self.rc.find_device(self.card.pcie_id).enable_device()
        self.bar0 = self.card.bar[0] & ~0xF
        self.bar2 = (self.card.bar[2] & ~0xF) | self.card.bar[3] << 32
        assert self.bar0 and self.bar2 > 0xFFFF_FFFF, "BAR0 below, BAR2 above 4 GiB: headers of three and four DWs"

    async def read32(self, name):
        return await self.rc.mem_read_dword(self.bar0 + self.at[name], timeout=200, timeout_unit="us")

    async def write32(self, name, value):
        await self.rc.mem_write_dword(self.bar0 + self.at[name], value)

    async def settle(self):
        """Until nothing is under way."""
        for _ in range(2000):
            await ClockCycles(self.dut.clock, 20)
            if self.card.quiet() and self.dut.idle.value.integer:
                return
        raise AssertionError("the endpoint does not become idle")

    async def accesses_of_all_shapes(self, count):
        """Writes and reads of one side are in order, so the model knows what a read must give: that of the writes before."""
        rnd = self.random
        done = 0
        while done < count:
            # a batch: reads that run at the same time, after writes that do not meet them
            for _ in range(rnd.randint(1, 6)):
                start = rnd.randrange(len(self.memory))
                length = min(rnd.choice([1, 2, 3, 4, 4, 4, 8, rnd.randint(1, 300)]), len(self.memory) - start)
                data = rnd.randbytes(length)
                await self.rc.mem_write(self.bar0 + self.memory_at + start, data)
                self.memory[start : start + length] = data
                done += 1
            if rnd.random() < 0.3:
                self.mischief()
            jobs = []
            for _ in range(rnd.randint(1, 8)):
                start = rnd.randrange(len(self.memory))
                length = min(rnd.choice([1, 2, 4, 4, 8, rnd.randint(1, 512)]), len(self.memory) - start)
                what = rnd.random()
                tc = TlpTc(rnd.randrange(8))
                if what < 0.1:
                    # BAR2 reads as zeros, up to the largest request there is
                    length = rnd.randint(1, 4096)
                    address, want = self.bar2 + 4096 * rnd.randrange(64), bytes(length)
                elif what < 0.15:
                    # a flush
                    length, address, want = 0, self.bar0 + self.memory_at, b""
                else:
                    address, want = self.bar0 + self.memory_at + start, bytes(self.memory[start : start + length])
                jobs.append((cocotb.start_soon(self.rc.mem_read(address, length, 400, "us", TlpAttr(0), tc)), want, address))
                done += 1
            for job, want, address in jobs:
                got = await job
                assert got == want, f"read of {len(want)} bytes at {address:#x}: {got.hex()} in place of {want.hex()}"
        self.accesses += done

    def mischief(self):
        """What the model would never send; each is counted, none has an effect."""
        rnd = self.random
        tlp = Tlp()
        tlp.fmt_type = TlpType.MEM_WRITE
        tlp.set_addr_be_data(self.bar0 + self.memory_at, rnd.randbytes(8))
        dws = to_dws(tlp)
        kind = rnd.randrange(8)
        counter = "PcieMalformed"
        if kind == 0:
            dws[0] |= 1 << 14
            counter = "PciePoisoned"
        elif kind == 1:
            dws.append(0)
        elif kind == 2:
            dws.pop()
        elif kind == 3:
            dws[0] |= 0x80000000
        elif kind == 4:
            dws[0] |= 0x1F000000
        elif kind == 5:
            # across 4 KiB
            dws[2] = self.bar0 + 0xFFC
        elif kind == 6:
            # longer than Max_Payload_Size
            words = (32 << self.payload) + 1
            tlp.set_addr_be_data(self.bar0 + self.memory_at, bytes(4 * words))
            dws = to_dws(tlp)
        else:
            # a completion for nobody
            tlp = Tlp()
            tlp.fmt_type = TlpType.CPL_DATA
            tlp.requester_id = self.card.pcie_id
            tlp.tag = rnd.randrange(32, 256)
            tlp.byte_count = 4
            tlp.set_data(bytes(4))
            dws = to_dws(tlp)
            counter = "PcieUnexpected"
        self.card.inject(dws)
        self.expected[counter] += 1

    async def unsupported(self):
        """Requests that hit no BAR, through the model's own tags."""
        tlp = Tlp()
        tlp.fmt_type = TlpType.MEM_READ
        tlp.requester_id = self.rc.pcie_id if hasattr(self.rc, "pcie_id") else 0
        tlp.set_addr_be(0x1000, 8)
        tlp.tag = await self.rc.alloc_tag()
        self.card.inject(to_dws(tlp), bar=0, non_posted=True)
        cpl = await self.rc.recv_cpl(tlp.tag, 400, "us")
        assert cpl is not None and cpl.status == CplStatus.UR and cpl.byte_count == 8, f"{cpl!r}"
        self.rc.release_tag(tlp.tag)
        self.expected["PcieUnsupported"] += 1

    async def rings(self, frames):
        """Frames through the exception ring to memory and back through the inject ring; at the same time register accesses."""
        rnd = self.random
        slots = 1 << LOG2
        exc, exc_mem = self.rc.alloc_region(slots * SLOT)
        inj, inj_mem = self.rc.alloc_region(slots * SLOT)
        back, back_mem = self.rc.alloc_region(4096)
        for name, value in [
            ("ExcBaseLow", exc & 0xFFFFFFFF),
            ("ExcBaseHigh", exc >> 32),
            ("InjBaseLow", inj & 0xFFFFFFFF),
            ("InjBaseHigh", inj >> 32),
            ("InjWbLow", back & 0xFFFFFFFF),
            ("InjWbHigh", back >> 32),
            ("ExcCtrl", 1 | LOG2 << 8),
            ("InjCtrl", 1 | LOG2 << 8),
            ("Policy", 0x22),
            ("Ctrl", 1),
        ]:
            await self.write32(name, value)
        # messages of both vectors
        messages, messages_mem = self.rc.alloc_region(4096)
        table = b"".join(struct.pack("<QLL", messages + 4 * v, 0x100 + v, 0) for v in (0, 1))
        await self.rc.mem_write(self.bar0 + 0xC000, table)
        self.dut.cfg_msix_enable.value = 1
        await self.settle()
        sent = []
        tail = head = 0
        injected = 0
        for number in range(frames):
            frame = rnd.randbytes(12) + b"\x88\xb5" + rnd.randbytes(rnd.choice([46, 60, rnd.randint(46, 1400)]))
            sent.append(frame)
            # completions of 64 bytes, or as long as they may be
            self.rc.split_on_all_rcb = rnd.random() < 0.5
            self.ports[0].frames.append(frame)
            # the slot is ours when its OWN bit says so; everything before that word is there then
            offset = SLOT * (head % slots)
            phase = 1 if (head >> LOG2) & 1 == 0 else 0
            for _ in range(4000):
                word = struct.unpack_from("<Q", exc_mem, offset + 24)[0]
                if word >> 63 == phase and head == number:
                    break
                await RisingEdge(self.dut.clock)
            else:
                raise AssertionError(f"frame {number} did not come")
            length = word >> 32 & 0xFFFF
            got = bytes(exc_mem[offset + 32 : offset + 32 + length])
            assert got == frame, f"frame {number} is not what was sent"
            assert struct.unpack_from("<L", exc_mem, offset + 8)[0] == number
            head += 1
            await self.write32("ExcTail", head)
            # back through the inject ring
            offset = SLOT * (tail % slots)
            own = 1 if (tail >> LOG2) & 1 == 0 else 0
            inj_mem[offset + 32 : offset + 32 + len(frame)] = frame
            inj_mem[offset : offset + 32] = struct.pack("<QQQQ", 0, 0, 0, 1 << 8 | len(frame) << 32 | own << 63)
            tail += 1
            await self.write32("InjTail", tail)
            if rnd.random() < 0.5:
                await self.accesses_of_all_shapes(rnd.randint(1, 12))
            for _ in range(20000):
                if struct.unpack_from("<Q", back_mem, 0)[0] == tail:
                    break
                await RisingEdge(self.dut.clock)
            else:
                raise AssertionError(f"inject of frame {number} was not written back")
        await self.settle()
        assert self.ports[1].received == sent, "frames that were injected"
        assert struct.unpack_from("<LL", messages_mem, 0) == (0x100, 0x101), "interrupt messages"


@cocotb.test()
async def everything(dut):
    bench = Bench(dut)
    logging.getLogger("cocotb.pcie").setLevel(logging.ERROR)
    print(f"seed {bench.seed}, Max_Payload_Size {128 << bench.payload}", flush=True)
    await bench.start()
    assert await bench.read32("Ident") == 0x4E363400
    await bench.accesses_of_all_shapes(int(os.environ["NAT64_ACCESSES"]))
    for _ in range(10):
        await bench.unsupported()
    # no DMA before bus master is enabled
    assert not bench.card.bus_master_enable
    await bench.rc.find_device(bench.card.pcie_id).set_master()
    assert bench.card.bus_master_enable
    await bench.rings(int(os.environ.get("NAT64_FRAMES", "60")))
    await bench.settle()
    for name, want in bench.expected.items():
        got = await bench.read32(name)
        assert got == want, f"{name} is {got}, expected {want}"
    assert await bench.read32("PcieErrors") == bench.card.errors_in == 0
    print(
        f"TRANSACTIONS {bench.card.tlps_in + bench.card.tlps_out} host {bench.accesses} "
        f"in {bench.card.tlps_in} out {bench.card.tlps_out} bad {sum(bench.expected.values())}",
        flush=True,
    )
