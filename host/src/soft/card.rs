//! The software card as a whole: its workers, started, asked and stopped.
//!
//! ```text
//!   SoftCard --ask(closure)--> worker 0: ports, Core | worker 1: ... |        a thread each
//!       |                         |                     |
//!       +---------- neighbours, pools: shared, locked when something is new ---+
//! ```
//!
//! A worker runs rounds: what it was asked, timers, up to [`port::BATCH`] frames of each port, what came of them; and
//! sleeps when a round found nothing.

use std::io;
use std::os::fd::AsFd;
use std::sync::mpsc::{channel, sync_channel, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nat64_driver::gateway::{check, nets, GatewayError};
use nat64_driver::GatewayConfig;
use nat64_layout::{Reason, PORTS};
use nat64_xlate::{Nat64, Time};

use super::core::{Core, Out, Tx};
use super::hops::SharedNeighbours;
use super::port::{Link, Port};
use super::sys::{self, Event};

/// How often timers of neighbours are looked at, and what the kernel lost.
const TICK: Duration = Duration::from_millis(100);

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

type Command = Box<dyn FnOnce(&mut Worker) + Send>;

/// Most threads.
pub const MAX_WORKERS: usize = 64;

/// A worker: its ports and its part of the gateway. Seen by closures given to [`SoftCard::ask`].
#[derive(Debug)]
pub struct Worker {
    core: Core,
    tx: Tx,
    ports: [Option<Port>; PORTS],
    number: usize,
    epoch: Instant,
    commands: Receiver<Command>,
    event: Arc<Event>,
    next_tick: Instant,
    refused: Vec<usize>,
    stop: bool,
}

impl std::fmt::Debug for SoftCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoftCard")
            .field("workers", &self.handles.len())
            .finish_non_exhaustive()
    }
}

impl Worker {
    /// What it translates with.
    pub fn core(&self) -> &Core {
        &self.core
    }

    /// The same, to change; frames that come of it go to [`Worker::tx`].
    pub fn core_mut(&mut self) -> (&mut Core, &mut Tx) {
        (&mut self.core, &mut self.tx)
    }

    /// Nanoseconds since the card was started.
    pub fn now(&self) -> Time {
        self.epoch.elapsed().as_nanos() as Time
    }

    /// Processor time the worker has used, the kernel's work for it included.
    pub fn processor_time(&self) -> Duration {
        sys::thread_time()
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.stop {
            let mut busy = false;
            self.core.begin();
            self.tx.clear();
            while let Ok(command) = self.commands.try_recv() {
                command(self);
                busy = true;
            }
            busy |= self.round()?;
            if !busy {
                self.sleep();
            }
        }
        Ok(())
    }

    /// One round; whether there was anything to do.
    fn round(&mut self) -> io::Result<bool> {
        let now = self.now();
        let mut busy = false;
        if self.core.next_deadline().is_some_and(|deadline| deadline <= now) {
            self.core.advance(now, &mut self.tx);
        }
        let instant = Instant::now();
        if instant >= self.next_tick {
            self.next_tick = instant + TICK;
            self.tick(now);
        }
        self.flush(None);
        for port in 0..PORTS {
            let Some(device) = &mut self.ports[port] else { continue };
            let count = device.fill()?;
            if count == 0 {
                continue;
            }
            busy = true;
            let Some(device) = &self.ports[port] else { continue };
            for index in 0..count {
                match device.frame(index) {
                    Some(received) => self.core.frame(now, port, index, &received, &mut self.tx),
                    None => self.core.count(Reason::BadOffload, 1),
                }
            }
            self.flush(Some(port));
            if let Some(device) = &mut self.ports[port] {
                device.release(count);
            }
        }
        Ok(busy)
    }

    /// Timers that need no hurry.
    fn tick(&mut self, now: Time) {
        if self.number == 0 {
            self.core.advance_neighbours(now, &mut self.tx);
        }
        self.count_lost();
    }

    /// Counts what the kernel lost since the last look.
    pub fn count_lost(&mut self) {
        let lost: u64 = self.ports.iter().flatten().map(Port::lost).sum();
        self.core.count(Reason::ReceiveRingFull, lost);
    }

    /// Sends what there is to send; third parts are in frames of `port`.
    fn flush(&mut self, port: Option<usize>) {
        if !self.tx.list.is_empty() {
            let received = port.and_then(|port| self.ports[port].as_ref());
            for (number, device) in self.ports.iter().enumerate() {
                let outs: Vec<&Out> = self.tx.list.iter().filter(|out| out.port == number).collect();
                if outs.is_empty() {
                    continue;
                }
                self.refused.clear();
                match device {
                    Some(device) => {
                        let frames: Vec<[&[u8]; 3]> = outs
                            .iter()
                            .map(|out| parts(out, &self.tx, &self.core, received))
                            .collect();
                        device.send(&frames, &mut self.refused);
                    }
                    None => self.refused.extend(0..outs.len()),
                }
                let packets = self.refused.iter().map(|&i| outs[i].packets).sum();
                self.core.count(Reason::SendRefused, packets);
            }
        }
        self.tx.clear();
        self.core.begin();
    }

