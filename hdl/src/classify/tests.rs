//! Classify against a model in plain Rust, over seeded random tables and packets.

use super::*;
use crate::testkit::Bench;
use nat64_layout::regs::Policy;
use nat64_layout::tables::{
    PoolRange, Pref64, Term, Unit, POOLS, POOL_BASE, POOL_STRIDE, PREF64S, PREF64_BASE, PREF64_STRIDE, TERMS,
    TERM_BASE, TERM_STRIDE, UNITS, UNIT_BASE, UNIT_STRIDE,
};
use rand::{rngs::StdRng, Rng, SeedableRng};
use std::collections::{BTreeMap, VecDeque};

/// What the host has written.
#[derive(Clone, Debug)]
struct Config {
    units: Vec<Option<Unit>>,
    pref64s: Vec<Option<Pref64>>,
    terms: Vec<Option<Term>>,
    pools: Vec<Option<PoolRange>>,
    policy: [u64; 2],
}

impl Config {
    fn empty() -> Self {
        Self {
            units: vec![None; UNITS],
            pref64s: vec![None; PREF64S],
            terms: vec![None; TERMS],
            pools: vec![None; POOLS],
            policy: [0; 2],
        }
    }
}

fn wide(x: u128) -> Wide<128> {
    Wide::from_frame(&x.to_be_bytes())
}

fn number(x: Wide<128>) -> u128 {
    u128::from(x.0[1]) << 64 | u128::from(x.0[0])
}

fn prefix_mask(length: u8) -> u128 {
    if length == 0 {
        0
    } else {
        !0 << (128 - u32::from(length))
    }
}

/// RFC 6052 section 2.2: the 32 bits after the prefix, bits 64 to 71 skipped.
fn embedded(address: u128, length: u8) -> u32 {
    let mut bits = Vec::new();
    let mut at = u32::from(length);
    while bits.len() < 32 {
        if !(64..72).contains(&at) || length == 96 {
            bits.push(address >> (127 - at) & 1);
        }
        at += 1;
    }
    bits.into_iter().fold(0, |acc, bit| acc << 1 | bit as u32)
}

/// Reasons of parse that make lookups pointless.
fn parse_reason(phv: &Phv) -> Option<Reason> {
    (phv.fate.index() as u64 == FATE_REASON).then(|| Reason::from_code(phv.reason.index() as u8).expect("a reason"))
}

/// What classify must say.
#[derive(Clone, Debug, PartialEq)]
struct Verdict {
    fate: u64,
    reason: Option<Reason>,
    need: usize,
    unit: Option<(usize, usize)>,
    /// With fate lookup: prefix, remote, key.
    lookup: Option<(usize, u32, Key)>,
}

