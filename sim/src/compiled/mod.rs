//! The compiled engine: the exported Verilog, made into a program by Verilator, run as a child process.
//!
//! ```text
//!   core_verilog() --\                                            stdin: frames, writes, reads, run
//!                     verilator, g++ --> target/nat64-compiled/.../core <===> Compiled: Engine
//!   harness.cpp -----/                   (built once)             stdout: DMA, frames sent, answers
//! ```
//!
//! The bench loop of `pins.rs` is in the child (`harness.cpp`), so only frames, DMA and register accesses cross the
//! pipe, not clocks. A child that dies or stops answering is an error with what it wrote to stderr, never a hang.

mod build;
mod pipe;

use nat64_driver::HostMemory;
use nat64_layout::Bar;

pub use build::{build, target_dir};
pub use pipe::Pipe;

use crate::engine::{check_write, pad, Engine, EngineError, Ran, TxFrame};
use crate::pins::{Beat, PinsIn, PinsOut};

/// Clocks of raw pins that travel together.
const RAW_BATCH: usize = 512;
/// The bench around the core.
const HARNESS: &str = concat!(include_str!("pipes.hpp"), include_str!("harness.cpp"));
/// Bus width of the core, in bits, where nothing else is asked for.
pub const WIDTH: usize = 64;
/// Longest frame the child reports.
const MAX_FRAME: u32 = 1 << 17;

/// The compiled core and its bench.
pub struct Compiled {
    pipe: Pipe,
    memory: HostMemory,
    tx: Vec<TxFrame>,
    clocks: u64,
    faults: u64,
}

impl Compiled {
    /// Builds the engine of the core at [`WIDTH`] when it is not built yet, and starts it. DMA goes to `memory`.
    ///
    /// # Errors
    /// Missing tools, a failed build, a child that cannot be started.
    pub fn start(memory: HostMemory) -> Result<Self, EngineError> {
        Self::start_width(WIDTH, memory)
    }

    /// The same for a core of `width` bits, one of [`nat64_hdl::export::WIDTHS`].
    ///
    /// # Errors
    /// Another width, missing tools, a failed build, a child that cannot be started.
    pub fn start_width(width: usize, memory: HostMemory) -> Result<Self, EngineError> {
        let verilog = nat64_hdl::export::core_verilog(width).ok_or_else(|| EngineError::Build {
            what: format!("a core of {width} bits cannot be exported as Verilog"),
            output: String::new(),
        })?;
        Self::start_verilog(&verilog, width, memory)
    }

    /// Builds the engine of this Verilog, whose module `top` has the core's pins at `width` bits, when it is not built yet,
    /// and starts it. DMA goes to `memory`.
    ///
    /// # Errors
    /// Missing tools, a failed build, a child that cannot be started.
    pub fn start_verilog(verilog: &str, width: usize, memory: HostMemory) -> Result<Self, EngineError> {
        let harness = format!("#define NAT64_WIDTH {width}\n{HARNESS}");
        let pipe = Pipe::start(&build(verilog, &harness)?)?;
        Ok(Self {
            pipe,
            memory,
            tx: Vec::new(),
            clocks: 0,
            faults: 0,
        })
    }

    /// Clocks from a DMA read request to its first word.
    ///
    /// # Errors
    /// When the child is gone.
    pub fn set_read_latency(&mut self, clocks: u64) -> Result<(), EngineError> {
        self.pipe.send(&[&[7], &clocks.to_le_bytes()])
    }

    /// Clocks the core, one of 64 bits, with these inputs, without the bench, and gives its outputs just before each edge: to compare
    /// it clock by clock with another engine.
    ///
    /// # Errors
    /// When the child is gone.
    pub fn clock_pins(&mut self, inputs: &[PinsIn]) -> Result<Vec<PinsOut>, EngineError> {
        let mut outputs = Vec::with_capacity(inputs.len());
        for batch in inputs.chunks(RAW_BATCH) {
            self.pipe.send(&[&[6], &(batch.len() as u32).to_le_bytes()])?;
            for pins in batch {
                self.pipe.send(&[&pack(pins)])?;
            }
            self.pipe.flush()?;
            self.pipe.await_answer(true);
            let op = self.pipe.u8()?;
            if op != b'p' {
                return Err(self.pipe.nonsense(op));
            }
            for _ in batch {
                let raw = self.pipe.take::<50>()?;
                outputs.push(unpack(&raw));
                self.clocks += 1;
            }
            self.pipe.await_answer(false);
        }
        Ok(outputs)
    }

    /// Waits for what ends a command, and serves DMA and frames on the way. `end` names the answers awaited.
    fn answer(&mut self, end: &[u8]) -> Result<u8, EngineError> {
        self.pipe.flush()?;
        self.pipe.await_answer(true);
        loop {
            match self.pipe.u8()? {
                b'w' => {
                    let (addr, data) = (self.pipe.u64()?, self.pipe.u64()?);
                    if self.memory.write_word(addr, data).is_err() {
                        self.faults += 1;
                    }
                }
                b'q' => {
                    let (addr, len) = (self.pipe.u64()?, self.pipe.u16()?);
                    let mut bytes = vec![0; usize::from(len)];
                    let ok = !bytes.is_empty() && self.memory.read(addr, &mut bytes).is_ok();
                    if !ok {
                        bytes.clear();
                    }
                    self.pipe.send(&[&[u8::from(ok)], &bytes])?;
                    self.pipe.flush()?;
                }
                b't' => {
                    let (port, error, clock, length) =
                        (self.pipe.u8()?, self.pipe.u8()?, self.pipe.u64()?, self.pipe.u32()?);
                    if length > MAX_FRAME {
                        return Err(self.pipe.nonsense(b't'));
                    }
                    let bytes = self.pipe.bytes(length as usize)?;
                    self.tx.push(TxFrame {
                        port,
                        bytes,
                        error: error != 0,
                        clock,
                    });
                }
                op if end.contains(&op) => {
                    self.pipe.await_answer(false);
                    return Ok(op);
                }
                op => return Err(self.pipe.nonsense(op)),
            }
        }
    }
}

