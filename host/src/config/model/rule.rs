//! `services nat rule`: match conditions and actions.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::tables::PREFIX_LENGTHS;
use nat64_xlate::config::{Action, Filtering, Match, PrefixMatch, Refresh, Term, Translate};

use super::applications::Applications;
use super::memory::Prefixes;
use super::pool::Built as Pool;
use super::{has, place, u16_of, Builder};
use crate::config::place::Place;
use crate::config::problem::Problem;
use crate::config::tree::Node;

/// A term as the rule has it; what it leaves to its service set is marked.
pub(super) struct RuleTerm {
    pub(super) term: Term,
    pub(super) place: Option<Place>,
    /// `mapping-type` is stated.
    pub(super) mapping: bool,
    /// `filtering-type` is stated.
    pub(super) filtering: bool,
    /// `then syslog`.
    pub(super) log: bool,
}

/// Rules by name. A term that has a problem is not in its rule.
pub(super) type Rules<'t> = HashMap<&'t str, Vec<RuleTerm>>;

/// All pools, and which one has a name.
struct Pools<'p, 't> {
    list: &'p [Pool<'t>],
    by_name: HashMap<&'t str, usize>,
}

impl<'t> Builder<'t> {
    pub(super) fn rules(&mut self, pools: &[Pool<'t>], applications: &Applications<'t>) -> Rules<'t> {
        let by_name: HashMap<&str, usize> = pools.iter().zip(0..).map(|(pool, i)| (pool.node.value(), i)).collect();
        let pools = Pools { list: pools, by_name };
        let nat = self.root.at(&["services", "nat"]);
        let mut rules = HashMap::new();
        for rule in nat.into_iter().flat_map(|nat| nat.all("rule")) {
            match rule.child("match-direction") {
                None => self.problem(format!("the rule `{}` has no `match-direction`", rule.value()), rule),
                Some(direction) if direction.value() == "output" => self.problem(
                    "`match-direction output` means IPv6 packets that leave by an outside unit; NAT64 needs `input`",
                    direction,
                ),
                Some(direction) if direction.value() == "input-output" => {
                    self.note(
                        "IPv6 packets are translated where they come in; `input` is used",
                        direction,
                    );
                }
                Some(_) => {}
            }
            let terms: Vec<_> = rule
                .all("term")
                .filter_map(|term| self.term(rule, term, &pools, applications))
                .collect();
            if rule.child("term").is_none() {
                self.problem(format!("the rule `{}` has no `term`", rule.value()), rule);
            }
            rules.insert(rule.value(), terms);
        }
        for set in nat.into_iter().flat_map(|nat| nat.all("rule-set")) {
            for rule in set.all("rule").filter(|rule| !rules.contains_key(rule.value())) {
                self.problem(format!("there is no `services nat rule {}`", rule.value()), rule);
            }
        }
        rules
    }

    fn term(
        &mut self,
        rule: &Node,
        node: &'t Node,
        pools: &Pools<'_, 't>,
        applications: &Applications<'t>,
    ) -> Option<RuleTerm> {
        let from = match node.child("from") {
            Some(from) => Match {
                applications: self.applications_of(from, applications),
                ..self.from(from)
            },
            None => Match::default(),
        };
        let Some(then) = node.child("then") else {
            self.problem(format!("the term `{}` has no `then`", node.value()), node);
            return None;
        };
        if self.exclusive(then, "translated", "no-translation") {
            return None;
        }
        let then_syslog = has(Some(then), "syslog");
        let (action, mapping, filtering) = match then.child("translated") {
            Some(translated) => {
                let translate = self.translated(translated, pools)?;
                self.reachable(node, &from, &translate);
                let mapping = translated.child("mapping-type").is_some();
                let filtering = translated.at(&["filtering-type", "endpoint-independent"]).is_some();
                (Action::Translate(translate), mapping, filtering)
            }
            None if has(Some(then), "no-translation") => (Action::NoTranslation, true, true),
            None => {
                self.problem(
                    format!(
                        "the term `{}` neither translates nor says `no-translation`",
                        node.value()
                    ),
                    then,
                );
                return None;
            }
        };
        let term = Term {
            rule: rule.value().to_string(),
            name: node.value().to_string(),
            from,
            then: action,
        };
        Some(RuleTerm {
            term,
            place: place(node),
            mapping,
            filtering,
            log: then_syslog,
        })
    }