fn model(config: &Config, phv: &Phv) -> Verdict {
    let vids = [phv.vid0.index() as u16, phv.vid1.index() as u16];
    let tags = phv.tags.index();
    let vlans = [(tags > 0).then_some(vids[0]), (tags > 1).then_some(vids[1])];
    let found = config
        .units
        .iter()
        .position(|unit| unit.is_some_and(|unit| unit.port == u8::from(phv.port) && unit.vlans == vlans));
    let unit = found.map(|index| (index, config.units[index].expect("found")));
    let mut verdict = Verdict {
        fate: FATE_REASON,
        reason: parse_reason(phv),
        need: phv.need.index(),
        unit: unit.map(|(index, unit)| (index, usize::from(unit.service_set))),
        lookup: None,
    };
    let policy = |verdict: &mut Verdict| {
        (verdict.fate, verdict.reason) = match config.policy[usize::from(phv.port)] {
            1 => (FATE_FORWARD, None),
            2 => (FATE_REASON, Some(Reason::PolicyPunt)),
            _ => (FATE_REASON, Some(Reason::PolicyDrop)),
        };
    };
    if verdict.reason == Some(Reason::NotIp) {
        return verdict;
    }
    let Some((index, unit)) = unit.filter(|(_, u)| if phv.six { u.ipv6 } else { u.ipv4 }) else {
        policy(&mut verdict);
        verdict.need = 0;
        return verdict;
    };
    if verdict.reason.is_some() {
        return verdict;
    }
    let l4 = phv.l4.to_frame(20);
    let port = |at: usize| u64::from(u16::from_be_bytes([l4[at], l4[at + 1]]));
    let (source, destination) = (number(phv.source), number(phv.destination));
    let icmp = phv.protocol.index() == Protocol::Icmp as usize;
    let mut key = Key {
        six: phv.six,
        protocol: phv.protocol,
        ..Key::default()
    };
    if phv.six {
        let prefix = config.pref64s.iter().position(|entry| {
            entry.is_some_and(|entry| {
                let mask = prefix_mask(PREFIX_LENGTHS[usize::from(entry.length_code)]);
                entry.service_set == unit.service_set && (destination ^ entry.prefix << 32) & mask == 0
            })
        });
        let term = prefix.and_then(|prefix| {
            config.terms.iter().flatten().find(|term| {
                term.service_set == unit.service_set
                    && term.pref64s >> prefix & 1 == 1
                    && (source ^ term.source) & prefix_mask(term.length) == 0
            })
        });
        let Some((prefix, term)) = prefix.zip(term) else {
            policy(&mut verdict);
            return verdict;
        };
        let code = config.pref64s[prefix].expect("found").length_code;
        let remote = embedded(destination, PREFIX_LENGTHS[usize::from(code)]);
        let own = config
            .pools
            .iter()
            .flatten()
            .any(|pool| (pool.low..=pool.high).contains(&remote));
        verdict.reason = match term.action {
            TermAction::Punt => Some(Reason::RuleAction),
            TermAction::Policy => {
                policy(&mut verdict);
                return verdict;
            }
            TermAction::Translate if own => Some(Reason::Hairpin),
            TermAction::Translate => None,
        };
        if verdict.reason.is_none() {
            verdict.fate = FATE_LOOKUP;
            key.local = phv.source;
            key.remote = u64::from(remote).into();
            key.local_port = if icmp { port(4) } else { port(0) }.into();
            key.remote_port = if icmp { 0 } else { port(2) }.into();
            key.pref64 = (prefix as u64).into();
            key.unit = (index as u64).into();
            verdict.lookup = Some((prefix, remote, key));
        }
    } else {
        let own =
            config.pools.iter().flatten().any(|pool| {
                pool.service_set == unit.service_set && (pool.low..=pool.high).contains(&(destination as u32))
            });
        if !own {
            policy(&mut verdict);
            return verdict;
        }
        verdict.fate = FATE_LOOKUP;
        key.local = phv.destination;
        key.remote = u64::from(source as u32).into();
        key.local_port = if icmp { port(4) } else { port(2) }.into();
        key.remote_port = if icmp { 0 } else { port(0) }.into();
        key.set = u64::from(unit.service_set).into();
        verdict.lookup = Some((0, source as u32, key));
    }
    verdict
}

/// Few enough values that entries meet packets.
fn some_prefix(rng: &mut StdRng) -> u128 {
    let base = [0x2001_0db8_0000_0000_0000_0000u128, 0x0064_ff9b_0000_0000_0000_0000];
    let mut prefix = base[rng.random_range(0..2)];
    for at in [56, 48, 40, 32, 0] {
        prefix |= u128::from(rng.random_range(0..2u8)) << at;
    }
    if rng.random_ratio(1, 2) {
        prefix &= !0 << [64, 56, 48, 40, 32, 0][rng.random_range(0..6)];
    }
    prefix
}

fn some_source(rng: &mut StdRng) -> u128 {
    let mut source = 0x2001_0db8u128 << 96;
    for at in [95, 80, 65, 64, 63, 32, 1, 0] {
        source |= u128::from(rng.random_ratio(1, 4)) << at;
    }
    source
}

fn some_pool_address(rng: &mut StdRng) -> u32 {
    0xc633_6400 + rng.random_range(0..24)
}

fn random_unit(rng: &mut StdRng) -> Unit {
    let tags = rng.random_range(0..3);
    let mut vid = || [0, 1, 100, 0xfff][rng.random_range(0..4)];
    let vlans = [(tags > 0).then(&mut vid), (tags > 1).then(&mut vid)];
    Unit {
        port: rng.random_range(0..2),
        vlans,
        service_set: [0, 0, 1, 7][rng.random_range(0..4)],
        ipv6: rng.random_ratio(5, 6),
        ipv4: rng.random_ratio(5, 6),
    }
}

