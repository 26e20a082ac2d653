//! Problems: each alone, with its place, all of them at once, and as a person sees them.

use nat64_host::config::{self, BuildOptions, Tree};

use super::{changed, SEED, TWO_SETS};

/// Commands after which the example has this one problem.
const PROBLEMS: &[(&str, &[&str])] = &[
    ("has no address", &["delete {pool} address"]),
    ("no `services nat pool`", &["delete services", "set {set} nat-rules r"]),
    ("no `services service-set`", &["delete services service-set"]),
    ("has no `nat-rules`", &["delete {set} nat-rules"]),
    ("there is no `services nat rule other`", &["set {set} nat-rules other"]),
    (
        "there is no `services nat rule-set rs`",
        &["set {set} nat-rule-sets rs", "delete {set} nat-rules"],
    ),
    (
        "there is no `services nat rule r9`",
        &["set services nat rule-set rs rule r9"],
    ),
    (
        "`nat-rules` and `nat-rule-sets` exclude",
        &[
            "set services nat rule-set rs rule stateful-nat64",
            "set services nat rule extra match-direction input term t then no-translation",
            "set services nat rule-set rs2 rule extra",
            "set {set} nat-rule-sets rs2",
        ],
    ),
    (
        "has no `match-direction`",
        &["delete services nat rule stateful-nat64 match-direction"],
    ),
    (
        "`match-direction output`",
        &["set services nat rule stateful-nat64 match-direction output"],
    ),
    ("has no `term`", &["set services nat rule empty match-direction input"]),
    ("has no `then`", &["delete {term} then"]),
    (
        "neither translates nor",
        &["delete {term} then", "set {term} then syslog"],
    ),
    (
        "`translated` and `no-translation` exclude",
        &["set {term} then no-translation"],
    ),
    ("has no `source-pool`", &["delete {term} then translated source-pool"]),
    (
        "has no `destination-prefix`",
        &["delete {term} then translated destination-prefix"],
    ),
    (
        "has no `translation-type`",
        &["delete {term} then translated translation-type"],
    ),
    (
        "`stateful-nat64` and `deterministic-napt64` exclude",
        &["set {term} then translated translation-type deterministic-napt64"],
    ),
    (
        "needs `port deterministic-port-block-allocation`",
        &[
            "delete {term} then translated translation-type",
            "set {term} then translated translation-type deterministic-napt64",
        ],
    ),
    (
        "needs `deterministic-napt64`",
        &["set {pool} port deterministic-port-block-allocation"],
    ),
    (
        "deterministic NAT needs source prefixes",
        &[
            "set {pool} port deterministic-port-block-allocation",
            "delete {term} then translated translation-type",
            "set {term} then translated translation-type deterministic-napt64",
            "delete {term} from source-address",
        ],
    ),
    (
        "there is no `services nat pool p9`",
        &["set {term} then translated source-pool p9"],
    ),
    (
        "there is no `services nat pool p8`",
        &["set {term} then translated overload-pool p8"],
    ),
    (
        "the overload pool is the source pool",
        &["set {term} then translated overload-pool src-pool-nat64"],
    ),
    (
        "a destination prefix has length",
        &["set {term} then translated destination-prefix 64:ff9b::/80"],
    ),
    (
        "bits 64 to 71",
        &["set {term} then translated destination-prefix 2001:db8:0:0:100::/96"],
    ),
    ("longer than /16, this is a /16", &["set {pool} address 11.0.0.0/16"]),
    (
        "less than 65536 addresses",
        &["set {pool} address-range low 11.0.0.0 high 11.0.255.255"],
    ),
    (
        "the range begins at 11.0.0.2",
        &["set {pool} address-range low 11.0.0.2 high 11.0.0.1"],
    ),
    ("can never be used", &["set {pool} address 127.0.0.0/24"]),
    ("can never be used", &["set {pool} address 192.0.0.0/24"]),
    ("can never be used", &["set {pool} address 239.1.0.0/24"]),
    (
        "can never be used",
        &["set {pool} address-range low 223.255.254.9 high 223.255.255.1"],
    ),
    ("can never be used", &["set {pool} address 255.255.255.255/32"]),
    (
        "share addresses from 203.0.113.254 to 203.0.113.254",
        &["set services nat pool q address 203.0.113.254/32"],
    ),
    (
        "has the addresses 203.0.113.9 to 203.0.113.9 twice",
        &["set {pool} address-range low 203.0.113.9 high 203.0.113.9"],
    ),
    (
        "`automatic` and `range` exclude",
        &["set {pool} port range low 1 high 2"],
    ),
    (
        "`sequential` and `random-allocation` exclude",
        &["set {pool} port automatic sequential random-allocation"],
    ),
    (
        "`auto` and `random-allocation` exclude",
        &["set {pool} port automatic auto random-allocation"],
    ),
    (
        "needs `low` and `high`",
        &["delete {pool} port", "set {pool} port range low 1"],
    ),
    (
        "the port range begins at 2",
        &["delete {pool} port", "set {pool} port range low 2 high 1"],
    ),
    (
        "-port-block-allocation` and `deterministic",
        &[
            "set {pool} port secured-port-block-allocation",
            "set {pool} port deterministic-port-block-allocation",
            "delete {term} then translated translation-type",
            "set {term} then translated translation-type deterministic-napt64",
            "delete {term} from source-address",
            "set {term} from source-address 2001:db8::/120",
        ],
    ),
    (
        "`preserve-parity` and port blocks exclude",
        &["set {pool} port preserve-parity secured-port-block-allocation"],
    ),
    (
        "a block of 128 ports does not fit in the 100",
        &[
            "delete {pool} port",
            "set {pool} port range low 1001 high 1100",
            "set {pool} port secured-port-block-allocation",
        ],
    ),
    (
        "there is no `policy-options prefix-list l`",
        &["set {term} from source-prefix-list l"],
    ),
    (
        "has no IPv6 prefix",
        &[
            "set policy-options prefix-list l 192.0.2.0/24",
            "set {term} from destination-prefix-list l",
        ],
    ),
    (
        "has no IPv4 prefix",
        &[
            "set policy-options prefix-list l 2001:db8::/32",
            "set {term} then translated filtering-type endpoint-independent prefix-list l",
        ],
    ),
    (
        "the range begins at 2001:db8::2",
        &["set {term} from source-address-range low 2001:db8::2 high 2001:db8::1"],
    ),
    (
        "needs `low` and `high`",
        &["set {term} from destination-port range low 80"],
    ),
    (
        "`interface-service` and `next-hop-service` exclude",
        &["set {set} next-hop-service inside-service-interface ms-1/0/0.1 outside-service-interface ms-1/0/0.2"],
    ),
    (
        "has no `outside-service-interface`",
        &[
            "delete {set} interface-service",
            "set {set} next-hop-service inside-service-interface ms-1/0/0.1",
        ],
    ),
    (
        "is both inside and outside",
        &[
            "delete {set} interface-service",
            "set {set} next-hop-service inside-service-interface ms-1/0/0.0 outside-service-interface ms-1/0/0",
        ],
    ),
    (
        "already the service interface of `sset-nat64`",
        &[
            "set services service-set two nat-rules stateful-nat64",
            "set services service-set two interface-service service-interface ms-0/1/0.0",
            "set services nat allow-overlapping-nat-pools",
            TWO_SETS[0],
            TWO_SETS[1],
            TWO_SETS[2],
            TWO_SETS[3],
        ],
    ),
    (
        "one set of timers",
        &[
            "set {set} service-set-options tcp-session open-timeout 10",
            "set services service-set two nat-rules stateful-nat64",
            "set services service-set two service-set-options tcp-session open-timeout 11",
            "set services nat allow-overlapping-nat-pools",
            TWO_SETS[0],
            TWO_SETS[1],
            TWO_SETS[2],
            TWO_SETS[3],
        ],
    ),
    (
        "there is no `services service-set x`",
        &["set nat64-nic service-set x on-conflict drop"],
    ),
    (
        "there is no `services nat pool x`",
        &["set nat64-nic pool x quarantine 1"],
    ),
    (
        "is no address of the pool",
        &["set nat64-nic pool src-pool-nat64 drain 203.0.113.0"],
    ),
    (
        "exclude each other",
        &["set {own} strict-well-known-prefix no-strict-well-known-prefix"],
    ),
    (
        "no term of the service set translates",
        &["set {own} static-binding tcp inside 2001:db8::1 port 80 outside 203.0.113.1 port 80 term t9"],
    ),
    (
        "can never be used",
        &["set {own} static-binding tcp inside 2001:db8::1 port 80 outside 224.0.0.1 port 80"],
    ),
    (
        "another static binding",
        &[
            "set {own} static-binding tcp inside 2001:db8::1 port 80 outside 203.0.113.1 port 80",
            "set {own} static-binding tcp inside 2001:db8::2 port 80 outside 203.0.113.1 port 80",
        ],
    ),
    (
        "the unit `port0.1` of this port has the same VLAN tags",
        &[
            "set nat64-nic port 0 unit 1 vlan-id 7",
            "set nat64-nic port 0 unit 2 vlan-id 7",
            "set nat64-nic port 1 unit 0",
        ],
    ),
    (
        "`vlan-id` and `vlan-tags` exclude",
        &[
            "set nat64-nic port 0 unit 1 vlan-id 7 vlan-tags outer 1 inner 2",
            "set nat64-nic port 1 unit 0",
        ],
    ),
    ("has no outside unit", &["set nat64-nic port 0 unit 0"]),
    ("has no inside unit", &["set nat64-nic port 1 unit 0"]),
    (
        "there is no `services service-set s9`",
        &[
            "set nat64-nic port 0 unit 0 service-set s9",
            "set nat64-nic port 0 unit 1 vlan-id 4",
            "set nat64-nic port 1 unit 0",
        ],
    ),
    (
        "names none",
        &[
            "set services service-set two nat-rules stateful-nat64",
            "set services nat allow-overlapping-nat-pools",
            TWO_SETS[0],
            TWO_SETS[1],
            TWO_SETS[2],
            TWO_SETS[3],
            "set nat64-nic port 0 unit 9 vlan-id 9",
        ],
    ),
    (
        "no unit has the service set `two`",
        &[
            "set services service-set two nat-rules stateful-nat64",
            "set services nat allow-overlapping-nat-pools",
        ],
    ),
    (
        "the service sets `sset-nat64` and `two` use the pool",
        &[
            "set services service-set two nat-rules stateful-nat64",
            TWO_SETS[0],
            TWO_SETS[1],
            TWO_SETS[2],
            TWO_SETS[3],
        ],
    ),
    (
        "share addresses from 203.0.113.9",
        &[
            "set services nat allow-overlapping-nat-pools",
            "set services nat pool q address-range low 203.0.113.9 high 203.0.113.9",
            "set services nat pool q port automatic",
            "set {term} then translated overload-pool q",
        ],
    ),
    (
        "has the addresses 203.0.113.9 to 203.0.113.9 twice",
        &[
            "set services nat allow-overlapping-nat-pools",
            "set {pool} address-range low 203.0.113.9 high 203.0.113.9",
        ],
    ),
    (
        "subscribers need blocks",
        &[
            "set {pool} port deterministic-port-block-allocation",
            "delete {term} then translated translation-type",
            "set {term} then translated translation-type deterministic-napt64",
        ],
    ),
    (
        "is no address of one station",
        &["set nat64-nic port 0 mac 01:00:5e:00:00:01"],
    ),
    (
        "the same Ethernet address",
        &[
            "set nat64-nic port 0 mac 02:00:00:00:00:01",
            "set nat64-nic port 1 mac 02:00:00:00:00:01",
        ],
    ),
    (
        "is no address of one host",
        &[
            "set nat64-nic port 0 unit 0 family inet6 address ff02::1/64",
            "set nat64-nic port 1 unit 0",
        ],
    ),
    (
        "the card's rule-term table holds 8 entries",
        &[
            "set {term} from source-address [ 2001:db8:1::/64 2001:db8:2::/64 2001:db8:3::/64 2001:db8:4::/64 ]",
            "set {term} from source-address [ 2001:db8:5::/64 2001:db8:6::/64 2001:db8:7::/64 2001:db8:8::/64 ]",
            "set services nat rule no match-direction input term t from source-address 2001:db8:9::/64",
            "set services nat rule no term t then no-translation",
            "set {set} nat-rules no",
        ],
    ),
    (
        "has 1048577 addresses, more than 1048576",
        &[
            "set {pool} address-range low 11.0.0.0 high 11.0.255.254",
            "set {pool} address-range low 11.1.0.0 high 11.1.255.254",
            "set {pool} address-range low 11.2.0.0 high 11.2.255.254",
            "set {pool} address-range low 11.3.0.0 high 11.3.255.254",
            "set {pool} address-range low 11.4.0.0 high 11.4.255.254",
            "set {pool} address-range low 11.5.0.0 high 11.5.255.254",
            "set {pool} address-range low 11.6.0.0 high 11.6.255.254",
            "set {pool} address-range low 11.7.0.0 high 11.7.255.254",
            "set {pool} address-range low 11.8.0.0 high 11.8.255.254",
            "set {pool} address-range low 11.9.0.0 high 11.9.255.254",
            "set {pool} address-range low 11.10.0.0 high 11.10.255.254",
            "set {pool} address-range low 11.11.0.0 high 11.11.255.254",
            "set {pool} address-range low 11.12.0.0 high 11.12.255.254",
            "set {pool} address-range low 11.13.0.0 high 11.13.255.254",
            "set {pool} address-range low 11.14.0.0 high 11.14.255.254",
            "set {pool} address-range low 11.15.0.0 high 11.15.255.254",
            "delete {pool} address",
            "set {pool} address-range low 12.0.0.0 high 12.0.0.16",
        ],
    ),
    (
        "the card's pool table holds 8 entries",
        &[
            "set {pool} address [ 11.0.0.1/32 11.0.0.3/32 11.0.0.5/32 11.0.0.7/32 ]",
            "set {pool} address [ 11.0.0.9/32 11.0.0.11/32 11.0.0.13/32 11.0.0.15/32 ]",
        ],
    ),
];

