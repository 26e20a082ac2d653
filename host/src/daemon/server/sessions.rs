//! `show services sessions`, `clear services sessions`.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;

use super::extract::{Answer, Body, Failure, Json, Query};
use super::rows;
use crate::api::sessions::{Session, SessionCount, SessionDetail, SessionFilter, SessionsCleared, Utilization};
use crate::api::{CardQuery, Page, PageQuery};
use crate::daemon::dataplane::{Bounds, Cursor, SessionRow, Slice};
use crate::daemon::filter::SessionMatch;
use crate::daemon::worker::CardHandle;
use crate::daemon::Daemon;

/// Sessions whose share is read from the card in one slice: each may cost a copy by DMA.
const EXTENSIVE_ROWS: usize = 256;

/// The filter of a request; `interface` is a service interface or a unit.
pub fn read(daemon: &Daemon, filter: &SessionFilter) -> Result<Arc<SessionMatch>, Failure> {
    let mut read = SessionMatch::new(filter)?;
    if let Some(interface) = &filter.interface {
        let sets = daemon.names().sets_of(interface);
        if sets.is_empty() {
            read.units = Some(vec![interface.clone()]);
        } else if let Some(asked) = &filter.service_set {
            read.service_sets = Some(sets.into_iter().filter(|set| set == asked).collect());
        } else {
            read.service_sets = Some(sets);
        }
    }
    Ok(Arc::new(read))
}

async fn slice(
    card: CardHandle,
    filter: Arc<SessionMatch>,
    from: Cursor,
    bounds: Bounds,
) -> Result<Slice<SessionRow>, Failure> {
    let rows = if filter.extensive {
        bounds.rows.min(EXTENSIVE_ROWS)
    } else {
        bounds.rows
    };
    let bounds = Bounds { rows, ..bounds };
    let asked = card.ask(move |dataplane| dataplane.sessions(from, &filter, bounds));
    Ok(asked.await?)
}

/// `GET /v1/sessions`.
pub async fn list(
    State(daemon): State<Arc<Daemon>>,
    Query((filter, detail, page)): Query<(SessionFilter, SessionDetail, PageQuery)>,
) -> Answer<Page<Session>> {
    let cards = rows::chosen(&daemon, filter.card.as_deref())?;
    let mut matching = (*read(&daemon, &filter)?).clone();
    matching.extensive = detail.extensive;
    let matching = Arc::new(matching);
    let names = daemon.names();
    let page = rows::page(
        &cards,
        &page,
        |card, from, bounds| slice(card, matching.clone(), from, bounds),
        |card, part, row| Some(rows::session(card, &names, part, row)),
    );
    Ok(Json(page.await?))
}

/// Counts by service set, in the order of names; every set of the card is there.
fn counted(into: &mut BTreeMap<String, u64>, part: &Slice<SessionRow>) {
    let sets = &part.config.xlate.service_sets;
    for set in sets {
        into.entry(set.name.clone()).or_default();
    }
    let mut by_number = vec![0u64; sets.len()];
    for row in &part.rows {
        if let Some(count) = by_number.get_mut(row.info.flow.service_set) {
            *count += 1;
        }
    }
    for (set, count) in sets.iter().zip(by_number).filter(|(_, count)| *count > 0) {
        *into.entry(set.name.clone()).or_default() += count;
    }
}

/// `GET /v1/sessions/count`.
pub async fn count(
    State(daemon): State<Arc<Daemon>>,
    Query((filter,)): Query<(SessionFilter,)>,
) -> Answer<Vec<SessionCount>> {
    let matching = read(&daemon, &filter)?;
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, filter.card.as_deref())? {
        let mut counts = BTreeMap::new();
        rows::walk(
            &card,
            |card, from, bounds| slice(card, matching.clone(), from, bounds),
            |part| counted(&mut counts, part),
        )
        .await?;
        let asked = |set: &String| filter.service_set.as_ref().is_none_or(|name| name == set);
        all.extend(
            counts
                .into_iter()
                .filter(|(set, _)| asked(set))
                .map(|(set, count)| SessionCount {
                    card: card.name.to_string(),
                    interface_name: names.service_interface(&set),
                    service_set_name: set,
                    sess_count: count,
                }),
        );
    }
    Ok(Json(all))
}

/// `POST /v1/sessions/clear`.
pub async fn clear(
    State(daemon): State<Arc<Daemon>>,
    Body(filter): Body<SessionFilter>,
) -> Answer<Vec<SessionsCleared>> {
    let matching = read(&daemon, &filter)?;
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, filter.card.as_deref())? {
        let mut counts = BTreeMap::new();
        let clear = |card: CardHandle, from, bounds: Bounds| {
            let matching = matching.clone();
            // A session that goes costs more than one that is only looked at.
            let bounds = Bounds {
                rows: bounds.rows.min(EXTENSIVE_ROWS),
                ..bounds
            };
            async move {
                let asked = card.ask(move |dataplane| dataplane.clear_sessions(from, &matching, bounds));
                Ok(asked.await?)
            }
        };
        rows::walk(&card, clear, |part| counted(&mut counts, part)).await?;
        all.extend(
            counts
                .into_iter()
                .filter(|(_, count)| *count > 0)
                .map(|(set, count)| SessionsCleared {
                    card: card.name.to_string(),
                    interface_name: names.service_interface(&set),
                    service_set_name: set,
                    sess_marked_for_deletion: count,
                }),
        );
    }
    let total: u64 = all.iter().map(|cleared| cleared.sess_marked_for_deletion).sum();
    tracing::info!(sessions = total, ?filter, "sessions cleared");
    Ok(Json(all))
}

/// `GET /v1/sessions/utilization`.
pub async fn utilization(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(CardQuery,)>,
) -> Answer<Vec<Utilization>> {
    let names = daemon.names();
    let mut all = Vec::new();
    for card in rows::chosen(&daemon, query.card.as_deref())? {
        let (counters, config) = card
            .ask(|dataplane| Ok((dataplane.counters()?, dataplane.config())))
            .await?;
        let identity = card.status().identity;
        let limit = config.map_or(0, |config| u64::from(config.xlate.limits.sessions));
        let rates = daemon.samples.rates(&card.name);
        all.push(Utilization {
            card: card.name.to_string(),
            interface_name: names.all_service_interfaces(),
            session_count: counters.sessions,
            session_limit: limit,
            session_percent: percent(counters.sessions, limit),
            card_sessions: counters.host.installed as u64,
            card_capacity: identity
                .hardware
                .map_or(0, |hardware| hardware.geometry.records() as u64),
            setup_rate: rates.setup,
            teardown_rate: rates.teardown,
            drop_rate: rates.drops,
            cpu_load: 100.0 * card.load().busy,
            memory_bytes: crate::daemon::resident_bytes().unwrap_or(0),
        });
    }
    Ok(Json(all))
}

/// `part` of `whole` in percent.
pub fn percent(part: u64, whole: u64) -> f64 {
    if whole == 0 {
        0.0
    } else {
        100.0 * part as f64 / whole as f64
    }
}
