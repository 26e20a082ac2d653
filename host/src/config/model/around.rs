//! Cards, services interfaces, and what is around the gateways: control socket, metrics, router advertisements.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use nat64_layout::tables::PREFIX_LENGTHS;
use nat64_xlate::config::{Action, ServiceSet};

use super::service_set::Built as Set;
use super::types::{AdvertisedPrefix, Api, ApiClass, ApiMember, ApiWho, Device, NatPrefix, RouterAdvertisement};
use super::{has, number_of, place, Builder};
use crate::config::problem::Problem;
use crate::config::tree::Node;

/// Name of the card of a configuration that names none.
const ONLY_CARD: &str = "card0";

/// A card as the configuration has it.
pub(super) struct Spec<'t> {
    pub(super) name: String,
    pub(super) device: Option<Device>,
    /// `workers`.
    pub(super) workers: Option<u32>,
    /// What its ports stand under.
    pub(super) ports: Option<&'t Node>,
    /// Its services interfaces; empty: all.
    interfaces: Vec<&'t str>,
}

/// What a card shares over all its service sets.
pub(super) struct Around<'t> {
    pub(super) service_sets: Vec<&'t Node>,
    /// `services-options` of its services interfaces.
    pub(super) interfaces: Vec<&'t Node>,
}

/// A services interface without its unit.
fn device_of(interface: &str) -> &str {
    interface.split_once('.').map_or(interface, |(device, _)| device)
}

impl<'t> Builder<'t> {
    /// The cards, and which one each service set is on.
    pub(super) fn cards(&mut self, sets: &mut [Set<'t>]) -> Vec<Spec<'t>> {
        let own = self.own();
        let nodes: Vec<&'t Node> = own.into_iter().flat_map(|own| own.all("card")).collect();
        let mut specs = Vec::new();
        let mut devices: HashMap<Device, &'t Node> = HashMap::new();
        for node in &nodes {
            let device = self.device(node);
            if let Some(device) = device
                .clone()
                .filter(|d| matches!(d, Device::Vfio(_) | Device::VfioUser(_)))
            {
                if let Some(other) = devices.insert(device, node) {
                    self.problem(format!("`{}` and `{}` are one card", other.value(), node.value()), node);
                }
            }
            let inner = node.child("port").is_some();
            let outer = own.and_then(|own| own.child("port"));
            if let (Some(outer), true) = (outer, inner || nodes.len() > 1) {
                if std::ptr::eq(*node, nodes[0]) {
                    let text = "ports stand under `nat64-nic card`, where others do already or there are several";
                    self.problem(text, outer);
                }
            }
            specs.push(Spec {
                name: node.value().to_string(),
                workers: self.workers(node, device.as_ref()),
                device,
                ports: if inner { Some(node) } else { own },
                interfaces: node.all("service-interface").map(Node::value).collect(),
            });
        }
        if specs.is_empty() {
            specs.push(Spec {
                name: ONLY_CARD.into(),
                device: None,
                workers: None,
                ports: own,
                interfaces: Vec::new(),
            });
        }
        let mut of: HashMap<&str, usize> = HashMap::new();
        for (index, (spec, node)) in specs.iter().zip(&nodes).enumerate() {
            for (name, entry) in spec.interfaces.iter().zip(node.all("service-interface")) {
                if of.insert(name, index).is_some_and(|other| other != index) {
                    self.problem(
                        format!("`{name}` is already the services interface of another card"),
                        entry,
                    );
                }
            }
        }
        let several = specs.len() > 1;
        for set in sets {
            let card = |name: &String| of.get(name.as_str()).or_else(|| of.get(device_of(name))).copied();
            set.card = match (set.interfaces.iter().find_map(card), several) {
                (Some(card), _) => Some(card),
                (None, false) => Some(0),
                (None, true) => {
                    let name = set.config.name.as_str();
                    let problem = Problem::check(format!("the service set `{name}` is on no card"), place(set.node));
                    self.problems.push(
                        problem.help("`nat64-nic card NAME service-interface` names the services interfaces of a card"),
                    );
                    None
                }
            };
        }
        specs
    }

    fn device(&mut self, node: &'t Node) -> Option<Device> {
        let kinds = ["vfio", "vfio-user", "sim", "soft"];
        let given: Vec<&'t Node> = kinds.iter().filter_map(|kind| node.child(kind)).collect();
        if let [first, second, ..] = given[..] {
            let text = format!("`{}` and `{}` exclude each other", first.name(), second.name());
            self.problem(text, second);
        }
        given.first().map(|leaf| match leaf.name() {
            "vfio" => Device::Vfio(leaf.value().to_string()),
            "vfio-user" => Device::VfioUser(leaf.value().into()),
            "sim" => Device::Sim,
            _ => Device::Soft,
        })
    }

    fn workers(&mut self, node: &'t Node, device: Option<&Device>) -> Option<u32> {
        let workers = number_of(Some(node), "workers").and_then(|count| u32::try_from(count).ok());
        if let (Some(leaf), false) = (node.child("workers"), matches!(device, None | Some(Device::Soft))) {
            self.note("only `soft` cards have workers", leaf);
        }
        workers
    }

    /// What the timers and limits of a card are taken from.
    pub(super) fn around(&mut self, spec: &Spec<'t>, index: usize, sets: &[Set<'t>]) -> Around<'t> {
        let own: Vec<&Set<'t>> = sets.iter().filter(|set| set.card == Some(index)).collect();
        let used = |name: &str| {
            spec.interfaces.iter().any(|i| device_of(i) == name)
                || own
                    .iter()
                    .flat_map(|set| &set.interfaces)
                    .any(|interface| device_of(interface) == name)
        };
        let mut interfaces = Vec::new();
        let all = self.root.child("interfaces").into_iter().flat_map(|i| i.all(""));
        for interface in all {
            let Some(options) = interface.child("services-options") else {
                continue;
            };
            if used(device_of(interface.value())) {
                interfaces.push(options);
            } else if index == 0
                && !sets
                    .iter()
                    .flat_map(|s| &s.interfaces)
                    .any(|i| device_of(i) == interface.value())
            {
                let text = format!("no service set is on `{}`; its options do nothing", interface.value());
                self.note(text, interface);
            }
        }
        Around {
            service_sets: own.iter().map(|set| set.node).collect(),
            interfaces,
        }
    }

