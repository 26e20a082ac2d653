//! What replay and the co-process drive: one gateway in virtual time, whatever carries its packets.
//!
//! ```text
//!   replay, stdio --> Device --+--> GatewayDevice (soft, or a simulated card)
//!                              +--> Compare (two of them, side by side)
//! ```

use std::path::PathBuf;

use nat64_layout::{Reason, ReasonKind};

/// A packet that left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Port.
    pub port: u8,
    /// Virtual time, in nanoseconds.
    pub t_ns: u64,
    /// The frame, or the IP packet when the link type is raw.
    pub bytes: Vec<u8>,
}

/// Why a packet that arrived was not simply translated by the card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Port it arrived on.
    pub port: u8,
    /// Virtual time of its arrival, in nanoseconds.
    pub t_ns: u64,
    /// The frame as it arrived, or the IP packet when the link type is raw.
    pub bytes: Vec<u8>,
    /// Reasons, in the order they came up: the card's, then the host's. Never empty.
    pub reasons: Vec<Reason>,
}

impl Exception {
    /// The comment in `exceptions.pcapng`: each reason with its explanation, and what became of the packet.
    pub fn comment(&self) -> String {
        let reasons: Vec<_> = self
            .reasons
            .iter()
            .map(|reason| {
                let kind = match reason.kind() {
                    ReasonKind::Punt => "punted",
                    ReasonKind::Drop => "dropped",
                    ReasonKind::Answer => "answered",
                };
                format!("{kind}: {}: {}", reason.name(), reason.explanation())
            })
            .collect();
        reasons.join("\n")
    }
}

/// What happened during a step, in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Output {
    /// Packets that left.
    pub sent: Vec<Sent>,
    /// Packets that were punted or dropped.
    pub exceptions: Vec<Exception>,
}

impl Output {
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.sent.clear();
        self.exceptions.clear();
    }
}

/// Sums a device keeps.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Sessions made.
    pub sessions_made: u64,
    /// Sessions there are.
    pub sessions: u64,
    /// BIB entries there are.
    pub bibs: u64,
    /// Packets translated by the card, IPv6 to IPv4 and back; the card's own counters.
    pub card_packets: [u64; 2],
    /// Packets translated by the host, IPv6 to IPv4 and back.
    pub host_packets: [u64; 2],
    /// Punts, drops and answers by reason; a packet can count under more than one.
    pub reasons: Vec<(Reason, u64)>,
    /// Clocks simulated.
    pub clocks: u64,
}

/// Why a device cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DeviceFailure {
    /// The configuration is refused, by parser or commit check; nothing was changed. The text tells place and reason.
    #[error("{0}")]
    Config(String),
    /// The configuration file cannot be read.
    #[error("{}: {source}", path.display())]
    ConfigFile {
        /// File.
        path: PathBuf,
        /// What the operating system says.
        source: std::io::Error,
    },
    /// The simulated card failed.
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
    /// The waves that were asked for cannot be written.
    #[error(transparent)]
    Waves(#[from] crate::waves::WavesError),
    /// The driver failed.
    #[error("the driver failed: {0}")]
    Driver(String),
    /// Two engines differ.
    #[error("{0}")]
    Difference(String),
}

impl DeviceFailure {
    /// Whether the user's input is the cause.
    pub const fn is_input(&self) -> bool {
        matches!(self, Self::Config(_) | Self::ConfigFile { .. })
    }

    /// The name errors have in JSON.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::ConfigFile { .. } => "file",
            Self::Engine(_) => "engine",
            Self::Waves(_) => "waves",
            Self::Driver(_) => "driver",
            Self::Difference(_) => "difference",
        }
    }
}

/// One gateway in virtual time. Time is given with every call and never goes back.
pub trait Device {
    /// A packet arrives; everything it causes at once is in `out`.
    ///
    /// # Errors
    /// When card or driver fail; never for anything in the packet. So with all methods, beside what they name.
    fn packet(&mut self, now: u64, port: u8, bytes: &[u8], out: &mut Output) -> Result<(), DeviceFailure>;

    /// Lets time pass up to `to`: timers and deadlines on the way are kept in order, each at its own time.
    ///
    /// # Errors
    /// See [`Device::packet`].
    fn advance(&mut self, to: u64, out: &mut Output) -> Result<(), DeviceFailure>;

    /// Commits configuration commands together.
    ///
    /// # Errors
    /// [`DeviceFailure::Config`]: nothing was changed.
    fn configure(&mut self, now: u64, commands: &[String], out: &mut Output) -> Result<(), DeviceFailure>;

    /// Sums so far.
    ///
    /// # Errors
    /// See [`Device::packet`].
    fn totals(&mut self) -> Result<Totals, DeviceFailure>;

    /// What the device knows about the session of a packet, for a difference report; empty when nothing.
    fn describe(&mut self, port: u8, bytes: &[u8]) -> String;
}
