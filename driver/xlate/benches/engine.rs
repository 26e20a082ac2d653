//! What the translator costs on one core, in CPU time of its thread, and what a session takes of memory.
//!
//! ```text
//! cargo bench -p nat64-xlate                                       all figures
//! cargo bench -p nat64-xlate -- translate1m-64                     those whose names begin so
//! cargo bench -p nat64-xlate -- translate64-64-6to4-single 2000    with the number of rounds
//! cargo xtask budget                                               instructions, against benches/budget.txt
//! GLIBC_TUNABLES=glibc.malloc.hugetlb=0 cargo bench ...            tables in small pages
//! ```
//!
//! `single` is [`Nat64::step`], `batch` is [`Nat64::step_batch`] with 32 packets; both write the headers only
//! ([`Effects::scattered`]). `grow` sets sessions up while the tables grow into fresh memory, `setup` in the memory of
//! sessions that ended, in a random order of clients. Tables are in large pages, as those of the daemon are.
//!
//! The limits beside the figures are those the project has set itself. On a busy machine CPU time grows with the
//! neighbours' use of the caches; the instructions that valgrind counts do not.
//!
//! The least of several runs on a machine of two cores with a load of 15 to 20 (in parentheses the design before, beside it;
//! without load that one took three quarters of this):
//!
//! * translate with 64 sessions: 34 to 38 ns (50 to 56) in batches, 39 to 41 ns (50 to 63) one by one, 64 bytes as well as
//!   1,200 (74 to 90);
//! * translate with 2^20 sessions in random order: 380 to 390 ns (440 to 470), 131 to 134 ns in batches;
//! * set up: 610 to 860 ns (730 to 1,020) of 100,000 sessions, 860 to 1,510 ns of 2^20;
//! * expire: 60 ns (more than 300) of 2^20; of 100,000 it was read from a clock that moves by 40 ns for each of them;
//! * memory: 197 bytes for a session and its binding (194).
//!
//! One run without load: 36 to 39 ns (64 sessions, batches), 41 to 50 ns (one by one); 121 to 125 and 340 to 370 ns (2^20
//! sessions); set up 480 to 560 ns (100,000) and 900 to 1,010 ns (2^20); expire 57 ns (2^20).
//!
//! What limits: with 64 sessions the instructions, some 560 of them; with 2^20 sessions the three or four cache lines of a
//! packet, which come at random. Setting up touches some ten lines, three of them buckets of the tables (session, both sides
//! of the binding). Ending reads and writes what lies side by side most of the time: with 2^20 sessions it waits for the
//! bandwidth of main memory.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use nat64_layout::Protocol;
use nat64_xlate::effect::Effect;
use nat64_xlate::keyed::Keyed;
use nat64_xlate::pool::{Lease, Pool, Request};
use nat64_xlate::{Effects, Nat64, Time};
use nix::time::{clock_gettime, ClockId};
use setup::config;

mod setup;

const SECOND: Time = 1_000_000_000;
const MILLION: usize = 1 << 20;
/// Sessions of one client.
const PER_CLIENT: usize = 100;

/// CPU time of this thread in nanoseconds. Not from /proc/thread-self/schedstat: that moves with the scheduler's tick only,
/// 4 ms, which is 40 ns for each of 100,000 sessions.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has it");
    time.tv_sec() as u64 * SECOND + time.tv_nsec() as u64
}

/// The packet of session `n`, of `size` bytes.
fn six(n: usize, size: usize) -> Vec<u8> {
    let (client, port) = ((n / PER_CLIENT) as u32, (n % PER_CLIENT) as u16);
    let mut src = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0).octets();
    src[12..].copy_from_slice(&client.to_be_bytes());
    let server = u32::from(Ipv4Addr::new(9, 0, 0, 0)) + n as u32 % 50_000;
    let mut dst = Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0).octets();
    dst[12..].copy_from_slice(&server.to_be_bytes());
    let mut out = Vec::new();
    let payload = vec![7; size - 48];
    let builder = PacketBuilder::ipv6(src, dst, 64).udp(5000 + port, 443);
    if builder.write(&mut out, &payload).is_err() {
        out.clear();
    }
    out
}

/// The answer to a packet that was sent, of `size` bytes.
fn four(sent: &[u8], size: usize) -> Vec<u8> {
    let address = |at: usize| [sent[at], sent[at + 1], sent[at + 2], sent[at + 3]];
    let port = |at: usize| u16::from_be_bytes([sent[at], sent[at + 1]]);
    let mut out = Vec::new();
    let builder = PacketBuilder::ipv4(address(16), address(12), 64).udp(port(22), port(20));
    if builder.write(&mut out, &vec![7; size - 28]).is_err() {
        out.clear();
    }
    out
}

