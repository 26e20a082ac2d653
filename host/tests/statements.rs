//! Every statement of Junos that has to do with NAT64, and what becomes of it here: `statements/junos.txt` lists them with
//! their ranges, and each line is tried.
//!
//! | verdict | what is tried |
//! |---|---|
//! | acts | with it the model is another one |
//! | deprecated | as acts or says default, and a warning names what to write |
//! | says default | it is accepted without a word, and the model is the same: it says what holds anyway |
//! | no effect | it is accepted with a warning, and the model is the same |
//! | refused | it is an error that says why |
//!
//! "The same model" is the whole promise of "cannot change behaviour": the daemon and the card get nothing but the model.

use std::collections::HashSet;

use nat64_host::config::schema::{walk, Kind, Statement, Support};
use nat64_host::config::{self, BuildOptions, Model, Tree, Warning, WarningKind};

const LIST: &str = include_str!("statements/junos.txt");
const SEED: &str = include_str!("../../examples/seed.conf");

/// Names that stand for `*`, by the word before it.
const NAMES: &[(&str, &str)] = &[
    ("pool", "src-pool-nat64"),
    ("rule", "stateful-nat64"),
    ("rule-set", "rules"),
    ("term", "t1"),
    ("service-set", "sset-nat64"),
    ("interfaces", "ms-0/1/0"),
    ("application", "web"),
    ("application-set", "webs"),
    ("host", "local"),
    ("contents", "services"),
    ("source-address", "2001:db8::/96"),
    ("destination-address", "64:ff9b::/96"),
    ("source-address-range", "low 2001:db8::1 high 2001:db8::9"),
    ("destination-address-range", "low 64:ff9b::1 high 64:ff9b::9"),
    ("source-prefix-list", "clients"),
    ("destination-prefix-list", "clients"),
    ("prefix-list", "clients"),
    ("ipv6-multicast-interfaces", "ms-0/1/0"),
    ("port-forwarding", "p"),
    ("destined-port", "80"),
];

/// Paths of the worked example, and what several lines need first.
const SHORT: &[(&str, &str)] = &[
    (
        "{det}",
        "delete {term} from source-address; set {term} from source-address 2001:db8::/120; \
         delete {term} then translated translation-type; \
         set {term} then translated translation-type deterministic-napt64",
    ),
    (
        "{units}",
        "set nat64-nic port 0 unit 1 vlan-id 1 service-set sset-nat64; \
         set nat64-nic port 1 unit 1 vlan-id 1 service-set sset-nat64; \
         set nat64-nic port 0 unit 2 vlan-id 2 service-set two; set nat64-nic port 1 unit 2 vlan-id 2 service-set two",
    ),
    (
        "{lists}",
        "set policy-options prefix-list clients 2001:db8:7::/48; set policy-options prefix-list clients 192.0.2.0/24",
    ),
    (
        "{web}",
        "set applications application web protocol tcp; set applications application web destination-port 80; \
         set {term} from applications web",
    ),
    ("{pool}", "services nat pool src-pool-nat64"),
    ("{term}", "services nat rule stateful-nat64 term t1"),
    ("{rule}", "services nat rule stateful-nat64"),
    ("{set}", "services service-set sset-nat64"),
    ("{host}", "services service-set sset-nat64 syslog host local"),
    ("{options}", "interfaces ms-0/1/0 services-options"),
];

/// One line of the list.
struct Line<'a> {
    number: usize,
    path: &'a str,
    form: &'a str,
    verdict: &'a str,
    /// Commands before the statement, and those that give it; what `form` and `path` say when there are none.
    commands: Option<(&'a str, &'a str)>,
}

fn lines() -> Vec<Line<'static>> {
    let content = LIST
        .lines()
        .enumerate()
        .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let parse = |(at, line): (usize, &'static str)| {
        let mut columns = line.split('|').map(str::trim);
        let mut column = || columns.next().unwrap_or_else(|| panic!("line {}: {line}", at + 1));
        let (path, form, verdict) = (column(), column(), column());
        let commands = columns.next().map(|text| {
            let (before, statement) = text
                .split_once("=>")
                .unwrap_or_else(|| panic!("line {}: no =>", at + 1));
            (before.trim(), statement.trim())
        });
        Line {
            number: at + 1,
            path,
            form,
            verdict,
            commands,
        }
    };
    content.map(parse).collect()
}

