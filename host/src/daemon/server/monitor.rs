//! Streams: `monitor drops`, `monitor sessions`.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use nat64_layout::{Reason, ReasonKind};
use nat64_xlate::{Event as Logged, Flow, SessionInfo, State as TcpState};
use tokio::sync::{broadcast, mpsc};

use super::extract::{Failure, Query};
use super::rows;
use crate::api::monitor::{
    DropsEvent, Event, IdleEvent, LostEvent, MonitorQuery, PortBlockEvent, ReasonMoved, SessionEvent,
};
use crate::api::sessions::{SessionFilter, Traffic};
use crate::api::{ErrorCode, NDJSON};
use crate::daemon::filter::SessionMatch;
use crate::daemon::samples::{By, Tally};
use crate::daemon::worker::{CardHandle, EventBatch};
use crate::daemon::{stopped, unix_milliseconds, Daemon};

/// Lines that wait for a slow reader.
const LINES: usize = 256;
/// A stream without events says that it lives.
const IDLE: Duration = Duration::from_secs(10);

/// A body of lines that a task makes.
struct Lines(mpsc::Receiver<Bytes>);

impl futures_core::Stream for Lines {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|line| line.map(Ok))
    }
}

/// The answer, and where its lines go in. The stream ends when the sender is dropped; sending fails when the client has
/// gone.
fn stream() -> (mpsc::Sender<Bytes>, Response) {
    let (lines, body) = mpsc::channel(LINES);
    let body = Body::from_stream(Lines(body));
    (lines, ([(header::CONTENT_TYPE, NDJSON)], body).into_response())
}

fn line(event: &Event) -> Bytes {
    // The types of events cannot fail.
    let mut text = serde_json::to_vec(event).unwrap_or_default();
    text.push(b'\n');
    text.into()
}

/// `GET /v1/monitor/drops`.
pub async fn drops(
    State(daemon): State<Arc<Daemon>>,
    Query((query,)): Query<(MonitorQuery,)>,
) -> Result<Response, Failure> {
    let cards = rows::chosen(&daemon, query.card.as_deref())?;
    let interval = query.interval.unwrap_or(1000);
    if !(100..=60_000).contains(&interval) {
        return Err(Failure::new(ErrorCode::BadRequest, "`interval` is 100 to 60000"));
    }
    let (lines, response) = stream();
    let mut stop = daemon.stopping();
    tokio::spawn(async move {
        let watch = watch_drops(cards, Duration::from_millis(interval), lines);
        tokio::select! {
            () = watch => {}
            () = stopped(&mut stop) => {}
        }
    });
    Ok(response)
}

async fn watch_drops(cards: Vec<CardHandle>, interval: Duration, lines: mpsc::Sender<Bytes>) {
    let mut before: Vec<Option<(Instant, Tally)>> = vec![None; cards.len()];
    let mut timer = tokio::time::interval(interval);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = Instant::now();
    loop {
        timer.tick().await;
        for (card, before) in cards.iter().zip(&mut before) {
            // A card that does not answer now may do so later.
            let Ok(counters) = card.look(|dataplane| dataplane.counters()).await else {
                continue;
            };
            let (at, tally) = (Instant::now(), Tally::new(&counters));
            let last = before.replace((at, tally.clone()));
            let Some((then, last)) = last else { continue };
            let seconds = (at - then).as_secs_f64();
            let moved = tally.clone().since(Some(&last));
            let both = Reason::ALL
                .iter()
                .flat_map(|&reason| [(By::Card, reason), (By::Host, reason)]);
            let reasons: Vec<ReasonMoved> = both
                .filter(|(by, reason)| by.kind(*reason) != ReasonKind::Punt && moved.of(*by, *reason) > 0)
                .map(|(by, reason)| ReasonMoved {
                    reason: reason.name().into(),
                    packets: moved.of(by, reason),
                    count: tally.of(by, reason),
                    rate: moved.of(by, reason) as f64 / seconds,
                    explanation: reason.explanation().into(),
                })
                .collect();
            if reasons.is_empty() {
                continue;
            }
            let event = Event::Drops(DropsEvent {
                time: unix_milliseconds(SystemTime::now()),
                card: card.name.to_string(),
                reasons,
            });
            if lines.send(line(&event)).await.is_err() {
                return;
            }
            said = Instant::now();
        }
        if said.elapsed() > IDLE {
            if !send_idle(&lines).await {
                return;
            }
            said = Instant::now();
        }
    }
}

async fn send_idle(lines: &mpsc::Sender<Bytes>) -> bool {
    let event = Event::Idle(IdleEvent {
        time: unix_milliseconds(SystemTime::now()),
    });
    lines.send(line(&event)).await.is_ok()
}

