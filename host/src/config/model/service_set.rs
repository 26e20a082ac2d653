//! `services service-set` and `nat64-nic service-set`.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::Protocol;
use nat64_xlate::config::{
    Action, DfPolicy, EimScope, Filtering, LandAttackCheck, OnConflict, ServiceSet, StaticBinding, TcpNonSyn, Term,
    Translate, UdpZeroChecksum, WellKnownPrefix,
};
use nat64_xlate::pool::deterministic::Deterministic;

use super::pool::{Built as Pool, ALLOW, RESERVED};
use super::rule::Rules;
use super::types::ServiceSetExtra;
use super::{has, place, u16_of, u32_of, Builder};
use crate::config::problem::{Problem, Warning, WarningKind};
use crate::config::tree::Node;

/// A service set and where it stands.
pub(super) struct Built<'t> {
    pub(super) node: &'t Node,
    pub(super) config: ServiceSet,
    pub(super) extra: ServiceSetExtra,
    /// Its services interfaces, with their units.
    pub(super) interfaces: Vec<String>,
    /// The card it is on.
    pub(super) card: Option<usize>,
}

impl<'t> Builder<'t> {
    pub(super) fn service_sets(&mut self, rules: &Rules<'t>, pools: &[Pool<'t>]) -> Vec<Built<'t>> {
        let mut sets = Vec::new();
        let mut interfaces = HashMap::new();
        for node in self
            .root
            .child("services")
            .into_iter()
            .flat_map(|s| s.all("service-set"))
        {
            let own = self.own().and_then(|own| own.entry("service-set", node.value()));
            let config = self.service_set(node, own, rules, pools);
            let own_interfaces = self.interfaces(node, &mut interfaces);
            let extra = ServiceSetExtra {
                interface: own_interfaces.first().cloned(),
                syslog: self.syslog(node),
            };
            sets.push(Built {
                node,
                config,
                extra,
                interfaces: own_interfaces,
                card: None,
            });
        }
        if sets.is_empty() {
            self.problems
                .push(Problem::check("the configuration has no `services service-set`", None));
        }
        self.shared_pools(&sets, pools);
        for own in self.own().into_iter().flat_map(|own| own.all("service-set")) {
            let services = self.root.child("services");
            if services.and_then(|s| s.entry("service-set", own.value())).is_none() {
                self.problem(format!("there is no `services service-set {}`", own.value()), own);
            }
        }
        sets
    }

    fn service_set(
        &mut self,
        node: &'t Node,
        own: Option<&'t Node>,
        rules: &Rules<'t>,
        pools: &[Pool<'t>],
    ) -> ServiceSet {
        let nat = node.child("nat-options");
        let nat64 = nat.and_then(|nat| nat.child("stateful-nat64"));
        let options = node.child("service-set-options");
        let tcp = options.and_then(|options| options.child("tcp-session"));
        let (terms, log) = self.terms(node, own, rules, pools);
        let defaults = ServiceSet::default();
        let word = |parent: Option<&'t Node>, name: &str| parent.and_then(|p| p.child(name)).map(Node::value);
        let df = match (self.junos, has(nat64, "clear-dont-fragment-bit")) {
            (false, _) => DfPolicy::Rfc7915,
            (true, true) => DfPolicy::JunosClear,
            (true, false) => DfPolicy::AlwaysSet,
        };
        let smaller = |a: Option<u32>, b: Option<u32>| a.into_iter().chain(b).min();
        let maximum = u32_of(options.and_then(|o| o.child("session-limit")), "maximum");
        let tcp_mss = u16_of(Some(node), "tcp-mss")
            .into_iter()
            .chain(u16_of(tcp, "tcp-mss"))
            .min();
        let non_syn = word(tcp, "tcp-non-syn").or(word(options, "tcp-non-syn"));
        if let (Some(strict), true) = (
            own.and_then(|own| own.child("strict-well-known-prefix")),
            has(own, "no-strict-well-known-prefix"),
        ) {
            self.problem(
                "`strict-well-known-prefix` and `no-strict-well-known-prefix` exclude each other",
                strict,
            );
        }
        let config = ServiceSet {
            name: node.value().to_string(),
            df,
            no_v6_frag_header: has(nat64, "no-v6-frag-header"),
            ipv6_mtu: u16_of(nat64, "ipv6-mtu").unwrap_or(defaults.ipv6_mtu),
            eim_scope: match word(own, "eim-scope") {
                Some("service-set") => EimScope::ServiceSet,
                _ => EimScope::RuleTerm,
            },
            on_conflict: match word(own, "on-conflict") {
                Some("drop") => OnConflict::Drop,
                _ => OnConflict::Reallocate,
            },
            tcp_non_syn: match non_syn {
                Some("drop-flow-send-rst") => TcpNonSyn::DropSendRst,
                _ => TcpNonSyn::Drop,
            },
            land_attack_check: match word(nat, "land-attack-check") {
                Some("ip-only") => Some(LandAttackCheck::IpOnly),
                Some("ip-port") => Some(LandAttackCheck::IpPort),
                _ => None,
            },
            max_sessions_per_subscriber: smaller(
                u32_of(nat, "max-sessions-per-subscriber"),
                u32_of(options, "max-sessions-per-subscriber"),
            ),
            subscriber_length: subscriber_length(own),
            max_sessions: smaller(u32_of(Some(node), "max-flows"), maximum),
            max_setup_rate: u32_of(Some(node), "max-session-setup-rate"),
            tcp_mss,
            well_known_prefix: match (
                has(own, "strict-well-known-prefix"),
                has(own, "no-strict-well-known-prefix"),
            ) {
                (true, _) => WellKnownPrefix::Strict,
                (false, true) => WellKnownPrefix::Any,
                (false, false) => defaults.well_known_prefix,
            },
            outside_tcp_open: !has(own, "no-outside-tcp-open"),
            tos_override: u16_of(own, "tos-override").map(|tos| tos as u8),
            udp_zero_checksum: match word(own, "udp-zero-checksum") {
                Some("drop") => UdpZeroChecksum::Drop,
                _ => UdpZeroChecksum::Calculate,
            },
            icmp_source_extension: has(own, "icmp-source-extension"),
            static_bindings: self.bindings(own, &terms),
            log_sessions: log || node.child("syslog").is_some(),
            terms,
            ..defaults
        };
        self.eim_conflicts(node, &config);
        config
    }

    /// The terms of all rules of a service set, and whether one of them logs.
    fn terms(
        &mut self,
        node: &'t Node,
        own: Option<&'t Node>,
        rules: &Rules<'t>,
        pools: &[Pool<'t>],
    ) -> (Vec<Term>, bool) {
        self.exclusive(node, "nat-rules", "nat-rule-sets");
        let nat = self.root.at(&["services", "nat"]);
        let mut named: Vec<&Node> = node.all("nat-rules").collect();
        for leaf in node.all("nat-rule-sets") {
            match nat.and_then(|nat| nat.entry("rule-set", leaf.value())) {
                // Rules that do not exist are a problem of the rule set.
                Some(set) => named.extend(set.all("rule").filter(|rule| rules.contains_key(rule.value()))),
                None => self.problem(format!("there is no `services nat rule-set {}`", leaf.value()), leaf),
            }
        }
        if node.child("nat-rules").is_none() && node.child("nat-rule-sets").is_none() {
            self.problem(format!("the service set `{}` has no `nat-rules`", node.value()), node);
        }
        let word = |name: &str| own.and_then(|own| own.child(name)).map(Node::value);
        // With both of these the set reproduces Junos, where a term without `mapping-type` has no such mapping.
        let to_the_letter = word("eim-scope") == Some("service-set") && word("on-conflict") == Some("drop");
        let mapping = match word("mapping") {
            Some(mapping) => mapping == "endpoint-independent",
            None => !self.junos && !to_the_letter,
        };
        let filtering = match word("filtering") {
            Some("endpoint-independent") => Filtering::EndpointIndependent,
            Some("address-dependent") => Filtering::AddressDependent,
            Some(_) => Filtering::AddressAndPortDependent,
            None if self.junos => Filtering::AddressAndPortDependent,
            None => Filtering::EndpointIndependent,
        };
        let (mut terms, mut log) = (Vec::new(), false);
        let mut seen = BTreeSet::new();
        for leaf in named {
            let Some(rule) = rules.get(leaf.value()) else {
                self.no_rule(leaf);
                continue;
            };
            if !seen.insert(leaf.value()) {
                self.problem(format!("the rule `{}` is named twice", leaf.value()), leaf);
                continue;
            }
            for built in rule {
                let mut term = built.term.clone();
                if let Action::Translate(translate) = &mut term.then {
                    if !built.mapping {
                        translate.endpoint_independent_mapping = mapping;
                    }
                    if !built.filtering {
                        translate.filtering = filtering;
                    }
                    let pool = &pools[translate.pool].config;
                    if translate.deterministic && pool.deterministic_block.is_some() {
                        let length = subscriber_length(own);
                        if let Err(error) = Deterministic::new(&term.from.source, length, pool) {
                            self.problems
                                .push(Problem::check(error.to_string(), built.place.clone()));
                        }
                    }
                }
                log |= built.log;
                terms.push(term);
            }
        }
        (terms, log)
    }

    /// Services interfaces of one set; none may be another set's.
    fn interfaces(&mut self, node: &'t Node, taken: &mut HashMap<String, &'t str>) -> Vec<String> {
        let mut own = Vec::new();
        self.exclusive(node, "interface-service", "next-hop-service");
        let names = [
            "service-interface",
            "inside-service-interface",
            "outside-service-interface",
        ];
        let styles = [node.child("interface-service"), node.child("next-hop-service")];
        if let Some(next_hop) = styles[1] {
            for name in &names[1..] {
                if next_hop.child(name).is_none() {
                    self.problem(format!("`next-hop-service` has no `{name}`"), next_hop);
                }
            }
        }
        for leaf in styles
            .into_iter()
            .flatten()
            .flat_map(|style| names.iter().filter_map(|n| style.child(n)))
        {
            let unit = if leaf.value().contains('.') {
                leaf.value().to_string()
            } else {
                format!("{}.0", leaf.value())
            };
            own.push(unit.clone());
            match taken.insert(unit, node.value()) {
                None => {}
                Some(other) if other == node.value() => {
                    self.problem(format!("`{}` is both inside and outside", leaf.value()), leaf);
                }
                Some(other) => {
                    self.problem(
                        format!("`{}` is already the service interface of `{other}`", leaf.value()),
                        leaf,
                    );
                }
            }
        }
        own
    }

    fn bindings(&mut self, own: Option<&'t Node>, terms: &[Term]) -> Vec<StaticBinding> {
        let mut out: Vec<StaticBinding> = Vec::new();
        let mut insides = BTreeSet::new();
        let mut outsides = BTreeSet::new();
        for node in own.into_iter().flat_map(|own| own.all("static-binding")) {
            let Some(binding) = binding(node) else { continue };
            let (rule, name) = (node.child("rule").map(Node::value), node.child("term").map(Node::value));
            let fits = |term: &Term| {
                rule.is_none_or(|rule| term.rule == rule)
                    && name.is_none_or(|name| term.name == name)
                    && matches!(term.then, Action::Translate(_))
            };
            let Some(term) = terms.iter().position(fits) else {
                self.problem("no term of the service set translates for this binding", node);
                continue;
            };
            let outside = binding.outside.0;
            if let Some((low, high)) = RESERVED.iter().find(|(low, high)| (low..=high).contains(&&outside)) {
                self.problem(
                    format!("the addresses {low} to {high} can never be used for translation"),
                    node,
                );
                continue;
            }
            let protocol = binding.protocol as u8;
            if !insides.insert((protocol, binding.inside)) || !outsides.insert((protocol, binding.outside)) {
                self.problem("another static binding has the same inside or outside", node);
                continue;
            }
            out.push(StaticBinding { term, ..binding });
        }
        out
    }

    /// Warns of the two-rule case: one client, two prefixes, one public address and port.
    fn eim_conflicts(&mut self, node: &Node, set: &ServiceSet) {
        if set.eim_scope != EimScope::ServiceSet {
            return;
        }
        let mapped: Vec<(&Term, &Translate)> = set
            .terms
            .iter()
            .filter_map(|term| match &term.then {
                Action::Translate(translate) if translate.endpoint_independent_mapping => Some((term, translate)),
                _ => None,
            })
            .collect();
        for (i, (a, x)) in mapped.iter().enumerate() {
            let same_pool = |y: &Translate| x.pool == y.pool;
            let other_prefix = |y: &Translate| (x.pref64, x.pref64_length) != (y.pref64, y.pref64_length);
            let clash = mapped[i + 1..].iter().find(|(_, y)| same_pool(y) && other_prefix(y));
            if let Some((b, _)) = clash {
                let what = match set.on_conflict {
                    OnConflict::Drop => "the second one's first packet is dropped",
                    OnConflict::Reallocate => "the second one gets another port",
                };
                let text = format!(
                    "a client that reaches one server through `{} {}` and `{} {}` gets the same public address and \
                     port for both sessions: {what}",
                    a.rule, a.name, b.rule, b.name
                );
                let warning = Warning::new(WarningKind::EimConflict(text), place(node));
                self.warnings.push(warning.help(
                    "`eim-scope rule-term` keeps both; so do terms without endpoint-independent mapping, and two \
                     service sets on different units",
                ));
                return;
            }
        }
    }

    /// Pools of one service set that overlap, and pools of two service sets.
    fn shared_pools(&mut self, sets: &[Built<'t>], pools: &[Pool<'t>]) {
        let allowed = has(self.root.at(&["services", "nat"]), "allow-overlapping-nat-pools");
        let mut users: HashMap<usize, &Built<'t>> = HashMap::new();
        for set in sets {
            let translated = set.config.terms.iter().filter_map(|term| match &term.then {
                Action::Translate(translate) => Some([Some(translate.pool), translate.overload_pool]),
                Action::NoTranslation => None,
            });
            let used: BTreeSet<usize> = translated.flatten().flatten().collect();
            if allowed {
                // Each pool alone has been looked at.
                let own: Vec<&Pool<'t>> = used.iter().map(|index| &pools[*index]).collect();
                self.overlaps(&own, "", false);
                continue;
            }
            for index in used {
                if let Some(other) = users.insert(index, set) {
                    let (a, b) = (&other.config.name, &set.config.name);
                    let text = format!(
                        "the service sets `{a}` and `{b}` use the pool `{}`",
                        pools[index].config.name
                    );
                    self.problems.push(Problem::check(text, place(set.node)).help(ALLOW));
                }
            }
        }
    }
}

/// `subscriber-prefix-length`.
fn subscriber_length(own: Option<&Node>) -> u8 {
    u16_of(own, "subscriber-prefix-length").map_or(128, |length| length as u8)
}

/// A static binding as written; its term is not known yet.
fn binding(node: &Node) -> Option<StaticBinding> {
    let [protocol, inside, inside_port, outside, outside_port] = node.values() else {
        return None;
    };
    let protocol = match protocol.as_str() {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => Protocol::Icmp,
    };
    let inside: (Ipv6Addr, u16) = (inside.parse().ok()?, inside_port.parse().ok()?);
    let outside: (Ipv4Addr, u16) = (outside.parse().ok()?, outside_port.parse().ok()?);
    Some(StaticBinding {
        protocol,
        inside,
        outside,
        term: 0,
    })
}
