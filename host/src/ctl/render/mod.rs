//! Answers of the daemon as text, in the shapes Junos has for them.
//!
//! Pure functions from API types to text; what several of them need stands here.

mod card;
mod flows;
mod monitor;
mod nat;
mod sessions;
mod system;

pub use card::{cards, drops, neighbours, registers};
pub use flows::{flow_count, flows};
pub use monitor::event;
pub use nat::{
    det_block, det_host, drains, mapping_summary, mappings, packet_drops, pools, service_sets, statistics, test_result,
    MappingView,
};
pub use sessions::{cleared, count, sessions, utilization, SessionView};
pub use system::{
    alarms, changed, commit, commits, compared, editors, log, mappings_cleared, sessions_lost, uptime, version,
    warnings,
};

use chrono::{Local, TimeZone};

/// Lines with their columns under each other. The last column is not padded; columns whose title begins with `>` are
/// flushed right.
pub(crate) fn table(titles: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<usize> = titles
        .iter()
        .map(|title| title.trim_start_matches('>').chars().count())
        .collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut out = String::new();
    let head: Vec<String> = titles
        .iter()
        .map(|title| title.trim_start_matches('>').to_string())
        .collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (at, (cell, width)) in row.iter().zip(&widths).enumerate() {
            if at > 0 {
                line.push_str("  ");
            }
            let pad = " ".repeat(width - cell.chars().count().min(*width));
            if titles[at].starts_with('>') {
                line.push_str(&pad);
                line.push_str(cell);
            } else {
                line.push_str(cell);
                line.push_str(&pad);
            }
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// `2026-11-25 22:34:06 UTC`, in the time zone of this machine.
pub fn time(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    match Local.timestamp_opt(seconds, 0).single() {
        Some(time) => {
            // The offset is all that is known of the zone; most gateways run on UTC and say so.
            let zone = time.format("%:z").to_string();
            let zone = if zone == "+00:00" { "UTC" } else { &zone };
            format!("{} {zone}", time.format("%Y-%m-%d %H:%M:%S"))
        }
        None => format!("{seconds} s after 1970"),
    }
}

/// `3d 02:05:09`; without the days when there are none.
pub(crate) fn duration(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    let clock = format!("{:02}:{:02}:{:02}", rest / 3600, rest / 60 % 60, rest % 60);
    if days > 0 {
        format!("{days}d {clock}")
    } else {
        clock
    }
}

/// `1 session`, `2 sessions`.
pub(crate) fn plural(count: u64, one: &str) -> String {
    if count == 1 {
        format!("1 {one}")
    } else {
        format!("{count} {one}s")
    }
}

/// A percentage with one decimal.
pub(crate) fn percent(share: f64) -> String {
    format!("{share:.1} %")
}

/// `12.3 k` and the like, for rates.
pub(crate) fn rate(per_second: f64) -> String {
    match per_second {
        r if r >= 1e6 => format!("{:.1}M", r / 1e6),
        r if r >= 1e4 => format!("{:.1}k", r / 1e3),
        r if r >= 100.0 || r == r.trunc() => format!("{r:.0}"),
        r => format!("{r:.1}"),
    }
}

/// Whether an answer has entries of more than one card, so that the card has to be told.
pub(crate) fn several<'a>(mut cards: impl Iterator<Item = &'a str>) -> bool {
    match cards.next() {
        Some(first) => cards.any(|card| card != first),
        None => false,
    }
}

/// A number for each service set, under `title`; rows are card, interface and service set with their number.
pub(crate) fn by_set<'a>(title: &str, rows: impl Iterator<Item = ([&'a str; 3], u64)> + Clone) -> String {
    // The card comes first, and only where there are several.
    let skipped = usize::from(!several(rows.clone().map(|([card, ..], _)| card)));
    let titles = ["Card", "Interface", "Service set", title];
    let rows = rows.map(|(place, number)| {
        let place = place[skipped..].iter().map(|word| word.to_string());
        place.chain([number.to_string()]).collect()
    });
    table(&titles[skipped..], &rows.collect::<Vec<_>>())
}

/// `Interface: ms-0/1/0, Service set: sset-nat64`, with the card when there are several.
pub(crate) fn heading(card: Option<&str>, interface: &str, service_set: &str) -> String {
    let card = card.map_or_else(String::new, |card| format!("Card: {card}, "));
    format!("{card}Interface: {interface}, Service set: {service_set}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_under_each_other() {
        let rows = vec![
            vec!["a".into(), "10".into(), "x y".into()],
            vec!["long".into(), "7".into(), "z".into()],
        ];
        let text = table(&["Name", ">Packets", "Help"], &rows);
        assert_eq!(text, "Name  Packets  Help\na          10  x y\nlong        7  z\n");
    }

    #[test]
    fn durations_and_rates_are_short() {
        assert_eq!(duration(65), "00:01:05");
        assert_eq!(duration(3 * 86_400 + 7_509), "3d 02:05:09");
        assert_eq!(
            [rate(0.0), rate(0.25), rate(12.0), rate(12_345.0), rate(2e6)].join(" "),
            "0 0.2 12 12.3k 2.0M"
        );
        assert_eq!(plural(1, "session") + &plural(2, " mapping"), "1 session2  mappings");
    }
}
