//! A root complex with one function below it: host accesses become requests, the card's DMA goes to a [`DmaTarget`], its
//! messages become interrupts.
//!
//! Completions for the card's reads end at multiples of 64 bytes or with the request, and have at most Max_Payload_Size; a
//! refused read gets a completion with Unsupported Request, a refused write is dropped and counted.
//!
//! [`Root::with_disorder`] makes of that whatever the ordering rules allow: completions of different requests mixed in any
//! order and cut at every boundary, late, behind or before what the host itself writes and reads.

use std::collections::{HashMap, VecDeque};

use nat64_layout::pci::VECTORS;
use nat64_layout::pcie::MSIX_TABLE;
use nat64_layout::regs::{BAR0_BYTES, BAR2_BYTES};
use nat64_layout::Bar;

use super::link::{Link, LinkRan, LinkSetup};
use super::packet::{completions, is_interrupt, refusal, status, Packet, BOUNDARY, INTERRUPT_BASE};
use super::{DmaTarget, Function, Stepped};
use crate::engine::{pad, EngineError, TxFrame};

/// Requester ID of the root complex.
const ROOT: u16 = 0;
/// Bus, device and function number of the card: 01:00.0.
const CARD: u16 = 0x0100;
/// Where the BARs are on the link. The function sees offsets only.
const BAR_ADDRESS: [u64; 2] = [0xe000_0000, 0x12_0000_0000];
/// Clocks after which a read without completion is given up.
const READ_CLOCKS: u64 = 1_000_000;
/// Clocks a function-level reset may take: the completion timeout, and what it takes by itself.
const RESET_CLOCKS: u64 = 1 << (nat64_layout::pcie::COMPLETION_TIMEOUT_LOG2 + 2);
/// Posted writes that may be queued before the card runs.
const QUEUED: usize = 4096;

/// Clocks a disordered host looks away at most.
const SLICE: u64 = 24;

/// Completions that a disordered host holds back, by request, and its dice (xorshift64).
struct Disorder {
    state: u64,
    held: Vec<VecDeque<Packet>>,
}

impl Disorder {
    /// Below `n`.
    fn roll(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 32) as usize) % n
    }
}

struct Reading {
    at: usize,
    bytes: Vec<u8>,
    ended: bool,
}

/// See the module documentation.
pub struct Root<L> {
    link: L,
    memory: Box<dyn DmaTarget>,
    setup: LinkSetup,
    max_payload: usize,
    tag: u8,
    reading: HashMap<u8, Reading>,
    interrupts: Vec<u16>,
    log: Option<Vec<String>>,
    faults: u64,
    queued: usize,
    last: LinkRan,
    disorder: Option<Disorder>,
}

fn inside(bar: Bar, address: u64, bytes: usize) -> Result<u64, EngineError> {
    let size = match bar {
        Bar::Bar0 => BAR0_BYTES,
        Bar::Bar2 => BAR2_BYTES,
    };
    match address.checked_add(bytes as u64) {
        Some(end) if end <= u64::from(size) => Ok(BAR_ADDRESS[usize::from(bar == Bar::Bar2)] + address),
        _ => Err(EngineError::BadOffset {
            bar,
            offset: u32::try_from(address).unwrap_or(u32::MAX),
        }),
    }
}

/// The DWs that hold `bytes` bytes from `address` on: how many, and the byte enables of the first and last.
fn span(address: u64, bytes: usize) -> (usize, [u8; 2]) {
    let skip = (address % 4) as usize;
    let length = (skip + bytes).div_ceil(4).max(1);
    let head = 0xf << skip & 0xf;
    let tail = 0xf >> (4 * length - skip - bytes);
    if length == 1 {
        (1, [head & tail, 0])
    } else {
        (length, [head, tail])
    }
}

