//! The worked example (reference, section 1): committed in both forms, a client gets through, and everything shows it.

use nat64_host::api::card::{Card, Drop, Neighbour};
use nat64_host::api::configuration::{Comparison, Text};
use nat64_host::api::nat::{Mapping, NatStatistics, Pool, ServiceSet, TestResult};
use nat64_host::api::sessions::{Session, SessionCount};
use nat64_host::api::Page;
use serde_json::json;

use super::rig::{client_address, ends4, server, Rig, SEED};

/// The `set` form of the reference, line by line.
const SEED_SET: &str = "\
set services nat pool src-pool-nat64 address 203.0.113.0/24
set services nat pool src-pool-nat64 port automatic
set services nat rule stateful-nat64 match-direction input
set services nat rule stateful-nat64 term t1 from source-address 2001:db8::/96
set services nat rule stateful-nat64 term t1 from destination-address 64:ff9b::/96
set services nat rule stateful-nat64 term t1 then translated source-pool src-pool-nat64
set services nat rule stateful-nat64 term t1 then translated destination-prefix 64:ff9b::/96
set services nat rule stateful-nat64 term t1 then translated translation-type stateful-nat64
set services service-set sset-nat64 nat-options stateful-nat64 clear-dont-fragment-bit
set services service-set sset-nat64 service-set-options
set services service-set sset-nat64 nat-rules stateful-nat64
set services service-set sset-nat64 interface-service service-interface ms-0/1/0
";

