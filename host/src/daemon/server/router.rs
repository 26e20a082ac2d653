//! The router, made from [`ROUTES`]: every route gets its class check here, and only here.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::middleware::{from_fn_with_state, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{on, MethodFilter, MethodRouter};
use axum::Router;

use super::{cards, configuration, monitor, nat, sessions, system, Failure, Limits};
use crate::api::routes::RouteId;
use crate::api::{ErrorCode, Method, Route, ROUTES};
use crate::config::MAX_TEXT;
use crate::daemon::access::Caller;
use crate::daemon::Daemon;

/// Bytes of a body, but for those with a configuration.
const BODY: usize = 64 << 10;

fn handler(id: RouteId, filter: MethodFilter) -> MethodRouter<Arc<Daemon>> {
    match id {
        RouteId::Whoami => on(filter, system::whoami),
        RouteId::System => on(filter, system::system),
        RouteId::Names => on(filter, system::names),
        RouteId::Log => on(filter, system::log),
        RouteId::Support => on(filter, system::support),
        RouteId::Metrics => on(filter, system::metrics),
        RouteId::EditBegin => on(filter, configuration::begin),
        RouteId::EditTouch => on(filter, configuration::touch),
        RouteId::EditEnd => on(filter, configuration::end),
        RouteId::Active => on(filter, configuration::active),
        RouteId::Candidate => on(filter, configuration::candidate),
        RouteId::RollbackText => on(filter, configuration::rollback_text),
        RouteId::Compare => on(filter, configuration::compare),
        RouteId::Commands => on(filter, configuration::commands),
        RouteId::Load => on(filter, configuration::load),
        RouteId::Rollback => on(filter, configuration::rollback),
        RouteId::Update => on(filter, configuration::update),
        RouteId::Check => on(filter, configuration::check),
        RouteId::Commit => on(filter, configuration::commit),
        RouteId::CommitCancel => on(filter, configuration::cancel),
        RouteId::Commits => on(filter, configuration::commits),
        RouteId::Cards => on(filter, cards::cards),
        RouteId::Registers => on(filter, cards::registers),
        RouteId::Drops => on(filter, cards::drops),
        RouteId::Neighbours => on(filter, cards::neighbours),
        RouteId::Pools => on(filter, nat::pools),
        RouteId::Mappings => on(filter, nat::mappings),
        RouteId::MappingSummary => on(filter, nat::summary),
        RouteId::MappingsClear => on(filter, nat::clear_mappings),
        RouteId::Statistics => on(filter, nat::statistics),
        RouteId::StatisticsClear => on(filter, nat::clear_statistics),
        RouteId::Deterministic => on(filter, nat::deterministic),
        RouteId::Drains => on(filter, nat::drains),
        RouteId::Drain => on(filter, nat::drain),
        RouteId::Sessions => on(filter, sessions::list),
        RouteId::SessionCount => on(filter, sessions::count),
        RouteId::Utilization => on(filter, sessions::utilization),
        RouteId::SessionsClear => on(filter, sessions::clear),
        RouteId::ServiceSets => on(filter, nat::service_sets),
        RouteId::PacketDrops => on(filter, nat::packet_drops),
        RouteId::TestPacket => on(filter, nat::test_packet),
        RouteId::MonitorDrops => on(filter, monitor::drops),
        RouteId::MonitorSessions => on(filter, monitor::sessions),
    }
}

/// What the check of a route needs.
#[derive(Clone, Copy)]
struct Gate {
    route: &'static Route,
    time: Duration,
}

/// Every request passes here, between the router and its handler.
async fn gate(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let Gate { route, time } = gate;
    // Without a caller nothing is served: whoever builds a server without credentials notices at once.
    let Some(caller) = request.extensions().get::<Arc<Caller>>().cloned() else {
        return Failure::new(ErrorCode::Forbidden, "the peer is not known").into_response();
    };
    if caller.class < route.class {
        tracing::warn!(user = %caller.user, class = %caller.class, path = route.path, "refused by class");
        let text = format!(
            "`{} {}` needs class {}, user `{}` has {}",
            route.method.name(),
            route.path,
            route.class,
            caller.user,
            caller.class
        );
        return Failure::new(ErrorCode::Forbidden, text).into_response();
    }
    if route.changes {
        tracing::info!(user = %caller.user, method = route.method.name(), path = route.path, "change asked for");
    }
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Failure::new(ErrorCode::Timeout, format!("not done within {} s", time.as_secs())).into_response(),
    }
}

/// The router of all routes.
pub fn router(daemon: Arc<Daemon>, limits: Limits) -> Router {
    let mut router = Router::new();
    for route in ROUTES {
        let filter = match route.method {
            Method::Get => MethodFilter::GET,
            Method::Post => MethodFilter::POST,
            Method::Delete => MethodFilter::DELETE,
        };
        let body = match route.id {
            // JSON may need two bytes for one.
            RouteId::Load | RouteId::Commands => 2 * MAX_TEXT + BODY,
            _ => BODY,
        };
        let gated = handler(route.id, filter)
            .layer(DefaultBodyLimit::max(body))
            .layer(from_fn_with_state(
                Gate {
                    route,
                    time: limits.request_time,
                },
                gate,
            ));
        router = router.route(route.path, gated);
    }
    router
        .method_not_allowed_fallback(|request: Request| async move {
            let text = format!("{} has no {}", request.uri().path(), request.method());
            Failure::new(ErrorCode::MethodNotAllowed, text)
        })
        .fallback(|request: Request| async move {
            Failure::new(
                ErrorCode::NotFound,
                format!("there is nothing at {}", request.uri().path()),
            )
        })
        .with_state(daemon)
}