impl<L: Link> Root<L> {
    /// A root complex above this link; the card's DMA goes to `memory`.
    ///
    /// # Errors
    /// When the engine is gone.
    pub fn new(link: L, memory: Box<dyn DmaTarget>) -> Result<Self, EngineError> {
        let mut root = Self {
            link,
            memory,
            setup: LinkSetup {
                id: CARD,
                ..LinkSetup::default()
            },
            max_payload: 128,
            tag: 0,
            reading: HashMap::new(),
            interrupts: Vec::new(),
            log: None,
            faults: 0,
            queued: 0,
            last: LinkRan::default(),
            disorder: None,
        };
        root.link.set_up(&root.setup)?;
        Ok(root)
    }

    /// Reorders, delays and cuts completions at random from now on; see the module documentation.
    #[must_use]
    pub fn with_disorder(mut self, seed: u64) -> Self {
        let state = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        self.disorder = Some(Disorder {
            state,
            held: Vec::new(),
        });
        self
    }

    /// Gives the card some of the completions that are held.
    fn release(&mut self) -> Result<(), EngineError> {
        let Some(disorder) = &mut self.disorder else {
            return Ok(());
        };
        let mut out = Vec::new();
        while !disorder.held.is_empty() && disorder.roll(3) > 0 {
            let i = disorder.roll(disorder.held.len());
            out.extend(disorder.held[i].pop_front());
            if disorder.held[i].is_empty() {
                disorder.held.swap_remove(i);
            }
        }
        for packet in &out {
            self.push(packet, 0)?;
        }
        Ok(())
    }

    fn note(&mut self, direction: &str, clock: u64, packet: Option<&Packet>) {
        if let Some(log) = &mut self.log {
            log.push(match packet {
                Some(packet) => format!("{clock:>10} {direction} {packet}"),
                None => format!("{clock:>10} {direction} malformed TLP"),
            });
        }
    }

    fn push(&mut self, packet: &Packet, bar: u8) -> Result<(), EngineError> {
        let clock = self.link.clocks();
        self.note(">", clock, Some(packet));
        self.queued += 1;
        self.link.push(&packet.encode(), bar)
    }

    /// Runs the link once and acts on what the card sent.
    fn run(&mut self, max_clocks: u64) -> Result<LinkRan, EngineError> {
        self.release()?;
        let held = self.disorder.as_ref().is_some_and(|d| !d.held.is_empty());
        let clocks = match &mut self.disorder {
            Some(disorder) if held => max_clocks.min(1 + disorder.roll(SLICE as usize) as u64),
            _ => max_clocks,
        };
        let mut ran = self.link.run(clocks)?;
        ran.idle &= !held;
        self.last = ran;
        self.queued = ran.queued as usize;
        for sent in self.link.take_tlps() {
            let packet = Packet::decode(&sent.dws);
            self.note("<", sent.clock, packet.as_ref());
            match packet {
                Some(Packet::Write {
                    address, enables, data, ..
                }) => self.write(address, enables, &data),
                Some(Packet::Read {
                    tag, address, length, ..
                }) => self.answer(tag, address, 4 * length)?,
                Some(Packet::Completion {
                    tag,
                    status: got,
                    count,
                    lower,
                    data,
                    ..
                }) => self.complete(tag, got, count, lower, &data),
                // Nothing else comes from a card that works; the log shows it.
                Some(Packet::Other { .. }) | None => self.faults += 1,
            }
        }
        Ok(ran)
    }

    fn write(&mut self, address: u64, enables: [u8; 2], data: &[u8]) {
        if is_interrupt(address) {
            self.interrupts.push(u16::from_le_bytes([data[0], data[1]]));
            return;
        }
        // The card enables whole DWs.
        let whole = enables[0] == 15 && (data.len() == 4 || enables[1] == 15);
        if !whole || self.memory.write(address, data).is_err() {
            self.faults += 1;
        }
    }

