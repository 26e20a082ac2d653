//! Example answers, one for each route.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nat64_host::api::card::{Card, CardKind, CardState, Drop, Field, Hardware, Neighbour, Port, Register, Table};
use nat64_host::api::configuration::{AppliedToCard, Committed};
use nat64_host::api::monitor::{DropsEvent, Event, PortBlockEvent, ReasonMoved, SessionEvent};
use nat64_host::api::nat::{
    Counter, DeterministicBlock, Drain, Mapping, MappingKind, MappingSummary, MappingsCleared, NatStatistics,
    PacketDrops, Pool, ServiceSet, Stage, StatisticsCleared, TestResult,
};
use nat64_host::api::sessions::{Session, SessionCount, SessionsCleared, Traffic, Utilization};
use nat64_host::api::system::{LogLine, Name, Names, Severity, System, Whoami};
use nat64_host::api::{Class, ErrorBody, ErrorCode, Page};
use nat64_layout::{regs, Reason, ABI_HASH};
use serde::Serialize;

use super::{json_of, parameter, TIME};

const CARD: &str = "card0";
const SET: &str = "sset-nat64";
const POOL: &str = "src-pool-nat64";
const INTERFACE: &str = "ms-0/1/0";
const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const CLIENT_2: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2);
const SERVER_6: Ipv6Addr = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x201);
const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const PUBLIC: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 1);

const fn traffic(packets: u64, bytes: u64) -> Traffic {
    Traffic { packets, bytes }
}

/// Answer to a commit that ended two sessions.
pub fn committed() -> Committed {
    Committed {
        commit: Some(3),
        cards: vec![AppliedToCard {
            card: CARD.into(),
            sessions_kept: 2,
            sessions_removed: 0,
            mappings_removed: 0,
        }],
        ..Committed::default()
    }
}

fn pool() -> Pool {
    Pool {
        card: CARD.into(),
        interface_name: INTERFACE.into(),
        service_set_name: SET.into(),
        pool_name: POOL.into(),
        translation_type: "NAPT-64".into(),
        pool_address_range: "203.0.113.1-203.0.113.254".into(),
        pool_avail_addresses: 254,
        pool_addresses_in_use: 1,
        pool_port_range: "1024-65535".into(),
        pool_ports_in_use: 2,
        ports_in_use_tcp: 1,
        ports_in_use_udp: 0,
        ports_in_use_icmp: 1,
        ports_quarantined: 0,
        pool_max_ports_in_use: 12,
        pool_out_of_port_errors: 0,
        pool_app_exceed_port_limit_errors: 0,
        pool_users: 2,
        port_allocation: "sequential".into(),
        ..Pool::default()
    }
}

fn mapping() -> Mapping {
    Mapping {
        card: CARD.into(),
        interface_name: INTERFACE.into(),
        service_set_name: SET.into(),
        pool_name: POOL.into(),
        kind: MappingKind::EndpointIndependent,
        protocol: Some("TCP".into()),
        private_address: CLIENT,
        private_port: Some(40_000),
        public_address: PUBLIC,
        public_port: Some(1024),
        destination: None,
        rule: "stateful-nat64".into(),
        term: "t1".into(),
        is_static: false,
        ports_in_use: None,
        session_count: 1,
        inbound_count: 0,
        timeout: None,
    }
}

fn mappings() -> Vec<Mapping> {
    vec![
        mapping(),
        Mapping {
            protocol: Some("ICMPV6".into()),
            private_address: CLIENT_2,
            private_port: Some(7),
            public_port: Some(1025),
            session_count: 0,
            timeout: Some(256),
            ..mapping()
        },
    ]
}

fn pair() -> Mapping {
    Mapping {
        kind: MappingKind::AddressPoolingPaired,
        protocol: None,
        private_port: None,
        public_port: None,
        ports_in_use: Some(1),
        ..mapping()
    }
}

fn session() -> Session {
    Session {
        card: CARD.into(),
        interface_name: INTERFACE.into(),
        service_set_name: SET.into(),
        session_id: 4_294_967_296,
        protocol: "TCP".into(),
        application_protocol: "none".into(),
        rule: "stateful-nat64".into(),
        term: "t1".into(),
        pool_name: POOL.into(),
        inside_interface: "inside".into(),
        client_address: CLIENT,
        client_port: 40_000,
        destination_address: SERVER_6,
        nat_address: PUBLIC,
        nat_port: 1024,
        server_address: SERVER,
        server_port: 80,
        state: "ESTABLISHED".into(),
        inbound: false,
        hairpin: false,
        offload: true,
        timeout: 7432,
        six_to_four: traffic(9, 1026),
        four_to_six: traffic(12, 14_280),
    }
}

