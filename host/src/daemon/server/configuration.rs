//! Candidate and active configuration. The engine may block, so each request runs on a thread that may.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::Extension;

use super::extract::{Answer, Body, Failure, Json, Query};
use crate::api::configuration::{
    Changed, Checked, Commands, Commit, Commits, Committed, CompareQuery, Comparison, Edit, EditQuery, EditRequest,
    Load, Rollback, Text, TextQuery,
};
use crate::api::{Done, ErrorBody, ErrorCode};
use crate::daemon::access::Caller;
use crate::daemon::configuration::Configuration;
use crate::daemon::Daemon;

async fn run<T: Send + 'static>(
    daemon: Arc<Daemon>,
    work: impl FnOnce(&Configuration) -> Result<T, ErrorBody> + Send + 'static,
) -> Answer<T> {
    let done = tokio::task::spawn_blocking(move || work(&daemon.configuration)).await;
    match done {
        Ok(result) => Ok(Json(result?)),
        Err(error) => Err(Failure::new(ErrorCode::Internal, error.to_string())),
    }
}

type Who = Extension<Arc<Caller>>;

/// `POST /v1/configuration/edit`.
pub async fn begin(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<EditRequest>,
) -> Answer<Edit> {
    run(daemon, move |c| c.begin(&caller, request.mode, request.client.name())).await
}

/// `GET /v1/configuration/edit/{edit}`.
pub async fn touch(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Path(edit): Path<String>,
) -> Answer<Edit> {
    run(daemon, move |c| c.touch(&caller, &edit)).await
}

/// `DELETE /v1/configuration/edit/{edit}`.
pub async fn end(State(daemon): State<Arc<Daemon>>, Extension(caller): Who, Path(edit): Path<String>) -> Answer<Done> {
    run(daemon, move |c| c.end(&caller, &edit).map(|()| Done {})).await
}

/// `GET /v1/configuration/active`.
pub async fn active(State(daemon): State<Arc<Daemon>>, Query((query,)): Query<(TextQuery,)>) -> Answer<Text> {
    run(daemon, move |c| c.active(&query)).await
}

/// `GET /v1/configuration/candidate`.
pub async fn candidate(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Query((query,)): Query<(TextQuery,)>,
) -> Answer<Text> {
    run(daemon, move |c| c.candidate(&caller, &query)).await
}

/// `GET /v1/configuration/rollback/{n}`.
pub async fn rollback_text(
    State(daemon): State<Arc<Daemon>>,
    Path(n): Path<String>,
    Query((query,)): Query<(TextQuery,)>,
) -> Answer<Text> {
    let Ok(n) = n.parse() else {
        return Err(Failure::new(ErrorCode::NotFound, format!("there is no rollback `{n}`")));
    };
    run(daemon, move |c| c.rollback_text(n, &query)).await
}

/// `GET /v1/configuration/candidate/compare`.
pub async fn compare(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Query((query,)): Query<(CompareQuery,)>,
) -> Answer<Comparison> {
    run(daemon, move |c| c.compare(&caller, &query)).await
}

/// `POST /v1/configuration/candidate/commands`.
pub async fn commands(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<Commands>,
) -> Answer<Changed> {
    run(daemon, move |c| c.commands(&caller, &request)).await
}

/// `POST /v1/configuration/candidate/load`.
pub async fn load(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<Load>,
) -> Answer<Changed> {
    run(daemon, move |c| c.load(&caller, &request)).await
}

/// `POST /v1/configuration/candidate/rollback`.
pub async fn rollback(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<Rollback>,
) -> Answer<Changed> {
    run(daemon, move |c| c.rollback(&caller, &request)).await
}

/// `POST /v1/configuration/candidate/update`.
pub async fn update(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<EditQuery>,
) -> Answer<Changed> {
    run(daemon, move |c| c.update(&caller, &request)).await
}

/// `POST /v1/configuration/candidate/check`.
pub async fn check(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<EditQuery>,
) -> Answer<Checked> {
    run(daemon, move |c| c.check(&caller, &request)).await
}

/// `POST /v1/configuration/commit`.
pub async fn commit(
    State(daemon): State<Arc<Daemon>>,
    Extension(caller): Who,
    Body(request): Body<Commit>,
) -> Answer<Committed> {
    run(daemon, move |c| c.commit(&caller, &request)).await
}

/// `DELETE /v1/configuration/commit`.
pub async fn cancel(State(daemon): State<Arc<Daemon>>) -> Answer<Done> {
    run(daemon, |c| c.cancel().map(|()| Done {})).await
}

/// `GET /v1/configuration/commits`.
pub async fn commits(State(daemon): State<Arc<Daemon>>) -> Answer<Commits> {
    run(daemon, |c| Ok(c.commits())).await
}