#[tokio::test(flavor = "multi_thread")]
async fn both_forms_are_one_configuration() {
    let rig = Rig::start().await;
    let client = rig.client();
    rig.commit(SEED).await.unwrap();
    let curly: Text = client.get_as("/v1/configuration/active?format=set").await;
    rig.commit("").await.unwrap();
    let edit = client
        .post("/v1/configuration/edit", &json!({"mode": "exclusive"}))
        .await
        .unwrap();
    let edit = edit["edit"].as_str().unwrap();
    let commands: Vec<&str> = SEED_SET.lines().collect();
    let body = json!({"edit": edit, "commands": commands});
    let changed = client
        .post("/v1/configuration/candidate/commands", &body)
        .await
        .unwrap();
    assert_eq!(changed["applied"], 12);
    let body = json!({"edit": edit, "comment": "the worked example"});
    let committed = client.post("/v1/configuration/commit", &body).await.unwrap();
    assert_eq!(committed["commit"], 3);
    let set: Text = client.get_as("/v1/configuration/active?format=set").await;
    assert_eq!(curly.text, set.text);
    rig.running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_gets_through_and_is_shown() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    let packet = rig.open_session(client_address(1), 40_000, server(), 80);
    let ((nat, nat_port), to) = ends4(&packet);
    assert_eq!(to, ("192.0.2.1".parse().unwrap(), 80));

    let sessions: Page<Session> = client.get_as("/v1/sessions").await;
    let [session] = &sessions.items[..] else {
        panic!("{sessions:?}")
    };
    assert_eq!(session.interface_name, "ms-0/1/0");
    assert_eq!(session.service_set_name, "sset-nat64");
    assert_eq!(
        (session.client_address, session.client_port),
        (client_address(1), 40_000)
    );
    assert_eq!((session.nat_address, session.nat_port), (nat, nat_port));
    assert_eq!((session.destination_address, session.server_port), (server(), 80));
    assert_eq!((session.rule.as_str(), session.term.as_str()), ("stateful-nat64", "t1"));
    assert_eq!(session.pool_name, "src-pool-nat64");
    assert_eq!(session.state, "V6_INIT");
    assert_eq!(session.six_to_four.packets, 1);
    assert!(session.timeout > 0 && session.timeout <= 241, "{}", session.timeout);

    // Filters are the daemon's work.
    for (filter, found) in [
        ("source-prefix=2001:db8::/64", 1),
        ("source-prefix=2001:db8:1::/64", 0),
        ("destination-prefix=203.0.113.0/24&protocol=tcp", 1),
        ("destination-prefix=64:ff9b::/96&destination-port=80", 1),
        ("destination-port=81", 0),
        ("source-port=40000&interface=ms-0/1/0", 1),
        ("interface=port0.0", 1),
        ("interface=ms-9/9/9", 0),
        ("protocol=udp", 0),
        ("offload=true", 0),
        ("pool=src-pool-nat64&service-set=sset-nat64", 1),
    ] {
        let page: Page<Session> = client.get_as(&format!("/v1/sessions?{filter}")).await;
        assert_eq!(page.items.len(), found, "{filter}: {:?}", session.inside_interface);
        let count: Vec<SessionCount> = client.get_as(&format!("/v1/sessions/count?{filter}")).await;
        assert_eq!(
            count.iter().map(|c| c.sess_count).sum::<u64>(),
            found as u64,
            "{filter}"
        );
    }

    let mappings: Page<Mapping> = client.get_as("/v1/nat/mappings").await;
    let [mapping] = &mappings.items[..] else {
        panic!("{mappings:?}")
    };
    assert_eq!(
        (mapping.private_address, mapping.private_port),
        (client_address(1), Some(40_000))
    );
    assert_eq!((mapping.public_address, mapping.public_port), (nat, Some(nat_port)));
    assert_eq!((mapping.session_count, mapping.timeout), (1, None));

    let pools: Vec<Pool> = client.get_as("/v1/nat/pools?name=src-pool-nat64").await;
    assert_eq!(pools[0].pool_address_range, "203.0.113.1-203.0.113.254");
    assert_eq!((pools[0].pool_ports_in_use, pools[0].ports_in_use_tcp), (1, 1));
    assert_eq!(
        client.get("/v1/nat/pools?name=nowhere").await.unwrap_err()["code"],
        "not-found"
    );

    let sets: Vec<ServiceSet> = client.get_as("/v1/service-sets").await;
    assert_eq!(
        (sets[0].sessions, sets[0].opened, sets[0].six_to_four.packets),
        (1, 1, 1)
    );

    let neighbours: Page<Neighbour> = client.get_as("/v1/neighbours").await;
    let states: Vec<&str> = neighbours.items.iter().map(|n| n.state.as_str()).collect();
    assert_eq!(states, ["learned", "reachable"], "{neighbours:?}");

    let cards: Vec<Card> = client.get_as("/v1/cards").await;
    assert_eq!((cards[0].name.as_str(), cards[0].sessions), ("card0", 1));
    assert_eq!(cards[0].translated_by_host, 1);

    // A packet that no rule matches is counted, with its reason, and the statistics can be begun anew.
    rig.wire
        .arrive(0, super::rig::syn("2001:db8:ffff::1".parse().unwrap(), 1, server(), 80));
    let refused = wait_for(|| async {
        let drops: Vec<Drop> = client.get_as("/v1/drops").await;
        drops.into_iter().find(|drop| drop.reason == "NoRule")
    })
    .await;
    assert_eq!(
        (refused.count, refused.by.as_str(), refused.kind.as_str()),
        (1, "host", "drop")
    );
    assert!(refused.explanation.contains("rule"));
    let counter = |all: &[NatStatistics], name: &str| {
        let found = all[0].counters.iter().find(|counter| counter.name == name);
        found.unwrap_or_else(|| panic!("{name}")).value
    };
    let all: Vec<NatStatistics> = client.get_as("/v1/nat/statistics").await;
    assert_eq!(counter(&all, "nat-rule-lookup-failures"), 1);
    assert_eq!(counter(&all, "nat-total-pkts-translated"), 1);
    // The server was asked for by ARP, and answered.
    assert_eq!(counter(&all, "nat64-discovery-sent"), 1);
    assert_eq!(counter(&all, "nat64-discovery-received"), 1);
    assert_eq!(counter(&all, "nat64-held"), 0);
    client.post("/v1/nat/statistics/clear", &json!({})).await.unwrap();
    let all: Vec<NatStatistics> = client.get_as("/v1/nat/statistics").await;
    assert_eq!(counter(&all, "nat-total-pkts-translated"), 0);

    // What would become of a packet, without sending it.
    let probe = json!({"protocol": "tcp", "source": "2001:db8::1", "source-port": 40000,
        "destination": "64:ff9b::c000:201", "destination-port": 80, "flags": ["ack"]});
    let walk: TestResult = serde_json::from_value(client.post("/v1/test/nat64", &probe).await.unwrap()).unwrap();
    assert_eq!(walk.verdict, "translated", "{walk:?}");
    let output = format!("{nat} -> 192.0.2.1 on");
    assert!(walk.output.as_ref().is_some_and(|o| o.starts_with(&output)), "{walk:?}");
    let probe = json!({"protocol": "udp", "source": "2001:db8:ffff::1", "source-port": 40000,
        "destination": "64:ff9b::c000:201", "destination-port": 80});
    let walk: TestResult = serde_json::from_value(client.post("/v1/test/nat64", &probe).await.unwrap()).unwrap();
    assert_eq!(
        (walk.verdict.as_str(), walk.reason.as_deref()),
        ("dropped", Some("NoRule")),
        "{walk:?}"
    );

    // Draining: the address is no more given out.
    let drain = json!({"pool": "src-pool-nat64", "address": nat});
    let drained = client.post("/v1/nat/drain", &drain).await.unwrap();
    assert_eq!(drained[0]["ports-in-use"], 1, "{drained}");
    let packet = rig.open_session(client_address(2), 40_000, server(), 80);
    assert_ne!(ends4(&packet).0 .0, nat);
    let wrong = json!({"pool": "src-pool-nat64", "address": "198.51.100.1"});
    assert_eq!(
        client.post("/v1/nat/drain", &wrong).await.unwrap_err()["code"],
        "not-found"
    );
    let stop = json!({"pool": "src-pool-nat64", "address": nat, "stop": true});
    client.post("/v1/nat/drain", &stop).await.unwrap();
    assert_eq!(client.get("/v1/nat/drain").await.unwrap(), json!([]));

    // Clearing by filter, with the number.
    let cleared = client
        .post("/v1/sessions/clear", &json!({"source-prefix": "2001:db8::1"}))
        .await
        .unwrap();
    assert_eq!(cleared[0]["sess-marked-for-deletion"], 1, "{cleared}");
    let cleared = client.post("/v1/nat/mappings/clear", &json!({})).await.unwrap();
    assert_eq!(cleared, json!({"mappings-removed": 1, "sessions-cleared": 1}));
    let page: Page<Session> = client.get_as("/v1/sessions").await;
    assert_eq!(page, Page::default());
    rig.running.stop().await;
}

