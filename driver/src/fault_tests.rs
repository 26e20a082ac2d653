//! The gateway and its card under accidents, many seeds: nothing hangs or panics, every failure is reported, the card
//! comes back, and no session that saw a packet within its timeout is lost or gets another address or port.
//!
//! `cargo xtask faults --seeds N` runs more seeds than the tests do, and writes `driver/faults.txt`.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nat64_layout::Geometry;
use nat64_xlate::Time;

use crate::card::{Card, CardOptions};
use crate::gateway::{Gateway, Reopened, Reopener};
use crate::link;
use crate::testing::{gateway_config, FakeTransport, Verdict};
use crate::testing_wire::{arp, reply, request, ROUTER_MAC};
use crate::transport::{Accident, FaultPlan, FaultTransport, Transport};

const SMALL: Geometry = Geometry {
    record_log2: 4,
    bucket_log2: 3,
    stash: 2,
};
/// Sessions of a run: some more than the card holds.
const SESSIONS: u16 = 20;
/// Steps of a run with accidents.
const STEPS: usize = 60;
/// Steps after the last accident by which everything must be well again.
const CALM_STEPS: usize = 40;
const SECOND: Time = 1_000_000_000;
/// The translator's timeout of UDP sessions, less a tick of activity.
const TIMEOUT: Time = 299 * SECOND;

#[derive(Default, Clone)]
struct Sums {
    accidents: [u64; Accident::ALL.len()],
    detached: u64,
    attached: u64,
    failed_attempts: u64,
    hits: u64,
    translated: u64,
    checked: u64,
}

/// Counts accidents of transports that are gone.
struct Counting(FaultTransport, Arc<Mutex<[u64; Accident::ALL.len()]>>);

impl Transport for Counting {
    fn read32(&mut self, bar: nat64_layout::Bar, offset: u32) -> Result<u32, crate::DeviceError> {
        self.0.read32(bar, offset)
    }
    fn write32(&mut self, bar: nat64_layout::Bar, offset: u32, value: u32) -> Result<(), crate::DeviceError> {
        self.0.write32(bar, offset, value)
    }
    fn write_burst(&mut self, bar: nat64_layout::Bar, offset: u32, v: &[u32]) -> Result<(), crate::DeviceError> {
        self.0.write_burst(bar, offset, v)
    }
    fn dma_alloc(&mut self, bytes: usize) -> Result<crate::DmaBuffer, crate::DeviceError> {
        self.0.dma_alloc(bytes)
    }
    fn wait(&mut self, timeout: Duration) -> Result<u32, crate::DeviceError> {
        self.0.wait(timeout)
    }
    fn reset(&mut self) -> Result<(), crate::DeviceError> {
        self.0.reset()
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        let mut sums = self.1.lock().expect("no test panicked with it");
        for (sum, n) in sums.iter_mut().zip(self.0.happened()) {
            *sum += n;
        }
    }
}

struct Run {
    seed: u64,
    random: u64,
    fake: FakeTransport,
    gateway: Gateway,
    reopener: Reopener,
    now: Time,
    /// Our time when the card's clock began.
    clock_base: Arc<AtomicU64>,
    /// By session: pool port and last packet that the card or the host translated.
    known: HashMap<u16, (u16, Time)>,
    /// By session: when packets arrived that the card punted. Frames for the host come out in order but some never, so
    /// the first of these is no later than the packet that made a frame.
    punted: HashMap<u16, VecDeque<Time>>,
    sums: Sums,
}

impl Run {
    fn new(seed: u64, calm: &Arc<AtomicBool>, counted: &Arc<Mutex<[u64; Accident::ALL.len()]>>) -> Self {
        let fake = FakeTransport::new(SMALL);
        let options = CardOptions {
            exception_log2: 2,
            inject_log2: 2,
            timeout: Duration::from_micros(100),
            ..CardOptions::default()
        };
        let attempts = AtomicU64::new(0);
        let (card, calm, counted) = (fake.clone(), calm.clone(), counted.clone());
        let clock_base = Arc::new(AtomicU64::new(0));
        let base = clock_base.clone();
        let open = move || {
            let n = attempts.fetch_add(1, Ordering::Relaxed);
            if (seed ^ n).is_multiple_of(3) {
                // Switched off and on again: the card's clock begins anew.
                base.fetch_add(std::mem::take(&mut card.card().now), Ordering::Relaxed);
            }
            let plan = FaultPlan {
                seed: seed.wrapping_mul(1000).wrapping_add(n),
                every: if calm.load(Ordering::Relaxed) { 0 } else { 60 },
                longest: 40,
            };
            let transport = FaultTransport::new(Box::new(card.clone()), plan);
            let transport = Counting(transport, counted.clone());
            Card::open(Box::new(transport), options).map_err(|e| e.to_string())
        };
        // The first opening may fail as any other.
        let card = (0..100).find_map(|_| open().ok()).expect("opens at last");
        let mut gateway = Gateway::new(gateway_config(), None, seed).expect("valid");
        // Attaching it is where it may fail again.
        if gateway.attach_card(0, card).is_err() {
            drop(gateway.detach_card(0));
        }
        Self {
            seed,
            random: !seed,
            fake,
            gateway,
            reopener: Reopener::new(open),
            now: SECOND,
            clock_base,
            known: HashMap::new(),
            punted: HashMap::new(),
            sums: Sums::default(),
        }
    }