    pub(super) fn api(&mut self) -> Api {
        let mut out = Api::default();
        let classes = self.own().and_then(|own| own.child("api"));
        let mut seen: HashMap<ApiWho, &'t str> = HashMap::new();
        for class in classes.into_iter().flat_map(|api| api.all("class")) {
            let kind = match class.value() {
                "read-only" => ApiClass::ReadOnly,
                "operator" => ApiClass::Operator,
                _ => ApiClass::SuperUser,
            };
            for member in class.children().iter().filter(|member| !member.is_inactive()) {
                let name = member.value().to_string();
                let who = match member.name() {
                    "user" => ApiWho::User(name),
                    _ => ApiWho::Group(name),
                };
                if let Some(other) = seen.insert(who.clone(), class.value()) {
                    self.problem(
                        format!("`{} {}` is of class `{other}` already", member.name(), member.value()),
                        member,
                    );
                }
                out.members.push(ApiMember { class: kind, who });
            }
        }
        out
    }

    pub(super) fn metrics(&mut self) -> Option<SocketAddr> {
        let leaf = self.own()?.child("metrics")?.child("listen")?;
        let [address, port] = leaf.values() else { return None };
        let address: IpAddr = address.parse().ok()?;
        if address.is_unspecified() {
            self.note(
                "metrics are served on every address of the host, without a password",
                leaf,
            );
        }
        Some(SocketAddr::new(address, port.parse().ok()?))
    }

