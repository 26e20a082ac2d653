//! A new configuration over living state.
//!
//! Units, service sets, terms and pools are recognised by their names, so that one more or less of them does not touch
//! the sessions of the others. A session lives on if its unit, its service set (with the same EIM scope and outside
//! unit), its term (with the same match and action) and its pool (with the same addresses, ports and strategy) are
//! still there; everything else may change under it, timers included.

use std::collections::HashMap;

use super::{Inbound, Lifetimes, Nat64};
use crate::bib::{Bib, Key6, Scope, NONE};
use crate::config::{self, Action, Config, StaticBinding};
use crate::effect::{Effect, Effects, Flow, Time};
use crate::icmp_error::RateLimit;
use crate::policy::{ConfigError, Policy};
use crate::pool::Pool;
use crate::stats::{ServiceSetStats, Stats};

/// What a new configuration did to the state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconfigureReport {
    /// Sessions that live on.
    pub sessions_kept: usize,
    /// Sessions that ended.
    pub sessions_removed: usize,
    /// Bindings that were removed, static ones included.
    pub bibs_removed: usize,
    /// Stored SYNs that were dropped.
    pub stored_syns_removed: usize,
}

/// New indices of old things; `None`: gone or changed.
struct Moved {
    units: Vec<Option<u16>>,
    sets: Vec<Option<u16>>,
    /// By old service set.
    terms: Vec<Vec<Option<u16>>>,
    pools: Vec<Option<usize>>,
    prefixes: Vec<Option<u16>>,
}

/// Where each of `old` is in `new`. Things seldom move, and then together: behind the one found last it is looked first.
fn locate<T>(old: &[T], new: &[T], same: impl Fn(&T, &T) -> bool) -> Vec<Option<usize>> {
    let mut next = 0;
    let mut find = |one: &T| {
        let near = new.get(next).is_some_and(|other| same(one, other)).then_some(next);
        let found = near.or_else(|| new.iter().position(|other| same(one, other)));
        next = found.map_or(next, |at| at + 1);
        found
    };
    old.iter().map(&mut find).collect()
}

impl Moved {
    fn new(old: &Policy, new: &Policy) -> Self {
        let (a, b) = (&old.config, &new.config);
        let find = |index: Option<usize>| index.map(|index| index as u16);
        let pools = locate(&a.pools, &b.pools, same_pool);
        let unit_name = |config: &'_ Config, unit: usize| config.units.get(unit).map(|unit| unit.name.clone());
        let sets = locate(&a.service_sets, &b.service_sets, |set, other| {
            other.name == set.name
                && other.eim_scope == set.eim_scope
                && other.subscriber_length == set.subscriber_length
                && unit_name(a, set.outside_unit) == unit_name(b, other.outside_unit)
        });
        let sets: Vec<Option<u16>> = sets.into_iter().map(find).collect();
        let set_name = |config: &Config, set: Option<usize>| {
            set.and_then(|set| config.service_sets.get(set))
                .map(|set| set.name.clone())
        };
        let units = locate(&a.units, &b.units, |unit, other| {
            other.name == unit.name
                && other.inside == unit.inside
                && set_name(a, unit.service_set) == set_name(b, other.service_set)
        });
        let units = units.into_iter().map(find).collect();
        let terms = a
            .service_sets
            .iter()
            .zip(&sets)
            .map(|(set, moved)| {
                let others = moved.map_or(&[][..], |index| &b.service_sets[usize::from(index)].terms);
                set.terms
                    .iter()
                    .map(|term| {
                        find(
                            others
                                .iter()
                                .position(|o| o.name == term.name && same_term(term, o, &pools)),
                        )
                    })
                    .collect()
            })
            .collect();
        let prefixes = old
            .prefixes
            .iter()
            .map(|prefix| find(new.prefixes.iter().position(|other| other == prefix)))
            .collect();
        Self {
            units,
            sets,
            terms,
            pools,
            prefixes,
        }
    }

