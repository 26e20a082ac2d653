//! What the driver is told: ports, units on the wire, and the translator's configuration.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::tables::PortPolicy;

/// The whole configuration of one gateway. `nat64-host` makes it from the Junos tree.
#[derive(Clone, Debug, PartialEq)]
pub struct GatewayConfig {
    /// What frames look like.
    pub link_type: LinkType,
    /// The card's ports.
    pub ports: [PortConfig; nat64_layout::PORTS],
    /// Units on the wire, at most `nat64_layout::tables::UNITS`; index = unit number, as in `xlate.units`.
    pub units: Vec<UnitLink>,
    /// The translator's part.
    pub xlate: nat64_xlate::Config,
}

/// What frames look like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkType {
    /// Ethernet frames; neighbours are resolved.
    Ethernet,
    /// IP packets without Ethernet; the family tells nothing about MAC addresses and none are resolved. Toward a
    /// card each packet is wrapped in a fixed Ethernet header.
    Raw,
}

/// One port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortConfig {
    /// Our MAC address on this port.
    pub mac: [u8; 6],
    /// What happens to packets that no unit or rule matches.
    pub policy: PortPolicy,
}

/// One unit on the wire.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitLink {
    /// Port, 0 or 1.
    pub port: u8,
    /// VLAN ids, outer first.
    pub vlans: [Option<u16>; 2],
    /// Our IPv6 addresses with prefix lengths; the prefixes are on link.
    pub addresses6: Vec<(Ipv6Addr, u8)>,
    /// Our IPv4 addresses with prefix lengths.
    pub addresses4: Vec<(Ipv4Addr, u8)>,
    /// Next hop of IPv6 packets that are not on link; `None`: every destination is on link.
    pub gateway6: Option<Ipv6Addr>,
    /// Next hop of IPv4 packets that are not on link; `None`: every destination is on link.
    pub gateway4: Option<Ipv4Addr>,
    /// Learn the MAC address of a source from the frames it sends (auto last hop), so that answers go back the way
    /// the request came without asking.
    pub auto_last_hop: bool,
}