    /// `router-advertisement` of a unit; `addresses` are its own.
    pub(super) fn router_advertisement(
        &mut self,
        unit: &'t Node,
        inside: bool,
        addresses: &[(std::net::Ipv6Addr, u8)],
        set: Option<&ServiceSet>,
    ) -> Option<RouterAdvertisement> {
        let node = unit.child("router-advertisement")?;
        if !inside {
            self.problem("router advertisements are sent on inside units", node);
        }
        let seconds = |name: &str| number_of(Some(node), name);
        let max = seconds("max-advertisement-interval").unwrap_or(600);
        // RFC 4861 section 6.2.1: at least 3 s, at most three quarters of the longest.
        let min = seconds("min-advertisement-interval").unwrap_or(if max >= 9 { max / 3 } else { max * 3 / 4 });
        if min * 4 > max * 3 {
            if let Some(leaf) = node.child("min-advertisement-interval") {
                let text = format!(
                    "the shortest interval is at most three quarters of the longest, {} s",
                    max * 3 / 4
                );
                self.problem(text, leaf);
            }
        }
        let lifetime = seconds("default-lifetime").unwrap_or((3 * max).min(9000));
        if lifetime != 0 && lifetime < max {
            if let Some(leaf) = node.child("default-lifetime") {
                let text = format!("the lifetime is 0 or at least the longest interval, {max} s");
                self.problem(text, leaf);
            }
        }
        let mut prefixes = Vec::new();
        for entry in node.all("prefix") {
            let Some((address, length)) = self.masked6(entry) else {
                continue;
            };
            let span = |name: &str, default| Duration::from_secs(number_of(Some(entry), name).unwrap_or(default));
            let (valid, preferred) = (span("valid-lifetime", 2_592_000), span("preferred-lifetime", 604_800));
            if preferred > valid {
                let text = "addresses are preferred no longer than they are valid (RFC 4861 section 4.6.2)";
                self.problem(text, entry);
            }
            prefixes.push(AdvertisedPrefix {
                address,
                length,
                autonomous: !has(Some(entry), "no-autonomous"),
                on_link: !has(Some(entry), "no-on-link"),
                valid_lifetime: valid,
                preferred_lifetime: preferred,
            });
        }
        if node.child("prefix").is_none() {
            let global = addresses.iter().filter(|(a, _)| !a.is_unicast_link_local());
            prefixes.extend(global.map(|&(address, length)| AdvertisedPrefix {
                address: super::network6(address, length),
                length,
                // RFC 4862 section 5.5.3: only a /64 and an interface identifier of 64 bits make an address.
                autonomous: length == 64,
                on_link: true,
                valid_lifetime: Duration::from_secs(2_592_000),
                preferred_lifetime: Duration::from_secs(604_800),
            }));
        }
        let mut nat_prefixes = Vec::new();
        for entry in node.all("nat-prefix") {
            let Some((address, length)) = self.masked6(entry) else {
                continue;
            };
            if !PREFIX_LENGTHS.contains(&length) {
                let text = format!("a translation prefix has length 32, 40, 48, 56, 64 or 96, not {length}");
                self.problem(text, entry);
                continue;
            }
            let translates = |set: &ServiceSet| {
                set.terms.iter().any(|term| match &term.then {
                    Action::Translate(then) => (then.pref64, then.pref64_length) == (address, length),
                    Action::NoTranslation => false,
                })
            };
            if !set.is_some_and(translates) {
                let text = format!("{address}/{length} is no `destination-prefix` of the unit's service set");
                self.note(text, entry);
            }
            let lifetime = number_of(Some(entry), "lifetime").unwrap_or((3 * max).min(65_528));
            nat_prefixes.push(NatPrefix {
                address,
                length,
                // RFC 8781 section 4: in units of 8 s.
                lifetime: Duration::from_secs(lifetime.div_ceil(8) * 8),
            });
        }
        Some(RouterAdvertisement {
            max_interval: Duration::from_secs(max),
            min_interval: Duration::from_secs(min),
            default_lifetime: Duration::from_secs(lifetime),
            managed: has(Some(node), "managed-configuration"),
            other: has(Some(node), "other-stateful-configuration"),
            prefixes,
            nat_prefixes,
        })
    }
}
