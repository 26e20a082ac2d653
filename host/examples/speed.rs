//! Repeats one phase of reading and checking a configuration of 100,000 lines, for a profiler.
//!
//! `cargo run --release -p nat64-host --example speed -- parse|check|again|apply|compare [TIMES]`

#[path = "../tests/common/large.rs"]
mod large;

use nat64_driver::Gateway;
use nat64_host::config::{self, BuildOptions, CardLimits, Checker};

fn main() {
    let mut arguments = std::env::args().skip(1);
    let phase = arguments.next().unwrap_or_default();
    let times: usize = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(20);
    let text = large::text();
    let tree = config::parse(&text, "large").expect("it is right");
    let other = config::parse(&text, "large").expect("it is right");
    let options = BuildOptions {
        limits: CardLimits::SOFT,
        ..BuildOptions::default()
    };
    let mut checker = Checker::new();
    let (model, _) = checker.model(&tree, &options).expect("it is right");
    let mut gateway = Gateway::new(model.cards[0].gateway.clone(), None, 1).expect("it is right");
    let start = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    for _ in 0..times {
        match phase.as_str() {
            "parse" => drop(std::hint::black_box(config::parse(&text, "large"))),
            "check" => drop(std::hint::black_box(config::model(&tree, &options))),
            // As `check`, for a tree that was checked before.
            "again" => drop(std::hint::black_box(checker.model(&tree, &options))),
            "apply" => drop(std::hint::black_box(
                gateway.reconfigure(0, model.cards[0].gateway.clone()),
            )),
            "compare" => drop(std::hint::black_box(config::compare(&tree, &other))),
            _ => {
                eprintln!("usage: speed parse|check|again|apply|compare [TIMES]");
                return;
            }
        }
    }
    let end = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let ns = (end.tv_sec - start.tv_sec) as f64 * 1e9 + (end.tv_nsec - start.tv_nsec) as f64;
    println!("{phase}: {:.2} ms of processor time", ns / times as f64 / 1e6);
}
