//! The card as a PCI Express function: BAR accesses, DMA and interrupts as transaction layer packets.
//!
//! ```text
//!   vfio-user server, tests --PciCard--> [ thread: root complex <==TLPs==> endpoint (RTL or compiled Verilog) ]
//!                                              |                              |  rx, tx frames
//!                                          DmaTarget (host memory that may refuse, as an IOMMU does)
//! ```
//!
//! [`PciCard`] is a handle: the engine lives on a thread of its own, because the RustHDL design is larger than an ordinary
//! stack. It works only while a caller waits for it, so that a run is the same each time.
//!
//! What the link block of a board does is done here: it keeps configuration space's state that the transaction layer
//! needs (bus master enable, MSI-X enable and function mask, payload sizes, function-level reset) on pins. The configuration
//! space itself belongs to whoever serves the card.

mod card;
pub mod compiled;
pub mod link;
pub use nat64_driver::tlp as packet;
pub use nat64_driver::tlp::INTERRUPT_BASE;
pub mod root;

use nat64_driver::HostMemory;
use nat64_layout::Bar;

use crate::engine::{EngineError, TxFrame};

pub use card::{PciCard, PciEngine};

/// A DMA access that host memory refused: no such mapping, or not in this direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("DMA of {bytes} bytes at bus address {address:#x} is refused")]
pub struct DmaRefused {
    /// First bus address.
    pub address: u64,
    /// Bytes.
    pub bytes: usize,
}

/// Memory of the host as the card's DMA reaches it; may refuse, as an IOMMU does. Addresses are bus addresses (IOVAs).
///
/// It is called on the thread of the card. An access is one TLP: at most 4,096 bytes, and never across a 4 KiB boundary.
pub trait DmaTarget: Send {
    /// Fills `out` from `address` on.
    ///
    /// # Errors
    /// When any byte of it may not be read; the card then sees a completion with Unsupported Request.
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), DmaRefused>;

    /// Writes `bytes` from `address` on. Later writes of the card must not be seen before earlier ones, and the last aligned
    /// eight bytes of `bytes` not before the others: ring owner bits rely on it.
    ///
    /// # Errors
    /// When any byte of it may not be written; nothing is written then, and the card does not learn of it (writes are posted).
    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaRefused>;
}

impl DmaTarget for HostMemory {
    fn read(&mut self, address: u64, out: &mut [u8]) -> Result<(), DmaRefused> {
        let bytes = out.len();
        HostMemory::read(self, address, out).map_err(|_| DmaRefused { address, bytes })
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), DmaRefused> {
        let refused = DmaRefused {
            address,
            bytes: bytes.len(),
        };
        self.write_in_order(address, bytes).map_err(|_| refused)
    }
}

/// What a [`Function::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stepped {
    /// Clocks that ran.
    pub clocks: u64,
    /// Nothing is left to do until the next access, frame or change of configuration.
    pub idle: bool,
}

/// A function of a PCI Express device with the network card's ports beside it; implemented around either engine.
///
/// All errors mean that the engine itself failed (see [`EngineError`]); what a bus refuses is in the results.
pub trait Function: Send {
    /// Reads `out.len()` bytes at `address` of a BAR, as one or more memory read requests; any length and alignment inside the
    /// BAR. Bytes whose completion has not the status Successful Completion read as all ones, as in a root complex.
    ///
    /// # Errors
    /// [`EngineError::NoAnswer`]: no completion came; [`EngineError::BadOffset`]: outside of the BAR.
    fn bar_read(&mut self, bar: Bar, address: u64, out: &mut [u8]) -> Result<(), EngineError>;

    /// Writes bytes to a BAR, as one or more posted memory write requests. The card takes them, in order, at the start of the
    /// next call that runs clocks, before any frame that was queued after them.
    ///
    /// # Errors
    /// [`EngineError::BadOffset`]: outside of the BAR; [`EngineError::Busy`]: the card takes no more.
    fn bar_write(&mut self, bar: Bar, address: u64, bytes: &[u8]) -> Result<(), EngineError>;

    /// Bus Master Enable of the Command register.
    fn set_bus_master(&mut self, enable: bool) -> Result<(), EngineError>;

    /// MSI-X Enable and Function Mask of the MSI-X capability's Message Control.
    fn set_msix(&mut self, enable: bool, function_mask: bool) -> Result<(), EngineError>;

    /// Max_Payload_Size and Max_Read_Request_Size of Device Control, in bytes (128, 256, 512, ..., 4096).
    fn set_payload(&mut self, max_payload: usize, max_read_request: usize) -> Result<(), EngineError>;

    /// Writes the MSI-X table entry of a vector, as the host's interrupt code does: its message goes to
    /// [`INTERRUPT_BASE`], and [`Function::take_interrupts`] tells the vector. Masked while `masked`.
    fn program_vector(&mut self, vector: u16, masked: bool) -> Result<(), EngineError>;

    /// Function-level reset: returns when the card has finished it (its tables are empty, its rings off, its DMA over).
    ///
    /// # Errors
    /// [`EngineError::Busy`]: it did not finish.
    fn function_reset(&mut self) -> Result<(), EngineError>;

    /// Transactions Pending of Device Status: a read request waits for completions.
    fn transactions_pending(&mut self) -> Result<bool, EngineError>;

    /// Sets the card's time, in nanoseconds.
    fn set_time(&mut self, ns: u64) -> Result<(), EngineError>;

    /// Queues a frame that arrives on a port, as [`crate::engine::Engine::rx`] does.
    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError>;

    /// Steps up to `max_clocks` clocks, fewer when the card becomes idle.
    fn step(&mut self, max_clocks: u64) -> Result<Stepped, EngineError>;

    /// Frames sent since the last call.
    fn take_tx(&mut self) -> Vec<TxFrame>;

    /// Vectors whose message arrived since the last call, in their order, as often as it arrived.
    fn take_interrupts(&mut self) -> Vec<u16>;

    /// Starts or ends the log of TLPs; see [`Function::take_log`].
    fn set_log(&mut self, on: bool);

    /// TLPs logged since the last call, one decoded line each, in the order they crossed the link.
    fn take_log(&mut self) -> Vec<String>;

    /// DMA accesses refused by [`DmaTarget`] so far.
    fn dma_faults(&self) -> u64;

    /// Clocks since the card was made.
    fn clocks(&self) -> u64;
}
