//! Streams: `monitor drops`, `monitor sessions`.

use serde::{Deserialize, Serialize};

use super::sessions::Traffic;

/// One line of a stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event {
    /// A session was made.
    SessionOpen(SessionEvent),
    /// A session ended.
    SessionClose(SessionEvent),
    /// A port block was given to a subscriber.
    PortBlockAlloc(PortBlockEvent),
    /// A port block was given back.
    PortBlockRelease(PortBlockEvent),
    /// Counters that moved since the last line of the kind.
    Drops(DropsEvent),
    /// The reader was too slow (or the daemon had too many at once): so many events are not shown.
    Lost(LostEvent),
    /// Nothing happened for a while; the daemon is alive.
    Idle(IdleEvent),
}

/// A session that came or went.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SessionEvent {
    /// When, Unix time in milliseconds.
    pub time: u64,
    /// Card.
    pub card: String,
    /// Service set.
    pub service_set_name: String,
    /// Number of the session.
    pub session_id: u64,
    /// `TCP`, `UDP`, `ICMPV6`.
    pub protocol: String,
    /// Unit the client is behind.
    pub inside_interface: String,
    /// Client, `2001:db8::1`.
    pub client_address: std::net::Ipv6Addr,
    /// Client's port.
    pub client_port: u16,
    /// Server as the client sees it.
    pub destination_address: std::net::Ipv6Addr,
    /// Pool address.
    pub nat_address: std::net::Ipv4Addr,
    /// Pool port.
    pub nat_port: u16,
    /// Server.
    pub server_address: std::net::Ipv4Addr,
    /// Server's port.
    pub server_port: u16,
    /// Client to server; zero for opens.
    pub six_to_four: Traffic,
    /// Server to client; zero for opens.
    pub four_to_six: Traffic,
}

/// A port block that came or went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortBlockEvent {
    /// When, Unix time in milliseconds.
    pub time: u64,
    /// Card.
    pub card: String,
    /// Subscriber address or prefix.
    pub subscriber: std::net::Ipv6Addr,
    /// Pool address.
    pub address: std::net::Ipv4Addr,
    /// First port.
    pub low: u16,
    /// Last port.
    pub high: u16,
}

/// Drops since the last line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DropsEvent {
    /// When, Unix time in milliseconds.
    pub time: u64,
    /// Card.
    pub card: String,
    /// Reasons that moved.
    pub reasons: Vec<ReasonMoved>,
}

/// A reason that moved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReasonMoved {
    /// Name of the reason.
    pub reason: String,
    /// Packets since the last line.
    pub packets: u64,
    /// Packets in all.
    pub count: u64,
    /// Packets per second.
    pub rate: f64,
    /// One line for people.
    pub explanation: String,
}

/// Events that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LostEvent {
    /// How many.
    pub events: u64,
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IdleEvent {
    /// When, Unix time in milliseconds.
    pub time: u64,
}

/// Query of `GET /v1/monitor/sessions` (with [`super::sessions::SessionFilter`]) and `/drops`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct MonitorQuery {
    /// Card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Milliseconds between lines of `drops`, 100 to 60000; none: 1000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<u64>,
}
