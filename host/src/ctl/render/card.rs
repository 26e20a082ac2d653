//! `show chassis card`, `show drops`, `show registers`, `show neighbours`.

use std::fmt::Write;

use crate::api::card::{Card, CardKind, CardState, Drop, Neighbour, Register};

use super::{duration, percent, rate, several, table};

/// Cards with all that is known of them.
pub fn cards(cards: &[Card]) -> String {
    if cards.is_empty() {
        return "The daemon has no card.\n".into();
    }
    let mut out = String::new();
    for card in cards {
        if !out.is_empty() {
            out.push('\n');
        }
        one(&mut out, card);
    }
    out
}

fn one(out: &mut String, card: &Card) {
    let state = match card.state {
        CardState::Idle => "idle, no configuration yet",
        CardState::Online => "online",
        CardState::Fault => "fault",
    };
    let kind = match card.kind {
        CardKind::Vfio => "PCI card",
        CardKind::VfioUser => "card behind vfio-user",
        CardKind::Serial => "card on a serial line",
        CardKind::Sim => "simulated card",
        CardKind::Soft => "software, no card",
    };
    let _ = writeln!(out, "Card {}: {state}", card.name);
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(out, "  {label:<26}: {value}");
    };
    if let Some(fault) = &card.fault {
        line("Fault", fault);
    }
    line("Kind", kind);
    line("Location", &card.location);
    line("Taken", &format!("{} {} ago", card.taken, duration(card.uptime)));
    if let Some(hardware) = &card.hardware {
        line("Identity", &hardware.identity);
        let same = if hardware.abi_hash == card.driver_abi_hash {
            "the daemon's".to_string()
        } else {
            format!("the daemon has {}", card.driver_abi_hash)
        };
        line("ABI hash", &format!("{} ({same})", hardware.abi_hash));
        line("Bitstream", hardware.bitstream.as_deref().unwrap_or("not told"));
        line(
            "Datapath",
            &format!("{} bits, latency {} clocks", hardware.bus_width, hardware.latency),
        );
        line(
            "Temperature",
            &hardware
                .temperature
                .map_or_else(|| "no sensor".into(), |t| format!("{t} degrees C")),
        );
    } else {
        line("ABI hash of the daemon", &card.driver_abi_hash);
    }
    if let Some(workers) = card.workers {
        line("Workers", &workers.to_string());
    }
    line(
        "Sessions",
        &format!("{}, {} deferred", card.sessions, card.sessions_deferred),
    );
    line("Mappings", &card.mappings.to_string());
    line(
        "Translated",
        &format!(
            "{} packets by the card, {} by the host",
            card.translated_by_card, card.translated_by_host
        ),
    );
    line("Share of the card", &percent(card.hardware_share));
    if !card.ports.is_empty() {
        let rows: Vec<Vec<String>> = card
            .ports
            .iter()
            .map(|port| {
                let link = match port.link_up {
                    Some(true) => "up",
                    Some(false) => "down",
                    None => "-",
                };
                vec![
                    format!("  {}", port.port),
                    port.mac.clone(),
                    port.interface.clone().unwrap_or_else(|| "-".into()),
                    link.into(),
                    port.packets_in.to_string(),
                    port.bytes_in.to_string(),
                    port.packets_out.to_string(),
                    port.bytes_out.to_string(),
                ]
            })
            .collect();
        out.push('\n');
        *out += &table(
            &[
                "  Port",
                "MAC address",
                "Interface",
                "Link",
                ">Packets in",
                ">Bytes in",
                ">Packets out",
                ">Bytes out",
            ],
            &rows,
        );
    }
    if !card.tables.is_empty() {
        let rows: Vec<Vec<String>> = card
            .tables
            .iter()
            .map(|one| {
                #[allow(clippy::cast_precision_loss)] // a share for people
                let fill = 100.0 * one.used as f64 / one.capacity.max(1) as f64;
                vec![
                    format!("  {}", one.table),
                    one.used.to_string(),
                    one.capacity.to_string(),
                    percent(fill),
                ]
            })
            .collect();
        out.push('\n');
        *out += &table(&["  Table", ">Used", ">Capacity", ">Fill"], &rows);
    }
}

/// Reasons with what they count.
pub fn drops(drops: &[Drop]) -> String {
    if drops.is_empty() {
        return "No packet was dropped.\n".into();
    }
    let show_card = several(drops.iter().map(|drop| drop.card.as_str()));
    let mut titles = vec!["Reason", "What", "By", ">Packets", ">Per second", "Explanation"];
    if show_card {
        titles.insert(0, "Card");
    }
    let rows: Vec<Vec<String>> = drops
        .iter()
        .map(|drop| {
            let mut row = vec![
                drop.reason.clone(),
                drop.kind.clone(),
                drop.by.clone(),
                drop.count.to_string(),
                rate(drop.rate),
                drop.explanation.clone(),
            ];
            if show_card {
                row.insert(0, drop.card.clone());
            }
            row
        })
        .collect();
    table(&titles, &rows)
}

/// Registers of a card, decoded.
pub fn registers(card: &str, registers: &[Register]) -> String {
    let mut out = format!("Card: {card}\n");
    for register in registers {
        let value = register
            .value
            .map_or_else(|| "(write only)".into(), |value| format!("{value:#010x}"));
        let _ = writeln!(
            out,
            "{:#06x} {:<22} {:<2} {value:<12}  {}",
            register.offset, register.name, register.access, register.doc
        );
        // A register that is one number needs no line for its only field.
        if let [field] = &register.fields[..] {
            if field.msb == 31 && field.lsb == 0 {
                continue;
            }
        }
        for field in &register.fields {
            let bits = if field.msb == field.lsb {
                format!("{}", field.lsb)
            } else {
                format!("{}:{}", field.msb, field.lsb)
            };
            let value = field.value.map_or_else(|| "-".into(), |value| format!("{value:#x}"));
            let line = format!("         {bits:>5} {:<22} {value:<12}  {}", field.name, field.doc);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    out
}

/// Neighbours.
pub fn neighbours(neighbours: &[Neighbour]) -> String {
    if neighbours.is_empty() {
        return "No neighbour is known.\n".into();
    }
    let show_card = several(neighbours.iter().map(|one| one.card.as_str()));
    let mut titles = vec![
        "Interface",
        "Address",
        "MAC address",
        "State",
        ">Sessions",
        ">Waiting",
        ">Expires",
    ];
    if show_card {
        titles.insert(0, "Card");
    }
    let rows: Vec<Vec<String>> = neighbours
        .iter()
        .map(|one| {
            let mut row = vec![
                one.interface.clone(),
                one.address.to_string(),
                one.mac.clone().unwrap_or_else(|| "-".into()),
                one.state.clone(),
                one.sessions.to_string(),
                one.waiting.to_string(),
                one.expires.map_or_else(|| "-".into(), |seconds| format!("{seconds}s")),
            ];
            if show_card {
                row.insert(0, one.card.clone());
            }
            row
        })
        .collect();
    table(&titles, &rows)
}
