//! Answers that every [`Dataplane`](super::dataplane::Dataplane) makes in the same way.

use std::net::Ipv4Addr;

use nat64_driver::neigh::Neighbours;
use nat64_driver::GatewayConfig;
use nat64_xlate::{BindingKey, DrainError, Draining, Nat64, SessionId, SessionInfo};

use super::dataplane::{Block, Bounds, Cursor, DataplaneError, Deterministic, MappingRow, NeighbourRow, SessionRow};
use super::filter::{BoundMappingMatch, BoundSessionMatch};

/// A configuration with nothing in it, for answers before the first one.
pub fn no_config() -> GatewayConfig {
    let port = nat64_driver::PortConfig {
        mac: [0; 6],
        policy: nat64_layout::tables::PortPolicy::Drop,
    };
    GatewayConfig {
        link_type: nat64_driver::LinkType::Ethernet,
        ports: [port; nat64_layout::PORTS],
        units: Vec::new(),
        xlate: nat64_xlate::Config::default(),
    }
}

/// A page of sessions from place `start` of the table on: those that match, and where it goes on. Rows are cut where
/// `bounds.rows` is reached. `scratch` is overwritten.
pub fn sessions(
    nat: &Nat64,
    worker: u16,
    start: u32,
    filter: &BoundSessionMatch<'_>,
    bounds: Bounds,
    in_card: impl Fn(SessionId) -> bool,
    scratch: &mut Vec<SessionInfo>,
) -> (Vec<SessionRow>, Option<u32>) {
    scratch.clear();
    let places = u32::try_from(bounds.scan).unwrap_or(u32::MAX);
    let next = nat.session_page(start, places, scratch);
    let mut rows = Vec::new();
    for info in scratch {
        let in_card = in_card(info.flow.id);
        if !filter.matches(info, in_card) {
            continue;
        }
        if rows.len() >= bounds.rows {
            // This one comes first next time.
            return (rows, Some(info.flow.id.slot));
        }
        rows.push(SessionRow {
            info: *info,
            worker,
            in_card,
            card: None,
        });
    }
    (rows, next)
}

/// A page of mappings from place `start` of the table on: those that match, and where it goes on.
pub fn mappings(
    nat: &Nat64,
    worker: u16,
    start: u32,
    filter: &BoundMappingMatch<'_>,
    bounds: Bounds,
) -> (Vec<MappingRow>, Option<u32>) {
    // Bindings do not tell their place in the table, so a page has no more places than rows may come of it.
    let places = u32::try_from(bounds.scan.min(bounds.rows)).unwrap_or(u32::MAX);
    let mut page = Vec::new();
    let next = nat.bib_page(start, places, &mut page);
    let matching = page.into_iter().filter(|info| filter.matches(info));
    (matching.map(|info| MappingRow { info, worker }).collect(), next)
}

/// What a translator takes to end the sessions of a page.
pub fn session_ids(rows: &[SessionRow]) -> Vec<SessionId> {
    rows.iter().map(|row| row.info.flow.id).collect()
}

/// What a translator takes to remove the mappings of a page.
pub fn binding_keys(rows: &[MappingRow]) -> Vec<BindingKey> {
    let key = |row: &MappingRow| (row.info.service_set, row.info.protocol, row.info.pool);
    rows.iter().map(key).collect()
}

/// A page of neighbours, and where it goes on.
pub fn neighbours(all: &Neighbours, from: Cursor, bounds: Bounds) -> (Vec<NeighbourRow>, Option<Cursor>) {
    let skip = usize::try_from(from).unwrap_or(usize::MAX);
    let found = all.page(skip, bounds.rows);
    let end = skip.saturating_add(found.len());
    let next = (end < all.len() && !found.is_empty()).then_some(end as Cursor);
    let row = |info: nat64_driver::neigh::NeighbourInfo| NeighbourRow {
        unit: info.key.0,
        address: info.key.1,
        mac: info.mac,
        learned: info.learned,
        fixed: info.fixed,
        users: info.pins,
        waiting: info.waiting as u32,
        expires: info.expires,
    };
    (found.into_iter().map(row).collect(), next)
}

/// Whether a pool has an address.
///
/// # Errors
/// [`DataplaneError::NotFound`]: there is no such pool, or it has not.
pub fn has_address(config: &GatewayConfig, pool: &str, address: Ipv4Addr) -> Result<(), DataplaneError> {
    let missing = |what, name: String| Err(DataplaneError::NotFound { what, name });
    let Some(found) = config.xlate.pools.iter().find(|p| p.name == pool) else {
        return missing("pool", pool.to_owned());
    };
    if !found.ranges.iter().any(|&(low, high)| (low..=high).contains(&address)) {
        return missing("pool address", format!("{address} of {pool}"));
    }
    Ok(())
}

/// What came of a drain.
///
/// # Errors
/// Its own.
pub fn drained(done: Result<Draining, DrainError>) -> Result<(), DataplaneError> {
    match done {
        Ok(_) => Ok(()),
        Err(DrainError::NotOurs(address)) => Err(DataplaneError::NotFound {
            what: "pool address",
            name: address.to_string(),
        }),
        Err(error) => Err(DataplaneError::Refused(error.to_string())),
    }
}

/// Drained addresses with their pools and the ports still in use.
pub fn drains(config: &GatewayConfig, drained: &[Draining]) -> Vec<(String, Ipv4Addr, u32)> {
    let pool_of = |address: Ipv4Addr| {
        let has = |&(low, high): &(Ipv4Addr, Ipv4Addr)| (low..=high).contains(&address);
        let found = config.xlate.pools.iter().find(|pool| pool.ranges.iter().any(has));
        found.map_or(String::new(), |pool| pool.name.clone())
    };
    let rows = drained.iter();
    rows.map(|drain| (pool_of(drain.address), drain.address, drain.ports_in_use))
        .collect()
}

/// Blocks of deterministic NAT.
pub fn blocks(nat: &Nat64, of: Deterministic) -> Vec<Block> {
    let blocks = match of {
        Deterministic::Host(host) => nat.deterministic_of(host),
        Deterministic::Port(address, port) => nat.deterministic_at((address, port)),
    };
    let block = |block: nat64_xlate::DeterministicBlock| Block {
        service_set: block.service_set,
        pool: block.pool,
        subscriber: block.subscriber,
        address: block.address,
        ports: block.ports,
    };
    blocks.into_iter().map(block).collect()
}
