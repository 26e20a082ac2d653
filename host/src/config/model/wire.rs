//! `nat64-nic port`: ports, units and their addresses.

use std::collections::HashMap;

use nat64_driver::{PortConfig, UnitLink};
use nat64_layout::tables::PortPolicy;
use nat64_layout::PORTS;
use nat64_xlate::config::Unit;

use super::around::Spec;
use super::service_set::Built as Set;
use super::types::{Device, Link, UnitExtra};
use super::{has, network4, network6, place, u16_of, Builder};
use crate::config::problem::Problem;
use crate::config::tree::Node;
use crate::config::value::{mac, prefix4, prefix6};

/// Ethernet addresses of the ports unless others are given: locally administered, then the letters N64.
const MACS: [[u8; 6]; PORTS] = [[0x02, 0x4e, 0x36, 0x34, 0, 0], [0x02, 0x4e, 0x36, 0x34, 0, 1]];

/// MTU unless another is given.
const MTU: u16 = 1500;

/// Ports, and units as the translator, the driver and others see them; all lists have the same index. Service sets have
/// the indices of the configuration.
pub(super) struct Wire<'t> {
    pub(super) host_links: [Option<Link>; PORTS],
    pub(super) extras: Vec<UnitExtra>,
    /// Where they are written; empty when none is.
    pub(super) nodes: Vec<&'t Node>,
    pub(super) ports: [PortConfig; PORTS],
    pub(super) units: Vec<Unit>,
    pub(super) links: Vec<UnitLink>,
}

impl<'t> Builder<'t> {
    /// Reads the ports of a card and gives each of its service sets its outside unit.
    pub(super) fn wire(&mut self, spec: &Spec<'t>, card: usize, sets: &mut [Set<'t>]) -> Wire<'t> {
        let by_name: HashMap<&str, usize> = sets.iter().zip(0..).map(|(set, i)| (set.node.value(), i)).collect();
        let mine: Vec<usize> = (0..sets.len()).filter(|at| sets[*at].card == Some(card)).collect();
        let context = Context { by_name, mine, card };
        let mut wire = Wire {
            host_links: Default::default(),
            extras: Vec::new(),
            nodes: Vec::new(),
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
            let port = spec.ports.and_then(|own| own.entry("port", &number));
            let Some(port) = port else { continue };
            self.port(port, &mut wire.ports[index]);
            if let Some(leaf) = port.child("interface") {
                wire.host_links[index] = Some(Link::Interface(leaf.value().to_string()));
            }
            if let Some(leaf) = port.child("tap") {
                if wire.host_links[index].is_some() {
                    self.problem("`interface` and `tap` exclude each other", leaf);
                }
                wire.host_links[index] = Some(Link::Tap(leaf.value().to_string()));
            }
            if !matches!(spec.device, None | Some(Device::Soft)) {
                for leaf in ["interface", "tap"].into_iter().filter_map(|name| port.child(name)) {
                    self.note("only `soft` cards use network interfaces of the host", leaf);
                }
            }
            for node in port.all("unit") {
                let (unit, link) = self.unit(node, index as u8, sets, &context);
                let set = unit.service_set.map(|set| &sets[set].config);
                let router_advertisement = self.router_advertisement(node, unit.inside, &link.addresses6, set);
                wire.extras.push(UnitExtra { router_advertisement });
                wire.nodes.push(node);
                if let Some(other) = tags.insert((link.port, link.vlans), unit.name.clone()) {
                    self.problem(format!("the unit `{other}` of this port has the same VLAN tags"), node);
                }
                wire.units.push(unit);
                wire.links.push(link);
            }
        }
        if wire.ports[0].mac == wire.ports[1].mac {
            if let Some(own) = spec.ports {
                self.problem("both ports have the same Ethernet address", own);
            }
        }
        if wire.units.is_empty() {
            for port in 0..PORTS as u8 {
                wire.units.push(Unit {
                    name: format!("port{port}.0"),
                    service_set: context.mine.first().copied(),
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
                wire.extras.push(UnitExtra::default());
            }
        }
        self.outside_units(sets, &wire.units, &context.mine);
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

    fn unit(&mut self, node: &Node, port: u8, sets: &[Set<'t>], context: &Context<'t>) -> (Unit, UnitLink) {
        self.exclusive(node, "vlan-id", "vlan-tags");
        let tag = |text: &String| text.parse::<u16>().ok();
        let vlans = match (node.child("vlan-id"), node.child("vlan-tags")) {
            (Some(id), _) => [id.values().first().and_then(tag), None],
            (None, Some(tags)) => [tags.values().first().and_then(tag), tags.values().get(1).and_then(tag)],
            (None, None) => [None, None],
        };
        let name = format!("port{port}.{}", node.value());
        let service_set = match (node.child("service-set"), context.mine.as_slice()) {
            (Some(leaf), _) => {
                let found = context.by_name.get(leaf.value()).copied();
                match found.map(|at| sets[at].card) {
                    None => self.problem(format!("there is no `services service-set {}`", leaf.value()), leaf),
                    Some(Some(card)) if card != context.card => {
                        self.problem(format!("the service set `{}` is on another card", leaf.value()), leaf);
                    }
                    Some(_) => {}
                }
                found
            }
            (None, [only]) => Some(*only),
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

    fn outside_units(&mut self, sets: &mut [Set<'t>], units: &[Unit], mine: &[usize]) {
        // First outside unit, how many there are, whether there is an inside one.
        let mut found: Vec<(Option<usize>, usize, bool)> = vec![(None, 0, false); sets.len()];
        for (index, unit) in units.iter().enumerate() {
            let Some((first, count, inside)) = unit.service_set.and_then(|set| found.get_mut(set)) else {
                continue;
            };
            *inside |= unit.inside;
            if unit.outside {
                first.get_or_insert(index);
                *count += 1;
            }
        }
        for &at in mine {
            let set = &mut sets[at];
            let name = set.config.name.clone();
            match found[at] {
                (Some(first), count, true) => {
                    set.config.outside_unit = first;
                    if count > 1 {
                        let text = format!(
                            "the service set `{name}` has several outside units; IPv4 leaves by `{}`",
                            units[first].name
                        );
                        self.note(text, set.node);
                    }
                }
                (Some(_), _, false) => self.problem(format!("the service set `{name}` has no inside unit"), set.node),
                (None, _, true) => self.problem(format!("the service set `{name}` has no outside unit"), set.node),
                (None, _, false) => {
                    let problem = Problem::check(format!("no unit has the service set `{name}`"), place(set.node));
                    self.problems.push(problem.help("units stand under `nat64-nic port`"));
                }
            }
        }
    }
}

/// Service sets by name, and those of the card.
struct Context<'t> {
    by_name: HashMap<&'t str, usize>,
    mine: Vec<usize>,
    card: usize,
}
