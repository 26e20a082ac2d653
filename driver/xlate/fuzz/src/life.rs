//! A translator's life: a configuration, then packets, time, a card's stamps, new configurations, operators.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nat64_layout::Protocol;
use nat64_xlate::config::{
    Action, Application, Config, DeterministicBlocks, DfPolicy, EimScope, Filtering, LandAttackCheck, Limits, Match,
    OnConflict, Pool, PortBlocks, PrefixMatch, Refresh, ServiceSet, StaticBinding, TcpNonSyn, Term, Timers, Translate,
    UdpZeroChecksum, Unit, WellKnownPrefix,
};
use nat64_xlate::packet::{Packet4, Packet6, Transport};
use nat64_xlate::{CardSession, Effect, Effects, Nat64, Stats, Time};

use super::check::{self, Card};
use super::packets::{self, Ends};
use super::source::Source;

const SECOND: Time = 1_000_000_000;
/// Clients and a router of theirs.
const CLIENTS: [u128; 8] = [
    0x2001_0db8 << 96 | 0xa,
    0x2001_0db8 << 96 | 0xb,
    0x2001_0db8 << 96 | 0xa,
    0x2001_0db8 << 96 | 0xa,
    0x2001_0db8 << 96 | 0xb,
    0x2001_0db8 << 96 | 1 << 64 | 0xc,
    0x2001_0db8 << 96 | 0xffff << 64 | 9,
    1,
];
/// Prefixes of the terms, then one of them more often, then one of no term.
const PREFIXES: [u128; 8] = [
    0x2001_0db8_0064 << 80,
    0x0064_ff9b << 96,
    0x2001_0db8_0065 << 80,
    0x2001_0db8_0064 << 80,
    0x2001_0db8_0064 << 80,
    0x2001_0db8_0064 << 80,
    0x2001_0db8_0064 << 80,
    0x2001_0db8_0099 << 80,
];
/// Servers, addresses of pools, and what no server has.
const SERVERS: [u32; 12] = [
    0xc000_0201,
    0xc000_0202,
    0x0808_0808,
    0xcb00_7101,
    0xcb00_7102,
    0xc633_6401,
    0x0a00_0001,
    0x7f00_0001,
    0xc000_0201,
    0xc000_0201,
    0xc000_0201,
    0xc000_0202,
];
const PORTS: [u16; 6] = [53, 80, 1020, 1021, 1022, 1025];
/// Units: two of clients, one of servers.
const OUTSIDE: usize = 1;
const INSIDES: [usize; 2] = [0, 2];

fn unit(name: &str, inside: bool, mtu: u16) -> Unit {
    Unit {
        name: name.into(),
        service_set: Some(0),
        inside,
        outside: !inside,
        mtu,
        address6: None,
        address4: None,
    }
}

fn pool(source: &mut Source<'_>, name: &str, low: u32, high: u32) -> Pool {
    let high_port = 1020 + u16::from(source.byte() % 30);
    let blocks = source.rarely(4).then(|| PortBlocks {
        block_size: 1 + u16::from(source.byte() % 3),
        max_blocks_per_address: 1 + u16::from(source.byte() % 3),
        active_block_timeout: Duration::from_secs(u64::from(source.byte() % 100)),
    });
    Pool {
        name: name.into(),
        ranges: vec![(Ipv4Addr::from(low), Ipv4Addr::from(high))],
        ports: (1020, high_port.max(1023)),
        random: source.rarely(4),
        round_robin: source.rarely(4),
        preserve_parity: source.rarely(4),
        preserve_range: source.rarely(4),
        limit_ports_per_address: source.rarely(4).then_some(6),
        blocks,
        deterministic_block: Some(DeterministicBlocks {
            block_size: 0,
            include_boundary_addresses: true,
        }),
        mapping_timeout: source.rarely(4).then_some(Duration::from_secs(120)),
        quarantine: Duration::from_secs(if source.rarely(4) { 30 } else { 0 }),
        draining: if source.rarely(4) {
            vec![Ipv4Addr::from(low)]
        } else {
            vec![]
        },
    }
}

