//! Values: what statements become in the model, and what is said about those that become nothing.

use std::time::Duration;

use nat64_host::config::{self, BuildOptions, WarningKind};
use nat64_layout::tables::PortPolicy;
use nat64_layout::Protocol;
use nat64_xlate::config::{
    Action, DfPolicy, EimScope, Filtering, LandAttackCheck, OnConflict, Refresh, TcpNonSyn, Timers, UdpZeroChecksum,
    WellKnownPrefix,
};

use super::{built, changed, translate};

#[test]
fn pools() {
    let pool = |commands: &[&str]| built(commands).0.xlate.pools.swap_remove(0);
    let p = pool(&[
        "delete {pool} address",
        "set {pool} address [ 203.0.113.0/31 203.0.113.9/32 203.0.113.16/30 ]",
    ]);
    let range = |low: &str, high: &str| (low.parse().unwrap(), high.parse().unwrap());
    assert_eq!(
        p.ranges,
        [
            range("203.0.113.0", "203.0.113.1"),
            range("203.0.113.9", "203.0.113.9"),
            range("203.0.113.17", "203.0.113.18"),
        ]
    );
    let p = pool(&[
        "delete {pool} address",
        "set {pool} address-range low 203.0.113.0 high 203.0.113.3",
    ]);
    assert_eq!(p.ranges, [range("203.0.113.0", "203.0.113.3")]);
    assert!(pool(&["set {pool} port automatic random-allocation"]).random);
}

#[test]
fn pool_options() {
    let (mut gateway, warnings) = built(&[
        "delete {pool} port",
        "set {pool} port range low 2000 high 2999 random-allocation",
        "set {pool} port preserve-parity",
        "set {pool} port preserve-range",
        "set {pool} address-allocation round-robin",
        "set {pool} mapping-timeout 200",
        "set {pool} limit-ports-per-address 64",
        "set nat64-nic pool src-pool-nat64 quarantine 120",
        "set nat64-nic pool src-pool-nat64 drain 203.0.113.7",
    ]);
    assert!(warnings.is_empty(), "{warnings:?}");
    let p = gateway.xlate.pools.remove(0);
    assert_eq!((p.ports, p.random, p.round_robin), ((2000, 2999), true, true));
    assert!(p.preserve_parity && p.preserve_range);
    assert_eq!(
        (p.limit_ports_per_address, p.mapping_timeout),
        (Some(64), Some(Duration::from_secs(200)))
    );
    assert_eq!(
        (p.quarantine, p.draining),
        (Duration::from_secs(120), vec!["203.0.113.7".parse().unwrap()])
    );

    let p = built(&["set {pool} port secured-port-block-allocation block-size 256"])
        .0
        .xlate
        .pools
        .remove(0);
    let blocks = p.blocks.unwrap();
    assert_eq!((blocks.block_size, blocks.max_blocks_per_address), (256, 8));
    assert_eq!(blocks.active_block_timeout, Duration::from_secs(120));
    let (mut gateway, _) = built(&[
        "delete {term} from source-address",
        "set {term} from source-address 2001:db8::/120",
        "set {pool} port deterministic-port-block-allocation include-boundary-addresses",
        "set {pool} ei-mapping-timeout 130",
        "set {pool} mapping-timeout 140",
        "delete {term} then translated translation-type",
        "set {term} then translated translation-type deterministic-napt64",
    ]);
    assert!(translate(&gateway).deterministic);
    let p = gateway.xlate.pools.remove(0);
    let blocks = p.deterministic_block.unwrap();
    assert!(blocks.block_size == 512 && blocks.include_boundary_addresses && p.blocks.is_none());
    assert_eq!(p.mapping_timeout, Some(Duration::from_secs(130)));
}

