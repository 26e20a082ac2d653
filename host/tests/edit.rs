//! Commands of configuration mode, what they make of a tree, and what `show | compare` says about it.

mod common;

use common::{statements, Random};
use nat64_host::config::schema::ROOT;
use nat64_host::config::{
    self, compare, compare_text, complete, CompletionKind, CompletionPurpose, EditPath, Format, LoadMode, NoLiveNames,
    ProblemKind, Tree,
};

const SEED: &str = include_str!("../../examples/seed.conf");

fn seed() -> Tree {
    config::parse_curly(SEED, "seed.conf").unwrap()
}

fn at(path: &str) -> EditPath {
    EditPath::top().edit(path).unwrap_or_else(|error| panic!("{error}"))
}

fn run(tree: &mut Tree, path: &str, line: &str) {
    config::apply_at(tree, &at(path), line).unwrap_or_else(|error| panic!("{error}"));
}

fn random_tree(seed: u64) -> Option<Tree> {
    let mut random = Random::new(seed);
    let fullness = 3 + random.below(8);
    let mut text = String::new();
    statements(&ROOT, &mut random, fullness, &mut text);
    config::parse_curly(&text, "random").ok()
}

#[test]
fn commands_are_relative_to_where_edit_stands() {
    let mut tree = seed();
    run(
        &mut tree,
        "services nat pool src-pool-nat64",
        "set port automatic random-allocation",
    );
    run(
        &mut tree,
        "services nat",
        "set pool other address [ 198.51.100.0/25 198.51.100.128/25 ]",
    );
    run(&mut tree, "services nat", "deactivate pool other");
    run(&mut tree, "services nat pool other", "delete address 198.51.100.0/25");
    assert_eq!(
        compare_text(&seed(), &tree),
        "[edit services nat]\n\
         +   inactive: pool other {\n\
         +       address 198.51.100.128/25;\n\
         +   }\n\
         [edit services nat pool src-pool-nat64 port automatic]\n\
         +   random-allocation;\n"
    );
    run(&mut tree, "services nat pool other", "delete");
    let left = config::show(&tree, &at("services nat"), "pool other", Format::Curly).unwrap();
    assert_eq!(left, "");
    run(&mut tree, "", "delete");
    assert_eq!(tree, Tree::new());
}

#[test]
fn paths_go_up_by_levels() {
    let path = at("services nat rule stateful-nat64 term t1 from source-address 2001:db8::/96");
    assert_eq!(
        path.to_string(),
        "[edit services nat rule stateful-nat64 term t1 from source-address 2001:db8::/96]"
    );
    assert_eq!(path.up(1), at("services nat rule stateful-nat64 term t1 from"));
    assert_eq!(path.up(2), at("services nat rule stateful-nat64 term t1"));
    assert_eq!(path.up(3), at("services nat rule stateful-nat64"));
    assert_eq!(path.up(9), EditPath::top());
    assert_eq!(
        at("services nat").edit("rule stateful-nat64").unwrap().up(2),
        at("services")
    );
    for bad in [
        "services nat pool",
        "services nat rule r match-direction",
        "nonsense",
        "services nat allow-overlapping-nat-pools",
    ] {
        assert!(EditPath::top().edit(bad).is_err(), "{bad}");
    }
    assert!(at("services nat pool src-pool-nat64").node(&seed()).is_some());
    assert!(at("services nat pool new").node(&seed()).is_none());
}