fn term(source: &mut Source<'_>, index: usize) -> Term {
    let pool = usize::from(source.rarely(4));
    let source_prefix = PrefixMatch {
        address: Ipv6Addr::from(0x2001_0db8 << 96),
        length: 125,
        except: false,
    };
    let deterministic = source.rarely(8);
    Term {
        rule: "r".into(),
        name: format!("t{index}"),
        from: Match {
            source: if deterministic || source.rarely(4) {
                vec![source_prefix]
            } else {
                vec![]
            },
            destination_ports: source.rarely(8).then_some((53, 1021)),
            applications: if source.rarely(4) {
                vec![Application {
                    protocol: None,
                    destination_ports: None,
                    source_ports: None,
                    inactivity_timeout: Some(Duration::from_secs(20)),
                    application_protocol: "none",
                }]
            } else {
                vec![]
            },
            ..Match::default()
        },
        then: if index == 2 && source.rarely(4) {
            Action::NoTranslation
        } else {
            Action::Translate(Translate {
                pref64: Ipv6Addr::from(PREFIXES[index]),
                pref64_length: 96,
                pool,
                overload_pool: (source.rarely(4) && pool == 0).then_some(1),
                endpoint_independent_mapping: !source.rarely(4),
                filtering: source.pick(&[
                    Filtering::EndpointIndependent,
                    Filtering::AddressDependent,
                    Filtering::AddressAndPortDependent,
                ]),
                filter_prefixes: if source.rarely(4) {
                    vec![(Ipv4Addr::new(192, 0, 2, 0), 31, false)]
                } else {
                    vec![]
                },
                eif_flow_limit: source.rarely(4).then_some(2),
                mapping_refresh: source.pick(&[Refresh::Both, Refresh::Inbound, Refresh::Outbound]),
                paired: source.rarely(4),
                deterministic,
            })
        },
    }
}

/// A configuration; it may be one that is refused.
fn configuration(source: &mut Source<'_>) -> Config {
    let terms = (0..3).map(|index| term(source, index)).collect();
    let static_binding = StaticBinding {
        protocol: Protocol::Udp,
        inside: (Ipv6Addr::from(CLIENTS[0]), 5),
        outside: (Ipv4Addr::from(SERVERS[3]), 1021),
        term: 0,
    };
    Config {
        units: vec![
            unit("in", true, source.pick(&[1500, 1280, 1400])),
            unit("out", false, source.pick(&[1500, 1280, 600])),
            unit("in2", true, 1500),
        ],
        service_sets: vec![ServiceSet {
            name: "s".into(),
            terms,
            outside_unit: OUTSIDE,
            df: source.pick(&[DfPolicy::Rfc7915, DfPolicy::JunosClear, DfPolicy::AlwaysSet]),
            no_v6_frag_header: source.rarely(4),
            ipv6_mtu: source.pick(&[1280, 1400, 9000]),
            tos_override: source.rarely(4).then_some(7),
            udp_zero_checksum: if source.rarely(4) {
                UdpZeroChecksum::Drop
            } else {
                UdpZeroChecksum::Calculate
            },
            icmp_source_extension: source.rarely(4),
            eim_scope: if source.rarely(4) {
                EimScope::ServiceSet
            } else {
                EimScope::RuleTerm
            },
            on_conflict: if source.rarely(4) {
                OnConflict::Drop
            } else {
                OnConflict::Reallocate
            },
            tcp_non_syn: if source.rarely(4) {
                TcpNonSyn::DropSendRst
            } else {
                TcpNonSyn::Drop
            },
            land_attack_check: source.pick(&[None, None, Some(LandAttackCheck::IpOnly), Some(LandAttackCheck::IpPort)]),
            max_sessions_per_subscriber: source.rarely(4).then_some(8),
            subscriber_length: source.pick(&[128, 64, 48]),
            max_sessions: source.rarely(4).then_some(12),
            max_setup_rate: source.rarely(4).then_some(5),
            tcp_mss: source.rarely(4).then_some(1200),
            well_known_prefix: source.pick(&[
                WellKnownPrefix::Documentation,
                WellKnownPrefix::Strict,
                WellKnownPrefix::Any,
            ]),
            outside_tcp_open: !source.rarely(4),
            static_bindings: if source.rarely(4) { vec![static_binding] } else { vec![] },
            log_sessions: source.rarely(4),
        }],
        pools: vec![
            pool(source, "p", SERVERS[3], SERVERS[4]),
            pool(source, "q", SERVERS[5], SERVERS[5]),
        ],
        timers: Timers {
            tcp_probes: source.byte() % 4,
            ..Timers::RFC
        },
        limits: Limits {
            sessions: source.pick(&[40, 40, 3]),
            bibs: source.pick(&[40, 40, 3]),
            stored_syns: source.pick(&[3, 1]),
            embryonic: source.rarely(4).then_some(2),
            fragment_bytes: source.pick(&[65536, 2000]),
            fragments_per_packet: 8,
            fragmented_packets_per_source: 3,
            icmp_errors_per_second: source.pick(&[1000, 2, 0]),
        },
        activity_tick: Duration::from_nanos(source.pick(&[1, 1 << 26])),
    }
}