/// The path with names in place of the stars.
fn concrete(path: &str) -> String {
    let mut out: Vec<&str> = Vec::new();
    for word in path.split(' ') {
        let last = out.last().copied().unwrap_or("");
        let named = (word == "*").then(|| NAMES.iter().find(|(list, _)| *list == last));
        out.push(match named {
            None => word,
            Some(Some((_, name))) => name,
            Some(None) => panic!("{path}: no name for an entry of {last}"),
        });
    }
    out.join(" ")
}

fn expanded(text: &str) -> String {
    // Twice: what is short for commands has short paths in it.
    (0..2).fold(text.to_owned(), |text, _| {
        SHORT.iter().fold(text, |text, (from, to)| text.replace(from, to))
    })
}

fn run(tree: &mut Tree, commands: &str) -> Result<(), String> {
    for command in expanded(commands).split(';').map(str::trim).filter(|c| !c.is_empty()) {
        config::apply_command(tree, command).map_err(|error| format!("{command}\n{error}"))?;
    }
    Ok(())
}

fn model(tree: &Tree) -> Result<(Model, Vec<Warning>), String> {
    config::model(tree, &BuildOptions::default()).map_err(|problems| {
        let texts: Vec<String> = problems.iter().map(ToString::to_string).collect();
        texts.join("\n")
    })
}

/// The range of a number.
fn range(form: &str) -> Option<(u64, u64)> {
    let (low, high) = form.split_once("..")?;
    Some((low.parse().ok()?, high.parse().ok()?))
}

/// Values to try, by the form of the statement.
fn values(form: &str) -> Vec<String> {
    match range(form) {
        Some((low, high)) => vec![low.to_string(), high.to_string()],
        None if matches!(form, "flag" | "container" | "list") => vec![String::new()],
        None if form == "number" => vec!["7".into()],
        None => form.split('/').map(str::to_owned).collect(),
    }
}

/// The statement of the schema at a path; `Err` has the first one above it that is refused.
fn schema(path: &str) -> Result<&'static Statement, &'static Statement> {
    let mut found = None;
    walk(&mut |above, statement| {
        let mut words = Vec::new();
        for up in above.iter().chain(&[statement]) {
            words.extend([up.name].into_iter().filter(|name| !name.is_empty()));
            if up.kind == Kind::List && !std::ptr::eq(*up, statement) {
                words.push("*");
            }
        }
        let own = words.join(" ");
        let refused = matches!(statement.support, Support::Refused(_));
        if own == path {
            found = Some(Ok(statement));
        } else if refused && path.starts_with(&format!("{own} ")) {
            found = Some(Err(statement));
        }
    });
    found.unwrap_or_else(|| panic!("`{path}` is not in the schema"))
}

/// What a line says about the model, tried; the text is what is wrong.
fn try_model(line: &Line<'_>) -> Result<(), String> {
    let mut base = config::parse_curly(SEED, "seed.conf").map_err(|e| e.to_string())?;
    let tries: Vec<String> = match line.commands {
        Some((before, statement)) => {
            run(&mut base, before)?;
            vec![statement.to_owned()]
        }
        None => {
            let path = concrete(line.path);
            values(line.form)
                .iter()
                .map(|value| format!("set {path} {value}"))
                .collect()
        }
    };
    let (before, _) = model(&base)?;
    let mut acted = false;
    for statement in &tries {
        let mut tree = base.clone();
        run(&mut tree, statement)?;
        if tree == base {
            return Err(format!("`{statement}` changes nothing of the text"));
        }
        let (after, warnings) = model(&tree)?;
        acted |= after != before;
        let same = after == before;
        let inert = warnings.iter().any(|w| matches!(w.kind, WarningKind::NoEffect { .. }));
        let old = warnings
            .iter()
            .any(|w| matches!(w.kind, WarningKind::Deprecated { .. }));
        match line.verdict {
            "no effect" if !same => return Err(format!("`{statement}` changes the model")),
            "no effect" if !inert => return Err(format!("`{statement}` is not warned about")),
            "says default" if !same => return Err(format!("`{statement}` changes the model")),
            "deprecated" if !old => return Err(format!("`{statement}` is not warned about")),
            "acts" | "says default" if inert || old => return Err(format!("`{statement}` is warned about")),
            _ => {}
        }
    }
    match line.verdict {
        "acts" if !acted => Err(format!("none of {tries:?} changes the model")),
        _ => Ok(()),
    }
}

