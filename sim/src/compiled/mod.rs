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

use std::io::{BufReader, BufWriter, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{channel, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nat64_driver::HostMemory;
use nat64_layout::Bar;

pub use build::{build, target_dir};

use crate::engine::{check_write, pad, Engine, EngineError, Ran, TxFrame};
use crate::pins::{Beat, PinsIn, PinsOut};

/// How long the child may take for one answer; a million clocks take a few seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes kept of what the child writes to stderr.
const STDERR_KEPT: u64 = 8 << 10;
/// Clocks of raw pins that travel together.
const RAW_BATCH: usize = 512;
/// Longest frame the child reports.
const MAX_FRAME: u32 = 1 << 17;

/// Kills the child when an answer takes too long: the reader then sees the end of the pipe.
struct Watch {
    commands: Sender<bool>,
    thread: Option<JoinHandle<()>>,
    fired: Arc<Mutex<bool>>,
}

impl Watch {
    fn new(child: Arc<Mutex<Child>>) -> std::io::Result<Self> {
        let (commands, received) = channel::<bool>();
        let fired = Arc::new(Mutex::new(false));
        let flag = Arc::clone(&fired);
        let thread = std::thread::Builder::new().name("card-watch".into()).spawn(move || {
            // `true`: an answer is awaited from now on. `false`: it came.
            while let Ok(mut awaited) = received.recv() {
                while awaited {
                    match received.recv_timeout(PATIENCE) {
                        Ok(next) => awaited = next,
                        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return,
                        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
                            *flag.lock().unwrap_or_else(PoisonError::into_inner) = true;
                            // When it cannot be killed it is already dead.
                            let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
                            return;
                        }
                    }
                }
            }
        })?;
        Ok(Self {
            commands,
            thread: Some(thread),
            fired,
        })
    }

    fn set(&self, awaited: bool) {
        // The watch thread ends by itself only after it fired.
        let _ = self.commands.send(awaited);
    }

    fn fired(&self) -> bool {
        *self.fired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The compiled core and its bench.
pub struct Compiled {
    child: Arc<Mutex<Child>>,
    stdin: Option<BufWriter<ChildStdin>>,
    stdout: BufReader<ChildStdout>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    watch: Watch,
    memory: HostMemory,
    tx: Vec<TxFrame>,
    clocks: u64,
    faults: u64,
}

impl Compiled {
    /// Builds the engine of the core at W = 64 when it is not built yet, and starts it. DMA goes to `memory`.
    ///
    /// # Errors
    /// Missing tools, a failed build, a child that cannot be started.
    pub fn start(memory: HostMemory) -> Result<Self, EngineError> {
        let verilog = nat64_hdl::export::core_verilog(64).ok_or_else(|| EngineError::Build {
            what: "the core cannot be exported as Verilog".into(),
            output: String::new(),
        })?;
        Self::start_verilog(&verilog, memory)
    }

    /// Builds the engine of this Verilog, whose module `top` has the core's pins at W = 64, when it is not built yet,
    /// and starts it. DMA goes to `memory`.
    ///
    /// # Errors
    /// Missing tools, a failed build, a child that cannot be started.
    pub fn start_verilog(verilog: &str, memory: HostMemory) -> Result<Self, EngineError> {
        let program = build(verilog)?;
        let failed = |e: std::io::Error| EngineError::Child {
            what: format!("cannot be started ({}: {e})", program.display()),
            stderr: String::new(),
        };
        let mut child = Command::new(&program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(EngineError::Child {
                what: "has no pipes".into(),
                stderr: String::new(),
            });
        };
        let stderr = std::thread::Builder::new()
            .name("card-stderr".into())
            .spawn(move || {
                let mut stderr = stderr;
                let mut kept = Vec::new();
                // What cannot be read any more is not needed; the rest is drained so that the child never blocks.
                let _ = stderr.by_ref().take(STDERR_KEPT).read_to_end(&mut kept);
                let _ = std::io::copy(&mut stderr, &mut std::io::sink());
                kept
            })
            .map_err(failed)?;
        let child = Arc::new(Mutex::new(child));
        let watch = Watch::new(Arc::clone(&child)).map_err(failed)?;
        Ok(Self {
            child,
            stdin: Some(BufWriter::with_capacity(1 << 16, stdin)),
            stdout: BufReader::with_capacity(1 << 16, stdout),
            stderr: Some(stderr),
            watch,
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
        self.send(&[&[7], &clocks.to_le_bytes()])
    }

    /// Clocks the core with these inputs, without the bench, and gives its outputs just before each edge: to compare
    /// it clock by clock with another engine.
    ///
    /// # Errors
    /// When the child is gone.
    pub fn clock_pins(&mut self, inputs: &[PinsIn]) -> Result<Vec<PinsOut>, EngineError> {
        let mut outputs = Vec::with_capacity(inputs.len());
        for batch in inputs.chunks(RAW_BATCH) {
            self.send(&[&[6], &(batch.len() as u32).to_le_bytes()])?;
            for pins in batch {
                self.send(&[&pack(pins)])?;
            }
            self.flush()?;
            self.watch.set(true);
            let op = self.u8()?;
            if op != b'p' {
                return Err(self.nonsense(op));
            }
            for _ in batch {
                let raw = self.take::<50>()?;
                outputs.push(unpack(&raw));
                self.clocks += 1;
            }
            self.watch.set(false);
        }
        Ok(outputs)
    }

    fn send(&mut self, parts: &[&[u8]]) -> Result<(), EngineError> {
        for part in parts {
            if self.stdin.as_mut().is_none_or(|s| s.write_all(part).is_err()) {
                return Err(self.gone());
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), EngineError> {
        if self.stdin.as_mut().is_none_or(|s| s.flush().is_err()) {
            return Err(self.gone());
        }
        Ok(())
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], EngineError> {
        let mut raw = [0; N];
        match self.stdout.read_exact(&mut raw) {
            Ok(()) => Ok(raw),
            Err(_) => Err(self.gone()),
        }
    }

    fn u8(&mut self) -> Result<u8, EngineError> {
        Ok(self.take::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, EngineError> {
        Ok(u16::from_le_bytes(self.take()?))
    }

    fn u32(&mut self) -> Result<u32, EngineError> {
        Ok(u32::from_le_bytes(self.take()?))
    }

    fn u64(&mut self) -> Result<u64, EngineError> {
        Ok(u64::from_le_bytes(self.take()?))
    }

    /// Waits for what ends a command, and serves DMA and frames on the way. `end` names the answers awaited.
    fn answer(&mut self, end: &[u8]) -> Result<u8, EngineError> {
        self.flush()?;
        self.watch.set(true);
        loop {
            match self.u8()? {
                b'w' => {
                    let (addr, data) = (self.u64()?, self.u64()?);
                    if self.memory.write_word(addr, data).is_err() {
                        self.faults += 1;
                    }
                }
                b'q' => {
                    let (addr, len) = (self.u64()?, self.u16()?);
                    let mut bytes = vec![0; usize::from(len)];
                    let ok = !bytes.is_empty() && self.memory.read(addr, &mut bytes).is_ok();
                    if !ok {
                        bytes.clear();
                    }
                    self.send(&[&[u8::from(ok)], &bytes])?;
                    self.flush()?;
                }
                b't' => {
                    let (port, error, clock, length) = (self.u8()?, self.u8()?, self.u64()?, self.u32()?);
                    if length > MAX_FRAME {
                        return Err(self.nonsense(b't'));
                    }
                    let mut bytes = vec![0; length as usize];
                    if self.stdout.read_exact(&mut bytes).is_err() {
                        return Err(self.gone());
                    }
                    self.tx.push(TxFrame {
                        port,
                        bytes,
                        error: error != 0,
                        clock,
                    });
                }
                op if end.contains(&op) => {
                    self.watch.set(false);
                    return Ok(op);
                }
                op => return Err(self.nonsense(op)),
            }
        }
    }

    fn nonsense(&mut self, op: u8) -> EngineError {
        // Nothing that follows could be trusted.
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).kill();
        let mut error = self.gone();
        if let EngineError::Child { what, .. } = &mut error {
            *what = format!("answered with an unknown record {op:#04x}");
        }
        error
    }

    /// The child closed its pipes: says why.
    fn gone(&mut self) -> EngineError {
        self.stdin = None;
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        let stderr = self.stderr.take().and_then(|t| t.join().ok()).unwrap_or_default();
        let what = if self.watch.fired() {
            format!("did not answer within {} s", PATIENCE.as_secs())
        } else {
            match status {
                Ok(status) => format!("ended unexpectedly ({status})"),
                Err(e) => format!("cannot be waited for ({e})"),
            }
        };
        EngineError::Child {
            what,
            stderr: String::from_utf8_lossy(&stderr).trim().to_string(),
        }
    }
}

impl Drop for Compiled {
    fn drop(&mut self) {
        self.stdin = None;
        {
            let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
            // Both fail only when it ended before.
            let _ = child.kill();
            let _ = child.wait();
        }
        let (closed, _) = channel();
        self.watch.commands = closed;
        if let Some(thread) = self.watch.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Engine for Compiled {
    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.send(&[&[1], &ns.to_le_bytes()])
    }

    fn csr_write(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), EngineError> {
        check_write(bar, offset)?;
        self.send(&[
            &[2, u8::from(bar == Bar::Bar2)],
            &offset.to_le_bytes(),
            &value.to_le_bytes(),
        ])
    }

    fn csr_read(&mut self, offset: u32) -> Result<u32, EngineError> {
        check_write(Bar::Bar0, offset)?;
        self.send(&[&[3], &offset.to_le_bytes()])?;
        if self.answer(b"vn")? == b'n' {
            self.clocks = self.u64()?;
            return Err(EngineError::NoAnswer {
                offset,
                clocks: crate::engine::READ_CLOCKS,
            });
        }
        let value = self.u32()?;
        self.clocks = self.u64()?;
        Ok(value)
    }

    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError> {
        let bytes = pad(port, frame)?;
        self.send(&[&[4, port, u8::from(error)], &(bytes.len() as u32).to_le_bytes(), &bytes])
    }

    fn run(&mut self, max_clocks: u64) -> Result<Ran, EngineError> {
        self.send(&[&[5], &max_clocks.to_le_bytes()])?;
        self.answer(b"i")?;
        let (idle, irqs, clocks) = (self.u8()?, self.u8()?, self.u64()?);
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
        Some(self.child.lock().unwrap_or_else(PoisonError::into_inner).id())
    }

    fn clocks(&self) -> u64 {
        self.clocks
    }

    fn dma_faults(&self) -> u64 {
        self.faults
    }

    fn reset(&mut self) -> Result<(), EngineError> {
        self.tx.clear();
        self.send(&[&[8]])
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
