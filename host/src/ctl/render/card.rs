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
                let link = match (port.link_up, port.mbits) {
                    (Some(true), Some(mbits)) => format!("up {mbits}"),
                    (Some(true), None) => "up".into(),
                    (Some(false), _) => "down".into(),
                    (None, _) => "-".into(),
                };
                vec![
                    format!("  {}", port.port),
                    port.mac.clone(),
                    port.interface.clone().unwrap_or_else(|| "-".into()),
                    link,
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
    macs(out, card);
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

/// What MACs and PHYs say, a column a port, for cards that have them.
fn macs(out: &mut String, card: &Card) {
    let ports: Vec<_> = card.ports.iter().filter(|port| !port.mac_counters.is_empty()).collect();
    let Some(first) = ports.first() else { return };
    let mut titles = vec!["  MAC".to_string()];
    titles.extend(ports.iter().map(|port| format!(">Port {}", port.port)));
    let mut rows: Vec<Vec<String>> = Vec::new();
    let mut row = |name: &str, cells: Vec<String>| rows.push([vec![format!("  {name}")], cells].concat());
    for (i, counter) in first.mac_counters.iter().enumerate() {
        let cells = ports
            .iter()
            .map(|port| port.mac_counters.get(i).map_or(String::new(), |c| c.frames.to_string()));
        row(&counter.counter, cells.collect());
    }
    let phys = ports.iter().map(|port| match &port.phy {
        Some(phy) => format!("{} at {}", phy.identifier, phy.address),
        None => "no answer".into(),
    });
    row("PHY", phys.collect());
    let links = ports.iter().map(|port| match &port.phy {
        Some(phy) if phy.link_up => "up".to_string(),
        Some(_) => "down".into(),
        None => "-".into(),
    });
    row("PHY link", links.collect());
    let titles: Vec<&str> = titles.iter().map(String::as_str).collect();
    out.push('\n');
    *out += &table(&titles, &rows);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::card::{MacCounter, Port, PortPhy};

    fn card(ports: Vec<Port>) -> Card {
        Card {
            name: "card0".into(),
            kind: CardKind::Serial,
            location: "serial:/dev/ttyUSB1".into(),
            state: CardState::Online,
            fault: None,
            taken: "opened".into(),
            hardware: None,
            driver_abi_hash: "0x0".into(),
            uptime: 1,
            sessions: 0,
            mappings: 0,
            sessions_deferred: 0,
            translated_by_card: 0,
            translated_by_host: 0,
            hardware_share: 0.0,
            ports,
            tables: Vec::new(),
            workers: None,
        }
    }

    #[test]
    fn macs_have_a_column_a_port() {
        let port = |port: u32, frames: u32, phy| Port {
            port,
            link_up: Some(phy),
            mbits: Some(1000),
            mac_counters: ["RxGood", "RxFcs"]
                .map(|counter| MacCounter {
                    counter: counter.into(),
                    frames,
                })
                .into(),
            phy: phy.then(|| PortPhy {
                address: 0,
                identifier: "0x01410dd1".into(),
                link_up: true,
            }),
            ..Port::default()
        };
        let shown = cards(&[card(vec![port(0, 17, true), port(1, 5, false)])]);
        let lines: Vec<String> = shown
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        for want in [
            "MAC Port 0 Port 1",
            "RxGood 17 5",
            "RxFcs 17 5",
            "PHY 0x01410dd1 at 0 no answer",
            "PHY link up -",
        ] {
            assert!(lines.iter().any(|line| line == want), "{want}:\n{shown}");
        }
        assert!(shown.contains("up 1000") && shown.contains("down"), "{shown}");
        assert!(!cards(&[card(vec![Port::default()])]).contains("RxGood"));
    }
}
