//! The way to a card: registers, shared memory, interrupts. Every call can fail, because a card can go away.
//!
//! ```text
//!   Card --> Transport --+--> VfioTransport        a card in this machine, through /dev/vfio
//!                        +--> VfioUserTransport    a card served over a UNIX socket (vfio-user)
//!                        +--> SerialTransport      a board on a serial line
//!                        +--> a simulated card in this process (crate::dma::HostMemory is made for it)
//!                        +--> FaultTransport       any of these, with accidents
//! ```
//!
//! Nothing above this trait knows which. [`open`] makes the first three from what a user writes ([`CardSpec`]).
//!
//! **Progress.** A card works while the host does something else. A simulated card in this process may instead
//! do its work inside [`Transport::wait`] and inside reads; the driver therefore never spins on shared memory without
//! calling `wait` in between, and bounds each such loop.

pub mod fault;
mod open;
pub mod serial;
pub mod vfio;
pub mod vfio_user;
mod wire;

use std::os::fd::BorrowedFd;
use std::time::Duration;

pub use fault::{Accident, FaultPlan, FaultTransport};
pub use open::{identify, open, CardIdentity, CardSpec, OpenError, SpecError};
pub use serial::{SerialStats, SerialTransport};
pub use vfio::{Held, VfioTransport};
pub use vfio_user::VfioUserTransport;

pub use nat64_layout::Bar;

use crate::dma::DmaBuffer;

/// Interrupt vector (bit of [`Transport::wait`]): the exception ring advanced.
pub const IRQ_EXCEPTION: u32 = 1 << 0;
/// Interrupt vector (bit of [`Transport::wait`]): a dump finished or the inject ring advanced.
pub const IRQ_PROGRESS: u32 = 1 << 1;

/// Access to one card.
pub trait Transport: Send {
    /// Reads a register of BAR0. `offset` is in bytes, a multiple of 4, below [`nat64_layout::regs::BAR0_BYTES`].
    ///
    /// Writes made before are seen by the card before the read. A card that is gone reads as all ones; the caller
    /// judges that, not the transport.
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError>;

    /// Writes a register or table word. Posted: it returns before the card has seen it, but writes arrive in order,
    /// and shared memory written before is visible to the card when the write arrives.
    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError>;

    /// Writes consecutive words from `offset` on, in rising order. Posted, like [`Transport::write32`].
    fn write_burst(&mut self, bar: Bar, offset: u32, values: &[u32]) -> Result<(), DeviceError> {
        let mut at = offset;
        for &value in values {
            self.write32(bar, at, value)?;
            at += 4;
        }
        Ok(())
    }

    /// Memory shared with the card: zeroed, at least `bytes` bytes, page aligned, mapped until the transport is
    /// dropped.
    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError>;

    /// Waits until an interrupt arrived, or `timeout` has passed: the vectors that fired since the last call as bits
    /// ([`IRQ_EXCEPTION`], [`IRQ_PROGRESS`]), 0 when none did. A zero timeout polls.
    ///
    /// A simulated card reads the timeout as leave to work: it runs at least a little on each call, and until
    /// something happens or it is idle when the timeout is not zero.
    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError>;

    /// Puts the card into its state after power-on: tables empty, rings off, everything dropped.
    fn reset(&mut self) -> Result<(), DeviceError>;
}

/// Checks that `words` words from `offset` on lie in a window.
pub(crate) fn check_access(bar: Bar, offset: u32, words: usize) -> Result<(), DeviceError> {
    let size = match bar {
        Bar::Bar0 => nat64_layout::regs::BAR0_BYTES,
        Bar::Bar2 => nat64_layout::regs::BAR2_BYTES,
    };
    let fits = offset.is_multiple_of(4) && offset < size && words <= (size - offset) as usize / 4;
    if fits {
        Ok(())
    } else {
        Err(DeviceError::BadOffset { bar, offset })
    }
}

/// Whether an eventfd (non-blocking) was signalled; takes the signal.
pub(crate) fn take_event(fd: BorrowedFd<'_>) -> Result<bool, DeviceError> {
    loop {
        match rustix::io::read(fd, &mut [0; 8]) {
            Ok(_) => return Ok(true),
            Err(rustix::io::Errno::AGAIN) => return Ok(false),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                return Err(DeviceError::Io {
                    operation: "read an eventfd",
                    source: error.into(),
                })
            }
        }
    }
}

/// What can go wrong on the way to a card.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The card answers with all ones: it was pulled, reset, or lost its power.
    #[error(
        "the card is gone: {bar:?} {offset:#x} and its identity read as all ones; `nat64ctl card list` and `dmesg` tell \
         whether it lost its link, its power or its slot, and it is taken up again when it is back"
    )]
    Gone {
        /// Window of the read that showed it.
        bar: Bar,
        /// Offset of the read.
        offset: u32,
    },
    /// An access outside the window, or not to a multiple of 4.
    #[error("no access to {bar:?} at {offset:#x}")]
    BadOffset {
        /// Window.
        bar: Bar,
        /// Offset asked for.
        offset: u32,
    },
    /// No shared memory to be had.
    #[error("cannot get {bytes} bytes of memory shared with the card")]
    DmaAlloc {
        /// Bytes asked for.
        bytes: usize,
    },
    /// Memory shared with the card is locked into place, and this process may lock no more.
    #[error(
        "cannot lock {bytes} bytes for the card: the limit of locked memory is {limit}; raise it with `ulimit -l \
         unlimited`, or LimitMEMLOCK=infinity in the systemd unit"
    )]
    Memlock {
        /// Bytes asked for.
        bytes: usize,
        /// Present limit.
        limit: String,
    },
    /// The card did not finish something in time.
    #[error("the card did not finish: {what} (waited {waited:?})")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        waited: Duration,
    },
    /// The operating system refused.
    #[error("{operation}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Its answer.
        #[source]
        source: std::io::Error,
    },
    /// The card was reset, and not by its driver: it has nothing of what it was given.
    #[error("the card was reset behind the driver's back (its mark reads {found:#010x}, {mark:#010x} was written)")]
    WasReset {
        /// What the driver wrote when it opened the card.
        mark: u32,
        /// What is there now.
        found: u32,
    },
    /// Whoever served the card is not there any more.
    #[error("the connection to the card is lost: {reason}")]
    Disconnected {
        /// How it was noticed.
        reason: String,
    },
    /// What carries the card (a simulation engine, a server) failed or stopped.
    #[error("{operation}: {reason}")]
    Backend {
        /// What was tried.
        operation: &'static str,
        /// What it said.
        reason: String,
    },
}
