//! What is read is written, in both forms; and no text makes reading, changing or building panic.

mod common;

use common::{statements, value, Random};
use nat64_host::config::schema::{Value, ROOT};
use nat64_host::config::{self, Applied, BuildOptions, ProblemKind, Tree};

const SEED: &str = include_str!("../../examples/seed.conf");
const VLAN: &str = include_str!("../../examples/vlan.conf");

/// A random configuration that is read without a problem.
fn random_tree(seed: u64) -> Option<Tree> {
    let mut random = Random::new(seed);
    let fullness = 3 + random.below(8);
    let mut text = String::new();
    statements(&ROOT, &mut random, fullness, &mut text);
    match config::parse_curly(&text, "random") {
        Ok(tree) => Some(tree),
        // A list key that came twice brings its leaves twice; everything else must be read.
        Err(error) => {
            // A long list of them is cut, and ends with that.
            let twice =
                |p: &config::Problem| matches!(p.kind, ProblemKind::GivenTwice { .. } | ProblemKind::TooMany { .. });
            assert!(error.problems().iter().all(twice), "seed {seed}: {error}\n{text}");
            None
        }
    }
}

fn check_round_trip(tree: &Tree, what: &str) {
    let curly = tree.to_curly();
    let again = config::parse_curly(&curly, "curly").unwrap_or_else(|error| panic!("{what}: {error}\n{curly}"));
    assert_eq!(*tree, again, "{what}: curly\n{curly}");
    assert_eq!(again.to_curly(), curly, "{what}: comments");
    let set = tree.to_set();
    let again = config::parse_set(&set, "set").unwrap_or_else(|error| panic!("{what}: {error}\n{set}"));
    assert_eq!(*tree, again, "{what}: set\n{set}\n---\n{}", again.to_set());
    assert_eq!(again.to_set(), set, "{what}");
}

#[test]
fn random_configurations_survive_both_forms() {
    let mut read = 0;
    for seed in 0..400 {
        if let Some(tree) = random_tree(seed) {
            read += 1;
            check_round_trip(&tree, &format!("seed {seed}"));
            // Whatever it says, building it does not panic.
            let _ = config::build(&tree, BuildOptions::default());
        }
    }
    assert!(read > 150, "only {read} of 400 were read");
}

#[test]
fn comments_marks_quotes_and_lists_are_kept() {
    let text = r#"# first
services {
    /* about the pool */
    nat {
        inactive: pool "my pool" {
            address 203.0.113.0/24; # after
            inactive: port automatic;
            /* at the end */
        }
        rule r {
            term t {
                from {
                    /* clients */
                    source-address {
                        2001:db8::0/96 except;
                        any-unicast;
                    }
                }
                then translated filtering-type endpoint-independent;
            }
        }
    }
    service-set s {
        service-set-options;
        nat-rules [ r "r 2" ];
    }
}
## last
"#;
    let tree = config::parse_curly(text, "t").unwrap_or_else(|error| panic!("{error}"));
    check_round_trip(&tree, "text");
    let curly = tree.to_curly();
    for kept in [
        "# first\n",
        "    /* about the pool */\n    nat {\n",
        "        inactive: pool \"my pool\" {\n",
        "            # after\n",
        "                inactive: automatic;\n",
        "            /* at the end */\n        }\n",
        "                        /* clients */\n                        2001:db8::/96 except;\n",
        "                        any-unicast;\n",
        "        service-set-options;\n        nat-rules r;\n        nat-rules \"r 2\";\n",
        "\n## last\n",
    ] {
        assert!(curly.contains(kept), "{kept}---\n{curly}");
    }
    let set = tree.to_set();
    for line in [
        "set services nat pool \"my pool\" address 203.0.113.0/24\n",
        "deactivate services nat pool \"my pool\"\n",
        "deactivate services nat pool \"my pool\" port automatic\n",
        "set services nat rule r term t from source-address 2001:db8::/96 except\n",
        "set services service-set s service-set-options\n",
        "set services service-set s nat-rules \"r 2\"\n",
    ] {
        assert!(set.contains(line), "{line}---\n{set}");
    }
}

