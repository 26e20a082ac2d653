//! What the translator is told to do: units, service sets, rule terms, pools, timers, limits.
//!
//! Plain data, checked by [`crate::Nat64::new`] and [`crate::Nat64::reconfigure`]; `nat64-host` makes it from the
//! Junos tree. Indices are those of the card's tables where the card has one (`nat64_layout::tables`).

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

/// The whole configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Config {
    /// Places packets come from and go to; the index is the unit number.
    pub units: Vec<Unit>,
    /// Service sets; the index is the service-set number.
    pub service_sets: Vec<ServiceSet>,
    /// Address pools; terms refer to them by index.
    pub pools: Vec<Pool>,
    /// Session timers.
    pub timers: Timers,
    /// Limits that protect the gateway.
    pub limits: Limits,
    /// Activity counts from the end of the tick of this length that it falls into, so that a translator behind a card
    /// (whose stamps are coarse) and one without agree to the nanosecond on when a session ends. 0 or 1 ns: exact.
    pub activity_tick: Duration,
}

/// A logical interface: port and VLAN tags are the driver's, the translator sees only what matters to IP.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// Name in configuration and logs.
    pub name: String,
    /// Service set that serves the unit, as an index.
    pub service_set: Option<usize>,
    /// IPv6 packets arriving here are translated.
    pub inside: bool,
    /// IPv4 packets arriving here are translated.
    pub outside: bool,
    /// Largest IP packet the unit takes.
    pub mtu: u16,
    /// Source of the ICMPv6 errors we send here; `None`: an address made from the prefix and the pool.
    pub address6: Option<Ipv6Addr>,
    /// Source of the ICMPv4 errors we send here; `None`: the first pool address.
    pub address4: Option<Ipv4Addr>,
}

/// `services service-set NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceSet {
    /// Name.
    pub name: String,
    /// Rule terms in the order they are tried.
    pub terms: Vec<Term>,
    /// Unit that translated IPv4 packets leave by.
    pub outside_unit: usize,
    /// DF and Identification of IPv4 packets we make.
    pub df: DfPolicy,
    /// `no-v6-frag-header`: no packet that comes whole gets a Fragment header; those without DF are treated as those
    /// with it, so the link's MTU decides and Fragmentation Needed is the answer. Fragments keep their header.
    pub no_v6_frag_header: bool,
    /// `ipv6-mtu`: path MTU of the IPv6 network, 1280 to 9192.
    pub ipv6_mtu: u16,
    /// `tos-override`: ToS or traffic class written into every packet, in place of the copy RFC 7915 asks for.
    pub tos_override: Option<u8>,
    /// `udp-zero-checksum`: IPv4 UDP packets without checksum.
    pub udp_zero_checksum: UdpZeroChecksum,
    /// `icmp-source-extension`: an ICMPv4 error that is made from the error of an IPv6 router, and so comes from a pool
    /// address, tells the router's address in an extension (RFC 6791 section 4).
    pub icmp_source_extension: bool,
    /// How far an endpoint-independent mapping reaches.
    pub eim_scope: EimScope,
    /// What happens when two rules map one client to the same server.
    pub on_conflict: OnConflict,
    /// First TCP segment that is no SYN.
    pub tcp_non_syn: TcpNonSyn,
    /// Land-attack check.
    pub land_attack_check: Option<LandAttackCheck>,
    /// `max-sessions-per-subscriber`.
    pub max_sessions_per_subscriber: Option<u32>,
    /// Subscriber prefix length: 128, 64, 56 or 48.
    pub subscriber_length: u8,
    /// `max-flows`: sessions of this set.
    pub max_sessions: Option<u32>,
    /// `max-session-setup-rate`, sessions per second.
    pub max_setup_rate: Option<u32>,
    /// `tcp-mss`: clamp of the MSS option in SYN segments.
    pub tcp_mss: Option<u16>,
    /// Which IPv4 addresses may stand under 64:ff9b::/96 (RFC 6052 section 3.1).
    pub well_known_prefix: WellKnownPrefix,
    /// IPv4-initiated TCP may open sessions through an existing mapping (RFC 6146 section 3.5.2).
    pub outside_tcp_open: bool,
    /// Static BIB entries.
    pub static_bindings: Vec<StaticBinding>,
    /// Log session open and close.
    pub log_sessions: bool,
}

