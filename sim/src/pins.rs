//! The core's pins at W = 64 as plain numbers, and the bench that turns frames, registers and DMA into them.
//!
//! ```text
//!   frames --> [rx feeder] --rx0, rx1-->  +------+ --tx0, tx1--> [tx collector] --> frames
//!   writes --> [csr]       --csr------->  | core | --mw-------> host memory
//!                                         |      | --mr-------> [read queue] --md--> (back in)
//!                                         +------+ --irq, idle
//! ```
//!
//! One clock: inputs are set, the logic settles, outputs are sampled, the clock rises. A word moves when `valid` and
//! `ready` are both high in the sample. The compiled engine's harness (`compiled/harness.cpp`) follows the same rules
//! clock by clock, so both engines count the same clocks.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use nat64_driver::HostMemory;
use nat64_layout::Bar;

use crate::engine::{
    check_write, pad, Engine, EngineError, Ran, TxFrame, IDLE_CLOCKS, READS_OUTSTANDING, READ_CLOCKS, READ_LATENCY,
};

/// One beat of a stream, 64 bits; byte 0 of the frame is the most significant byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Bytes, first in 63:56.
    pub data: u64,
    /// Valid bytes of the last beat, 0 = all; 3 bits.
    pub count: u8,
    /// First beat of a frame.
    pub first: bool,
    /// Last beat of a frame.
    pub last: bool,
    /// The frame is damaged; with `last`.
    pub error: bool,
}

/// Inputs of the core ("Core pins" of ARCHITECTURE.md).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinsIn {
    /// `time_ns`.
    pub time_ns: u64,
    /// `rxP_valid`.
    pub rx_valid: [bool; 2],
    /// The other `rxP` inputs.
    pub rx: [Beat; 2],
    /// `txP_ready`.
    pub tx_ready: [bool; 2],
    /// `csr_write`.
    pub csr_write: bool,
    /// `csr_bar2`.
    pub csr_bar2: bool,
    /// `csr_addr`, 24 bits.
    pub csr_addr: u32,
    /// `csr_wdata`.
    pub csr_wdata: u32,
    /// `csr_read`.
    pub csr_read: bool,
    /// `csr_raddr`.
    pub csr_raddr: u16,
    /// `mw_ready`.
    pub mw_ready: bool,
    /// `mr_ready`.
    pub mr_ready: bool,
    /// `md_valid`.
    pub md_valid: bool,
    /// `md_data`.
    pub md_data: u64,
    /// `md_last`.
    pub md_last: bool,
    /// `md_error`.
    pub md_error: bool,
}

/// Outputs of the core.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PinsOut {
    /// `rxP_ready`.
    pub rx_ready: [bool; 2],
    /// `txP_valid`.
    pub tx_valid: [bool; 2],
    /// The other `txP` outputs.
    pub tx: [Beat; 2],
    /// `csr_done`.
    pub csr_done: bool,
    /// `csr_rdata`.
    pub csr_rdata: u32,
    /// `mw_valid`.
    pub mw_valid: bool,
    /// `mw_addr`.
    pub mw_addr: u64,
    /// `mw_data`.
    pub mw_data: u64,
    /// `mw_first`.
    pub mw_first: bool,
    /// `mw_last`.
    pub mw_last: bool,
    /// `mr_valid`.
    pub mr_valid: bool,
    /// `mr_addr`.
    pub mr_addr: u64,
    /// `mr_len`, bytes; 13 bits.
    pub mr_len: u16,
    /// `md_ready`.
    pub md_ready: bool,
    /// `irq`, 2 bits.
    pub irq: u8,
    /// `idle`.
    pub idle: bool,
}

/// A core that can be clocked.
pub trait PinEngine: Send {
    /// Sets the inputs, lets the logic settle, returns the outputs as they are just before the rising edge, and then
    /// makes the edge.
    fn clock(&mut self, pins: &PinsIn) -> PinsOut;

    /// Puts the core into its state after power-on.
    fn reset(&mut self);
}

/// Pins of consecutive clocks from power-on, shared with whoever looks at them later.
pub type Trace = Arc<Mutex<Vec<(PinsIn, PinsOut)>>>;

/// Largest frame collected from a port: what the core can send, with room to show an error of it.
const MAX_TX: usize = 64 << 10;

