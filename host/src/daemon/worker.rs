//! One thread per card: it owns the [`Dataplane`], does its packet work, and runs the control plane's questions
//! between.
//!
//! ```text
//!   Opener::open --> [ work ... work | one question | work ... | wait ] --fault--> closed, state kept --> open again
//!                        ^ events out             ^ bounded queue
//! ```
//!
//! * A question is a closure that runs on this thread; it must be short (one slice of a listing). How long the longest
//!   one held up packet work is measured and shown ([`Load::longest_hold`]).
//! * After each question there is at least one round of packet work, so that no number of clients stops the packets.
//! * Without work the thread spins for a while, then sleeps: longer and longer, up to [`Sleep::longest`], or until
//!   the card interrupts or a question comes.
//! * A card that fails under a gateway with sessions is the dataplane's affair ([`Dataplane::trouble`]): it goes on and
//!   opens the card again. When the dataplane itself fails the thread says so, lets go of it and tries to open it again,
//!   with the configuration that was in force.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use nat64_driver::GatewayConfig;
use nat64_xlate::Event;
use tokio::sync::{broadcast, mpsc, oneshot};

use super::dataplane::{CardConfig, Dataplane, DataplaneError, Identity, Work};
use crate::api::card::{CardKind, CardState};
use crate::api::{ErrorBody, ErrorCode};

/// Questions that wait; more are made to wait where they are asked.
const QUEUE: usize = 64;
/// Rounds without work before the thread sleeps.
const SPINS: u32 = 200;
/// First pause before a card is opened again; it doubles up to [`REOPEN_LONGEST`].
const REOPEN_FIRST: Duration = Duration::from_secs(1);
const REOPEN_LONGEST: Duration = Duration::from_secs(30);

/// How long those wait for a card who look at several.
pub const PATIENCE: Duration = Duration::from_secs(1);

/// Fault of a card whose thread has not tried to open it yet.
pub const NOT_OPENED: &str = "not opened yet";

/// How the thread sleeps without work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sleep {
    /// Never: looks for work all the time (a core is used up; lowest latency).
    pub busy_poll: bool,
    /// Longest sleep, while nothing interrupts it.
    pub longest: Duration,
}

impl Default for Sleep {
    fn default() -> Self {
        Self {
            busy_poll: false,
            longest: Duration::from_millis(5),
        }
    }
}

/// Makes the dataplane of a card, again after a fault.
pub trait Opener: Send {
    /// Opens the card. `config` is the configuration to put in force at once, none before the first commit.
    ///
    /// # Errors
    /// Why not; the card is tried again.
    fn open(&mut self, config: Option<Arc<CardConfig>>) -> Result<Box<dyn Dataplane>, DataplaneError>;
}

/// Events of one moment, with the configuration their numbers belong to.
#[derive(Clone, Debug)]
pub struct EventBatch {
    /// Card.
    pub card: Arc<str>,
    /// Configuration.
    pub config: Arc<GatewayConfig>,
    /// When.
    pub time: SystemTime,
    /// The events.
    pub events: Arc<[Event]>,
    /// Events that were lost before these.
    pub lost: u64,
}

/// How busy a card's thread is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Load {
    /// Part of the last second that was work or questions, 0 to 1.
    pub busy: f64,
    /// Longest question so far.
    pub longest_hold: Duration,
    /// Questions so far.
    pub questions: u64,
}

/// State of a card, for everyone.
#[derive(Clone, Debug)]
pub struct Status {
    /// State.
    pub state: CardState,
    /// What is wrong, in [`CardState::Fault`].
    pub fault: Option<String>,
    /// Since when the card is taken.
    pub since: SystemTime,
    /// What it is.
    pub identity: Identity,
    /// Times the card was opened.
    pub opened: u64,
}

struct Shared {
    status: Mutex<Status>,
    waker: Mutex<Option<Arc<dyn Fn() + Send + Sync>>>,
    busy_permille: AtomicU64,
    longest_hold_ns: AtomicU64,
    questions: AtomicU64,
    heartbeat: AtomicU64,
    started: Instant,
}

