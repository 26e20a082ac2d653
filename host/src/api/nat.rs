//! `show services nat ...`, `show services service-sets ...`, `clear services nat ...`, `test nat64`, drain.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Query of `GET /v1/nat/pools`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct PoolQuery {
    /// Card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// One pool in one service set (`get-service-nat-pool-information`). Counters are those of the pool, over all service
/// sets that use it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Pool {
    /// Card.
    pub card: String,
    /// Service interface, `ms-0/1/0`.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Pool.
    pub pool_name: String,
    /// `NAPT-64`, `DETERMINISTIC-NAPT-64`.
    pub translation_type: String,
    /// Address ranges, `203.0.113.1-203.0.113.254`, comma separated.
    pub pool_address_range: String,
    /// Addresses of the pool.
    pub pool_avail_addresses: u64,
    /// Addresses with at least one port in use.
    pub pool_addresses_in_use: u64,
    /// `1024-65535`.
    pub pool_port_range: String,
    /// Ports in use now, all protocols.
    pub pool_ports_in_use: u64,
    /// The same by protocol.
    pub ports_in_use_tcp: u64,
    /// The same by protocol.
    pub ports_in_use_udp: u64,
    /// The same by protocol (ICMP identifiers).
    pub ports_in_use_icmp: u64,
    /// Ports that rest before they are used again.
    pub ports_quarantined: u64,
    /// Most ports that were in use at once.
    pub pool_max_ports_in_use: u64,
    /// Requests refused because no port was free.
    pub pool_out_of_port_errors: u64,
    /// Requests refused because the subscriber had its share.
    pub pool_app_exceed_port_limit_errors: u64,
    /// Subscribers with at least one port.
    pub pool_users: u64,
    /// `sequential`, `random-allocation`.
    pub port_allocation: String,
    /// `address-allocation round-robin`.
    pub address_round_robin: bool,
    /// `preserve-parity`.
    pub pool_preserve_parity_enabled: bool,
    /// `preserve-range`.
    pub pool_preserve_range_enabled: bool,
    /// `limit-ports-per-address`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit_ports_per_address: Option<u32>,
    /// `secured` or `deterministic`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_block_type: Option<String>,
    /// Ports per block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port_block_size: Option<u32>,
    /// Blocks per subscriber.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_blocks_per_address: Option<u32>,
    /// Seconds; 0: for ever.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_block_timeout: Option<u64>,
    /// Blocks in use.
    pub port_blocks_in_use: u64,
    /// Addresses that take no new mappings.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<Ipv4Addr>,
}

/// Which mappings a listing shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MappingKind {
    /// Those of ports: one per client address and port (endpoint-independent), or per destination.
    #[default]
    Port,
    /// Endpoint-independent ones only.
    EndpointIndependent,
    /// Address pairs (`address-pooling paired`): one per client address.
    AddressPoolingPaired,
}

/// Selects mappings: query of `GET /v1/nat/mappings`, body of `POST /v1/nat/mappings/clear`. All that is given must
/// match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct MappingFilter {
    /// Card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Which kind.
    pub kind: MappingKind,
    /// Pool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Service set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_set: Option<String>,
    /// IPv6 prefix or address the client is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private: Option<String>,
    /// Client's port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_port: Option<u16>,
    /// IPv4 prefix or address the pool address is in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public: Option<String>,
    /// Pool port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// `tcp`, `udp` or `icmp`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

/// A mapping.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Mapping {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Pool.
    pub pool_name: String,
    /// Kind.
    pub kind: MappingKind,
    /// `TCP`, `UDP`, `ICMPV6`; none for address pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// Client.
    pub private_address: Ipv6Addr,
    /// Client's port; none for address pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub private_port: Option<u16>,
    /// Pool address.
    pub public_address: Ipv4Addr,
    /// Pool port; none for address pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_port: Option<u16>,
    /// The only server it serves, when it is not endpoint-independent: address and port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub destination: Option<(Ipv4Addr, u16)>,
    /// Rule and term.
    pub rule: String,
    /// Term.
    pub term: String,
    /// From the configuration.
    pub is_static: bool,
    /// Ports in use, for address pairs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ports_in_use: Option<u32>,
    /// Sessions.
    pub session_count: u32,
    /// Sessions that an IPv4 packet opened.
    pub inbound_count: u32,
    /// Seconds until it ends, while it has no session; none: it is active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<u64>,
}

/// Answer of `GET /v1/nat/mappings/summary`, per card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MappingSummary {
    /// Card.
    pub card: String,
    /// Service interfaces.
    pub interface_name: String,
    /// Client addresses with a mapping, over all pools (a client in two pools counts twice).
    pub address_mappings: u64,
    /// Port mappings.
    pub endpoint_independent_port_mappings: u64,
    /// The same by protocol.
    pub tcp: u64,
    /// The same by protocol.
    pub udp: u64,
    /// The same by protocol.
    pub icmp: u64,
}

/// Answer of `POST /v1/nat/mappings/clear`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct MappingsCleared {
    /// Mappings removed.
    pub mappings_removed: u64,
    /// Sessions that went with them.
    pub sessions_cleared: u64,
}