enum Posted {
    Write(bool, u32, u32),
    Time(u64),
}

struct Read {
    due: u64,
    words: VecDeque<u64>,
    fault: bool,
}

/// Puts frames, register accesses and DMA on the pins of a [`PinEngine`].
pub struct Bench<P> {
    pins: P,
    memory: HostMemory,
    input: PinsIn,
    posted: VecDeque<Posted>,
    rx: [VecDeque<(Vec<u8>, bool)>; 2],
    rx_at: [usize; 2],
    reads: VecDeque<Read>,
    read_latency: u64,
    collecting: [Option<Vec<u8>>; 2],
    tx: Vec<TxFrame>,
    irqs: u32,
    clocks: u64,
    faults: u64,
    trace: Option<Trace>,
}

impl<P: PinEngine> Bench<P> {
    /// A bench around a core; DMA goes to `memory`.
    pub fn new(pins: P, memory: HostMemory) -> Self {
        Self {
            pins,
            memory,
            input: PinsIn {
                tx_ready: [true; 2],
                mw_ready: true,
                ..PinsIn::default()
            },
            posted: VecDeque::new(),
            rx: Default::default(),
            rx_at: [0; 2],
            reads: VecDeque::new(),
            read_latency: READ_LATENCY,
            collecting: Default::default(),
            tx: Vec::new(),
            irqs: 0,
            clocks: 0,
            faults: 0,
            trace: None,
        }
    }

    /// Clocks from a DMA read request to its first word.
    #[must_use]
    pub fn with_read_latency(mut self, clocks: u64) -> Self {
        self.read_latency = clocks;
        self
    }

    /// Records the pins of every clock since power-on into `trace`, about 300 bytes each. A reset empties it.
    #[must_use]
    pub fn with_trace(mut self, trace: Trace) -> Self {
        self.trace = Some(trace);
        self
    }

    /// The core.
    pub fn pins(&mut self) -> &mut P {
        &mut self.pins
    }

    fn queued(&self) -> bool {
        !self.posted.is_empty() || self.rx.iter().any(|q| !q.is_empty()) || !self.reads.is_empty()
    }

    /// One clock. Frames enter only when no write was left to make.
    fn step(&mut self) -> PinsOut {
        let input = &mut self.input;
        input.csr_write = false;
        (input.csr_bar2, input.csr_addr, input.csr_wdata) = (false, 0, 0);
        while let Some(posted) = self.posted.pop_front() {
            match posted {
                Posted::Time(ns) => input.time_ns = ns,
                Posted::Write(bar2, offset, value) => {
                    input.csr_write = true;
                    (input.csr_bar2, input.csr_addr, input.csr_wdata) = (bar2, offset, value);
                    break;
                }
            }
        }
        for port in 0..2 {
            match self.rx[port].front() {
                Some((frame, error)) if !input.csr_write => {
                    let at = self.rx_at[port];
                    let end = (at + 8).min(frame.len());
                    let mut word = [0; 8];
                    word[..end - at].copy_from_slice(&frame[at..end]);
                    let last = end == frame.len();
                    input.rx_valid[port] = true;
                    input.rx[port] = Beat {
                        data: u64::from_be_bytes(word),
                        count: if last { ((end - at) % 8) as u8 } else { 0 },
                        first: at == 0,
                        last,
                        error: last && *error,
                    };
                }
                _ => {
                    input.rx_valid[port] = false;
                    input.rx[port] = Beat::default();
                }
            }
        }
        input.mr_ready = self.reads.len() < READS_OUTSTANDING;
        (input.md_valid, input.md_data, input.md_last, input.md_error) = match self.reads.front() {
            Some(read) if read.due <= self.clocks => (
                true,
                read.words.front().copied().unwrap_or(0),
                read.words.len() <= 1,
                read.fault,
            ),
            _ => (false, 0, false, false),
        };

        let output = self.pins.clock(&self.input);
        if let Some(trace) = &mut self.trace {
            trace
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push((self.input, output));
        }
        self.clocks += 1;

        for port in 0..2 {
            if self.input.rx_valid[port] && output.rx_ready[port] {
                self.rx_at[port] += 8;
                if self.input.rx[port].last {
                    self.rx[port].pop_front();
                    self.rx_at[port] = 0;
                }
            }
            if output.tx_valid[port] && self.input.tx_ready[port] {
                self.collect(port, output.tx[port]);
            }
        }
        if output.mw_valid && self.input.mw_ready && self.memory.write_word(output.mw_addr, output.mw_data).is_err() {
            self.faults += 1;
        }
        if self.input.md_valid && output.md_ready {
            if let Some(read) = self.reads.front_mut() {
                read.words.pop_front();
                if read.words.is_empty() {
                    self.reads.pop_front();
                }
            }
        }
        if output.mr_valid && self.input.mr_ready {
            let mut bytes = vec![0; usize::from(output.mr_len) / 8 * 8];
            let fault = bytes.is_empty() || self.memory.read(output.mr_addr, &mut bytes).is_err();
            let words = if fault {
                // A completion with an error carries no data: one beat says so.
                VecDeque::from([0])
            } else {
                bytes
                    .chunks_exact(8)
                    .map(|w| u64::from_le_bytes(w.try_into().unwrap_or_default()))
                    .collect()
            };
            self.reads.push_back(Read {
                due: self.clocks + self.read_latency,
                words,
                fault,
            });
        }
        self.irqs |= u32::from(output.irq);
        output
    }

