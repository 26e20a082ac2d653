//! A card on a serial line: its TLPs in frames that are acknowledged (`nat64_layout::serial`), as on a board whose PCI Express link is
//! not up.
//!
//! ```text
//!   read32, write32 --> TLPs --> window.rs (numbers, again) --> line.rs (octets) --> tty
//!   HostMemory     <-- DMA  <--+                                                     |
//!   wait()         <-- messages+------------------------------------------- octets <-+
//! ```
//!
//! The host's side of a PCI Express link is here: it answers the card's reads of memory, performs its writes in their order and takes
//! its interrupt messages. All of that happens inside the calls of [`Transport`]; between them the card waits. A line of 3 Mbit/s
//! carries some 300 kB/s, a register read takes half a millisecond and what the adapter adds: for bringing a board up.

mod line;
mod window;

use std::fs::OpenOptions;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nat64_layout::pci::VECTORS;
use nat64_layout::pcie::{COMPLETION_TIMEOUT_LOG2, MSIX_TABLE};
use nat64_layout::serial::{LinkSetup, BAUD, MAX_PAYLOAD};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::termios::{self, OptionalActions};

use super::wire::poll_until;
use super::{check_access, Bar, DeviceError, OpenError, Transport};
use crate::dma::{DmaBuffer, HostMemory};
use crate::tlp::{completions, is_interrupt, refusal, status, Packet, INTERRUPT_BASE};
use line::Deframer;
use window::Window;

pub use window::SerialStats;

/// Time a read, or room for a write, is waited for when nothing else is set.
pub const TIMEOUT: Duration = Duration::from_secs(10);
/// Time a card has to answer for the first time.
const HELLO: Duration = Duration::from_secs(3);
/// How often a card in reset is asked whether it is over.
const ASK: Duration = Duration::from_millis(5);
/// Frames that may wait before a posted write waits for room.
const QUEUED: usize = 64;
/// Times that [`Transport::wait`] takes what is there before it looks at its time.
const TAKES: usize = 64;
/// Requester ID of the root complex.
const ROOT: u16 = 0;
/// Bus, device and function number of the card: 01:00.0.
const CARD: u16 = 0x0100;

/// See the module documentation.
#[derive(Debug)]
pub struct SerialTransport {
    path: PathBuf,
    line: OwnedFd,
    timeout: Duration,
    window: Window,
    deframer: Deframer,
    /// Octets that the line did not take yet.
    out: Vec<u8>,
    setup: LinkSetup,
    memory: HostMemory,
    tag: u8,
    /// The read that is waited for, and its answer.
    reading: Option<(u8, Option<u32>)>,
    fired: u32,
    faults: u64,
}