#[test]
fn rename_copy_insert_and_annotate() {
    let mut tree = seed();
    run(&mut tree, "services nat rule stateful-nat64", "copy term t1 to term t2");
    run(&mut tree, "services nat rule stateful-nat64", "copy term t1 to t3");
    run(
        &mut tree,
        "services nat",
        "insert rule stateful-nat64 term t3 before term t1",
    );
    run(
        &mut tree,
        "services nat rule stateful-nat64",
        "rename term t2 to term last",
    );
    let terms = |tree: &Tree| -> Vec<String> {
        let rule = at("services nat rule stateful-nat64").node(tree).unwrap();
        rule.all("term").map(|term| term.value().to_string()).collect()
    };
    assert_eq!(terms(&tree), ["t3", "t1", "last"]);
    let before = tree.clone();
    run(
        &mut tree,
        "services nat rule stateful-nat64",
        "insert term t3 after last",
    );
    assert_eq!(terms(&tree), ["t1", "last", "t3"]);
    assert_eq!(
        compare_text(&before, &tree),
        "[edit services nat rule stateful-nat64]\n    term last { ... }\n!   term t3 { ... }\n"
    );
    let before = tree.clone();
    run(&mut tree, "services nat", "annotate pool src-pool-nat64 \"ours\"");
    assert!(
        tree.to_curly()
            .contains("        /* ours */\n        pool src-pool-nat64 {"),
        "{}",
        tree.to_curly()
    );
    assert_eq!(
        compare_text(&before, &tree),
        "[edit services nat]\n+   /* ours */\n    pool src-pool-nat64 { ... }\n"
    );
    run(&mut tree, "services nat", "annotate pool src-pool-nat64 \"\"");
    assert_eq!(tree.to_curly(), before.to_curly());

    let top = EditPath::top();
    for (line, what) in [
        ("rename services nat pool src-pool-nat64 to src-pool-nat64", "already"),
        ("rename services nat pool nothing to something", "there is no"),
        ("rename services nat pool src-pool-nat64", "ENTRY to NAME"),
        ("copy services nat to x", "an entry of a list"),
        (
            "insert services nat rule stateful-nat64 term t1 before term t9",
            "there is no",
        ),
        (
            "insert services nat rule stateful-nat64 term t1 before term t1",
            "another entry",
        ),
        ("annotate services nat pool nothing \"x\"", "there is no"),
        ("annotate services nat \"a */ b\"", "the text of a comment"),
        ("protect services nat", "configure exclusive"),
    ] {
        let unchanged = tree.clone();
        let error = config::apply_at(&mut tree, &top, line).unwrap_err();
        assert!(error.to_string().contains(what), "{line}: {error}");
        assert_eq!(tree.to_curly(), unchanged.to_curly(), "{line}");
    }
}

#[test]
fn patterns_are_replaced_in_names_and_values() {
    let mut tree = seed();
    run(&mut tree, "services", "replace pattern src-pool with public");
    assert!(tree.to_set().contains("pool public-nat64 address"), "{}", tree.to_set());
    assert!(tree.to_set().contains("source-pool public-nat64"), "{}", tree.to_set());
    run(&mut tree, "services nat", "set pool q address 198.51.100.0/24");
    for (line, what) in [
        ("replace pattern public-nat64 with q", "already"),
        ("replace pattern 198.51 with 998.51", "is not an IPv4 prefix"),
        ("replace pattern nowhere with x", "there is no"),
        ("replace pattern x", "pattern TEXT with TEXT"),
    ] {
        let unchanged = tree.clone();
        let error = config::apply_command(&mut tree, line).unwrap_err();
        assert!(error.to_string().contains(what), "{line}: {error}");
        assert_eq!(tree, unchanged);
    }
}

