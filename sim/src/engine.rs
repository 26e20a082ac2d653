//! What every engine of a simulated card can do, at the level of frames, registers and shared memory.
//!
//! ```text
//!                rx(port, frame)   csr_write / csr_read   set_time
//!                      |                  |                  |
//!                      v                  v                  v
//!   take_tx() <--- [ the core: RustHDL, or its Verilog compiled ] ---> host memory (DMA), irqs
//! ```
//!
//! Nothing moves by itself: clocks run inside [`Engine::run`] and [`Engine::csr_read`] only, so a run is the same each
//! time. Register writes are posted: they are made, in order, one per clock, at the start of the next of those calls,
//! before any queued frame enters.

use nat64_layout::Bar;

/// Clocks `idle` must be high in a row, with nothing queued in the bench, before a run ends: a register write or the
/// last beat of a frame takes a few clocks until the core sees it has work.
pub const IDLE_CLOCKS: u32 = 8;
/// Clocks a register read may take before the core is given up.
pub const READ_CLOCKS: u64 = 10_000;
/// Clocks from a DMA read request to its first word, when nothing else is set.
pub const READ_LATENCY: u64 = 40;
/// DMA read requests the bench holds before it takes no more.
pub const READS_OUTSTANDING: usize = 4;

/// A frame the core sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxFrame {
    /// Port it left by.
    pub port: u8,
    /// Its bytes, without padding to the Ethernet minimum.
    pub bytes: Vec<u8>,
    /// The core marked it as damaged.
    pub error: bool,
    /// Clock at which its last word left.
    pub clock: u64,
}

/// What ended a run that went well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Clocks of this run.
    pub clocks: u64,
    /// Interrupts raised since the last run, as in [`nat64_driver::Transport::wait`].
    pub irqs: u32,
}

/// Why an engine cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The core did not become idle.
    #[error("the simulated card is still busy after {clocks} clocks")]
    Busy {
        /// Clocks of this run.
        clocks: u64,
    },
    /// The core did not answer a register read.
    #[error("the simulated card did not answer a read of register {offset:#06x} within {clocks} clocks")]
    NoAnswer {
        /// Register.
        offset: u32,
        /// Clocks waited.
        clocks: u64,
    },
    /// An access the card has no pins for.
    #[error("no such register: {bar:?} {offset:#x}")]
    BadOffset {
        /// Window.
        bar: Bar,
        /// Byte offset.
        offset: u32,
    },
    /// A frame no port takes.
    #[error("a frame of {bytes} bytes for port {port} cannot be given to the card")]
    BadFrame {
        /// Port.
        port: u8,
        /// Length.
        bytes: usize,
    },
    /// A tool that builds the compiled engine is missing.
    #[error("{tool} is not installed; `cargo xtask setup` installs it, and `--engine rtl` works without it")]
    MissingTool {
        /// Program.
        tool: &'static str,
    },
    /// The compiled engine cannot be built.
    #[error("cannot build the compiled engine: {what}\n{output}")]
    Build {
        /// What failed.
        what: String,
        /// What the tools said.
        output: String,
    },
    /// The process of the compiled engine ended or stopped answering.
    #[error("the compiled engine {what}{}{stderr}", if stderr.is_empty() { "" } else { ": " })]
    Child {
        /// What happened to it.
        what: String,
        /// What it wrote to its standard error.
        stderr: String,
    },
    /// The engine's thread is gone.
    #[error("the simulated card stopped: {reason}")]
    Stopped {
        /// Why.
        reason: String,
    },
}

/// A simulated core at W = 64 and the bench around it.
pub trait Engine: Send {
    /// Sets the card's time, in nanoseconds, for all clocks that follow.
    ///
    /// # Errors
    /// Only when the engine itself is gone; so with all methods, beside what they name.
    fn set_time(&mut self, ns: u64) -> Result<(), EngineError>;

    /// Posts a write of a register or table word; `offset` is in bytes, a multiple of 4.
    ///
    /// # Errors
    /// [`EngineError::BadOffset`].
    fn csr_write(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), EngineError>;

    /// Makes the posted writes, then reads a register of BAR0. Frames already queued move on meanwhile.
    ///
    /// # Errors
    /// [`EngineError::BadOffset`], [`EngineError::NoAnswer`].
    fn csr_read(&mut self, offset: u32) -> Result<u32, EngineError>;

    /// Queues a frame that arrives on a port, at most 16 KiB; shorter ones than 60 bytes are padded with zeros as a
    /// MAC would. `error` marks it damaged.
    ///
    /// # Errors
    /// [`EngineError::BadFrame`].
    fn rx(&mut self, port: u8, frame: &[u8], error: bool) -> Result<(), EngineError>;

    /// Steps clocks until the core has been idle for [`IDLE_CLOCKS`] and nothing is queued.
    ///
    /// # Errors
    /// [`EngineError::Busy`] after `max_clocks`; everything queued stays queued and a further call goes on.
    fn run(&mut self, max_clocks: u64) -> Result<Ran, EngineError>;

    /// Frames sent since the last call, in the order their last words left.
    fn take_tx(&mut self) -> Vec<TxFrame>;

    /// Clocks since the card was made, over all resets.
    fn clocks(&self) -> u64;

    /// The process that does the work, where it is not the calling thread.
    fn process(&self) -> Option<u32> {
        None
    }

    /// DMA writes to addresses that no buffer has, since the card was made: faults an IOMMU would report.
    fn dma_faults(&self) -> u64;

    /// Puts the card into its state after power-on.
    ///
    /// # Errors
    /// When the engine cannot be started again.
    fn reset(&mut self) -> Result<(), EngineError>;
}

/// Longest frame [`Engine::rx`] takes, so that oversized ones can be tried.
pub const MAX_RX: usize = 16 << 10;

/// Checks a CSR write address; both engines refuse the same ones.
pub(crate) fn check_write(bar: Bar, offset: u32) -> Result<(), EngineError> {
    let size = match bar {
        Bar::Bar0 => nat64_layout::regs::BAR0_BYTES,
        Bar::Bar2 => nat64_layout::regs::BAR2_BYTES,
    };
    if !offset.is_multiple_of(4) || offset >= size {
        return Err(EngineError::BadOffset { bar, offset });
    }
    Ok(())
}

/// Checks a frame for `rx` and pads it.
pub(crate) fn pad(port: u8, frame: &[u8]) -> Result<Vec<u8>, EngineError> {
    if usize::from(port) >= nat64_layout::PORTS || frame.is_empty() || frame.len() > MAX_RX {
        return Err(EngineError::BadFrame {
            port,
            bytes: frame.len(),
        });
    }
    let mut bytes = frame.to_vec();
    if bytes.len() < nat64_layout::MIN_FRAME {
        bytes.resize(nat64_layout::MIN_FRAME, 0);
    }
    Ok(bytes)
}