/// One counter, with the name and text Junos has for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Counter {
    /// Leaf name, `nat64-mtu-exceed`.
    pub name: String,
    /// Its text, `NAT64 - MTU exceeded`.
    pub text: String,
    /// Value.
    pub value: u64,
}

/// Answer of `GET /v1/nat/statistics`, per card.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct NatStatistics {
    /// Card.
    pub card: String,
    /// Service interfaces.
    pub interface_name: String,
    /// Counters in the order they are shown.
    pub counters: Vec<Counter>,
    /// Seconds since the counters were cleared or the daemon took the card.
    pub since: u64,
}

/// Answer of `POST /v1/nat/statistics/clear`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct StatisticsCleared {
    /// Cards whose counters begin at zero again.
    pub cards: Vec<String>,
}

/// Query of `GET /v1/nat/deterministic`: `host` (its block), or `address` and `port` (whose block).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct DeterministicQuery {
    /// IPv6 address of a subscriber's host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Ipv6Addr>,
    /// Pool address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Pool port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// One subscriber's block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DeterministicBlock {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Pool.
    pub pool_name: String,
    /// Subscriber (address or prefix).
    pub internal_host: Ipv6Addr,
    /// Length of the subscriber's prefix, bits.
    pub internal_length: u8,
    /// Pool address.
    pub nat_address: Ipv4Addr,
    /// First port.
    pub nat_port_start: u16,
    /// Last port.
    pub nat_port_end: u16,
}

/// Answer of `GET /v1/service-sets` (`show services service-sets summary`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ServiceSet {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Name.
    pub service_set_name: String,
    /// Sessions now.
    pub sessions: u64,
    /// Most sessions allowed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_sessions: Option<u32>,
    /// Sessions opened.
    pub opened: u64,
    /// Sessions closed.
    pub closed: u64,
    /// Packets and bytes translated IPv6 to IPv4, host and card together.
    pub six_to_four: super::sessions::Traffic,
    /// Packets and bytes translated IPv4 to IPv6.
    pub four_to_six: super::sessions::Traffic,
    /// Terms in order: rule and term.
    pub rules: Vec<String>,
    /// Pools it uses.
    pub pools: Vec<String>,
    /// The card may carry its sessions.
    pub offloaded: bool,
}

/// Answer of `GET /v1/service-sets/packet-drops`, per card. The first three are Junos' names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct PacketDrops {
    /// Card.
    pub card: String,
    /// Service interfaces.
    pub interface_name: String,
    /// The host could not keep up: exception ring or punt buffer full.
    pub cpulimit_drops: u64,
    /// No memory or table space: fragments, stored SYNs, packets waiting for neighbours.
    pub memlimit_drops: u64,
    /// Session, mapping, subscriber or rate limits.
    pub flowlimit_drops: u64,
    /// TCP segments refused by the state machine.
    pub tcp_drops: u64,
    /// Everything else.
    pub other_drops: u64,
}

/// Body of `POST /v1/nat/drain`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DrainRequest {
    /// Card; none: every card with the pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Pool.
    pub pool: String,
    /// Address.
    pub address: Ipv4Addr,
    /// Stop draining: the address takes new mappings again.
    #[serde(default)]
    pub stop: bool,
}

/// State of one drained address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Drain {
    /// Card.
    pub card: String,
    /// Pool.
    pub pool: String,
    /// Address.
    pub address: Ipv4Addr,
    /// Takes no new mappings.
    pub draining: bool,
    /// Ports still in use.
    pub ports_in_use: u32,
}

/// Body of `POST /v1/test/nat64`: a packet to walk through the rules and tables. Nothing is sent, nothing changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TestPacket {
    /// Card; none: the only one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Unit it arrives on, by name; none: the first that takes the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// `tcp`, `udp` or `icmp` (echo).
    pub protocol: String,
    /// Source address; both addresses of one family.
    pub source: std::net::IpAddr,
    /// Source port (echo: identifier).
    pub source_port: u16,
    /// Destination address.
    pub destination: std::net::IpAddr,
    /// Destination port (echo: ignored).
    #[serde(default)]
    pub destination_port: u16,
    /// TCP flags out of `syn`, `ack`, `fin`, `rst`; none: `syn` when no session is there, else `ack`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub flags: Vec<String>,
    /// Bytes of payload.
    #[serde(default)]
    pub length: u16,
    /// Hop limit or TTL; none: 64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_limit: Option<u8>,
}

/// Answer of `POST /v1/test/nat64`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct TestResult {
    /// Card.
    pub card: String,
    /// What each stage decided, in order.
    pub stages: Vec<Stage>,
    /// `translated`, `dropped`, `answered`, `held`.
    pub verdict: String,
    /// Reason of a drop or answer, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The card would translate it by itself.
    pub offloaded: bool,
    /// What leaves, one line, `203.0.113.1:1024 -> 192.0.2.1:80 on outside`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
}

/// One stage of a walk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stage {
    /// `unit`, `parse`, `rule`, `mapping`, `session`, `translate`, `neighbour`, `card`, ...
    pub stage: String,
    /// What it decided.
    pub decision: String,
}