fn random_pref64(rng: &mut StdRng) -> Pref64 {
    let length_code = rng.random_range(0..6);
    let length = PREFIX_LENGTHS[usize::from(length_code)];
    Pref64 {
        prefix: some_prefix(rng) & prefix_mask(length) >> 32,
        length_code,
        service_set: [0, 0, 1, 7][rng.random_range(0..4)],
    }
}

fn random_term(rng: &mut StdRng) -> Term {
    let length = [0, 1, 32, 63, 64, 65, 96, 127, 128, rng.random_range(0..129)][rng.random_range(0..10)];
    Term {
        source: some_source(rng) & prefix_mask(length),
        length,
        service_set: [0, 0, 1, 7][rng.random_range(0..4)],
        pref64s: rng.random::<u8>() | rng.random::<u8>(),
        action: [
            TermAction::Translate,
            TermAction::Translate,
            TermAction::Punt,
            TermAction::Policy,
        ][rng.random_range(0..4)],
    }
}

fn random_pool(rng: &mut StdRng) -> PoolRange {
    let low = some_pool_address(rng);
    PoolRange {
        low,
        high: low + rng.random_range(0..4),
        service_set: [0, 0, 1, 7][rng.random_range(0..4)],
    }
}

fn random_phv(rng: &mut StdRng, config: &Config) -> Phv {
    let unit = if rng.random_ratio(1, 6) {
        random_unit(rng)
    } else {
        let known: Vec<_> = config.units.iter().flatten().collect();
        if known.is_empty() {
            random_unit(rng)
        } else {
            *known[rng.random_range(0..known.len())]
        }
    };
    let six = rng.random();
    let pool = u128::from(some_pool_address(rng));
    let other = u128::from(rng.random::<u32>());
    let destination = if six {
        let mut address = some_prefix(rng) << 32 | if rng.random_ratio(1, 4) { pool } else { other };
        // the embedded address, octet u and the suffix hold anything
        if rng.random_ratio(1, 2) {
            address ^= u128::from(rng.random::<u64>()) << 16;
        }
        if rng.random_ratio(1, 4) {
            address = address & !(0xffff_ffffu128 << 64) | pool << 64;
        }
        address
    } else if rng.random_ratio(2, 3) {
        pool
    } else {
        other
    };
    let mut phv = Phv {
        port: unit.port == 1,
        tags: u64::from(unit.tags()).into(),
        vid0: u64::from(unit.vlans[0].unwrap_or(0)).into(),
        vid1: u64::from(unit.vlans[1].unwrap_or(0)).into(),
        six,
        protocol: rng.random_range(1..4u64).into(),
        reply: rng.random(),
        tos: u64::from(rng.random::<u8>()).into(),
        df: rng.random(),
        hop: u64::from(rng.random::<u8>()).into(),
        l4_bytes: u64::from(rng.random::<u16>()).into(),
        need: u64::from(rng.random::<u16>()).into(),
        source: wide(if six { some_source(rng) } else { other }),
        destination: wide(destination),
        l4: Wide::from_frame(&rng.random::<[u8; 20]>()),
        ..Phv::default()
    };
    if rng.random_ratio(1, 6) {
        let reasons = [
            Reason::NotIp,
            Reason::BadHeader,
            Reason::TcpState,
            Reason::Ipv6Extension,
        ];
        phv.fate = FATE_REASON.into();
        phv.reason = (reasons[rng.random_range(0..4)] as u64).into();
    }
    phv
}

/// How often each fate, reason and family was seen.
type Kinds = BTreeMap<(u64, Option<Reason>, bool), usize>;

struct Driver {
    bench: Bench<Classify>,
    config: Config,
}

impl Driver {
    fn new(record: bool) -> Self {
        let bench = Bench::new(Classify::default());
        Self {
            bench: if record { bench } else { bench.without_record() },
            config: Config::empty(),
        }
    }

    fn write(&mut self, address: u32, data: u32) {
        self.bench.uut.write.next = RegisterWrite {
            valid: true,
            address: u64::from(address).into(),
            data: u64::from(data).into(),
        };
        self.bench.tick();
        self.bench.uut.write.next = RegisterWrite::default();
    }