    fn term(&self, set: u16, term: u16) -> Option<u16> {
        self.terms
            .get(usize::from(set))?
            .get(usize::from(term))
            .copied()
            .flatten()
    }

    fn bib(&self, bib: &Bib) -> Option<()> {
        let service_set = bib.six.service_set;
        self.sets[usize::from(service_set)]?;
        self.units[usize::from(bib.six.unit)]?;
        self.term(service_set, bib.six.term)?;
        Some(())
    }
}

/// Whether leases of one pool mean the same in the other. Draining may differ.
fn same_pool(a: &config::Pool, b: &config::Pool) -> bool {
    let still = |pool: &config::Pool| config::Pool {
        draining: Vec::new(),
        ..pool.clone()
    };
    a.name == b.name && still(a) == still(b)
}

/// Whether a term of the old configuration is one of the new, whose pools have other indices.
fn same_term(a: &config::Term, b: &config::Term, pools: &[Option<usize>]) -> bool {
    let mut moved = a.clone();
    if let Action::Translate(translate) = &mut moved.then {
        let Some(pool) = pools.get(translate.pool).copied().flatten() else {
            return false;
        };
        translate.pool = pool;
        if let Some(overload) = translate.overload_pool {
            let Some(pool) = pools.get(overload).copied().flatten() else {
                return false;
            };
            translate.overload_pool = Some(pool);
        }
    }
    moved == *b
}

impl Nat64 {
    /// Puts a new configuration in force. A refused one changes nothing.
    ///
    /// # Errors
    /// [`ConfigError`] names the first mistake.
    pub fn reconfigure(
        &mut self,
        now: Time,
        config: Config,
        effects: &mut Effects,
    ) -> Result<ReconfigureReport, ConfigError> {
        self.reconfigure_shard(now, config, &[], effects)
    }

    /// The same for one shard of several: new pools are those of the first shard that was given the configuration, as
    /// [`Nat64::pool_handles`] has them; the first one is given none.
    ///
    /// # Errors
    /// As [`Nat64::reconfigure`].
    pub fn reconfigure_shard(
        &mut self,
        now: Time,
        config: Config,
        pools: &[Pool],
        effects: &mut Effects,
    ) -> Result<ReconfigureReport, ConfigError> {
        let policy = Policy::new(config)?;
        let moved = Moved::new(&self.policy, &policy);
        let mut report = ReconfigureReport::default();
        let before = self.bibs.len();

        // What does not survive ends under the old configuration, and is logged under it.
        let doomed: Vec<u32> = self
            .sessions
            .iter()
            .filter(|(_, session)| {
                let set = self.bibs.get(session.bib).filter(|bib| moved.bib(bib).is_some());
                let set = set.map(|bib| bib.six.service_set);
                set.and_then(|set| moved.term(set, session.term)).is_none()
                    || moved.units[usize::from(session.unit)].is_none()
                    || moved.prefixes[usize::from(session.prefix)].is_none()
            })
            .map(|(slot, _)| slot)
            .collect();
        for slot in doomed {
            self.close(slot, now, effects);
            report.sessions_removed += 1;
        }
        let doomed: Vec<(u32, bool)> = self
            .bibs
            .iter()
            .filter(|(_, bib)| moved.bib(bib).is_none() || (bib.is_static() && !keeps(&policy, &moved, bib)))
            .map(|(slot, bib)| (slot, bib.first != NONE))
            .collect();
        for (slot, _) in doomed {
            report.sessions_removed += self.close_all(slot, now, effects);
            self.drop_bib(slot, now, effects);
        }
        for key in self.syns.keys() {
            let set = moved.sets[usize::from(key.service_set)];
            let owned = set.is_some_and(|set| policy.sets[usize::from(set)].owns(key.pool.0));
            // Its table is keyed by service set: only what keeps its index stays.
            if (!owned || set != Some(key.service_set)) && self.syns.remove(&key).is_some() {
                self.finish(Some(key.service_set), Err(nat64_layout::Reason::SynTimeout), effects);
                report.stored_syns_removed += 1;
            }
        }
        report.bibs_removed = before - self.bibs.len();
        report.sessions_kept = self.sessions.len();

        let flows: Vec<Flow> = self
            .sessions
            .iter()
            .filter(|(_, session)| session.installed())
            .filter_map(|(slot, _)| self.flow(slot))
            .collect();
        self.renumber(policy, &moved, pools);
        // A card's record holds indices; where they changed it is written anew.
        for old in flows {
            if let Some(new) = self.flow(old.id.slot).filter(|new| *new != old) {
                effects.push(Effect::Remove(old.id));
                effects.push(Effect::Install(new));
            }
        }
        let slots: Vec<u32> = self.sessions.iter().map(|(slot, _)| slot).collect();
        for slot in slots {
            self.session_timers.disarm(slot);
            self.arm(slot);
        }
        self.add_static_bindings(now, effects);
        Ok(report)
    }

