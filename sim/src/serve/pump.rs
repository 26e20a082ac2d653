//! The thread that keeps the served card going: everything that happens to the card passes through here, in order.
//!
//! ```text
//!   socket: BAR accesses, config changes --\            +------+---> eventfds
//!   ports: frames --------------------------+--queue--> | pump |---> frames out of ports
//!   wall clock -----------------------------/            +------+---> TLP log
//! ```
//!
//! Writes are posted: whoever writes does not wait for the card, only for room in the queue. A read waits for its answer,
//! and everything before it in the queue is done first. The card works on between accesses, as a real one does; so a
//! driver that counts on a write having taken effect fails here too.

use std::fs::File;
use std::io::Write;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nat64_driver::HostMemory;
use nat64_layout::{pci, Bar, PORTS};

use super::port::Port;
use super::space::Change;
use crate::engine::EngineError;
use crate::tlp::{Function, PciCard};

/// Accesses and frames that wait for the card at most.
const QUEUE: usize = 1024;
/// Clocks between two looks at the queue: few, so that a read does not wait long on a slow engine.
const CLOCKS: u64 = 128;
/// How long an idle card is left alone before its clock is set again.
const IDLE: Duration = Duration::from_millis(20);

/// Something that happens to the card.
pub enum Event {
    /// A read of a BAR and who waits for it.
    Read(Bar, u64, usize, Sender<Result<Vec<u8>, EngineError>>),
    /// A posted write to a BAR.
    Write(Bar, u64, Vec<u8>),
    /// A change of configuration space, [`Change::Reset`] not among them, and who waits for it: such writes are not posted.
    Change(Change, Sender<Result<(), EngineError>>),
    /// A vector's eventfd, or that it has none any more.
    Vector(u16, Option<File>),
    /// Raises a vector as if the card had (VFIO_IRQ_SET_DATA_NONE).
    Trigger(u16),
    /// A function-level reset, and who waits for its end.
    Reset(Sender<Result<(), EngineError>>),
    /// A frame arrives at a port.
    Frame(u8, Vec<u8>),
    /// What was done so far, and who asks.
    Stats(Sender<Stats>),
    /// The end.
    Stop,
}

/// What the card did since it was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Reads of BARs.
    pub reads: u64,
    /// Writes to BARs, in messages.
    pub writes: u64,
    /// Interrupts delivered.
    pub interrupts: u64,
    /// Interrupts for which no eventfd was set.
    pub unheard: u64,
    /// DMA accesses that were refused.
    pub faults: u64,
    /// Frames in, by port.
    pub frames_in: [u64; PORTS],
    /// Frames out, by port.
    pub frames_out: [u64; PORTS],
    /// Frames out that the port's peer did not take.
    pub frames_lost: [u64; PORTS],
    /// Function-level resets.
    pub resets: u64,
    /// Clocks simulated.
    pub clocks: u64,
}

/// Handle of the pump.
pub struct Pump {
    events: SyncSender<Event>,
    thread: Option<JoinHandle<()>>,
}

/// How others hand events to the pump.
#[derive(Clone)]
pub struct Inlet(SyncSender<Event>);

impl Inlet {
    /// Hands an event over, waiting for room; false when the card has ended.
    pub fn send(&self, event: Event) -> bool {
        self.0.send(event).is_ok()
    }

    /// Sends an event that is answered, and waits for the answer.
    ///
    /// # Errors
    /// What the card said, or that it has ended.
    pub fn ask<T>(&self, event: impl FnOnce(Sender<Result<T, EngineError>>) -> Event) -> Result<T, EngineError> {
        let (sender, answer) = std::sync::mpsc::channel();
        let ended = || EngineError::Stopped {
            reason: "the server is ending".into(),
        };
        if !self.send(event(sender)) {
            return Err(ended());
        }
        answer.recv().map_err(|_| ended())?
    }
}

struct State {
    card: PciCard,
    memory: HostMemory,
    ports: Vec<Port>,
    vectors: [Option<File>; pci::VECTORS],
    master: bool,
    mask: bool,
    payload: Option<(usize, usize)>,
    /// Who waits for what is under way.
    waiting: Vec<Sender<Result<(), EngineError>>>,
    stats: Stats,
    start: Instant,
    log: Option<Box<dyn Write + Send>>,
}

