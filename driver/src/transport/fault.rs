//! Accidents, from a seed: a wrapper around any transport that loses interrupts, delays and loses the card's DMA, reads
//! all ones, resets the card at any moment, loses doorbells and breaks the connection.
//!
//! ```text
//!   Card --> FaultTransport --> any Transport
//!              |  shadow of each buffer: what the card wrote arrives late, or never
//!              +- plan: one accident at a time, its kind, begin and length drawn from the seed
//! ```
//!
//! What may go wrong on a real bus goes wrong here, and nothing else. PCI Express repeats what gets damaged, so a single
//! posted write is never lost while the link is up; when it is down (reads are all ones, writes go nowhere) the card
//! comes back reset. Doorbells that a stuck ring does not answer are the exception that tests the driver's watch.
//!
//! The shadow is copied when the driver calls, so this belongs in front of cards that work only then (simulated ones).

use std::time::Duration;

use nat64_layout::regs::InjTail;

use super::{Bar, DeviceError, Transport};
use crate::dma::{DmaBuffer, DmaMemory};

/// Kinds of accidents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Accident {
    /// Interrupts raised meanwhile are never seen.
    LostInterrupts,
    /// What the card writes to host memory arrives when it is over, in order.
    DelayedDma,
    /// What the card writes to host memory meanwhile never arrives.
    LostDma,
    /// The link is down: reads are all ones, writes go nowhere, the card comes back reset.
    AllOnes,
    /// The card is reset at once, behind the driver's back.
    Reset,
    /// The card does not hear the doorbell of the inject ring.
    StuckRing,
    /// Every call fails until it is over; the card works on.
    Disconnected,
}

impl Accident {
    /// All kinds.
    pub const ALL: [Self; 7] = [
        Self::LostInterrupts,
        Self::DelayedDma,
        Self::LostDma,
        Self::AllOnes,
        Self::Reset,
        Self::StuckRing,
        Self::Disconnected,
    ];
}

/// When accidents happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FaultPlan {
    /// Everything is drawn from it.
    pub seed: u64,
    /// Calls between accidents, on average; 0: none happen.
    pub every: u64,
    /// Calls that an accident takes, at most.
    pub longest: u64,
}

/// One buffer of the card, and the copy the driver sees.
struct Shadow {
    real: DmaMemory,
    seen: DmaMemory,
    // Both as they were when they were last made the same.
    last: Vec<u64>,
}

impl Shadow {
    /// Passes on what either side wrote. Where both did the card wins: rings have one writer for each word.
    fn copy(&mut self, from_card: bool, lose: bool) {
        for (i, last) in self.last.iter_mut().enumerate() {
            let (real, seen) = (self.real.load_acquire(i), self.seen.load(i));
            if seen != *last && real == *last {
                self.real.store_release(i, seen);
                *last = seen;
            } else if real != *last && lose {
                // The card believes it is there; the driver will never see it.
                self.real.store_release(i, *last);
            } else if real != *last && from_card {
                self.seen.store_release(i, real);
                *last = real;
            }
        }
    }
}

/// See the module documentation.
pub struct FaultTransport {
    inner: Box<dyn Transport>,
    plan: FaultPlan,
    random: u64,
    accident: Option<(Accident, u64)>,
    shadows: Vec<Shadow>,
    happened: [u64; Accident::ALL.len()],
}

impl FaultTransport {
    /// Puts accidents in front of a transport.
    pub fn new(inner: Box<dyn Transport>, plan: FaultPlan) -> Self {
        Self {
            inner,
            plan,
            random: plan.seed,
            accident: None,
            shadows: Vec::new(),
            happened: [0; Accident::ALL.len()],
        }
    }

    /// How often each kind happened so far, in the order of [`Accident::ALL`].
    pub fn happened(&self) -> [u64; Accident::ALL.len()] {
        self.happened
    }

    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.random;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    /// One call of the driver: accidents begin and end here. Returns the one that rages.
    fn tick(&mut self, operation: &'static str) -> Result<Option<Accident>, DeviceError> {
        let begins = self.accident.is_none() && self.plan.every > 0 && self.next().is_multiple_of(self.plan.every);
        match self.accident {
            Some((accident, left)) if left > 0 => self.accident = Some((accident, left - 1)),
            Some((accident, _)) => {
                if accident == Accident::AllOnes {
                    self.inner.reset()?;
                }
                self.accident = None;
            }
            None if begins => self.begin()?,
            None => {}
        }
        let accident = self.accident.map(|(accident, _)| accident);
        if accident == Some(Accident::Disconnected) {
            return Err(DeviceError::Backend {
                operation,
                reason: "an accident: the connection is broken".into(),
            });
        }
        self.copy();
        Ok(accident)
    }

    fn begin(&mut self) -> Result<(), DeviceError> {
        let kind = (self.next() % Accident::ALL.len() as u64) as usize;
        self.happened[kind] += 1;
        let length = self.next() % self.plan.longest.max(1);
        match Accident::ALL[kind] {
            Accident::Reset => self.inner.reset()?,
            accident => self.accident = Some((accident, length)),
        }
        Ok(())
    }

    fn copy(&mut self) {
        let accident = self.accident.map(|(accident, _)| accident);
        let arrives = !matches!(accident, Some(Accident::DelayedDma | Accident::Disconnected));
        let lost = matches!(accident, Some(Accident::LostDma | Accident::AllOnes));
        for shadow in &mut self.shadows {
            shadow.copy(arrives, lost);
        }
    }
}

impl Transport for FaultTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        if self.tick("read a register")? == Some(Accident::AllOnes) {
            return Ok(u32::MAX);
        }
        let value = self.inner.read32(bar, offset);
        self.copy();
        value
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        self.write_burst(bar, offset, &[value])
    }

    fn write_burst(&mut self, bar: Bar, offset: u32, values: &[u32]) -> Result<(), DeviceError> {
        match self.tick("write a register")? {
            Some(Accident::AllOnes) => Ok(()),
            Some(Accident::StuckRing) if (bar, offset) == (Bar::Bar0, InjTail::OFFSET) => Ok(()),
            _ => self.inner.write_burst(bar, offset, values),
        }
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        self.tick("share memory")?;
        let buffer = self.inner.dma_alloc(bytes)?;
        let seen = DmaMemory::new(buffer.memory.bytes());
        // Whole pages were given; only what was asked for is used.
        self.shadows.push(Shadow {
            last: vec![0; bytes.div_ceil(8)],
            real: buffer.memory,
            seen: seen.clone(),
        });
        Ok(DmaBuffer {
            iova: buffer.iova,
            memory: seen,
        })
    }

    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        let accident = self.tick("wait for interrupts")?;
        let fired = self.inner.wait(timeout);
        self.copy();
        match accident {
            Some(Accident::LostInterrupts | Accident::AllOnes) => fired.map(|_| 0),
            _ => fired,
        }
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        if self.tick("reset the card")? == Some(Accident::AllOnes) {
            return Ok(());
        }
        self.inner.reset()
    }
}