    fn random(&mut self, below: u64) -> u64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % below
    }

    fn fail(&mut self, error: &crate::GatewayError) {
        assert!(error.is_device(), "seed {}: {error}", self.seed);
        // Closing it is part of the story: its accidents are counted.
        drop(self.gateway.detach_card(self.now));
        self.sums.detached += 1;
    }

    /// What a daemon does over and over.
    fn daemon(&mut self, check: bool) {
        if let Err(error) = self.gateway.poll(self.now) {
            self.fail(&error);
        }
        if self
            .gateway
            .next_deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            if let Err(error) = self.gateway.advance(self.now) {
                self.fail(&error);
            }
        }
        if let Some(card) = self.gateway.card_mut() {
            if let Err(error) = card.wait(Duration::ZERO) {
                self.fail(&error.into());
            }
        }
        if check {
            if let Err(error) = self.gateway.check_card() {
                self.fail(&error);
            }
        }
        match self.reopener.poll(self.now, &mut self.gateway) {
            Reopened::Back(_) => self.sums.attached += 1,
            Reopened::Failed { .. } => self.sums.failed_attempts += 1,
            Reopened::Nothing(_) => {}
        }
    }

    /// Frames the card sent for the host: the router's address is answered, translations are checked.
    fn sent(&mut self) {
        self.fake.card().work();
        let sent = std::mem::take(&mut self.fake.card().sent);
        for (port, bytes) in sent {
            let frame = link::parse(&bytes).expect("whole frames only");
            match (port, frame.ethertype) {
                (1, nat64_layout::ETHERTYPE_ARP) => {
                    let answer = crate::testing_wire::router_answers();
                    self.fake.card().receive(1, &answer);
                }
                (1, nat64_layout::ETHERTYPE_IPV4) => {
                    let p = frame.payload;
                    assert_eq!(frame.destination, ROUTER_MAC, "seed {}", self.seed);
                    // The client's port is told apart by nothing in the packet: the translator's list says whose it is.
                    let pool_port = u16::from_be_bytes([p[20], p[21]]);
                    let sessions = self.gateway.translator().sessions();
                    let client = sessions
                        .into_iter()
                        .find(|s| s.flow.pool.1 == pool_port)
                        .map(|s| s.flow.client.1);
                    if let Some(client) = client {
                        let n = client - 4000;
                        let arrived = self.punted.get_mut(&n).and_then(VecDeque::pop_front);
                        self.saw(n, pool_port, arrived.unwrap_or(0));
                        self.sums.translated += 1;
                    }
                }
                _ => {}
            }
        }
    }

    /// A packet of a session that arrived at `at` was translated.
    fn saw(&mut self, n: u16, pool_port: u16, at: Time) {
        let (seed, now) = (self.seed, self.now);
        let known = self.known.entry(n).or_insert((pool_port, at));
        if known.0 != pool_port {
            let idle = now - known.1;
            assert!(
                idle >= TIMEOUT,
                "seed {seed}: session {n} moved from port {} to {pool_port}",
                known.0
            );
            *known = (pool_port, at);
        }
        known.1 = known.1.max(at);
    }

    /// A packet of a session arrives at the card.
    fn packet(&mut self, n: u16) -> Verdict {
        let back = self.known.get(&n).filter(|_| self.random & 1 << 40 != 0).map(|k| k.0);
        let (port, frame) = match back {
            Some(pool_port) => (1, reply(pool_port - 1024)),
            None => (0, request(n)),
        };
        let verdict = self.fake.card().receive(port, &frame);
        if let Verdict::Hit(index, _) = verdict {
            let record = self.fake.card().record(index).expect("a hit has one");
            self.sums.hits += 1;
            // Requests say whose the record must be; replies go by the pool port.
            let pool_port = record.pool_port;
            if back.is_none() {
                assert_eq!(record.client_port, 4000 + n, "seed {}: another's record", self.seed);
            }
            self.saw(record.client_port - 4000, pool_port, self.now);
        } else if back.is_none() && matches!(verdict, Verdict::Punt(_)) {
            self.punted.entry(n).or_default().push_back(self.now);
        }
        verdict
    }

    /// No session that saw a packet within its timeout is gone or changed.
    fn check(&mut self) {
        for (&n, &(pool_port, last)) in &self.known {
            if self.now < last + TIMEOUT {
                let lives = self
                    .gateway
                    .translator()
                    .sessions()
                    .any(|s| s.flow.client.1 == 4000 + n && s.flow.pool.1 == pool_port);
                assert!(
                    lives,
                    "seed {}: session {n} (pool port {pool_port}) is lost {} s after its last packet",
                    self.seed,
                    (self.now - last) / SECOND
                );
                self.sums.checked += 1;
            }
        }
    }

    fn step(&mut self, longest: u64) {
        self.now += SECOND + self.random(longest * SECOND);
        self.fake.card().now = self.now - self.clock_base.load(Ordering::Relaxed);
        for _ in 0..self.random(4) {
            let n = self.random(u64::from(SESSIONS)) as u16;
            self.packet(n);
        }
        let check = self.random(3) == 0;
        self.daemon(check);
        self.sent();
        self.check();
    }

    /// Everything is well again: the card is there and has what it should have.
    fn check_well(&mut self) {
        let seed = self.seed;
        assert!(!self.gateway.is_holding(), "seed {seed}: the card did not come back");
        let stats = self.gateway.stats();
        let installed: Vec<_> = self.gateway.translator().sessions().filter(|s| s.installed).collect();
        assert_eq!(
            stats.installed + stats.deferred,
            installed.len(),
            "seed {seed}: {stats:?}"
        );
        assert_eq!(
            self.fake.card().entries(),
            2 * stats.installed,
            "seed {seed}: tags in the card"
        );
        let mut hits = 0;
        for info in installed {
            let verdict = self.fake.card().receive(0, &request(info.flow.client.1 - 4000));
            if let Verdict::Hit(index, _) = verdict {
                let record = self.fake.card().record(index).expect("a hit has one");
                assert_eq!(
                    (record.client_port, record.pool_port),
                    (info.flow.client.1, info.flow.pool.1)
                );
                hits += 1;
            }
        }
        assert_eq!(hits, stats.installed, "seed {seed}: every installed session is hit");
    }
}

