//! What a replay did, for a person at a glance and for machines.

use std::fmt::Write as _;
use std::time::Duration;

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Cell, CellAlignment, Table};
use nat64_layout::{Reason, ReasonKind};
use serde_json::{json, Value};

use crate::device::Totals;
use crate::SIDES;

/// Packets and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Packets.
    pub packets: u64,
    /// Bytes, link-layer headers included where there are any.
    pub bytes: u64,
}

impl Count {
    /// One packet more.
    pub fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }
}

/// The sums of a replay.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Engine that ran it.
    pub engine: String,
    /// Packets that arrived, by port.
    pub received: [Count; 2],
    /// Packets that left, by port.
    pub sent: [Count; 2],
    /// Packets in `exceptions.pcapng`.
    pub exceptions: u64,
    /// Packets that the captures had cut.
    pub cut: u64,
    /// Virtual time from the first packet or event to the end.
    pub virtual_ns: u64,
    /// What the device counted.
    pub totals: Totals,
    /// Time the run took.
    pub elapsed: Duration,
}

impl Summary {
    fn translated(&self) -> (u64, u64) {
        (
            self.totals.card_packets.iter().sum(),
            self.totals.host_packets.iter().sum(),
        )
    }

    /// Share of the translated packets that the card translated, 0 to 1; `None` when there were none.
    pub fn card_share(&self) -> Option<f64> {
        let (card, host) = self.translated();
        (card + host > 0).then(|| card as f64 / (card + host) as f64)
    }

    /// Clocks simulated per second of the run; 0 when the engine has no clocks.
    pub fn clocks_per_second(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds > 0.0 {
            self.totals.clocks as f64 / seconds
        } else {
            0.0
        }
    }

    /// The reasons of one kind with their counts, the most frequent first.
    fn reasons(&self, kinds: &[ReasonKind]) -> Vec<(Reason, u64)> {
        let mut list: Vec<_> = self
            .totals
            .reasons
            .iter()
            .copied()
            .filter(|(r, n)| *n > 0 && kinds.contains(&r.kind()))
            .collect();
        list.sort_by_key(|&(reason, n)| (std::cmp::Reverse(n), reason));
        list
    }

    /// One JSON object.
    pub fn to_json(&self) -> Value {
        let ports: Value = (0..SIDES.len())
            .map(|i| {
                let count = |c: &Count| json!({ "packets": c.packets, "bytes": c.bytes });
                (
                    SIDES[i].to_string(),
                    json!({ "in": count(&self.received[i]), "out": count(&self.sent[i]) }),
                )
            })
            .collect::<serde_json::Map<_, _>>()
            .into();
        let reasons = |kinds: &[ReasonKind]| -> Value {
            self.reasons(kinds)
                .into_iter()
                .map(|(r, n)| json!({ "reason": r.name(), "count": n, "explanation": r.explanation() }))
                .collect()
        };
        let directions = |n: &[u64; 2]| json!({ "six_to_four": n[0], "four_to_six": n[1] });
        json!({
            "engine": self.engine,
            "ports": ports,
            "sessions_made": self.totals.sessions_made,
            "sessions": self.totals.sessions,
            "bibs": self.totals.bibs,
            "translated_by_card": directions(&self.totals.card_packets),
            "translated_by_host": directions(&self.totals.host_packets),
            "card_share": self.card_share(),
            "punts": reasons(&[ReasonKind::Punt]),
            "drops": reasons(&[ReasonKind::Drop, ReasonKind::Answer]),
            "exceptions": self.exceptions,
            "cut_in_capture": self.cut,
            "virtual_ns": self.virtual_ns,
            "clocks": self.totals.clocks,
            "seconds": self.elapsed.as_secs_f64(),
            "clocks_per_second": self.clocks_per_second(),
        })
    }

