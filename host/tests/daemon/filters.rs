//! Every filter of sessions and mappings against real ones, listed, counted and cleared; computed ports; counters of service
//! sets.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use nat64_host::api::nat::{DeterministicBlock, Mapping, MappingsCleared, PacketDrops, Pool, ServiceSet};
use nat64_host::api::sessions::{Session, SessionCount, SessionsCleared};
use nat64_host::api::Page;
use nat64_host::config;
use serde_json::{json, Map, Value};

use super::rig::{syn, udp6, Rig, GATEWAY, PEER, SEED};

/// A second pool for clients of another prefix, whose term matches by applications, and a third whose ports are computed.
const MORE: &str = "
set services nat pool other address 198.51.100.0/28
set services nat pool other port automatic
set services nat rule others match-direction input
set services nat rule others term t1 from source-address 2001:db8:2::/96
set services nat rule others term t1 from applications [ junos-http odd rest ]
set applications application odd protocol tcp destination-port 443 application-protocol telnet
set applications application rest application-protocol none
set services nat rule others term t1 then translated source-pool other
set services nat rule others term t1 then translated destination-prefix 64:ff9b::/96
set services nat rule others term t1 then translated translation-type stateful-nat64
set services nat pool computed address-range low 100.64.0.1 high 100.64.0.4
set services nat pool computed port deterministic-port-block-allocation block-size 256
set services nat rule computed match-direction input
set services nat rule computed term t1 from source-address 2001:db8:d::/120
set services nat rule computed term t1 then translated source-pool computed
set services nat rule computed term t1 then translated destination-prefix 64:ff9b::/96
set services nat rule computed term t1 then translated translation-type deterministic-napt64
set services service-set sset-nat64 nat-rules [ others computed ]
";

async fn rig() -> Rig {
    let text = config::parse(SEED, "seed.conf").unwrap().to_set() + MORE;
    Rig::with(&text).await
}

/// A session as the test made it. Ports of a ping are its identifier, and 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Made {
    protocol: &'static str,
    client: Ipv6Addr,
    port: u16,
    server: Ipv4Addr,
    server_port: u16,
}

fn server6(server: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = server.octets().map(u16::from);
    Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, a << 8 | b, c << 8 | d)
}

fn ping(client: Ipv6Addr, identifier: u16, server: Ipv6Addr) -> Vec<u8> {
    let mut frame = Vec::new();
    PacketBuilder::ethernet2(PEER, GATEWAY)
        .ipv6(client.octets(), server.octets(), 64)
        .icmpv6_echo_request(identifier, 1)
        .write(&mut frame, b"ping")
        .unwrap();
    frame
}

impl Made {
    fn open(&self, rig: &Rig) {
        let server = server6(self.server);
        let frame = match self.protocol {
            "TCP" => syn(self.client, self.port, server, self.server_port),
            "UDP" => udp6(self.client, self.port, server, self.server_port),
            _ => ping(self.client, self.port, server),
        };
        rig.wire.arrive(0, frame);
        let (port, _) = rig.wire.sent().expect("it goes out");
        assert_eq!(port, 1);
    }

    fn of(session: &Session) -> Self {
        let protocol = ["TCP", "UDP", "ICMPV6"]
            .into_iter()
            .find(|name| *name == session.protocol);
        Self {
            protocol: protocol.unwrap(),
            client: session.client_address,
            port: session.client_port,
            server: session.server_address,
            server_port: session.server_port,
        }
    }

    fn other(&self) -> bool {
        self.client.segments()[2] == 2
    }
}

fn all() -> BTreeSet<Made> {
    let clients = ["2001:db8::1", "2001:db8::2", "2001:db8:2::1"].map(|text| text.parse::<Ipv6Addr>().unwrap());
    let servers = [Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(192, 0, 2, 129)];
    let mut all = BTreeSet::new();
    for client in clients {
        for server in servers {
            for port in [40_000, 40_001] {
                for (protocol, server_port) in [("TCP", 80), ("TCP", 443), ("UDP", 53), ("ICMPV6", 0)] {
                    all.insert(Made {
                        protocol,
                        client,
                        port,
                        server,
                        server_port,
                    });
                }
            }
        }
    }
    all
}

