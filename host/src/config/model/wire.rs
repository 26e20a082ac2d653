//! `nat64-nic port`: ports, units and their addresses.

use std::collections::HashMap;

use nat64_driver::{PortConfig, UnitLink};
use nat64_layout::tables::PortPolicy;
use nat64_layout::PORTS;
use nat64_xlate::config::Unit;

use super::service_set::Built as Set;
use super::{has, network4, network6, place, u16_of, Builder};
use crate::config::problem::Problem;
use crate::config::tree::Node;
use crate::config::value::{mac, prefix4, prefix6};

/// Ethernet addresses of the ports unless others are given: locally administered, then the letters N64.
const MACS: [[u8; 6]; PORTS] = [[0x02, 0x4e, 0x36, 0x34, 0, 0], [0x02, 0x4e, 0x36, 0x34, 0, 1]];

/// MTU unless another is given.
const MTU: u16 = 1500;

/// Ports, and units as the translator and the driver see them; both lists have the same index.
pub(super) struct Wire {
    pub(super) ports: [PortConfig; PORTS],
    pub(super) units: Vec<Unit>,
    pub(super) links: Vec<UnitLink>,
}

impl<'t> Builder<'t> {
    /// Reads the ports and gives each service set its outside unit.
    pub(super) fn wire(&mut self, sets: &mut [Set<'t>]) -> Wire {
        let mut wire = Wire {
            ports: MACS.map(|mac| PortConfig {
                mac,
                policy: PortPolicy::Drop,
            }),
            units: Vec::new(),
            links: Vec::new(),
        };
        let mut tags: HashMap<(u8, [Option<u16>; 2]), String> = HashMap::new();
        for index in 0..PORTS {
            let number = index.to_string();
            let port = self
                .own()
                .and_then(|own| own.all("port").find(|port| port.value() == number));
            let Some(port) = port else { continue };
            self.port(port, &mut wire.ports[index]);
            for node in port.all("unit") {
                let (unit, link) = self.unit(node, index as u8, sets);
                if let Some(other) = tags.insert((link.port, link.vlans), unit.name.clone()) {
                    self.problem(format!("the unit `{other}` of this port has the same VLAN tags"), node);
                }
                wire.units.push(unit);
                wire.links.push(link);
            }
        }
        if wire.ports[0].mac == wire.ports[1].mac {
            if let Some(own) = self.own() {
                self.problem("both ports have the same Ethernet address", own);
            }
        }
        if wire.units.is_empty() {
            for port in 0..PORTS as u8 {
                wire.units.push(Unit {
                    name: format!("port{port}.0"),
                    service_set: (!sets.is_empty()).then_some(0),
                    inside: port == 0,
                    outside: port == 1,
                    mtu: MTU,
                    address6: None,
                    address4: None,
                });
                wire.links.push(UnitLink {
                    port,
                    auto_last_hop: true,
                    ..UnitLink::default()
                });
            }
        }
        self.outside_units(sets, &wire.units);
        wire
    }

    fn port(&mut self, node: &Node, port: &mut PortConfig) {
        if let Some(leaf) = node.child("mac") {
            if let Some(address) = mac(leaf.value()) {
                if address[0] & 1 == 1 || address == [0; 6] {
                    self.problem(format!("`{}` is no address of one station", leaf.value()), leaf);
                }
                port.mac = address;
            }
        }
        port.policy = match node.child("unmatched").map(Node::value) {
            Some("forward") => PortPolicy::Forward,
            Some("punt") => PortPolicy::Punt,
            _ => PortPolicy::Drop,
        };
    }

    fn unit(&mut self, node: &Node, port: u8, sets: &[Set<'t>]) -> (Unit, UnitLink) {
        self.exclusive(node, "vlan-id", "vlan-tags");
        let tag = |text: &String| text.parse::<u16>().ok();
        let vlans = match (node.child("vlan-id"), node.child("vlan-tags")) {
            (Some(id), _) => [id.values().first().and_then(tag), None],
            (None, Some(tags)) => [tags.values().first().and_then(tag), tags.values().get(1).and_then(tag)],
            (None, None) => [None, None],
        };
        let name = format!("port{port}.{}", node.value());
        let service_set = match (node.child("service-set"), sets) {
            (Some(leaf), _) => {
                let found = sets.iter().position(|set| set.config.name == leaf.value());
                if found.is_none() {
                    self.problem(format!("there is no `services service-set {}`", leaf.value()), leaf);
                }
                found
            }
            (None, [_]) => Some(0),
            (None, []) => None,
            (None, _) => {
                self.problem(
                    format!("there are several service sets; the unit `{name}` names none"),
                    node,
                );
                None
            }
        };
        let side = node
            .child("side")
            .map_or(if port == 0 { "inside" } else { "outside" }, Node::value);
        let family = node.child("family");
        let inet6 = family.and_then(|family| family.child("inet6"));
        let inet = family.and_then(|family| family.child("inet"));
        let addresses6: Vec<_> = inet6
            .into_iter()
            .flat_map(|f| f.all("address"))
            .filter_map(|a| prefix6(a.value()))
            .collect();
        let addresses4: Vec<_> = inet
            .into_iter()
            .flat_map(|f| f.all("address"))
            .filter_map(|a| prefix4(a.value()))
            .collect();
        let gateway6 = inet6.and_then(|f| f.child("gateway")).and_then(|leaf| {
            let gateway = leaf.value().parse().ok()?;
            let near = |(a, l): &(_, u8)| network6(*a, *l) == network6(gateway, *l);
            if !addresses6.is_empty() && !gateway.is_unicast_link_local() && !addresses6.iter().any(near) {
                self.note(format!("the gateway {gateway} is on no prefix of the unit"), leaf);
            }
            Some(gateway)
        });
        let gateway4 = inet.and_then(|f| f.child("gateway")).and_then(|leaf| {
            let gateway = leaf.value().parse().ok()?;
            let near = |(a, l): &(_, u8)| network4(*a, *l) == network4(gateway, *l);
            if !addresses4.is_empty() && !addresses4.iter().any(near) {
                self.note(format!("the gateway {gateway} is on no prefix of the unit"), leaf);
            }
            Some(gateway)
        });
        for address in inet6.into_iter().flat_map(|f| f.all("address")) {
            if prefix6(address.value()).is_some_and(|(a, _)| a.is_unspecified() || a.is_multicast()) {
                self.problem(format!("`{}` is no address of one host", address.value()), address);
            }
        }
        for address in inet.into_iter().flat_map(|f| f.all("address")) {
            if prefix4(address.value()).is_some_and(|(a, _)| a.is_unspecified() || a.is_multicast() || a.is_broadcast())
            {
                self.problem(format!("`{}` is no address of one host", address.value()), address);
            }
        }
        let unit = Unit {
            name,
            service_set,
            inside: side != "outside",
            outside: side != "inside",
            mtu: u16_of(Some(node), "mtu").unwrap_or(MTU),
            address6: addresses6.first().map(|(address, _)| *address),
            address4: addresses4.first().map(|(address, _)| *address),
        };
        let auto_last_hop = !has(Some(node), "no-auto-last-hop");
        (
            unit,
            UnitLink {
                port,
                vlans,
                addresses6,
                addresses4,
                gateway6,
                gateway4,
                auto_last_hop,
            },
        )
    }

    fn outside_units(&mut self, sets: &mut [Set<'t>], units: &[Unit]) {
        for (index, set) in sets.iter_mut().enumerate() {
            let of_set = |unit: &&Unit| unit.service_set == Some(index);
            let name = set.config.name.clone();
            let mut outside = units
                .iter()
                .enumerate()
                .filter(|(_, unit)| unit.outside && of_set(unit));
            let inside = units.iter().any(|unit| unit.inside && of_set(&unit));
            match (outside.next(), inside) {
                (Some((first, unit)), true) => {
                    set.config.outside_unit = first;
                    if outside.next().is_some() {
                        let text = format!(
                            "the service set `{name}` has several outside units; IPv4 leaves by `{}`",
                            unit.name
                        );
                        self.note(text, set.node);
                    }
                }
                (Some(_), false) => self.problem(format!("the service set `{name}` has no inside unit"), set.node),
                (None, true) => self.problem(format!("the service set `{name}` has no outside unit"), set.node),
                (None, false) => {
                    let problem = Problem::check(format!("no unit has the service set `{name}`"), place(set.node));
                    self.problems.push(problem.help("units stand under `nat64-nic port`"));
                }
            }
        }
    }
}
