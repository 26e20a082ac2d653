//! The function of a card on the pins of the core alone, without the transaction layer: stands in until the endpoint is
//! simulated.

use std::collections::VecDeque;

use nat64_layout::regs::{BAR0_BYTES, BAR2_BYTES};
use nat64_layout::Bar;

use super::{DmaTarget, Function, Stepped};
use crate::engine::{pad, EngineError, TxFrame, IDLE_CLOCKS, READ_CLOCKS};
use crate::pins::{Beat, PinEngine, PinsIn, PinsOut};

pub(super) struct PinsFunction<P> {
    pins: P,
    memory: Box<dyn DmaTarget>,
    input: PinsIn,
    rx: [VecDeque<(Vec<u8>, bool)>; 2],
    at: [usize; 2],
    collecting: [Vec<u8>; 2],
    tx: Vec<TxFrame>,
    words: VecDeque<(u64, bool, bool)>,
    master: bool,
    enabled: bool,
    masked: [bool; 2],
    pending: u8,
    interrupts: Vec<u16>,
    faults: u64,
    clocks: u64,
}

impl<P: PinEngine> PinsFunction<P> {
    pub(super) fn new(pins: P, memory: Box<dyn DmaTarget>) -> Self {
        Self {
            pins,
            memory,
            input: PinsIn {
                tx_ready: [true; 2],
                mw_ready: true,
                ..PinsIn::default()
            },
            rx: Default::default(),
            at: [0; 2],
            collecting: Default::default(),
            tx: Vec::new(),
            words: VecDeque::new(),
            master: false,
            enabled: false,
            masked: [true; 2],
            pending: 0,
            interrupts: Vec::new(),
            faults: 0,
            clocks: 0,
        }
    }

    fn clock(&mut self) -> PinsOut {
        for port in 0..2 {
            self.input.rx_valid[port] = false;
            if let Some((frame, error)) = self.rx[port].front() {
                let (at, end) = (self.at[port], (self.at[port] + 8).min(frame.len()));
                let mut word = [0; 8];
                word[..end - at].copy_from_slice(&frame[at..end]);
                let last = end == frame.len();
                self.input.rx_valid[port] = true;
                self.input.rx[port] = Beat {
                    data: u64::from_be_bytes(word),
                    count: if last { ((end - at) % 8) as u8 } else { 0 },
                    first: at == 0,
                    last,
                    error: last && *error,
                };
            }
        }
        self.input.mr_ready = self.words.is_empty();
        let word = self.words.front().copied();
        self.input.md_valid = word.is_some();
        (self.input.md_data, self.input.md_last, self.input.md_error) = word.unwrap_or_default();
        let out = self.pins.clock(&self.input);
        self.clocks += 1;
        for port in 0..2 {
            if self.input.rx_valid[port] && out.rx_ready[port] {
                self.at[port] += 8;
                if self.input.rx[port].last {
                    self.rx[port].pop_front();
                    self.at[port] = 0;
                }
            }
            if out.tx_valid[port] {
                let beat = out.tx[port];
                let n = if beat.last && beat.count != 0 { beat.count } else { 8 };
                self.collecting[port].extend_from_slice(&beat.data.to_be_bytes()[..usize::from(n)]);
                if beat.last {
                    self.tx.push(TxFrame {
                        port: port as u8,
                        bytes: std::mem::take(&mut self.collecting[port]),
                        error: beat.error,
                        clock: self.clocks,
                    });
                }
            }
        }
        if self.input.md_valid && out.md_ready {
            self.words.pop_front();
        }
        if out.mw_valid && (!self.master || self.memory.write(out.mw_addr, &out.mw_data.to_le_bytes()).is_err()) {
            self.faults += 1;
        }
        if out.mr_valid && self.input.mr_ready {
            let mut bytes = vec![0; usize::from(out.mr_len)];
            if self.master && self.memory.read(out.mr_addr, &mut bytes).is_ok() {
                let count = bytes.len() / 8;
                self.words.extend(bytes.chunks_exact(8).enumerate().map(|(i, w)| {
                    let word = u64::from_le_bytes(w.try_into().unwrap_or_default());
                    (word, i + 1 == count, false)
                }));
            } else {
                self.faults += 1;
                self.words.push_back((0, true, true));
            }
        }
        self.pending |= out.irq;
        for vector in 0..2 {
            if self.enabled && self.master && !self.masked[vector] && self.pending >> vector & 1 != 0 {
                self.pending &= !(1 << vector);
                self.interrupts.push(vector as u16);
            }
        }
        out
    }
}

