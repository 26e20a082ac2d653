//! A simulated card in this process: an engine on a thread of its own, the driver's transport on one side of it and
//! the wire on the other.
//!
//! ```text
//!   nat64_driver::Gateway --SimTransport--\                       +--------------+
//!                                          request / reply  <---> | engine thread|
//!   replay, tests ---------Wire-----------/                       +--------------+
//!                    (HostMemory is shared by all three)
//! ```
//!
//! **Lock-step.** The engine works only while a caller waits for it: posted writes, frames and the time are kept in
//! order on this side and travel with the next request that has an answer. So host and card never run at the same
//! moment, and a run is the same each time although it has two threads. The thread exists because the RustHDL core
//! is too large for an ordinary stack.

use std::sync::mpsc::{channel, Receiver, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nat64_driver::{DeviceError, DmaBuffer, HostMemory, Transport};
use nat64_layout::Bar;

use crate::engine::{Engine, EngineError, Ran, TxFrame};

/// Stack of the engine's thread: the RustHDL core is one large struct that is built on it.
const STACK: usize = 256 << 20;
/// Clocks after which a card that does not become idle is given up: a thousand of the longest frames.
pub const MAX_CLOCKS: u64 = 1_000_000;
/// Clocks a `wait` without timeout lets the card work.
const POLL_CLOCKS: u64 = 256;

/// Makes the engine on its thread. It may be called only once.
pub type EngineFactory = Box<dyn FnOnce(HostMemory) -> Result<Box<dyn Engine>, EngineError> + Send>;

enum Op {
    Time(u64),
    Write(Bar, u32, u32),
    Rx(u8, Vec<u8>, bool),
}

enum Ask {
    Read(u32),
    Run(u64),
    Reset,
}

struct Request {
    ops: Vec<Op>,
    ask: Ask,
}

struct Reply {
    result: Result<Done, EngineError>,
    tx: Vec<TxFrame>,
    clocks: u64,
    faults: u64,
}

enum Done {
    Value(u32),
    Ran(Ran),
    Reset,
}

struct Link {
    requests: Option<Sender<Request>>,
    replies: Receiver<Reply>,
    thread: Option<JoinHandle<()>>,
    dead: Option<String>,
    ops: Vec<Op>,
    tx: Vec<TxFrame>,
    irqs: u32,
    clocks: u64,
    faults: u64,
}

impl Link {
    fn stopped(&mut self) -> EngineError {
        if let Some(thread) = self.thread.take() {
            let reason = match thread.join() {
                Ok(()) => "its thread ended".to_string(),
                Err(panic) => panic
                    .downcast_ref::<String>()
                    .cloned()
                    .or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_string()))
                    .unwrap_or_else(|| "its thread panicked".to_string()),
            };
            self.dead = Some(reason);
        }
        EngineError::Stopped {
            reason: self.dead.clone().unwrap_or_default(),
        }
    }

    fn ask(&mut self, ask: Ask) -> Result<Done, EngineError> {
        let request = Request {
            ops: std::mem::take(&mut self.ops),
            ask,
        };
        if self.requests.as_ref().is_none_or(|r| r.send(request).is_err()) {
            return Err(self.stopped());
        }
        let Ok(reply) = self.replies.recv() else {
            return Err(self.stopped());
        };
        self.tx.extend(reply.tx);
        self.clocks = reply.clocks;
        self.faults = reply.faults;
        if let Ok(Done::Ran(ran)) = &reply.result {
            self.irqs |= ran.irqs;
        }
        reply.result
    }

    fn read(&mut self, offset: u32) -> Result<u32, EngineError> {
        match self.ask(Ask::Read(offset))? {
            Done::Value(value) => Ok(value),
            _ => Err(EngineError::Stopped {
                reason: "it answered another question".into(),
            }),
        }
    }

    fn run(&mut self, max_clocks: u64) -> Result<Ran, EngineError> {
        match self.ask(Ask::Run(max_clocks))? {
            Done::Ran(ran) => Ok(ran),
            _ => Err(EngineError::Stopped {
                reason: "it answered another question".into(),
            }),
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            // It ends as soon as it sees that nobody asks any more; a panic of it was told to whoever asked last.
            let _ = thread.join();
        }
    }
}

fn serve(mut engine: Box<dyn Engine>, requests: &Receiver<Request>, replies: &Sender<Reply>) {
    while let Ok(Request { ops, ask }) = requests.recv() {
        let result = perform(engine.as_mut(), ops, ask);
        let reply = Reply {
            result,
            tx: engine.take_tx(),
            clocks: engine.clocks(),
            faults: engine.dma_faults(),
        };
        if replies.send(reply).is_err() {
            return;
        }
    }
}