    fn answer(&mut self, tag: u8, address: u64, bytes: usize) -> Result<(), EngineError> {
        let mut data = vec![0; bytes];
        let route = [ROOT, CARD];
        if self.memory.read(address, &mut data).is_err() {
            self.faults += 1;
            return self.push(&refusal(route, tag, bytes), 0);
        }
        let (max_payload, disorder) = (self.max_payload, &mut self.disorder);
        let most = || match disorder {
            Some(disorder) => BOUNDARY * (1 + disorder.roll(max_payload / BOUNDARY)),
            None => max_payload,
        };
        let packets = completions(route, tag, address, &data, most);
        if let Some(disorder) = &mut self.disorder {
            disorder.held.push(packets.into());
            return Ok(());
        }
        packets.iter().try_for_each(|packet| self.push(packet, 0))
    }

    fn complete(&mut self, tag: u8, got: u8, count: usize, lower: u8, data: &[u8]) {
        let Some(reading) = self.reading.get_mut(&tag) else {
            self.faults += 1;
            return;
        };
        if got != status::SUCCESS {
            reading.ended = true;
            return;
        }
        let skip = usize::from(lower & 3);
        let n = data.len().saturating_sub(skip).min(reading.bytes.len() - reading.at);
        reading.bytes[reading.at..reading.at + n].copy_from_slice(&data[skip..skip + n]);
        reading.at += n;
        reading.ended = n >= count || reading.at == reading.bytes.len();
    }

    /// One memory read request, not across 4 KiB.
    fn read(&mut self, bar: Bar, address: u64, out: &mut [u8]) -> Result<(), EngineError> {
        let tag = self.tag;
        self.tag = self.tag.wrapping_add(1);
        let (length, enables) = span(address, out.len());
        // what no completion brings reads as all ones
        self.reading.insert(
            tag,
            Reading {
                at: 0,
                bytes: vec![0xff; out.len()],
                ended: false,
            },
        );
        let request = Packet::Read {
            requester: ROOT,
            tag,
            address: address & !3,
            length,
            enables,
        };
        self.push(&request, bit(bar))?;
        let mut clocks = 0;
        while !self.reading[&tag].ended {
            if clocks >= READ_CLOCKS {
                self.reading.remove(&tag);
                return Err(EngineError::NoAnswer {
                    offset: address as u32,
                    clocks,
                });
            }
            clocks += self.run(READ_CLOCKS)?.clocks;
        }
        if let Some(reading) = self.reading.remove(&tag) {
            out.copy_from_slice(&reading.bytes);
        }
        Ok(())
    }
}

fn bit(bar: Bar) -> u8 {
    match bar {
        Bar::Bar0 => 1,
        Bar::Bar2 => 2,
    }
}

/// Cuts an access at multiples of `most`.
fn pieces(address: u64, bytes: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut at = 0;
    std::iter::from_fn(move || {
        (at < bytes).then(|| {
            let edge = most - (address as usize + at) % most;
            let n = edge.min(bytes - at);
            at += n;
            (at - n, n)
        })
    })
}

impl<L: Link> Function for Root<L> {
    fn bar_read(&mut self, bar: Bar, address: u64, out: &mut [u8]) -> Result<(), EngineError> {
        let start = inside(bar, address, out.len())?;
        for (at, n) in pieces(start, out.len(), 4096) {
            self.read(bar, start + at as u64, &mut out[at..at + n])?;
        }
        Ok(())
    }

    fn bar_write(&mut self, bar: Bar, address: u64, bytes: &[u8]) -> Result<(), EngineError> {
        let start = inside(bar, address, bytes.len())?;
        for (at, n) in pieces(start, bytes.len(), self.max_payload) {
            let from = start + at as u64;
            let (length, enables) = span(from, n);
            let mut data = vec![0; 4 * length];
            let skip = (from % 4) as usize;
            data[skip..skip + n].copy_from_slice(&bytes[at..at + n]);
            let request = Packet::Write {
                requester: ROOT,
                address: from & !3,
                enables,
                data,
                poisoned: false,
            };
            self.push(&request, bit(bar))?;
        }
        let mut clocks = 0;
        while self.queued > QUEUED {
            if clocks > READ_CLOCKS {
                return Err(EngineError::Busy { clocks });
            }
            clocks += self.run(QUEUED as u64)?.clocks;
        }
        Ok(())
    }