#[test]
fn terms() {
    let (gateway, _) = built(&[
        "set policy-options prefix-list clients 2001:db8:7::/48",
        "set policy-options prefix-list clients 192.0.2.0/24",
        "set services nat pool more address 198.51.100.0/24",
        "set services nat pool more port automatic",
        "set {term} from source-address 2001:db8::5/128 except",
        "set {term} from source-prefix-list clients",
        "set {term} from source-address-range low 2001:db8::1 high 2001:db8::9 except",
        "set {term} from destination-port range low 80 high 443",
        "set {term} then translated destination-prefix 2001:db8:64::/40",
        "set {term} then translated overload-pool more",
        "set {term} then translated mapping-type endpoint-independent",
        "set {term} then translated address-pooling paired",
        "set {term} then translated secure-nat-mapping eif-flow-limit 3 mapping-refresh outbound",
        "set {term} then translated filtering-type endpoint-independent prefix-list clients except",
        "set {term} then syslog",
        "set services nat rule stateful-nat64 term t2 from source-address any-unicast",
        "set services nat rule stateful-nat64 term t2 then no-translation",
    ]);
    let set = &gateway.xlate.service_sets[0];
    assert!(set.log_sessions);
    let from = &set.terms[0].from;
    let lengths: Vec<(u8, bool)> = from.source.iter().map(|p| (p.length, p.except)).collect();
    assert_eq!(lengths, [(96, false), (128, true), (48, false)]);
    assert_eq!(
        from.source_ranges,
        [("2001:db8::1".parse().unwrap(), "2001:db8::9".parse().unwrap(), true)]
    );
    assert_eq!(from.destination_ports, Some((80, 443)));
    let t = translate(&gateway);
    // 2001:db8:64:: has bits past /40.
    assert_eq!((t.pref64, t.pref64_length), ("2001:db8::".parse().unwrap(), 40));
    assert_eq!((t.pool, t.overload_pool, t.paired), (0, Some(1), true));
    assert_eq!((t.eif_flow_limit, t.mapping_refresh), (Some(3), Refresh::Outbound));
    assert_eq!(t.filter_prefixes, [("192.0.2.0".parse().unwrap(), 24, true)]);
    assert_eq!(set.terms[1].then, Action::NoTranslation);
    assert_eq!(
        (set.terms[1].from.source[0].length, set.terms[1].name.as_str()),
        (0, "t2")
    );
}

#[test]
fn profiles_and_df() {
    let df = |commands: &[&str]| built(commands).0.xlate.service_sets[0].df;
    let without = "delete {set} nat-options stateful-nat64 clear-dont-fragment-bit";
    let junos = "set nat64-nic timers profile junos";
    assert_eq!(df(&[]), DfPolicy::Rfc7915);
    assert_eq!(df(&[without]), DfPolicy::Rfc7915);
    assert_eq!(df(&[junos]), DfPolicy::JunosClear);
    assert_eq!(df(&[junos, without]), DfPolicy::AlwaysSet);

    let (gateway, _) = built(&[junos]);
    assert_eq!(gateway.xlate.timers, Timers::JUNOS);
    assert_eq!(gateway.xlate.pools[0].mapping_timeout, Some(Duration::from_secs(300)));
    let t = translate(&gateway);
    assert!(!t.endpoint_independent_mapping && t.filtering == Filtering::AddressAndPortDependent);
    let (gateway, _) = built(&[junos, "set {term} then translated mapping-type endpoint-independent"]);
    assert!(translate(&gateway).endpoint_independent_mapping);
    assert_eq!(translate(&gateway).filtering, Filtering::AddressAndPortDependent);
    let (gateway, _) = built(&[junos, "set {term} then translated filtering-type endpoint-independent"]);
    assert_eq!(translate(&gateway).filtering, Filtering::EndpointIndependent);
    let (gateway, _) = built(&["set {own} mapping address-and-port-dependent filtering address-dependent"]);
    let t = translate(&gateway);
    assert!(!t.endpoint_independent_mapping && t.filtering == Filtering::AddressDependent);
}

#[test]
fn timers_and_limits() {
    let (gateway, warnings) = built(&[
        "set {set} service-set-options tcp-session open-timeout 250 close-timeout 245 tcp-tickles 3",
        "set {set} service-set-options tcp-session inactivity-tcp-timeout 8000",
        "set {set} service-set-options inactivity-non-tcp-timeout 400",
        "set nat64-nic timers icmp 61",
        "set nat64-nic timers udp 100",
        "set nat64-nic limits sessions 2k bibs 1m stored-syns 5 embryonic 6 icmp-errors-per-second 7",
        "set nat64-nic limits fragment-bytes 100k fragments-per-packet 8 fragmented-packets-per-source 9",
    ]);
    let t = gateway.xlate.timers;
    let seconds = [t.udp, t.icmp, t.tcp_established, t.tcp_transitory, t.tcp_incoming_syn].map(|d| d.as_secs());
    assert_eq!((seconds, t.tcp_probes), ([100, 61, 8000, 250, 6], 3));
    let texts: Vec<String> = warnings.iter().map(|w| w.kind.to_string()).collect();
    assert!(
        texts.len() == 2 && texts[0].contains("share one timer") && texts[1].contains("less than the 120 s"),
        "{texts:?}"
    );
    let l = gateway.xlate.limits;
    assert_eq!(
        (l.sessions, l.bibs, l.stored_syns, l.embryonic, l.icmp_errors_per_second),
        (2000, 1_000_000, 5, Some(6), 7)
    );
    assert_eq!(
        (
            l.fragment_bytes,
            l.fragments_per_packet,
            l.fragmented_packets_per_source
        ),
        (100_000, 8, 9)
    );
}

