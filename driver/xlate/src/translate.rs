//! IP packets from one family to the other (RFC 7915 sections 4.1, 4.5, 5.1, 5.5), ICMP echo included.
//!
//! The functions append to `out` and allocate nothing of their own. ICMP errors are in [`crate::icmp`].

use std::net::{Ipv4Addr, Ipv6Addr};

/// What an IPv4 packet made from an IPv6 packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To4 {
    /// Source.
    pub src: Ipv4Addr,
    /// Destination.
    pub dst: Ipv4Addr,
    /// Source port. For ICMP the identifier is in the port of the client's side: here for packets from the client,
    /// in `dst_port` for the quote of an error (that packet went to the client).
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
}

/// What an IPv6 packet made from an IPv4 packet carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To6 {
    /// Source.
    pub src: Ipv6Addr,
    /// Destination.
    pub dst: Ipv6Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination port. For ICMP the identifier is in the port of the client's side: here for packets to the client,
    /// in `src_port` for the quote of an error (that packet came from the client).
    pub dst_port: u16,
}

/// How to make IPv4 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options4 {
    /// Largest total length that leaves with DF clear ([`crate::config::DfPolicy::clear_max`]).
    pub df_clear_max: u16,
    /// Replaces the copy of the traffic class.
    pub tos_override: Option<u8>,
    /// Identification of packets whose IPv6 packet had no Fragment header; a fresh one for each packet.
    pub ident: u16,
    /// Largest packet of the link the packet leaves on.
    pub mtu4: u16,
    /// Largest packet of the link the packet came from.
    pub mtu6: u16,
    /// Upper limit for the MSS option of SYN segments.
    pub mss: Option<u16>,
}

/// How to make IPv6 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options6 {
    /// Replaces the copy of the type of service.
    pub tos_override: Option<u8>,
    /// Packets without DF are fragmented to this size (lowest-ipv6-mtu of RFC 7915 section 4.1, at least 1,280).
    pub lowest_mtu: u16,
    /// Largest packet of the link the packet leaves on.
    pub mtu6: u16,
    /// Largest packet of the link the packet came from.
    pub mtu4: u16,
    /// Upper limit for the MSS option of SYN segments.
    pub mss: Option<u16>,
}
