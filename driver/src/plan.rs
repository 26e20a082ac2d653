//! The configuration as the card's small tables hold it.
//!
//! The card decides less than the translator: by unit, prefix, source prefix and pool range. What it cannot express is
//! *widened*, never narrowed. A packet that a widened entry lets through is looked up in the session table with its
//! whole key; every session there was decided by the translator, so a hit is right, and a miss goes to the host, which
//! looks at ports, applications, ranges and exceptions. A service set with a feature the card lacks altogether is not
//! offloaded: its packets are punted and its sessions are not installed.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use nat64_layout::regs::Policy;
use nat64_layout::tables::{self, PortPolicy, TermAction, PREFIX_LENGTHS};
use nat64_layout::{Record, MAX_FRAME};
use nat64_xlate::config::{Action, Match, PrefixMatch, ServiceSet, Term};
use nat64_xlate::Flow;

use crate::config::GatewayConfig;

/// A configuration the card's tables cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More entries than a table has.
    #[error("the card's {table} table holds {capacity} entries, the configuration needs {wanted}")]
    TooMany {
        /// Which table.
        table: &'static str,
        /// Entries needed.
        wanted: usize,
        /// Entries there are.
        capacity: usize,
    },
    /// A prefix length RFC 6052 section 2.2 does not allow.
    #[error("a translation prefix cannot be {length} bits long (32, 40, 48, 56, 64 or 96)")]
    PrefixLength {
        /// The length.
        length: u8,
    },
    /// Something refers to an index that does not exist.
    #[error("{what} {index} does not exist")]
    NoSuch {
        /// What is referred to.
        what: &'static str,
        /// Its index.
        index: usize,
    },
}

/// The words of all tables, entry by entry; an entry of zeros is off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Units.
    pub units: [[u32; 2]; tables::UNITS],
    /// Prefixes, longest first.
    pub pref64s: [[u32; 4]; tables::PREF64S],
    /// Rule terms.
    pub terms: [[u32; 5]; tables::TERMS],
    /// Pool ranges.
    pub pools: [[u32; 3]; tables::POOLS],
    /// Service sets.
    pub service_sets: [[u32; 2]; tables::SERVICE_SETS],
    /// The `Policy` register.
    pub policy: u32,
    pref64_index: HashMap<(usize, u128, u8), u8>,
    offload: Vec<bool>,
}

/// Bits past `length` cleared.
fn mask(address: Ipv6Addr, length: u8) -> u128 {
    let bits = u128::from(address);
    if length == 0 {
        0
    } else {
        bits >> (128 - u32::from(length.min(128))) << (128 - u32::from(length.min(128)))
    }
}

/// Whether the prefix `outer` contains the prefix `inner`.
fn covers(outer: (u128, u8), inner: (u128, u8)) -> bool {
    outer.1 <= inner.1 && mask(inner.0.into(), outer.1) == mask(outer.0.into(), outer.1)
}

fn fill<const N: usize, const ENTRIES: usize>(
    table: &'static str,
    entries: impl ExactSizeIterator<Item = [u32; N]>,
) -> Result<[[u32; N]; ENTRIES], PlanError> {
    if entries.len() > ENTRIES {
        return Err(PlanError::TooMany {
            table,
            wanted: entries.len(),
            capacity: ENTRIES,
        });
    }
    let mut words = [[0; N]; ENTRIES];
    words.iter_mut().zip(entries).for_each(|(word, entry)| *word = entry);
    Ok(words)
}

impl Default for Plan {
    /// Everything off, both ports drop.
    fn default() -> Self {
        Self {
            units: Default::default(),
            pref64s: Default::default(),
            terms: Default::default(),
            pools: Default::default(),
            service_sets: Default::default(),
            policy: 0,
            pref64_index: HashMap::new(),
            offload: Vec::new(),
        }
    }
}

/// One prefix of one service set.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Prefix {
    set: usize,
    prefix: u128,
    length: u8,
}

