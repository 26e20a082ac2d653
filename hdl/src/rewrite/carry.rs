//! What the rewrite pipeline carries beside addresses and headers.

// The LogicStruct derive adds accessors without documentation; every field below has its own.
#![allow(missing_docs)]

use crate::prelude::*;

/// The scalars of packet, session and verdict.
#[derive(Copy, Clone, Debug, Default, PartialEq, LogicStruct)]
pub struct Carry {
    /// `FATE_` constant on the way in, `KIND_` constant from stage 3 on.
    pub kind: Bits<2>,
    /// Reason of a drop or punt.
    pub reason: Bits<8>,
    /// IPv6 to IPv4.
    pub six: Bit,
    /// UDP; a checksum of zero is sent as 0xffff.
    pub udp: Bit,
    /// TCP.
    pub tcp: Bit,
    /// ICMP echo.
    pub icmp: Bit,
    /// Echo reply.
    pub reply: Bit,
    /// VLAN tags it arrived with.
    pub tags: Bits<2>,
    /// ToS or traffic class.
    pub tos: Bits<8>,
    /// TTL or hop limit: on arrival, from stage 3 on as sent.
    pub hop: Bits<8>,
    /// Bytes of transport header and payload.
    pub l4_bytes: Bits<16>,
    /// Bytes of the IP packet sent.
    pub total: Bits<16>,
    /// Up to stage 3 the hash bits of the IPv4 Identification, in stage 8 the Identification as sent, 0 between them.
    pub ident: Bits<16>,
    /// DF is set: on arrival, from stage 4 on as sent.
    pub df: Bit,
    /// The new ICMPv4 header is all zero but for its checksum.
    pub zeros: Bit,
    /// Bytes the frame must have.
    pub need: Bits<16>,
    /// Port it arrived on.
    pub port: Bit,
    /// Unit.
    pub unit: Bits<4>,
    /// A unit matched.
    pub unit_valid: Bit,
    /// Service set.
    pub set: Bits<3>,
    /// A record was found.
    pub hit: Bit,
    /// Its index.
    pub index: Bits<17>,
}
