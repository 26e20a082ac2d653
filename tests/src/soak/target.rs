//! What is put under load: the software card's workers, or a card as compiled Verilog with its driver; in virtual time.

use std::sync::Arc;

use nat64_driver::books::Books;
use nat64_driver::card::{Card, CardOptions};
use nat64_driver::gateway::{nets, Gateway};
use nat64_driver::GatewayConfig;
use nat64_host::soft::core::{Core, Handed, Sharing, Tx};
use nat64_host::soft::hops::SharedNeighbours;
use nat64_host::soft::steer::Directory;
use nat64_host::soft::sys::Received;
use nat64_host::soft::vnet::{Vnet, VNET_HEADER};
use nat64_layout::Reason;
use nat64_sim::card::{SimCard, Wire};
use nat64_sim::compiled;
use nat64_sim::gateway::compiled_factory;
use nat64_xlate::{Config, Nat64, Shard, Stats, Time};

/// Timers that are due within this time are looked at together, as a busy host does; nanoseconds.
const STEP: Time = 20_000_000;

/// A frame and its port.
pub type PortFrame = (usize, Vec<u8>);

/// What a gateway still has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// Sessions.
    pub sessions: usize,
    /// Bindings.
    pub bibs: usize,
    /// Ports of pools that are taken.
    pub ports: u64,
    /// Packets in pieces.
    pub fragmented: usize,
    /// Stored SYNs.
    pub syns: usize,
    /// Fragments that wait at a worker for their first one.
    pub accounts: usize,
    /// Packets that wait for their next hop.
    pub waiting: usize,
    /// Neighbours.
    pub neighbours: usize,
    /// Sessions in the card.
    pub installed: usize,
    /// Sessions that wait for the card.
    pub deferred: usize,
    /// Next hops in the card.
    pub hops: usize,
}

/// A gateway under load. Time never goes back.
pub trait Target {
    /// Its name.
    fn name(&self) -> &'static str;

    /// Frames arrive together; gives what leaves.
    fn frames(&mut self, now: Time, frames: &[PortFrame]) -> Vec<PortFrame>;

    /// Lets time come to `to`, with every timer at its own time.
    fn advance(&mut self, to: Time) -> Vec<PortFrame>;

    /// Where every packet is.
    fn books(&mut self) -> Books;

    /// What is there now.
    fn left(&self) -> Left;

    /// How often a reason was met, by card and host together.
    fn reason(&mut self, reason: Reason) -> u64;

    /// Packets that the card translated alone; `None` without one.
    fn offloaded(&mut self) -> Option<u64>;

    /// Memory of its processes, in bytes.
    fn memory(&self) -> u64;
}

/// Resident memory of a process.
fn resident(process: &str) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    1024 * kilobytes.unwrap_or_default()
}

fn left_of(translator: &Nat64, stats: &Stats) -> Left {
    Left {
        sessions: translator.session_count(),
        bibs: translator.bib_count(),
        ports: stats.pools.iter().flat_map(|pool| pool.in_use).sum(),
        fragmented: translator.fragmented_packets(),
        syns: translator.stored_syns(),
        ..Left::default()
    }
}

/// A worker's share of a configuration, as the software card divides it: what counts over all clients.
fn share(config: &Config, workers: usize) -> Config {
    let mut config = config.clone();
    let limits = &mut config.limits;
    limits.sessions /= workers as u32;
    limits.bibs /= workers as u32;
    limits.stored_syns /= workers as u32;
    limits.embryonic = limits.embryonic.map(|most| most / workers as u32);
    limits.fragment_bytes /= workers;
    limits.icmp_errors_per_second /= workers as u32;
    config
}

/// Workers of the software card, without interfaces: frames are spread over them as a hash of the kernel would.
pub struct SoftTarget {
    cores: Vec<Core>,
    shared: Arc<SharedNeighbours>,
    now: Time,
    turn: usize,
}

impl SoftTarget {
    /// Some workers with this configuration.
    pub fn new(config: GatewayConfig, workers: usize, seed: u64) -> Self {
        let config = Arc::new(config);
        let shared = Arc::new(SharedNeighbours::new(nets(&config)));
        let directory = Arc::new(Directory::new(&config));
        let mut pools = Vec::new();
        let mut cores = Vec::new();
        for number in 0..workers {
            let own = seed.wrapping_add(number as u64);
            let (translator, sharing) = if workers == 1 {
                (Nat64::new(config.xlate.clone(), own), None)
            } else {
                let told = directory.clone();
                let shard = Shard::new(number as u16, workers as u16, 128, seed)
                    .announcing(Arc::new(move |protocol, pool| told.set(protocol, pool, number as u16)));
                let translator = Nat64::new_shard(share(&config.xlate, workers), own, shard.clone(), &pools);
                (translator, Some(Sharing::new(shard, directory.clone())))
            };
            let translator = translator.expect("the configuration was checked");
            if number == 0 {
                pools = translator.pool_handles();
            }
            cores.push(Core::new(config.clone(), translator, shared.clone(), sharing, own));
        }
        Self {
            cores,
            shared,
            now: 0,
            turn: 0,
        }
    }