#[test]
fn each_problem_is_told_alone_and_with_its_place() {
    for (wanted, commands) in PROBLEMS {
        let problems = match config::build(&changed(commands), BuildOptions::default()) {
            Ok(_) => panic!("{commands:?}: no problem, wanted `{wanted}`"),
            Err(problems) => problems,
        };
        let texts: Vec<String> = problems.iter().map(|p| p.kind.to_string()).collect();
        assert!(
            texts.iter().any(|text| text.contains(wanted)),
            "{commands:?}\nwanted `{wanted}`, got {texts:#?}"
        );
        // `delete services` leaves two things missing; all others are one problem.
        let alone = problems.len() == 1 || commands[0] == "delete services";
        assert!(alone, "{commands:?}: {texts:#?}");
        let missing = wanted.starts_with("no `services") || wanted.starts_with("the card's rule-term");
        assert_eq!(problems[0].place.is_none(), missing, "{wanted}");
    }
}

#[test]
fn all_problems_come_at_once() {
    let tree = changed(&[
        "set {pool} port automatic sequential random-allocation",
        "delete services nat rule stateful-nat64 match-direction",
        "set {set} nat-rules other",
        "set nat64-nic pool x quarantine 1",
    ]);
    let problems = config::build(&tree, BuildOptions::default()).unwrap_err();
    assert_eq!(problems.len(), 4, "{problems:#?}");
}