/// One input's life.
struct Life {
    nat: Nat64,
    card: Card,
    now: Time,
    effects: Effects,
    /// Packets we sent, for errors to quote.
    recent: Vec<Vec<u8>>,
}

/// A configuration and actions from bytes; every action is checked.
pub fn step(data: &[u8]) {
    let mut source = Source::new(data);
    let seed = u64::from(source.byte());
    let Ok(nat) = Nat64::new(configuration(&mut source), seed) else {
        return;
    };
    let mut life = Life {
        nat,
        card: Card::default(),
        now: 1000 * SECOND,
        effects: Effects::new(),
        recent: Vec::new(),
    };
    let mut actions = 0;
    while !source.is_empty() && actions < 300 {
        let before = check::counts(&life.nat);
        life.act(&mut source);
        check::tables(&life.nat, &life.card, life.now, before);
        actions += 1;
    }
    for _ in 0..3 {
        life.pass(50_000 * SECOND);
    }
    check::empty(&life.nat, &life.card);
}

impl Life {
    fn pass(&mut self, time: Time) {
        self.now += time;
        self.effects.clear();
        self.nat.advance(self.now, &mut self.effects);
        self.done(false);
    }

    /// What follows every call.
    fn done(&mut self, sound: bool) {
        self.card.perform(&self.effects);
        check::sent(&self.effects, sound);
        for effect in self.effects.iter() {
            if let Effect::Send { bytes, .. } = effect {
                self.recent.push(self.effects.bytes(bytes).to_vec());
            }
        }
        if self.recent.len() > 16 {
            self.recent.drain(..8);
        }
    }