impl Engine for Compiled {
    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.pipe.send(&[&[1], &ns.to_le_bytes()])
    }

    fn csr_write(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), EngineError> {
        check_write(bar, offset)?;
        self.pipe.send(&[
            &[2, u8::from(bar == Bar::Bar2)],
            &offset.to_le_bytes(),
            &value.to_le_bytes(),
        ])
    }

    fn csr_read(&mut self, offset: u32) -> Result<u32, EngineError> {
        check_write(Bar::Bar0, offset)?;
        self.pipe.send(&[&[3], &offset.to_le_bytes()])?;
        if self.answer(b"vn")? == b'n' {
            self.clocks = self.pipe.u64()?;
            return Err(EngineError::NoAnswer {
                offset,
                clocks: crate::engine::READ_CLOCKS,
            });
        }
        let value = self.pipe.u32()?;
        self.clocks = self.pipe.u64()?;
        Ok(value)
    }

    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError> {
        let bytes = pad(port, frame)?;
        self.pipe
            .send(&[&[4, port, u8::from(error)], &(bytes.len() as u32).to_le_bytes(), &bytes])
    }

    fn run(&mut self, max_clocks: u64) -> Result<Ran, EngineError> {
        self.pipe.send(&[&[5], &max_clocks.to_le_bytes()])?;
        self.answer(b"i")?;
        let (idle, irqs, clocks) = (self.pipe.u8()?, self.pipe.u8()?, self.pipe.u64()?);
        let ran = Ran {
            clocks: clocks - self.clocks.min(clocks),
            irqs: u32::from(irqs),
        };
        self.clocks = clocks;
        if idle == 0 {
            return Err(EngineError::Busy { clocks: ran.clocks });
        }
        Ok(ran)
    }

    fn take_tx(&mut self) -> Vec<TxFrame> {
        std::mem::take(&mut self.tx)
    }

    fn process(&self) -> Option<u32> {
        Some(self.pipe.id())
    }

    fn clocks(&self) -> u64 {
        self.clocks
    }

    fn dma_faults(&self) -> u64 {
        self.faults
    }

    fn reset(&mut self) -> Result<(), EngineError> {
        self.tx.clear();
        self.pipe.send(&[&[8]])
    }
}

fn pack(pins: &PinsIn) -> [u8; 46] {
    let mut raw = [0; 46];
    let mut at = 0;
    let mut put = |bytes: &[u8]| {
        raw[at..at + bytes.len()].copy_from_slice(bytes);
        at += bytes.len();
    };
    let flags = |bits: &[bool]| bits.iter().enumerate().fold(0u8, |v, (i, &bit)| v | u8::from(bit) << i);
    put(&pins.time_ns.to_le_bytes());
    put(&pins.rx[0].data.to_le_bytes());
    put(&pins.rx[1].data.to_le_bytes());
    put(&pins.md_data.to_le_bytes());
    put(&pins.csr_addr.to_le_bytes());
    put(&pins.csr_wdata.to_le_bytes());
    put(&pins.csr_raddr.to_le_bytes());
    for (valid, beat) in pins.rx_valid.iter().zip(&pins.rx) {
        put(&[flags(&[*valid, beat.first, beat.last, beat.error]) | beat.count << 4]);
    }
    put(&[flags(&[
        pins.tx_ready[0],
        pins.tx_ready[1],
        pins.csr_write,
        pins.csr_bar2,
        pins.csr_read,
        pins.mw_ready,
        pins.mr_ready,
    ])]);
    put(&[flags(&[pins.md_valid, pins.md_last, pins.md_error])]);
    raw
}

fn unpack(raw: &[u8; 50]) -> PinsOut {
    let word = |at: usize, bytes: usize| (0..bytes).fold(0u64, |v, i| v | u64::from(raw[at + i]) << (8 * i));
    let (misc, last) = (raw[48], raw[49]);
    let bit = |value: u8, i: u8| value >> i & 1 != 0;
    let beat = |data: u64, flags: u8| Beat {
        data,
        count: flags >> 4,
        first: bit(flags, 1),
        last: bit(flags, 2),
        error: bit(flags, 3),
    };
    PinsOut {
        rx_ready: [bit(misc, 0), bit(misc, 1)],
        tx_valid: [bit(raw[46], 0), bit(raw[47], 0)],
        tx: [beat(word(0, 8), raw[46]), beat(word(8, 8), raw[47])],
        csr_done: bit(misc, 2),
        csr_rdata: word(40, 4) as u32,
        mw_valid: bit(misc, 3),
        mw_addr: word(16, 8),
        mw_data: word(24, 8),
        mw_first: bit(misc, 4),
        mw_last: bit(misc, 5),
        mr_valid: bit(misc, 6),
        mr_addr: word(32, 8),
        mr_len: word(44, 2) as u16,
        md_ready: bit(misc, 7),
        irq: last & 3,
        idle: bit(last, 2),
    }
}

#[cfg(test)]
mod tests;
