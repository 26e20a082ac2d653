//! What travels between the blocks of the transaction layer.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::wide::Wide;

/// A memory write to a BAR, its payload in the receiver's buffer.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct WriteRequest {
    /// BAR2 (else BAR0).
    pub bar2: Bit,
    /// Byte offset in the BAR, a multiple of 4.
    pub offset: Bits<24>,
    /// DWs.
    pub length: Bits<11>,
    /// Byte enables of the first DW.
    pub first_be: Bits<4>,
    /// Byte enables of the last DW, 0 when there is only one.
    pub last_be: Bits<4>,
}

/// A request that wants a completion.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct ReadRequest {
    /// It cannot be served: the completion says Unsupported Request.
    pub unsupported: Bit,
    /// It is a locked read: so is the completion.
    pub locked: Bit,
    /// BAR2 (else BAR0).
    pub bar2: Bit,
    /// Byte offset in the BAR, a multiple of 4.
    pub offset: Bits<24>,
    /// DWs, 1 to 1,024.
    pub length: Bits<11>,
    /// Byte enables of the first DW.
    pub first_be: Bits<4>,
    /// Byte enables of the last DW, 0 when there is only one.
    pub last_be: Bits<4>,
    /// Requester ID.
    pub requester: Bits<16>,
    /// Tag.
    pub tag: Bits<8>,
    /// Traffic class.
    pub class: Bits<3>,
    /// Attributes: ID-based ordering, relaxed ordering, no snoop.
    pub attributes: Bits<3>,
    /// Writes that came before it and must be done first, modulo 256.
    pub after: Bits<8>,
}

/// Head of a completion that was received.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct CompletionHead {
    /// It carries data.
    pub data: Bit,
    /// Completion status, 0 Successful Completion.
    pub status: Bits<3>,
    /// Byte count: bytes that are still to come, with these; 0 for 4,096.
    pub count: Bits<12>,
    /// DWs of its payload.
    pub length: Bits<11>,
    /// Requester ID.
    pub requester: Bits<16>,
    /// Tag.
    pub tag: Bits<8>,
}

/// A posted write that waits to be sent.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct PostHead {
    /// Address of the first byte, a multiple of 4.
    pub address: Wide<64>,
    /// 64-bit words of payload, 1 to 16.
    pub words: Bits<5>,
    /// An interrupt message: one DW, in the low half of its word.
    pub message: Bit,
    /// The upper half of the address is not zero: a header of four DWs.
    pub four: Bit,
}

/// A word for the core that was read from host memory.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct ReadWord {
    /// The word, byte 0 least significant.
    pub data: Wide<64>,
    /// Last of its request.
    pub last: Bit,
    /// The read failed.
    pub error: Bit,
}

/// One of a vector's table words is written.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct TableWrite {
    /// One clock.
    pub valid: Bit,
    /// Which word: address low, address high, data, control.
    pub word: Bits<2>,
    /// New value, byte 0 least significant.
    pub data: Bits<32>,
    /// Bits that take it.
    pub mask: Bits<32>,
}

/// What is known of an outstanding piece of a DMA read.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Piece {
    /// DWs, 2 to 128.
    pub length: Bits<8>,
    /// Last of the core's request.
    pub last: Bit,
}