/// A refused statement is refused wherever it is given, with its reason.
fn try_refusal(line: &Line<'_>, why: &str) -> Result<(), String> {
    let command = format!("set {} 1", concrete(line.path));
    let Err(error) = config::apply_command(&mut Tree::new(), &command) else {
        return Err(format!("`{command}` is taken"));
    };
    let text = error.to_string();
    if text.contains("is not implemented") && text.contains(why) {
        Ok(())
    } else {
        Err(format!("`{command}`: {text}"))
    }
}

/// What lies in the range is taken, what lies outside is not.
fn try_values(line: &Line<'_>) -> Result<(), String> {
    let path = concrete(line.path);
    let taken = |value: &str| config::apply_command(&mut Tree::new(), &format!("set {path} {value}")).is_ok();
    if let Some((low, high)) = range(line.form) {
        let inside = [low, high];
        let outside = [low.checked_sub(1), high.checked_add(1)];
        for value in inside {
            if !taken(&value.to_string()) {
                return Err(format!("{value} is refused"));
            }
        }
        for value in outside.into_iter().flatten() {
            if taken(&value.to_string()) {
                return Err(format!("{value} is taken"));
            }
        }
    } else if line.form.contains('/') || line.form == "paired" || line.form == "endpoint-independent" {
        if let Some(word) = line.form.split('/').find(|word| !taken(word)) {
            return Err(format!("{word} is refused"));
        }
        if taken("bogus") {
            return Err("any word is taken".into());
        }
    }
    Ok(())
}

fn try_line(line: &Line<'_>) -> Result<(), String> {
    let (statement, above) = match schema(line.path) {
        Ok(statement) => (statement, None),
        Err(above) => (above, Some(above)),
    };
    match (line.verdict, statement.support) {
        ("refused", Support::Refused(why)) => return try_refusal(line, why),
        ("acts" | "says default", Support::Full) | ("deprecated", Support::Deprecated(_)) => {}
        // What stands below a statement without effect has none.
        ("no effect", Support::NoEffect(_) | Support::Full) => {}
        (_, support) => return Err(format!("{support:?} (of {:?})", above.map(|above| above.name))),
    }
    try_values(line)?;
    try_model(line)
}

#[test]
fn every_statement_of_the_reference_does_what_its_line_says() {
    let lines = lines();
    let mut wrong = Vec::new();
    for line in &lines {
        if let Err(text) = try_line(line) {
            wrong.push(format!(
                "line {}: {}: {}\n    {text}",
                line.number, line.path, line.verdict
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} lines:\n{}",
        wrong.len(),
        lines.len(),
        wrong.join("\n")
    );
}

#[test]
fn the_reference_has_no_statement_twice_and_enough_of_each_kind() {
    let lines = lines();
    let paths: HashSet<&str> = lines.iter().map(|line| line.path).collect();
    assert_eq!(paths.len(), lines.len());
    let count = |verdict: &str| lines.iter().filter(|line| line.verdict == verdict).count();
    let known = ["acts", "says default", "deprecated", "no effect", "refused"];
    let counts = known.map(count);
    assert_eq!(counts.iter().sum::<usize>(), lines.len(), "a verdict of another name");
    println!("{known:?} {counts:?}");
    assert!(counts[0] > 100 && counts[3] > 30 && counts[4] > 90, "{counts:?}");
}
