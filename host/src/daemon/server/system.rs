//! `whoami`, `show system`, `show log`, names for completion, metrics, support information.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::Extension;
use nat64_layout::{regs, Reason, ABI_HASH};

use super::extract::{Answer, Failure, Json, Query};
use crate::api::system::{LogLine, LogQuery, Name, NameKind, NameQuery, Names, Severity, System, Whoami};
use crate::api::{ErrorCode, Page, PageQuery, MAX_PAGE};
use crate::daemon::access::Caller;
use crate::daemon::{metrics, support, unix_seconds, Daemon};

/// `GET /v1/whoami`.
pub async fn whoami(Extension(caller): Extension<Arc<Caller>>) -> Answer<Whoami> {
    Ok(Json(Whoami {
        user: caller.user.clone(),
        uid: caller.uid,
        class: caller.class,
    }))
}

/// `GET /v1/system`.
pub async fn system(State(daemon): State<Arc<Daemon>>) -> Answer<System> {
    let mut alarms = daemon.configuration.alarms();
    for card in daemon.cards() {
        if let Some(fault) = card.status().fault {
            alarms.push(format!("card {}: {fault}", card.name));
        }
    }
    Ok(Json(System {
        version: env!("CARGO_PKG_VERSION").into(),
        pid: std::process::id(),
        host_name: daemon.host_name.clone(),
        started: unix_seconds(daemon.started),
        uptime: daemon.started.elapsed().map_or(0, |uptime| uptime.as_secs()),
        abi_hash: format!("{ABI_HASH:#010x}"),
        commit: daemon.configuration.active_commit(),
        cards: daemon.cards().iter().map(|card| card.name.to_string()).collect(),
        alarms,
    }))
}

/// `GET /v1/names`.
pub async fn names(State(daemon): State<Arc<Daemon>>, Query((query,)): Query<(NameQuery,)>) -> Answer<Names> {
    let mut found: BTreeMap<String, String> = BTreeMap::new();
    let mut configs = Vec::new();
    if !matches!(
        query.kind,
        NameKind::Card | NameKind::Reason | NameKind::Register | NameKind::Rollback
    ) {
        for card in daemon.cards() {
            // A card in fault has no names; that is no reason to give none of the others'.
            if let Ok(Some(config)) = card.look(|dataplane| Ok(dataplane.config())).await {
                configs.push((card, config));
            }
        }
    }
    match query.kind {
        NameKind::Card => {
            let cards = daemon.cards();
            found.extend(
                cards
                    .iter()
                    .map(|card| (card.name.to_string(), card.location.to_string())),
            );
        }
        NameKind::Reason => {
            let reasons = Reason::ALL.iter();
            found.extend(reasons.map(|reason| (reason.name().into(), reason.explanation().into())));
        }
        NameKind::Register => {
            let registers = regs::REGISTERS.iter();
            found.extend(registers.map(|register| (register.name.into(), register.doc.trim().into())));
        }
        NameKind::Rollback => {
            for entry in daemon.configuration.commits().commits {
                let comment = entry.comment.map_or(String::new(), |comment| format!(", {comment}"));
                found.insert(entry.rollback.to_string(), format!("by {}{comment}", entry.user));
            }
        }
        NameKind::Pool => {
            let pools = configs.iter().flat_map(|(_, config)| &config.xlate.pools);
            found.extend(pools.map(|pool| {
                let ranges: Vec<String> = pool.ranges.iter().map(|(low, high)| format!("{low}-{high}")).collect();
                (pool.name.clone(), ranges.join(", "))
            }));
        }
        NameKind::Draining => {
            for (card, _) in &configs {
                let drains = card.ask(|dataplane| dataplane.drains()).await?;
                found.extend(
                    drains.into_iter().map(|(pool, address, ports)| {
                        (address.to_string(), format!("pool {pool}, {ports} ports in use"))
                    }),
                );
            }
        }
        NameKind::Rule => {
            let sets = configs.iter().flat_map(|(_, config)| &config.xlate.service_sets);
            for set in sets {
                found.extend(
                    set.terms
                        .iter()
                        .map(|term| (term.rule.clone(), format!("service set {}", set.name))),
                );
            }
        }
        NameKind::ServiceSet => {
            let names = daemon.names();
            let sets = configs.iter().flat_map(|(_, config)| &config.xlate.service_sets);
            found.extend(sets.map(|set| (set.name.clone(), names.service_interface(&set.name))));
        }
        NameKind::Interface => {
            for (card, config) in &configs {
                let units = config.xlate.units.iter();
                found.extend(units.map(|unit| (unit.name.clone(), format!("unit of {}", card.name))));
            }
            let names = daemon.names();
            found.extend(
                names
                    .interfaces()
                    .map(|name| (name.to_owned(), "services interface".to_owned())),
            );
        }
    }
    let names = found.into_iter().map(|(name, help)| Name { name, help });
    Ok(Json(Names { names: names.collect() }))
}

/// `GET /v1/log`.
pub async fn log(
    State(daemon): State<Arc<Daemon>>,
    Query((query, page)): Query<(LogQuery, PageQuery)>,
) -> Answer<Page<LogLine>> {
    let limit = page.limit.unwrap_or(MAX_PAGE);
    if !(1..=MAX_PAGE).contains(&limit) {
        let text = format!("`limit` is 1 to {MAX_PAGE}");
        return Err(Failure::new(ErrorCode::BadRequest, text));
    }
    let severity = query.severity.unwrap_or(Severity::Info);
    let from = match (&page.cursor, query.newest) {
        (None, None) => 0,
        (None, Some(count)) => daemon.log.newest(severity, count),
        (Some(text), _) => text
            .parse()
            .map_err(|_| Failure::new(ErrorCode::BadRequest, format!("`{text}` is no cursor")))?,
    };
    let (items, next) = daemon.log.page(from, severity, limit);
    Ok(Json(Page {
        items,
        cursor: next.map(|next: u64| next.to_string()),
    }))
}

/// `GET /metrics`.
pub async fn metrics(State(daemon): State<Arc<Daemon>>) -> Result<Response, Failure> {
    let text = metrics::scrape(&daemon).await?;
    Ok(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
}

/// `POST /v1/support`.
pub async fn support(State(daemon): State<Arc<Daemon>>) -> Result<Response, Failure> {
    let text = support::collect(&daemon).await;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}