/// A query as the body of a request.
fn body(query: &str) -> Value {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    let value = |name: &str, text: String| match name {
        "offload" => json!(text == "true"),
        name if name.ends_with("port") => json!(text.parse::<u16>().unwrap()),
        _ => json!(text),
    };
    let pairs = pairs.into_iter().map(|(name, text)| {
        let value = value(&name, text);
        (name, value)
    });
    Value::Object(pairs.collect::<Map<_, _>>())
}

async fn sessions(rig: &Rig, query: &str) -> BTreeSet<Made> {
    let page: Page<Session> = rig.client().get_as(&format!("/v1/sessions?{query}&limit=1000")).await;
    assert!(page.cursor.is_none());
    page.items.iter().map(Made::of).collect()
}

type Wanted<T> = fn(&T) -> bool;

/// Filters, and which sessions they mean.
const SESSIONS: &[(&str, Wanted<Made>)] = &[
    ("protocol=tcp", |s| s.protocol == "TCP"),
    ("protocol=17", |s| s.protocol == "UDP"),
    ("protocol=icmp", |s| s.protocol == "ICMPV6"),
    ("protocol=icmp6", |s| s.protocol == "ICMPV6"),
    ("source-prefix=2001:db8::1", |s| {
        s.client.segments()[7] == 1 && !s.other()
    }),
    ("source-prefix=2001:db8::/64", |s| !s.other()),
    ("source-prefix=2001:db8:2::/96", Made::other),
    ("source-prefix=192.0.2.128/25", |s| s.server.octets()[3] == 129),
    ("destination-prefix=64:ff9b::192.0.2.129", |s| {
        s.server.octets()[3] == 129
    }),
    ("destination-prefix=64:ff9b::/96", |_| true),
    ("destination-prefix=198.51.100.0/24", Made::other),
    ("source-port=40000", |s| s.port == 40_000),
    ("destination-port=443", |s| s.server_port == 443),
    ("application-protocol=icmpv6", |s| s.protocol == "ICMPV6"),
    ("application-protocol=icmp", |s| s.protocol == "ICMPV6"),
    ("application-protocol=http", |s| s.other() && s.server_port == 80),
    ("application-protocol=telnet", |s| s.other() && s.server_port == 443),
    ("application-protocol=none", |s| {
        s.protocol != "ICMPV6" && !(s.other() && s.protocol == "TCP")
    }),
    ("application-protocol=ssh", |_| false),
    ("pool=other", Made::other),
    ("service-set=sset-nat64", |_| true),
    ("interface=ms-0/1/0", |_| true),
    ("interface=port0.0", |_| true),
    ("card=card0", |_| true),
    ("offload=false", |_| true),
    ("offload=true", |_| false),
    ("protocol=tcp&source-prefix=2001:db8::2&destination-port=80", |s| {
        s.protocol == "TCP" && s.client.segments()[7] == 2 && s.server_port == 80
    }),
    ("", |_| true),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_of_sessions_lists_counts_and_clears_what_it_says() {
    let rig = rig().await;
    let client = rig.client();
    let all = all();
    all.iter().for_each(|made| made.open(&rig));
    assert_eq!(sessions(&rig, "").await, all);
    for (query, wanted) in SESSIONS {
        let (meant, rest): (BTreeSet<_>, BTreeSet<_>) = all.iter().partition(|made| wanted(made));
        assert_eq!(sessions(&rig, query).await, meant, "{query}");
        let counts: Vec<SessionCount> = client.get_as(&format!("/v1/sessions/count?{query}")).await;
        let count: u64 = counts.iter().map(|count| count.sess_count).sum();
        assert_eq!(count, meant.len() as u64, "{query}");
        let cleared = client.post("/v1/sessions/clear", &body(query)).await.unwrap();
        let cleared: Vec<SessionsCleared> = serde_json::from_value(cleared).unwrap();
        let cleared: u64 = cleared.iter().map(|set| set.sess_marked_for_deletion).sum();
        assert_eq!(cleared, meant.len() as u64, "{query}");
        assert_eq!(sessions(&rig, "").await, rest, "{query}");
        meant.iter().for_each(|made| made.open(&rig));
    }
    rig.running.stop().await;
}

/// Protocol, client and port: what a mapping is of.
type Key = (&'static str, Ipv6Addr, u16);

/// Filters, and which mappings they mean.
const MAPPINGS: &[(&str, Wanted<Key>)] = &[
    ("protocol=udp", |m| m.0 == "UDP"),
    ("private=2001:db8::1", |m| {
        m.1.segments() == [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1]
    }),
    ("private=2001:db8::/64", |m| m.1.segments()[2] == 0),
    ("private-port=40001", |m| m.2 == 40_001),
    ("private=2001:db8::1&private-port=40000", |m| {
        m.1.segments() == [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1] && m.2 == 40_000
    }),
    ("public=198.51.100.0/24", |m| m.1.segments()[2] == 2),
    ("pool=other", |m| m.1.segments()[2] == 2),
    ("kind=endpoint-independent", |_| true),
    ("service-set=sset-nat64", |_| true),
    ("card=card0", |_| true),
    ("", |_| true),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_filter_of_mappings_lists_and_clears_what_it_says() {
    let rig = rig().await;
    let client = rig.client();
    let all = all();
    all.iter().for_each(|made| made.open(&rig));
    let listed = |query: &'static str| {
        let client = client.clone();
        async move {
            let page: Page<Mapping> = client.get_as(&format!("/v1/nat/mappings?{query}&limit=1000")).await;
            let key = |mapping: &Mapping| -> Option<Key> {
                let name = mapping.protocol.as_deref()?;
                let protocol = ["TCP", "UDP", "ICMPV6"].into_iter().find(|known| *known == name)?;
                Some((protocol, mapping.private_address, mapping.private_port?))
            };
            page.items.iter().filter_map(key).collect::<BTreeSet<Key>>()
        }
    };
    let keys: BTreeSet<Key> = all.iter().map(|made| (made.protocol, made.client, made.port)).collect();
    assert_eq!(listed("").await, keys);
    for &(query, wanted) in MAPPINGS {
        let meant: BTreeSet<Key> = keys.iter().copied().filter(wanted).collect();
        assert_eq!(listed(query).await, meant, "{query}");
        let cleared = client.post("/v1/nat/mappings/clear", &body(query)).await.unwrap();
        let cleared: MappingsCleared = serde_json::from_value(cleared).unwrap();
        let gone: Vec<&Made> = all
            .iter()
            .filter(|made| meant.contains(&(made.protocol, made.client, made.port)))
            .collect();
        let wanted = (meant.len() as u64, gone.len() as u64);
        assert_eq!((cleared.mappings_removed, cleared.sessions_cleared), wanted, "{query}");
        assert_eq!(listed("").await, keys.difference(&meant).copied().collect(), "{query}");
        gone.iter().for_each(|made| made.open(&rig));
    }
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn computed_ports_are_told_as_they_are_used() {
    let rig = rig().await;
    let client = rig.client();
    for host in [1_u16, 7, 200] {
        let subscriber = Ipv6Addr::new(0x2001, 0xdb8, 0xd, 0, 0, 0, 0, host);
        let path = format!("/v1/nat/deterministic?host={subscriber}");
        let blocks: Vec<DeterministicBlock> = client.get_as(&path).await;
        let [block] = &blocks[..] else { panic!("{blocks:?}") };
        assert_eq!(
            (block.pool_name.as_str(), block.internal_host),
            ("computed", subscriber)
        );
        assert_eq!(block.nat_port_end - block.nat_port_start, 255);
        Made {
            protocol: "UDP",
            client: subscriber,
            port: 5_000,
            server: Ipv4Addr::new(192, 0, 2, 1),
            server_port: 53,
        }
        .open(&rig);
        let path = format!("/v1/sessions?source-prefix={subscriber}");
        let page: Page<Session> = client.get_as(&path).await;
        let session = &page.items[0];
        assert_eq!(session.nat_address, block.nat_address);
        assert!((block.nat_port_start..=block.nat_port_end).contains(&session.nat_port));
        // And whoever asks whose port that is, is told.
        let path = format!(
            "/v1/nat/deterministic?address={}&port={}",
            session.nat_address, session.nat_port
        );
        let back: Vec<DeterministicBlock> = client.get_as(&path).await;
        assert_eq!(back, blocks);
    }
    let nobody: Vec<DeterministicBlock> = client
        .get_as("/v1/nat/deterministic?address=192.0.2.77&port=5000")
        .await;
    assert_eq!(nobody, []);
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_sets_count_their_sessions_packets_and_drops() {
    let rig = rig().await;
    let client = rig.client();
    let all = all();
    all.iter().for_each(|made| made.open(&rig));
    let sets = || async { client.get_as::<Vec<ServiceSet>>("/v1/service-sets").await };
    let drops = || async {
        let drops: Vec<PacketDrops> = client.get_as("/v1/service-sets/packet-drops").await;
        drops[0].clone()
    };
    let [set] = &sets().await[..] else { panic!() };
    let many = all.len() as u64;
    assert_eq!((set.sessions, set.opened, set.closed), (many, many, 0));
    assert_eq!((set.six_to_four.packets, set.four_to_six.packets), (many, 0));
    assert_eq!(set.pools, ["src-pool-nat64", "other", "computed"]);
    let pools: Vec<Pool> = client.get_as("/v1/nat/pools").await;
    let use_of = |pool: &Pool| (pool.pool_addresses_in_use, pool.pool_ports_in_use, pool.pool_users);
    // A port for each protocol and port of each client: three protocols, two ports; two clients, one, none.
    assert_eq!(
        pools.iter().map(use_of).collect::<Vec<_>>(),
        [(1, 12, 2), (1, 6, 1), (0, 0, 0)]
    );
    let before = drops().await;
    assert_eq!((before.tcp_drops, before.flowlimit_drops), (0, 0), "{before:?}");

    // A segment in the middle of a connection nobody knows.
    let mut stray = Vec::new();
    let (from, to) = (
        "2001:db8::9".parse::<Ipv6Addr>().unwrap(),
        server6(Ipv4Addr::new(192, 0, 2, 1)),
    );
    PacketBuilder::ethernet2(PEER, GATEWAY)
        .ipv6(from.octets(), to.octets(), 64)
        .tcp(1, 80, 1, 1)
        .ack(1)
        .write(&mut stray, &[])
        .unwrap();
    rig.wire.arrive(0, stray);
    // A client no rule knows.
    rig.wire.arrive(0, udp6("2001:db8:ffff::1".parse().unwrap(), 1, to, 53));
    // A limit that is reached.
    let cleared = client.post("/v1/sessions/clear", &json!({})).await.unwrap();
    assert_eq!(cleared[0]["sess-marked-for-deletion"], many, "{cleared}");
    let text = config::parse(SEED, "seed.conf").unwrap().to_set() + MORE;
    rig.commit(&(text + "set services service-set sset-nat64 max-flows 2\n"))
        .await
        .unwrap();
    for port in 1..=5 {
        rig.wire.arrive(0, udp6("2001:db8::1".parse().unwrap(), port, to, 53));
    }
    let after = super::example::wait_for(|| async {
        let now = drops().await;
        let enough = now.tcp_drops == 1 && now.flowlimit_drops == 3 && now.other_drops > before.other_drops;
        enough.then_some(now)
    })
    .await;
    assert_eq!((after.cpulimit_drops, after.memlimit_drops), (0, 0), "{after:?}");
    assert_eq!(after.other_drops, before.other_drops + 1, "{after:?}");
    let [set] = &sets().await[..] else { panic!() };
    assert_eq!((set.sessions, set.max_sessions, set.closed), (2, Some(2), many));
    rig.running.stop().await;
}