    fn act(&mut self, source: &mut Source<'_>) {
        self.effects.clear();
        match source.byte() % 48 {
            0..=10 => self.client_packet(source),
            11..=20 => self.server_packet(source),
            32..=47 => self.session_packet(source),
            21 => {
                let (unit, length) = (usize::from(source.byte() % 4), usize::from(source.byte()));
                let mut packet = source.bytes(length).to_vec();
                packets::sum_header4(&mut packet);
                self.packet(unit, &packet);
            }
            22..=24 => {
                let unit = source.pick(&[
                    1,
                    SECOND / 3,
                    SECOND,
                    7 * SECOND,
                    70 * SECOND,
                    250 * SECOND,
                    8000 * SECOND,
                ]);
                self.pass(unit * Time::from(source.byte() % 4));
            }
            25 => {
                let mut due = Vec::new();
                self.nat.due(self.now + 100 * SECOND, &mut due);
                for id in due {
                    assert!(self.card.installed.contains_key(&id));
                    self.nat.touch(id, check::direction(source.byte() & 1 != 0), self.now);
                }
            }
            26 => {
                let config = configuration(source);
                let before = self.nat.session_count();
                if let Ok(report) = self.nat.reconfigure(self.now, config, &mut self.effects) {
                    assert_eq!(report.sessions_kept + report.sessions_removed, before);
                }
                self.done(false);
            }
            27 => {
                let client = Ipv6Addr::from(source.pick(&CLIENTS));
                self.nat
                    .clear_sessions(|session| session.flow.client.0 == client, self.now, &mut self.effects);
                self.done(false);
            }
            28 => {
                let client = Ipv6Addr::from(source.pick(&CLIENTS));
                self.nat
                    .clear_bibs(|bib| bib.client.0 == client, self.now, &mut self.effects);
                self.done(false);
            }
            29 => {
                let address = Ipv4Addr::from(source.pick(&SERVERS));
                if source.byte() & 1 != 0 {
                    let _ = self.nat.drain(address);
                } else {
                    let _ = self.nat.undrain(address);
                }
            }
            30 => self.adopt(source),
            _ => {
                let (mut from, mut sessions) = (Some(0), Vec::new());
                while let Some(place) = from {
                    from = self.nat.session_page(place, 7, &mut sessions);
                }
                assert_eq!(sessions.len(), self.nat.session_count());
            }
        }
    }

    fn adopt(&mut self, source: &mut Source<'_>) {
        let protocol = source.pick(&Protocol::ALL);
        let session = CardSession {
            protocol,
            unit: usize::from(source.byte() % 4),
            pref64: Ipv6Addr::from(source.pick(&PREFIXES)),
            pref64_length: 96,
            client: (Ipv6Addr::from(source.pick(&CLIENTS)), 5 + u16::from(source.byte() % 4)),
            pool: (
                Ipv4Addr::from(source.pick(&SERVERS)),
                1018 + u16::from(source.byte() % 16),
            ),
            remote: (
                Ipv4Addr::from(source.pick(&SERVERS)),
                if protocol == Protocol::Icmp {
                    0
                } else {
                    source.pick(&PORTS)
                },
            ),
            last: None,
        };
        let before = self.nat.stats();
        match self.nat.adopt(self.now, &session, &mut self.effects) {
            Ok(flow) => {
                assert_eq!(
                    (flow.client, flow.pool, flow.remote),
                    (session.client, session.pool, session.remote)
                );
                assert!(self.card.installed.insert(flow.id, flow).is_none());
            }
            Err(_) => {
                let after = self.nat.stats();
                let in_use =
                    |stats: &nat64_xlate::Stats| stats.pools.iter().map(|pool| pool.in_use).collect::<Vec<_>>();
                assert_eq!(in_use(&before), in_use(&after), "a refused session changed a pool");
            }
        }
        self.done(false);
    }

    fn client_packet(&mut self, source: &mut Source<'_>) {
        let client = (Ipv6Addr::from(source.pick(&CLIENTS)), 5 + u16::from(source.byte() % 4));
        let server = source.pick(&PREFIXES) | u128::from(source.pick(&SERVERS));
        let ends = Ends {
            src: client,
            dst: (Ipv6Addr::from(server), source.pick(&PORTS)),
        };
        let quoted = self.quotable(source, 6);
        let unit = source.pick(&INSIDES);
        for packet in packets::six(source, ends, quoted.as_deref()) {
            self.packet(unit, &packet);
        }
    }

    fn server_packet(&mut self, source: &mut Source<'_>) {
        let bibs: Vec<(Ipv4Addr, u16)> = self.nat.bibs().map(|bib| bib.pool).collect();
        let at = usize::from(source.byte());
        let pool = match bibs.get(at % bibs.len().max(1)) {
            Some(&pool) if at < 200 => pool,
            _ => (
                Ipv4Addr::from(source.pick(&SERVERS)),
                1020 + u16::from(source.byte() % 8),
            ),
        };
        let ends = Ends {
            src: (Ipv4Addr::from(source.pick(&SERVERS)), source.pick(&PORTS)),
            dst: pool,
        };
        let quoted = self.quotable(source, 4);
        for packet in packets::four(source, ends, quoted.as_deref()) {
            self.packet(OUTSIDE, &packet);
        }
    }

