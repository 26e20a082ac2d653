//! The worked example: read, written in both forms, built.

use std::time::Duration;

use nat64_driver::LinkType;
use nat64_host::config::{self, BuildOptions};
use nat64_layout::tables::PortPolicy;
use nat64_xlate::config::{Action, DfPolicy, Filtering, Refresh};

const SEED: &str = include_str!("../../examples/seed.conf");

const SET: &str = "\
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

#[test]
fn both_forms_give_one_tree_and_each_other() {
    let curly = config::parse(SEED, "seed.conf").unwrap_or_else(|error| panic!("{error}"));
    let set = config::parse(SET, "seed.set").unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(curly, set);
    assert_eq!(curly.to_set(), SET);
    assert_eq!(set.to_curly(), SEED.replace("2001:db8::0/96", "2001:db8::/96"));
}

#[test]
fn the_example_builds_without_a_warning() {
    let tree = config::parse_curly(SEED, "seed.conf").unwrap();
    let (gateway, warnings) = config::build(&tree, BuildOptions::default()).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    assert_eq!(gateway.link_type, LinkType::Ethernet);
    assert_eq!(
        gateway.ports.map(|p| p.mac),
        [[2, 0x4e, 0x36, 0x34, 0, 0], [2, 0x4e, 0x36, 0x34, 0, 1]]
    );
    assert!(gateway.ports.iter().all(|p| p.policy == PortPolicy::Drop));
    assert_eq!(gateway.units.len(), 2);
    assert!(gateway.units.iter().all(|u| u.auto_last_hop && u.vlans == [None, None]));
    assert_eq!([gateway.units[0].port, gateway.units[1].port], [0, 1]);

    let xlate = &gateway.xlate;
    assert_eq!(xlate.activity_tick, Duration::from_nanos(1 << nat64_layout::TICK_SHIFT));
    let [inside, outside] = xlate.units.as_slice() else {
        panic!("{:?}", xlate.units)
    };
    assert!(inside.inside && !inside.outside && inside.service_set == Some(0) && inside.mtu == 1500);
    assert!(!outside.inside && outside.outside && outside.service_set == Some(0));

    let [pool] = xlate.pools.as_slice() else {
        panic!("{:?}", xlate.pools)
    };
    assert_eq!(
        pool.ranges,
        [("203.0.113.1".parse().unwrap(), "203.0.113.254".parse().unwrap())]
    );
    assert_eq!(
        (pool.ports, pool.random, pool.mapping_timeout),
        ((1024, 65_535), false, None)
    );

    let [set] = xlate.service_sets.as_slice() else {
        panic!("{:?}", xlate.service_sets)
    };
    assert_eq!(
        (set.name.as_str(), set.outside_unit, set.df),
        ("sset-nat64", 1, DfPolicy::Rfc7915)
    );
    let [term] = set.terms.as_slice() else {
        panic!("{:?}", set.terms)
    };
    assert_eq!((term.rule.as_str(), term.name.as_str()), ("stateful-nat64", "t1"));
    assert_eq!(
        (term.from.source[0].address, term.from.source[0].length),
        ("2001:db8::".parse().unwrap(), 96)
    );
    let Action::Translate(translate) = &term.then else {
        panic!("{term:?}")
    };
    assert_eq!(
        (translate.pref64, translate.pref64_length),
        ("64:ff9b::".parse().unwrap(), 96)
    );
    assert!(translate.endpoint_independent_mapping && !translate.deterministic && !translate.paired);
    assert_eq!(translate.filtering, Filtering::EndpointIndependent);
    assert_eq!(translate.mapping_refresh, Refresh::Both);
}
