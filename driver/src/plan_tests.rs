//! What the card's tables hold for a configuration.

use nat64_layout::tables::PREF64_BASE;
use nat64_xlate::config::PrefixMatch;

use super::*;
use crate::testing::{gateway_config, translate};

fn prefix(text: &str) -> PrefixMatch {
    let (address, length) = text.split_once('/').expect("prefix");
    PrefixMatch {
        address: address.parse().expect("IPv6"),
        length: length.parse().expect("length"),
        except: false,
    }
}

fn term(from: Match, then: Action) -> Term {
    Term {
        rule: "r".into(),
        name: "t".into(),
        from,
        then,
    }
}

fn v6(text: &str) -> Ipv6Addr {
    text.parse().expect("IPv6")
}

#[test]
fn the_worked_example_fits() {
    let plan = Plan::new(&gateway_config()).expect("fits");
    let unit = |port, ipv6, ipv4| {
        tables::Unit {
            port,
            vlans: [None; 2],
            service_set: 0,
            ipv6,
            ipv4,
        }
        .to_words()
    };
    assert_eq!(plan.units[..3], [unit(0, true, false), unit(1, false, true), [0; 2]]);
    assert_eq!(plan.pref64s[0], [0x0064_ff9b, 0, 0, 5 | 1 << 31]);
    let source = u128::from(v6("2001:db8::"));
    let term = tables::Term {
        source,
        length: 96,
        service_set: 0,
        pref64s: 1,
        action: TermAction::Translate,
    };
    assert_eq!(plan.terms[..2], [term.to_words(), [0; 5]]);
    assert_eq!(plan.pools[..2], [[0xcb00_7101, 0xcb00_71fe, 1 << 31], [0; 3]]);
    assert_eq!(
        plan.service_sets[0],
        tables::ServiceSet {
            mtu4: 1500,
            mtu6: 1500,
            fragment6: 1280,
            df_clear_max: 1260
        }
        .to_words()
    );
    assert_eq!(plan.pref64(0, v6("64:ff9b::"), 96), Some(0));
    assert_eq!(plan.pref64(0, v6("64:ff9b::"), 64), None);
    assert!(plan.offloads(0) && !plan.offloads(1));
    assert_eq!(PREF64_BASE % 0x1000, 0);
}

#[test]
fn longer_prefixes_come_first_and_cover_for_the_shorter() {
    let mut config = gateway_config();
    let set = &mut config.xlate.service_sets[0];
    set.terms = vec![
        term(Match::default(), translate("2001:db8:64::", 48)),
        term(
            Match {
                source: vec![prefix("2001:db8::/32")],
                ..Match::default()
            },
            translate("2001:db8:64:1::", 64),
        ),
    ];
    let plan = Plan::new(&config).expect("fits");
    assert_eq!(plan.pref64(0, v6("2001:db8:64:1::"), 64), Some(0));
    assert_eq!(plan.pref64(0, v6("2001:db8:64::"), 48), Some(1));
    let all = tables::Term {
        source: 0,
        length: 0,
        service_set: 0,
        pref64s: 3,
        action: TermAction::Translate,
    };
    assert_eq!(plan.terms[0], all.to_words());
    assert_eq!(plan.terms[1], [0; 5], "the second is never reached in the card");
}

#[test]
fn what_the_card_cannot_express_is_widened() {
    let mut config = gateway_config();
    let low_high = (v6("2001:db8::10"), v6("2001:db8::1f"), false);
    let mut except = prefix("2001:db8:5::/48");
    except.except = true;
    config.xlate.service_sets[0].terms = vec![
        term(
            Match {
                source_ranges: vec![low_high],
                ..Match::default()
            },
            translate("64:ff9b::", 96),
        ),
        term(
            Match {
                source: vec![prefix("2001:db8::/32"), except],
                destination_ports: Some((80, 80)),
                ..Match::default()
            },
            translate("64:ff9b::", 96),
        ),
    ];
    let plan = Plan::new(&config).expect("fits");
    let entry = |source, length| tables::Term {
        source: u128::from(v6(source)),
        length,
        service_set: 0,
        pref64s: 1,
        action: TermAction::Translate,
    };
    assert_eq!(
        plan.terms[..3],
        [
            entry("2001:db8::10", 124).to_words(),
            entry("2001:db8::", 32).to_words(),
            [0; 5]
        ]
    );
}