#[test]
fn a_part_is_shown_in_all_forms() {
    let tree = seed();
    let show = |path: &str, words: &str, format| config::show(&tree, &at(path), words, format).unwrap();
    assert_eq!(
        show("services nat", "pool src-pool-nat64", Format::Curly),
        "address 203.0.113.0/24;\nport {\n    automatic;\n}\n"
    );
    assert_eq!(
        show("services nat", "pool src-pool-nat64", Format::Set),
        "set services nat pool src-pool-nat64 address 203.0.113.0/24\n\
         set services nat pool src-pool-nat64 port automatic\n"
    );
    assert_eq!(
        show("services nat", "pool src-pool-nat64", Format::SetRelative),
        "set pool src-pool-nat64 address 203.0.113.0/24\nset pool src-pool-nat64 port automatic\n"
    );
    assert_eq!(
        show("services nat", "pool src-pool-nat64 address", Format::Curly),
        "address 203.0.113.0/24;\n"
    );
    assert_eq!(show("services nat", "rule-set", Format::Curly), "");
    let json: serde_json::Value =
        serde_json::from_str(&show("services nat", "pool src-pool-nat64", Format::Json)).unwrap();
    assert_eq!(
        json,
        serde_json::json!({"configuration": {"services": {"nat": {"pool": [
            {"name": "src-pool-nat64", "address": [{"name": "203.0.113.0/24"}], "port": {"automatic": {}}}
        ]}}}})
    );
    assert!(config::show(&tree, &EditPath::top(), "nonsense", Format::Set).is_err());
}

#[test]
fn json_loses_nothing() {
    let mut read = 0;
    for seed in 0..300 {
        let Some(tree) = random_tree(seed) else { continue };
        read += 1;
        let json = tree.to_json();
        let again = config::parse_json(&json, "json").unwrap_or_else(|error| panic!("seed {seed}: {error}\n{json}"));
        assert_eq!(again.to_json(), json, "seed {seed}");
        // Nothing is shown as a difference, comments and marks neither.
        assert_eq!(compare_text(&tree, &again), "", "seed {seed}\n{json}");
        assert_eq!(tree, again, "seed {seed}");
    }
    assert!(read > 100, "{read}");
    for (bad, what) in [
        (
            "{\"services\": {\"nat\": {\"pol\": []}}}",
            "unknown statement `pol` under `services nat`",
        ),
        ("{\"services\": {\"nat\": {\"pool\": [{\"address\": []}]}}}", "name"),
        ("{\"services\": {\"nat\": {\"pool\": {}}}}", "a list of objects"),
        ("{\"services\": 1}", "an object"),
        ("{\"firewall\": {}}", "not implemented"),
        ("{", "no JSON"),
        ("[]", "a JSON object"),
        (
            "{\"services\": {\"@\": {\"comment\": \"no marks\"}}}",
            "a comment with its marks",
        ),
    ] {
        let error = config::parse_json(bad, "json").unwrap_err();
        assert!(error.to_string().contains(what), "{bad}: {error}");
    }
}

/// Changes a tree at random: entries go, come, move, are switched and annotated.
fn scramble(tree: &mut Tree, random: &mut Random) {
    for _ in 0..1 + random.below(8) {
        let set = tree.to_set();
        let lines: Vec<&str> = set.lines().filter_map(|line| line.strip_prefix("set ")).collect();
        if lines.is_empty() {
            return;
        }
        let line = *random.pick(&lines);
        let words: Vec<&str> = line.split(' ').collect();
        let part = words[..1 + random.below(words.len())].join(" ");
        let other = *random.pick(&lines);
        let command = match random.below(7) {
            0 => format!("delete {part}"),
            1 => format!("deactivate {part}"),
            2 => format!("annotate {part} \"note {}\"", random.below(9)),
            3 => format!("copy {part} to name-{}", random.below(5)),
            4 => format!("rename {part} to name-{}", random.below(5)),
            5 => format!("insert {part} before {}", other.rsplit(' ').next().unwrap_or("")),
            _ => format!("insert {part} after {}", other.rsplit(' ').next().unwrap_or("")),
        };
        let _ = config::apply_command(tree, &command);
    }
}