    /// What a worker wants to send, and what it hands to others.
    fn gather(tx: &mut Tx, core: &Core, bytes: &[u8], sent: &mut Vec<PortFrame>, handed: &mut Vec<(u16, Handed)>) {
        for out in &tx.list {
            let mut frame = tx.heads[out.head.clone()].to_vec();
            frame.extend_from_slice(core.arena().bytes(&out.body));
            if let Some((_, range)) = &out.tail {
                frame.extend_from_slice(&bytes[range.clone()]);
            }
            sent.push((out.port, frame.split_off(VNET_HEADER)));
        }
        handed.append(&mut tx.handed);
    }

    fn hand_over(&mut self, mut handed: Vec<(u16, Handed)>, sent: &mut Vec<PortFrame>) {
        let mut turns = 0;
        while !handed.is_empty() {
            turns += 1;
            assert!(turns < 20, "frames go in circles between workers");
            for (worker, frame) in std::mem::take(&mut handed) {
                let core = &mut self.cores[usize::from(worker)];
                let mut tx = Tx::default();
                core.begin();
                core.handed(self.now, 0, &frame, &mut tx);
                Self::gather(&mut tx, core, &frame.bytes, sent, &mut handed);
            }
        }
    }

    /// Lets each worker do something, and what comes of it happen.
    fn each(&mut self, act: impl Fn(usize, &mut Core, &mut Tx), sent: &mut Vec<PortFrame>) {
        let mut handed = Vec::new();
        for (number, core) in self.cores.iter_mut().enumerate() {
            let mut tx = Tx::default();
            core.begin();
            act(number, core, &mut tx);
            Self::gather(&mut tx, core, &[], sent, &mut handed);
        }
        self.hand_over(handed, sent);
    }

    fn stats(&self) -> Vec<Stats> {
        self.cores.iter().map(|core| core.translator().stats()).collect()
    }
}

impl Target for SoftTarget {
    fn name(&self) -> &'static str {
        "soft"
    }

    fn frames(&mut self, now: Time, frames: &[PortFrame]) -> Vec<PortFrame> {
        let mut sent = self.advance(now);
        for (port, frame) in frames {
            self.turn = (self.turn + 1) % self.cores.len();
            let core = &mut self.cores[self.turn];
            let received = Received {
                vnet: Vnet::default().write(),
                vlan: None,
                bytes: frame,
                length: frame.len(),
            };
            let (mut tx, mut handed) = (Tx::default(), Vec::new());
            core.begin();
            core.frame(now, *port, 0, &received, &mut tx);
            Self::gather(&mut tx, core, frame, &mut sent, &mut handed);
            self.hand_over(handed, &mut sent);
        }
        sent
    }

    fn advance(&mut self, to: Time) -> Vec<PortFrame> {
        let mut sent = Vec::new();
        loop {
            let neighbours = self.shared.lock().next_deadline();
            let workers = self.cores.iter().filter_map(Core::next_deadline);
            let next = workers.chain(neighbours).min().filter(|&next| next <= to);
            // A deadline may be a lower bound that is found again.
            let Some(at) = next.map(|next| next.max(self.now + STEP).min(to)) else {
                break;
            };
            self.now = at;
            self.each(
                |number, core, tx| {
                    core.advance(at, tx);
                    if number == 0 {
                        core.advance_neighbours(at, tx);
                    }
                    core.advance_fragments(at);
                },
                &mut sent,
            );
            if at == to {
                break;
            }
        }
        self.now = self.now.max(to);
        self.each(|_, core, _| core.advance_fragments(to), &mut sent);
        sent
    }

    fn books(&mut self) -> Books {
        let mut books = Books::default();
        for (number, core) in self.cores.iter().enumerate() {
            books.add(&core.books(number == 0));
        }
        books
    }

    fn left(&self) -> Left {
        let (waiting, neighbours) = {
            let shared = self.shared.lock();
            (shared.waiting(), shared.len())
        };
        let mut left = Left {
            accounts: self.cores.iter().map(Core::waiting_fragments).sum(),
            waiting,
            neighbours,
            // The pools are shared.
            ports: self.stats()[0].pools.iter().flat_map(|pool| pool.in_use).sum(),
            ..Left::default()
        };
        for core in &self.cores {
            let one = left_of(core.translator(), &core.translator().stats());
            left.sessions += one.sessions;
            left.bibs += one.bibs;
            left.fragmented += one.fragmented;
            left.syns += one.syns;
        }
        left
    }

    fn reason(&mut self, reason: Reason) -> u64 {
        self.cores.iter().map(|core| core.stats().reason(reason)).sum()
    }

    fn offloaded(&mut self) -> Option<u64> {
        None
    }

    fn memory(&self) -> u64 {
        resident("self")
    }
}