    fn entry(&mut self, base: u32, stride: u32, index: usize, words: &[u32]) {
        for (i, &word) in words.iter().enumerate() {
            self.write(base + stride * index as u32 + 4 * i as u32, word);
        }
        // the clock in which the entry is committed
        self.bench.tick();
    }

    /// Writes one entry or switches one off, in a random table.
    fn change(&mut self, rng: &mut StdRng) {
        let keep = rng.random_ratio(7, 8);
        match rng.random_range(0..5) {
            0 => {
                let (index, unit) = (rng.random_range(0..UNITS), random_unit(rng));
                self.config.units[index] = keep.then_some(unit);
                let mut words = unit.to_words();
                words[1] &= !(u32::from(!keep) << 31);
                self.entry(UNIT_BASE, UNIT_STRIDE, index, &words);
            }
            1 => {
                let (index, pref64) = (rng.random_range(0..PREF64S), random_pref64(rng));
                self.config.pref64s[index] = keep.then_some(pref64);
                let mut words = pref64.to_words();
                words[3] &= !(u32::from(!keep) << 31);
                self.entry(PREF64_BASE, PREF64_STRIDE, index, &words);
            }
            2 => {
                let (index, term) = (rng.random_range(0..TERMS), random_term(rng));
                self.config.terms[index] = keep.then_some(term);
                let mut words = term.to_words();
                words[4] &= !(u32::from(!keep) << 31);
                self.entry(TERM_BASE, TERM_STRIDE, index, &words);
            }
            3 => {
                let (index, pool) = (rng.random_range(0..POOLS), random_pool(rng));
                self.config.pools[index] = keep.then_some(pool);
                let mut words = pool.to_words();
                words[2] &= !(u32::from(!keep) << 31);
                self.entry(POOL_BASE, POOL_STRIDE, index, &words);
            }
            _ => {
                self.config.policy = [rng.random_range(0..4), rng.random_range(0..4)];
                self.write(
                    Policy::OFFSET,
                    (self.config.policy[0] | self.config.policy[1] << 4) as u32 | rng.random::<u32>() << 8,
                );
                // not ours: nothing may happen
                let at = [
                    0x1080, 0x1ffc, 0x2088, 0x208c, 0x3110, 0x3014, 0x4088, 0x500c, 0x0100, 0x110c,
                ];
                self.write(at[rng.random_range(0..at.len())], rng.random());
            }
        }
    }

    fn verdict(&self) -> (Verdict, Phv) {
        let uut = &self.bench.uut;
        let phv = uut.out_phv.val();
        let fate = phv.fate.index() as u64;
        let verdict = Verdict {
            fate,
            reason: Reason::from_code(phv.reason.index() as u8),
            need: phv.need.index(),
            unit: phv.unit_valid.then(|| (phv.unit.index(), phv.set.index())),
            lookup: (fate == FATE_LOOKUP).then(|| (phv.pref64.index(), phv.remote.index() as u32, uut.out_key.val())),
        };
        (verdict, phv)
    }

    /// Packets in, verdicts out `LATENCY` clocks later, compared with the model.
    fn packets(&mut self, rng: &mut StdRng, count: usize, kinds: &mut Kinds) {
        let mut waiting: VecDeque<(u64, Phv)> = VecDeque::new();
        let mut left = count;
        while left > 0 || !waiting.is_empty() {
            let valid = left > 0 && rng.random_ratio(5, 6);
            let phv = random_phv(rng, &self.config);
            self.bench.uut.valid.next = valid;
            self.bench.uut.phv.next = phv;
            if valid {
                waiting.push_back((self.bench.clocks + LATENCY as u64, phv));
                left -= 1;
            }
            self.bench.settle();
            let due = waiting.front().is_some_and(|w| w.0 == self.bench.clocks);
            assert_eq!(self.bench.uut.out_valid.val(), due);
            if due {
                let (_, phv) = waiting.pop_front().expect("due");
                let (got, out) = self.verdict();
                let want = model(&self.config, &phv);
                assert_eq!(got, want, "{phv:?} {:?}", self.config);
                let passed = Phv {
                    fate: phv.fate,
                    reason: phv.reason,
                    need: phv.need,
                    unit: Default::default(),
                    unit_valid: false,
                    set: Default::default(),
                    pref64: Default::default(),
                    remote: Default::default(),
                    ..out
                };
                assert_eq!(passed, phv, "what parse found must pass unchanged");
                *kinds.entry((want.fate, want.reason, phv.six)).or_insert(0) += 1;
            }
            self.bench.edge();
        }
        self.bench.uut.valid.next = false;
    }
}