fn inside(bar: Bar, address: u64, bytes: usize) -> Result<u32, EngineError> {
    let size = match bar {
        Bar::Bar0 => BAR0_BYTES,
        Bar::Bar2 => BAR2_BYTES,
    };
    let offset = u32::try_from(address).unwrap_or(u32::MAX);
    match u64::from(offset).checked_add(bytes as u64) {
        Some(end) if end <= u64::from(size) => Ok(offset),
        _ => Err(EngineError::BadOffset { bar, offset }),
    }
}

impl<P: PinEngine> Function for PinsFunction<P> {
    fn bar_read(&mut self, bar: Bar, address: u64, out: &mut [u8]) -> Result<(), EngineError> {
        let offset = inside(bar, address, out.len())?;
        let mut at = 0;
        while at < out.len() {
            let byte = offset as usize + at;
            let mut value = 0;
            if bar == Bar::Bar0 {
                self.input.csr_read = true;
                self.input.csr_raddr = (byte & !3) as u16;
                let mut sample = self.clock();
                self.input.csr_read = false;
                let mut clocks = 1;
                while !sample.csr_done {
                    if clocks == READ_CLOCKS {
                        return Err(EngineError::NoAnswer { offset, clocks });
                    }
                    sample = self.clock();
                    clocks += 1;
                }
                value = sample.csr_rdata;
            }
            let from = byte % 4;
            let n = (4 - from).min(out.len() - at);
            out[at..at + n].copy_from_slice(&value.to_le_bytes()[from..from + n]);
            at += n;
        }
        Ok(())
    }

    fn bar_write(&mut self, bar: Bar, address: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let offset = inside(bar, address, bytes.len())?;
        if !offset.is_multiple_of(4) || !bytes.len().is_multiple_of(4) {
            return Err(EngineError::BadOffset { bar, offset });
        }
        for (i, word) in bytes.chunks_exact(4).enumerate() {
            self.input.csr_write = true;
            self.input.csr_bar2 = bar == Bar::Bar2;
            self.input.csr_addr = offset + 4 * i as u32;
            self.input.csr_wdata = u32::from_le_bytes(word.try_into().unwrap_or_default());
            self.clock();
        }
        self.input.csr_write = false;
        Ok(())
    }

    fn set_bus_master(&mut self, enable: bool) -> Result<(), EngineError> {
        self.master = enable;
        Ok(())
    }

    fn set_msix(&mut self, enable: bool, function_mask: bool) -> Result<(), EngineError> {
        self.enabled = enable && !function_mask;
        Ok(())
    }

    fn set_payload(&mut self, _: usize, _: usize) -> Result<(), EngineError> {
        Ok(())
    }

    fn program_vector(&mut self, vector: u16, masked: bool) -> Result<(), EngineError> {
        if let Some(mask) = self.masked.get_mut(usize::from(vector)) {
            *mask = masked;
        }
        Ok(())
    }

    fn function_reset(&mut self) -> Result<(), EngineError> {
        self.pins.reset();
        self.words.clear();
        self.masked = [true; 2];
        self.pending = 0;
        Ok(())
    }

    fn transactions_pending(&mut self) -> Result<bool, EngineError> {
        Ok(!self.words.is_empty())
    }

    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.input.time_ns = ns;
        Ok(())
    }

    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError> {
        let bytes = pad(port, frame)?;
        self.rx[usize::from(port)].push_back((bytes, error));
        Ok(())
    }

    fn step(&mut self, max_clocks: u64) -> Result<Stepped, EngineError> {
        let (mut clocks, mut quiet) = (0, 0);
        while clocks < max_clocks && quiet < IDLE_CLOCKS {
            let out = self.clock();
            clocks += 1;
            let still = out.idle && self.words.is_empty() && self.rx.iter().all(VecDeque::is_empty);
            quiet = if still { quiet + 1 } else { 0 };
        }
        Ok(Stepped {
            clocks,
            idle: quiet >= IDLE_CLOCKS,
        })
    }

    fn take_tx(&mut self) -> Vec<TxFrame> {
        std::mem::take(&mut self.tx)
    }

    fn take_interrupts(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.interrupts)
    }

    fn set_log(&mut self, _: bool) {}

    fn take_log(&mut self) -> Vec<String> {
        Vec::new()
    }

    fn dma_faults(&self) -> u64 {
        self.faults
    }

    fn clocks(&self) -> u64 {
        self.clocks
    }
}
