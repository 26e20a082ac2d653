//! What travels between the blocks of a MAC, and what its counters count.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;

/// A word of a received frame, without its bytes.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct RxMeta {
    /// Last of its frame.
    pub last: Bit,
    /// Valid bytes of the last word, 0 for all.
    pub count: Bits<6>,
    /// With `last`: what became of the frame, one of [`Verdict`].
    pub verdict: Bits<4>,
}

/// A word of a frame to send, without its bytes.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct TxMeta {
    /// Last of its frame.
    pub last: Bit,
    /// Valid bytes of the last word, 0 for all.
    pub count: Bits<6>,
    /// With `last`: the frame is damaged and must not arrive as a good one.
    pub error: Bit,
}

/// How a frame ended at the receiving MAC. All but [`Verdict::Good`] never reach the core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// A good frame.
    Good = 0,
    /// Shorter than 64 bytes with its check sequence; collision fragments as well.
    Runt = 1,
    /// Longer than [`MAX_BYTES`].
    Oversize = 2,
    /// The PHY signalled an error inside it.
    Symbol = 3,
    /// Wrong frame check sequence.
    Fcs = 4,
    /// A PAUSE frame (IEEE 802.3, annex 31B); the card does not pause.
    Pause = 5,
    /// Another MAC control frame (EtherType 0x8808).
    Control = 6,
    /// Carrier without a start frame delimiter behind a preamble.
    NoStart = 7,
    /// The FIFO to the core's clock was full: the core's clock is slower than a word per eight bytes.
    Overrun = 8,
    /// No room for the frame, because the core did not take those before it.
    NoRoom = 9,
    /// Not a frame: the link's status, in the first byte of the word (see [`super::rgmii::RgmiiReceive`]).
    Status = 15,
}

impl Verdict {
    /// Every way a frame can end, in the order of the counters.
    pub const FRAMES: [Self; 10] = [
        Self::Good,
        Self::Runt,
        Self::Oversize,
        Self::Symbol,
        Self::Fcs,
        Self::Pause,
        Self::Control,
        Self::NoStart,
        Self::Overrun,
        Self::NoRoom,
    ];
}

/// Longest frame that is received, with its check sequence: 9,600 bytes of payload, header and two VLAN tags.
pub const MAX_BYTES: usize = 9_600 + 14 + 8 + 4;

/// Shortest frame on a link, with its check sequence.
pub const MIN_BYTES: usize = 64;
