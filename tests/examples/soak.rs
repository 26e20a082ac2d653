//! A soak of any length:
//! `cargo run -p nat64-tests --example soak -- --engine soft|rtl-compiled --minutes N [--seed S] [--workers W] [--cycles C]
//! [--report FILE]`

use std::time::Duration;

use nat64_tests::soak::{run, Engine, Length, Options};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)
    };
    let number = |name: &str, default: u64| match value(name).map(|text| text.parse()) {
        None => default,
        Some(Ok(number)) => number,
        Some(Err(error)) => {
            eprintln!("{name}: {error}");
            std::process::exit(2);
        }
    };
    let engine = match value("--engine").map_or("soft", String::as_str) {
        "soft" => Engine::Soft(number("--workers", 3) as usize),
        "rtl-compiled" => Engine::Compiled,
        other => {
            eprintln!("--engine {other}: soft or rtl-compiled");
            std::process::exit(2);
        }
    };
    let length = match value("--cycles") {
        Some(_) => Length::Cycles(number("--cycles", 1) as u32),
        None => Length::Wall(Duration::from_secs(60 * number("--minutes", 10))),
    };
    let report = run(Options::new(engine, number("--seed", 1), length), &mut |line| {
        println!("{line}")
    });
    print!("{report}");
    if let Some(path) = value("--report") {
        if let Err(error) = std::fs::write(path, report.to_string()) {
            eprintln!("{path}: {error}");
            std::process::exit(1);
        }
    }
}