#[test]
fn service_set_options() {
    let (mut gateway, warnings) = built(&[
        "set {set} nat-options land-attack-check ip-port",
        "set {set} nat-options max-sessions-per-subscriber 100",
        "set {set} nat-options stateful-nat64 no-v6-frag-header ipv6-mtu 1400",
        "set {set} service-set-options max-sessions-per-subscriber 90",
        "set {set} service-set-options tcp-non-syn drop-flow-send-rst",
        "set {set} service-set-options session-limit maximum 2m",
        "set {set} max-flows 10k",
        "set {set} max-session-setup-rate 500",
        "set {set} tcp-mss 1300",
        "set {set} service-set-options tcp-session tcp-mss 1200",
        "set {own} eim-scope service-set on-conflict drop",
        "set {own} tos-override 184 udp-zero-checksum drop icmp-source-extension",
        "set {own} no-strict-well-known-prefix no-outside-tcp-open subscriber-prefix-length 64",
        "set {own} static-binding udp inside 2001:db8::1 port 53 outside 203.0.113.1 port 5353 rule stateful-nat64",
    ]);
    assert!(warnings.is_empty(), "{warnings:?}");
    assert!(!translate(&gateway).endpoint_independent_mapping, "Junos to the letter");
    let set = gateway.xlate.service_sets.remove(0);
    assert_eq!(set.land_attack_check, Some(LandAttackCheck::IpPort));
    assert_eq!((set.max_sessions_per_subscriber, set.subscriber_length), (Some(90), 64));
    assert_eq!((set.no_v6_frag_header, set.ipv6_mtu), (true, 1400));
    assert_eq!(set.tcp_non_syn, TcpNonSyn::DropSendRst);
    assert_eq!(
        (set.max_sessions, set.max_setup_rate, set.tcp_mss),
        (Some(10_000), Some(500), Some(1200))
    );
    assert_eq!(
        (set.eim_scope, set.on_conflict),
        (EimScope::ServiceSet, OnConflict::Drop)
    );
    assert_eq!(set.well_known_prefix, WellKnownPrefix::Any);
    assert!(!set.outside_tcp_open);
    assert_eq!((set.tos_override, set.icmp_source_extension), (Some(184), true));
    assert_eq!(set.udp_zero_checksum, UdpZeroChecksum::Drop);
    for (statement, rule) in [
        (None, WellKnownPrefix::Documentation),
        (Some("set {own} strict-well-known-prefix"), WellKnownPrefix::Strict),
    ] {
        let (gateway, _) = built(statement.as_slice());
        assert_eq!(gateway.xlate.service_sets[0].well_known_prefix, rule);
    }
    let binding = &set.static_bindings[0];
    assert_eq!(
        (binding.protocol, binding.inside, binding.outside, binding.term),
        (
            Protocol::Udp,
            ("2001:db8::1".parse().unwrap(), 53),
            ("203.0.113.1".parse().unwrap(), 5353),
            0
        )
    );
}

#[test]
fn the_two_rule_case_is_warned_about() {
    let second = [
        "set services nat rule two match-direction input",
        "set services nat rule two term t from destination-address 2001:db8:64::/96",
        "set services nat rule two term t then translated source-pool src-pool-nat64",
        "set services nat rule two term t then translated destination-prefix 2001:db8:64::/96",
        "set services nat rule two term t then translated translation-type stateful-nat64",
        "set services nat rule two term t then translated mapping-type endpoint-independent",
        "set {term} then translated mapping-type endpoint-independent",
        "set {set} nat-rules two",
    ];
    let eim = |more: &[&str]| {
        let commands: Vec<&str> = second.iter().chain(more).copied().collect();
        built(&commands)
            .1
            .iter()
            .filter(|w| matches!(w.kind, WarningKind::EimConflict(_)))
            .count()
    };
    assert_eq!(eim(&[]), 0);
    assert_eq!(eim(&["set {own} eim-scope service-set"]), 1);
    assert_eq!(eim(&["set {own} eim-scope service-set on-conflict drop"]), 1);
    assert_eq!(
        eim(&[
            "set {own} eim-scope service-set on-conflict drop",
            "delete {term} then translated mapping-type",
            "delete services nat rule two term t then translated mapping-type",
        ]),
        0
    );
}

