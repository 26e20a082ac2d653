//! For tests only: the worked example's configuration, and a card in software that does what registers, tables, rings
//! and lookup do, without translating anything.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use nat64_layout::dump::{DumpEntry, DumpKind};
use nat64_layout::hash::{message_four, message_six};
use nat64_layout::record::{StashEntry, Tag, RECORD_STRIDE, RECORD_WORDS, STASH_STRIDE, TAG_BASE};
use nat64_layout::regs::{self, *};
use nat64_layout::ring::{own_phase, ExceptionDescriptor, InjectDescriptor, SLOT_BYTES};
use nat64_layout::tables::{self, PortPolicy, PREFIX_LENGTHS};
use nat64_layout::{half_sip_hash_1_3, Direction, Geometry, HashKey, Protocol, Reason, Record, ABI_HASH, BANKS, WAYS};
use nat64_xlate::config::{Action, Filtering, Match, Pool, PrefixMatch, Refresh, ServiceSet, Term, Translate, Unit};
use nat64_xlate::Config;

use crate::config::{GatewayConfig, LinkType, PortConfig, UnitLink};
use crate::dma::{DmaBuffer, HostMemory};
use crate::link;
use crate::transport::{Bar, DeviceError, Transport, IRQ_EXCEPTION, IRQ_PROGRESS};

/// `then translated` into pool 0.
pub fn translate(pref64: &str, pref64_length: u8) -> Action {
    Action::Translate(Translate {
        pref64: pref64.parse().expect("IPv6"),
        pref64_length,
        pool: 0,
        overload_pool: None,
        endpoint_independent_mapping: true,
        filtering: Filtering::EndpointIndependent,
        filter_prefixes: Vec::new(),
        eif_flow_limit: None,
        mapping_refresh: Refresh::Both,
        paired: false,
        deterministic: false,
    })
}

/// MAC addresses of our ports.
pub const MACS: [[u8; 6]; 2] = [[2, 0, 0, 0, 1, 0], [2, 0, 0, 0, 1, 1]];

/// The worked example: 2001:db8::/96 through 64:ff9b::/96 to 203.0.113.1 to .254; unit 0 inside on port 0, unit 1
/// outside on port 1 behind the router 192.0.2.254.
pub fn gateway_config() -> GatewayConfig {
    let prefix = |text: &str| PrefixMatch {
        address: text.parse().expect("IPv6"),
        length: 96,
        except: false,
    };
    let unit = |name: &str, inside: bool| Unit {
        name: name.into(),
        service_set: Some(0),
        inside,
        outside: !inside,
        mtu: 1500,
        address6: None,
        address4: None,
    };
    let v4 = |text: &str| text.parse::<Ipv4Addr>().expect("IPv4");
    GatewayConfig {
        link_type: LinkType::Ethernet,
        ports: MACS.map(|mac| PortConfig {
            mac,
            policy: PortPolicy::Drop,
        }),
        units: vec![
            UnitLink {
                port: 0,
                addresses6: vec![("2001:db8::1".parse().expect("IPv6"), 64)],
                auto_last_hop: true,
                ..UnitLink::default()
            },
            UnitLink {
                port: 1,
                addresses4: vec![(v4("192.0.2.1"), 24)],
                gateway4: Some(v4("192.0.2.254")),
                ..UnitLink::default()
            },
        ],
        xlate: Config {
            units: vec![unit("inside", true), unit("outside", false)],
            service_sets: vec![ServiceSet {
                name: "sset-nat64".into(),
                terms: vec![Term {
                    rule: "stateful-nat64".into(),
                    name: "t1".into(),
                    from: Match {
                        source: vec![prefix("2001:db8::")],
                        destination: vec![prefix("64:ff9b::")],
                        ..Match::default()
                    },
                    then: translate("64:ff9b::", 96),
                }],
                outside_unit: 1,
                well_known_prefix: nat64_xlate::config::WellKnownPrefix::Any,
                ..ServiceSet::default()
            }],
            pools: vec![Pool {
                name: "src-pool-nat64".into(),
                ranges: vec![(v4("203.0.113.1"), v4("203.0.113.254"))],
                ports: (1024, 65535),
                random: false,
                round_robin: false,
                preserve_parity: false,
                preserve_range: false,
                limit_ports_per_address: None,
                blocks: None,
                deterministic_block: None,
                mapping_timeout: None,
                quarantine: Duration::ZERO,
                draining: Vec::new(),
            }],
            activity_tick: Duration::from_nanos(1 << nat64_layout::TICK_SHIFT),
            ..Config::default()
        },
    }
}