    fn set_bus_master(&mut self, enable: bool) -> Result<(), EngineError> {
        // what was written before is taken with the old setting, as configuration writes do not pass posted ones
        self.flush()?;
        self.setup.bus_master = enable;
        self.link.set_up(&self.setup)
    }

    fn set_msix(&mut self, enable: bool, function_mask: bool) -> Result<(), EngineError> {
        self.flush()?;
        (self.setup.msix_enable, self.setup.msix_mask) = (enable, function_mask);
        self.link.set_up(&self.setup)
    }

    fn set_payload(&mut self, max_payload: usize, max_read_request: usize) -> Result<(), EngineError> {
        self.flush()?;
        let code = |bytes: usize| (bytes.clamp(128, 4096) / 128).ilog2() as u8;
        self.setup.max_payload = code(max_payload);
        self.setup.max_read = code(max_read_request);
        self.max_payload = (128 << self.setup.max_payload).min(nat64_layout::pcie::MAX_PAYLOAD);
        self.link.set_up(&self.setup)
    }

    fn program_vector(&mut self, vector: u16, masked: bool) -> Result<(), EngineError> {
        let offset = u64::from(MSIX_TABLE) + 16 * u64::from(vector);
        if usize::from(vector) >= VECTORS {
            return Err(EngineError::BadOffset {
                bar: Bar::Bar0,
                offset: offset as u32,
            });
        }
        let words = [
            INTERRUPT_BASE as u32,
            (INTERRUPT_BASE >> 32) as u32,
            u32::from(vector),
            u32::from(masked),
        ];
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_le_bytes()).collect();
        self.bar_write(Bar::Bar0, offset, &bytes)
    }

    fn function_reset(&mut self) -> Result<(), EngineError> {
        self.flush()?;
        self.setup.reset = true;
        self.link.set_up(&self.setup)?;
        let mut clocks = self.run(1)?.clocks;
        self.setup.reset = false;
        self.link.set_up(&self.setup)?;
        while self.last.resetting {
            if clocks > RESET_CLOCKS {
                return Err(EngineError::Busy { clocks });
            }
            clocks += self.run(RESET_CLOCKS)?.clocks;
        }
        self.interrupts.clear();
        Ok(())
    }

    fn transactions_pending(&mut self) -> Result<bool, EngineError> {
        Ok(self.last.pending)
    }

    fn set_time(&mut self, ns: u64) -> Result<(), EngineError> {
        self.link.set_time(ns)
    }

    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError> {
        let bytes = pad(port, frame)?;
        self.link.frame(port, &bytes, error)
    }

    fn step(&mut self, max_clocks: u64) -> Result<Stepped, EngineError> {
        let mut clocks = 0;
        while clocks < max_clocks {
            let ran = self.run(max_clocks - clocks)?;
            clocks += ran.clocks;
            if ran.idle && self.queued == 0 {
                return Ok(Stepped { clocks, idle: true });
            }
        }
        Ok(Stepped { clocks, idle: false })
    }

    fn take_tx(&mut self) -> Vec<TxFrame> {
        self.link.take_tx()
    }

    fn take_interrupts(&mut self) -> Vec<u16> {
        std::mem::take(&mut self.interrupts)
    }

    fn set_log(&mut self, on: bool) {
        self.log = on.then(Vec::new);
    }

    fn take_log(&mut self) -> Vec<String> {
        self.log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn dma_faults(&self) -> u64 {
        self.faults
    }

    fn clocks(&self) -> u64 {
        self.link.clocks()
    }
}

impl<L: Link> Root<L> {
    /// Runs until the card has taken all that was queued.
    fn flush(&mut self) -> Result<(), EngineError> {
        let mut clocks = 0;
        while self.queued > 0 {
            if clocks > READ_CLOCKS {
                return Err(EngineError::Busy { clocks });
            }
            clocks += self.run(64)?.clocks;
        }
        Ok(())
    }
}
