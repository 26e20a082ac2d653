//! `request support information`: one text with everything a maintainer asks for, secrets left out.

use std::fmt::Write as _;

use super::server::decode_registers;
use super::{metrics, unix_seconds, Daemon};
use crate::api::configuration::{Format, TextQuery};
use crate::api::system::Severity;

fn heading(text: &mut String, title: &str) {
    let _ = write!(text, "\n=== {title} ===\n");
}

/// What the system says of itself, as far as it can be read.
fn file(text: &mut String, path: &str) {
    match std::fs::read_to_string(path) {
        Ok(found) => {
            let _ = writeln!(text, "{path}: {}", found.trim_end());
        }
        Err(error) => {
            let _ = writeln!(text, "{path}: {error}");
        }
    }
}

/// Collects it. What cannot be had is said in its place; the rest is there all the same.
pub async fn collect(daemon: &Daemon) -> String {
    let mut text = String::new();
    let _ = writeln!(
        text,
        "nat64d {} on {}, process {}, started {}, ABI hash {:#010x}",
        env!("CARGO_PKG_VERSION"),
        daemon.host_name,
        std::process::id(),
        humantime::format_rfc3339_seconds(daemon.started),
        nat64_layout::ABI_HASH,
    );
    heading(&mut text, "system");
    for path in [
        "/proc/version",
        "/proc/cmdline",
        "/proc/loadavg",
        "/proc/self/status",
        "/proc/self/limits",
    ] {
        file(&mut text, path);
    }
    heading(&mut text, "active configuration");
    match daemon.configuration.active(&TextQuery {
        format: Format::Curly,
        ..TextQuery::default()
    }) {
        Ok(active) => text.push_str(&active.text),
        Err(error) => {
            let _ = writeln!(text, "{}", error.message);
        }
    }
    heading(&mut text, "commits");
    for entry in daemon.configuration.commits().commits {
        let _ = writeln!(
            text,
            "{:2}  {}  {} via {}  {}",
            entry.rollback,
            humantime::format_rfc3339_seconds(unix_time(entry.time)),
            entry.user,
            entry.client,
            entry.damaged.or(entry.comment).unwrap_or_default(),
        );
    }
    for card in daemon.cards() {
        heading(&mut text, &format!("card {} ({})", card.name, card.location));
        let _ = writeln!(text, "{:#?}\n{:#?}", card.status(), card.load());
        match card.look(|dataplane| dataplane.counters()).await {
            Ok(counters) => {
                let reasons = super::samples::Tally::new(&counters);
                for &reason in nat64_layout::Reason::ALL {
                    for by in [super::samples::By::Card, super::samples::By::Host] {
                        let count = reasons.of(by, reason);
                        if count > 0 {
                            let _ = writeln!(text, "{:4} {:24} {count}", by.name(), reason.name());
                        }
                    }
                }
                let _ = writeln!(text, "{:#?}", counters.translator.pools);
            }
            Err(error) => {
                let _ = writeln!(text, "counters: {error}");
            }
        }
        match card.look(|dataplane| dataplane.registers()).await {
            Ok(values) => {
                for register in decode_registers(&values) {
                    let Some(value) = register.value else { continue };
                    let _ = writeln!(text, "{:#06x} {:16} {value:#010x}", register.offset, register.name);
                }
            }
            Err(error) => {
                let _ = writeln!(text, "registers: {error}");
            }
        }
    }
    heading(&mut text, "metrics");
    match metrics::scrape(daemon).await {
        Ok(metrics) => text.push_str(&metrics),
        Err(error) => {
            let _ = writeln!(text, "{}", error.0.message);
        }
    }
    heading(&mut text, "log");
    let (lines, _) = daemon.log.page(0, Severity::Debug, usize::MAX);
    for line in lines {
        let fields = serde_json::Value::Object(line.fields);
        let time = std::time::UNIX_EPOCH + std::time::Duration::from_millis(line.time);
        let _ = writeln!(
            text,
            "{} {:?} {} {} {fields}",
            humantime::format_rfc3339_millis(time),
            line.severity,
            line.target,
            line.message
        );
    }
    let _ = writeln!(text, "\n=== end, {} s ===", unix_seconds(std::time::SystemTime::now()));
    text
}

fn unix_time(seconds: u64) -> std::time::SystemTime {
    // A damaged file may name any time; what cannot be shown is shown as 1970.
    let time = std::time::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(seconds));
    time.filter(|_| seconds < 253_402_300_800)
        .unwrap_or(std::time::UNIX_EPOCH)
}
