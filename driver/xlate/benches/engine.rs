//! What the translator costs on one core, in CPU time of its thread, and what a session takes of memory.
//!
//! ```text
//! cargo bench -p nat64-xlate                                       all figures
//! cargo bench -p nat64-xlate -- translate1m-64                     those whose names begin so
//! cargo bench -p nat64-xlate -- translate64-64-6to4-single 2000    with the number of rounds
//! cargo xtask budget                                               instructions, against benches/budget.txt
//! GLIBC_TUNABLES=glibc.malloc.hugetlb=1 cargo bench ...            tables in large pages, where they are `madvise`
//! ```
//!
//! `single` is [`Nat64::step`], `batch` is [`Nat64::step_batch`] with 32 packets. `grow` sets sessions up while the
//! tables grow into fresh memory, `setup` in the memory of sessions that ended, in a random order of clients.
//!
//! The limits beside the figures are those the project has set itself. On a busy machine CPU time grows with the
//! neighbours' use of the caches; the instructions that valgrind counts do not.
//!
//! One run on a machine of two cores with a load of 12 to 14 (what the design before took under the same load in
//! parentheses; without load that one took 80 to 86 ns, 830 ns, 760 and 2,320 ns, 320 and 820 ns):
//!
//! * translate with 64 sessions: 50 to 57 ns (110) for 64 bytes, 71 to 85 ns for 1,200;
//! * translate with 2^20 sessions in random order: 520 to 650 ns (920 to 1,000), 133 to 185 ns in batches, 105 to 119 ns
//!   in batches and large pages;
//! * set up: 650 to 880 ns (1,220) of 100,000 sessions, 980 to 1,340 ns (2,900) of 2^20;
//! * expire: 230 ns (510) of 100,000, 320 ns (1,020) of 2^20;
//! * memory: 194 bytes for a session and its binding (195).
//!
//! What limits: with 64 sessions the instructions, 700 to 780 of them, of which the keyed hash takes 90 to 125; with 2^20
//! sessions the four cache lines of a packet and the page walks that fetch them. Setting up touches some ten lines in as
//! many places, three of them buckets of the tables (session, both sides of the binding), and ending touches them again.

use std::hint::black_box;
use std::net::{Ipv4Addr, Ipv6Addr};

use etherparse::PacketBuilder;
use nat64_xlate::effect::Effect;
use nat64_xlate::{Effects, Nat64, Time};
use setup::config;

mod setup;

const SECOND: Time = 1_000_000_000;
const MILLION: usize = 1 << 20;
/// Sessions of one client.
const PER_CLIENT: usize = 100;

/// CPU time of this thread in nanoseconds.
fn cpu_time() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0)
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
    if wanted.any("memory") {
        bench_memory(MILLION);
    }
}