fn perform(engine: &mut dyn Engine, ops: Vec<Op>, ask: Ask) -> Result<Done, EngineError> {
    for op in ops {
        match op {
            Op::Time(ns) => engine.set_time(ns)?,
            Op::Write(bar, offset, value) => engine.csr_write(bar, offset, value)?,
            Op::Rx(port, frame, error) => engine.rx(port, &frame, error)?,
        }
    }
    Ok(match ask {
        Ask::Read(offset) => Done::Value(engine.csr_read(offset)?),
        Ask::Run(max_clocks) => Done::Ran(engine.run(max_clocks)?),
        Ask::Reset => {
            engine.reset()?;
            Done::Reset
        }
    })
}

/// A simulated card: [`SimCard::transport`] is the driver's side, [`SimCard::wire`] the side of the cables.
#[derive(Clone)]
pub struct SimCard {
    link: Arc<Mutex<Link>>,
    memory: HostMemory,
}

impl SimCard {
    /// Starts the engine that `factory` makes, on a thread of its own.
    ///
    /// # Errors
    /// What the factory says, or that no thread can be had.
    pub fn start(factory: EngineFactory) -> Result<Self, EngineError> {
        let memory = HostMemory::new();
        let (requests, request_receiver) = channel();
        let (reply_sender, replies) = channel();
        let (ready_sender, ready) = channel();
        let shared = memory.clone();
        let thread = std::thread::Builder::new()
            .name("card".into())
            .stack_size(STACK)
            .spawn(move || match factory(shared) {
                Ok(engine) => {
                    if ready_sender.send(Ok(())).is_ok() {
                        serve(engine, &request_receiver, &reply_sender);
                    }
                }
                Err(e) => {
                    // Nobody listens only when the caller itself is gone.
                    let _ = ready_sender.send(Err(e));
                }
            })
            .map_err(|e| EngineError::Stopped {
                reason: format!("no thread for it: {e}"),
            })?;
        let mut link = Link {
            requests: Some(requests),
            replies,
            thread: Some(thread),
            dead: None,
            ops: Vec::new(),
            tx: Vec::new(),
            irqs: 0,
            clocks: 0,
            faults: 0,
        };
        match ready.recv() {
            Ok(Ok(())) => Ok(Self {
                link: Arc::new(Mutex::new(link)),
                memory,
            }),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(link.stopped()),
        }
    }

    /// The driver's way to the card.
    pub fn transport(&self) -> SimTransport {
        SimTransport { card: self.clone() }
    }

    /// The cables.
    pub fn wire(&self) -> Wire {
        Wire { card: self.clone() }
    }