fn check(seed: u64, rounds: usize, record: bool) -> (Driver, Kinds) {
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let mut driver = Driver::new(record);
    let mut kinds = Kinds::new();
    for round in 0..rounds {
        for _ in 0..if round == 0 { 60 } else { rng.random_range(0..8) } {
            driver.change(&mut rng);
        }
        driver.bench.tick();
        driver.packets(&mut rng, 20, &mut kinds);
    }
    (driver, kinds)
}

#[test]
fn agrees_with_the_model() {
    let (_, kinds) = check(1, 1200, false);
    println!("{kinds:?}");
    for six in [false, true] {
        let mut all = vec![
            (FATE_LOOKUP, None),
            (FATE_FORWARD, None),
            (FATE_REASON, Some(Reason::PolicyDrop)),
            (FATE_REASON, Some(Reason::PolicyPunt)),
            (FATE_REASON, Some(Reason::NotIp)),
            (FATE_REASON, Some(Reason::TcpState)),
        ];
        if six {
            all.push((FATE_REASON, Some(Reason::RuleAction)));
            all.push((FATE_REASON, Some(Reason::Hairpin)));
        }
        for (fate, reason) in all {
            let seen = kinds.get(&(fate, reason, six)).copied().unwrap_or(0);
            assert!(seen >= 40, "fate {fate}, {reason:?}, six {six}: only {seen}");
        }
    }
}

#[test]
fn verilog_agrees() {
    check(2, 40, true).0.bench.agrees_with_verilog("classify");
}

/// Every length of RFC 6052 with noise in octet u and behind the address.
#[test]
fn addresses_are_taken_out_at_every_length() {
    let mut driver = Driver::new(false);
    let mut rng = StdRng::seed_from_u64(4);
    let unit = Unit {
        port: 0,
        vlans: [None; 2],
        service_set: 2,
        ipv6: true,
        ipv4: false,
    };
    let term = Term {
        source: 0,
        length: 0,
        service_set: 2,
        pref64s: 0xff,
        action: TermAction::Translate,
    };
    driver.entry(UNIT_BASE, UNIT_STRIDE, 3, &unit.to_words());
    driver.entry(TERM_BASE, TERM_STRIDE, 7, &term.to_words());
    for (code, length) in PREFIX_LENGTHS.into_iter().enumerate() {
        let prefix = rng.random::<u128>() & prefix_mask(length);
        let entry = Pref64 {
            prefix: prefix >> 32,
            length_code: code as u8,
            service_set: 2,
        };
        driver.entry(PREF64_BASE, PREF64_STRIDE, 5, &entry.to_words());
        for _ in 0..20 {
            let address: u32 = rng.random();
            let mut text = format!("{:0128b}", rng.random::<u128>()).into_bytes();
            let head = format!("{prefix:0128b}").into_bytes();
            let length = usize::from(length);
            text[..length].copy_from_slice(&head[..length]);
            let mut at = length;
            for bit in format!("{address:032b}").bytes() {
                if at == 64 && length != 96 {
                    at = 72;
                }
                text[at] = bit;
                at += 1;
            }
            let text = String::from_utf8(text).unwrap();
            driver.bench.uut.phv.next = Phv {
                six: true,
                protocol: 2u64.into(),
                destination: wide(u128::from_str_radix(&text, 2).unwrap()),
                ..Phv::default()
            };
            driver.bench.uut.valid.next = true;
            for _ in 0..LATENCY {
                driver.bench.tick();
            }
            let (verdict, phv) = driver.verdict();
            assert_eq!(verdict.fate, FATE_LOOKUP, "/{length} {text}");
            assert_eq!(
                (phv.remote.index() as u32, phv.pref64.index()),
                (address, 5),
                "/{length} {text}"
            );
            assert_eq!(verdict.unit, Some((3, 2)));
        }
    }
}

