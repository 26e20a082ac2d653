//! What travels between the blocks beside the beats of the stream.
//!
//! `LogicStruct` packs the first field at the lowest bits. Field widths that come from the contract are checked against
//! `nat64-layout` by the tests below.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;
use crate::wide::Wide;

/// Bits of the captured header window (`nat64_layout::HEADER_BYTES`), byte 0 of the frame in the top bits.
pub const HEADER_BITS: usize = 704;
/// Bits of a session record (`nat64_layout::record::RECORD_BITS`).
pub const RECORD_BITS: usize = 261;

/// `fate` of a packet after the classifier: look its session up.
pub const FATE_LOOKUP: u64 = 0;
/// Send it unchanged out of the other port.
pub const FATE_FORWARD: u64 = 1;
/// Punt or drop it for `reason`, whatever the session table says (codes below 32 are punts).
pub const FATE_REASON: u64 = 2;

/// Packet header vector: what parse, classify and rewrite know of a packet.
///
/// `parse` fills all but the last seven fields and leaves those zero; `classify` fills them.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Phv {
    /// Port it arrived on.
    pub port: Bit,
    /// VLAN tags it carries, 0 to 2.
    pub tags: Bits<2>,
    /// Outer VLAN id.
    pub vid0: Bits<12>,
    /// Inner VLAN id.
    pub vid1: Bits<12>,
    /// IPv6 packet (else IPv4, when `fate` is not already decided).
    pub six: Bit,
    /// `nat64_layout::Protocol`, 0 for none the card handles.
    pub protocol: Bits<2>,
    /// Echo reply (else request), with protocol ICMP.
    pub reply: Bit,
    /// ToS or traffic class.
    pub tos: Bits<8>,
    /// Don't Fragment is set (IPv4; 0 for IPv6).
    pub df: Bit,
    /// TTL or hop limit on arrival.
    pub hop: Bits<8>,
    /// Bytes of the transport header and payload, from the IP header.
    pub l4_bytes: Bits<16>,
    /// Bytes the frame must have so that the IP packet is whole; 0: not checked.
    pub need: Bits<16>,
    /// Source address; IPv4 in the low 32 bits.
    pub source: Wide<128>,
    /// Destination address; IPv4 in the low 32 bits.
    pub destination: Wide<128>,
    /// First 20 bytes of the transport header, byte 0 in the top bits. UDP and ICMP use the first 8.
    pub l4: Wide<160>,
    /// One of the `FATE_` constants.
    pub fate: Bits<2>,
    /// Reason code when `fate` is `FATE_REASON`; 0 otherwise.
    pub reason: Bits<8>,
    /// Unit, when `unit_valid`.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
    /// Service set of the unit.
    pub set: Bits<3>,
    /// Prefix that matched (IPv6 packets).
    pub pref64: Bits<3>,
    /// The server's IPv4 address: taken out of the destination (IPv6) or the source (IPv4).
    pub remote: Bits<32>,
}

/// The key a packet is looked up with; see `nat64_layout::hash` for the message that is hashed.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Key {
    /// IPv6-side key (else IPv4-side).
    pub six: Bit,
    /// `nat64_layout::Protocol`.
    pub protocol: Bits<2>,
    /// Client address (IPv6-side), or the pool address in the low 32 bits and zeros above (IPv4-side).
    pub local: Wide<128>,
    /// Server address.
    pub remote: Bits<32>,
    /// Client port or pool port, or the echo identifier.
    pub local_port: Bits<16>,
    /// Server port; 0 for ICMP.
    pub remote_port: Bits<16>,
    /// Prefix index; 0 in IPv4-side keys.
    pub pref64: Bits<3>,
    /// Unit; 0 in IPv4-side keys.
    pub unit: Bits<4>,
    /// Service set; 0 in IPv6-side keys.
    pub set: Bits<3>,
}

/// What the session table found.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Found {
    /// A record with exactly this key exists.
    pub hit: Bit,
    /// Its index (meaningful with `hit`).
    pub index: Bits<17>,
    /// The record (meaningful with `hit`).
    pub record: Wide<RECORD_BITS>,
    /// Bits 63:48 of the key's hash: offset of the Identification.
    pub ident: Bits<16>,
}