/// What the card did with a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Hit: record and direction.
    Hit(u32, Direction),
    /// Into the exception ring.
    Punt(Reason),
    /// Counted and gone.
    Drop(Reason),
    /// Out of the other port.
    Forward,
}

/// Ways to misbehave.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Everything reads as all ones.
    pub gone: bool,
    /// `AbiHash` shows this.
    pub abi: Option<u32>,
    /// `Ident` shows this.
    pub ident: Option<u32>,
    /// `Geometry` shows this.
    pub geometry: Option<u32>,
    /// Writes to `Scratch` are lost.
    pub scratch: bool,
    /// Dumps never finish.
    pub dump: bool,
    /// Accesses to PHYs never end.
    pub mdio: bool,
    /// The inject ring is not read.
    pub inject: bool,
}

/// The card.
pub struct FakeCard {
    pub memory: HostMemory,
    pub geometry: Geometry,
    pub faults: Faults,
    pub bar0: HashMap<u32, u32>,
    pub bar2: HashMap<u32, u32>,
    /// Registers of PHYs, by port, address and register.
    pub phys: HashMap<(usize, u8, u8), u16>,
    /// Frames sent from the inject ring.
    pub sent: Vec<(usize, Vec<u8>)>,
    pub activity: HashMap<u32, DumpEntry>,
    pub reads: usize,
    pub writes: Vec<(Bar, u32, u32)>,
    pub dumps: Vec<(u32, u32)>,
    pub counters: HashMap<Reason, u64>,
    pub now: u64,
    /// It accessed memory it was not given.
    pub faulted: bool,
    exc_head: u32,
    inj_head: u32,
    dump_go: Option<u32>,
    irqs: u32,
}

/// The transport to it; clones share the card.
#[derive(Clone)]
pub struct FakeTransport(pub Arc<Mutex<FakeCard>>);

impl FakeTransport {
    pub fn new(geometry: Geometry) -> Self {
        Self(Arc::new(Mutex::new(FakeCard {
            memory: HostMemory::new(),
            geometry,
            faults: Faults::default(),
            bar0: HashMap::new(),
            bar2: HashMap::new(),
            phys: HashMap::new(),
            sent: Vec::new(),
            activity: HashMap::new(),
            reads: 0,
            writes: Vec::new(),
            dumps: Vec::new(),
            counters: HashMap::new(),
            now: 0,
            faulted: false,
            exc_head: 0,
            inj_head: 0,
            dump_go: None,
            irqs: 0,
        })))
    }

    pub fn card(&self) -> MutexGuard<'_, FakeCard> {
        self.0.lock().expect("no test panicked with the card in hand")
    }
}

impl Transport for FakeTransport {
    fn read32(&mut self, bar: Bar, offset: u32) -> Result<u32, DeviceError> {
        let mut card = self.card();
        card.reads += 1;
        if card.faults.gone || bar == Bar::Bar2 {
            return Ok(u32::MAX);
        }
        let geometry = card.geometry;
        Ok(match offset {
            Ident::OFFSET => card.faults.ident.unwrap_or(MAGIC),
            AbiHash::OFFSET => card.faults.abi.unwrap_or(ABI_HASH),
            regs::Geometry::OFFSET => card.faults.geometry.unwrap_or_else(|| {
                let mut register = regs::Geometry(0);
                register.set_record_log2(geometry.record_log2 as u32);
                register.set_bucket_log2(geometry.bucket_log2 as u32);
                register.set_stash(geometry.stash as u32);
                register.set_ways(WAYS as u32);
                register.0
            }),
            TimeLow::OFFSET => card.now as u32,
            TimeHigh::OFFSET => (card.now >> 32) as u32,
            ExcHead::OFFSET => card.exc_head,
            COUNTER_BASE..PORT_COUNTER_BASE if offset.is_multiple_of(8) => {
                let reason = Reason::from_code(((offset - COUNTER_BASE) / 8) as u8);
                reason.and_then(|r| card.counters.get(&r)).map_or(0, |&n| n as u32)
            }
            _ => card.bar0.get(&offset).copied().unwrap_or(0),
        })
    }

