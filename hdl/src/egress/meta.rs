//! What travels with a frame on its way out.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::wide::Wide;

/// What the exception ring says of a punted frame.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct PuntMeta {
    /// Reason code.
    pub reason: Bits<6>,
    /// Port it arrived on.
    pub port: Bit,
    /// Unit, when `unit_valid`.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
}

/// A decision, worked out for beats of one width. Indexes are beats of the frame, 12 bits in two's complement.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Job {
    /// The frame is dropped.
    pub drop: Bit,
    /// The frame gets a new header.
    pub translate: Bit,
    /// The frame goes as it came: neither of these.
    pub whole: Bit,
    /// The frame goes to the exception ring.
    pub punt: Bit,
    /// First a beat is read that gives no beat: the first beat sent needs two.
    pub prime: Bit,
    /// The one beat sent needs only the first beat of the frame, moved to the front.
    pub alone: Bit,
    /// First beat to read.
    pub start: Bits<12>,
    /// Last beat that is needed (translate).
    pub need_last: Bits<12>,
    /// Last beat to send (translate).
    pub out_last: Bits<12>,
    /// Valid bytes of that beat, 0 for all.
    pub out_count: Bits<6>,
    /// Beats sent that are all header.
    pub full: Bits<12>,
    /// Header bytes of the beat after them.
    pub part: Bits<6>,
    /// The payload moves this many bytes to the front of its beat.
    pub shift: Bits<6>,
    /// Bytes the frame must have.
    pub need: Bits<16>,
    /// Port to send on.
    pub port: Bit,
}

/// What is told of a frame when it is through.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct FrameEnd {
    /// Count `reason`.
    pub tally: Bit,
    /// It was translated.
    pub done: Bit,
    /// Reason code of a drop or punt.
    pub reason: Bits<6>,
    /// Port it arrived on.
    pub port: Bit,
    /// Unit, when `unit_valid`.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
    /// Record index.
    pub index: Bits<17>,
    /// Direction.
    pub direction: Bit,
    /// Service set.
    pub set: Bits<3>,
    /// IP length as it arrived.
    pub bytes: Bits<16>,
}

/// How a frame ended in the payload ring.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Arrival {
    /// Its bytes.
    pub bytes: Bits<16>,
    /// 0 none, 1 `RxError`, 2 `Oversize`.
    pub fault: Bits<2>,
    /// Index of its last beat.
    pub last: Bits<12>,
    /// Its beats.
    pub beats: Bits<12>,
}

/// `to` of a beat: port 0, port 1, the exception ring, nowhere.
pub const TO_PUNT: u64 = 2;
/// See [`TO_PUNT`].
pub const TO_NOWHERE: u64 = 3;

/// A beat on its way out, without its bytes.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct BeatMeta {
    /// Where it goes: 0 and 1 are ports.
    pub to: Bits<2>,
    /// First of its frame.
    pub first: Bit,
    /// Last of its frame.
    pub last: Bit,
    /// The frame is damaged (with `last`).
    pub error: Bit,
    /// Valid bytes of the last beat, 0 for all.
    pub count: Bits<6>,
}

/// A read of the payload ring under way, and what becomes of its beat.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Step {
    /// A beat was read.
    pub read: Bit,
    /// A beat is sent.
    pub send: Bit,
    /// It is all header.
    pub full: Bit,
    /// It is header in its first `part` bytes.
    pub mixed: Bit,
    /// See `Job`.
    pub alone: Bit,
    /// See `Job`.
    pub part: Bits<6>,
    /// See `Job`.
    pub shift: Bits<6>,
    /// Which chunk of the new header goes with it.
    pub chunk: Bits<4>,
    /// What is sent.
    pub beat: BeatMeta,
}

/// Header of a frame, as queued beside its job.
pub type Header = Wide<{ crate::types::HEADER_BITS }>;
