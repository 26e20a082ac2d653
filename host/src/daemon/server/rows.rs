//! Rows of a dataplane in the words of the API, and the walk through a listing slice by slice.

use std::future::Future;
use std::net::IpAddr;

use nat64_driver::GatewayConfig;
use nat64_layout::Protocol;
use nat64_xlate::config::Action;
use nat64_xlate::rfc6052::Pref64;
use nat64_xlate::{Flow, SessionId, Time};

use super::Failure;
use crate::api::nat::{Mapping, MappingKind};
use crate::api::sessions::{Session, Traffic};
use crate::api::{card, ErrorCode, Page, PageQuery, MAX_PAGE};
use crate::daemon::dataplane::{Bounds, Cursor, MappingRow, NeighbourRow, SessionRow, Slice};
use crate::daemon::filter::application_of;
use crate::daemon::worker::CardHandle;
use crate::daemon::{Daemon, Names};

/// Entries looked at in one slice. Some 50 ns each: a slice holds up packet work for a quarter of a millisecond.
pub const SCAN: usize = 4096;

/// `TCP`, `UDP`, `ICMPV6`: the words of Junos' listings.
pub const fn protocol_name(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Tcp => "TCP",
        Protocol::Udp => "UDP",
        Protocol::Icmp => "ICMPV6",
    }
}

/// Server as the client sees it.
pub fn server6(flow: &Flow) -> std::net::Ipv6Addr {
    // The prefix was checked with the configuration.
    Pref64::new(flow.pref64, flow.pref64_length)
        .map_or(std::net::Ipv6Addr::UNSPECIFIED, |prefix| prefix.embed(flow.remote.0))
}

/// Number of a session for people: slot, use of the slot and worker in one number.
pub const fn session_number(id: SessionId, worker: u16) -> u64 {
    (worker as u64) << 52 | ((id.generation as u64) & 0xf_ffff) << 32 | id.slot as u64
}

fn seconds(from: Time, to: Time) -> u64 {
    to.saturating_sub(from).div_ceil(1_000_000_000)
}

/// Name of the pool an address is of, among those a term uses.
fn pool_of(config: &GatewayConfig, set: usize, term: usize, address: std::net::Ipv4Addr) -> String {
    let xlate = &config.xlate;
    let term = xlate.service_sets.get(set).and_then(|set| set.terms.get(term));
    let Some(Action::Translate(translate)) = term.map(|term| &term.then) else {
        return String::new();
    };
    let of = [Some(translate.pool), translate.overload_pool];
    let pools = of.into_iter().flatten().filter_map(|pool| xlate.pools.get(pool));
    let has =
        |pool: &&nat64_xlate::config::Pool| pool.ranges.iter().any(|&(low, high)| (low..=high).contains(&address));
    pools
        .clone()
        .find(has)
        .or_else(|| pools.clone().next())
        .map_or(String::new(), |pool| pool.name.clone())
}

fn names_of(config: &GatewayConfig, set: usize, term: usize) -> (String, String, String) {
    let set = config.xlate.service_sets.get(set);
    let term = set.and_then(|set| set.terms.get(term));
    (
        set.map_or(String::new(), |set| set.name.clone()),
        term.map_or(String::new(), |term| term.rule.clone()),
        term.map_or(String::new(), |term| term.name.clone()),
    )
}

/// Name of a unit.
pub fn unit_name(config: &GatewayConfig, unit: usize) -> String {
    config
        .xlate
        .units
        .get(unit)
        .map_or(String::new(), |unit| unit.name.clone())
}

/// A session.
pub fn session(card: &CardHandle, names: &Names, slice: &Slice<SessionRow>, row: &SessionRow) -> Session {
    let SessionRow { info, card: share, .. } = row;
    let flow = &info.flow;
    let (set, rule, term) = names_of(&slice.config, flow.service_set, flow.term);
    let traffic = |direction: usize| {
        let share = share.unwrap_or_default();
        Traffic {
            packets: info.packets[direction] + share.packets[direction],
            bytes: info.bytes[direction] + share.bytes[direction],
        }
    };
    Session {
        card: card.name.to_string(),
        interface_name: names.service_interface(&set),
        session_id: session_number(flow.id, row.worker),
        protocol: protocol_name(flow.protocol).into(),
        application_protocol: application_of(&slice.config, flow).into(),
        pool_name: pool_of(&slice.config, flow.service_set, flow.term, flow.pool.0),
        service_set_name: set,
        rule,
        term,
        inside_interface: unit_name(&slice.config, flow.unit),
        client_address: flow.client.0,
        client_port: flow.client.1,
        destination_address: server6(flow),
        nat_address: flow.pool.0,
        nat_port: flow.pool.1,
        server_address: flow.remote.0,
        server_port: flow.remote.1,
        state: info.state.name().into(),
        inbound: info.inbound,
        hairpin: info.hairpin,
        offload: row.in_card,
        timeout: seconds(slice.now, info.deadline),
        six_to_four: traffic(0),
        four_to_six: traffic(1),
    }
}