    fn write32(&mut self, bar: Bar, offset: u32, value: u32) -> Result<(), DeviceError> {
        let mut card = self.card();
        card.writes.push((bar, offset, value));
        match (bar, offset) {
            (Bar::Bar0, Scratch::OFFSET) if card.faults.scratch => {}
            (Bar::Bar0, DumpGo::OFFSET) => card.dump_go = Some(value),
            // Enabling a ring sets its head and tail to 0.
            (Bar::Bar0, ExcCtrl::OFFSET) => {
                if value & 1 == 1 && card.reg(offset) & 1 == 0 {
                    card.exc_head = 0;
                    card.bar0.insert(ExcTail::OFFSET, 0);
                }
                card.bar0.insert(offset, value);
            }
            (Bar::Bar0, InjCtrl::OFFSET) => {
                if value & 1 == 1 && card.reg(offset) & 1 == 0 {
                    card.inj_head = 0;
                    card.bar0.insert(InjTail::OFFSET, 0);
                }
                card.bar0.insert(offset, value);
            }
            (Bar::Bar0, Mac0Mdio::OFFSET | Mac1Mdio::OFFSET) => {
                let access = Mac0Mdio(value);
                let at = (
                    usize::from(offset == Mac1Mdio::OFFSET),
                    access.phy() as u8,
                    access.register() as u8,
                );
                let mut found = Mac0Mdio(0);
                if access.write() == 0 {
                    let word = card.phys.get(&at).copied();
                    found.set_answered(u32::from(word.is_some()));
                    found.set_data(u32::from(word.unwrap_or(0xffff)));
                } else {
                    card.phys.insert(at, access.data() as u16);
                }
                found.set_busy(u32::from(card.faults.mdio));
                card.bar0.insert(offset, found.0);
            }
            (Bar::Bar0, _) => {
                card.bar0.insert(offset, value);
            }
            (Bar::Bar2, _) => {
                if offset < TAG_BASE && offset % RECORD_STRIDE == 4 * (RECORD_WORDS as u32 - 1) {
                    // Committing a record starts its counters anew.
                    let now = card.now;
                    let stamp = [nat64_layout::dump::stamp_of(now); 2];
                    let entry = DumpEntry {
                        stamp,
                        ..DumpEntry::default()
                    };
                    card.activity.insert(offset / RECORD_STRIDE, entry);
                }
                card.bar2.insert(offset, value);
            }
        }
        Ok(())
    }

    fn dma_alloc(&mut self, bytes: usize) -> Result<DmaBuffer, DeviceError> {
        self.card().memory.alloc(bytes).ok_or(DeviceError::DmaAlloc { bytes })
    }

    fn wait(&mut self, _timeout: Duration) -> Result<u32, DeviceError> {
        Ok(self.card().work())
    }

    fn reset(&mut self) -> Result<(), DeviceError> {
        let mut card = self.card();
        card.bar0.clear();
        (card.exc_head, card.inj_head, card.dump_go, card.irqs) = (0, 0, None, 0);
        Ok(())
    }
}

impl FakeCard {
    fn reg(&self, offset: u32) -> u32 {
        self.bar0.get(&offset).copied().unwrap_or(0)
    }

    fn reg64(&self, low: u32) -> u64 {
        u64::from(self.reg(low + 4)) << 32 | u64::from(self.reg(low))
    }

    /// An access to nothing is remembered, as an IOMMU would: a card that was reset makes some.
    fn write_word(&mut self, iova: u64, value: u64) {
        self.faulted |= self.memory.write_word(iova, value).is_err();
    }