impl Plan {
    /// The tables for a configuration.
    pub fn new(config: &GatewayConfig) -> Result<Self, PlanError> {
        let xlate = &config.xlate;
        let sets = &xlate.service_sets;
        if sets.len() > tables::SERVICE_SETS {
            let (wanted, capacity) = (sets.len(), tables::SERVICE_SETS);
            return Err(PlanError::TooMany {
                table: "service-set",
                wanted,
                capacity,
            });
        }
        let prefixes = prefixes(config)?;
        let offload: Vec<bool> = sets.iter().map(|set| set.tos_override.is_none()).collect();
        let pref64s = fill(
            "pref64",
            prefixes.iter().map(|p| {
                // The length was looked up in the same list when the prefix was taken.
                let code = PREFIX_LENGTHS.iter().position(|&n| n == p.length).unwrap_or(0);
                tables::Pref64 {
                    prefix: p.prefix >> 32,
                    length_code: code as u8,
                    service_set: p.set as u8,
                }
                .to_words()
            }),
        )?;
        let mut policy = Policy(0);
        policy.set_port0(config.ports[0].policy as u32);
        policy.set_port1(config.ports[1].policy as u32);
        Ok(Self {
            units: units(config)?,
            pref64s,
            terms: terms(config, &prefixes, &offload)?,
            pools: pools(config)?,
            service_sets: service_sets(config)?,
            policy: policy.0,
            pref64_index: prefixes
                .iter()
                .zip(0..)
                .map(|(p, i)| ((p.set, p.prefix, p.length), i))
                .collect(),
            offload,
        })
    }

    /// The policy register while the tables are being rewritten: the host decides everything the card does not match.
    pub fn policy_punt() -> u32 {
        let mut policy = Policy(0);
        policy.set_port0(PortPolicy::Punt as u32);
        policy.set_port1(PortPolicy::Punt as u32);
        policy.0
    }

    /// Index in the prefix table of a service set's prefix; `None` when it is not there.
    pub fn pref64(&self, service_set: usize, prefix: Ipv6Addr, length: u8) -> Option<u8> {
        self.pref64_index
            .get(&(service_set, mask(prefix, length), length))
            .copied()
    }

    /// The prefix at an index of the prefix table and its length; `None` when the index is not used.
    pub fn prefix(&self, service_set: usize, index: u8) -> Option<(Ipv6Addr, u8)> {
        let entry = self
            .pref64_index
            .iter()
            .find(|(key, &at)| at == index && key.0 == service_set);
        entry.map(|(&(_, prefix, length), _)| (prefix.into(), length))
    }

    /// A number that differs when any word of the tables does (64-bit FNV-1a): records of one plan mean nothing under another.
    pub fn digest(&self) -> u64 {
        let words = self.units.iter().flatten();
        let words = words
            .chain(self.pref64s.iter().flatten())
            .chain(self.terms.iter().flatten());
        let words = words
            .chain(self.pools.iter().flatten())
            .chain(self.service_sets.iter().flatten());
        let bytes = words.chain([&self.policy]).flat_map(|word| word.to_le_bytes());
        bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        })
    }

    /// Whether sessions of a service set may be installed in the card.
    pub fn offloads(&self, service_set: usize) -> bool {
        self.offload.get(service_set).copied().unwrap_or(false)
    }
}

impl Plan {
    /// The record of a session under these tables; `None` when the card cannot carry it.
    pub fn record(&self, flow: &Flow, hop6: u8, hop4: u8) -> Option<Record> {
        if !self.offloads(flow.service_set) {
            return None;
        }
        let pref64 = self.pref64(flow.service_set, flow.pref64, flow.pref64_length)?;
        let unit = u8::try_from(flow.unit)
            .ok()
            .filter(|&unit| usize::from(unit) < tables::UNITS)?;
        Some(Record {
            protocol: flow.protocol,
            pref64,
            unit,
            hop6,
            hop4,
            client_port: flow.client.1,
            remote_port: flow.remote.1,
            pool_port: flow.pool.1,
            remote: flow.remote.0.into(),
            pool: flow.pool.0.into(),
            client: flow.client.0.into(),
        })
    }
}