/// `kind` of a decision: count `reason` and end.
pub const KIND_DROP: u64 = 0;
/// Send with a new header.
pub const KIND_TRANSLATE: u64 = 1;
/// Send unchanged.
pub const KIND_FORWARD: u64 = 2;
/// To the exception ring for `reason`.
pub const KIND_PUNT: u64 = 3;

/// What egress does with a frame.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Decision {
    /// One of the `KIND_` constants.
    pub kind: Bits<2>,
    /// Reason code of a drop or punt.
    pub reason: Bits<8>,
    /// Port to send on (translate, forward).
    pub port: Bit,
    /// Port it arrived on.
    pub port_in: Bit,
    /// Unit, when `unit_valid`.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
    /// New header, Ethernet to the fixed transport header, byte 0 in the top bits (translate).
    pub header: Wide<HEADER_BITS>,
    /// Bytes of the new header.
    pub header_bytes: Bits<7>,
    /// Bytes of the old header that it replaces.
    pub skip: Bits<7>,
    /// Bytes of the frame to send (translate).
    pub length: Bits<16>,
    /// Bytes the frame must have arrived with; 0: not checked.
    pub need: Bits<16>,
    /// Record index (translate).
    pub index: Bits<17>,
    /// `nat64_layout::Direction`: 0 IPv6 to IPv4 (translate).
    pub direction: Bit,
    /// Service set (translate).
    pub set: Bits<3>,
    /// IP length of the packet as it arrived, for the counters (translate).
    pub ip_bytes: Bits<16>,
}

/// A frame was translated and its last good beat has left.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Translated {
    /// One clock.
    pub valid: Bit,
    /// Record index.
    pub index: Bits<17>,
    /// Direction.
    pub direction: Bit,
    /// Service set.
    pub set: Bits<3>,
    /// IP length of the packet as it arrived.
    pub bytes: Bits<16>,
}

/// Something to count.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Tally {
    /// One clock.
    pub valid: Bit,
    /// Reason code, below 64.
    pub reason: Bits<6>,
}

/// A write of a BAR0 register or table word, as every block sees it, one clock after the pins.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct RegisterWrite {
    /// One clock.
    pub valid: Bit,
    /// Byte offset in BAR0.
    pub address: Bits<16>,
    /// Word.
    pub data: Bits<32>,
}

/// A write of a BAR2 word.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct WindowWrite {
    /// One clock.
    pub valid: Bit,
    /// Byte offset in BAR2.
    pub address: Bits<23>,
    /// Word.
    pub data: Bits<32>,
}

/// Bits of the longest entry of the session table that is read back, in whole words of 64.
pub const PEEK_BITS: usize = 320;

/// Asks the session table for an entry, beside the lookups; held until it is taken.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Peek {
    /// A record is wanted.
    pub record: Bit,
    /// The tags of a bucket number are wanted.
    pub tags: Bit,
    /// A stash entry is wanted.
    pub stash: Bit,
    /// Which; unchanged until the answer is there.
    pub index: Bits<17>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_of_the_contract() {
        assert_eq!(HEADER_BITS, 8 * nat64_layout::HEADER_BYTES);
        assert_eq!(RECORD_BITS, nat64_layout::record::RECORD_BITS);
        assert_eq!(Found::BITS, 1 + nat64_layout::INDEX_BITS + RECORD_BITS + 16);
        assert_eq!(1 << 4, nat64_layout::tables::UNITS);
        assert_eq!(1 << 3, nat64_layout::tables::PREF64S);
        assert_eq!(1 << 3, nat64_layout::tables::SERVICE_SETS);
        assert_eq!(1 << 6, nat64_layout::REASON_COUNTERS);
        const { assert!(nat64_layout::regs::BAR2_BYTES <= 1 << 23) };
        const { assert!(nat64_layout::regs::BAR0_BYTES <= 1 << 16) };
    }
}
