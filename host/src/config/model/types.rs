//! What a configuration means, for the daemon: the gateway of each card, and everything around it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use nat64_driver::GatewayConfig;
use nat64_layout::{tables, Geometry, PORTS};

/// A checked configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Model {
    /// The cards, in the order of the configuration; none only for an empty configuration, which translates nothing.
    pub cards: Vec<Card>,
    /// `nat64-nic api`.
    pub api: Api,
    /// `nat64-nic metrics listen`: where metrics are served; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
}

/// One card and its gateway.
#[derive(Clone, Debug, PartialEq)]
pub struct Card {
    /// `nat64-nic card NAME`; `card0` when the configuration names none.
    pub name: String,
    /// Where it is; `None`: the daemon's own option says.
    pub device: Option<Device>,
    /// What each port is, for cards in software.
    pub links: [Option<Link>; PORTS],
    /// Threads that translate, for cards in software; `None`: the daemon's own option says.
    pub workers: Option<u32>,
    /// What the driver runs on. Units, service sets and pools have the indices of the lists below and of its own.
    pub gateway: GatewayConfig,
    /// More of each unit; the index is that of `gateway.units`.
    pub units: Vec<UnitExtra>,
    /// More of each service set; the index is that of `gateway.xlate.service_sets`.
    pub service_sets: Vec<ServiceSetExtra>,
}

/// Most threads of a card in software.
pub const MAX_WORKERS: u32 = 64;

/// What a port of a card in software is made of.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Link {
    /// An interface there is (veth, physical), by a packet socket.
    Interface(String),
    /// A TAP device of this name, made for it.
    Tap(String),
}

impl Link {
    /// Name of the interface or device.
    pub fn name(&self) -> &str {
        match self {
            Self::Interface(name) | Self::Tap(name) => name,
        }
    }
}

impl std::fmt::Display for Link {
    /// As `nat64d --card soft:INSIDE,OUTSIDE` takes it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interface(name) => f.write_str(name),
            Self::Tap(name) => write!(f, "tap:{name}"),
        }
    }
}

/// Where a card is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Device {
    /// A PCI function bound to vfio-pci, such as `0000:03:00.0`.
    Vfio(String),
    /// The socket of a vfio-user server.
    VfioUser(PathBuf),
    /// The simulated card, in the daemon's own process.
    Sim,
    /// No card: the translator in software, on network interfaces of the host.
    Soft,
}

/// What the driver need not know of a unit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnitExtra {
    /// `router-advertisement`.
    pub router_advertisement: Option<RouterAdvertisement>,
}

/// Router advertisements sent on an inside unit (RFC 4861 section 6.2.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouterAdvertisement {
    /// Longest time between two.
    pub max_interval: Duration,
    /// Shortest time between two.
    pub min_interval: Duration,
    /// How long we are a default router; zero: we are none.
    pub default_lifetime: Duration,
    /// M flag: addresses by DHCPv6.
    pub managed: bool,
    /// O flag: other settings by DHCPv6.
    pub other: bool,
    /// Prefixes on the link: network, length.
    pub prefixes: Vec<AdvertisedPrefix>,
    /// PREF64 options (RFC 8781).
    pub nat_prefixes: Vec<NatPrefix>,
}

/// A prefix information option (RFC 4861 section 4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AdvertisedPrefix {
    /// Network address.
    pub address: Ipv6Addr,
    /// Length.
    pub length: u8,
    /// A flag: hosts make addresses of it.
    pub autonomous: bool,
    /// L flag: its addresses are on the link.
    pub on_link: bool,
    /// How long it is valid.
    pub valid_lifetime: Duration,
    /// How long addresses of it are preferred.
    pub preferred_lifetime: Duration,
}

/// A PREF64 option (RFC 8781).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatPrefix {
    /// Network address.
    pub address: Ipv6Addr,
    /// Length: 32, 40, 48, 56, 64 or 96.
    pub length: u8,
    /// How long it is valid, a multiple of 8 s up to 65,528 s.
    pub lifetime: Duration,
}

/// What the driver need not know of a service set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ServiceSetExtra {
    /// Name for the show commands: the services interface, or the first of both.
    pub interface: Option<String>,
    /// `syslog`.
    pub syslog: Syslog,
}