/// A translator with sessions, and what its clients' packets became.
fn filled(sessions: usize) -> (Nat64, Vec<Vec<u8>>) {
    let mut nat = Nat64::new(config(), 1).expect("the configuration is right");
    let mut effects = Effects::new();
    let mut sent = Vec::with_capacity(sessions);
    for n in 0..sessions {
        effects.clear();
        nat.step(1000 * SECOND, 0, &six(n, 48), &mut effects);
        for effect in effects.iter() {
            if let Effect::Send { bytes, .. } = effect {
                sent.push(effects.bytes(bytes).to_vec());
            }
        }
    }
    assert_eq!((nat.session_count(), sent.len()), (sessions, sessions));
    (nat, sent)
}

/// How packets are given to the translator.
#[derive(Clone, Copy)]
enum Way {
    /// One at a time.
    Step,
    /// [`BURST`] at a time.
    Batch,
}

/// Packets that arrive together.
const BURST: usize = 32;

/// Nanoseconds for each of the packets, given `rounds` times. `heads` are the first bytes of the packets: that is where
/// they differ, and so what is fetched from memory beside the tables is small. They are written a burst before they are
/// read, as a card would: a packet read right behind the write would wait for the write.
#[inline(never)] // `cargo xtask budget` counts inside of it
fn translate(nat: &mut Nat64, unit: usize, heads: &[[u8; 48]], size: usize, rounds: usize, way: Way) -> f64 {
    let mut effects = Effects::scattered();
    let mut packets = vec![vec![7; size]; BURST];
    let begin = cpu_time();
    for _ in 0..rounds {
        for heads in heads.chunks(BURST) {
            for (packet, head) in packets.iter_mut().zip(heads) {
                packet[..48].copy_from_slice(head);
            }
            let packets = black_box(&packets[..heads.len()]);
            match way {
                Way::Step => {
                    for packet in packets {
                        effects.clear();
                        nat.step(1001 * SECOND, unit, packet, &mut effects);
                        black_box(&effects);
                    }
                }
                Way::Batch => {
                    effects.clear();
                    let packets = packets.iter().map(|packet| (unit, &packet[..]));
                    nat.step_batch(1001 * SECOND, packets, &mut effects);
                    black_box(&effects);
                }
            }
        }
    }
    (cpu_time() - begin) as f64 / (rounds * heads.len()) as f64
}

fn report(what: &str, figure: f64, unit: &str, limit: f64) {
    println!("{what:<32} {figure:>8.1} {unit}  (limit {limit})");
}

/// Which figures are asked for, and with how many rounds.
struct Wanted {
    /// Beginning of their names.
    prefix: String,
    rounds: Option<usize>,
}

impl Wanted {
    fn any(&self, group: &str) -> bool {
        self.prefix.starts_with(group) || group.starts_with(&self.prefix)
    }

    fn one(&self, name: &str) -> bool {
        name.starts_with(&self.prefix)
    }
}

/// Established sessions: packets of both directions in turn, in a random order of sessions.
fn bench_translate(group: &str, sessions: usize, rounds: usize, limit: f64, wanted: &Wanted) {
    if !wanted.any(group) {
        return;
    }
    let rounds = wanted.rounds.unwrap_or(rounds);
    let (mut nat, sent) = filled(sessions);
    for size in [64, 1200] {
        for (unit, direction) in ["6to4", "4to6"].into_iter().enumerate() {
            let heads: Vec<[u8; 48]> = (0..sessions)
                .map(|n| n * 7919 % sessions)
                .map(|n| match unit {
                    0 => six(n, size),
                    _ => four(&sent[n], size),
                })
                .map(|packet| std::array::from_fn(|at| packet[at]))
                .collect();
            for (way, kind) in [(Way::Step, "single"), (Way::Batch, "batch")] {
                let name = format!("{group}-{size}-{direction}-{kind}");
                if wanted.one(&name) {
                    let figure = translate(&mut nat, unit, &heads, size, rounds, way);
                    report(&name, figure, "ns", limit);
                }
            }
        }
    }
}

/// Sets up a session with each packet; nanoseconds for each.
#[inline(never)] // `cargo xtask budget` counts inside of it
fn set_up(nat: &mut Nat64, begin: Time, packets: &[Vec<u8>], way: Way) -> f64 {
    let mut effects = Effects::scattered();
    let start = cpu_time();
    for (burst, packets) in packets.chunks(BURST).enumerate() {
        let now = begin + (burst * BURST) as u64 * 1000;
        match way {
            Way::Step => {
                for packet in packets {
                    effects.clear();
                    nat.step(now, 0, packet, &mut effects);
                    black_box(&effects);
                }
            }
            Way::Batch => {
                effects.clear();
                nat.step_batch(now, packets.iter().map(|packet| (0, &packet[..])), &mut effects);
                black_box(&effects);
            }
        }
    }
    let figure = (cpu_time() - start) as f64 / packets.len() as f64;
    assert_eq!(nat.session_count(), packets.len());
    figure
}

