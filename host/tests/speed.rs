//! A configuration of 100,000 lines, and a change of one line to it, in bounded processor time.

#[path = "common/large.rs"]
mod large;

use nat64_driver::Gateway;
use nat64_host::config::{self, BuildOptions, CardLimits, Checker, EditPath};

/// Processor time of this thread, milliseconds. Other work of the machine does not count.
fn cpu() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 * 1e3 + time.tv_nsec as f64 / 1e6
}

fn timed<T>(what: &str, total: &mut f64, work: impl FnOnce() -> T) -> T {
    let start = cpu();
    let out = work();
    let took = cpu() - start;
    *total += took;
    println!("{what:24} {took:8.2} ms");
    out
}

#[test]
fn a_large_configuration_is_quick() {
    let text = large::text();
    println!("{} lines, {} bytes", text.lines().count(), text.len());
    let options = BuildOptions {
        limits: CardLimits::SOFT,
        ..BuildOptions::default()
    };
    let mut total = 0.0;
    let tree = timed("parse", &mut total, || {
        config::parse(&text, "large").unwrap_or_else(|e| panic!("{e}"))
    });
    let (model, _) = timed("check and model", &mut total, || {
        config::model(&tree, &options).unwrap_or_else(|p| panic!("{}", p[0]))
    });
    let config = &model.cards[0].gateway;
    let mut gateway = timed("apply", &mut total, || Gateway::new(config.clone(), None, 1).unwrap());
    let other = timed("parse again", &mut 0.0, || config::parse(&text, "large").unwrap());
    timed("diff without sharing", &mut total, || {
        assert!(config::compare(&tree, &other).is_empty())
    });
    println!("{:24} {total:8.2} ms", "total");
    assert!(total <= 300.0, "{total} ms");
    timed("write", &mut 0.0, || tree.to_curly());
    timed("write set", &mut 0.0, || tree.to_set());
    let json = timed("write json", &mut 0.0, || tree.to_json());
    timed("read json", &mut 0.0, || config::parse_json(&json, "j").unwrap());

    // The daemon has checked the active configuration before.
    let mut checker = Checker::new();
    checker.model(&tree, &options).unwrap();
    let mut total = 0.0;
    let mut changed = tree.clone();
    timed("edit", &mut total, || {
        let line = "set policy-options prefix-list customers-7 2001:db8:ffff::/56";
        config::apply_at(&mut changed, &EditPath::top(), line).unwrap()
    });
    let hunks = timed("diff", &mut total, || config::compare(&tree, &changed));
    assert_eq!(hunks.len(), 1);
    let (again, _) = timed("check and model", &mut total, || {
        checker.model(&changed, &options).unwrap()
    });
    assert!(again != model);
    let config = &again.cards[0].gateway;
    let applied = timed("apply", &mut total, || gateway.reconfigure(0, config.clone()));
    applied.unwrap();
    println!("{:24} {total:8.2} ms", "total of one line");
    assert!(total <= 30.0, "{total} ms");
    // What is remembered changes nothing.
    assert!(again == config::model(&changed, &options).unwrap().0);
    timed("drop", &mut 0.0, || drop((changed, again)));
}
