//! What `test nat64 packet` says of a dataplane: the translator's walk, with what comes before and after it.

use std::net::IpAddr;

use nat64_driver::neigh::{self, Neighbours};
use nat64_driver::{link, GatewayConfig};
use nat64_xlate::engine::Verdict;
use nat64_xlate::Explanation;

use super::dataplane::{DataplaneError, Probe, Walk};

/// The unit a packet arrives on: the one that was named, or the first that takes its family.
///
/// # Errors
/// [`DataplaneError::NotFound`].
pub fn unit_of(config: &GatewayConfig, probe: &Probe) -> Result<usize, DataplaneError> {
    let six = link::ethertype_of(&probe.packet) == Some(nat64_layout::ETHERTYPE_IPV6);
    let units = &config.xlate.units;
    let unit = match &probe.unit {
        Some(name) => units.iter().position(|unit| unit.name == *name),
        None => units
            .iter()
            .position(|unit| if six { unit.inside } else { unit.outside }),
    };
    unit.ok_or_else(|| {
        let name = probe
            .unit
            .clone()
            .unwrap_or_else(|| if six { "inside" } else { "outside" }.into());
        DataplaneError::NotFound { what: "unit", name }
    })
}

/// The walk of a packet. `card` is whether the card has its session; `None`: there is no card.
pub fn of(config: &GatewayConfig, neighbours: &Neighbours, card: Option<bool>, told: &Explanation) -> Walk {
    let units = &config.xlate.units;
    let mut walk = Walk {
        stages: told
            .stages
            .iter()
            .map(|stage| (stage.name.name(), stage.says.clone()))
            .collect(),
        ..Walk::default()
    };
    match told.verdict {
        Verdict::Sent { unit, opens, .. } => {
            walk.verdict = "translated";
            let name = units.get(unit).map_or("?", |unit| unit.name.as_str());
            if let Some(packet) = told.packets.first() {
                let (source, destination) = (neigh::source_of(packet), neigh::destination_of(packet));
                if let (Some(source), Some(destination)) = (source, destination) {
                    let pieces = match told.packets.len() {
                        1 => String::new(),
                        n => format!(" in {n} fragments"),
                    };
                    walk.output = Some(format!("{source} -> {destination} on {name}{pieces}"));
                    let says = neighbour_says(neighbours, unit, destination);
                    walk.stages.push(("neighbour", says));
                }
            }
            if let Some(carried) = card {
                walk.offloaded = carried;
                let says = match (told.session.is_some(), carried, opens) {
                    (_, true, _) => "the session is in the card: later packets like this one are translated there",
                    (true, false, _) => "the session is on the host: the card hands its packets over",
                    (false, _, true) => "the card hands the packet over (NoSession); the host opens the session",
                    (false, _, false) => "the card hands the packet over",
                };
                walk.stages.push(("card", says.into()));
            }
        }
        Verdict::Held => walk.verdict = "held",
        Verdict::Dropped { reason, answered } => {
            walk.verdict = if answered { "answered" } else { "dropped" };
            walk.reason = Some(reason);
        }
    }
    if !told.exact {
        walk.stages.push((
            "note",
            "some of this had to be guessed: the port is chosen when the packet comes".into(),
        ));
    }
    walk
}

fn neighbour_says(neighbours: &Neighbours, unit: usize, destination: IpAddr) -> String {
    match neighbours.next_hop(unit, destination) {
        None => "there is no next hop".into(),
        Some(key) => match neighbours.mac(key) {
            Some(mac) => {
                let mac = mac.map(|byte| format!("{byte:02x}")).join(":");
                format!("next hop {} is at {mac}", key.1)
            }
            None => format!("next hop {} has to be asked for", key.1),
        },
    }
}