/// Asks until there is an answer.
pub async fn wait_for<T, F: std::future::Future<Output = Option<T>>>(mut ask: impl FnMut() -> F) -> T {
    for _ in 0..500 {
        if let Some(answer) = ask().await {
            return answer;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("nothing came of it within 5 s");
}

#[tokio::test(flavor = "multi_thread")]
async fn commits_keep_sessions_and_can_be_rolled_back() {
    let rig = Rig::with(SEED).await;
    let client = rig.client();
    rig.open_session(client_address(1), 40_000, server(), 80);
    let edit = client.post("/v1/configuration/edit", &json!({})).await.unwrap();
    let edit = edit["edit"].as_str().unwrap();

    // A change that leaves pool and rule alone leaves the session alone.
    let set = "set services service-set sset-nat64 max-flows 5000";
    let body = json!({"edit": edit, "commands": [set]});
    client
        .post("/v1/configuration/candidate/commands", &body)
        .await
        .unwrap();
    let compared: Comparison = client.get_as("/v1/configuration/candidate/compare").await;
    assert!(compared.differs);
    assert!(
        compared.text.contains("[edit services service-set sset-nat64]"),
        "{}",
        compared.text
    );
    assert!(compared.text.contains("+   max-flows 5000;"), "{}", compared.text);
    let committed = client
        .post("/v1/configuration/commit", &json!({"edit": edit}))
        .await
        .unwrap();
    assert_eq!(committed["cards"][0]["sessions-kept"], 1, "{committed}");
    assert_eq!(committed["cards"][0]["sessions-removed"], 0, "{committed}");

    // Another pool: the session goes, and that is said.
    let set = "set services nat pool src-pool-nat64 port range low 5000 high 5999";
    let delete = "delete services nat pool src-pool-nat64 port automatic";
    let body = json!({"edit": edit, "commands": [delete, set]});
    client
        .post("/v1/configuration/candidate/commands", &body)
        .await
        .unwrap();
    let committed = client
        .post("/v1/configuration/commit", &json!({"edit": edit}))
        .await
        .unwrap();
    assert_eq!(committed["cards"][0]["sessions-removed"], 1, "{committed}");

    // And back.
    let body = json!({"edit": edit, "n": 2});
    client
        .post("/v1/configuration/candidate/rollback", &body)
        .await
        .unwrap();
    client
        .post("/v1/configuration/commit", &json!({"edit": edit}))
        .await
        .unwrap();
    let seed: Text = client.get_as("/v1/configuration/active?format=set").await;
    assert!(
        !seed.text.contains("max-flows") && !seed.text.contains("range"),
        "{}",
        seed.text
    );
    let commits = client.get("/v1/configuration/commits").await.unwrap();
    assert_eq!(commits["commits"].as_array().unwrap().len(), 4, "{commits}");

    // A configuration that is refused changes nothing, and every problem has its place.
    let body = json!({"edit": edit, "commands": ["delete services nat pool src-pool-nat64"]});
    client
        .post("/v1/configuration/candidate/commands", &body)
        .await
        .unwrap();
    let refused = client
        .post("/v1/configuration/commit", &json!({"edit": edit}))
        .await
        .unwrap_err();
    assert_eq!(refused["code"], "commit-check", "{refused}");
    let places = refused["places"].as_array().unwrap();
    let pool = places
        .iter()
        .find(|place| place["text"] == "source-pool src-pool-nat64");
    assert!(
        pool.is_some_and(|place| place["line"] == 22 && place["column"] == 25),
        "{refused}"
    );
    let active: Text = client.get_as("/v1/configuration/active?format=set").await;
    assert_eq!(active.text, seed.text);
    let wrong = json!({"edit": edit, "commands": ["set services nat pool p addres 192.0.2.0/24"]});
    let refused = client
        .post("/v1/configuration/candidate/commands", &wrong)
        .await
        .unwrap_err();
    assert_eq!(refused["code"], "syntax", "{refused}");
    assert_eq!(refused["places"][0]["column"], 25, "{refused}");
    rig.running.stop().await;
}

/// A router solicitation (RFC 4861 section 4.1) in a frame, with this hop limit.
fn solicitation(hop_limit: u8) -> Vec<u8> {
    let source: std::net::Ipv6Addr = "fe80::9".parse().unwrap();
    let routers: std::net::Ipv6Addr = "ff02::2".parse().unwrap();
    let header = etherparse::Ipv6Header {
        payload_length: 8,
        next_header: etherparse::IpNumber::IPV6_ICMP,
        hop_limit,
        source: source.octets(),
        destination: routers.octets(),
        ..Default::default()
    };
    let message = etherparse::Icmpv6Type::Unknown {
        type_u8: 133,
        code_u8: 0,
        bytes5to8: [0; 4],
    };
    let icmp = etherparse::Icmpv6Header::with_checksum(message, source.octets(), routers.octets(), &[]).unwrap();
    let mut frame = vec![0x33, 0x33, 0, 0, 0, 2];
    frame.extend_from_slice(&super::rig::PEER);
    frame.extend_from_slice(&[0x86, 0xdd]);
    header.write(&mut frame).unwrap();
    icmp.write(&mut frame).unwrap();
    frame
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_are_told_of_the_prefix_whatever_the_card() {
    let rig = Rig::start().await;
    let set = nat64_host::config::parse(SEED, "seed.conf").unwrap().to_set();
    let unit = "set nat64-nic port 0 unit 0 family inet6 address 2001:db8::1/64
        set nat64-nic port 0 unit 0 router-advertisement nat-prefix 64:ff9b::/96 lifetime 600
        set nat64-nic port 1 unit 0 side outside";
    rig.commit(&format!("{set}{unit}")).await.unwrap();
    // PREF64 (RFC 8781): option 38 of 16 bytes, 75 units of 8 s and the code of a prefix of 96 bits, the prefix.
    let option = [[38, 2, 2, 88, 0, 0x64, 0xff, 0x9b], [0; 8]].concat();
    let heard = || {
        let (port, frame) = rig.wire.sent().expect("an advertisement");
        assert_eq!(
            (port, &frame[..6], frame[54]),
            (0, &[0x33, 0x33, 0, 0, 0, 1][..], 134),
            "{frame:02x?}"
        );
        assert!(frame.windows(16).any(|window| window == option), "{frame:02x?}");
    };
    heard();
    // Who asks is told, after the pause there must be between two; who asks from another link is not.
    let asked = std::time::Instant::now();
    rig.wire.arrive(0, solicitation(255));
    heard();
    assert!(
        asked.elapsed() < std::time::Duration::from_secs(8),
        "not the next regular one"
    );
    rig.wire.arrive(0, solicitation(64));
    let client = rig.client();
    wait_for(|| async {
        let drops: Vec<Drop> = client.get_as("/v1/drops").await;
        drops
            .iter()
            .any(|drop| drop.reason == "BadNeighbourMessage" && drop.count == 1)
            .then_some(())
    })
    .await;
    rig.running.stop().await;
}
