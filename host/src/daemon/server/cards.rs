//! `show chassis card`, `show registers`, `show drops`, `show neighbours`.

use std::sync::Arc;

use axum::extract::{Path, State};
use nat64_driver::card::counted;
use nat64_layout::regs::{Access, REGISTERS};
use nat64_layout::{Reason, ReasonKind, ABI_HASH, FIRST_HOST_REASON, PORTS};

use super::extract::{Answer, Failure, Json, Query};
use super::rows;
use super::sessions::percent;
use crate::api::card::{
    Card, CardState, Drop, DropQuery, Field, Hardware, MacCounter, Neighbour, Port, PortPhy, Register, Table,
};
use crate::api::{CardQuery, ErrorCode, Page, PageQuery};
use crate::daemon::dataplane::{Counters, DataplaneError, HardwareIdentity, Identity};
use crate::daemon::samples::{By, Tally};
use crate::daemon::worker::CardHandle;
use crate::daemon::Daemon;

fn hex(value: u32) -> String {
    format!("{value:#010x}")
}

fn hardware(found: &HardwareIdentity, time: u64) -> Hardware {
    Hardware {
        identity: hex(found.identity),
        abi_hash: hex(found.abi_hash),
        bitstream: found.bitstream.clone(),
        bus_width: 8 * found.datapath.bus_bytes(),
        latency: found.datapath.latency(),
        records: found.geometry.records() as u64,
        tags: found.geometry.tags() as u64,
        stash: found.geometry.stash as u64,
        time,
        temperature: found.temperature,
    }
}

fn tables(identity: &Identity, counters: &Counters, limit: u64) -> Vec<Table> {
    let row = |table: &str, used: usize, capacity: usize| Table {
        table: table.into(),
        used: used as u64,
        capacity: capacity as u64,
    };
    let mut tables = vec![Table {
        table: "sessions".into(),
        used: counters.sessions,
        capacity: limit,
    }];
    if let Some(hardware) = &identity.hardware {
        let (geometry, host) = (hardware.geometry, &counters.host);
        tables.push(row("card-sessions", host.installed, geometry.records()));
        tables.push(row("card-tags", host.tags, geometry.tags()));
        tables.push(row("card-stash", host.stash, geometry.stash));
        tables.push(row("card-next-hops", host.next_hops, nat64_layout::tables::NEXT_HOPS));
    }
    tables.push(row(
        "neighbours",
        counters.host.neighbours,
        nat64_driver::neigh::ENTRIES,
    ));
    tables
}

const fn taken(identity: &Identity) -> &'static str {
    if identity.adopted {
        "adopted"
    } else {
        "opened"
    }
}

/// What is shown of a card that does not answer.
fn silent(card: &CardHandle) -> Card {
    let status = card.status();
    Card {
        name: card.name.to_string(),
        kind: card.kind,
        location: card.location.to_string(),
        state: status.state,
        fault: status.fault,
        taken: taken(&status.identity).into(),
        hardware: None,
        driver_abi_hash: hex(ABI_HASH),
        uptime: status.since.elapsed().map_or(0, |since| since.as_secs()),
        sessions: 0,
        mappings: 0,
        sessions_deferred: 0,
        translated_by_card: 0,
        translated_by_host: 0,
        hardware_share: 0.0,
        ports: Vec::new(),
        tables: Vec::new(),
        workers: status.identity.workers,
    }
}

async fn one(card: &CardHandle) -> Card {
    let mut shown = silent(card);
    let asked = card
        .look(|dataplane| {
            let (identity, counters) = (dataplane.identity()?, dataplane.counters()?);
            Ok((identity, counters, dataplane.phys()?, dataplane.config()))
        })
        .await;
    let (identity, counters, phys, config) = match asked {
        Ok(answer) => answer,
        // It is open and has nothing to do yet.
        Err(DataplaneError::Refused(_)) if shown.state == CardState::Idle => return shown,
        Err(error) => {
            shown.state = CardState::Fault;
            shown.fault.get_or_insert_with(|| error.to_string());
            return shown;
        }
    };
    let by_card = counters.card.as_ref().map_or(0, |card| card.translated().iter().sum());
    let by_host = counters.host.translated.iter().sum();
    shown.hardware = identity.hardware.as_ref().map(|found| hardware(found, counters.now));
    shown.workers = identity.workers;
    shown.taken = taken(&identity).into();
    shown.sessions = counters.sessions;
    shown.mappings = counters.mappings.iter().sum();
    shown.sessions_deferred = counters.host.deferred as u64;
    shown.translated_by_card = by_card;
    shown.translated_by_host = by_host;
    shown.hardware_share = percent(by_card, by_card + by_host);
    let limit = config
        .as_ref()
        .map_or(0, |config| u64::from(config.xlate.limits.sessions));
    shown.tables = tables(&identity, &counters, limit);
    shown.ports = (0..PORTS)
        .map(|port| {
            let mut row = Port {
                port: port as u32,
                mac: config
                    .as_ref()
                    .map_or(String::new(), |config| rows::mac(config.ports[port].mac)),
                interface: identity.interfaces[port].clone(),
                link_up: identity.link_up[port],
                packets_in: counters.host.frames_in[port],
                packets_out: counters.host.frames_out[port],
                ..Port::default()
            };
            if let Some(bytes) = &counters.bytes {
                [row.bytes_in, row.bytes_out] = bytes[port];
            }
            if let Some(card) = &counters.card {
                let port = &card.ports[port];
                (row.packets_in, row.bytes_in) = (port.packets_in, port.bytes_in);
                (row.packets_out, row.bytes_out) = (port.packets_out, port.bytes_out);
            }
            if let Some(mac) = counters.card.as_ref().and_then(|card| card.macs[port]) {
                row.link_up = Some(mac.link_up);
                row.mbits = Some(mac.mbits);
                row.full_duplex = Some(mac.full_duplex);
                row.mac_counters = counted()
                    .into_iter()
                    .zip(mac.frames)
                    .map(|(counter, frames)| MacCounter {
                        counter: counter.into(),
                        frames,
                    })
                    .collect();
            }
            row.phy = phys[port].map(|phy| PortPhy {
                address: phy.address,
                identifier: hex(phy.identifier),
                link_up: phy.link_up,
            });
            row
        })
        .collect();
    shown
}