/// One job on the card's thread: what to do before it steps.
enum Job {
    Read(Bar, u64, usize, Sender<Result<Vec<u8>, EngineError>>),
    Write(Bar, u64, Vec<u8>),
    Master(bool),
    Msix(bool, bool),
    Payload(usize, usize),
    Program(u16, bool),
    Reset(Sender<Result<(), EngineError>>),
    Frame(u8, Vec<u8>),
}

struct Done {
    idle: bool,
    tx: Vec<crate::engine::TxFrame>,
    interrupts: Vec<u16>,
    log: Vec<String>,
    faults: u64,
    clocks: u64,
}

fn perform(f: &mut dyn Function, jobs: Vec<Job>, now: u64) -> Result<Done, EngineError> {
    f.set_time(now)?;
    for job in jobs {
        match job {
            Job::Read(bar, offset, count, answer) => {
                let mut bytes = vec![0; count];
                let result = f.bar_read(bar, offset, &mut bytes).map(|()| bytes);
                // Whoever asked may be gone.
                let _ = answer.send(result);
            }
            // An address outside of the BAR was refused before; what else a write can say ends the card below.
            Job::Write(bar, offset, bytes) => f.bar_write(bar, offset, &bytes)?,
            Job::Master(on) => f.set_bus_master(on)?,
            Job::Msix(enable, mask) => f.set_msix(enable, mask)?,
            Job::Payload(payload, request) => f.set_payload(payload, request)?,
            Job::Program(vector, masked) => f.program_vector(vector, masked)?,
            Job::Reset(answer) => {
                let _ = answer.send(f.function_reset());
            }
            Job::Frame(port, frame) => f.rx(port, &frame, false)?,
        }
    }
    let stepped = f.step(CLOCKS)?;
    Ok(Done {
        idle: stepped.idle,
        tx: f.take_tx(),
        interrupts: f.take_interrupts(),
        log: f.take_log(),
        faults: f.dma_faults(),
        clocks: f.clocks(),
    })
}

impl Pump {
    /// Starts the thread. `plug` makes the ports, given where their frames go.
    ///
    /// # Errors
    /// What `plug` says, or that no thread can be had.
    pub fn start(
        mut card: PciCard,
        memory: HostMemory,
        plug: impl FnOnce(&Inlet) -> std::io::Result<Vec<Port>>,
        log: Option<Box<dyn Write + Send>>,
    ) -> std::io::Result<Self> {
        let (events, received) = sync_channel(QUEUE);
        let ports = plug(&Inlet(events.clone()))?;
        card.set_log(log.is_some()).map_err(std::io::Error::other)?;
        memory.set_bus_master(false);
        let state = State {
            card,
            memory,
            ports,
            vectors: Default::default(),
            master: false,
            mask: false,
            payload: None,
            waiting: Vec::new(),
            stats: Stats::default(),
            start: Instant::now(),
            log,
        };
        let thread = std::thread::Builder::new()
            .name("pump".into())
            .spawn(move || state.run(&received))?;
        Ok(Self {
            events,
            thread: Some(thread),
        })
    }

    /// A way in.
    pub fn inlet(&self) -> Inlet {
        Inlet(self.events.clone())
    }

    /// What was done so far; `None` when the card has failed.
    pub fn stats(&self) -> Option<Stats> {
        let (sender, answer) = std::sync::mpsc::channel();
        self.events.send(Event::Stats(sender)).ok()?;
        answer.recv().ok()
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Stop);
        if let Some(thread) = self.thread.take() {
            // A panic in it is told on standard error already.
            let _ = thread.join();
        }
    }
}

