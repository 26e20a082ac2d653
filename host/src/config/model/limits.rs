//! What the card can hold: every table that is too small is told, with the first statement that does not fit.
//!
//! The translator is not asked: what the checks let pass it takes, which tests make sure of.

use std::collections::HashSet;

use nat64_driver::plan::{pool_ranges, Plan, PlanError};
use nat64_driver::GatewayConfig;
use nat64_xlate::config::Action;

use super::place;
use super::types::CardLimits;
use crate::config::problem::Problem;
use crate::config::tree::Node;

/// Where units and service sets stand, by their indices; empty for those that are not written.
pub(super) struct Places<'t> {
    pub(super) units: Vec<&'t Node>,
    pub(super) service_sets: Vec<&'t Node>,
}

/// The problems of one card. `card` is its name when there are several.
pub(super) fn check(config: &GatewayConfig, limits: &CardLimits, places: &Places<'_>, card: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let whose = if card.is_empty() {
        "the card's".to_string()
    } else {
        format!("the card's (`{card}`)")
    };
    let mut full = Vec::new();
    let mut too_many = |table: &'static str, wanted: usize, capacity: usize, at: Option<&Node>| {
        if wanted > capacity {
            let text = format!("{whose} {table} table holds {capacity} entries, the configuration needs {wanted}");
            problems.push(Problem::check(text, at.and_then(place)));
            full.push(table);
        }
    };
    let sets = &config.xlate.service_sets;
    let units = config.units.len();
    too_many("unit", units, limits.units, places.units.get(limits.units).copied());
    let first = places.service_sets.get(limits.service_sets).copied();
    too_many("service-set", sets.len(), limits.service_sets, first);
    let (mut prefixes, mut ranges, mut terms) = (0, 0, 0);
    let mut first = [None; 2];
    for (index, set) in sets.iter().enumerate() {
        let node = places.service_sets.get(index).copied();
        let own: HashSet<_> = set
            .terms
            .iter()
            .filter_map(|term| match &term.then {
                Action::Translate(then) => Some((then.pref64, then.pref64_length)),
                Action::NoTranslation => None,
            })
            .collect();
        prefixes += own.len();
        terms = terms.max(set.terms.len());
        if limits.pool_ranges < usize::MAX {
            ranges += joined(pool_ranges(config, set));
        }
        for (first, over) in first
            .iter_mut()
            .zip([prefixes > limits.prefixes, ranges > limits.pool_ranges])
        {
            if over && first.is_none() {
                *first = node;
            }
        }
    }
    too_many("pref64", prefixes, limits.prefixes, first[0]);
    too_many("pool", ranges, limits.pool_ranges, first[1]);
    if !limits.hardware {
        too_many("rule-term", terms, limits.terms, None);
    }
    let sessions = config.xlate.limits.sessions;
    if sessions > limits.sessions {
        let text = format!(
            "`limits sessions` is {sessions}, more than the {} that are kept",
            limits.sessions
        );
        problems.push(Problem::check(text, None));
    }
    if limits.hardware {
        // What the plan alone knows: terms that are widened or shadowed. Tables that are known to be too small stay out
        // of its way.
        let reduced;
        let planned = if full.is_empty() {
            Some(config)
        } else if full.iter().all(|table| *table == "unit") {
            reduced = GatewayConfig {
                units: Vec::new(),
                ..config.clone()
            };
            Some(&reduced)
        } else {
            None
        };
        match planned.map(Plan::new) {
            Some(Err(PlanError::TooMany { table, .. })) if full.contains(&table) => {}
            Some(Err(error)) => problems.push(Problem::check(error.to_string(), None)),
            _ => {}
        }
    }
    problems
}

/// Ranges that are left when those that touch are one.
fn joined(mut ranges: Vec<(u32, u32)>) -> usize {
    ranges.sort_unstable();
    let mut count = 0;
    let mut end: Option<u32> = None;
    for (low, high) in ranges {
        match end {
            Some(last) if low <= last.saturating_add(1) => end = Some(last.max(high)),
            _ => {
                count += 1;
                end = Some(high);
            }
        }
    }
    count
}
