//! Soak: a gateway under floods for as long as wanted, while conversations that are watched go on through it.
//!
//! ```text
//!   cycle:  calm -- each attack alone -- two at once -- all at once -- new conversations -- minutes of quiet
//!             |          |                                                     |
//!             +----------+--- watched conversations talk all the time ---------+   then: everything expires
//! ```
//!
//! What must hold after every burst: watched packets arrived once, whole, in order; after every phase: the books
//! ([`nat64_driver::books`]) balance to the packet, and tables and memory are within their bounds; at the end: nothing is left.
//!
//! Time is virtual, so an hour of traffic takes as long as it takes; all randomness comes from one seed.

pub mod attacks;
pub mod target;
pub mod users;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use nat64_driver::books::Books;
use nat64_driver::neigh::{ENTRIES, QUEUE_ALL};
use nat64_layout::Reason;
use nat64_xlate::Time;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use attacks::{Attack, Attacker, ATTACKS};
use target::{CardTarget, Left, PortFrame, SoftTarget, Target};
use users::Users;

use crate::rig::configuration_for;

const MILLISECOND: Time = 1_000_000;
const SECOND: Time = 1000 * MILLISECOND;
/// Everything has expired by then: an established connection lives two hours, four minutes and four more.
const AFTER_ALL: Time = 4 * 3600 * SECOND;
/// Memory that may be added after the first two cycles, in bytes: what allocators keep, no table.
const GROWTH: u64 = 64 << 20;
/// Memory at any time.
const MEMORY: u64 = 2 << 30;
/// Limits of the configuration.
const SESSIONS: usize = 12_000;
const STORED_SYNS: usize = 256;
const FRAGMENTED: usize = 1000;

const CONFIG: &str = "
set services nat pool p address-range low 203.0.113.1 high 203.0.113.14
set services nat pool p port range low 1024 high 2999
set services nat rule r match-direction input
set services nat rule r term t from source-address 2001:db8::/32
set services nat rule r term t from destination-address 64:ff9b::/96
set services nat rule r term t then translated source-pool p
set services nat rule r term t then translated destination-prefix 64:ff9b::/96
set services nat rule r term t then translated translation-type stateful-nat64
set services service-set s nat-rules r
set services service-set s interface-service service-interface ms-0/1/0
set nat64-nic port 0 unit 0 side inside
set nat64-nic port 1 unit 0 side outside
set nat64-nic port 1 unit 0 family inet address 192.0.2.1/24
set nat64-nic port 1 unit 0 family inet gateway 192.0.2.254
set nat64-nic limits sessions 12000
set nat64-nic limits embryonic 500
set nat64-nic limits stored-syns 256
set nat64-nic limits fragment-bytes 262144
set nat64-nic limits icmp-errors-per-second 200
";

/// What is put under load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// This many workers of the software card.
    Soft(usize),
    /// The card as compiled Verilog, and its driver.
    Compiled,
}

/// How long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Length {
    /// As many cycles.
    Cycles(u32),
    /// No new cycle begins after this much time on the wall.
    Wall(Duration),
}

/// What to do.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Decides everything random.
    pub seed: u64,
    /// What is put under load.
    pub engine: Engine,
    /// How long.
    pub length: Length,
    /// Bursts of each attack in a cycle.
    pub bursts: u32,
    /// Frames of a burst.
    pub burst: usize,
    /// Watched conversations.
    pub conversations: u16,
}

impl Options {
    /// The usual load for an engine.
    pub fn new(engine: Engine, seed: u64, length: Length) -> Self {
        let (bursts, burst, conversations) = match engine {
            Engine::Soft(_) => (40, 150, 300),
            Engine::Compiled => (8, 150, 100),
        };
        Self {
            seed,
            engine,
            length,
            bursts,
            burst,
            conversations,
        }
    }
}

/// What came of it. Whoever has one has seen no check fail.
#[derive(Clone, Debug)]
pub struct Report {
    /// Name of the engine.
    pub engine: &'static str,
    /// Seed.
    pub seed: u64,
    /// Cycles.
    pub cycles: u32,
    /// Time on the wall.
    pub wall: Duration,
    /// Virtual time of the load, without the end.
    pub time: Time,
    /// Watched packets that arrived.
    pub watched: u64,
    /// Conversations that were opened.
    pub opened: u64,
    /// The books at the end.
    pub books: Books,
    /// Most of everything, at the ends of phases.
    pub most: Left,
    /// Memory after two cycles, and the most after that, in bytes.
    pub memory: [u64; 2],
    /// Packets the card translated.
    pub offloaded: Option<u64>,
    /// How often each reason was met.
    pub reasons: Vec<(Reason, u64)>,
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let most = &self.most;
        writeln!(
            f,
            "engine {}, seed {}: {} cycles, {:.0?} on the wall, {} s of virtual time",
            self.engine,
            self.seed,
            self.cycles,
            self.wall,
            self.time / SECOND
        )?;
        writeln!(
            f,
            "watched: {} packets of {} conversations, none lost, none out of order",
            self.watched, self.opened
        )?;
        writeln!(f, "books: {}", self.books)?;
        writeln!(
            f,
            "most at a time: {} sessions, {} bindings, {} ports, {} packets in pieces, {} stored SYNs, {} packets \
             waiting, {} neighbours, {} sessions in the card; at the end none of them",
            most.sessions,
            most.bibs,
            most.ports,
            most.fragmented,
            most.syns,
            most.waiting,
            most.neighbours,
            most.installed
        )?;
        let mib = |bytes: u64| bytes >> 20;
        writeln!(
            f,
            "memory: {} MiB after two cycles, {} MiB at most after that",
            mib(self.memory[0]),
            mib(self.memory[1])
        )?;
        if let Some(offloaded) = self.offloaded {
            writeln!(f, "translated by the card: {offloaded}")?;
        }
        let mut line = String::new();
        for (reason, count) in &self.reasons {
            write!(
                line,
                "{}{} {count}",
                if line.is_empty() { "" } else { ", " },
                reason.name()
            )?;
        }
        writeln!(f, "reasons: {line}")
    }
}