#[test]
fn no_translation_is_the_ports_policy_where_exact_and_the_hosts_matter_where_not() {
    let mut config = gateway_config();
    let from = Match {
        source: vec![prefix("2001:db8:1::/48")],
        ..Match::default()
    };
    let ports = Match {
        destination_ports: Some((22, 22)),
        ..Match::default()
    };
    let inside = Match {
        destination: vec![prefix("64:ff9b::c000:200/120")],
        ..Match::default()
    };
    let elsewhere = Match {
        destination: vec![prefix("2001:db8:2::/48")],
        ..Match::default()
    };
    let set = &mut config.xlate.service_sets[0];
    let translated = set.terms[0].clone();
    set.terms = [from, ports, inside, elsewhere]
        .into_iter()
        .map(|m| term(m, Action::NoTranslation))
        .collect();
    set.terms.push(translated);
    let plan = Plan::new(&config).expect("fits");
    let actions: Vec<u32> = plan.terms.iter().map(|words| words[4] >> 20 & 3).collect();
    // The third is shadowed by the second, the fourth never matches; so is what comes after a catch-all.
    assert_eq!(actions[..3], [TermAction::Policy as u32, TermAction::Punt as u32, 0]);
}

#[test]
fn long_source_lists_are_widened_and_too_many_prefixes_refused() {
    let mut config = gateway_config();
    let sources = (0..20).map(|i| prefix(&format!("2001:db8:{i:x}::/48"))).collect();
    config.xlate.service_sets[0].terms[0].from.source = sources;
    let plan = Plan::new(&config).expect("widened");
    let all = tables::Term {
        source: 0,
        length: 0,
        service_set: 0,
        pref64s: 1,
        action: TermAction::Translate,
    };
    assert_eq!(plan.terms[..2], [all.to_words(), [0; 5]]);
    config.xlate.service_sets[0].terms = (0..9)
        .map(|i| term(Match::default(), translate(&format!("2001:db8:{i:x}::"), 48)))
        .collect();
    let error = Plan::new(&config).expect_err("nine prefixes");
    assert_eq!(
        error,
        PlanError::TooMany {
            table: "pref64",
            wanted: 9,
            capacity: 8
        }
    );
    assert_eq!(
        error.to_string(),
        "the card's pref64 table holds 8 entries, the configuration needs 9"
    );
    config.xlate.service_sets[0].terms = vec![term(Match::default(), translate("2001:db8::", 33))];
    assert_eq!(Plan::new(&config), Err(PlanError::PrefixLength { length: 33 }));
}

#[test]
fn pool_ranges_that_touch_are_one_and_too_many_are_refused() {
    assert_eq!(
        join(vec![(9, 10), (1, 3), (4, 5), (2, 3), (u32::MAX, u32::MAX)]),
        [(1, 5), (9, 10), (u32::MAX, u32::MAX)]
    );
    let mut config = gateway_config();
    let address = |i: u32| std::net::Ipv4Addr::from(0xcb00_7100 + 2 * i);
    config.xlate.pools[0].ranges = (0..9).map(|i| (address(i), address(i))).collect();
    let error = Plan::new(&config).expect_err("nine ranges");
    assert_eq!(
        error,
        PlanError::TooMany {
            table: "pool",
            wanted: 9,
            capacity: 8
        }
    );
    config.xlate.service_sets[0].terms[0] = term(Match::default(), translate("64:ff9b::", 96));
    let Action::Translate(then) = &mut config.xlate.service_sets[0].terms[0].then else {
        panic!()
    };
    then.pool = 5;
    assert_eq!(Plan::new(&config), Err(PlanError::NoSuch { what: "pool", index: 5 }));
}

#[test]
fn a_set_with_a_feature_the_card_lacks_is_not_offloaded() {
    let mut config = gateway_config();
    config.xlate.service_sets[0].tos_override = Some(0);
    let plan = Plan::new(&config).expect("fits");
    assert!(!plan.offloads(0));
    assert_eq!(plan.terms[0][4] >> 20 & 3, TermAction::Punt as u32);
}