    /// Ends all sessions of a binding.
    fn close_all(&mut self, bib: u32, now: Time, effects: &mut Effects) -> usize {
        let mut closed = 0;
        while let Some(first) = self.bibs.get(bib).map(|bib| bib.first).filter(|&first| first != NONE) {
            self.close(first, now, effects);
            closed += 1;
        }
        closed
    }

    /// Gives what survived the indices of the new configuration.
    fn renumber(&mut self, policy: Policy, moved: &Moved, pools: &[Pool]) {
        let mut old_terms = std::mem::take(&mut self.stats.terms);
        self.stats.terms = Stats::terms_of(&policy.config);
        for (set, terms) in moved.terms.iter().enumerate() {
            let Some(new_set) = moved.sets[set] else { continue };
            for (term, index) in terms.iter().enumerate() {
                if let Some(stats) = index.and_then(|index| self.stats.term(new_set, index)) {
                    *stats = std::mem::take(&mut old_terms[set][term]);
                }
            }
        }
        let mut inbound = vec![Inbound::default(); policy.config.pools.len()];
        for (counts, index) in self.inbound.iter().zip(&moved.pools) {
            if let Some(index) = *index {
                inbound[index] = *counts;
            }
        }
        self.inbound = inbound;
        let old_sets = std::mem::take(&mut self.stats.service_sets);
        let sets = policy.config.service_sets.len();
        self.stats.service_sets = vec![ServiceSetStats::default(); sets];
        for (stats, index) in old_sets.into_iter().zip(&moved.sets) {
            if let Some(index) = index {
                self.stats.service_sets[usize::from(*index)] = stats;
            }
        }
        let mut old_pools: HashMap<usize, Pool> = HashMap::new();
        for (pool, index) in std::mem::take(&mut self.pools).into_iter().zip(&moved.pools) {
            if let Some(index) = index {
                old_pools.insert(*index, pool);
            }
        }
        for (index, config) in policy.config.pools.iter().enumerate() {
            let pool = old_pools
                .remove(&index)
                .or_else(|| pools.get(index).cloned())
                .unwrap_or_else(|| Pool::new(config, &self.keys));
            self.pools.push(pool);
        }
        self.drained
            .retain(|&address| self.pools.iter().any(|pool| pool.contains(address)));
        self.apply_draining(&policy.config);
        // Everything that did not survive is gone, so each index has a successor; the old one is never kept.
        let unit = |old: u16| moved.units[usize::from(old)].unwrap_or(old);
        let term = |set: u16, old: u16| moved.term(set, old).unwrap_or(old);
        let prefix = |old: u16| moved.prefixes[usize::from(old)].unwrap_or(old);
        self.sessions.change_all(&self.bibs, |session, bib| {
            session.unit = unit(session.unit);
            session.term = term(bib.six.service_set, session.term);
            session.prefix = prefix(session.prefix);
        });
        self.bibs.change_all(|bib| {
            let set = bib.six.service_set;
            bib.six.term = term(set, bib.six.term);
            bib.six.unit = unit(bib.six.unit);
            bib.six.service_set = moved.sets[usize::from(set)].unwrap_or(set);
        });
        self.sessions.index(&self.bibs);

        let rates = &mut self.setup_rates;
        *rates = policy
            .config
            .service_sets
            .iter()
            .map(|set| set.max_setup_rate.map(RateLimit::new))
            .collect();
        if policy.config.limits.icmp_errors_per_second != self.policy.config.limits.icmp_errors_per_second {
            self.errors = RateLimit::new(policy.config.limits.icmp_errors_per_second);
        }
        self.fragments
            .configure(&policy.config.limits, policy.config.timers.fragment);
        self.lifetimes = Lifetimes::new(&policy.config);
        self.policy = policy;
        self.subscribers.clear();
        let keys: Vec<(u16, u128)> = self
            .sessions
            .iter()
            .filter_map(|(_, session)| self.bibs.get(session.bib))
            .map(|bib| (bib.six.service_set, bib.six.client.0))
            .filter(|&(set, _)| self.policy.set(set).max_sessions_per_subscriber.is_some())
            .map(|(set, client)| (set, self.policy.subscriber(set, client)))
            .collect();
        for key in keys {
            *self.subscribers.entry(key).or_default() += 1;
        }
    }