fn run(seed: u64) -> Sums {
    let (calm, counted) = (Arc::new(AtomicBool::new(false)), Arc::default());
    let mut run = Run::new(seed, &calm, &counted);
    let announcement = arp(1, (ROUTER_MAC, "192.0.2.254"), ([0; 6], "192.0.2.1"), [0xff; 6]);
    for step in 0..STEPS {
        if step % 20 == 0 {
            run.fake.card().receive(1, &announcement);
        }
        run.step(60);
    }
    // The accidents are over with the present opening of the card; a new one has none.
    calm.store(true, Ordering::Relaxed);
    drop(run.gateway.detach_card(run.now));
    for _ in 0..CALM_STEPS {
        run.step(2);
        run.daemon(true);
    }
    run.check_well();
    let mut sums = run.sums.clone();
    drop(run);
    sums.accidents = *counted.lock().expect("no test panicked with it");
    sums
}

#[test]
fn no_session_is_lost_whatever_happens_to_the_card() {
    let variable = |name: &str| std::env::var(name).ok();
    let seeds: u64 = variable("NAT64_FAULT_SEEDS").map_or(1000, |n| n.parse().expect("a number"));
    let first: u64 = variable("NAT64_FAULT_FIRST").map_or(0, |n| n.parse().expect("a number"));
    println!("seeds {first} to {}", first + seeds - 1);
    let mut total = Sums::default();
    for seed in first..first + seeds {
        let sums = run(seed);
        for (sum, n) in total.accidents.iter_mut().zip(sums.accidents) {
            *sum += n;
        }
        total.detached += sums.detached;
        total.attached += sums.attached;
        total.failed_attempts += sums.failed_attempts;
        total.hits += sums.hits;
        total.translated += sums.translated;
        total.checked += sums.checked;
    }
    let accidents: Vec<String> = Accident::ALL
        .iter()
        .zip(total.accidents)
        .map(|(accident, n)| format!("{accident:?} {n}"))
        .collect();
    let report = format!(
        "seeds {first} to {}: none failed\naccidents: {}\nfailures noticed {}, recovered {}, attempts that failed {}\n\
         packets: {} translated by the card, {} by the host\nlive sessions looked at {}, lost 0\n",
        first + seeds - 1,
        accidents.join(", "),
        total.detached,
        total.attached,
        total.failed_attempts,
        total.hits,
        total.translated,
        total.checked
    );
    println!("{report}");
    if let Some(path) = variable("NAT64_FAULT_REPORT") {
        std::fs::write(path, &report).expect("the report can be written");
    }
    // A test that meets no accidents, or no recovery, tests nothing.
    if seeds >= 100 {
        assert!(total.accidents.iter().all(|&n| n > seeds / 100), "{report}");
        assert!(
            total.attached > seeds && total.hits > seeds && total.checked > seeds,
            "{report}"
        );
    }
}