    /// Text for a person.
    pub fn to_text(&self) -> String {
        let right = |text: String| Cell::new(text).set_alignment(CellAlignment::Right);
        let mut text = String::new();
        let mut ports = Table::new();
        ports.load_style(UTF8_FULL_CONDENSED);
        ports.set_header(["port", "packets in", "bytes in", "packets out", "bytes out"]);
        for (i, side) in SIDES.iter().enumerate() {
            let (a, b) = (self.received[i], self.sent[i]);
            let mut row = vec![Cell::new(side)];
            row.extend([a.packets, a.bytes, b.packets, b.bytes].map(|n| right(grouped(n))));
            ports.add_row(row);
        }
        let _ = writeln!(text, "{ports}");

        let (card, host) = self.translated();
        let t = &self.totals;
        let _ = write!(
            text,
            "sessions    {} made, {} alive at the end",
            grouped(t.sessions_made),
            grouped(t.sessions)
        );
        let _ = writeln!(text, " ({} BIB entries)", grouped(t.bibs));
        let share = self
            .card_share()
            .map_or_else(|| "-".into(), |share| format!("{:.1} %", share * 100.0));
        let _ = writeln!(
            text,
            "translated  {} packets, {share} of them by the card ({} by the host)",
            grouped(card + host),
            grouped(host)
        );

        for (title, kinds) in [
            ("punted to the host", &[ReasonKind::Punt][..]),
            ("dropped or answered", &[ReasonKind::Drop, ReasonKind::Answer][..]),
        ] {
            let list = self.reasons(kinds);
            if list.is_empty() {
                continue;
            }
            let mut table = Table::new();
            table.load_style(UTF8_FULL_CONDENSED);
            table.set_header([title, "packets", "why"]);
            for (reason, n) in list {
                table.add_row(vec![
                    Cell::new(reason.name()),
                    right(grouped(n)),
                    Cell::new(reason.explanation()),
                ]);
            }
            let _ = writeln!(text, "{table}");
        }
        if self.cut > 0 {
            let _ = writeln!(
                text,
                "note        {} packets were cut by the capture (snaplen)",
                grouped(self.cut)
            );
        }
        let virtual_time = Duration::from_nanos(self.virtual_ns);
        let _ = write!(
            text,
            "engine      {}: {virtual_time:.3?} of virtual time in {:.2?}",
            self.engine, self.elapsed
        );
        if t.clocks > 0 {
            let per_second = grouped(self.clocks_per_second() as u64);
            let _ = write!(text, ", {} clocks simulated, {per_second} clocks/s", grouped(t.clocks));
        }
        text.push('\n');
        text
    }
}

/// A number with a space between groups of three digits.
fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Summary {
        let mut summary = Summary {
            engine: "rtl".into(),
            elapsed: Duration::from_secs(2),
            ..Summary::default()
        };
        summary.received[0] = Count {
            packets: 1_234_567,
            bytes: 8,
        };
        summary.totals = Totals {
            card_packets: [98, 0],
            host_packets: [1, 1],
            reasons: vec![
                (Reason::NoSession, 2),
                (Reason::NoRule, 3),
                (Reason::TcpState, 7),
                (Reason::Filtered, 0),
            ],
            clocks: 1000,
            ..Totals::default()
        };
        summary
    }

    #[test]
    fn a_person_sees_share_reasons_and_speed() {
        let text = sample().to_text();
        for part in [
            "1 234 567",
            "98.0 % of them by the card",
            "500 clocks/s",
            Reason::NoRule.explanation(),
        ] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(
            text.find("TcpState").expect("there") < text.find("NoSession").expect("there"),
            "most frequent first"
        );
        assert!(!text.contains("Filtered"), "what did not happen is not told");
    }

    #[test]
    fn machines_get_the_same() {
        let json = sample().to_json();
        assert_eq!(json["ports"]["inside"]["in"]["packets"], 1_234_567);
        assert_eq!(json["card_share"], 0.98);
        assert_eq!(json["punts"][0]["reason"], "TcpState");
        assert_eq!(json["drops"].as_array().map(Vec::len), Some(1));
        assert_eq!(json["clocks_per_second"], 500.0);
        assert_eq!(Summary::default().to_json()["card_share"], Value::Null);
    }
}