    fn from(&mut self, from: &Node) -> Match {
        let mut out = Match::default();
        for entry in from.children().iter().filter(|child| !child.is_inactive()) {
            let except = has(Some(entry), "except");
            match entry.name() {
                "source-address" => out.source.extend(self.address(entry, except)),
                "destination-address" => out.destination.extend(self.address(entry, except)),
                "source-prefix-list" => out.source.extend(self.prefix_list6(entry, except)),
                "destination-prefix-list" => out.destination.extend(self.prefix_list6(entry, except)),
                "source-address-range" => out.source_ranges.extend(self.range6(entry, except)),
                "destination-address-range" => out.destination_ranges.extend(self.range6(entry, except)),
                "destination-port" => out.destination_ports = self.port_range(entry),
                _ => {}
            }
        }
        out
    }

    fn address(&mut self, entry: &Node, except: bool) -> Option<PrefixMatch> {
        if entry.value() == "any-unicast" {
            return Some(PrefixMatch {
                address: Ipv6Addr::UNSPECIFIED,
                length: 0,
                except,
            });
        }
        let (address, length) = self.masked6(entry)?;
        Some(PrefixMatch {
            address,
            length,
            except,
        })
    }

    fn range6(&mut self, entry: &Node, except: bool) -> Option<(Ipv6Addr, Ipv6Addr, bool)> {
        let [low, high] = entry.values() else { return None };
        let (low, high): (Ipv6Addr, Ipv6Addr) = (low.parse().ok()?, high.parse().ok()?);
        if low > high {
            self.problem(format!("the range begins at {low}, behind its end {high}"), entry);
            return None;
        }
        Some((low, high, except))
    }

    fn port_range(&mut self, entry: &Node) -> Option<(u16, u16)> {
        let range = entry.child("range")?;
        match (u16_of(Some(range), "low"), u16_of(Some(range), "high")) {
            (Some(low), Some(high)) if low <= high => Some((low, high)),
            (Some(low), Some(high)) => {
                self.problem(format!("the port range begins at {low}, behind its end {high}"), range);
                None
            }
            _ => {
                self.problem("a port range needs `low` and `high`", range);
                None
            }
        }
    }

    /// The prefixes of the list that `entry` names; `None`: there is no such list, or none of the family, which is told.
    fn prefix_list(&mut self, entry: &Node, family: &str, has: fn(&Prefixes) -> bool) -> Option<Prefixes> {
        let Some(list) = self.prefix_lists.get(entry.value()).copied() else {
            let text = format!("there is no `policy-options prefix-list {}`", entry.value());
            self.problem(text, entry);
            return None;
        };
        let prefixes = match self.memory.prefixes(list) {
            Some(known) => known,
            None => {
                let before = self.warnings.len();
                let (mut six, mut four) = (Vec::new(), Vec::new());
                for item in list.all("") {
                    if item.value().contains(':') {
                        six.extend(self.masked6(item));
                    } else {
                        four.extend(self.masked4(item));
                    }
                }
                let prefixes = Prefixes {
                    six: six.into(),
                    four: four.into(),
                };
                if self.warnings.len() == before {
                    self.memory.keep_prefixes(list, &prefixes);
                }
                prefixes
            }
        };
        if !has(&prefixes) {
            self.problem(
                format!("the prefix list `{}` has no {family} prefix", entry.value()),
                entry,
            );
            return None;
        }
        Some(prefixes)
    }

    fn prefix_list6(&mut self, entry: &Node, except: bool) -> Vec<PrefixMatch> {
        let prefixes = self.prefix_list(entry, "IPv6", |prefixes| !prefixes.six.is_empty());
        let all = prefixes.map(|prefixes| prefixes.six).unwrap_or_default();
        let one = |&(address, length): &(Ipv6Addr, u8)| PrefixMatch {
            address,
            length,
            except,
        };
        all.iter().map(one).collect()
    }

    fn prefix_list4(&mut self, entry: &Node, except: bool) -> Vec<(Ipv4Addr, u8, bool)> {
        let prefixes = self.prefix_list(entry, "IPv4", |prefixes| !prefixes.four.is_empty());
        let all = prefixes.map(|prefixes| prefixes.four).unwrap_or_default();
        all.iter().map(|&(address, length)| (address, length, except)).collect()
    }

    fn pool_index(&mut self, leaf: &Node, pools: &Pools<'_, 't>) -> Option<usize> {
        let index = pools.by_name.get(leaf.value()).copied();
        if index.is_none() {
            self.problem(format!("there is no `services nat pool {}`", leaf.value()), leaf);
        }
        index
    }