impl SerialTransport {
    /// Opens the line at `path` with the usual [`TIMEOUT`].
    ///
    /// # Errors
    /// As [`SerialTransport::open_with`].
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        Self::open_with(path, TIMEOUT)
    }

    /// Opens the line at `path`, a terminal device, and greets the card there.
    ///
    /// # Errors
    /// [`OpenError::Line`] when there is no such line or it is in use, [`OpenError::Silent`] when no card answers.
    pub fn open_with(path: &Path, timeout: Duration) -> Result<Self, OpenError> {
        let failed = |source: io::Error| OpenError::Line {
            path: path.into(),
            source,
        };
        let flags = rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(flags.bits() as i32)
            .open(path)
            .map_err(failed)?;
        let line = OwnedFd::from(file);
        let mut attributes = termios::tcgetattr(&line).map_err(|e| failed(e.into()))?;
        attributes.make_raw();
        attributes.set_speed(BAUD).map_err(|e| failed(e.into()))?;
        termios::tcsetattr(&line, OptionalActions::Flush, &attributes).map_err(|e| failed(e.into()))?;
        // Two hosts on one line would take each other's frames.
        rustix::termios::ioctl_tiocexcl(&line).map_err(|e| failed(e.into()))?;
        let mut setup = LinkSetup(0);
        setup.set_id(u32::from(CARD));
        let now = Instant::now();
        // Any number does; that of another start is likely to be another.
        let number =
            std::process::id() as u8 ^ rustix::time::clock_gettime(rustix::time::ClockId::Monotonic).tv_nsec as u8;
        let mut transport = Self {
            path: path.into(),
            line,
            timeout,
            window: Window::new(number, setup, now),
            deframer: Deframer::default(),
            out: Vec::new(),
            setup,
            memory: HostMemory::new(),
            tag: 0,
            reading: None,
            fired: 0,
            faults: 0,
        };
        while !transport.window.greeted() {
            if now.elapsed() > HELLO {
                return Err(OpenError::Silent { path: path.into() });
            }
            transport.turn(now + HELLO)?;
        }
        transport.arm()?;
        Ok(transport)
    }

    /// What happened on the line so far.
    pub const fn stats(&self) -> SerialStats {
        self.window.stats()
    }

    /// Accesses of the card to memory it was not given, and TLPs that mean nothing here.
    pub const fn faults(&self) -> u64 {
        self.faults
    }

    /// Sends what is to be sent, takes what is there, and waits for more until `deadline` if there was nothing. Whether anything came.
    fn turn(&mut self, deadline: Instant) -> Result<bool, DeviceError> {
        let io = |source: Errno| DeviceError::Io {
            operation: "use the serial line",
            source: source.into(),
        };
        self.window.send(Instant::now(), &mut self.out);
        while !self.out.is_empty() {
            match rustix::io::write(&self.line, &self.out) {
                Ok(n) => drop(self.out.drain(..n)),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.gone(error)),
            }
        }
        let mut octets = [0; 1024];
        match rustix::io::read(&self.line, &mut octets) {
            Ok(0) => return Err(self.gone(Errno::IO)),
            Ok(n) => {
                for &octet in &octets[..n] {
                    if let Some(frame) = self.deframer.take(octet) {
                        if let Some(tlp) = self.window.take(Instant::now(), frame) {
                            self.perform(&tlp);
                        }
                    }
                }
                // So that the card hears of it before the caller goes.
                self.window.send(Instant::now(), &mut self.out);
                return Ok(true);
            }
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(error) => return Err(self.gone(error)),
        }
        let until = self.window.deadline().map_or(deadline, |at| at.min(deadline));
        let wanted = if self.out.is_empty() {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        };
        poll_until(&mut [PollFd::new(&self.line, wanted)], until)
            .map_err(|error| io(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
        Ok(false)
    }

    fn gone(&self, error: Errno) -> DeviceError {
        DeviceError::Disconnected {
            reason: format!("{}: {}", self.path.display(), io::Error::from(error)),
        }
    }

    /// Takes turns until `done`.
    fn until(&mut self, what: &'static str, mut done: impl FnMut(&mut Self) -> bool) -> Result<(), DeviceError> {
        let begin = Instant::now();
        while !done(self) {
            if begin.elapsed() > self.timeout {
                return Err(DeviceError::Timeout {
                    what,
                    waited: self.timeout,
                });
            }
            self.turn(begin + self.timeout)?;
        }
        Ok(())
    }

    /// A TLP of the card.
    fn perform(&mut self, dws: &[u32]) {
        match Packet::decode(dws) {
            Some(Packet::Write {
                address, enables, data, ..
            }) => {
                // The card enables whole DWs.
                let whole = enables[0] == 15 && (data.len() == 4 || enables[1] == 15);
                if is_interrupt(address) {
                    self.fired |= 1u32.checked_shl(u32::from(data[0])).unwrap_or(0) & ((1 << VECTORS) - 1);
                } else if !whole || self.memory.write_in_order(address, &data).is_err() {
                    self.faults += 1;
                }
            }
            Some(Packet::Read {
                tag, address, length, ..
            }) => self.answer(tag, address, 4 * length),
            Some(Packet::Completion {
                tag, status: got, data, ..
            }) => match (&mut self.reading, data.first_chunk::<4>()) {
                (Some((wanted, answer)), word) if *wanted == tag => {
                    // What is refused reads as all ones, as behind a root complex.
                    let word = word.filter(|_| got == status::SUCCESS);
                    *answer = Some(word.map_or(u32::MAX, |&word| u32::from_le_bytes(word)));
                }
                _ => self.faults += 1,
            },
            Some(Packet::Other { .. }) | None => self.faults += 1,
        }
    }

    /// Completes a read of memory by the card.
    fn answer(&mut self, tag: u8, address: u64, bytes: usize) {
        if self.window.is_full() {
            // What a card that asks and asks would make grow without bound. It gives the read up by itself.
            self.faults += 1;
            return;
        }
        let mut data = vec![0; bytes];
        let route = [ROOT, CARD];
        if self.memory.read(address, &mut data).is_err() {
            self.faults += 1;
            self.window.tlp(0, refusal(route, tag, bytes).encode());
            return;
        }
        for part in completions(route, tag, address, &data, || MAX_PAYLOAD) {
            self.window.tlp(0, part.encode());
        }
    }

    /// The interrupts: what a reset takes away.
    fn arm(&mut self) -> Result<(), DeviceError> {
        for vector in 0..VECTORS as u32 {
            let entry = [INTERRUPT_BASE as u32, (INTERRUPT_BASE >> 32) as u32, vector, 0];
            self.write_burst(Bar::Bar0, MSIX_TABLE + 16 * vector, &entry)?;
        }
        self.setup.set_msix_enable(true);
        self.window.set_up(self.setup);
        self.until("the set-up of a serial link", |t| t.window.waiting() == 0)
    }
}