/// `GET /v1/cards`.
pub async fn cards(State(daemon): State<Arc<Daemon>>, Query((query,)): Query<(CardQuery,)>) -> Answer<Vec<Card>> {
    let asked = rows::chosen(&daemon, query.card.as_deref())?.into_iter();
    let asked: Vec<_> = asked
        .map(|card| tokio::spawn(async move { one(&card).await }))
        .collect();
    let mut all = Vec::new();
    for answer in asked {
        all.push(
            answer
                .await
                .map_err(|error| Failure::new(ErrorCode::Internal, error.to_string()))?,
        );
    }
    Ok(Json(all))
}

/// `GET /v1/cards/{card}/registers`.
pub async fn registers(State(daemon): State<Arc<Daemon>>, Path(name): Path<String>) -> Answer<Vec<Register>> {
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, Some(&name))? {
        let values = card.ask(|dataplane| dataplane.registers()).await?;
        all.extend(decode(&values));
    }
    Ok(Json(all))
}

/// Registers with their fields, from the layout's description.
pub fn decode(values: &[(u32, u32)]) -> Vec<Register> {
    let registers = REGISTERS.iter().map(|register| {
        let value = values
            .iter()
            .find(|(offset, _)| *offset == register.offset)
            .map(|v| v.1);
        let fields = register.fields.iter().map(|field| {
            let mask = u32::MAX >> (31 - (field.msb - field.lsb));
            Field {
                name: field.name.into(),
                msb: field.msb,
                lsb: field.lsb,
                value: value.map(|value| value >> field.lsb & mask),
                doc: field.doc.trim().into(),
            }
        });
        Register {
            name: register.name.into(),
            offset: register.offset,
            value,
            access: match register.access {
                Access::Ro => "ro",
                Access::Rw => "rw",
                Access::Wo => "wo",
            }
            .into(),
            doc: register.doc.trim().into(),
            fields: fields.collect(),
        }
    });
    registers.collect()
}

/// `GET /v1/drops`.
pub async fn drops(State(daemon): State<Arc<Daemon>>, Query((query,)): Query<(DropQuery,)>) -> Answer<Vec<Drop>> {
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let counters = card.ask(|dataplane| dataplane.counters()).await?;
        let tally = Tally::new(&counters).since(daemon.baseline(&card.name).as_deref());
        let rates = daemon.samples.reason_rates(&card.name);
        for &reason in Reason::ALL {
            for by in [By::Card, By::Host] {
                let (kind, count) = (by.kind(reason), tally.of(by, reason));
                let possible = match by {
                    By::Card => (reason as u8) < FIRST_HOST_REASON,
                    By::Host => (reason as u8) >= FIRST_HOST_REASON || count > 0,
                };
                let wanted = query.punts || kind != ReasonKind::Punt;
                if !possible || !wanted || (count == 0 && !query.all) {
                    continue;
                }
                all.push(Drop {
                    card: card.name.to_string(),
                    reason: reason.name().into(),
                    code: reason as u8,
                    kind: match kind {
                        ReasonKind::Punt => "punt",
                        ReasonKind::Drop => "drop",
                        ReasonKind::Answer => "answer",
                    }
                    .into(),
                    by: by.name().into(),
                    count,
                    rate: rates.as_ref().map_or(0.0, |rates| rates.of(by, reason)),
                    explanation: reason.explanation().into(),
                });
            }
        }
    }
    Ok(Json(all))
}

/// `GET /v1/neighbours`.
pub async fn neighbours(
    State(daemon): State<Arc<Daemon>>,
    Query((query, page)): Query<(CardQuery, PageQuery)>,
) -> Answer<Page<Neighbour>> {
    let cards = rows::chosen(&daemon, query.card.as_deref())?;
    let page = rows::page(
        &cards,
        &page,
        |card, from, bounds| async move { Ok::<_, Failure>(card.ask(move |d| d.neighbours(from, bounds)).await?) },
        |card, part, row| Some(rows::neighbour(card, part, row)),
    );
    Ok(Json(page.await?))
}
