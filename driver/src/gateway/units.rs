//! Ports and units on the wire: what they must be, and how the neighbour logic sees them.

use nat64_layout::PORTS;

use super::GatewayError;
use crate::config::{GatewayConfig, LinkType};
use crate::neigh::UnitNet;
use crate::plan;

/// Checks what belongs to ports and units on the wire; the rest is the translator's and the plan's.
///
/// # Errors
/// The first thing that cannot be.
pub fn check(config: &GatewayConfig) -> Result<(), GatewayError> {
    if config.link_type == LinkType::Ethernet {
        if let Some(port) = (0..PORTS).find(|&p| config.ports[p].mac[0] & 1 != 0) {
            return Err(GatewayError::PortMac { port });
        }
    }
    let wrong = |unit, what| Err(GatewayError::Unit { unit, what });
    for (unit, link) in config.units.iter().enumerate() {
        if usize::from(link.port) >= PORTS {
            return wrong(unit, "there is no such port");
        }
        if link.vlans.into_iter().flatten().any(|vid| vid > 4094) {
            return wrong(unit, "a VLAN id is at most 4094");
        }
        if matches!(link.vlans, [None, Some(_)]) {
            return wrong(unit, "an inner VLAN tag needs an outer one");
        }
        if link.addresses6.iter().any(|a| a.1 > 128) || link.addresses4.iter().any(|a| a.1 > 32) {
            return wrong(unit, "the prefix length of an address is too long");
        }
        if config.units[..unit]
            .iter()
            .any(|other| other.port == link.port && other.vlans == link.vlans)
        {
            return wrong(unit, "another unit has the same port and VLAN tags");
        }
    }
    if config.units.len() != config.xlate.units.len() {
        return wrong(
            config.units.len().min(config.xlate.units.len()),
            "the links and the translator have different units",
        );
    }
    Ok(())
}

/// The units as the neighbour logic sees them.
pub fn nets(config: &GatewayConfig) -> Vec<UnitNet> {
    let pools = |unit: usize| {
        let sets = config.xlate.service_sets.iter().filter(|set| set.outside_unit == unit);
        plan::join(sets.flat_map(|set| plan::pool_ranges(config, set)).collect())
    };
    let net = |(unit, link): (usize, &crate::config::UnitLink)| UnitNet {
        port: usize::from(link.port),
        vlans: link.vlans,
        mac: config.ports[usize::from(link.port) % PORTS].mac,
        addresses6: link.addresses6.clone(),
        addresses4: link.addresses4.clone(),
        gateway6: link.gateway6,
        gateway4: link.gateway4,
        auto_last_hop: link.auto_last_hop,
        proxy4: pools(unit)
            .into_iter()
            .map(|(low, high)| (low.into(), high.into()))
            .collect(),
    };
    config.units.iter().enumerate().map(net).collect()
}