    fn link<T>(&self, f: impl FnOnce(&mut Link) -> T) -> T {
        // A panic while the lock is held leaves the queues whole: nothing in here is changed in two steps.
        f(&mut self.link.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The side of the cables, and of the clock.
#[derive(Clone)]
pub struct Wire {
    card: SimCard,
}

impl Wire {
    /// Sets the card's time for everything that follows.
    pub fn set_time(&self, ns: u64) {
        self.card.link(|l| match l.ops.last_mut() {
            // However often time passes without work for the card: nothing piles up here.
            Some(Op::Time(last)) => *last = ns,
            _ => l.ops.push(Op::Time(ns)),
        });
    }

    /// A frame arrives, damaged when `error`; it enters with the next run.
    pub fn rx(&self, port: u8, frame: &[u8], error: bool) {
        self.card.link(|l| l.ops.push(Op::Rx(port, frame.to_vec(), error)));
    }

    /// Steps the card until it has nothing left to do.
    ///
    /// # Errors
    /// [`EngineError::Busy`] after [`MAX_CLOCKS`], or that the engine failed.
    pub fn run_until_idle(&self) -> Result<Ran, EngineError> {
        self.card.link(|l| l.run(MAX_CLOCKS))
    }

    /// Reads a register of BAR0, beside the driver: to look, not to act.
    ///
    /// # Errors
    /// As [`Engine::csr_read`].
    pub fn read_register(&self, offset: u32) -> Result<u32, EngineError> {
        self.card.link(|l| l.read(offset))
    }

    /// Frames the card sent since the last call.
    pub fn take_tx(&self) -> Vec<TxFrame> {
        self.card.link(|l| std::mem::take(&mut l.tx))
    }

    /// Clocks simulated so far, as of the last answer of the engine.
    pub fn clocks(&self) -> u64 {
        self.card.link(|l| l.clocks)
    }

    /// DMA writes of the card to no buffer so far.
    pub fn dma_faults(&self) -> u64 {
        self.card.link(|l| l.faults)
    }
}

/// The simulated card as the driver sees it.
pub struct SimTransport {
    card: SimCard,
}

fn device_error(operation: &'static str) -> impl Fn(EngineError) -> DeviceError {
    move |e| match e {
        EngineError::BadOffset { bar, offset } => DeviceError::BadOffset { bar, offset },
        other => DeviceError::Backend {
            operation,
            reason: other.to_string(),
        },
    }
}

impl Transport for SimTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        if bar == Bar::Bar2 {
            return Err(DeviceError::BadOffset { bar, offset });
        }
        self.card
            .link(|l| l.read(offset))
            .map_err(device_error("read a register"))
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        crate::engine::check_write(bar, offset).map_err(device_error("write a register"))?;
        self.card.link(|l| l.ops.push(Op::Write(bar, offset, value)));
        Ok(())
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        self.card.memory.alloc(bytes).ok_or(DeviceError::DmaAlloc { bytes })
    }

    fn wait(&mut self, timeout: Duration) -> Result<u32, DeviceError> {
        self.card.link(|l| {
            let clocks = if timeout.is_zero() { POLL_CLOCKS } else { MAX_CLOCKS };
            match l.run(clocks) {
                Ok(_) => {}
                Err(EngineError::Busy { .. }) if timeout.is_zero() => {}
                Err(e) => return Err(device_error("let the card work")(e)),
            }
            Ok(std::mem::take(&mut l.irqs))
        })
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        self.card
            .link(|l| l.ask(Ask::Reset))
            .map(|_| ())
            .map_err(device_error("reset the card"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Fake;
    use crate::pins::{Bench, PinEngine, PinsIn, PinsOut};

    fn card() -> SimCard {
        SimCard::start(Box::new(|memory| Ok(Box::new(Bench::new(Fake::default(), memory))))).expect("it starts")
    }

    #[test]
    fn driver_and_wire_see_one_card_in_lock_step() {
        let card = card();
        let (mut transport, wire) = (card.transport(), card.wire());
        wire.set_time(77);
        assert_eq!(transport.read32(Bar::Bar0, 0x110).expect("read"), 77);
        transport.write_burst(Bar::Bar0, 0x1c, &[5]).expect("write");
        let clocks = wire.clocks();
        assert_eq!(
            transport.read32(Bar::Bar0, 0x1c).expect("read"),
            5,
            "a read comes after the writes"
        );
        assert!(wire.clocks() > clocks, "the read took clocks");

        let buffer = transport.dma_alloc(4096).expect("memory");
        buffer.memory.store(0, 40);
        buffer.memory.store(1, 2);
        for (offset, value) in [
            (0x400, buffer.iova as u32),
            (0x404, (buffer.iova >> 32) as u32),
            (0x414, 16),
        ] {
            transport.write32(Bar::Bar0, offset, value).expect("write");
        }
        wire.rx(0, &[9; 100], false);
        assert_eq!(
            transport.wait(Duration::from_secs(1)).expect("works"),
            2,
            "the interrupt of the sum"
        );
        assert_eq!(transport.wait(Duration::ZERO).expect("works"), 0, "told once");
        assert_eq!(buffer.memory.load_acquire(0x100), 42);
        let tx = wire.take_tx();
        assert_eq!((tx.len(), tx[0].port, tx[0].bytes.len()), (1, 1, 100));
        assert!(wire.take_tx().is_empty());

        assert!(matches!(
            transport.read32(Bar::Bar2, 0),
            Err(DeviceError::BadOffset { .. })
        ));
        assert!(matches!(
            transport.write32(Bar::Bar0, 1 << 16, 0),
            Err(DeviceError::BadOffset { .. })
        ));
        transport.reset().expect("reset");
        assert_eq!(transport.read32(Bar::Bar0, 0x1c).expect("read"), 0);
    }

    #[test]
    fn a_card_that_never_gets_idle_is_told_but_a_poll_goes_on() {
        let card = card();
        let mut transport = card.transport();
        transport.write32(Bar::Bar0, 0x408, 1).expect("write");
        assert_eq!(
            transport.wait(Duration::ZERO).expect("a poll does not wait for idle"),
            0
        );
        assert!(matches!(
            card.wire().run_until_idle(),
            Err(EngineError::Busy { clocks: MAX_CLOCKS })
        ));
    }

    #[test]
    fn time_that_passes_without_work_does_not_pile_up() {
        let card = card();
        let (mut transport, wire) = (card.transport(), card.wire());
        for ns in 0..1000 {
            wire.set_time(ns);
        }
        assert_eq!(card.link(|l| l.ops.len()), 1);
        // A write keeps its place between two times.
        transport.write32(Bar::Bar0, 0x1c, 5).expect("write");
        wire.set_time(2000);
        assert_eq!(card.link(|l| l.ops.len()), 3);
        assert_eq!(transport.read32(Bar::Bar0, 0x110).expect("read"), 2000);
    }

    struct Broken;

    impl PinEngine for Broken {
        fn clock(&mut self, _: &PinsIn) -> PinsOut {
            panic!("the block does not settle")
        }

        fn reset(&mut self) {}
    }

    #[test]
    fn an_engine_that_panics_is_an_error_with_its_words() {
        let card = SimCard::start(Box::new(|memory| Ok(Box::new(Bench::new(Broken, memory))))).expect("it starts");
        for _ in 0..2 {
            let error = card.wire().run_until_idle().expect_err("it panicked").to_string();
            assert!(error.contains("the block does not settle"), "{error}");
        }
        let refused = SimCard::start(Box::new(|_| Err(EngineError::MissingTool { tool: "verilator" })));
        assert!(refused.is_err_and(|e| e.to_string().contains("cargo xtask setup")));
    }
}