/// `GET /v1/monitor/sessions`.
pub async fn sessions(
    State(daemon): State<Arc<Daemon>>,
    Query((filter,)): Query<(SessionFilter,)>,
) -> Result<Response, Failure> {
    let cards = rows::chosen(&daemon, filter.card.as_deref())?;
    let matching = super::sessions::read(&daemon, &filter)?;
    // Port blocks have no session: only who asks for everything gets them.
    let blocks = SessionFilter {
        card: None,
        ..filter.clone()
    } == SessionFilter::default();
    let cards: Vec<Arc<str>> = cards.into_iter().map(|card| card.name).collect();
    let (lines, response) = stream();
    let events = daemon.events();
    let mut stop = daemon.stopping();
    tokio::spawn(async move {
        let watch = watch_sessions(events, cards, matching, blocks, lines);
        tokio::select! {
            () = watch => {}
            () = stopped(&mut stop) => {}
        }
    });
    Ok(response)
}

async fn watch_sessions(
    mut events: broadcast::Receiver<EventBatch>,
    cards: Vec<Arc<str>>,
    matching: Arc<SessionMatch>,
    blocks: bool,
    lines: mpsc::Sender<Bytes>,
) {
    loop {
        let batch = match tokio::time::timeout(IDLE, events.recv()).await {
            Err(_) => {
                if send_idle(&lines).await {
                    continue;
                }
                return;
            }
            Ok(Ok(batch)) => batch,
            Ok(Err(broadcast::error::RecvError::Lagged(batches))) => {
                // At least one event in each.
                let lost = Event::Lost(LostEvent { events: batches });
                if lines.send(line(&lost)).await.is_err() {
                    return;
                }
                continue;
            }
            Ok(Err(broadcast::error::RecvError::Closed)) => return,
        };
        if !cards.contains(&batch.card) {
            continue;
        }
        let mut text = Vec::new();
        if batch.lost > 0 {
            text.extend_from_slice(&line(&Event::Lost(LostEvent { events: batch.lost })));
        }
        let bound = matching.bind(&batch.config);
        for logged in batch.events.iter() {
            if let Some(flow) = flow_of(logged) {
                if !bound.matches(&as_info(flow), false) {
                    continue;
                }
            } else if !blocks {
                continue;
            }
            text.extend_from_slice(&line(&event(&batch, logged)));
        }
        if !text.is_empty() && lines.send(text.into()).await.is_err() {
            return;
        }
    }
}

const fn flow_of(logged: &Logged) -> Option<&Flow> {
    match logged {
        Logged::SessionOpen(flow) | Logged::SessionClose { flow, .. } => Some(flow),
        Logged::PortBlockAllocated { .. } | Logged::PortBlockReleased { .. } => None,
    }
}

/// What a filter looks at.
const fn as_info(flow: &Flow) -> SessionInfo {
    SessionInfo {
        flow: *flow,
        state: TcpState::Open,
        inbound: false,
        installed: false,
        hairpin: false,
        last: 0,
        deadline: 0,
        packets: [0; 2],
        bytes: [0; 2],
    }
}

/// A logged event in the words of the API.
pub fn event(batch: &EventBatch, logged: &Logged) -> Event {
    let time = unix_milliseconds(batch.time);
    let card = batch.card.to_string();
    let session = |flow: &Flow, packets: [u64; 2], bytes: [u64; 2]| {
        let set = batch.config.xlate.service_sets.get(flow.service_set);
        let traffic = |d: usize| Traffic {
            packets: packets[d],
            bytes: bytes[d],
        };
        SessionEvent {
            time,
            card: card.clone(),
            service_set_name: set.map_or(String::new(), |set| set.name.clone()),
            session_id: rows::session_number(flow.id, 0),
            protocol: rows::protocol_name(flow.protocol).into(),
            inside_interface: rows::unit_name(&batch.config, flow.unit),
            client_address: flow.client.0,
            client_port: flow.client.1,
            destination_address: rows::server6(flow),
            nat_address: flow.pool.0,
            nat_port: flow.pool.1,
            server_address: flow.remote.0,
            server_port: flow.remote.1,
            six_to_four: traffic(0),
            four_to_six: traffic(1),
        }
    };
    let block = |subscriber: &std::net::Ipv6Addr, address: &std::net::Ipv4Addr, ports: &(u16, u16)| PortBlockEvent {
        time,
        card: card.clone(),
        subscriber: *subscriber,
        address: *address,
        low: ports.0,
        high: ports.1,
    };
    match logged {
        Logged::SessionOpen(flow) => Event::SessionOpen(session(flow, [0; 2], [0; 2])),
        Logged::SessionClose { flow, packets, bytes } => Event::SessionClose(session(flow, *packets, *bytes)),
        Logged::PortBlockAllocated {
            subscriber,
            address,
            ports,
        } => Event::PortBlockAlloc(block(subscriber, address, ports)),
        Logged::PortBlockReleased {
            subscriber,
            address,
            ports,
        } => Event::PortBlockRelease(block(subscriber, address, ports)),
    }
}