    /// A packet of a session, either way.
    fn session_packet(&mut self, source: &mut Source<'_>) {
        let sessions = self.nat.session_count();
        let at = usize::from(source.byte()) % sessions.max(1);
        let Some(flow) = self.nat.sessions().nth(at).map(|session| session.flow) else {
            return self.client_packet(source);
        };
        if source.byte() & 1 != 0 {
            let server = u128::from(flow.pref64) | u128::from(u32::from(flow.remote.0));
            let ends = Ends {
                src: flow.client,
                dst: (Ipv6Addr::from(server), flow.remote.1),
            };
            let quoted = self.quotable(source, 6);
            for packet in packets::six(source, ends, quoted.as_deref()) {
                self.packet(flow.unit, &packet);
            }
        } else {
            let ends = Ends {
                src: flow.remote,
                dst: flow.pool,
            };
            let quoted = self.quotable(source, 4);
            for packet in packets::four(source, ends, quoted.as_deref()) {
                self.packet(OUTSIDE, &packet);
            }
        }
    }

    fn quotable(&self, source: &mut Source<'_>, version: u8) -> Option<Vec<u8>> {
        let fitting: Vec<&Vec<u8>> = self.recent.iter().filter(|packet| packet[0] >> 4 == version).collect();
        let at = usize::from(source.byte());
        fitting.get(at % fitting.len().max(1)).map(|packet| packet.to_vec())
    }

    fn packet(&mut self, unit: usize, packet: &[u8]) {
        // Time first, as the caller does; so no error is due within the packet.
        self.pass(1);
        self.effects.clear();
        let counts = check::counts(&self.nat);
        let before = still(&self.nat);
        let told = self.nat.explain(self.now, unit, packet);
        assert_eq!(still(&self.nat), before, "a dry run counted");
        self.nat.step(self.now, unit, packet, &mut self.effects);
        let (part, sound) = match packet.first().map(|byte| byte >> 4) {
            Some(6) => Packet6::parse(packet).map_or((false, false), |read| (read.is_part(), sound6(&read))),
            Some(4) => Packet4::parse(packet).map_or((false, false), |read| (read.is_part(), sound4(&read))),
            _ => (false, false),
        };
        if !part {
            check::outcome(&self.nat, &self.effects, &before, &told);
        }
        self.done(sound);
        check::tables(&self.nat, &self.card, self.now, counts);
    }
}

/// Counters that only packets change: time alone ends the rest of a port.
fn still(nat: &Nat64) -> Stats {
    let mut stats = nat.stats();
    for pool in &mut stats.pools {
        pool.quarantined = 0;
    }
    stats
}

/// Whether the transport of a whole packet had a right checksum, so that its translation must have one.
fn sound6(packet: &Packet6<'_>) -> bool {
    if packet.is_part() || matches!(packet.transport, Transport::Other(_)) {
        return false;
    }
    let mut plain = packet.bytes[..40].to_vec();
    plain[6] = packet.protocol;
    let payload = packet.payload();
    plain[4..6].copy_from_slice(&(payload.len() as u16).to_be_bytes());
    plain.extend_from_slice(payload);
    packets::transport_is_right(&plain) == Some(true)
}

fn sound4(packet: &Packet4<'_>) -> bool {
    if packet.is_part() || matches!(packet.transport, Transport::Other(_)) {
        return false;
    }
    // Without a checksum one is made, of what the length field of UDP says.
    if let Transport::Udp {
        checksum: 0, length, ..
    } = packet.transport
    {
        return usize::from(length) == packet.payload().len();
    }
    packets::transport_is_right(packet.bytes) == Some(true)
}