/// A mapping of a port.
pub fn mapping(card: &CardHandle, names: &Names, slice: &Slice<MappingRow>, row: &MappingRow) -> Mapping {
    let info = &row.info;
    let (set, rule, term) = names_of(&slice.config, info.service_set, info.term);
    Mapping {
        card: card.name.to_string(),
        interface_name: names.service_interface(&set),
        pool_name: pool_of(&slice.config, info.service_set, info.term, info.pool.0),
        service_set_name: set,
        kind: match info.destination {
            Some(_) => MappingKind::Port,
            None => MappingKind::EndpointIndependent,
        },
        protocol: Some(protocol_name(info.protocol).into()),
        private_address: info.client.0,
        private_port: Some(info.client.1),
        public_address: info.pool.0,
        public_port: Some(info.pool.1),
        destination: info.destination,
        rule,
        term,
        is_static: info.is_static,
        ports_in_use: None,
        session_count: info.sessions,
        inbound_count: info.inbound,
        timeout: info
            .deadline
            .filter(|_| info.sessions == 0)
            .map(|deadline| seconds(slice.now, deadline)),
    }
}

/// A MAC address.
pub fn mac(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

/// A neighbour.
pub fn neighbour(card: &CardHandle, slice: &Slice<NeighbourRow>, row: &NeighbourRow) -> card::Neighbour {
    let address: IpAddr = row.address;
    let state = match (row.mac, row.fixed, row.learned) {
        (None, ..) => "resolving",
        (_, true, _) => "static",
        (_, _, true) => "learned",
        _ => "reachable",
    };
    card::Neighbour {
        card: card.name.to_string(),
        interface: unit_name(&slice.config, row.unit),
        address,
        mac: row.mac.map(mac),
        state: state.into(),
        sessions: row.users,
        waiting: row.waiting,
        expires: row.expires.map(|at| seconds(slice.now, at)),
    }
}

/// The cards a request is about: the named one, or all.
pub fn chosen(daemon: &Daemon, name: Option<&str>) -> Result<Vec<CardHandle>, Failure> {
    match name {
        None => Ok(daemon.cards()),
        Some(name) => {
            let card = daemon.cards().into_iter().find(|card| &*card.name == name);
            let missing = || Failure::new(ErrorCode::NotFound, format!("there is no card `{name}`"));
            card.map(|card| vec![card.clone()]).ok_or_else(missing)
        }
    }
}

/// Where a page begins: number of the card and place in its table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Place {
    card: usize,
    cursor: Cursor,
}

impl Place {
    fn read(text: Option<&str>) -> Result<Self, Failure> {
        let Some(text) = text else { return Ok(Self::default()) };
        let read = || {
            let (card, cursor) = text.split_once('-')?;
            Some(Self {
                card: card.parse().ok()?,
                cursor: Cursor::from_str_radix(cursor, 16).ok()?,
            })
        };
        read().ok_or_else(|| Failure::new(ErrorCode::BadRequest, format!("`{text}` is no cursor")))
    }

    fn text(self) -> String {
        format!("{}-{:x}", self.card, self.cursor)
    }
}

/// One page of a listing over several cards. `slice` gives a part of one card's table, `row` a row of the answer. A page
/// ends when it is full, or at the end.
pub async fn page<R, T, F>(
    cards: &[CardHandle],
    query: &PageQuery,
    mut slice: impl FnMut(CardHandle, Cursor, Bounds) -> F,
    mut row: impl FnMut(&CardHandle, &Slice<R>, &R) -> Option<T>,
) -> Result<Page<T>, Failure>
where
    F: Future<Output = Result<Slice<R>, Failure>>,
{
    let limit = query.limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let text = format!("`limit` is 1 to {MAX_PAGE}");
        return Err(Failure::new(ErrorCode::BadRequest, text));
    }
    let mut place = Place::read(query.cursor.as_deref())?;
    let mut items = Vec::new();
    while let Some(card) = cards.get(place.card) {
        if items.len() >= limit {
            let cursor = Some(place.text());
            return Ok(Page { items, cursor });
        }
        let bounds = Bounds {
            rows: limit - items.len(),
            scan: SCAN,
        };
        let part = slice(card.clone(), place.cursor, bounds).await?;
        items.extend(part.rows.iter().filter_map(|r| row(card, &part, r)));
        place = match part.next {
            Some(cursor) => Place { cursor, ..place },
            None => Place {
                card: place.card + 1,
                cursor: 0,
            },
        };
    }
    Ok(Page { items, cursor: None })
}

/// Walks the whole of one card's table, in slices.
pub async fn walk<R, F>(
    card: &CardHandle,
    mut slice: impl FnMut(CardHandle, Cursor, Bounds) -> F,
    mut see: impl FnMut(&Slice<R>),
) -> Result<(), Failure>
where
    F: Future<Output = Result<Slice<R>, Failure>>,
{
    let mut cursor = 0;
    loop {
        let bounds = Bounds { rows: SCAN, scan: SCAN };
        let part = slice(card.clone(), cursor, bounds).await?;
        see(&part);
        match part.next {
            Some(next) => cursor = next,
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_rubbish_is_refused() {
        let place = Place {
            card: 3,
            cursor: u64::MAX,
        };
        assert_eq!(Place::read(Some(&place.text())).ok(), Some(place));
        for bad in ["", "-", "1", "1-", "-1", "1-g", "1-11111111111111111", "x-1"] {
            assert!(Place::read(Some(bad)).is_err(), "{bad}");
        }
    }
}