/// Lets all sessions end, one each microsecond; time is told every millisecond. Nanoseconds for each.
#[inline(never)] // `cargo xtask budget` counts inside of it
fn expire(nat: &mut Nat64, begin: Time) -> f64 {
    let mut effects = Effects::new();
    let sessions = nat.session_count();
    let start = cpu_time();
    for step in 0..sessions as u64 / 1000 + 2 {
        effects.clear();
        nat.advance(begin + 300 * SECOND + step * 1000 * 1000, &mut effects);
        black_box(&effects);
    }
    let figure = (cpu_time() - start) as f64 / sessions as f64;
    assert_eq!(nat.session_count(), 0);
    figure
}

/// Sessions from nothing, while the tables grow; then all of them to their end; then others, in the memory of the first,
/// and in a random order of clients.
fn bench_life(group: &str, sessions: usize, wanted: &Wanted) {
    for (way, kind) in [(Way::Step, "single"), (Way::Batch, "batch")] {
        let kinds = [
            format!("{group}-grow-{kind}"),
            format!("{group}-setup-{kind}"),
            format!("{group}-expire-{kind}"),
        ];
        if !kinds.iter().any(|name| wanted.one(name)) {
            continue;
        }
        let mut nat = Nat64::new(config(), 1).expect("the configuration is right");
        let packets: Vec<Vec<u8>> = (0..sessions).map(|n| six(n, 64)).collect();
        let grow = set_up(&mut nat, 1000 * SECOND, &packets, way);
        expire(&mut nat, 1000 * SECOND);
        let packets: Vec<Vec<u8>> = (0..sessions).map(|n| six(n * 7919 % sessions, 64)).collect();
        let again = set_up(&mut nat, 2000 * SECOND, &packets, way);
        let end = expire(&mut nat, 2000 * SECOND);
        for (name, (figure, limit)) in kinds.iter().zip([(grow, 500.0), (again, 500.0), (end, 30.0)]) {
            report(name, figure, "ns", limit);
        }
    }
}

/// Takes a port for a subscriber that has none and gives it back; nanoseconds for both.
#[inline(never)] // `cargo xtask budget` counts inside of it
fn allocate(pool: &Pool, rounds: usize) -> f64 {
    let start = cpu_time();
    for _ in 0..rounds {
        let lease = pool.allocate(0, &request(u128::MAX)).expect("a port is free");
        black_box(lease).release(0);
    }
    (cpu_time() - start) as f64 / rounds as f64
}

fn request(subscriber: u128) -> Request {
    Request {
        subscriber,
        protocol: Protocol::Udp,
        source_port: 5000,
        paired: false,
        fixed: None,
    }
}

/// Ports at random out of four addresses: it must make no difference how many are in use.
fn bench_pool(wanted: &Wanted) {
    let rounds = wanted.rounds.unwrap_or(1_000_000);
    for (name, in_use) in [("allocate-empty", 0), ("allocate-full", 999)] {
        if !wanted.one(name) {
            continue;
        }
        let mut config = config().pools.swap_remove(0);
        config.ranges = vec![(Ipv4Addr::new(203, 0, 113, 1), Ipv4Addr::new(203, 0, 113, 4))];
        config.random = true;
        let ports = 4 * (usize::from(config.ports.1 - config.ports.0) + 1);
        let pool = Pool::new(&config, &Keyed::new(1));
        let taken = (0..ports * in_use / 1000).map(|n| pool.allocate(0, &request(n as u128 / 100)));
        let taken: Vec<Lease> = taken.collect::<Result<_, _>>().expect("ports are free");
        report(name, allocate(&pool, rounds), "ns", 500.0);
        drop(taken);
    }
}

/// Every session with a binding of its own, a hundred to a client.
fn bench_memory(sessions: usize) {
    let packets: Vec<Vec<u8>> = (0..sessions).map(|n| six(n, 64)).collect();
    let mut kept = None;
    let info = allocation_counter::measure(|| {
        let mut nat = Nat64::new(config(), 1).expect("the configuration is right");
        let mut effects = Effects::new();
        for packet in &packets {
            effects.clear();
            nat.step(1000 * SECOND, 0, packet, &mut effects);
        }
        kept = Some(nat);
    });
    let figure = info.bytes_current as f64 / sessions as f64;
    report("memory", figure, "bytes", 200.0);
    drop(kept);
}

fn main() {
    // As the daemon does.
    if let Err(error) = nat64_xlate::pages::ask_for_large_pages() {
        eprintln!("small pages: {error}");
    }
    // cargo adds flags of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    let wanted = Wanted {
        prefix: words.first().cloned().unwrap_or_default(),
        rounds: words.get(1).and_then(|word| word.parse().ok()),
    };
    bench_translate("translate64", 64, 40_000, 40.0, &wanted);
    bench_translate("translate1m", MILLION, 3, 120.0, &wanted);
    bench_life("life1m", MILLION, &wanted);
    bench_life("life100k", 100_000, &wanted);
    if !wanted.prefix.is_empty() {
        // For the count of instructions, which is slow.
        bench_life("life20k", 20_000, &wanted);
    }
    bench_pool(&wanted);
    if wanted.any("memory") {
        bench_memory(MILLION);
    }
}