fn sessions() -> Vec<Session> {
    vec![
        session(),
        Session {
            session_id: 4_294_967_297,
            protocol: "ICMPV6".into(),
            application_protocol: "icmpv6".into(),
            client_address: CLIENT_2,
            client_port: 7,
            nat_port: 1025,
            server_port: 0,
            state: "OPEN".into(),
            offload: false,
            timeout: 48,
            six_to_four: traffic(1, 104),
            four_to_six: traffic(1, 84),
            ..session()
        },
    ]
}

fn card() -> Card {
    Card {
        name: CARD.into(),
        kind: CardKind::Sim,
        location: "sim:rtl-compiled".into(),
        state: CardState::Online,
        fault: None,
        taken: "adopted".into(),
        hardware: Some(Hardware {
            identity: "0x4e363400".into(),
            abi_hash: "0x12345678".into(),
            bitstream: None,
            bus_width: 64,
            latency: 64,
            records: 2048,
            tags: 8192,
            stash: 16,
            time: 93_784_000_000_000,
            temperature: None,
        }),
        driver_abi_hash: "0x12345678".into(),
        uptime: 93_784,
        sessions: 2,
        mappings: 2,
        sessions_deferred: 0,
        translated_by_card: 18,
        translated_by_host: 5,
        hardware_share: 78.3,
        ports: vec![
            Port {
                port: 0,
                mac: "02:00:00:00:00:01".into(),
                link_up: Some(true),
                packets_in: 12,
                bytes_in: 1542,
                packets_out: 15,
                bytes_out: 14_982,
                ..Port::default()
            },
            Port {
                port: 1,
                mac: "02:00:00:00:00:02".into(),
                link_up: Some(true),
                packets_in: 14,
                bytes_in: 14_534,
                packets_out: 11,
                bytes_out: 1310,
                ..Port::default()
            },
        ],
        tables: vec![
            Table {
                table: "sessions".into(),
                used: 1,
                capacity: 2048,
            },
            Table {
                table: "tags".into(),
                used: 2,
                capacity: 8192,
            },
            Table {
                table: "stash".into(),
                used: 0,
                capacity: 16,
            },
        ],
        workers: None,
    }
}

fn drop_of(reason: Reason, by: &str, count: u64, rate: f64) -> Drop {
    Drop {
        card: CARD.into(),
        reason: reason.name().into(),
        code: reason as u8,
        kind: format!("{:?}", reason.kind()).to_lowercase(),
        by: by.into(),
        count,
        rate,
        explanation: reason.explanation().into(),
    }
}

fn registers() -> Vec<Register> {
    regs::REGISTERS
        .iter()
        .take(2)
        .map(|register| Register {
            name: register.name.into(),
            offset: register.offset,
            value: Some(register.reset),
            access: format!("{:?}", register.access).to_lowercase(),
            doc: register.doc.trim().into(),
            fields: register
                .fields
                .iter()
                .map(|field| Field {
                    name: field.name.into(),
                    msb: field.msb,
                    lsb: field.lsb,
                    value: Some((register.reset >> field.lsb) & (u32::MAX >> (31 - field.msb + field.lsb))),
                    doc: field.doc.trim().into(),
                })
                .collect(),
        })
        .collect()
}

fn neighbour(interface: &str, address: IpAddr, mac: Option<&str>, state: &str) -> Neighbour {
    Neighbour {
        card: CARD.into(),
        interface: interface.into(),
        address,
        mac: mac.map(str::to_string),
        state: state.into(),
        sessions: u32::from(mac.is_some()),
        waiting: u32::from(mac.is_none()),
        expires: mac.map(|_| 1180),
    }
}

fn session_event() -> SessionEvent {
    let session = session();
    SessionEvent {
        time: TIME * 1000 + 123,
        card: session.card,
        service_set_name: session.service_set_name,
        session_id: session.session_id,
        protocol: session.protocol,
        inside_interface: session.inside_interface,
        client_address: session.client_address,
        client_port: session.client_port,
        destination_address: session.destination_address,
        nat_address: session.nat_address,
        nat_port: session.nat_port,
        server_address: session.server_address,
        server_port: session.server_port,
        six_to_four: session.six_to_four,
        four_to_six: session.four_to_six,
    }
}

fn stream(events: &[Event]) -> Result<String, ErrorBody> {
    let mut out = String::new();
    for event in events {
        out += &json_of(event)?;
        out.push('\n');
    }
    Ok(out)
}