    /// Makes the configured bindings that do not exist yet. A dynamic binding in the way loses its port.
    pub(super) fn add_static_bindings(&mut self, now: Time, effects: &mut Effects) {
        for set in 0..self.policy.sets.len() as u16 {
            for binding in self.policy.set(set).static_bindings.clone() {
                if self.shard.as_ref().is_some_and(|shard| !shard.has(binding.inside.0)) {
                    continue;
                }
                self.add_static_binding(now, set, &binding, effects);
            }
        }
    }

    fn add_static_binding(&mut self, now: Time, set: u16, binding: &StaticBinding, effects: &mut Effects) {
        let StaticBinding {
            protocol,
            inside,
            outside,
            term,
        } = *binding;
        let unit = (0..self.policy.config.units.len())
            .find(|&unit| self.policy.config.units[unit].inside && self.policy.set_of_unit(unit) == Some(set))
            .unwrap_or(0) as u16;
        let six = Key6 {
            protocol,
            service_set: set,
            client: inside,
            scope: Scope::Static,
            term: term as u16,
            unit,
            destination: None,
        };
        if self.bibs.find6(&six).is_some() {
            return;
        }
        let mut bib = Bib {
            six,
            pool: outside,
            sessions: 0,
            inbound: 0,
            first: NONE,
            lease: None,
        };
        if let Some(other) = self.bibs.find4(&bib.four()) {
            self.close_all(other, now, effects);
            self.drop_bib(other, now, effects);
        }
        // An address outside all pools, or a port outside the range, needs no lease: nobody else can get it.
        bib.lease = self
            .pools
            .iter()
            .find_map(|pool| pool.reserve(now, outside.0, outside.1, protocol));
        if let Some(shard) = &self.shard {
            shard.announce(protocol, outside);
        }
        self.bibs.insert(bib);
    }
}

/// Whether the new configuration still has a static binding.
fn keeps(policy: &Policy, moved: &Moved, bib: &Bib) -> bool {
    let set = bib.six.service_set;
    let Some((new_set, new_term)) = moved.sets[usize::from(set)].zip(moved.term(set, bib.six.term)) else {
        return false;
    };
    policy.set(new_set).static_bindings.iter().any(|binding| {
        binding.protocol == bib.six.protocol
            && binding.inside == bib.six.client
            && binding.outside == bib.pool
            && binding.term == usize::from(new_term)
    })
}
