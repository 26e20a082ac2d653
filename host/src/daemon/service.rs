//! Starts everything in order, keeps it alive, stops it in order.
//!
//! ```text
//!  directory locked, configuration read --> cards taken --> configuration in force --> socket open --> READY
//!  stop: socket closed, streams ended, requests finished --> cards let go (they keep translating)
//! ```

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use axum::http::header;
use axum::response::IntoResponse;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::access::{Access, Who};
use super::cards::{CardSet, CardSetOptions, MakeOpener};
use super::configuration::Configuration;
use super::journal::LogBuffer;
use super::server::{self, Failure, Limits, SocketFile};
use super::{metrics, samples, stopped, syslog, Daemon};
use crate::api::Class;
use crate::config::{ApiClass, ApiWho, BuildOptions, Model};
use crate::store::{Disk, Engine, Opened, StoreError};

/// A card's thread that did not go round for so long is stuck, and the watchdog is not told that all is well.
const STUCK: Duration = Duration::from_secs(20);
/// How long cards may take before the configuration is put in force without those that are not there.
const SETTLE: Duration = Duration::from_secs(30);

/// How the daemon is run.
pub struct Options {
    /// Folder of the configuration and its rollbacks.
    pub folder: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
    /// Its mode. Everyone may connect as a rule: who may do what is decided by class.
    pub socket_mode: u32,
    /// Classes, beside those of the configuration.
    pub access: Access,
    /// Limits of the server.
    pub limits: Limits,
    /// Where metrics are served, beside the socket; the configuration may name another place.
    pub metrics: Option<SocketAddr>,
    /// The cards.
    pub cards: CardSetOptions,
}

/// Why the daemon does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The folder of the configuration.
    #[error("cannot use {path}: {source}", path = path.display())]
    Folder {
        /// Folder.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another daemon uses it.
    #[error("another nat64d uses {path}", path = path.display())]
    InUse {
        /// Folder.
        path: PathBuf,
    },
    /// Its files.
    #[error("the configuration cannot be read")]
    Store(#[from] StoreError),
    /// The socket.
    #[error("cannot listen at {path}: {source}", path = path.display())]
    Socket {
        /// Socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The address for metrics.
    #[error("cannot serve metrics at {address}: {source}")]
    Metrics {
        /// Address.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The system gives no thread.
    #[error("no thread: {0}")]
    Thread(io::Error),
}

/// The configuration of a folder, read and locked.
pub struct Stored {
    engine: Engine<Disk>,
    opened: Opened,
}

impl Stored {
    /// Opens the folder; no other process can until this is gone.
    ///
    /// # Errors
    /// [`StartError::Folder`], [`StartError::InUse`], [`StartError::Store`].
    pub fn open(folder: &std::path::Path) -> Result<Self, StartError> {
        let disk = Disk::open(folder).map_err(|source| match source.kind() {
            io::ErrorKind::WouldBlock => StartError::InUse { path: folder.into() },
            _ => StartError::Folder {
                path: folder.into(),
                source,
            },
        })?;
        let (engine, opened) = Engine::open(disk, BuildOptions::default())?;
        Ok(Self { engine, opened })
    }

    /// The active configuration as it will be in force, when it is right; for what has to be known before threads run.
    pub fn model(&self) -> Option<Model> {
        let model = crate::config::model(self.engine.active(), &BuildOptions::default());
        model.ok().map(|(model, _)| model)
    }
}

/// A daemon that runs.
pub struct Running {
    /// Its state.
    pub daemon: Arc<Daemon>,
    cards: Arc<CardSet>,
    stop: watch::Sender<bool>,
    tasks: JoinSet<()>,
    keeper: Option<std::thread::JoinHandle<()>>,
    _socket: SocketFile,
}

/// Classes of the command line and of the configuration together.
fn merged(base: &Access, model: &Model) -> Access {
    let mut access = base.clone();
    for member in &model.api.members {
        let class = match member.class {
            ApiClass::ReadOnly => Class::ReadOnly,
            ApiClass::Operator => Class::Operator,
            ApiClass::SuperUser => Class::SuperUser,
        };
        access.push(
            class,
            match &member.who {
                ApiWho::User(name) => Who::User(name.clone()),
                ApiWho::Group(name) => Who::Group(name.clone()),
            },
        );
    }
    access
}

impl Running {
    /// Starts a daemon. `make` makes the openers of cards; `None`: the real ones.
    ///
    /// # Errors
    /// [`StartError`]. A card or configuration that is refused is none: the daemon runs, and says so.
    pub async fn start(
        options: Options,
        stored: Stored,
        make: Option<MakeOpener>,
        log: LogBuffer,
    ) -> Result<Self, StartError> {
        let (stop, stopping) = watch::channel(false);
        let cards = match make {
            Some(make) => CardSet::start_with(options.cards, make),
            None => CardSet::start(options.cards),
        };
        let cards = Arc::new(cards.map_err(StartError::Thread)?);
        let configuration = Configuration::new(stored.engine, &stored.opened, cards.clone());
        let daemon = Arc::new(Daemon::new(cards.clone(), configuration, log, stopping.clone()));
        let starting = daemon.clone();
        let settled = cards.clone();
        let started = tokio::task::spawn_blocking(move || {
            settled.settle(SETTLE);
            if let Err(error) = starting.configuration.start() {
                tracing::error!(error = error.message, "the active configuration is not in force");
            }
        });
        if let Err(error) = started.await {
            tracing::error!(%error, "the active configuration is not in force");
        }

        let listener = server::listen(&options.socket, options.socket_mode).map_err(|source| StartError::Socket {
            path: options.socket.clone(),
            source,
        })?;
        let socket = SocketFile(options.socket.clone());
        let mut tasks = JoinSet::new();
        let access = Arc::new(RwLock::new(Arc::new(merged(
            &options.access,
            &daemon.models().borrow(),
        ))));
        tasks.spawn(follow_access(
            access.clone(),
            options.access,
            daemon.models(),
            stopping.clone(),
        ));
        tasks.spawn(server::serve(
            listener,
            daemon.clone(),
            access,
            options.limits,
            stopping.clone(),
        ));
        if let Some(address) = options.metrics {
            let bound = TcpListener::bind(address).await;
            let listener = bound.map_err(|source| StartError::Metrics { address, source })?;
            tasks.spawn(serve_metrics(listener, daemon.clone(), stopping.clone()));
        }
        tasks.spawn(follow_metrics(daemon.clone(), options.metrics, stopping.clone()));
        tasks.spawn(syslog::run(
            daemon.syslog.clone(),
            daemon.events(),
            daemon.models(),
            daemon.host_name.clone(),
            stopping.clone(),
        ));
        tasks.spawn(take_samples(daemon.clone(), stopping.clone()));
        let kept = daemon.clone();
        let keeper = std::thread::Builder::new()
            .name("commits".into())
            .spawn(move || kept.configuration.keep(&stopping))
            .map_err(StartError::Thread)?;
        tracing::info!(socket = %options.socket.display(), cards = cards.handles().len(), "running");
        Ok(Self {
            daemon,
            cards,
            stop,
            tasks,
            keeper: Some(keeper),
            _socket: socket,
        })
    }

    /// Whether every card's thread goes round.
    pub fn is_alive(&self) -> bool {
        let stuck = |card: &super::worker::CardHandle| {
            let silent = card.silent();
            if silent > STUCK {
                tracing::error!(card = %card.name, seconds = silent.as_secs(), "the card's thread is stuck");
            }
            silent > STUCK
        };
        // All are looked at, so that all are named.
        self.daemon.cards().iter().filter(|card| stuck(card)).count() == 0
    }

    /// Stops everything: no new requests, those under way are finished, then the cards are let go.
    pub async fn stop(mut self) {
        tracing::info!("stopping");
        self.stop.send_replace(true);
        self.daemon.configuration.wake();
        let finish = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(10), finish).await.is_err() {
            tracing::warn!("some tasks did not end");
            self.tasks.abort_all();
        }
        let (keeper, cards) = (self.keeper.take(), self.cards.clone());
        let ended = tokio::task::spawn_blocking(move || {
            if keeper.is_some_and(|keeper| keeper.join().is_err()) {
                tracing::error!("the thread of the commit engine panicked");
            }
            cards.stop();
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "the cards were not let go");
        }
        tracing::info!("stopped");
    }
}

/// The access rules change with the configuration.
async fn follow_access(
    access: Arc<RwLock<Arc<Access>>>,
    base: Access,
    mut models: watch::Receiver<Arc<Model>>,
    mut stop: watch::Receiver<bool>,
) {
    loop {
        let now = Arc::new(merged(&base, &models.borrow_and_update()));
        *access.write().unwrap_or_else(PoisonError::into_inner) = now;
        tokio::select! {
            changed = models.changed() => if changed.is_err() { return },
            () = stopped(&mut stop) => return,
        }
    }
}

async fn take_samples(daemon: Arc<Daemon>, mut stop: watch::Receiver<bool>) {
    let mut timer = tokio::time::interval(samples::INTERVAL);
    timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = timer.tick() => daemon.sample().await,
            () = stopped(&mut stop) => return,
        }
    }
}