    /// Does what is to do: injected frames, dumps. Returns the interrupts since the last time.
    pub fn work(&mut self) -> u32 {
        let control = InjCtrl(self.reg(InjCtrl::OFFSET));
        while control.enable() == 1 && !self.faults.inject && self.inj_head != self.reg(InjTail::OFFSET) {
            let log2 = control.log2() as usize;
            let slot =
                self.reg64(InjBaseLow::OFFSET) + u64::from(self.inj_head & ((1 << log2) - 1)) * SLOT_BYTES as u64;
            let mut words = [0; 4];
            let mut read = (0..).step_by(8).zip(&mut words);
            if !read.all(|(at, word)| self.memory.read_word(slot + at).map(|w| *word = w).is_ok()) {
                // A card that was reset while it was set up reads from nowhere: it stands still.
                self.faulted = true;
                break;
            }
            let descriptor = InjectDescriptor::from_words(words);
            assert_eq!(
                descriptor.own,
                own_phase(self.inj_head, log2),
                "the doorbell came before the slot"
            );
            let mut frame = vec![0; descriptor.length.into()];
            self.faulted |= self.memory.read(slot + 32, &mut frame).is_err();
            self.sent.push((descriptor.port.into(), frame));
            self.inj_head = self.inj_head.wrapping_add(1);
            self.write_word(self.reg64(InjWbLow::OFFSET), self.inj_head.into());
            self.irqs |= IRQ_PROGRESS;
        }
        if let Some(go) = self.dump_go.take_if(|_| !self.faults.dump).map(DumpGo) {
            let (first, to) = (
                DumpFirst(self.reg(DumpFirst::OFFSET)).index(),
                self.reg64(DumpAddrLow::OFFSET),
            );
            let kind = DumpKind::ALL[go.kind() as usize];
            if kind == DumpKind::Activity {
                self.dumps.push((first, go.count()));
            }
            let values: Vec<u64> = (first..first + go.count())
                .flat_map(|i| self.dump_entry(kind, i))
                .collect();
            for (word, value) in values.into_iter().enumerate() {
                self.write_word(to + 8 * word as u64, value);
            }
            self.write_word(self.reg64(DumpDoneLow::OFFSET), go.sequence().into());
            self.irqs |= IRQ_PROGRESS;
        }
        std::mem::take(&mut self.irqs)
    }

    /// An entry as the card copies it.
    fn dump_entry(&self, kind: DumpKind, index: u32) -> Vec<u64> {
        let pairs = |words: &[u32]| {
            let pair = |w: &[u32]| u64::from(w[0]) | u64::from(w.get(1).copied().unwrap_or(0)) << 32;
            let mut pairs: Vec<u64> = words.chunks(2).map(pair).collect();
            pairs.resize(kind.words(), 0);
            pairs
        };
        match kind {
            DumpKind::Activity => self.activity.get(&index).copied().unwrap_or_default().to_words().into(),
            DumpKind::Records => pairs(&self.bar2_words::<RECORD_WORDS>(index * RECORD_STRIDE)),
            DumpKind::Tags => {
                let row = (0..BANKS).flat_map(|bank| self.bar2_words::<WAYS>(Tag::offset(bank, index, 0)));
                pairs(&row.collect::<Vec<_>>())
            }
            DumpKind::Stash => pairs(&self.bar2_words::<2>(StashEntry::offset(index as usize))),
        }
    }

    fn bar2_words<const N: usize>(&self, offset: u32) -> [u32; N] {
        std::array::from_fn(|i| self.bar2.get(&(offset + 4 * i as u32)).copied().unwrap_or(0))
    }

    pub fn record(&self, index: u32) -> Option<Record> {
        Record::from_words(&self.bar2_words::<RECORD_WORDS>(index * RECORD_STRIDE))
    }