/// A poisoned lock only means that a holder panicked; these values are whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

type Question = Box<dyn FnOnce(&mut Runner) + Send>;

/// A card, as the control plane sees it. Clones are handles of the same card.
#[derive(Clone)]
pub struct CardHandle {
    /// Name.
    pub name: Arc<str>,
    /// Kind.
    pub kind: CardKind,
    /// As given.
    pub location: Arc<str>,
    questions: mpsc::Sender<Question>,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for CardHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CardHandle").field("name", &self.name).finish()
    }
}

impl From<DataplaneError> for ErrorBody {
    fn from(error: DataplaneError) -> Self {
        let code = match &error {
            DataplaneError::Refused(_) => ErrorCode::CardRefused,
            DataplaneError::NotFound { .. } => ErrorCode::NotFound,
            DataplaneError::Unsupported(_) => ErrorCode::Unsupported,
            DataplaneError::Fault(_) => ErrorCode::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}

impl CardHandle {
    /// Runs `f` on the card's thread, between two rounds of packet work.
    ///
    /// # Errors
    /// [`DataplaneError::Fault`] while the card is not open, else those of `f`.
    pub async fn ask<R, F>(&self, f: F) -> Result<R, DataplaneError>
    where
        R: Send + 'static,
        F: FnOnce(&mut dyn Dataplane) -> Result<R, DataplaneError> + Send + 'static,
    {
        let (answer, wait) = oneshot::channel();
        let question: Question = Box::new(move |runner| {
            let result = runner.with(f);
            // Nobody waits any more: the answer is of no use.
            let _ = answer.send(result);
        });
        let gone = || DataplaneError::Fault("the card's thread has ended".into());
        self.questions.send(question).await.map_err(|_| gone())?;
        self.wake();
        wait.await.map_err(|_| gone())?
    }

    /// As [`CardHandle::ask`], for those who look at several cards: one that is slow is passed over after [`PATIENCE`]. The
    /// question may still run then; let it be one that changes nothing.
    ///
    /// # Errors
    /// As [`CardHandle::ask`]; [`DataplaneError::Fault`] when there was no answer.
    pub async fn look<R, F>(&self, f: F) -> Result<R, DataplaneError>
    where
        R: Send + 'static,
        F: FnOnce(&mut dyn Dataplane) -> Result<R, DataplaneError> + Send + 'static,
    {
        match tokio::time::timeout(PATIENCE, self.ask(f)).await {
            Ok(answer) => answer,
            Err(_) => Err(DataplaneError::Fault(format!(
                "no answer within {} s: its thread has been busy for {:.1} s",
                PATIENCE.as_secs(),
                self.silent().as_secs_f64()
            ))),
        }
    }

    /// As [`CardHandle::ask`], from a thread that may block.
    ///
    /// # Errors
    /// As [`CardHandle::ask`].
    pub fn ask_blocking<R, F>(&self, f: F) -> Result<R, DataplaneError>
    where
        R: Send + 'static,
        F: FnOnce(&mut dyn Dataplane) -> Result<R, DataplaneError> + Send + 'static,
    {
        let (answer, wait) = std::sync::mpsc::sync_channel(1);
        let question: Question = Box::new(move |runner| {
            let _ = answer.send(runner.with(f));
        });
        let gone = || DataplaneError::Fault("the card's thread has ended".into());
        self.questions.blocking_send(question).map_err(|_| gone())?;
        self.wake();
        wait.recv().map_err(|_| gone())?
    }

    fn wake(&self) {
        let waker = lock(&self.shared.waker).clone();
        if let Some(waker) = waker {
            waker();
        }
    }

    /// Notes the configuration to put in force when the card can be opened again; for a card in fault.
    ///
    /// # Errors
    /// The card's thread has ended.
    pub fn keep_blocking(&self, config: Arc<CardConfig>) -> Result<(), DataplaneError> {
        let question: Question = Box::new(move |runner| runner.config = Some(config));
        let gone = |_| DataplaneError::Fault("the card's thread has ended".into());
        self.questions.blocking_send(question).map_err(gone)
    }

    /// Its state.
    pub fn status(&self) -> Status {
        lock(&self.shared.status).clone()
    }

    /// How busy its thread is.
    pub fn load(&self) -> Load {
        Load {
            busy: self.shared.busy_permille.load(Ordering::Relaxed) as f64 / 1000.0,
            longest_hold: Duration::from_nanos(self.shared.longest_hold_ns.load(Ordering::Relaxed)),
            questions: self.shared.questions.load(Ordering::Relaxed),
        }
    }

    /// How long ago the thread last went round; the watchdog asks.
    pub fn silent(&self) -> Duration {
        let beat = Duration::from_nanos(self.shared.heartbeat.load(Ordering::Relaxed));
        self.shared.started.elapsed().saturating_sub(beat)
    }
}

/// A card's thread.
pub struct Worker {
    thread: Option<JoinHandle<()>>,
    handle: CardHandle,
}

impl Worker {
    /// Starts the thread of a card. It opens the card, then opens it again whenever it failed, until it is told to
    /// stop. The first configuration in force is `config`. Its events go to `events` while anybody listens there.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(
        name: &str,
        kind: CardKind,
        location: &str,
        opener: Box<dyn Opener>,
        config: Option<Arc<CardConfig>>,
        sleep: Sleep,
        events: broadcast::Sender<EventBatch>,
    ) -> std::io::Result<Self> {
        let (questions, queue) = mpsc::channel(QUEUE);
        let shared = Arc::new(Shared {
            status: Mutex::new(Status {
                state: CardState::Fault,
                fault: Some(NOT_OPENED.into()),
                since: SystemTime::now(),
                identity: Identity::default(),
                opened: 0,
            }),
            waker: Mutex::new(None),
            busy_permille: AtomicU64::new(0),
            longest_hold_ns: AtomicU64::new(0),
            questions: AtomicU64::new(0),
            heartbeat: AtomicU64::new(0),
            started: Instant::now(),
        });
        let handle = CardHandle {
            name: name.into(),
            kind,
            location: location.into(),
            questions,
            shared: shared.clone(),
        };
        let runner = Runner {
            name: handle.name.clone(),
            dataplane: None,
            opener,
            config,
            queue,
            events,
            shared,
            sleep,
            stop: false,
            fault: None,
            trouble: None,
            reopen: REOPEN_FIRST,
            scratch: Vec::new(),
            lost: 0,
        };
        let thread = std::thread::Builder::new()
            .name(format!("card-{name}"))
            .spawn(move || runner.run())?;
        Ok(Self {
            thread: Some(thread),
            handle,
        })
    }

    /// The card.
    pub fn handle(&self) -> &CardHandle {
        &self.handle
    }

    /// Lets the card go, its sessions in it, and waits for the thread.
    pub fn stop(&mut self) {
        let Some(thread) = self.thread.take() else { return };
        let (done, wait) = std::sync::mpsc::sync_channel(1);
        let question: Question = Box::new(move |runner| {
            runner.stop = true;
            let _ = done.send(());
        });
        if self.handle.questions.blocking_send(question).is_ok() {
            self.handle.wake();
            let _ = wait.recv();
        }
        if thread.join().is_err() {
            tracing::error!(card = %self.handle.name, "the card's thread panicked");
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        // Outside of a runtime only; within one `stop` was called on a thread that may block.
        if self.thread.is_some() && tokio::runtime::Handle::try_current().is_err() {
            self.stop();
        }
    }
}

/// What runs on the thread.
struct Runner {
    name: Arc<str>,
    dataplane: Option<Box<dyn Dataplane>>,
    opener: Box<dyn Opener>,
    config: Option<Arc<CardConfig>>,
    queue: mpsc::Receiver<Question>,
    events: broadcast::Sender<EventBatch>,
    shared: Arc<Shared>,
    sleep: Sleep,
    stop: bool,
    fault: Option<String>,
    trouble: Option<Arc<str>>,
    reopen: Duration,
    scratch: Vec<Event>,
    lost: u64,
}

impl Runner {
    fn run(mut self) {
        while !self.stop {
            if self.dataplane.is_none() {
                self.open();
            }
            if self.dataplane.is_some() {
                self.serve();
            } else {
                self.pause();
            }
        }
        if let Some(mut dataplane) = self.dataplane.take() {
            if let Err(error) = dataplane.shut_down() {
                tracing::warn!(card = %self.name, %error, "the card did not stop cleanly");
            }
        }
    }

    fn open(&mut self) {
        self.beat();
        match self.opener.open(self.config.clone()) {
            Ok(mut dataplane) => {
                let identity = dataplane.identity();
                *lock(&self.shared.waker) = dataplane.waker();
                let mut status = lock(&self.shared.status);
                status.state = if dataplane.config().is_some() {
                    CardState::Online
                } else {
                    CardState::Idle
                };
                status.fault = None;
                status.since = SystemTime::now();
                status.opened += 1;
                if let Ok(identity) = identity {
                    status.identity = identity;
                }
                let adopted = status.identity.adopted;
                drop(status);
                tracing::info!(card = %self.name, adopted, "card taken");
                self.dataplane = Some(dataplane);
                self.reopen = REOPEN_FIRST;
            }
            Err(error) => self.failed(&error.to_string()),
        }
        self.beat();
    }

    fn failed(&mut self, fault: &str) {
        let mut status = lock(&self.shared.status);
        let again = status.state == CardState::Fault && status.fault.as_deref() == Some(fault);
        status.state = CardState::Fault;
        status.fault = Some(fault.to_owned());
        drop(status);
        if !again {
            tracing::error!(card = %self.name, fault, "card not usable; it is tried again");
        }
        *lock(&self.shared.waker) = None;
        self.trouble = None;
        self.dataplane = None;
    }

    /// Without a card: answers questions (with the fault) until it is time to try again.
    fn pause(&mut self) {
        let until = Instant::now() + self.reopen;
        self.reopen = (self.reopen * 2).min(REOPEN_LONGEST);
        while !self.stop && Instant::now() < until {
            match self.queue.try_recv() {
                Ok(question) => question(self),
                Err(mpsc::error::TryRecvError::Empty) => std::thread::sleep(Duration::from_millis(5)),
                Err(mpsc::error::TryRecvError::Disconnected) => self.stop = true,
            }
            self.beat();
        }
    }

    /// Packet work and questions until the card fails or all is over.
    fn serve(&mut self) {
        let mut idle = 0u32;
        let mut load = LoadMeter::new();
        while !self.stop {
            let begin = Instant::now();
            let worked = match self.dataplane.as_mut().map(|dataplane| dataplane.work()) {
                Some(Ok(work)) => work == Work::Busy,
                Some(Err(error)) => return self.failed(&error.to_string()),
                None => return,
            };
            self.publish();
            self.tell_trouble();
            let asked = match self.queue.try_recv() {
                Ok(question) => {
                    let start = Instant::now();
                    question(self);
                    let held = start.elapsed().as_nanos() as u64;
                    self.shared.longest_hold_ns.fetch_max(held, Ordering::Relaxed);
                    self.shared.questions.fetch_add(1, Ordering::Relaxed);
                    true
                }
                Err(mpsc::error::TryRecvError::Empty) => false,
                Err(mpsc::error::TryRecvError::Disconnected) => {
                    self.stop = true;
                    false
                }
            };
            if let Some(fault) = self.fault.take() {
                return self.failed(&fault);
            }
            let end = Instant::now();
            self.beat();
            if worked || asked {
                load.busy(begin, end);
                idle = 0;
            } else {
                idle = idle.saturating_add(1);
            }
            if let Some(permille) = load.lapse(end) {
                self.shared.busy_permille.store(permille, Ordering::Relaxed);
            }
            if idle > SPINS && !self.sleep.busy_poll && !self.stop {
                // 64 us, then twice as long with each round without work.
                let step = Duration::from_micros(64 << ((idle - SPINS) / 4).min(16));
                let timeout = step.min(self.sleep.longest);
                let waited = self.dataplane.as_mut().map(|dataplane| dataplane.wait(timeout));
                if let Some(Err(error)) = waited {
                    return self.failed(&error.to_string());
                }
            } else if idle > 0 {
                std::hint::spin_loop();
            }
        }
    }

    /// Tells everyone of a card that is away while its gateway goes on, and that it is back.
    fn tell_trouble(&mut self) {
        let Some(dataplane) = &mut self.dataplane else { return };
        let trouble = dataplane.trouble();
        if trouble == self.trouble {
            return;
        }
        let identity = dataplane.identity();
        let mut status = lock(&self.shared.status);
        status.fault = trouble.as_deref().map(str::to_owned);
        status.state = match trouble {
            Some(_) => CardState::Fault,
            None => CardState::Online,
        };
        if trouble.is_none() {
            status.since = SystemTime::now();
            status.opened += 1;
            if let Ok(identity) = identity {
                status.identity = identity;
            }
        }
        drop(status);
        self.trouble = trouble;
    }

    fn beat(&self) {
        let at = self.shared.started.elapsed().as_nanos() as u64;
        self.shared.heartbeat.store(at, Ordering::Relaxed);
    }

    /// Hands the events of the dataplane to whoever listens.
    fn publish(&mut self) {
        let Some(dataplane) = &mut self.dataplane else { return };
        self.lost += dataplane.take_events(&mut self.scratch);
        if self.scratch.is_empty() && self.lost == 0 {
            return;
        }
        if let Some(config) = dataplane.config().filter(|_| self.events.receiver_count() > 0) {
            let batch = EventBatch {
                card: self.name.clone(),
                config,
                time: SystemTime::now(),
                events: self.scratch.as_slice().into(),
                lost: self.lost,
            };
            // An error means that the last listener just left.
            let _ = self.events.send(batch);
        }
        self.lost = 0;
        self.scratch.clear();
    }

    /// Runs a question, and notes a fault it met and the configuration it put in force.
    fn with<R>(
        &mut self,
        f: impl FnOnce(&mut dyn Dataplane) -> Result<R, DataplaneError>,
    ) -> Result<R, DataplaneError> {
        let Some(dataplane) = &mut self.dataplane else {
            let fault = lock(&self.shared.status).fault.clone();
            return Err(DataplaneError::Fault(
                fault.unwrap_or_else(|| "the card is not open".into()),
            ));
        };
        let result = f(dataplane.as_mut());
        if let Err(DataplaneError::Fault(fault)) = &result {
            self.fault = Some(fault.clone());
        }
        if let Some(config) = dataplane.in_force() {
            self.config = Some(config);
            let mut status = lock(&self.shared.status);
            if status.state == CardState::Idle {
                status.state = CardState::Online;
            }
        }
        result
    }
}

/// Measures the busy part of each second.
struct LoadMeter {
    begin: Instant,
    busy: Duration,
}

impl LoadMeter {
    fn new() -> Self {
        Self {
            begin: Instant::now(),
            busy: Duration::ZERO,
        }
    }

    fn busy(&mut self, from: Instant, to: Instant) {
        self.busy += to - from;
    }

    /// Every second the busy part of it, in thousandths.
    fn lapse(&mut self, now: Instant) -> Option<u64> {
        let whole = now - self.begin;
        if whole < Duration::from_secs(1) {
            return None;
        }
        let permille = (self.busy.as_nanos() * 1000 / whole.as_nanos()).min(1000) as u64;
        self.begin = now;
        self.busy = Duration::ZERO;
        Some(permille)
    }
}