fn prefixes(config: &GatewayConfig) -> Result<Vec<Prefix>, PlanError> {
    let mut prefixes = Vec::new();
    for (set, service_set) in config.xlate.service_sets.iter().enumerate() {
        for term in &service_set.terms {
            let Action::Translate(then) = &term.then else { continue };
            let length = then.pref64_length;
            if !PREFIX_LENGTHS.contains(&length) {
                return Err(PlanError::PrefixLength { length });
            }
            let prefix = Prefix {
                set,
                prefix: mask(then.pref64, length),
                length,
            };
            if !prefixes.contains(&prefix) {
                prefixes.push(prefix);
            }
        }
    }
    // The card takes the first that matches: longer ones must stand first.
    prefixes.sort_by_key(|p| (std::cmp::Reverse(p.length), p.set, p.prefix));
    Ok(prefixes)
}

fn units(config: &GatewayConfig) -> Result<[[u32; 2]; tables::UNITS], PlanError> {
    let of = |unit: usize| config.xlate.units.get(unit);
    for unit in 0..config.units.len() {
        match of(unit).map(|u| u.service_set) {
            None => {
                return Err(PlanError::NoSuch {
                    what: "translator unit",
                    index: unit,
                })
            }
            Some(Some(index)) if index >= config.xlate.service_sets.len() => {
                return Err(PlanError::NoSuch {
                    what: "service set",
                    index,
                });
            }
            Some(_) => {}
        }
    }
    fill(
        "unit",
        config.units.iter().enumerate().map(|(index, link)| {
            let served = of(index).and_then(|u| u.service_set.map(|set| (set, u.inside, u.outside)));
            let (service_set, ipv6, ipv4) = served.unwrap_or((0, false, false));
            let service_set = service_set as u8;
            tables::Unit {
                port: link.port,
                vlans: link.vlans,
                service_set,
                ipv6,
                ipv4,
            }
            .to_words()
        }),
    )
}

/// The smallest prefix that holds both ends of a range.
fn enclosing(low: Ipv6Addr, high: Ipv6Addr) -> (u128, u8) {
    let length = (u128::from(low) ^ u128::from(high)).leading_zeros() as u8;
    (mask(low, length), length)
}

/// Source prefixes that hold every packet the match can hold. Exceptions are left to the host.
fn sources(from: &Match) -> Vec<(u128, u8)> {
    let prefixes = from
        .source
        .iter()
        .filter(|m| !m.except)
        .map(|m| (mask(m.address, m.length), m.length.min(128)));
    let ranges = from
        .source_ranges
        .iter()
        .filter(|r| !r.2)
        .map(|&(low, high, _)| enclosing(low, high));
    let list: Vec<_> = prefixes.chain(ranges).collect();
    if list.is_empty() {
        vec![(0, 0)]
    } else {
        list
    }
}

/// Whether the card's terms say exactly what the match says, for packets to `prefix`.
fn is_exact(from: &Match, prefix: Prefix) -> bool {
    let simple = |list: &[PrefixMatch]| list.iter().all(|m| !m.except);
    let target = (prefix.prefix, prefix.length);
    from.source_ranges.is_empty()
        && from.destination_ranges.is_empty()
        && from.destination_ports.is_none()
        && from.applications.is_empty()
        && simple(&from.source)
        && simple(&from.destination)
        && (from.destination.is_empty()
            || from
                .destination
                .iter()
                .any(|m| covers((mask(m.address, m.length), m.length), target)))
}