#[test]
fn ports_and_units() {
    let (gateway, _) = built(&[
        "set nat64-nic port 1 mac 02:AA:00:00:00:09",
        "set nat64-nic port 1 unmatched forward",
        "set nat64-nic port 1 unit 20 vlan-tags outer 20 inner 21",
        "set nat64-nic port 1 unit 20 family inet address 192.0.2.1/24",
        "set nat64-nic port 1 unit 20 family inet gateway 192.0.2.254",
        "set nat64-nic port 0 unmatched punt",
        "set nat64-nic port 0 unit 10 vlan-id 10",
        "set nat64-nic port 0 unit 10 mtu 1400",
        "set nat64-nic port 0 unit 10 no-auto-last-hop",
        "set nat64-nic port 0 unit 10 family inet6 address [ 2001:db8::1/64 fe80::1/64 ]",
        "set nat64-nic port 0 unit 10 family inet6 gateway fe80::2",
        "set nat64-nic port 0 unit 11 side both",
    ]);
    assert_eq!(gateway.ports[1].mac, [2, 0xaa, 0, 0, 0, 9]);
    assert_eq!(gateway.ports.map(|p| p.policy), [PortPolicy::Punt, PortPolicy::Forward]);
    // Units of port 0 come first, whatever the order of the text.
    let names: Vec<&str> = gateway.xlate.units.iter().map(|u| u.name.as_str()).collect();
    assert_eq!(names, ["port0.10", "port0.11", "port1.20"]);
    let sides: Vec<(bool, bool)> = gateway.xlate.units.iter().map(|u| (u.inside, u.outside)).collect();
    assert_eq!(sides, [(true, false), (true, true), (false, true)]);
    assert_eq!(gateway.xlate.service_sets[0].outside_unit, 1);
    let [inside, _, outside] = gateway.units.as_slice() else {
        panic!()
    };
    assert_eq!(
        (inside.port, inside.vlans, inside.auto_last_hop),
        (0, [Some(10), None], false)
    );
    assert_eq!(
        inside.addresses6,
        [("2001:db8::1".parse().unwrap(), 64), ("fe80::1".parse().unwrap(), 64)]
    );
    assert_eq!(inside.gateway6, Some("fe80::2".parse().unwrap()));
    assert_eq!(
        (outside.port, outside.vlans, outside.auto_last_hop),
        (1, [Some(20), Some(21)], true)
    );
    assert_eq!(outside.addresses4, [("192.0.2.1".parse().unwrap(), 24)]);
    assert_eq!(outside.gateway4, Some("192.0.2.254".parse().unwrap()));
    assert_eq!(gateway.xlate.units[0].mtu, 1400);
    assert_eq!(gateway.xlate.units[0].address6, Some("2001:db8::1".parse().unwrap()));
    assert_eq!(gateway.xlate.units[2].address4, Some("192.0.2.1".parse().unwrap()));
}

#[test]
fn the_vlan_example_builds() {
    let tree = config::parse_curly(include_str!("../../../examples/vlan.conf"), "vlan.conf").unwrap();
    let (gateway, warnings) = config::build(&tree, BuildOptions::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let vlans: Vec<_> = gateway.units.iter().map(|u| (u.port, u.vlans)).collect();
    assert_eq!(vlans, [(0, [Some(10), None]), (1, [Some(20), None])]);
}

#[test]
fn warnings_name_what_has_no_effect_and_what_is_old() {
    let (_, warnings) = built(&[
        "set version 23.2R2",
        "set {set} syslog host local class ids-logs",
        "set {set} nat-options stateful-nat64 disable-h323-ras",
        "set {pool} port automatic auto",
        "set {pool} address 198.51.100.9/30",
        "set {term} from destination-address 2001:db8:64::/96",
        "delete {term} from destination-address 64:ff9b::/96",
    ]);
    let texts: Vec<String> = warnings.iter().map(|w| w.kind.to_string()).collect();
    for wanted in [
        "`version 23.2R2` has no effect",
        "`ids-logs` has no effect",
        "`disable-h323-ras` has no effect",
        "`auto` is deprecated and means `sequential`",
        "198.51.100.8/30 is used",
        "no destination of the term `t1`",
    ] {
        assert!(texts.iter().any(|text| text.contains(wanted)), "{wanted}: {texts:#?}");
    }
    assert_eq!(texts.len(), 6, "{texts:#?}");
    assert!(changed(&["set {pool} port automatic auto"])
        .to_set()
        .contains("port automatic auto\n"));
}
