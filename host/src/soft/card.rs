//! The software card as a whole: its workers, started, asked and stopped.
//!
//! ```text
//!   SoftCard --ask(closure)--> worker 0: ports, Core | worker 1: ... |        a thread each
//!       |                         |                     |
//!       +---------- neighbours, pools: shared, locked when something is new ---+
//! ```

use std::io;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use nat64_driver::gateway::{check, nets, GatewayError};
use nat64_driver::GatewayConfig;
use nat64_layout::PORTS;
use nat64_xlate::{Config, Nat64, ReconfigureReport, Shard, Time};

use crate::config::{RouterAdvertisement, MAX_WORKERS};

use super::core::{Core, Handed, Sharing, Tx};
use super::hops::SharedNeighbours;
use super::log::Log;
use super::port::{Link, Port};
use super::steer::Directory;
use super::sys::{self, Event};
use super::worker::{Command, Peer, Rate, Worker};

/// Frames that wait for a worker that others hand them to.
const HANDED: usize = 1024;

/// What the card is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SoftOptions {
    /// The ports; one of them may be missing where all units are on the other.
    pub ports: [Option<Link>; PORTS],
    /// Threads.
    pub workers: usize,
    /// Frames the receive ring of a port holds, for each worker; each takes 64 KiB of memory.
    pub slots: usize,
    /// Decides the random choices.
    pub seed: u64,
}

impl SoftOptions {
    /// Whether every unit of a configuration is on a port that has an interface.
    ///
    /// # Errors
    /// [`SoftError::NoPort`].
    pub fn check_ports(&self, config: &GatewayConfig) -> Result<(), SoftError> {
        for (unit, place) in config.units.iter().enumerate() {
            let port = usize::from(place.port);
            if self.ports.get(port).is_none_or(Option::is_none) {
                return Err(SoftError::NoPort { unit, port });
            }
        }
        Ok(())
    }
}

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum SoftError {
    /// The configuration is refused.
    #[error(transparent)]
    Config(#[from] GatewayError),
    /// A port cannot be opened.
    #[error("port {port}: cannot open {link}: {source}")]
    Port {
        /// Number of the port.
        port: usize,
        /// Name of the interface.
        link: String,
        /// Why.
        source: io::Error,
    },
    /// A unit is on a port that has no interface.
    #[error("unit {unit} is on port {port}, which has no interface")]
    NoPort {
        /// Number of the unit.
        unit: usize,
        /// Number of the port.
        port: usize,
    },
    /// The number of workers cannot be.
    #[error("{0} workers: there must be 1 to 64")]
    Workers(usize),
    /// With several workers the subscriber prefix length decides who has which client.
    #[error("with several workers the shortest subscriber prefix length cannot change; restart for that")]
    SubscriberLength,
    /// A thread or descriptor could not be made.
    #[error("cannot start a worker")]
    Start(#[source] io::Error),
    /// A worker ended by itself.
    #[error("worker {worker} has stopped: {why}")]
    Stopped {
        /// Number of the worker.
        worker: usize,
        /// What it said.
        why: String,
    },
}

impl std::fmt::Debug for SoftCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoftCard")
            .field("workers", &self.handles.len())
            .finish_non_exhaustive()
    }
}

/// A worker seen from outside.
struct Handle {
    commands: Sender<Command>,
    event: Arc<Event>,
    thread: Option<JoinHandle<()>>,
    why: Arc<Mutex<Option<String>>>,
}

/// A running software card. Dropped, it stops.
pub struct SoftCard {
    handles: Vec<Handle>,
    shared: Arc<SharedNeighbours>,
    config: Arc<GatewayConfig>,
    options: SoftOptions,
    epoch: Instant,
    log: Arc<Log>,
    /// Where bindings are told: one, and while the configuration changes the old and the new one.
    directories: Arc<Mutex<Vec<Arc<Directory>>>>,
}