/// Packets in every clock while an entry changes: each sees the old entry or the new one.
#[test]
fn no_packet_sees_half_an_entry() {
    let mut rng = StdRng::seed_from_u64(6);
    for table in 0..4 {
        let mut driver = Driver::new(false);
        let unit = Unit {
            port: 0,
            vlans: [None; 2],
            service_set: 0,
            ipv6: true,
            ipv4: true,
        };
        let other = Unit { service_set: 1, ..unit };
        let term = |length, pref64s, action| Term {
            source: 0x2001_0db8 << 96 & prefix_mask(length),
            length,
            service_set: 0,
            pref64s,
            action,
        };
        let pref64 = |prefix: u128, length_code, service_set| Pref64 {
            prefix: prefix << 64,
            length_code,
            service_set,
        };
        let mut old = Config::empty();
        old.policy = [2, 2];
        old.units[0] = Some(unit);
        old.pref64s[0] = Some(pref64(0x0064_ff9b, 5, 0));
        old.terms[0] = Some(term(32, 1, TermAction::Translate));
        let mut new = old.clone();
        match table {
            0 => new.units[0] = Some(other),
            1 => new.pref64s[0] = Some(pref64(0x2001_0db8, 0, 1)),
            // half of either would take in the packets' addresses with the other's service set
            2 => {
                let pool = |service_set, low, high| PoolRange { service_set, low, high };
                old.pools[0] = Some(pool(0, 0x0102_0300, 0x0102_0303));
                new.pools[0] = Some(pool(1, 0x0102_0304, 0x0102_0308));
            }
            _ => new.terms[0] = Some(term(0, 2, TermAction::Punt)),
        }
        driver.write(Policy::OFFSET, 0x22);
        for flip in 0..40 {
            let config = if flip % 2 == 0 { &old } else { &new };
            let mut writes = Vec::new();
            let words = |base: u32, words: &[u32]| -> Vec<(u32, u32)> {
                words
                    .iter()
                    .enumerate()
                    .map(|(i, &w)| (base + 4 * i as u32, w))
                    .collect()
            };
            writes.extend(words(UNIT_BASE, &config.units[0].unwrap().to_words()));
            writes.extend(words(PREF64_BASE, &config.pref64s[0].unwrap().to_words()));
            writes.extend(words(TERM_BASE, &config.terms[0].unwrap().to_words()));
            if let Some(pool) = config.pools[0] {
                writes.extend(words(POOL_BASE, &pool.to_words()));
            }
            let mut sent = VecDeque::new();
            for clock in 0..40 {
                let prefix: u128 = if rng.random() { 0x0064_ff9b } else { 0x2001_0db8 };
                let four = table == 2 && rng.random();
                let address = 0x0102_0304 - if table == 2 { rng.random_range(0..2) } else { 0 };
                let phv = Phv {
                    six: !four,
                    protocol: 1u64.into(),
                    source: wide(if rng.random() { 0x2001_0db8 << 96 } else { 0x2002 << 112 }),
                    destination: wide(if four { address } else { prefix << 96 | address }),
                    ..Phv::default()
                };
                driver.bench.uut.phv.next = phv;
                driver.bench.uut.valid.next = true;
                sent.push_back(phv);
                let write = writes.get(clock);
                driver.bench.uut.write.next =
                    write.map_or_else(RegisterWrite::default, |&(address, data)| RegisterWrite {
                        valid: true,
                        address: u64::from(address).into(),
                        data: u64::from(data).into(),
                    });
                driver.bench.settle();
                if clock >= LATENCY {
                    let phv = sent.pop_front().expect("sent");
                    let got = driver.verdict().0;
                    let either = [model(&old, &phv), model(&new, &phv)];
                    assert!(
                        flip == 0 || either.contains(&got),
                        "table {table}: {got:?} is none of {either:?}"
                    );
                    assert!(
                        clock < 25 || got == model(config, &phv),
                        "table {table} flip {flip} clock {clock}"
                    );
                }
                driver.bench.edge();
            }
        }
    }
}
