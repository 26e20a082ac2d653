//! The control API on a UNIX socket.
//!
//! ```text
//!  accept --> limits (connections: all, per user) --> SO_PEERCRED --> class? --no--> one answer 403, closed
//!                                                                      | yes
//!                        hyper, HTTP/1.1 (head size, head time) --> route --> class of the route --> handler
//! ```
//!
//! Nothing here trusts the peer: heads and bodies have limits, a head that does not come ends the connection, a handler
//! that takes too long is given up ([`ErrorCode::Timeout`]), and a connection has one request at a time.

mod cards;
mod configuration;
mod extract;
mod monitor;
mod nat;
mod router;
mod rows;
mod sessions;
mod system;

use std::collections::HashMap;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::response::IntoResponse;
use axum::Router;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, UnixListener, UnixStream};
use tokio::sync::{watch, Semaphore};
use tower::ServiceExt;

use super::access::{Access, Caller, Peer};
use super::{stopped, Daemon};
use crate::api::ErrorCode;

pub use cards::decode as decode_registers;
pub use extract::Failure;
pub use router::router;
pub(super) use rows::server6;

/// Limits of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Connections of one user at a time.
    pub connections_per_user: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// How long a head may take, from the first byte or from the answer before.
    pub head_time: Duration,
    /// How long a request may take; monitors last as long as the client stays.
    pub request_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            connections_per_user: 32,
            head: 16 << 10,
            head_time: Duration::from_secs(60),
            request_time: Duration::from_secs(120),
        }
    }
}

/// Makes the socket: over one that nobody listens on any more, never over something else.
///
/// # Errors
/// Another daemon listens there, something that is no socket is in the way, or the system refuses.
pub fn listen(path: &Path, mode: u32) -> io::Result<UnixListener> {
    if let Ok(found) = std::fs::symlink_metadata(path) {
        if !found.file_type().is_socket() {
            let text = format!("{} exists and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, text));
        }
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            let text = format!("another process listens on {}", path.display());
            return Err(io::Error::new(io::ErrorKind::AddrInUse, text));
        }
        std::fs::remove_file(path)?;
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::create_dir_all(folder)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    Ok(listener)
}

/// Removes the socket's file when dropped.
#[derive(Debug)]
pub struct SocketFile(pub PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Counts the connections of each user.
#[derive(Clone, Default)]
struct PerUser(Arc<Mutex<HashMap<u32, usize>>>);

struct Counted(PerUser, u32);

impl PerUser {
    fn enter(&self, uid: u32, limit: usize) -> Option<Counted> {
        let mut users = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = users.entry(uid).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Counted(self.clone(), uid))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut users = self.0 .0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = users.get_mut(&self.1) {
            *count -= 1;
            if *count == 0 {
                users.remove(&self.1);
            }
        }
    }
}

/// Serves until `stop` says so; then finishes the requests under way, for at most some seconds.
pub async fn serve(
    listener: UnixListener,
    daemon: Arc<Daemon>,
    access: Arc<RwLock<Arc<Access>>>,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    let router = router(daemon, limits);
    let all = Arc::new(Semaphore::new(limits.connections));
    let users = PerUser::default();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        while tasks.try_join_next().is_some() {}
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, as a rule: those in use have to end first.
                tracing::warn!(%error, "no connection taken");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let credentials = match stream.peer_cred() {
            Ok(credentials) => credentials,
            Err(error) => {
                tracing::warn!(%error, "connection of nobody refused");
                continue;
            }
        };
        let peer = Peer {
            uid: credentials.uid(),
            gid: credentials.gid(),
            pid: credentials.pid(),
        };
        let too_many = |what: &str| Failure::new(ErrorCode::TooMany, format!("too many connections {what}"));
        let Ok(permit) = all.clone().try_acquire_owned() else {
            tasks.spawn(refuse(stream, too_many("to the daemon")));
            continue;
        };
        let Some(counted) = users.enter(peer.uid, limits.connections_per_user) else {
            tasks.spawn(refuse(stream, too_many("of this user")));
            continue;
        };
        let access = access.read().unwrap_or_else(PoisonError::into_inner).clone();
        let (router, stop) = (router.clone(), stop.clone());
        tasks.spawn(async move {
            let _held = (permit, counted);
            // The user database may ask the network.
            let admitted = tokio::task::spawn_blocking(move || access.admit(peer)).await;
            match admitted {
                Ok(Ok(caller)) => connection(stream, caller, router, limits, stop).await,
                Ok(Err(user)) => {
                    tracing::warn!(user, uid = peer.uid, pid = peer.pid, "user without a class refused");
                    let text =
                        format!("user `{user}` has no class here; ask for membership in one of the groups of nat64d");
                    refuse(stream, Failure::new(ErrorCode::Forbidden, text)).await;
                }
                Err(error) => tracing::error!(%error, "look-up of a user failed"),
            }
        });
    }
    let finish = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(Duration::from_secs(5), finish).await.is_err() {
        tracing::warn!(left = tasks.len(), "connections cut at the end");
    }
}

/// Serves a router on a network port until `stop` ends, with limits of its own: few connections, short heads.
pub async fn serve_tcp(listener: TcpListener, router: Router, stop: impl std::future::Future<Output = ()>) {
    let all = Arc::new(Semaphore::new(16));
    let mut tasks = tokio::task::JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut stop => return,
        };
        while tasks.try_join_next().is_some() {}
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        // Who comes when all places are taken is turned away by closing.
        let Ok(permit) = all.clone().try_acquire_owned() else {
            continue;
        };
        let router = router.clone();
        tasks.spawn(async move {
            let _permit = permit;
            let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| router.clone().oneshot(request));
            let connection = hyper::server::conn::http1::Builder::new()
                .max_buf_size(16 << 10)
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(30))
                .serve_connection(TokioIo::new(stream), service);
            let _ = tokio::time::timeout(Duration::from_secs(3600), connection).await;
        });
    }
}

/// Answers one request, whatever it is, and closes.
async fn refuse(stream: UnixStream, failure: Failure) {
    let response = Mutex::new(Some(failure.into_response()));
    let service = service_fn(|_| {
        let response = response.lock().unwrap_or_else(PoisonError::into_inner).take();
        async move { response.ok_or(std::fmt::Error) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(5))
        .serve_connection(TokioIo::new(stream), service);
    // A peer that hangs up or sends rubbish is not of interest here.
    let _ = tokio::time::timeout(Duration::from_secs(10), connection).await;
}

async fn connection(
    stream: UnixStream,
    caller: Caller,
    router: Router,
    limits: Limits,
    mut stop: watch::Receiver<bool>,
) {
    tracing::debug!(user = %caller.user, class = %caller.class, "connected");
    let caller = Arc::new(caller);
    let service = service_fn(|mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(caller.clone());
        router.clone().oneshot(request)
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .max_buf_size(limits.head.max(8 << 10))
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stopped(&mut stop) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(user = %caller.user, %error, "connection ended");
    }
}