    fn collect(&mut self, port: usize, beat: Beat) {
        let frame = self.collecting[port].get_or_insert_with(Vec::new);
        if beat.first {
            frame.clear();
        }
        let n = if beat.last && beat.count != 0 {
            usize::from(beat.count & 7)
        } else {
            8
        };
        if frame.len() < MAX_TX {
            frame.extend_from_slice(&beat.data.to_be_bytes()[..n]);
        }
        if beat.last {
            let bytes = self.collecting[port].take().unwrap_or_default();
            self.tx.push(TxFrame {
                port: port as u8,
                bytes,
                error: beat.error,
                clock: self.clocks,
            });
        }
    }

    fn make_posted(&mut self) {
        while !self.posted.is_empty() {
            self.step();
        }
    }
}

impl<P: PinEngine> Engine for Bench<P> {
    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.posted.push_back(Posted::Time(ns));
        Ok(())
    }

    fn csr_write(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), EngineError> {
        check_write(bar, offset)?;
        self.posted.push_back(Posted::Write(bar == Bar::Bar2, offset, value));
        Ok(())
    }

    fn csr_read(&mut self, offset: u32) -> Result<u32, EngineError> {
        check_write(Bar::Bar0, offset)?;
        self.make_posted();
        self.input.csr_read = true;
        self.input.csr_raddr = offset as u16;
        let mut output = self.step();
        self.input.csr_read = false;
        self.input.csr_raddr = 0;
        let mut clocks = 1;
        while !output.csr_done {
            if clocks == READ_CLOCKS {
                return Err(EngineError::NoAnswer { offset, clocks });
            }
            output = self.step();
            clocks += 1;
        }
        Ok(output.csr_rdata)
    }

    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError> {
        let bytes = pad(port, frame)?;
        self.rx[usize::from(port)].push_back((bytes, error));
        Ok(())
    }

    fn run(&mut self, max_clocks: u64) -> Result<Ran, EngineError> {
        let start = self.clocks;
        let mut quiet = 0;
        while quiet < IDLE_CLOCKS {
            let clocks = self.clocks - start;
            if clocks >= max_clocks {
                return Err(EngineError::Busy { clocks });
            }
            let output = self.step();
            let still = output.idle && !self.queued() && self.collecting.iter().all(Option::is_none);
            quiet = if still { quiet + 1 } else { 0 };
        }
        Ok(Ran {
            clocks: self.clocks - start,
            irqs: std::mem::take(&mut self.irqs),
        })
    }

    fn take_tx(&mut self) -> Vec<TxFrame> {
        std::mem::take(&mut self.tx)
    }

    fn clocks(&self) -> u64 {
        self.clocks
    }

    fn dma_faults(&self) -> u64 {
        self.faults
    }

    fn reset(&mut self) -> Result<(), EngineError> {
        self.pins.reset();
        if let Some(trace) = &self.trace {
            trace.lock().unwrap_or_else(PoisonError::into_inner).clear();
        }
        self.posted.clear();
        self.rx = Default::default();
        self.rx_at = [0; 2];
        self.reads.clear();
        self.collecting = Default::default();
        self.tx.clear();
        self.irqs = 0;
        Ok(())
    }
}