impl Default for ServiceSet {
    fn default() -> Self {
        Self {
            name: String::new(),
            terms: Vec::new(),
            outside_unit: 0,
            df: DfPolicy::Rfc7915,
            no_v6_frag_header: false,
            ipv6_mtu: 1280,
            tos_override: None,
            udp_zero_checksum: UdpZeroChecksum::Calculate,
            icmp_source_extension: false,
            eim_scope: EimScope::RuleTerm,
            on_conflict: OnConflict::Reallocate,
            tcp_non_syn: TcpNonSyn::Drop,
            land_attack_check: None,
            max_sessions_per_subscriber: None,
            subscriber_length: 128,
            max_sessions: None,
            max_setup_rate: None,
            tcp_mss: None,
            well_known_prefix: WellKnownPrefix::Documentation,
            outside_tcp_open: true,
            static_bindings: Vec::new(),
            log_sessions: false,
        }
    }
}

/// IPv4 addresses that may stand under the well-known prefix. Other prefixes take any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WellKnownPrefix {
    /// Global addresses, and those of the three documentation networks (RFC 5737), which stand for global ones: RFC
    /// 6146 section 1.2.2 itself walks 192.0.2.1 through 64:ff9b::/96.
    #[default]
    Documentation,
    /// Global addresses only, the letter of RFC 6052 (`strict-well-known-prefix`).
    Strict,
    /// Any address (`no-strict-well-known-prefix`).
    Any,
}

/// Don't Fragment in IPv4 packets made from unfragmented IPv6 packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DfPolicy {
    /// RFC 7915 section 5.1: clear up to 1,260 bytes of IPv4 packet, set above.
    Rfc7915,
    /// Junos `clear-dont-fragment-bit`: clear when the IPv6 packet is smaller than 1,280 bytes.
    JunosClear,
    /// Junos without the statement (RFC 6145): always set.
    AlwaysSet,
}

impl DfPolicy {
    /// Largest IPv4 total length that leaves with DF clear; 0: none. The card's `df_clear_max`.
    pub const fn clear_max(self) -> u16 {
        match self {
            Self::Rfc7915 => nat64_layout::RFC7915_DF_CLEAR_MAX,
            Self::JunosClear => nat64_layout::RFC7915_DF_CLEAR_MAX - 1,
            Self::AlwaysSet => 0,
        }
    }
}

/// `udp-zero-checksum` (RFC 7915 section 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UdpZeroChecksum {
    /// Compute the checksum IPv6 needs, of fragments after reassembly.
    Calculate,
    /// Drop, as Junos does.
    Drop,
}

/// `eim-scope`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EimScope {
    /// One mapping per client address and port in the whole service set (Junos).
    ServiceSet,
    /// One per rule term, prefix and unit: both sessions of the two-rule case work.
    RuleTerm,
}

/// `on-conflict`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// Refuse the second session, counted `EimConflict` (Junos to the letter).
    Drop,
    /// Give the second session another port.
    Reallocate,
}

/// `tcp-non-syn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpNonSyn {
    /// Drop.
    Drop,
    /// Drop and send RST.
    DropSendRst,
}

/// `land-attack-check`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LandAttackCheck {
    /// Same addresses.
    IpOnly,
    /// Same addresses and ports.
    IpPort,
}

/// A static BIB entry.
#[derive(Clone, Debug, PartialEq)]
pub struct StaticBinding {
    /// Protocol.
    pub protocol: nat64_layout::Protocol,
    /// IPv6 side.
    pub inside: (Ipv6Addr, u16),
    /// IPv4 side.
    pub outside: (Ipv4Addr, u16),
    /// Term whose prefix and filtering apply, as an index.
    pub term: usize,
}

/// `term NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// Rule name.
    pub rule: String,
    /// Term name.
    pub name: String,
    /// `from`.
    pub from: Match,
    /// `then`.
    pub then: Action,
}