    /// Tags and stash entries in use.
    pub fn entries(&self) -> usize {
        let log2 = self.geometry.bucket_log2;
        let tags = (0..BANKS).flat_map(|bank| (0..1u32 << log2).map(move |bucket| (bank, bucket)));
        let words = tags.flat_map(|(bank, bucket)| self.bar2_words::<WAYS>(Tag::offset(bank, bucket, 0)));
        let stash = (0..self.geometry.stash).map(|i| self.bar2_words::<2>(StashEntry::offset(i))[1]);
        words.chain(stash).filter(|&word| word != 0).count()
    }

    /// Fills the next exception slot with any descriptor.
    pub fn punt_raw(&mut self, mut descriptor: ExceptionDescriptor, frame: &[u8]) -> bool {
        let control = ExcCtrl(self.reg(ExcCtrl::OFFSET));
        let log2 = control.log2() as usize;
        if control.enable() == 0 || self.exc_head.wrapping_sub(self.reg(ExcTail::OFFSET)) >= 1 << log2 {
            *self.counters.entry(Reason::ExceptionRingFull).or_default() += 1;
            return false;
        }
        let slot = self.reg64(ExcBaseLow::OFFSET) + u64::from(self.exc_head & ((1 << log2) - 1)) * SLOT_BYTES as u64;
        descriptor.own = own_phase(self.exc_head, log2);
        descriptor.sequence = self.exc_head;
        self.faulted |= self.memory.write(slot + 32, frame).is_err();
        for (i, word) in descriptor.to_words().into_iter().enumerate() {
            self.write_word(slot + 8 * i as u64, word);
        }
        self.exc_head = self.exc_head.wrapping_add(1);
        self.irqs |= IRQ_EXCEPTION;
        true
    }

    /// A frame arrives.
    pub fn receive(&mut self, port: usize, frame: &[u8]) -> Verdict {
        let verdict = self.judge(port, frame);
        match verdict {
            Verdict::Hit(index, direction) => {
                let entry = self.activity.entry(index).or_default();
                entry.stamp[direction as usize] = nat64_layout::dump::stamp_of(self.now);
                entry.packets[direction as usize] += 1;
            }
            Verdict::Punt(reason) => {
                *self.counters.entry(reason).or_default() += 1;
                let (reason, length) = (reason as u8, frame.len() as u16);
                let descriptor = ExceptionDescriptor {
                    time_ns: self.now,
                    reason,
                    port: port as u8,
                    length,
                    ..Default::default()
                };
                if !self.punt_raw(descriptor, frame) {
                    return Verdict::Drop(Reason::ExceptionRingFull);
                }
            }
            Verdict::Drop(reason) => *self.counters.entry(reason).or_default() += 1,
            Verdict::Forward => {}
        }
        verdict
    }