impl SoftCard {
    /// Opens the ports and starts the workers.
    ///
    /// # Errors
    /// [`SoftError`]; nothing runs then.
    pub fn start(options: SoftOptions, config: Arc<GatewayConfig>) -> Result<Self, SoftError> {
        if !(1..=MAX_WORKERS as usize).contains(&options.workers) {
            return Err(SoftError::Workers(options.workers));
        }
        check(&config)?;
        options.check_ports(&config)?;
        let shared = Arc::new(SharedNeighbours::new(nets(&config)));
        let epoch = Instant::now();
        let directory = Arc::new(Directory::new(&config));
        let mut card = Self {
            handles: Vec::new(),
            shared: shared.clone(),
            config: config.clone(),
            options,
            epoch,
            log: Arc::new(Log::new(Arc::new(Event::new().map_err(SoftError::Start)?))),
            directories: Arc::new(Mutex::new(vec![directory.clone()])),
        };
        let (mut peers, mut inboxes) = (Vec::new(), Vec::new());
        for _ in 0..card.options.workers {
            let (inbox, receiver) = sync_channel(HANDED);
            let event = Arc::new(Event::new().map_err(SoftError::Start)?);
            peers.push(Peer { inbox, event });
            inboxes.push(receiver);
        }
        let (mut cores, mut pools) = (Vec::new(), Vec::new());
        let groups = std::array::from_fn(|_| new_group());
        for number in 0..card.options.workers {
            let seed = card.options.seed.wrapping_add(number as u64);
            let (xlate, sharing) = if card.options.workers == 1 {
                (Nat64::new(config.xlate.clone(), seed), None)
            } else {
                let shard = card.shard(number, &config);
                let xlate = Nat64::new_shard(
                    share(&config.xlate, number, card.options.workers),
                    seed,
                    shard.clone(),
                    &pools,
                );
                (xlate, Some(Sharing::new(shard, directory.clone())))
            };
            let xlate = xlate.map_err(GatewayError::Translator)?;
            if number == 0 {
                pools = xlate.pool_handles();
            }
            let mut core = Core::new(config.clone(), xlate, shared.clone(), sharing, seed);
            core.join_datagrams(sys::takes_udp_segments());
            cores.push((core, card.open_ports(groups)?));
        }
        for (number, ((core, ports), inbox)) in cores.into_iter().zip(inboxes).enumerate() {
            let handle = card.start_worker(number, core, ports, inbox, &peers)?;
            card.handles.push(handle);
        }
        Ok(card)
    }

    fn shard(&self, number: usize, config: &GatewayConfig) -> Shard {
        let lengths = config.xlate.service_sets.iter().map(|set| set.subscriber_length);
        let length = lengths.min().unwrap_or(128);
        let directories = self.directories.clone();
        let seed = self.options.seed ^ 0x7368_6172_6473;
        Shard::new(number as u16, self.options.workers as u16, length, seed).announcing(Arc::new(
            move |protocol, pool| {
                let directories = directories.lock().unwrap_or_else(PoisonError::into_inner);
                for directory in directories.iter() {
                    directory.set(protocol, pool, number as u16);
                }
            },
        ))
    }

    /// Whether another configuration can be put in force; but for the translator's own checks.
    ///
    /// # Errors
    /// Why not.
    pub fn check_change(&self, config: &GatewayConfig) -> Result<(), SoftError> {
        check(config)?;
        self.options.check_ports(config)?;
        let length = |config: &GatewayConfig| config.xlate.service_sets.iter().map(|set| set.subscriber_length).min();
        if self.handles.len() > 1 && length(config).unwrap_or(128) != length(&self.config).unwrap_or(128) {
            return Err(SoftError::SubscriberLength);
        }
        Ok(())
    }

    /// Puts another configuration in force, worker by worker. Sessions it still allows live on.
    ///
    /// # Errors
    /// [`SoftError`]; a configuration that is refused changes nothing. With several workers the length of subscriber
    /// prefixes, which decides who has which client, cannot change.
    pub fn reconfigure(&mut self, config: Arc<GatewayConfig>) -> Result<ReconfigureReport, SoftError> {
        self.check_change(&config)?;
        let directory = Arc::new(Directory::new(&config));
        self.directories().push(directory.clone());
        let result = self.apply(&config, &directory);
        let keep = if result.is_ok() {
            directory
        } else {
            self.directories()[0].clone()
        };
        *self.directories() = vec![keep];
        if result.is_ok() {
            self.config = config;
        }
        result
    }

    /// What is advertised to the hosts of each unit from now on.
    ///
    /// # Errors
    /// [`SoftError::Stopped`].
    pub fn advertise(&self, told: Vec<Option<RouterAdvertisement>>) -> Result<(), SoftError> {
        let shared = self.shared.clone();
        self.ask(0, move |worker| {
            let now = worker.now();
            let units = shared.lock().units().to_vec();
            let (core, tx) = worker.core_mut();
            let frames = shared.advertiser().configure(now, told, &units, |unit| core.mtu(unit));
            core.advertise(frames, tx);
        })
    }