/// Serves `/metrics` and nothing else, to anybody who can reach the address.
async fn serve_metrics(listener: TcpListener, daemon: Arc<Daemon>, mut stop: watch::Receiver<bool>) {
    let get = |axum::extract::State(daemon): axum::extract::State<Arc<Daemon>>| async move {
        let text = metrics::scrape(&daemon).await?;
        Ok::<_, Failure>(([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response())
    };
    let router = axum::Router::new()
        .route("/metrics", axum::routing::get(get))
        .with_state(daemon);
    server::serve_tcp(listener, router, async move {
        stopped(&mut stop).await;
    })
    .await;
}

/// The address for metrics changes with the configuration.
async fn follow_metrics(daemon: Arc<Daemon>, given: Option<SocketAddr>, mut stop: watch::Receiver<bool>) {
    let mut models = daemon.models();
    let mut serving: Option<(SocketAddr, watch::Sender<bool>)> = None;
    loop {
        let wanted = models
            .borrow_and_update()
            .metrics
            .filter(|address| Some(*address) != given);
        if wanted != serving.as_ref().map(|(address, _)| *address) {
            if let Some((_, stop)) = serving.take() {
                stop.send_replace(true);
            }
            if let Some(address) = wanted {
                match TcpListener::bind(address).await {
                    Ok(listener) => {
                        let (stop, stopping) = watch::channel(false);
                        tokio::spawn(serve_metrics(listener, daemon.clone(), stopping));
                        tracing::info!(%address, "metrics served");
                        serving = Some((address, stop));
                    }
                    Err(error) => tracing::error!(%address, %error, "metrics are not served"),
                }
            }
        }
        tokio::select! {
            changed = models.changed() => if changed.is_err() { break },
            () = stopped(&mut stop) => break,
        }
    }
    if let Some((_, stop)) = serving {
        stop.send_replace(true);
    }
}