/// A page of a listing that comes in pages of one entry, so that tests see more than one.
fn page<T: Serialize + Clone>(query: &str, all: &[T]) -> Result<String, ErrorBody> {
    let at: usize = parameter(query, "cursor").and_then(|at| at.parse().ok()).unwrap_or(0);
    let items: Vec<T> = all.iter().skip(at).take(1).cloned().collect();
    json_of(&Page {
        items,
        cursor: (at + 1 < all.len()).then(|| (at + 1).to_string()),
    })
}

fn names(kind: &str) -> Names {
    let all: &[(&str, &str)] = match kind {
        "card" => &[(CARD, "sim:rtl-compiled")],
        "pool" => &[(POOL, "203.0.113.1-203.0.113.254")],
        "service-set" => &[(SET, INTERFACE)],
        "interface" => &[
            ("inside", "unit of card0"),
            (INTERFACE, "services interface"),
            ("outside", "unit of card0"),
        ],
        "rule" => &[("stateful-nat64", "service set sset-nat64")],
        "draining" => &[("203.0.113.7", "pool src-pool-nat64, 3 ports in use")],
        _ => &[],
    };
    Names {
        names: all
            .iter()
            .map(|(name, help)| Name {
                name: (*name).into(),
                help: (*help).into(),
            })
            .collect(),
    }
}