    fn judge(&self, port: usize, frame: &[u8]) -> Verdict {
        if Ctrl(self.reg(Ctrl::OFFSET)).enable() == 0 {
            return Verdict::Drop(Reason::Disabled);
        }
        let frame = link::parse(frame).expect("whole frame");
        let six = match frame.ethertype {
            nat64_layout::ETHERTYPE_IPV6 => true,
            nat64_layout::ETHERTYPE_IPV4 => false,
            _ => return Verdict::Punt(Reason::NotIp),
        };
        let policy = Policy(self.reg(Policy::OFFSET));
        let no_match = match if port == 0 { policy.port0() } else { policy.port1() } {
            p if p == PortPolicy::Forward as u32 => Verdict::Forward,
            p if p == PortPolicy::Punt as u32 => Verdict::Punt(Reason::PolicyPunt),
            _ => Verdict::Drop(Reason::PolicyDrop),
        };
        let entry = |base: u32, stride: u32, index: u32, word: u32| self.reg(base + index * stride + 4 * word);
        let tags: Vec<u32> = frame.vlans.iter().flatten().map(|&v| u32::from(v)).collect();
        let unit = (0..tables::UNITS as u32).find(|&i| {
            let word = entry(tables::UNIT_BASE, tables::UNIT_STRIDE, i, 0);
            let want = port as u32
                | (tags.len() as u32) << 1
                | tags.first().unwrap_or(&0) << 4
                | tags.get(1).unwrap_or(&0) << 16;
            word == want && entry(tables::UNIT_BASE, tables::UNIT_STRIDE, i, 1) >> 31 == 1
        });
        let Some(unit) = unit else { return no_match };
        let p = link::ip_packet(frame.ethertype, frame.payload);
        if crate::neigh::is_discovery(p) {
            return Verdict::Punt(Reason::Neighbour);
        }
        let served = entry(tables::UNIT_BASE, tables::UNIT_STRIDE, unit, 1);
        if served >> (if six { 3 } else { 4 }) & 1 == 0 {
            return no_match;
        }
        let set = served & 7;
        let header = if six { 40 } else { 20 };
        let (protocol, flags) = match p[if six { 6 } else { 9 }] {
            6 => (Protocol::Tcp, p[header + 13]),
            17 => (Protocol::Udp, 0),
            _ => (Protocol::Icmp, 0),
        };
        if flags & 7 != 0 {
            return Verdict::Punt(Reason::TcpState);
        }
        let port_at = |at: usize| u16::from_be_bytes([p[header + at], p[header + at + 1]]);
        let (from, to) = (port_at(0), port_at(2));
        let key = HashKey([self.reg(HashKey0::OFFSET), self.reg(HashKey1::OFFSET)]);
        let address4 = |at: usize| u32::from_be_bytes(p[at..at + 4].try_into().expect("4"));
        let (hash, direction) = if six {
            let bits = |at: usize| u128::from(Ipv6Addr::from(<[u8; 16]>::try_from(&p[at..at + 16]).expect("16")));
            let pref64 = (0..tables::PREF64S as u32).find(|&i| {
                let w = |n| entry(tables::PREF64_BASE, tables::PREF64_STRIDE, i, n);
                let length = u32::from(PREFIX_LENGTHS[(w(3) & 7) as usize]);
                let prefix = u128::from(w(0)) << 96 | u128::from(w(1)) << 64 | u128::from(w(2)) << 32;
                w(3) >> 31 == 1 && w(3) >> 4 & 7 == set && (prefix ^ bits(24)) >> (128 - length) == 0
            });
            let Some(pref64) = pref64 else { return no_match };
            let message = message_six(protocol, bits(8), bits(24) as u32, from, to, pref64 as u8, unit as u8);
            (half_sip_hash_1_3(key, &message), Direction::SixToFour)
        } else {
            let pool = (0..tables::POOLS as u32).any(|i| {
                let w = |n| entry(tables::POOL_BASE, tables::POOL_STRIDE, i, n);
                w(2) >> 31 == 1 && w(2) & 7 == set && (w(0)..=w(1)).contains(&address4(16))
            });
            if !pool {
                return no_match;
            }
            let message = message_four(protocol, address4(16), address4(12), to, from, set as u8);
            (half_sip_hash_1_3(key, &message), Direction::FourToSix)
        };
        let log2 = self.geometry.bucket_log2;
        let mut found = Vec::new();
        for bank in 0..BANKS {
            let words = self.bar2_words::<WAYS>(Tag::offset(bank, hash.bucket(bank, log2), 0));
            let tags = words.into_iter().filter_map(Tag::from_word);
            found.extend(
                tags.filter(|tag| tag.fingerprint == hash.fingerprint())
                    .map(|tag| tag.index),
            );
        }
        for i in 0..self.geometry.stash as u32 {
            let [low, high] = self.bar2_words::<2>(StashEntry::offset(0) + i * STASH_STRIDE);
            if let Some(tag) = Tag::from_word(high) {
                if u64::from(tag.fingerprint) << 32 | u64::from(low) == hash.signature() {
                    found.push(tag.index);
                }
            }
        }
        let hit = found.into_iter().find(|&index| {
            self.record(index).is_some_and(|r| match direction {
                Direction::SixToFour => r.hash_six_to_four(key) == hash,
                Direction::FourToSix => r.hash_four_to_six(key, set as u8) == hash,
            })
        });
        hit.map_or(Verdict::Punt(Reason::NoSession), |index| Verdict::Hit(index, direction))
    }
}