/// Whether packets to `prefix` can match at all.
fn reaches(from: &Match, prefix: Prefix) -> bool {
    let target = (prefix.prefix, prefix.length);
    let list: Vec<_> = from
        .destination
        .iter()
        .filter(|m| !m.except)
        .map(|m| (mask(m.address, m.length), m.length))
        .collect();
    list.is_empty()
        || !from.destination_ranges.is_empty()
        || list.iter().any(|&m| covers(m, target) || covers(target, m))
}

fn bit_set(prefixes: &[Prefix], wanted: impl Fn(Prefix) -> bool) -> u8 {
    prefixes
        .iter()
        .enumerate()
        .filter(|(_, p)| wanted(**p))
        .fold(0, |bits, (i, _)| bits | 1 << i)
}

/// The card's terms of one rule term.
fn terms_of(term: &Term, set: usize, prefixes: &[Prefix]) -> Vec<tables::Term> {
    let groups: Vec<(u8, TermAction)> = match &term.then {
        Action::Translate(then) => {
            let own = (mask(then.pref64, then.pref64_length), then.pref64_length);
            // A packet to a longer prefix inside this one is matched as that; this term may still be its own.
            let bits = bit_set(prefixes, |p| p.set == set && covers(own, (p.prefix, p.length)));
            vec![(bits, TermAction::Translate)]
        }
        Action::NoTranslation => {
            let exact = bit_set(prefixes, |p| {
                p.set == set && reaches(&term.from, p) && is_exact(&term.from, p)
            });
            let rest = bit_set(prefixes, |p| {
                p.set == set && reaches(&term.from, p) && !is_exact(&term.from, p)
            });
            vec![(exact, TermAction::Policy), (rest, TermAction::Punt)]
        }
    };
    let mut list = Vec::new();
    for (pref64s, action) in groups.into_iter().filter(|group| group.0 != 0) {
        for (source, length) in sources(&term.from) {
            list.push(tables::Term {
                source,
                length,
                service_set: set as u8,
                pref64s,
                action,
            });
        }
    }
    list
}

fn terms(
    config: &GatewayConfig,
    prefixes: &[Prefix],
    offload: &[bool],
) -> Result<[[u32; 5]; tables::TERMS], PlanError> {
    if prefixes.len() > tables::PREF64S {
        let (wanted, capacity) = (prefixes.len(), tables::PREF64S);
        return Err(PlanError::TooMany {
            table: "pref64",
            wanted,
            capacity,
        });
    }
    let everything = |set: usize, action| tables::Term {
        source: 0,
        length: 0,
        service_set: set as u8,
        pref64s: bit_set(prefixes, |p| p.set == set),
        action,
    };
    let mut by_set: Vec<Vec<tables::Term>> = Vec::new();
    for (set, service_set) in config.xlate.service_sets.iter().enumerate() {
        let mut list: Vec<tables::Term> = Vec::new();
        if !offload[set] {
            list.push(everything(set, TermAction::Punt));
        } else {
            for term in service_set.terms.iter().flat_map(|term| terms_of(term, set, prefixes)) {
                let shadows = |first: &tables::Term| {
                    first.pref64s & term.pref64s == term.pref64s
                        && covers((first.source, first.length), (term.source, term.length))
                };
                if !list.iter().any(shadows) {
                    list.push(term);
                }
            }
        }
        by_set.push(list);
    }
    // Too long a list is widened to every source of its set; the host sorts out who is not meant. Not where packets
    // that are not translated have to be told apart, because those the card hands to nobody.
    while by_set.iter().map(Vec::len).sum::<usize>() > tables::TERMS {
        let long =
            |list: &&mut Vec<tables::Term>| list.len() > 1 && list.iter().all(|t| t.action == TermAction::Translate);
        let Some(list) = by_set.iter_mut().filter(long).max_by_key(|list| list.len()) else {
            break;
        };
        *list = vec![everything(usize::from(list[0].service_set), TermAction::Translate)];
    }
    let list: Vec<_> = by_set.into_iter().flatten().filter(|term| term.pref64s != 0).collect();
    fill("rule-term", list.iter().map(tables::Term::to_words))
}