struct Soak {
    target: Box<dyn Target>,
    users: Users,
    churn: Users,
    attacker: Attacker,
    rng: StdRng,
    now: Time,
    most: Left,
    memory: [u64; 2],
    cycles: u32,
}

/// Runs it; `tell` gets a line now and then.
///
/// # Panics
/// When anything that must hold does not: that is what it is for. The text says the seed's cycle and what it was.
pub fn run(options: Options, tell: &mut dyn FnMut(String)) -> Report {
    let started = Instant::now();
    let target: Box<dyn Target> = match options.engine {
        Engine::Soft(workers) => Box::new(SoftTarget::new(configuration_for(CONFIG, true), workers, options.seed)),
        Engine::Compiled => Box::new(CardTarget::new(configuration_for(CONFIG, false), options.seed)),
    };
    let mut soak = Soak {
        target,
        users: Users::new(options.conversations, 10_000),
        churn: Users::new(30, 30_000),
        attacker: Attacker::new(options.seed ^ 0xbad),
        rng: StdRng::seed_from_u64(options.seed),
        now: SECOND,
        most: Left::default(),
        memory: [0; 2],
        cycles: 0,
    };
    soak.open();
    loop {
        let over = match options.length {
            Length::Cycles(cycles) => soak.cycles >= cycles,
            Length::Wall(wall) => started.elapsed() >= wall && soak.cycles > 0,
        };
        if over {
            break;
        }
        soak.cycle(&options);
        let left = soak.target.left();
        tell(format!(
            "cycle {}: {:.0?}, {} s of virtual time, {} packets in, {} watched, {} sessions, {} MiB",
            soak.cycles,
            started.elapsed(),
            soak.now / SECOND,
            soak.target.books().received,
            soak.users.seen.arrived,
            left.sessions,
            soak.target.memory() >> 20
        ));
    }
    let time = soak.now;
    soak.end();
    let reasons = (Reason::ALL.iter())
        .map(|&reason| (reason, soak.target.reason(reason)))
        .filter(|(_, count)| *count > 0)
        .collect();
    Report {
        engine: soak.target.name(),
        seed: options.seed,
        cycles: soak.cycles,
        wall: started.elapsed(),
        time,
        watched: soak.users.seen.arrived + soak.churn.seen.arrived,
        opened: soak.users.seen.opened + soak.churn.seen.opened,
        books: soak.target.books(),
        most: soak.most,
        memory: soak.memory,
        offloaded: soak.target.offloaded(),
        reasons,
    }
}

impl Soak {
    /// Frames arrive together, and whatever they cause; hosts answer at once.
    fn burst(&mut self, frames: &[PortFrame]) {
        let mut sent = self.target.frames(self.now, frames);
        for round in 0.. {
            assert!(round < 100, "cycle {}: no end of answers", self.cycles);
            self.attacker.overhear(&sent);
            let mut answers = Vec::new();
            for (port, frame) in &sent {
                answers.extend(self.users.receive(*port, frame));
                answers.extend(self.churn.receive(*port, frame));
            }
            if answers.is_empty() {
                break;
            }
            sent = self.target.frames(self.now, &answers);
        }
        let missing = self.users.missing();
        assert!(
            missing.is_empty(),
            "cycle {}: {} watched conversations lost packets: {}",
            self.cycles,
            missing.len(),
            missing[0]
        );
    }

    /// Lets time pass; what leaves meanwhile is looked at.
    fn pass(&mut self, time: Time) {
        self.now += time;
        let sent = self.target.advance(self.now);
        let mut answers = Vec::new();
        for (port, frame) in &sent {
            answers.extend(self.users.receive(*port, frame));
            answers.extend(self.churn.receive(*port, frame));
        }
        self.burst(&answers);
    }

    /// All watched conversations begin.
    fn open(&mut self) {
        // A few at a time: rings are short.
        let mut all = 0;
        loop {
            let frames = self.users.open(16, &mut self.rng);
            if frames.is_empty() {
                break;
            }
            all += frames.len();
            self.burst(&frames);
            self.pass(MILLISECOND);
        }
        assert_eq!(self.users.open_count(), all, "conversations open in calm");
    }

