//! What of all service sets and pools is each card's.

use nat64_xlate::config::{Action, Pool as PoolConfig, ServiceSet, Unit};

use super::pool::Built as Pool;
use super::service_set::Built as Set;
use super::types::ServiceSetExtra;
use crate::config::tree::Node;

/// Everything, before it is dealt out.
pub(super) struct Shares<'t> {
    sets: Vec<Option<Set<'t>>>,
    pools: Vec<PoolConfig>,
    several: bool,
}

/// The part of one card; indices are its own.
pub(super) struct Share<'t> {
    pub(super) service_sets: Vec<ServiceSet>,
    pub(super) extras: Vec<ServiceSetExtra>,
    pub(super) nodes: Vec<&'t Node>,
    pub(super) pools: Vec<PoolConfig>,
    /// Own index of each service set of the configuration.
    local: Vec<Option<usize>>,
}

impl<'t> Shares<'t> {
    pub(super) fn new(sets: Vec<Set<'t>>, pools: Vec<Pool<'t>>, several: bool) -> Self {
        Self {
            sets: sets.into_iter().map(Some).collect(),
            pools: pools.into_iter().map(|pool| pool.config).collect(),
            several,
        }
    }

    /// The part of card `index`; each is taken once.
    pub(super) fn take(&mut self, index: usize) -> Share<'t> {
        let mut share = Share {
            service_sets: Vec::new(),
            extras: Vec::new(),
            nodes: Vec::new(),
            pools: Vec::new(),
            local: vec![None; self.sets.len()],
        };
        for (slot, local) in self.sets.iter_mut().zip(&mut share.local) {
            if slot.as_ref().is_some_and(|set| set.card == Some(index)) {
                if let Some(set) = slot.take() {
                    *local = Some(share.service_sets.len());
                    share.service_sets.push(set.config);
                    share.extras.push(set.extra);
                    share.nodes.push(set.node);
                }
            }
        }
        if !self.several {
            share.pools = std::mem::take(&mut self.pools);
            return share;
        }
        // A card has the pools of its own service sets.
        let mut own: Vec<Option<usize>> = vec![None; self.pools.len()];
        let pools = &self.pools;
        let mut renumber = |index: &mut usize| {
            let at = *own[*index].get_or_insert_with(|| {
                share.pools.push(pools[*index].clone());
                share.pools.len() - 1
            });
            *index = at;
        };
        for term in share.service_sets.iter_mut().flat_map(|set| &mut set.terms) {
            if let Action::Translate(translate) = &mut term.then {
                renumber(&mut translate.pool);
                translate.overload_pool.iter_mut().for_each(&mut renumber);
            }
        }
        share
    }
}

impl Share<'_> {
    /// The unit with the card's own number of its service set.
    pub(super) fn unit(&self, mut unit: Unit) -> Unit {
        unit.service_set = unit.service_set.and_then(|set| self.local.get(set).copied().flatten());
        unit
    }
}