    fn translated(&mut self, node: &Node, pools: &Pools<'_, 't>) -> Option<Translate> {
        let pool = match node.child("source-pool") {
            Some(leaf) => self.pool_index(leaf, pools),
            None => {
                self.problem("`translated` has no `source-pool`", node);
                None
            }
        };
        let overload_pool = node.child("overload-pool").and_then(|leaf| {
            let index = self.pool_index(leaf, pools)?;
            if Some(index) == pool {
                self.problem("the overload pool is the source pool", leaf);
            }
            Some(index)
        });
        let pref64 = match node.child("destination-prefix") {
            Some(leaf) => self.pref64(leaf),
            None => {
                self.problem("`translated` has no `destination-prefix`", node);
                None
            }
        };
        let deterministic = self.translation_type(node);
        if let (Some(pool), Some(deterministic)) = (pool, deterministic) {
            let blocks = pools.list[pool].config.deterministic_block.is_some();
            let name = &pools.list[pool].config.name;
            if deterministic && !blocks {
                let text = format!(
                    "`deterministic-napt64` needs `port deterministic-port-block-allocation` in the pool `{name}`"
                );
                self.problem(text, node);
            } else if blocks && !deterministic {
                let text = format!("the pool `{name}` computes its ports and needs `deterministic-napt64`");
                self.problem(text, node);
            }
        }
        let mut filter_prefixes = Vec::new();
        if let Some(filter) = node.at(&["filtering-type", "endpoint-independent"]) {
            for entry in filter.all("prefix-list") {
                filter_prefixes.extend(self.prefix_list4(entry, has(Some(entry), "except")));
            }
        }
        let secure = node.child("secure-nat-mapping");
        let mapping_refresh = match secure.and_then(|s| s.child("mapping-refresh")).map(Node::value) {
            Some("inbound") => Refresh::Inbound,
            Some("outbound") => Refresh::Outbound,
            _ => Refresh::Both,
        };
        let (pref64, pref64_length) = pref64?;
        Some(Translate {
            pref64,
            pref64_length,
            pool: pool?,
            overload_pool,
            endpoint_independent_mapping: true,
            filtering: Filtering::EndpointIndependent,
            filter_prefixes,
            eif_flow_limit: u16_of(secure, "eif-flow-limit"),
            mapping_refresh,
            paired: has(Some(node), "address-pooling"),
            deterministic: deterministic?,
        })
    }

    /// Whether the translation type is the deterministic one.
    fn translation_type(&mut self, node: &Node) -> Option<bool> {
        let kind = node.child("translation-type");
        let stateful = has(kind, "stateful-nat64");
        let deterministic = has(kind, "deterministic-napt64");
        match (stateful, deterministic) {
            (true, false) => Some(false),
            (false, true) => Some(true),
            (false, false) => {
                self.problem("`translated` has no `translation-type`", node);
                None
            }
            (true, true) => {
                self.problem(
                    "`stateful-nat64` and `deterministic-napt64` exclude each other",
                    kind.unwrap_or(node),
                );
                None
            }
        }
    }

    fn pref64(&mut self, leaf: &Node) -> Option<(Ipv6Addr, u8)> {
        let (address, length) = self.masked6(leaf)?;
        if !PREFIX_LENGTHS.contains(&length) {
            self.problem(
                format!("a destination prefix has length 32, 40, 48, 56, 64 or 96, not {length}"),
                leaf,
            );
            return None;
        }
        // RFC 6052 section 2.2: bits 64 to 71 are zero.
        if address.octets()[8] != 0 {
            self.problem(
                "bits 64 to 71 of a destination prefix are zero (RFC 6052 section 2.2)",
                leaf,
            );
            return None;
        }
        if address.is_unspecified() || address.is_multicast() {
            self.problem("this prefix cannot stand for IPv4 addresses", leaf);
            return None;
        }
        Some((address, length))
    }

    /// Warns when no destination of the condition is under the prefix.
    fn reachable(&mut self, node: &Node, from: &Match, translate: &Translate) {
        let under = |p: &PrefixMatch| {
            let shorter = p.length.min(translate.pref64_length);
            !p.except && super::network6(p.address, shorter) == super::network6(translate.pref64, shorter)
        };
        if !from.destination.is_empty() && from.destination_ranges.is_empty() && !from.destination.iter().any(under) {
            let text = format!(
                "no destination of the term `{}` is under its `destination-prefix` {}/{}",
                node.value(),
                translate.pref64,
                translate.pref64_length
            );
            self.note(text, node);
        }
    }

    /// A rule that a service set names.
    pub(super) fn no_rule(&mut self, leaf: &Node) {
        let problem = Problem::check(format!("there is no `services nat rule {}`", leaf.value()), place(leaf));
        self.problems.push(problem);
    }
}