#[test]
fn all_curly_spellings_give_one_tree() {
    let spellings = [
        "services { nat { pool p { port { range { low 1; high 2; random-allocation; } } } } }",
        "services { nat { pool p { port { range low 1 high 2 random-allocation; } } } }",
        "services { nat { pool p { port range { high 2; random-allocation; low 1; } } } }",
        "services nat pool p port range low 1 high 2 random-allocation;",
        "services { nat { pool p port range low 1; pool p { port { range high 2; } } } }\n\
         services nat pool p port range random-allocation;",
    ];
    let set = "set services nat pool p port range low 1 high 2 random-allocation";
    let mut tree = config::parse_set(set, "set").unwrap();
    for text in &spellings {
        let other = config::parse_curly(text, "curly").unwrap_or_else(|error| panic!("{error}"));
        let sorted = |tree: &Tree| {
            let mut lines: Vec<String> = tree.to_set().lines().map(str::to_string).collect();
            lines.sort();
            lines
        };
        assert_eq!(sorted(&tree), sorted(&other), "{text}");
    }
    // Commands replace values, a text may not.
    config::apply_command(&mut tree, "set services nat pool p port range low 7").unwrap();
    assert!(
        tree.to_curly().contains("range low 7 high 2 random-allocation;"),
        "{}",
        tree.to_curly()
    );
    let twice = config::parse_curly("services nat pool p port range low 1 low 2;", "t").unwrap_err();
    assert!(
        matches!(twice.problems()[0].kind, ProblemKind::GivenTwice { .. }),
        "{twice}"
    );
}

#[test]
fn commands_change_the_tree_or_leave_it() {
    let mut tree = config::parse_curly(SEED, "seed").unwrap();
    let before = tree.clone();
    let mut apply = |line: &str| config::apply_command(&mut tree, line);
    assert_eq!(apply("").unwrap(), Applied::Nothing);
    assert_eq!(apply("  # a comment").unwrap(), Applied::Nothing);
    for line in [
        "set",
        "set services nat pool",
        "set services nat pool p adress 1.2.3.4",
        "set services nat pool p address [ 203.0.113.1/32 nonsense ]",
        "set services nat pool p {",
        "delete services nat pool other",
        "delete services nat pool src-pool-nat64 address 198.51.100.0/24",
        "delete services service-set sset-nat64 max-flows",
        "deactivate",
        "commit",
        "clear services flows",
        "clear",
        "set services nat pool \"p",
    ] {
        assert!(apply(line).is_err(), "{line}");
    }
    assert_eq!(tree, before);

    let mut apply = |line: &str| config::apply_command(&mut tree, line).unwrap_or_else(|error| panic!("{error}"));
    apply("set services nat pool other address [ 198.51.100.0/25 198.51.100.128/25 ]");
    apply("deactivate services nat pool other");
    apply("delete services service-set sset-nat64 nat-options stateful-nat64 clear-dont-fragment-bit");
    apply("delete services service-set sset-nat64 service-set-options");
    apply("delete services nat rule stateful-nat64 term t1 from source-address");
    let curly = tree.to_curly();
    assert!(curly.contains("inactive: pool other {"), "{curly}");
    assert!(curly.contains("address 198.51.100.128/25;"), "{curly}");
    for gone in ["nat-options", "service-set-options", "source-address"] {
        assert!(!curly.contains(gone), "{gone}: {curly}");
    }
    assert!(curly.contains("destination-address {"), "{curly}");
    // The inactive pool counts for nothing.
    let (gateway, _) = config::build(&tree, BuildOptions::default()).unwrap();
    assert_eq!(gateway.xlate.pools.len(), 1);
    config::apply_command(&mut tree, "activate services nat pool other").unwrap();
    let (gateway, _) = config::build(&tree, BuildOptions::default()).unwrap();
    assert_eq!(gateway.xlate.pools.len(), 2);
}

#[test]
fn clear_commands_name_sessions() {
    let mut tree = Tree::new();
    let line = "clear services sessions service-set s source-prefix 2001:db8::/32 destination-prefix 192.0.2.1 \
                source-port 40000 destination-port 80 protocol tcp";
    let Applied::ClearSessions(filter) = config::apply_command(&mut tree, line).unwrap() else {
        panic!()
    };
    assert_eq!(filter.service_set.as_deref(), Some("s"));
    assert_eq!(filter.source_prefix, Some("2001:db8::/32".into()));
    assert_eq!(filter.destination_prefix, Some("192.0.2.1".into()));
    assert_eq!((filter.source_port, filter.destination_port), (Some(40_000), Some(80)));
    assert_eq!(filter.protocol, Some("tcp".into()));
    let all = config::apply_command(&mut tree, "clear services sessions").unwrap();
    assert_eq!(all, Applied::ClearSessions(Box::default()));
    for bad in [
        "clear services sessions protocol",
        "clear services sessions protocol sctp",
        "clear services sessions x",
    ] {
        assert!(config::apply_command(&mut tree, bad).is_err(), "{bad}");
    }
}