    fn sleep(&mut self) {
        let deadline = self.core.next_deadline().unwrap_or(Time::MAX);
        let timer = Duration::from_nanos(deadline.saturating_sub(self.now()));
        let tick = self.next_tick.saturating_duration_since(Instant::now());
        let mut list: Vec<_> = self.ports.iter().flatten().map(AsFd::as_fd).collect();
        list.push(self.event.as_fd());
        // A deadline may be a lower bound that is found again; a pause keeps that from being a busy loop.
        let pause = timer.max(Duration::from_micros(50)).min(tick);
        if sys::wait(&list, Some(pause)) {
            self.event.clear();
        }
    }
}

/// Where the parts of a frame lie.
fn parts<'a>(out: &Out, tx: &'a Tx, core: &'a Core, received: Option<&'a Port>) -> [&'a [u8]; 3] {
    let tail = out.tail.as_ref().and_then(|(index, range)| {
        let frame = received?.frame(*index)?;
        frame.bytes.get(range.clone())
    });
    [
        &tx.heads[out.head.clone()],
        core.arena().bytes(&out.body),
        tail.unwrap_or_default(),
    ]
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
}

impl SoftCard {
    /// Opens the ports and starts the workers.
    ///
    /// # Errors
    /// [`SoftError`]; nothing runs then.
    pub fn start(options: SoftOptions, config: Arc<GatewayConfig>) -> Result<Self, SoftError> {
        if !(1..=MAX_WORKERS).contains(&options.workers) {
            return Err(SoftError::Workers(options.workers));
        }
        check(&config)?;
        check_ports(&options, &config)?;
        let shared = Arc::new(SharedNeighbours::new(nets(&config)));
        let epoch = Instant::now();
        let mut card = Self {
            handles: Vec::new(),
            shared: shared.clone(),
            config: config.clone(),
            options,
            epoch,
        };
        for number in 0..card.options.workers {
            let xlate = Nat64::new(config.xlate.clone(), card.options.seed).map_err(GatewayError::Translator)?;
            let core = Core::new(config.clone(), xlate, shared.clone(), card.options.seed ^ number as u64);
            let ports = card.open_ports()?;
            let handle = card.start_worker(number, core, ports)?;
            card.handles.push(handle);
        }
        Ok(card)
    }

    fn open_ports(&self) -> Result<[Option<Port>; PORTS], SoftError> {
        let mut ports = [const { None }; PORTS];
        for (number, link) in self.options.ports.iter().enumerate() {
            let Some(link) = link else { continue };
            // Groups are the machine's; the process and the port make ours.
            let group = (std::process::id() as u16).wrapping_mul(2).wrapping_add(number as u16);
            let port = Port::open(link, self.options.slots, self.options.workers, group);
            ports[number] = Some(port.map_err(|source| SoftError::Port {
                port: number,
                link: link.name().to_string(),
                source,
            })?);
        }
        Ok(ports)
    }

    fn start_worker(&self, number: usize, core: Core, ports: [Option<Port>; PORTS]) -> Result<Handle, SoftError> {
        let event = Arc::new(Event::new().map_err(SoftError::Start)?);
        let (commands, receiver) = channel();
        let mut worker = Worker {
            core,
            tx: Tx::default(),
            ports,
            number,
            epoch: self.epoch,
            commands: receiver,
            event: event.clone(),
            next_tick: Instant::now(),
            refused: Vec::new(),
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

    /// Nanoseconds since the start.
    pub fn now(&self) -> Time {
        self.epoch.elapsed().as_nanos() as Time
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
        let stopped = |handle: Option<&Handle>| {
            let why = handle.and_then(|h| h.why.lock().unwrap_or_else(PoisonError::into_inner).clone());
            SoftError::Stopped {
                worker,
                why: why.unwrap_or_else(|| "without a word".into()),
            }
        };
        let handle = self.handles.get(worker).ok_or_else(|| stopped(None))?;
        let command: Command = Box::new(move |worker| {
            // Nobody listens any more: then nobody misses it.
            let _ = answer.send(act(worker));
        });
        handle.commands.send(command).map_err(|_| stopped(Some(handle)))?;
        handle.event.set();
        wait.recv().map_err(|_| stopped(Some(handle)))
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

    /// Stops the workers and closes the ports.
    pub fn stop(&mut self) {
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

fn check_ports(options: &SoftOptions, config: &GatewayConfig) -> Result<(), SoftError> {
    for (unit, place) in config.units.iter().enumerate() {
        let port = usize::from(place.port);
        if options.ports.get(port).is_none_or(Option::is_none) {
            return Err(SoftError::NoPort { unit, port });
        }
    }
    Ok(())
}
