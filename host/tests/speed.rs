//! A configuration of 100,000 lines, and a change of one line to it, in bounded processor time: the best of some rounds, on a
//! machine as fast as the [`pace`] says.

#[path = "common/large.rs"]
mod large;
#[path = "../../driver/tests/pace/mod.rs"]
mod pace;

use nat64_driver::Gateway;
use nat64_host::config::{self, BuildOptions, CardLimits, Checker, EditPath};

use pace::{cpu, median, Pace};

fn timed<T>(what: &str, total: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = cpu();
    let out = work();
    let took = (cpu() - start) * 1e3;
    *total += took;
    println!("{what:24} {took:8.2} ms");
    out
}

/// Rounds at most: the first that is within the limits ends the test.
const ROUNDS: usize = 4;

#[test]
fn a_large_configuration_is_quick() {
    let text = large::text();
    println!("{} lines, {} bytes", text.lines().count(), text.len());
    let pace = Pace::new();
    let sample = || (0..20).map(|_| pace.stretch());
    let (mut whole, mut line) = (f64::INFINITY, f64::INFINITY);
    for _ in 0..ROUNDS {
        let before: Vec<_> = sample().collect();
        let (first, second) = round(&text);
        let stretch = median(before.into_iter().chain(sample()).collect());
        println!("{:24} {stretch:8.2}", "pace of the machine");
        (whole, line) = (whole.min(first / stretch), line.min(second / stretch));
        if whole <= 300.0 && line <= 30.0 {
            return;
        }
    }
    panic!("{whole:.1} ms for the whole, {line:.1} ms for a change of one line");
}

/// Milliseconds to read, check, compare and apply the configuration, and to do so with a change of one line.
fn round(text: &str) -> (f64, f64) {
    let options = BuildOptions {
        limits: CardLimits::SOFT,
        ..BuildOptions::default()
    };
    let mut whole = 0.0;
    let total = &mut whole;
    let tree = timed("parse", total, || {
        config::parse(text, "large").unwrap_or_else(|e| panic!("{e}"))
    });
    let (model, _) = timed("check and model", total, || {
        config::model(&tree, &options).unwrap_or_else(|p| panic!("{}", p[0]))
    });
    let config = &model.cards[0].gateway;
    let mut gateway = timed("apply", total, || Gateway::new(config.clone(), None, 1).unwrap());
    let other = timed("parse again", &mut 0.0, || config::parse(text, "large").unwrap());
    timed("diff without sharing", total, || {
        assert!(config::compare(&tree, &other).is_empty())
    });
    println!("{:24} {whole:8.2} ms", "total");
    timed("write", &mut 0.0, || tree.to_curly());
    timed("write set", &mut 0.0, || tree.to_set());
    let json = timed("write json", &mut 0.0, || tree.to_json());
    timed("read json", &mut 0.0, || config::parse_json(&json, "j").unwrap());

    // The daemon has checked the active configuration before.
    let mut checker = Checker::new();
    checker.model(&tree, &options).unwrap();
    let mut line = 0.0;
    let total = &mut line;
    let mut changed = tree.clone();
    timed("edit", total, || {
        let line = "set policy-options prefix-list customers-7 2001:db8:ffff::/56";
        config::apply_at(&mut changed, &EditPath::top(), line).unwrap()
    });
    let hunks = timed("diff", total, || config::compare(&tree, &changed));
    assert_eq!(hunks.len(), 1);
    let (again, _) = timed("check and model", total, || checker.model(&changed, &options).unwrap());
    assert!(again != model);
    let config = &again.cards[0].gateway;
    let applied = timed("apply", total, || gateway.reconfigure(0, config.clone()));
    applied.unwrap();
    println!("{:24} {line:8.2} ms", "total of one line");
    // What is remembered changes nothing.
    assert!(again == config::model(&changed, &options).unwrap().0);
    timed("drop", &mut 0.0, || drop((changed, again)));
    (whole, line)
}
