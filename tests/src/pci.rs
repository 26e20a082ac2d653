//! The driver on a card with a PCI Express link: every access and every DMA crosses the link as TLPs.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use nat64_driver::{DeviceError, DmaBuffer, HostMemory, Transport};
use nat64_layout::Bar;
use nat64_sim::engine::EngineError;
use nat64_sim::tlp::{PciCard, Stepped};

/// Clocks after which a card that does not become idle is given up.
const MAX_CLOCKS: u64 = 1_000_000;

/// A card that transport and test share.
pub type SharedCard = Arc<Mutex<PciCard>>;

/// Uses a shared card.
pub fn with<T>(card: &SharedCard, f: impl FnOnce(&mut PciCard) -> Result<T, EngineError>) -> Result<T, EngineError> {
    f(&mut card.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Lets the card work until it has nothing left to do.
///
/// # Errors
/// [`EngineError::Busy`]: it does not become idle.
pub fn run_until_idle(card: &SharedCard) -> Result<Stepped, EngineError> {
    let stepped = with(card, |c| c.step(MAX_CLOCKS))?;
    if stepped.idle {
        Ok(stepped)
    } else {
        Err(EngineError::Busy { clocks: stepped.clocks })
    }
}

/// See the module documentation.
pub struct PciTransport {
    card: SharedCard,
    memory: HostMemory,
}

fn failed(e: EngineError) -> DeviceError {
    DeviceError::Backend {
        operation: "use the PCI card",
        reason: e.to_string(),
    }
}

impl PciTransport {
    /// Takes the card as a kernel and a driver would: bus master, MSI-X with both vectors unmasked.
    ///
    /// # Errors
    /// That the engine failed.
    pub fn new(card: SharedCard, memory: HostMemory) -> Result<Self, EngineError> {
        with(&card, |c| {
            c.set_bus_master(true)?;
            c.set_msix(true, false)?;
            c.program_vector(0, false)?;
            c.program_vector(1, false)
        })?;
        Ok(Self { card, memory })
    }
}

impl Transport for PciTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        let mut bytes = [0; 4];
        with(&self.card, |c| c.bar_read(bar, offset.into(), &mut bytes)).map_err(failed)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        with(&self.card, |c| c.bar_write(bar, offset.into(), &value.to_le_bytes())).map_err(failed)
    }

    fn write_burst(&mut self, bar: Bar, offset: u32, values: &[u32]) -> Result<(), DeviceError> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        with(&self.card, |c| c.bar_write(bar, offset.into(), &bytes)).map_err(failed)
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        self.memory.alloc(bytes).ok_or(DeviceError::DmaAlloc { bytes })
    }

    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        let vectors = with(&self.card, |c| {
            c.step(if timeout.is_zero() { 256 } else { MAX_CLOCKS })?;
            c.take_interrupts()
        });
        Ok(vectors
            .map_err(failed)?
            .iter()
            .fold(0, |bits, vector| bits | 1 << vector))
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        with(&self.card, |c| {
            c.function_reset()?;
            c.program_vector(0, false)?;
            c.program_vector(1, false)
        })
        .map_err(failed)
    }
}