    /// Some of the watched conversations talk while others send what they like.
    fn talk(&mut self, share: f64, others: Vec<PortFrame>) {
        let frames = self.users.talk(share, &mut self.rng);
        let mut mixed = Vec::with_capacity(frames.len() + others.len());
        let (mut ours, mut theirs) = (frames.into_iter().peekable(), others.into_iter().peekable());
        // Each keeps its own order.
        loop {
            let first = match (ours.peek(), theirs.peek()) {
                (None, None) => break,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                _ => self.rng.random_bool(0.3),
            };
            mixed.extend(if first { ours.next() } else { theirs.next() });
        }
        self.burst(&mixed);
    }

    /// An attack, or several at once.
    fn attack(&mut self, attacks: &[Attack], options: &Options) {
        for _ in 0..options.bursts {
            let mut frames = Vec::new();
            for &attack in attacks {
                frames.extend(self.attacker.frames(attack, options.burst / attacks.len(), &self.users));
            }
            if attacks.len() > 1 {
                frames.shuffle(&mut self.rng);
            }
            self.talk(0.1, frames);
            let pause = self.rng.random_range(1..20) * MILLISECOND;
            self.pass(pause);
        }
        self.check(&format!("{:?}", attacks.iter().map(|a| a.name()).collect::<Vec<_>>()));
    }

    fn cycle(&mut self, options: &Options) {
        self.cycles += 1;
        self.talk(1.0, Vec::new());
        let mut order = ATTACKS;
        order.shuffle(&mut self.rng);
        for attack in order {
            self.attack(&[attack], options);
        }
        self.attack(&order[..2], options);
        self.attack(&order, options);
        // Most of what the attacks made ends; conversations say a word now and then.
        for _ in 0..12 {
            self.pass(45 * SECOND);
            self.talk(1.0, Vec::new());
        }
        self.check("quiet");
        self.churn();
    }

    /// Other conversations begin, go on and end.
    fn churn(&mut self) {
        let mut all = 0;
        loop {
            let frames = self.churn.open(10, &mut self.rng);
            if frames.is_empty() {
                break;
            }
            all += frames.len();
            self.burst(&frames);
        }
        let open = self.churn.open_count();
        assert_eq!(open, all, "cycle {}: new conversations after quiet", self.cycles);
        for _ in 0..3 {
            self.pass(SECOND);
            let frames = self.churn.talk(1.0, &mut self.rng);
            for some in frames.chunks(16) {
                self.burst(some);
            }
        }
        assert_eq!(self.churn.missing(), Vec::<String>::new(), "cycle {}", self.cycles);
        for some in self.churn.close().chunks(15) {
            self.burst(some);
        }
        self.churn.forget();
        self.check("churn");
    }

    /// What must hold at any time.
    fn check(&mut self, phase: &str) {
        let cycle = self.cycles;
        let books = self.target.books();
        assert_eq!(books.difference(), 0, "cycle {cycle}, {phase}: {books}");
        let left = self.target.left();
        let bounds = [
            ("sessions", left.sessions, SESSIONS),
            ("stored SYNs", left.syns, STORED_SYNS),
            ("packets in pieces", left.fragmented, FRAGMENTED),
            ("packets waiting", left.waiting, QUEUE_ALL),
            ("neighbours", left.neighbours, ENTRIES),
            ("sessions in the card", left.installed, 1 << 11),
        ];
        for (what, count, bound) in bounds {
            assert!(
                count <= bound,
                "cycle {cycle}, {phase}: {count} {what}, {bound} at most"
            );
        }
        let most = &mut self.most;
        for (most, now) in [
            (&mut most.sessions, left.sessions),
            (&mut most.bibs, left.bibs),
            (&mut most.fragmented, left.fragmented),
            (&mut most.syns, left.syns),
            (&mut most.waiting, left.waiting),
            (&mut most.neighbours, left.neighbours),
            (&mut most.installed, left.installed),
        ] {
            *most = (*most).max(now);
        }
        most.ports = most.ports.max(left.ports);
        let memory = self.target.memory();
        if cycle <= 2 {
            self.memory = [self.memory[0].max(memory), 0];
        } else {
            self.memory[1] = self.memory[1].max(memory);
            assert!(
                memory <= self.memory[0] + GROWTH,
                "cycle {cycle}, {phase}: {memory} bytes of memory after {} in the first cycles",
                self.memory[0]
            );
        }
        assert!(memory <= MEMORY, "cycle {cycle}, {phase}: {memory} bytes of memory");
    }

    /// Nobody says a word any more.
    fn end(&mut self) {
        let end = self.now + AFTER_ALL;
        while self.now < end {
            // Nothing that leaves now is answered: the hosts are gone.
            self.now += 60 * SECOND;
            self.target.advance(self.now);
        }
        let books = self.target.books();
        assert_eq!(books.difference(), 0, "at the end: {books}");
        assert_eq!(self.target.left(), Left::default(), "everything has expired");
    }
}