    fn directories(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Directory>>> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, config: &Arc<GatewayConfig>, directory: &Arc<Directory>) -> Result<ReconfigureReport, SoftError> {
        let workers = self.handles.len();
        let mut report = ReconfigureReport::default();
        let mut pools = Vec::new();
        let now = self.now();
        if workers > 1 {
            // Whoever has a port that becomes a static binding's, gives it up before anybody reserves it.
            let ports: Vec<_> = (config.xlate.service_sets.iter())
                .flat_map(|set| set.static_bindings.iter().map(|b| (b.protocol, b.outside)))
                .collect();
            if !ports.is_empty() {
                self.ask_all(move |worker| {
                    let (core, tx) = worker.core_mut();
                    core.with_translator(now, tx, |xlate, effects| {
                        xlate.clear_bibs(|bib| ports.contains(&(bib.protocol, bib.pool)), now, effects)
                    })
                })?;
            }
        }
        for number in 0..workers {
            let shared = if workers == 1 {
                config.xlate.clone()
            } else {
                share(&config.xlate, number, workers)
            };
            let (given, all, directory) = (pools.clone(), config.clone(), directory.clone());
            let result = self.ask(number, move |worker| {
                let (core, tx) = worker.core_mut();
                let result = core.with_translator(now, tx, |xlate, effects| {
                    let result = xlate.reconfigure_shard(now, shared, &given, effects);
                    result.map(|report| (report, xlate.pool_handles()))
                });
                if result.is_ok() {
                    core.set_config(all, directory);
                }
                result
            })?;
            let (part, handles) = result.map_err(GatewayError::Translator)?;
            if number == 0 {
                pools = handles;
                let mut out = nat64_driver::neigh::Output::default();
                self.shared.lock().reconfigure(nets(config), &mut out);
                self.shared.forget();
                self.count(out.drops)?;
            }
            report.sessions_kept += part.sessions_kept;
            report.sessions_removed += part.sessions_removed;
            report.bibs_removed += part.bibs_removed;
            report.stored_syns_removed += part.stored_syns_removed;
        }
        Ok(report)
    }

    fn open_ports(&self, groups: [u16; PORTS]) -> Result<[Option<Port>; PORTS], SoftError> {
        let mut ports = [const { None }; PORTS];
        for (number, (port, group)) in ports.iter_mut().zip(groups).enumerate() {
            *port = self.open_port(number, group)?;
        }
        Ok(ports)
    }

    fn open_port(&self, number: usize, group: u16) -> Result<Option<Port>, SoftError> {
        let Some(link) = self.options.ports.get(number).and_then(Option::as_ref) else {
            return Ok(None);
        };
        let port = Port::open(link, self.options.slots, self.options.workers, group);
        Ok(Some(port.map_err(|source| SoftError::Port {
            port: number,
            link: link.name().to_string(),
            source,
        })?))
    }

    fn start_worker(
        &self,
        number: usize,
        core: Core,
        ports: [Option<Port>; PORTS],
        inbox: Receiver<Handed>,
        peers: &[Peer],
    ) -> Result<Handle, SoftError> {
        let event = peers[number].event.clone();
        let (commands, receiver) = channel();
        let mut worker = Worker {
            core,
            tx: Tx::default(),
            ports,
            number,
            epoch: self.epoch,
            commands: receiver,
            event: event.clone(),
            inbox,
            others: peers.to_vec(),
            next_tick: Instant::now(),
            refused: Vec::new(),
            rate: Rate::new(Instant::now()),
            log: self.log.clone(),
            stop: false,
        };
        let why = Arc::new(Mutex::new(None));
        let told = why.clone();
        let thread = std::thread::Builder::new()
            .name(format!("nat64-worker-{number}"))
            .spawn(move || {
                if let Err(error) = worker.run() {
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
                }
            })
            .map_err(SoftError::Start)?;
        Ok(Handle {
            commands,
            event,
            thread: Some(thread),
            why,
        })
    }

    /// Counts packets that ended while they waited for a neighbour.
    fn count(&self, ended: Vec<nat64_layout::Reason>) -> Result<(), SoftError> {
        self.ask(0, move |worker| {
            ended.iter().for_each(|&reason| worker.core.count(reason, 1));
        })
    }

    /// Workers.
    pub fn workers(&self) -> usize {
        self.handles.len()
    }

    /// The configuration in force.
    pub fn config(&self) -> &Arc<GatewayConfig> {
        &self.config
    }

    /// What it is made of.
    pub fn options(&self) -> &SoftOptions {
        &self.options
    }

    /// The neighbours.
    pub fn neighbours(&self) -> &SharedNeighbours {
        &self.shared
    }