const fn bit(bar: Bar) -> u8 {
    match bar {
        Bar::Bar0 => 1,
        Bar::Bar2 => 2,
    }
}

impl Transport for SerialTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        check_access(bar, offset, 1)?;
        self.tag = self.tag.wrapping_add(1);
        let request = Packet::Read {
            requester: ROOT,
            tag: self.tag,
            address: offset.into(),
            length: 1,
            enables: [15, 0],
        };
        self.reading = Some((self.tag, None));
        self.window.tlp(bit(bar), request.encode());
        let answered = self.until("a read over the serial line", |t| {
            matches!(t.reading, Some((_, Some(_))))
        });
        let word = self.reading.take().and_then(|(_, word)| word);
        answered.map(|()| word.unwrap_or(u32::MAX))
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.write_burst(bar, offset, &[value])
    }

    fn write_burst(&mut self, bar: Bar, offset: u32, values: &[u32]) -> Result<(), DeviceError> {
        check_access(bar, offset, values.len())?;
        let (mut at, mut left) = (offset, values);
        while !left.is_empty() {
            // Never across a multiple of the payload, and so never across 4 KiB.
            let room = (MAX_PAYLOAD - at as usize % MAX_PAYLOAD) / 4;
            let (now, later) = left.split_at(room.min(left.len()));
            let request = Packet::Write {
                requester: ROOT,
                address: at.into(),
                enables: [15, if now.len() == 1 { 0 } else { 15 }],
                data: now.iter().flat_map(|value| value.to_le_bytes()).collect(),
                poisoned: false,
            };
            self.until("room on the serial line", |t| t.window.waiting() < QUEUED)?;
            self.window.tlp(bit(bar), request.encode());
            at += 4 * now.len() as u32;
            left = later;
        }
        Ok(())
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        let buffer = self.memory.alloc(bytes).ok_or(DeviceError::DmaAlloc { bytes })?;
        if !self.setup.bus_master() {
            self.setup.set_bus_master(true);
            self.window.set_up(self.setup);
        }
        Ok(buffer)
    }

    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        let deadline = Instant::now() + timeout;
        // What is there is taken even if there is no time.
        for _ in 0..TAKES {
            if !self.turn(Instant::now())? {
                break;
            }
        }
        while self.fired == 0 && Instant::now() < deadline {
            self.turn(deadline)?;
        }
        // Answers that are due go out before the caller turns to something else.
        self.turn(Instant::now())?;
        Ok(std::mem::take(&mut self.fired))
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        let mut reset = self.setup;
        reset.set_reset(true);
        self.window.set_up(reset);
        let longest = Duration::from_nanos(8 << (COMPLETION_TIMEOUT_LOG2 + 2)).max(self.timeout);
        let begin = Instant::now();
        let mut asked = begin;
        while self.window.waiting() > 0 || self.window.status().resetting() {
            if begin.elapsed() > longest {
                return Err(DeviceError::Timeout {
                    what: "a function-level reset",
                    waited: longest,
                });
            }
            if self.window.waiting() == 0 && asked.elapsed() > ASK {
                // The answer says whether it is over.
                self.window.set_up(self.setup);
                asked = Instant::now();
            }
            self.turn(Instant::now() + ASK)?;
        }
        self.fired = 0;
        self.arm()
    }
}

impl Drop for SerialTransport {
    fn drop(&mut self) {
        // The card must not write to memory that is gone: nobody would take it, and the card would wait for an acknowledgment.
        self.setup.set_bus_master(false);
        self.setup.set_msix_enable(false);
        self.window.set_up(self.setup);
        self.timeout = Duration::from_millis(500);
        // A card that is gone needs no telling.
        let _ = self.until("the end of a serial link", |t| t.window.waiting() == 0);
    }
}