/// Breaks a text at a few places.
fn mutate(text: &str, random: &mut Random) -> String {
    let mut bytes: Vec<char> = text.chars().collect();
    for _ in 0..1 + random.below(6) {
        let at = random.below(bytes.len() + 1);
        let end = (at + random.below(20)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => {
                let piece: Vec<char> = bytes[at..end].to_vec();
                let to = random.below(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            2 => {
                let c = *random.pick(&[
                    '{', '}', ';', '"', '[', ']', '#', '/', '*', '\\', '\n', ' ', '\0', '\u{e4}', ':', '\r',
                ]);
                bytes.insert(at, c);
            }
            3 => {
                let kinds = [
                    Value::Number(0, 99_999),
                    Value::Name,
                    Value::Prefix,
                    Value::Prefix6OrAny,
                    Value::Mac,
                ];
                let kind = *random.pick(&kinds);
                let word = format!(" {} ", value(kind, random));
                bytes.splice(at..at, word.chars());
            }
            4 => bytes.truncate(at),
            _ => {
                let word = *random.pick(&[
                    " inactive: ",
                    " low ",
                    " /*",
                    "*/",
                    " set ",
                    " delete ",
                    " port ",
                    " { ",
                ]);
                bytes.splice(at..at, word.chars());
            }
        }
    }
    bytes.into_iter().collect()
}

#[test]
fn no_text_makes_it_panic() {
    let mut read = 0;
    for seed in 0..3_000 {
        let mut random = Random::new(seed);
        let base = match seed % 4 {
            0 => SEED.to_string(),
            1 => VLAN.to_string(),
            2 => config::parse_curly(SEED, "seed").unwrap().to_set(),
            _ => random_tree(seed).map_or_else(String::new, |tree| tree.to_curly()),
        };
        let text = mutate(&base, &mut random);
        for parsed in [
            config::parse(&text, "mutated"),
            config::parse_curly(&text, "m"),
            config::parse_set(&text, "m"),
        ] {
            match parsed {
                Ok(tree) => {
                    read += 1;
                    check_round_trip(&tree, &format!("seed {seed}\n{text}"));
                    if let Err(problems) = config::build(&tree, BuildOptions::default()) {
                        assert!(!problems.is_empty() && problems.iter().all(|p| !p.to_string().is_empty()));
                    }
                }
                Err(error) => assert!(!error.to_string().is_empty(), "seed {seed}"),
            }
        }
        let mut tree = config::parse_curly(VLAN, "vlan").unwrap();
        for line in text.lines().take(20) {
            let _ = config::apply_command(&mut tree, line);
        }
    }
    assert!(read > 300, "only {read} texts were read");
}

#[test]
fn size_and_depth_have_bounds() {
    let kind = |text: &str| config::parse_curly(text, "t").unwrap_err().problems()[0].kind.clone();
    assert!(matches!(
        kind(&"services { ".repeat(100_000)),
        ProblemKind::TooDeep { .. }
    ));
    assert!(matches!(kind(&"a ".repeat(100_000)), ProblemKind::TooManyWords { .. }));
    assert!(matches!(
        kind(&" ".repeat(config::MAX_TEXT + 1)),
        ProblemKind::TooLong { .. }
    ));
    let mut tree = Tree::new();
    let long = format!("set {}", "a ".repeat(100_000));
    assert!(config::apply_command(&mut tree, &long).is_err());
    // A million unknown statements are told once each up to the limit, and briefly.
    let error = config::parse_curly(&"foo; ".repeat(500_000), "t").unwrap_err();
    assert_eq!(error.problems().len(), config::MAX_PROBLEMS + 1);
    assert!(error.to_string().len() < 100_000);
}

#[test]
fn long_lists_take_linear_time() {
    let mut text = String::from("policy-options { prefix-list long {\n");
    for i in 0..100_000u32 {
        text += &format!("{}/32;\n", std::net::Ipv4Addr::from(0x0a00_0000 + i));
    }
    text += "} }\n";
    // With a search per entry this would take minutes.
    let start = std::time::Instant::now();
    let tree = config::parse_curly(&text, "t").unwrap();
    let again = config::parse_set(&tree.to_set(), "t").unwrap();
    assert!(tree == again);
    // Entries are found again, and not found once they are gone.
    let mut changed = tree.clone();
    config::apply_command(&mut changed, "set policy-options prefix-list long 10.0.5.7/32").unwrap();
    assert!(changed == tree);
    config::apply_command(&mut changed, "delete policy-options prefix-list long 10.0.5.7/32").unwrap();
    assert!(config::apply_command(&mut changed, "delete policy-options prefix-list long 10.0.5.7/32").is_err());
    config::apply_command(&mut changed, "set policy-options prefix-list long 10.0.5.8/32").unwrap();
    assert_eq!(changed.to_set().lines().count(), 99_999);
    config::apply_command(&mut changed, "set policy-options prefix-list long 10.0.5.7/32").unwrap();
    assert_eq!(changed.to_set().lines().count(), 100_000);
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