/// The compiled card and its driver.
pub struct CardTarget {
    gateway: Gateway,
    wire: Wire,
    now: Time,
}

impl CardTarget {
    /// A card with this configuration.
    pub fn new(config: GatewayConfig, seed: u64) -> Self {
        let sim = SimCard::start(compiled_factory(compiled::WIDTH)).unwrap_or_else(|e| panic!("{e}"));
        let options = CardOptions {
            // Short rings: a flood is to overrun them.
            exception_log2: 7,
            inject_log2: 7,
            ..CardOptions::default()
        };
        let card = Card::open(Box::new(sim.transport()), options).unwrap_or_else(|e| panic!("{e}"));
        let gateway = Gateway::new(config, Some(card), seed).unwrap_or_else(|e| panic!("{e}"));
        Self {
            gateway,
            wire: sim.wire(),
            now: 0,
        }
    }

    fn settle(&mut self, now: Time, sent: &mut Vec<PortFrame>) {
        for round in 0.. {
            assert!(round < 10_000, "card and driver do not come to rest");
            self.wire.run_until_idle().unwrap_or_else(|e| panic!("{e}"));
            let taken = self.gateway.poll(now).unwrap_or_else(|e| panic!("{e}"));
            sent.extend((self.wire.take_tx().into_iter()).map(|frame| (usize::from(frame.port), frame.bytes)));
            if taken == 0 {
                // What the last call injected.
                self.wire.run_until_idle().unwrap_or_else(|e| panic!("{e}"));
                sent.extend((self.wire.take_tx().into_iter()).map(|frame| (usize::from(frame.port), frame.bytes)));
                return;
            }
        }
    }
}

impl Target for CardTarget {
    fn name(&self) -> &'static str {
        "rtl-compiled"
    }

    fn frames(&mut self, now: Time, frames: &[PortFrame]) -> Vec<PortFrame> {
        let mut sent = self.advance(now);
        self.wire.set_time(now);
        for (port, frame) in frames {
            self.wire.rx(*port as u8, frame, false);
        }
        self.settle(now, &mut sent);
        sent
    }

    fn advance(&mut self, to: Time) -> Vec<PortFrame> {
        let mut sent = Vec::new();
        while let Some(deadline) = self.gateway.next_deadline().filter(|&deadline| deadline <= to) {
            // A deadline may be a lower bound that is found again.
            let at = deadline.max(self.now + STEP).min(to);
            self.now = at;
            self.wire.set_time(at);
            self.gateway.advance(at).unwrap_or_else(|e| panic!("{e}"));
            self.settle(at, &mut sent);
            if at == to {
                break;
            }
        }
        self.now = self.now.max(to);
        self.wire.set_time(to);
        sent
    }

    fn books(&mut self) -> Books {
        self.gateway.books().unwrap_or_else(|e| panic!("{e}"))
    }

    fn left(&self) -> Left {
        let stats = self.gateway.stats();
        Left {
            waiting: stats.waiting,
            neighbours: stats.neighbours,
            installed: stats.installed,
            deferred: stats.deferred,
            hops: stats.next_hops,
            ..left_of(self.gateway.translator(), &self.gateway.translator().stats())
        }
    }

    fn reason(&mut self, reason: Reason) -> u64 {
        let card = self.gateway.card_counters().unwrap_or_else(|e| panic!("{e}"));
        self.gateway.stats().reason(reason) + card.map_or(0, |card| card.reason(reason))
    }

    fn offloaded(&mut self) -> Option<u64> {
        let card = self.gateway.card_counters().unwrap_or_else(|e| panic!("{e}"));
        card.map(|card| card.translated().iter().sum())
    }

    fn memory(&self) -> u64 {
        // The engine is a child of ours.
        let own = std::process::id().to_string();
        let children = std::fs::read_dir("/proc").into_iter().flatten().flatten();
        let engines = children.filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            let text = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            let parent = text.rsplit(')').next()?.split_whitespace().nth(1)?.to_string();
            (parent == own).then(|| resident(&name))
        });
        resident("self") + engines.sum::<u64>()
    }
}