fn pool_indices(set: &ServiceSet) -> impl Iterator<Item = usize> + '_ {
    set.terms
        .iter()
        .flat_map(|term| match &term.then {
            Action::Translate(then) => [Some(then.pool), then.overload_pool],
            Action::NoTranslation => [None; 2],
        })
        .flatten()
}

/// The IPv4 addresses a service set answers for: its pools and static bindings, as ranges; pools that do not exist are
/// left out.
pub fn pool_ranges(config: &GatewayConfig, set: &ServiceSet) -> Vec<(u32, u32)> {
    let pools = pool_indices(set).filter_map(|index| config.xlate.pools.get(index));
    let ranges = pools.flat_map(|pool| pool.ranges.iter().map(|&(low, high)| (u32::from(low), u32::from(high))));
    let bindings = set
        .static_bindings
        .iter()
        .map(|b| (u32::from(b.outside.0), u32::from(b.outside.0)));
    ranges.chain(bindings).collect()
}

/// Whether an address lies in a translation prefix of the set.
pub fn in_pref64(set: &ServiceSet, address: Ipv6Addr) -> bool {
    set.terms.iter().any(|term| match &term.then {
        Action::Translate(then) => mask(address, then.pref64_length) == mask(then.pref64, then.pref64_length),
        Action::NoTranslation => false,
    })
}

fn pools(config: &GatewayConfig) -> Result<[[u32; 3]; tables::POOLS], PlanError> {
    let mut list: Vec<tables::PoolRange> = Vec::new();
    for (set, service_set) in config.xlate.service_sets.iter().enumerate() {
        for index in pool_indices(service_set) {
            if index >= config.xlate.pools.len() {
                return Err(PlanError::NoSuch { what: "pool", index });
            }
        }
        for (low, high) in join(pool_ranges(config, service_set)) {
            list.push(tables::PoolRange {
                low,
                high,
                service_set: set as u8,
            });
        }
    }
    fill("pool", list.iter().map(tables::PoolRange::to_words))
}

/// Sorted, with ranges that touch made one.
pub fn join(mut ranges: Vec<(u32, u32)>) -> Vec<(u32, u32)> {
    ranges.sort_unstable();
    let mut joined: Vec<(u32, u32)> = Vec::new();
    for (low, high) in ranges {
        match joined.last_mut() {
            Some(last) if low <= last.1.saturating_add(1) => last.1 = last.1.max(high),
            _ => joined.push((low, high)),
        }
    }
    joined
}

fn service_sets(config: &GatewayConfig) -> Result<[[u32; 2]; tables::SERVICE_SETS], PlanError> {
    // What the card can send in one frame.
    const CARD_MTU: u16 = (MAX_FRAME - 22) as u16;
    let units = &config.xlate.units;
    let mut list = Vec::new();
    for (index, set) in config.xlate.service_sets.iter().enumerate() {
        let outside = units.get(set.outside_unit);
        let outside = outside.ok_or(PlanError::NoSuch {
            what: "outside unit",
            index: set.outside_unit,
        })?;
        let inside = units
            .iter()
            .filter(|u| u.inside && u.service_set == Some(index))
            .map(|u| u.mtu)
            .min();
        // Packets without DF are fragmented to `ipv6-mtu` by the translator; those with DF may fill the link.
        let mtu6 = inside.unwrap_or(1280).min(CARD_MTU);
        let fragment6 = mtu6.min(set.ipv6_mtu.max(1280));
        let mtu4 = outside.mtu.min(CARD_MTU);
        list.push(
            tables::ServiceSet {
                mtu4,
                mtu6,
                fragment6,
                df_clear_max: set.df.clear_max(),
            }
            .to_words(),
        );
    }
    fill("service-set", list.into_iter())
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