#[test]
fn a_comparison_is_a_patch() {
    let mut changed = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let Some(old) = random_tree(seed % 200) else { continue };
        let mut new = match random_tree(seed % 200 + 1000) {
            Some(other) if random.one_in(8) => other,
            _ => old.clone(),
        };
        scramble(&mut new, &mut random);
        let text = compare_text(&old, &new);
        assert_eq!(text.is_empty(), compare(&old, &new).is_empty());
        changed += usize::from(!text.is_empty());
        let mut patched = old.clone();
        config::load(&mut patched, &EditPath::top(), LoadMode::Patch, false, &text, "patch")
            .unwrap_or_else(|error| panic!("seed {seed}: {error}\n{text}"));
        let left = compare_text(&patched, &new);
        assert_eq!(left, "", "seed {seed}\n{text}\n--- old\n{old:?}\n--- new\n{new:?}");
        assert_eq!(patched, new, "seed {seed}\n{text}");
    }
    assert!(changed > 200, "{changed}");
}

#[test]
fn texts_are_loaded_into_what_is_there() {
    let load = |mode, relative: bool, path: &str, text: &str| {
        let mut tree = seed();
        config::load(&mut tree, &at(path), mode, relative, text, "t").map(|()| tree)
    };
    let pool = "services { nat { pool src-pool-nat64 { address 198.51.100.0/24; } } }";
    let merged = load(LoadMode::Merge, false, "", pool).unwrap();
    assert_eq!(
        compare_text(&seed(), &merged),
        "[edit services nat pool src-pool-nat64]\n+   address 198.51.100.0/24;\n"
    );
    let relative = load(
        LoadMode::Merge,
        true,
        "services nat pool src-pool-nat64",
        "address 198.51.100.0/24;",
    )
    .unwrap();
    assert_eq!(merged, relative);
    let set = load(
        LoadMode::Set,
        false,
        "services nat",
        "set pool src-pool-nat64 address 198.51.100.0/24\n",
    )
    .unwrap();
    assert_eq!(merged, set);
    let json = load(
        LoadMode::Merge,
        false,
        "",
        &config::parse_curly(pool, "p").unwrap().to_json(),
    )
    .unwrap();
    assert_eq!(merged, json);
    let whole = load(LoadMode::Override, false, "", pool).unwrap();
    assert_eq!(whole, config::parse_curly(pool, "p").unwrap());
    let replaced = load(
        LoadMode::Replace,
        false,
        "",
        "services { nat { replace: pool src-pool-nat64 { address 198.51.100.0/24; } delete: rule stateful-nat64; } }",
    )
    .unwrap();
    let text = compare_text(&seed(), &replaced);
    for line in [
        "+   address 198.51.100.0/24;",
        "-   address 203.0.113.0/24;",
        "-   rule stateful-nat64 {",
        "-   port {",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // Marks mean nothing elsewhere, and a text with a problem changes nothing.
    let error = load(LoadMode::Merge, false, "", "services { replace: nat { } }").unwrap_err();
    assert!(error.to_string().contains("load replace"), "{error}");
    let mut tree = seed();
    let bad = "set services nat pool q address 198.51.100.0/24\nset services nat pool q adress 1.2.3.4\n";
    let error = config::load(&mut tree, &EditPath::top(), LoadMode::Set, false, bad, "t").unwrap_err();
    assert!(matches!(error.problems()[0].kind, ProblemKind::UnknownStatement { .. }));
    assert_eq!(tree, seed());
}

#[test]
fn what_may_follow_is_told() {
    let tree = seed();
    let ask = |path: &str, purpose, words: &[&str], partial: &str| -> Vec<String> {
        complete(&tree, &at(path), purpose, words, partial, &NoLiveNames)
            .into_iter()
            .filter(|c| !matches!(c.kind, CompletionKind::Hint))
            .map(|c| c.text)
            .collect()
    };
    use CompletionPurpose::{Edit, Existing, Set};
    assert_eq!(ask("services nat", Set, &[], "ru"), ["rule", "rule-set"]);
    assert_eq!(ask("services nat", Set, &["pool"], ""), ["src-pool-nat64"]);
    assert_eq!(
        ask(
            "services nat rule stateful-nat64 term t1 then translated",
            Set,
            &["source-pool"],
            ""
        ),
        ["src-pool-nat64"]
    );
    assert_eq!(
        ask("", Set, &["services", "nat", "rule", "r", "match-direction"], "in"),
        ["input", "input-output"]
    );
    assert_eq!(
        ask("", Existing, &["services", "nat"], ""),
        ["<[Enter]>", "pool", "rule"]
    );
    assert_eq!(
        ask("", Existing, &["services", "nat", "pool"], ""),
        ["<[Enter]>", "src-pool-nat64"]
    );
    assert_eq!(ask("services", Edit, &["nat"], "a"), Vec::<String>::new());
    assert_eq!(
        ask("services nat pool p port range", Set, &["low", "1"], ""),
        ["<[Enter]>", "low", "high", "random-allocation"]
    );
    assert!(ask("", Set, &["nonsense"], "").is_empty());
    assert!(ask("", Set, &["firewall"], "").is_empty());
    let hints = complete(
        &tree,
        &at("services nat pool p port"),
        Set,
        &["range", "low"],
        "",
        &NoLiveNames,
    );
    assert_eq!(
        (hints[0].text.as_str(), hints[0].kind),
        ("<1..65535>", CompletionKind::Hint)
    );
    assert_eq!(hints[0].help, "First port (a number from 1 to 65535)");
}

/// A configuration with something of most kinds, and with warnings.
const RICH: &str = "
policy-options { prefix-list l { 2001:db8::/32; 192.0.2.0/24; } prefix-list m { 2001:db8:1::1/48; } }
applications { application web { protocol tcp; destination-port 80-90; } application-set s { application web; } }
interfaces { ms-0/1/0 { services-options { inactivity-timeout 60; cgn-pic; } } }
services {
    nat {
        pool p { address 203.0.113.0/28; port automatic auto; }
        pool q { address-range low 198.51.100.1 high 198.51.100.9; port range low 2000 high 3000; }
        rule r {
            match-direction input;
            term t {
                from { source-prefix-list { l; m; } applications web; }
                then { translated { source-pool p; overload-pool q; destination-prefix 64:ff9b::/96;
                    translation-type stateful-nat64; filtering-type { endpoint-independent { prefix-list { l; } } } } }
            }
            term n { from { source-address { 2001:db8::/120; } application-sets s; } then { no-translation; } }
        }
        rule-set rs { rule r; }
    }
    service-set s {
        syslog { host local { services any; class { ids-logs; } } }
        nat-rule-sets rs;
        interface-service { service-interface ms-0/1/0; }
    }
}
nat64-nic { port 0 { unit 1 { vlan-id 5; } } port 1 { unit 1; } pool p { drain 203.0.113.1; } }
";

#[test]
fn a_checker_remembers_only_what_is_true() {
    let options = config::BuildOptions {
        limits: config::CardLimits::SOFT,
        ..config::BuildOptions::default()
    };
    let told = |result: Result<(config::Model, Vec<config::Warning>), Vec<config::Problem>>| match result {
        Ok((model, warnings)) => (
            Some(model),
            warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ),
        Err(problems) => (None, problems.iter().map(ToString::to_string).collect()),
    };
    let start = config::parse_curly(RICH, "rich").unwrap_or_else(|error| panic!("{error}"));
    assert!(config::model(&start, &options).is_ok_and(|(_, warnings)| warnings.len() > 3));
    let mut checker = config::Checker::new();
    let (mut good, mut bad) = (0, 0);
    for seed in 0..1500 {
        let mut random = Random::new(seed);
        // Mostly on from what was checked last; now and then from the start.
        let mut tree = start.clone();
        for _ in 0..random.below(4) {
            scramble(&mut tree, &mut random);
            let quick = told(checker.model(&tree, &options));
            let slow = told(config::model(&tree, &options));
            if quick.0.is_some() {
                good += 1;
            } else {
                bad += 1;
            }
            assert_eq!(quick, slow, "seed {seed}\n{tree:?}");
        }
    }
    assert!(good > 100 && bad > 100, "{good} {bad}");
}
