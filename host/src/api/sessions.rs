//! `show services sessions`, `show services stateful-firewall flows`, `clear services sessions`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Traffic {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// Selects sessions: query of `GET /v1/sessions` and `/count`, body of `POST /v1/sessions/clear`. All that is given
/// must match. Evaluated in the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SessionFilter {
    /// Card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub card: Option<String>,
    /// Service set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_set: Option<String>,
    /// Service interface (`ms-0/1/0`) or the unit the client is behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Prefix or address the source of either direction is in: client (IPv6) or server (IPv4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_prefix: Option<String>,
    /// Prefix or address the destination of either direction is in: server as the client sees it (IPv6) or pool address
    /// (IPv4).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_prefix: Option<String>,
    /// Source port of the initiating direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_port: Option<u16>,
    /// Destination port of the initiating direction.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// `tcp`, `udp`, `icmp`, `icmp6` or a protocol number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// `application-protocol` of the application that the session's term matched it by; `icmpv6` for ICMP, `none` for what is
    /// of no application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub application_protocol: Option<String>,
    /// Pool the mapping is from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pool: Option<String>,
    /// Only sessions that are (not) in the card.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offload: Option<bool>,
}

/// A session.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Session {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Number of the session, unique while it lives.
    pub session_id: u64,
    /// `TCP`, `UDP`, `ICMPV6`.
    pub protocol: String,
    /// `application-protocol` of the application its term matched it by: `http`, `icmpv6`, `none`, ...
    pub application_protocol: String,
    /// Rule and term that made it.
    pub rule: String,
    /// Term.
    pub term: String,
    /// Pool of its mapping.
    pub pool_name: String,
    /// Unit the client is behind.
    pub inside_interface: String,
    /// Client.
    pub client_address: Ipv6Addr,
    /// Client's port (echo: identifier).
    pub client_port: u16,
    /// Server as the client sees it.
    pub destination_address: Ipv6Addr,
    /// Pool address.
    pub nat_address: Ipv4Addr,
    /// Pool port.
    pub nat_port: u16,
    /// Server.
    pub server_address: Ipv4Addr,
    /// Server's port; 0 for ICMP.
    pub server_port: u16,
    /// RFC 6146 state: `OPEN`, `ESTABLISHED`, ...
    pub state: String,
    /// Opened by an IPv4 packet.
    pub inbound: bool,
    /// Both ends are clients of ours.
    pub hairpin: bool,
    /// In the card now.
    pub offload: bool,
    /// Seconds until it ends if no packet comes.
    pub timeout: u64,
    /// Client to server, host and card together. The card's share is read for `extensive` only.
    pub six_to_four: Traffic,
    /// Server to client.
    pub four_to_six: Traffic,
}

/// Who sent the first packet of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FlowRole {
    /// The flow of the first packet.
    Initiator,
    /// The flow of its answers.
    Responder,
}

/// Where the packets of a flow enter a service set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FlowDirection {
    /// IPv6, from the client.
    #[serde(rename = "input")]
    Input,
    /// IPv4, from the server.
    #[serde(rename = "output")]
    Output,
}

/// A direction of a session, its packets as they arrive and as they leave. Ports of an echo are its identifier on either
/// side.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Flow {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Session whose flow it is.
    pub session_id: u64,
    /// `TCP`, `UDP`, `ICMPV6`, `ICMP`.
    pub protocol: String,
    /// As [`Session::application_protocol`].
    pub application_protocol: String,
    /// Source on arrival.
    pub source_address: IpAddr,
    /// Source port on arrival.
    pub source_port: u16,
    /// Destination on arrival.
    pub destination_address: IpAddr,
    /// Destination port on arrival.
    pub destination_port: u16,
    /// Source after translation.
    pub nat_source_address: IpAddr,
    /// Source port after translation.
    pub nat_source_port: u16,
    /// Destination after translation.
    pub nat_destination_address: IpAddr,
    /// Destination port after translation.
    pub nat_destination_port: u16,
    /// What is done with its packets: `Forward`.
    pub flow_state: String,
    /// Side the packets come from.
    pub direction: FlowDirection,
    /// Role.
    pub role: FlowRole,
    /// RFC 6146 state of the session.
    pub session_state: String,
    /// Packets and bytes; the card's share is read for `extensive` only.
    pub traffic: Traffic,
    /// Seconds until the session ends if no packet comes.
    pub timeout: u64,
}