#[test]
fn problems_show_the_line() {
    let text = SEED.replace("source-pool src-pool-nat64", "source-pool other");
    let tree = config::parse_curly(&text, "my.conf").unwrap();
    let problems = config::build(&tree, BuildOptions::default()).unwrap_err();
    let shown = problems[0].to_string();
    for part in [
        "error: there is no `services nat pool other`",
        "my.conf:22:25",
        "source-pool other;",
        "^^^^^^^^^^^^^^^^^",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    assert!(!shown.contains('\u{1b}') && problems[0].render(true).contains('\u{1b}'));
}

#[test]
fn reading_tells_what_is_unknown_and_what_was_meant() {
    let cases = [
        (
            "set services nat pool p adress 1.1.1.1",
            "unknown statement `adress`",
            "did you mean `address`?",
        ),
        (
            "set services service-set s stateful-nat64 clear-dont-fragment-bit",
            "under `services service-set s`",
            "did you mean `nat-options stateful-nat64 clear-dont-fragment-bit`?",
        ),
        (
            "set services service-set s clear-dont-fragment-bit",
            "unknown statement",
            "nat-options stateful-nat64 clear-",
        ),
        (
            "set services nat clear-dont-fragment-bit",
            "unknown",
            "stands under `services service-set NAME nat-options",
        ),
        (
            "set services nat pool p port automatic sequential preserve-parity",
            "under `services nat pool p port automatic`",
            "",
        ),
        (
            "set services nat zzz",
            "unknown statement `zzz`",
            "here stand: pool, rule, rule-set",
        ),
        (
            "set interfaces ge-0/0/0 unit 0 family inet6 service input service-set s",
            "`service` is not implemented",
            "",
        ),
        ("set firewall family inet", "`firewall` is not implemented", ""),
        (
            "set services nat pool p flow-timeout 30",
            "`flow-timeout` is not implemented",
            "",
        ),
        (
            "set services nat pool p limit-ports-per-address 1",
            "`1` is not a number from 2 to 65435",
            "",
        ),
        (
            "set services nat pool p address-range low 1.1.1.1",
            "`address-range` lacks `high` and an IPv4 address",
            "",
        ),
        (
            "set services nat rule r match-direction sideways",
            "one of `input`, `output`, `input-output`",
            "",
        ),
    ];
    for (command, title, help) in cases {
        let error = config::apply_command(&mut Tree::new(), command).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(title) && text.contains(help), "{command}\n{text}");
        assert!(text.contains("command:1:"), "{text}");
    }
    let error = config::parse_curly("services {\n    nat {\n        pool p {\n", "f").unwrap_err();
    assert!(
        error.to_string().contains("f:3:16") && error.to_string().contains("block without an end"),
        "{error}"
    );
    for (text, wanted) in [
        ("}", "expected a statement, found `}`"),
        ("services { nat { } } }", "expected a statement, found `}`"),
        (
            "services",
            "expected `;` or `{` after the statement, found the end of the text",
        ),
        ("services { \"x", "quoted string without an end"),
        ("/* x", "comment without an end"),
        ("services { nat { pool [ a b } }", "expected a word or `]`, found `}`"),
        ("replace: services { }", "found `replace:`"),
        ("services { nat { pool p { address { } } } }", "an entry"),
        (
            "services { nat { pool p { mapping-timeout 130 { } } } }",
            "takes no block",
        ),
        (
            "services { service-set s { nat-rules [ ]; } }",
            "a word between the brackets",
        ),
    ] {
        let error = config::parse_curly(text, "f").unwrap_err().to_string();
        assert!(error.contains(wanted), "{text}\n{error}");
    }
}