/// `services service-set NAME syslog`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Syslog {
    /// Hosts that get messages.
    pub hosts: Vec<SyslogHost>,
    /// `message-rate-limit`: messages a second over all hosts; `None`: no limit.
    pub message_rate_limit: Option<u32>,
    /// `enable-descriptive-session-syslog`: session messages have counts.
    pub descriptive: bool,
}

/// A syslog host.
#[derive(Clone, Debug, PartialEq)]
pub struct SyslogHost {
    /// `local`, an address, or a name that is looked up.
    pub host: SyslogTarget,
    /// UDP port.
    pub port: u16,
    /// Source address.
    pub source: Option<Ipv4Addr>,
    /// Least severe message that is sent (RFC 5424 section 6.2.1: 0 emergency to 7 debug); `None`: none.
    pub level: Option<u8>,
    /// Facility number (RFC 5424 section 6.2.1).
    pub facility: u8,
    /// Text before each message.
    pub log_prefix: Option<String>,
    /// Messages that are sent.
    pub classes: SyslogClasses,
}

/// Where a syslog host is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SyslogTarget {
    /// The host's own log (`host local`).
    Local,
    /// An address.
    Address(IpAddr),
    /// A name to look up.
    Name(String),
}

/// Kinds of messages a host gets. Without a `class` statement it gets all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyslogClasses {
    /// `session-logs open`: JSERVICES_SESSION_OPEN.
    pub session_open: bool,
    /// `session-logs close`: JSERVICES_SESSION_CLOSE.
    pub session_close: bool,
    /// `nat-logs`: JSERVICES_NAT_RULE_MATCH and port blocks.
    pub nat: bool,
    /// `packet-logs`: dropped packets.
    pub packet: bool,
}

impl SyslogClasses {
    /// Every kind.
    pub const ALL: Self = Self {
        session_open: true,
        session_close: true,
        nat: true,
        packet: true,
    };
}

/// `nat64-nic api`: who may do what on the control socket. Root is always a super-user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// Users and groups by class, in the order of the configuration. The highest class of a user counts.
    pub members: Vec<ApiMember>,
}

/// One user or group and its class.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiMember {
    /// What they may do.
    pub class: ApiClass,
    /// Who.
    pub who: ApiWho,
}

/// Who a class is given to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ApiWho {
    /// A user of the host.
    User(String),
    /// All members of a group of the host.
    Group(String),
}

/// What a user of the API may do; each may what the one before may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ApiClass {
    /// Look.
    ReadOnly,
    /// Clear and test, too.
    Operator,
    /// Configure, too.
    SuperUser,
}

/// How much a card holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CardLimits {
    /// Units.
    pub units: usize,
    /// Service sets.
    pub service_sets: usize,
    /// Translation prefixes, each service set's counted.
    pub prefixes: usize,
    /// Rule terms as the card has them: one for each source prefix of a term.
    pub terms: usize,
    /// Ranges of pool addresses, each service set's counted.
    pub pool_ranges: usize,
    /// Next hops.
    pub next_hops: usize,
    /// Sessions the card's own table holds; more are translated by the host.
    pub card_sessions: usize,
    /// Sessions the host keeps at most.
    pub sessions: u32,
    /// The tables are a card's: what it cannot express is widened, and what does not fit is refused.
    pub hardware: bool,
}

impl CardLimits {
    /// A card of this version of the layout.
    pub const fn card(geometry: Geometry) -> Self {
        Self {
            units: tables::UNITS,
            service_sets: tables::SERVICE_SETS,
            prefixes: tables::PREF64S,
            terms: tables::TERMS,
            pool_ranges: tables::POOLS,
            next_hops: tables::NEXT_HOPS,
            card_sessions: geometry.records(),
            sessions: u32::MAX,
            hardware: true,
        }
    }

    /// No card: what the translator itself can number.
    pub const SOFT: Self = Self {
        units: u16::MAX as usize,
        service_sets: u16::MAX as usize,
        prefixes: usize::MAX,
        terms: u16::MAX as usize,
        pool_ranges: usize::MAX,
        next_hops: usize::MAX,
        card_sessions: 0,
        sessions: u32::MAX,
        hardware: false,
    };
}