impl Flow {
    /// Both flows of a session, the initiator's first.
    pub fn of(session: &Session) -> [Self; 2] {
        let icmp = session.protocol.starts_with("ICMP");
        // An echo has its identifier where the server's port would stand.
        let (far6, far4) = if icmp {
            (session.client_port, session.nat_port)
        } else {
            (session.server_port, session.server_port)
        };
        let client = (IpAddr::from(session.client_address), session.client_port);
        let server6 = (IpAddr::from(session.destination_address), far6);
        let public = (IpAddr::from(session.nat_address), session.nat_port);
        let server = (IpAddr::from(session.server_address), far4);
        let flow = |input: bool, role| {
            let ([source, destination], [nat_source, nat_destination]) = if input {
                ([client, server6], [public, server])
            } else {
                ([server, public], [server6, client])
            };
            Self {
                card: session.card.clone(),
                interface_name: session.interface_name.clone(),
                service_set_name: session.service_set_name.clone(),
                session_id: session.session_id,
                protocol: if icmp && !input {
                    "ICMP".into()
                } else {
                    session.protocol.clone()
                },
                application_protocol: session.application_protocol.clone(),
                source_address: source.0,
                source_port: source.1,
                destination_address: destination.0,
                destination_port: destination.1,
                nat_source_address: nat_source.0,
                nat_source_port: nat_source.1,
                nat_destination_address: nat_destination.0,
                nat_destination_port: nat_destination.1,
                flow_state: "Forward".into(),
                direction: if input {
                    FlowDirection::Input
                } else {
                    FlowDirection::Output
                },
                role,
                session_state: session.state.clone(),
                traffic: if input {
                    session.six_to_four
                } else {
                    session.four_to_six
                },
                timeout: session.timeout,
            }
        };
        [
            flow(!session.inbound, FlowRole::Initiator),
            flow(session.inbound, FlowRole::Responder),
        ]
    }
}

/// Flows of a service set: two for each session of [`SessionCount`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct FlowCount {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Flows of the sessions that match.
    pub flow_count: u64,
}

impl From<SessionCount> for FlowCount {
    fn from(count: SessionCount) -> Self {
        Self {
            card: count.card,
            interface_name: count.interface_name,
            service_set_name: count.service_set_name,
            flow_count: 2 * count.sess_count,
        }
    }
}

/// What of sessions is wanted beside the filter (query parameters of `GET /v1/sessions`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct SessionDetail {
    /// Read packets, bytes and last activity of each session from the card.
    pub extensive: bool,
}

/// Answer of `GET /v1/sessions/count`, per card and service set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SessionCount {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Sessions that match.
    pub sess_count: u64,
}

/// Answer of `GET /v1/sessions/utilization`, per card.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Utilization {
    /// Card.
    pub card: String,
    /// Service interfaces.
    pub interface_name: String,
    /// Sessions now.
    pub session_count: u64,
    /// Sessions allowed.
    pub session_limit: u64,
    /// Percent of the limit.
    pub session_percent: f64,
    /// Sessions in the card.
    pub card_sessions: u64,
    /// Sessions the card holds.
    pub card_capacity: u64,
    /// Sessions opened per second, over the last second.
    pub setup_rate: f64,
    /// Sessions closed per second, over the last second.
    pub teardown_rate: f64,
    /// Packets dropped per second, over the last second.
    pub drop_rate: f64,
    /// Percent of its time the slow path was busy, over the last second.
    pub cpu_load: f64,
    /// Resident memory of the daemon, bytes.
    pub memory_bytes: u64,
}

/// Answer of `POST /v1/sessions/clear`, per card and service set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct SessionsCleared {
    /// Card.
    pub card: String,
    /// Service interface.
    pub interface_name: String,
    /// Service set.
    pub service_set_name: String,
    /// Sessions that were removed.
    pub sess_marked_for_deletion: u64,
}