/// `from`: empty lists match everything. All given criteria must match.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Match {
    /// `source-address` and `source-prefix-list`.
    pub source: Vec<PrefixMatch>,
    /// `destination-address` and `destination-prefix-list`.
    pub destination: Vec<PrefixMatch>,
    /// `source-address-range`: low, high, except.
    pub source_ranges: Vec<(Ipv6Addr, Ipv6Addr, bool)>,
    /// `destination-address-range`.
    pub destination_ranges: Vec<(Ipv6Addr, Ipv6Addr, bool)>,
    /// `destination-port range`.
    pub destination_ports: Option<(u16, u16)>,
    /// Protocols and destination ports of the named applications; empty: any.
    pub applications: Vec<Application>,
}

/// What one `application` matches.
#[derive(Clone, Debug, PartialEq)]
pub struct Application {
    /// Protocol; `None`: any.
    pub protocol: Option<nat64_layout::Protocol>,
    /// Destination ports.
    pub destination_ports: Option<(u16, u16)>,
    /// Source ports.
    pub source_ports: Option<(u16, u16)>,
    /// `inactivity-timeout`.
    pub inactivity_timeout: Option<Duration>,
    /// `application-protocol`, as Junos names it; `none` when not given. Listings tell it, no packet is treated by it.
    pub application_protocol: &'static str,
}

impl Match {
    /// The application that a packet from and to these ports of the initiating direction is of: the first of those named
    /// that matches. `None`: none matches, or none is named. ICMP has no ports, so it meets no criterion about them.
    #[inline]
    pub fn application(
        &self,
        protocol: nat64_layout::Protocol,
        source_port: u16,
        destination_port: u16,
    ) -> Option<&Application> {
        let in_range = |range: Option<(u16, u16)>, port: u16| {
            range.is_none_or(|(low, high)| protocol != nat64_layout::Protocol::Icmp && (low..=high).contains(&port))
        };
        self.applications.iter().find(|application| {
            application.protocol.is_none_or(|wanted| wanted == protocol)
                && in_range(application.destination_ports, destination_port)
                && in_range(application.source_ports, source_port)
        })
    }
}

/// One prefix of a match list. The longest matching prefix of a list decides; `except` refuses.
#[derive(Clone, Debug, PartialEq)]
pub struct PrefixMatch {
    /// Network address.
    pub address: Ipv6Addr,
    /// Length, 0 to 128.
    pub length: u8,
    /// `except`.
    pub except: bool,
}

/// `then`.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// `no-translation`.
    NoTranslation,
    /// `translated`.
    Translate(Translate),
}

/// `then translated`.
#[derive(Clone, Debug, PartialEq)]
pub struct Translate {
    /// `destination-prefix`: the Pref64 address, bits past the length zero.
    pub pref64: Ipv6Addr,
    /// Its length: 32, 40, 48, 56, 64 or 96.
    pub pref64_length: u8,
    /// `source-pool`, as an index into [`Config::pools`].
    pub pool: usize,
    /// `overload-pool`.
    pub overload_pool: Option<usize>,
    /// `mapping-type endpoint-independent`. RFC 6146 needs it; without it each destination gets its own port.
    pub endpoint_independent_mapping: bool,
    /// Who may send to a mapping.
    pub filtering: Filtering,
    /// `filtering-type endpoint-independent prefix-list`: IPv4 sources let in: network, length, except.
    pub filter_prefixes: Vec<(Ipv4Addr, u8, bool)>,
    /// `eif-flow-limit`: inbound sessions per mapping; `None`: no limit.
    pub eif_flow_limit: Option<u16>,
    /// `mapping-refresh`.
    pub mapping_refresh: Refresh,
    /// `address-pooling paired`.
    pub paired: bool,
    /// `translation-type deterministic-napt64`.
    pub deterministic: bool,
}

/// Filtering behaviour (RFC 4787 section 5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Filtering {
    /// Anyone may send to a mapping.
    EndpointIndependent,
    /// Only addresses the client has sent to.
    AddressDependent,
    /// Only address and port the client has sent to.
    AddressAndPortDependent,
}

/// Which direction keeps a mapping alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refresh {
    /// Packets from the server only.
    Inbound,
    /// Packets from the client only.
    Outbound,
    /// Both.
    Both,
}

