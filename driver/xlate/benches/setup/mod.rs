//! The gateway that the benchmark and the test of memory measure: one rule, one pool of 254 addresses, room for two million
//! sessions.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use nat64_xlate::config::*;
use nat64_xlate::Config;

/// Its configuration.
pub fn config() -> Config {
    let unit = |name: &str, inside| Unit {
        name: name.into(),
        service_set: Some(0),
        inside,
        outside: !inside,
        mtu: 1500,
        address6: None,
        address4: None,
    };
    Config {
        units: vec![unit("in", true), unit("out", false)],
        service_sets: vec![ServiceSet {
            name: "s".into(),
            terms: vec![Term {
                rule: "r".into(),
                name: "t".into(),
                from: Match::default(),
                then: Action::Translate(Translate {
                    pref64: Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0),
                    pref64_length: 96,
                    pool: 0,
                    overload_pool: None,
                    endpoint_independent_mapping: true,
                    filtering: Filtering::EndpointIndependent,
                    filter_prefixes: vec![],
                    eif_flow_limit: None,
                    mapping_refresh: Refresh::Both,
                    paired: false,
                    deterministic: false,
                }),
            }],
            outside_unit: 1,
            ..ServiceSet::default()
        }],
        pools: vec![Pool {
            name: "p".into(),
            ranges: vec![(Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 254))],
            ports: (1024, 65535),
            random: false,
            round_robin: false,
            preserve_parity: false,
            preserve_range: false,
            limit_ports_per_address: None,
            blocks: None,
            deterministic_block: None,
            mapping_timeout: None,
            quarantine: Duration::ZERO,
            draining: vec![],
        }],
        timers: Timers::RFC,
        limits: Limits {
            sessions: 2 << 20,
            bibs: 2 << 20,
            ..Limits::default()
        },
        activity_tick: Duration::ZERO,
    }
}