/// The answer of a route.
pub fn answer(path: &str, query: &str, body: &str) -> Result<String, ErrorBody> {
    match path {
        "/v1/whoami" => json_of(&Whoami {
            user: "admin".into(),
            uid: 1000,
            class: Class::SuperUser,
        }),
        "/v1/system" => json_of(&System {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: 4711,
            host_name: "gateway".into(),
            started: TIME - 93_784,
            uptime: 93_784,
            abi_hash: format!("{ABI_HASH:#010x}"),
            commit: Some(2),
            cards: vec![CARD.into()],
            alarms: vec!["rollback 7 is damaged: its checksum is wrong".into()],
        }),
        "/v1/names" => json_of(&names(&parameter(query, "kind").unwrap_or_default())),
        "/v1/log" => page(
            query,
            &[
                LogLine {
                    time: TIME * 1000,
                    severity: Severity::Info,
                    target: "cards".into(),
                    message: "card adopted, its sessions live on".into(),
                    fields: [("card".to_string(), CARD.into()), ("sessions".to_string(), 2.into())]
                        .into_iter()
                        .collect(),
                },
                LogLine {
                    time: TIME * 1000 + 2000,
                    severity: Severity::Warning,
                    target: "store".into(),
                    message: "rollback 7 is damaged".into(),
                    fields: serde_json::Map::new(),
                },
            ],
        ),
        "/v1/support" => Ok("nat64d 0.1.0 on gateway\n== cards\ncard0 sim:rtl-compiled online\n".into()),
        "/v1/cards" => json_of(&[card()]),
        "/v1/drops" => {
            let mut drops = vec![
                drop_of(Reason::NoRule, "host", 17, 0.5),
                drop_of(Reason::Truncated, "card", 2, 0.0),
            ];
            if parameter(query, "punts").as_deref() == Some("true") {
                drops.push(drop_of(Reason::NoSession, "card", 2, 0.0));
            }
            json_of(&drops)
        }
        "/v1/neighbours" => page(
            query,
            &[
                neighbour("inside", IpAddr::V6(CLIENT), Some("02:aa:00:00:00:01"), "learned"),
                neighbour("outside", IpAddr::V4(Ipv4Addr::new(192, 0, 2, 254)), None, "resolving"),
            ],
        ),
        "/v1/nat/pools" => match parameter(query, "name") {
            Some(name) if name != POOL => Err(ErrorBody::new(ErrorCode::NotFound, format!("there is no pool {name}"))),
            _ => json_of(&[pool()]),
        },
        "/v1/nat/mappings" => match parameter(query, "kind").as_deref() {
            Some("address-pooling-paired") => page(query, &[pair()]),
            _ => page(query, &mappings()),
        },
        "/v1/nat/mappings/summary" => json_of(&[MappingSummary {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            address_mappings: 2,
            endpoint_independent_port_mappings: 2,
            tcp: 1,
            udp: 0,
            icmp: 1,
        }]),
        "/v1/nat/mappings/clear" => json_of(&MappingsCleared {
            mappings_removed: 2,
            sessions_cleared: 2,
        }),
        "/v1/nat/statistics" => json_of(&[NatStatistics {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            counters: [
                ("nat-total-pkts-translated", "Total packets translated", 11),
                ("nat-total-pkts-restored", "Total packets restored", 12),
                ("nat64-mtu-exceed", "NAT64 - MTU exceeded", 0),
                ("nat64-ttl-exceed", "NAT64 - TTL exceeded", 1),
            ]
            .iter()
            .map(|(name, text, value)| Counter {
                name: (*name).into(),
                text: (*text).into(),
                value: *value,
            })
            .collect(),
            since: 93_784,
        }]),
        "/v1/nat/statistics/clear" => json_of(&StatisticsCleared {
            cards: vec![CARD.into()],
        }),
        "/v1/nat/deterministic" => json_of(&[DeterministicBlock {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            service_set_name: SET.into(),
            pool_name: "det-pool".into(),
            internal_host: CLIENT,
            internal_length: 128,
            nat_address: Ipv4Addr::new(203, 0, 113, 9),
            nat_port_start: 1536,
            nat_port_end: 2047,
        }]),
        "/v1/nat/drain" => {
            let stop = body.contains("\"stop\":true");
            json_of(&[Drain {
                card: CARD.into(),
                pool: POOL.into(),
                address: Ipv4Addr::new(203, 0, 113, 7),
                draining: !stop,
                ports_in_use: 3,
            }])
        }
        "/v1/sessions" => page(query, &sessions()),
        "/v1/sessions/count" => json_of(&[SessionCount {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            service_set_name: SET.into(),
            sess_count: 2,
        }]),
        "/v1/sessions/utilization" => json_of(&[Utilization {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            session_count: 2,
            session_limit: 1_000_000,
            session_percent: 0.0002,
            card_sessions: 1,
            card_capacity: 2048,
            setup_rate: 0.5,
            teardown_rate: 0.0,
            drop_rate: 0.5,
            cpu_load: 3.2,
            memory_bytes: 41 << 20,
        }]),
        "/v1/sessions/clear" => json_of(&[SessionsCleared {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            service_set_name: SET.into(),
            sess_marked_for_deletion: 2,
        }]),
        "/v1/service-sets" => json_of(&[ServiceSet {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            service_set_name: SET.into(),
            sessions: 2,
            max_sessions: Some(100_000),
            opened: 14,
            closed: 12,
            six_to_four: traffic(11, 1310),
            four_to_six: traffic(13, 14_364),
            rules: vec!["stateful-nat64 t1".into()],
            pools: vec![POOL.into()],
            offloaded: true,
        }]),
        "/v1/service-sets/packet-drops" => json_of(&[PacketDrops {
            card: CARD.into(),
            interface_name: INTERFACE.into(),
            cpulimit_drops: 0,
            memlimit_drops: 0,
            flowlimit_drops: 0,
            tcp_drops: 3,
            other_drops: 19,
        }]),
        "/v1/test/nat64" => json_of(&TestResult {
            card: CARD.into(),
            stages: [
                ("unit", "arrives on inside (port 0)"),
                (
                    "rule",
                    "service set sset-nat64, rule stateful-nat64, term t1: translate",
                ),
                ("mapping", "exists: 203.0.113.1:1024"),
                ("session", "exists: ESTABLISHED, 7432 s left"),
                ("neighbour", "192.0.2.1 is at 02:bb:00:00:00:01"),
                ("card", "session is in the card"),
            ]
            .iter()
            .map(|(stage, decision)| Stage {
                stage: (*stage).into(),
                decision: (*decision).into(),
            })
            .collect(),
            verdict: "translated".into(),
            reason: None,
            offloaded: true,
            output: Some("203.0.113.1:1024 -> 192.0.2.1:80 on outside".into()),
        }),
        "/v1/monitor/drops" => stream(&[Event::Drops(DropsEvent {
            time: TIME * 1000,
            card: CARD.into(),
            reasons: vec![ReasonMoved {
                reason: Reason::NoRule.name().into(),
                packets: 1,
                count: 18,
                rate: 1.0,
                explanation: Reason::NoRule.explanation().into(),
            }],
        })]),
        "/v1/monitor/sessions" => stream(&[
            Event::SessionOpen(session_event()),
            Event::PortBlockAlloc(PortBlockEvent {
                time: TIME * 1000 + 200,
                card: CARD.into(),
                subscriber: CLIENT,
                address: PUBLIC,
                low: 1024,
                high: 1535,
            }),
            Event::SessionClose(session_event()),
        ]),
        _ => match path
            .strip_prefix("/v1/cards/")
            .and_then(|rest| rest.strip_suffix("/registers"))
        {
            Some(CARD) => json_of(&registers()),
            _ => Err(ErrorBody::new(ErrorCode::NotFound, format!("nothing is at {path}"))),
        },
    }
}