/// `pool NAME`.
#[derive(Clone, Debug, PartialEq)]
pub struct Pool {
    /// Name.
    pub name: String,
    /// Usable addresses, first to last of each range, in order (network and broadcast already left out).
    pub ranges: Vec<(Ipv4Addr, Ipv4Addr)>,
    /// First and last port.
    pub ports: (u16, u16),
    /// `random-allocation` in place of sequential.
    pub random: bool,
    /// `address-allocation round-robin`.
    pub round_robin: bool,
    /// `preserve-parity`.
    pub preserve_parity: bool,
    /// `preserve-range`: 0..1023 stay there, the rest stay out.
    pub preserve_range: bool,
    /// `limit-ports-per-address`.
    pub limit_ports_per_address: Option<u32>,
    /// `secured-port-block-allocation`.
    pub blocks: Option<PortBlocks>,
    /// `deterministic-port-block-allocation block-size`; 0: as large as fits.
    pub deterministic_block: Option<DeterministicBlocks>,
    /// `ei-mapping-timeout` / `mapping-timeout`: how long an unused mapping stays after its last session; `None`: it
    /// goes with its last session (RFC 6146).
    pub mapping_timeout: Option<Duration>,
    /// Time a freed port rests before it is used again (RFC 6888 REQ-8); zero: none.
    pub quarantine: Duration,
    /// Addresses that get no new mappings.
    pub draining: Vec<Ipv4Addr>,
}

/// `secured-port-block-allocation`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortBlocks {
    /// Ports per block.
    pub block_size: u16,
    /// Blocks per subscriber.
    pub max_blocks_per_address: u16,
    /// How long the active block is used for new ports; zero: for ever.
    pub active_block_timeout: Duration,
}

/// `deterministic-port-block-allocation` (RFC 7422).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeterministicBlocks {
    /// Ports per subscriber; 0: as many as the pool gives.
    pub block_size: u16,
    /// Lowest and highest subscriber prefix are numbered too.
    pub include_boundary_addresses: bool,
}

/// Session lifetimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timers {
    /// UDP_DEFAULT.
    pub udp: Duration,
    /// TCP_EST.
    pub tcp_established: Duration,
    /// TCP_TRANS.
    pub tcp_transitory: Duration,
    /// TCP_INCOMING_SYN.
    pub tcp_incoming_syn: Duration,
    /// ICMP_DEFAULT.
    pub icmp: Duration,
    /// FRAGMENT_MIN and more: how long fragments wait for the others.
    pub fragment: Duration,
    /// Probes sent on an idle established TCP session before it is removed.
    pub tcp_probes: u8,
}

impl Timers {
    /// RFC 6146 section 4.
    pub const RFC: Self = Self {
        udp: Duration::from_secs(300),
        tcp_established: Duration::from_secs(7440),
        tcp_transitory: Duration::from_secs(240),
        tcp_incoming_syn: Duration::from_secs(6),
        icmp: Duration::from_secs(60),
        fragment: Duration::from_secs(2),
        tcp_probes: 1,
    };

    /// Junos defaults (reference, section 6).
    pub const JUNOS: Self = Self {
        udp: Duration::from_secs(30),
        tcp_established: Duration::from_secs(30),
        tcp_transitory: Duration::from_secs(30),
        tcp_incoming_syn: Duration::from_secs(6),
        icmp: Duration::from_secs(30),
        fragment: Duration::from_secs(4),
        tcp_probes: 4,
    };
}

impl Default for Timers {
    fn default() -> Self {
        Self::RFC
    }
}

/// Limits over all service sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sessions.
    pub sessions: u32,
    /// BIB entries.
    pub bibs: u32,
    /// Stored IPv4-side SYNs.
    pub stored_syns: u32,
    /// Half-open TCP sessions; `None`: no limit.
    pub embryonic: Option<u32>,
    /// Bytes of fragments held in all.
    pub fragment_bytes: usize,
    /// Fragments of one packet.
    pub fragments_per_packet: u16,
    /// Packets in pieces per source.
    pub fragmented_packets_per_source: u16,
    /// ICMP errors sent per second, with a burst of the same size.
    pub icmp_errors_per_second: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sessions: 1 << 20,
            bibs: 1 << 20,
            stored_syns: 1024,
            embryonic: None,
            fragment_bytes: 4 << 20,
            fragments_per_packet: 64,
            fragmented_packets_per_source: 16,
            icmp_errors_per_second: 1000,
        }
    }
}