    /// What the workers tell.
    pub fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Opens a port anew, for every worker: its interface went, and another one of its name is there.
    ///
    /// # Errors
    /// [`SoftError::Port`]: the workers go on as they were. [`SoftError::Stopped`].
    pub fn reopen_port(&self, number: usize) -> Result<(), SoftError> {
        let group = new_group();
        for worker in 0..self.handles.len() {
            if let Some(port) = self.open_port(number, group)? {
                self.ask(worker, move |worker| worker.replace_port(number, port))?;
            }
        }
        let mut out = nat64_driver::neigh::Output::default();
        self.shared.lock().forget_port(number, &mut out);
        self.shared.forget();
        self.count(out.drops)
    }

    /// Nanoseconds since the start.
    pub fn now(&self) -> Time {
        self.epoch.elapsed().as_nanos() as Time
    }

    /// Whether all workers run.
    ///
    /// # Errors
    /// [`SoftError::Stopped`].
    pub fn check(&self) -> Result<(), SoftError> {
        let ended = |handle: &Handle| handle.thread.as_ref().is_none_or(JoinHandle::is_finished);
        match self.handles.iter().position(ended) {
            Some(worker) => Err(self.stopped(worker)),
            None => Ok(()),
        }
    }

    fn stopped(&self, worker: usize) -> SoftError {
        let handle = self.handles.get(worker);
        let why = handle.and_then(|h| h.why.lock().unwrap_or_else(PoisonError::into_inner).clone());
        SoftError::Stopped {
            worker,
            why: why.unwrap_or_else(|| "without a word".into()),
        }
    }

    /// Has a worker do something between two rounds, and waits for it.
    ///
    /// # Errors
    /// [`SoftError::Stopped`].
    pub fn ask<T: Send + 'static>(
        &self,
        worker: usize,
        act: impl FnOnce(&mut Worker) -> T + Send + 'static,
    ) -> Result<T, SoftError> {
        let (answer, wait) = sync_channel(1);
        let handle = self.handles.get(worker).ok_or_else(|| self.stopped(worker))?;
        let command: Command = Box::new(move |worker| {
            // Nobody listens any more: then nobody misses it.
            let _ = answer.send(act(worker));
        });
        handle.commands.send(command).map_err(|_| self.stopped(worker))?;
        handle.event.set();
        wait.recv().map_err(|_| self.stopped(worker))
    }

    /// Has every worker do something, one after the other, and collects what they say.
    ///
    /// # Errors
    /// [`SoftError::Stopped`].
    pub fn ask_all<T: Send + 'static>(
        &self,
        act: impl Fn(&mut Worker) -> T + Clone + Send + 'static,
    ) -> Result<Vec<T>, SoftError> {
        (0..self.handles.len())
            .map(|worker| self.ask(worker, act.clone()))
            .collect()
    }

    /// Stops the workers and closes the ports; hosts are told that their router goes.
    pub fn stop(&mut self) {
        // One that has stopped already tells nobody anything.
        let _ = self.advertise(Vec::new());
        for handle in &mut self.handles {
            // One that has stopped already does not listen.
            let _ = handle.commands.send(Box::new(|worker| worker.stop = true));
            handle.event.set();
        }
        for handle in &mut self.handles {
            if let Some(thread) = handle.thread.take() {
                // Its panic was shown when it happened.
                let _ = thread.join();
            }
        }
        self.handles.clear();
    }
}

impl Drop for SoftCard {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A number for the sockets of a port, which share its traffic. Such numbers are the machine's: that of the process keeps
/// ours apart from others', and each of ours is another.
fn new_group() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    (std::process::id() as u16)
        .wrapping_mul(31)
        .wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A worker's share of a configuration: what counts over all clients is divided, the first workers get what remains.
fn share(config: &Config, number: usize, workers: usize) -> Config {
    let mut config = config.clone();
    let part = |all: u32| {
        let (all, number, workers) = (all as usize, number, workers);
        // At least one: a limit of zero would shut a worker's clients out.
        ((all / workers + usize::from(number < all % workers)) as u32).max(1)
    };
    let limits = &mut config.limits;
    limits.sessions = part(limits.sessions);
    limits.bibs = part(limits.bibs);
    limits.stored_syns = part(limits.stored_syns);
    limits.embryonic = limits.embryonic.map(part);
    limits.fragment_bytes /= workers;
    limits.icmp_errors_per_second = part(limits.icmp_errors_per_second);
    for set in &mut config.service_sets {
        set.max_sessions = set.max_sessions.map(part);
        set.max_setup_rate = set.max_setup_rate.map(part);
    }
    config
}