impl State {
    fn run(mut self, events: &Receiver<Event>) {
        let mut idle = false;
        loop {
            let first = if idle {
                events.recv_timeout(IDLE)
            } else {
                events.try_recv().map_err(|_| RecvTimeoutError::Timeout)
            };
            let mut jobs = Vec::new();
            match first {
                // One turn takes what is there, but the card must get on too.
                Ok(event) => {
                    let waiting = std::iter::from_fn(|| events.try_recv().ok()).take(QUEUE);
                    for event in std::iter::once(event).chain(waiting) {
                        if !self.take(event, &mut jobs) {
                            return;
                        }
                    }
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            let now = self.start.elapsed().as_nanos() as u64;
            match self.card.with(move |f| perform(f, jobs, now)).and_then(|done| done) {
                Ok(done) => {
                    idle = self.deliver(done);
                    // What the card had sent while it was bus master is in memory; from here on nothing comes.
                    self.memory.set_bus_master(self.master);
                    for answer in self.waiting.drain(..) {
                        // Whoever asked may be gone.
                        let _ = answer.send(Ok(()));
                    }
                }
                Err(error) => {
                    // The socket's side finds the queue closed and says so to the driver.
                    eprintln!("nat64-sim: the card failed: {error}");
                    return;
                }
            }
        }
    }

    /// Turns an event into jobs for the card; false at the end.
    fn take(&mut self, event: Event, jobs: &mut Vec<Job>) -> bool {
        match event {
            Event::Read(bar, offset, count, answer) => {
                self.stats.reads += 1;
                jobs.push(Job::Read(bar, offset, count, answer));
            }
            Event::Write(bar, offset, bytes) => {
                self.stats.writes += 1;
                jobs.push(Job::Write(bar, offset, bytes));
            }
            Event::Change(change, answer) => {
                self.change(change, jobs);
                self.waiting.push(answer);
            }
            Event::Vector(vector, file) => {
                if let Some(slot) = self.vectors.get_mut(usize::from(vector)) {
                    *slot = file;
                    let masked = slot.is_none();
                    jobs.push(Job::Program(vector, masked));
                    self.arm(jobs);
                }
            }
            Event::Trigger(vector) => self.interrupt(vector),
            Event::Reset(answer) => {
                self.stats.resets += 1;
                self.master = false;
                self.mask = false;
                self.payload = None;
                jobs.push(Job::Master(false));
                jobs.push(Job::Reset(answer));
                // The table of vectors is empty now. A kernel that resets a card restores it; here we are the kernel.
                for vector in 0..pci::VECTORS {
                    let masked = self.vectors[vector].is_none();
                    jobs.push(Job::Program(vector as u16, masked));
                }
                self.arm(jobs);
            }
            Event::Frame(port, frame) => {
                if let Some(count) = self.stats.frames_in.get_mut(usize::from(port)) {
                    *count += 1;
                    jobs.push(Job::Frame(port, frame));
                }
            }
            Event::Stats(answer) => {
                for (lost, port) in self.stats.frames_lost.iter_mut().zip(&self.ports) {
                    *lost = port.lost();
                }
                let _ = answer.send(self.stats.clone());
            }
            Event::Stop => return false,
        }
        true
    }

    fn change(&mut self, change: Change, jobs: &mut Vec<Job>) {
        match change {
            Change::Master(on) => {
                self.master = on;
                if on {
                    self.memory.set_bus_master(true);
                }
                jobs.push(Job::Master(on));
            }
            Change::Msix(_, mask) => {
                self.mask = mask;
                self.arm(jobs);
            }
            Change::Payload(payload, request) => {
                self.payload = Some((payload, request));
                jobs.push(Job::Payload(payload, request));
            }
            // Comes as `Event::Reset`.
            Change::Reset => {}
        }
    }

    /// MSI-X is on while any vector has an eventfd: VFIO switches it on with the first and off with the last.
    fn arm(&self, jobs: &mut Vec<Job>) {
        let enable = self.vectors.iter().any(Option::is_some);
        jobs.push(Job::Msix(enable, self.mask));
    }

    fn interrupt(&mut self, vector: u16) {
        match self.vectors.get_mut(usize::from(vector)) {
            Some(Some(file)) => {
                // An eventfd takes the write unless its count is full, and then it is signalled anyway.
                let _ = file.write_all(&1u64.to_ne_bytes());
                self.stats.interrupts += 1;
            }
            _ => self.stats.unheard += 1,
        }
    }

    fn deliver(&mut self, done: Done) -> bool {
        self.stats.faults = done.faults;
        self.stats.clocks = done.clocks;
        for frame in done.tx {
            // A frame that ends with an error has a bad FCS on a real cable: nobody takes it.
            let index = usize::from(frame.port);
            if let (false, Some(port)) = (frame.error, self.ports.get(index)) {
                port.send(&frame.bytes);
                self.stats.frames_out[index] += 1;
            }
        }
        // All that the card wrote before is in memory: its writes went there while it stepped.
        for vector in done.interrupts {
            self.interrupt(vector);
        }
        if let Some(log) = &mut self.log {
            let written = done.log.iter().try_for_each(|line| writeln!(log, "{line}"));
            if let Err(error) = written.and_then(|()| if done.log.is_empty() { Ok(()) } else { log.flush() }) {
                eprintln!("nat64-sim: the TLP log ends here: {error}");
                self.log = None;
            }
        }
        done.idle
    }
}
