//! Which worker a packet belongs to.
//!
//! ```text
//!   IPv6: source address (an error: the quoted destination) --keyed hash--> worker
//!   IPv4: pool address, port, protocol (an error: the quoted source) --directory--> worker that has the binding
//!   IPv4 fragments: (source, destination, identification) --keyed hash--> worker that remembers where the first one
//!                   went; the others wait there for it, and follow
//! ```
//!
//! The directory has one byte for each pool address, protocol and port, written by a worker when it makes a binding
//! (before the first packet leaves through it) and read by all, without a lock. A binding that has ended leaves its byte:
//! whoever it leads to knows nothing of the port, as everybody else. So ports may be given by whatever rule the
//! configuration has (blocks, deterministic, parity, at random); the workers share the pools and nothing is divided.

use std::collections::HashMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::OnceLock;

use nat64_driver::{plan, GatewayConfig};
use nat64_layout::Protocol;
use nat64_xlate::{Shard, Time};

const PORTS: usize = 1 << 16;
const ICMP: u8 = 1;
const TCP: u8 = 6;
const UDP: u8 = 17;
const ICMPV6: u8 = 58;
/// Hop-by-Hop, Routing, Destination Options.
const WALKED: [u8; 3] = [0, 43, 60];

/// The bytes of one address, by protocol; made when the first port is given.
type Address = [OnceLock<Box<[AtomicU8]>>; 3];

/// Which worker has a port.
#[derive(Debug, Default)]
pub struct Directory {
    /// Ranges of addresses, in order, with the number of the first address of each.
    ranges: Vec<(u32, u32, usize)>,
    addresses: Vec<Address>,
}

impl Directory {
    /// A directory for all addresses a configuration answers for; nobody has a port.
    pub fn new(config: &GatewayConfig) -> Self {
        let sets = config.xlate.service_sets.iter();
        let ranges = plan::join(sets.flat_map(|set| plan::pool_ranges(config, set)).collect());
        let mut directory = Self::default();
        let mut count = 0;
        for (low, high) in ranges {
            directory.ranges.push((low, high, count));
            count += (high - low) as usize + 1;
        }
        directory.addresses.resize_with(count, Address::default);
        directory
    }

    fn address(&self, address: Ipv4Addr) -> Option<&Address> {
        let bits = u32::from(address);
        let index = self.ranges.partition_point(|range| range.1 < bits);
        let &(low, _, first) = self.ranges.get(index).filter(|range| range.0 <= bits)?;
        self.addresses.get(first + (bits - low) as usize)
    }

    /// A worker has a port now.
    pub fn set(&self, protocol: Protocol, pool: (Ipv4Addr, u16), worker: u16) {
        if let Some(address) = self.address(pool.0) {
            let ports = address[protocol as usize - 1].get_or_init(|| (0..PORTS).map(|_| AtomicU8::new(0)).collect());
            ports[usize::from(pool.1)].store(worker as u8 + 1, Ordering::Release);
        }
    }

    /// Who has, or last had, a port.
    pub fn get(&self, protocol: Protocol, pool: (Ipv4Addr, u16)) -> Option<u16> {
        let ports = self.address(pool.0)?[protocol as usize - 1].get()?;
        u16::from(ports[usize::from(pool.1)].load(Ordering::Acquire)).checked_sub(1)
    }
}

/// What makes fragments parts of one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentKey {
    source: Ipv4Addr,
    destination: Ipv4Addr,
    id: u16,
    protocol: u8,
}

impl FragmentKey {
    fn bytes(&self) -> [u8; 11] {
        let mut bytes = [0; 11];
        bytes[..4].copy_from_slice(&self.source.octets());
        bytes[4..8].copy_from_slice(&self.destination.octets());
        bytes[8..10].copy_from_slice(&self.id.to_be_bytes());
        bytes[10] = self.protocol;
        bytes
    }
}

/// Where a packet belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This worker.
    Worker(u16),
    /// A fragment: the worker that keeps account of its packet, which gives it to the worker of `first` (or, for later
    /// ones, where the first one went).
    Fragment {
        /// Whose fragment.
        key: FragmentKey,
        /// Who keeps account.
        account: u16,
        /// The first fragment, and where it belongs.
        first: Option<u16>,
    },
}

fn address4(packet: &[u8], at: usize) -> Option<Ipv4Addr> {
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(packet.get(at..at + 4)?).ok()?))
}

fn address6(packet: &[u8], at: usize) -> Option<Ipv6Addr> {
    Some(Ipv6Addr::from(<[u8; 16]>::try_from(packet.get(at..at + 16)?).ok()?))
}

fn half(packet: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes([*packet.get(at)?, *packet.get(at + 1)?]))
}

/// Where IP packets belong; the same for every worker.
#[derive(Debug)]
pub struct Steering<'a> {
    /// The hash.
    pub shard: &'a Shard,
    /// Who has which port.
    pub directory: &'a Directory,
}

impl Steering<'_> {
    /// The place of a packet. Damaged packets have one too: they end there as they would anywhere.
    pub fn place(&self, packet: &[u8]) -> Place {
        let place = match packet.first().map(|byte| byte >> 4) {
            Some(6) => self.six(packet).map(Place::Worker),
            Some(4) => self.four(packet),
            _ => None,
        };
        place.unwrap_or(Place::Worker(0))
    }

    /// The worker that translated a packet which could not be delivered: it has the session.
    pub fn sender(&self, packet: &[u8]) -> Option<u16> {
        match packet.first()? >> 4 {
            6 => Some(self.shard.of_client(address6(packet, 24)?)),
            4 => {
                let payload = packet.get(usize::from(packet[0] & 15) * 4..)?;
                let (protocol, at) = match *packet.get(9)? {
                    TCP => (Protocol::Tcp, 0),
                    UDP => (Protocol::Udp, 0),
                    ICMP => (Protocol::Icmp, 4),
                    _ => return None,
                };
                self.directory
                    .get(protocol, (address4(packet, 12)?, half(payload, at)?))
            }
            _ => None,
        }
    }

    fn six(&self, packet: &[u8]) -> Option<u16> {
        let source = address6(packet, 8)?;
        Some(self.shard.of_client(self.quoted6(packet).unwrap_or(source)))
    }

    /// For an ICMPv6 error the client whose packet's answer it is about: the destination it quotes.
    fn quoted6(&self, packet: &[u8]) -> Option<Ipv6Addr> {
        let (mut next, mut at) = (*packet.get(6)?, 40);
        while WALKED.contains(&next) {
            next = *packet.get(at)?;
            at += (usize::from(*packet.get(at + 1)?) + 1) * 8;
        }
        if next != ICMPV6 || *packet.get(at)? >= 128 {
            return None;
        }
        address6(packet, at + 8 + 24)
    }

    fn four(&self, packet: &[u8]) -> Option<Place> {
        let (source, destination) = (address4(packet, 12)?, address4(packet, 16)?);
        let (fragment, protocol) = (half(packet, 6)?, *packet.get(9)?);
        let key = FragmentKey {
            source,
            destination,
            id: half(packet, 4)?,
            protocol,
        };
        let payload = packet.get(usize::from(packet[0] & 15) * 4..)?;
        let other = || self.shard.spread(&key.bytes()[..8]);
        if fragment & 0x1fff != 0 {
            return Some(Place::Fragment {
                key,
                account: self.shard.spread(&key.bytes()),
                first: None,
            });
        }
        let worker = self.bound(destination, protocol, payload).unwrap_or_else(other);
        Some(if fragment & 0x2000 == 0 {
            Place::Worker(worker)
        } else {
            Place::Fragment {
                key,
                account: self.shard.spread(&key.bytes()),
                first: Some(worker),
            }
        })
    }

    /// Who has the binding that a packet to `pool` is for.
    fn bound(&self, pool: Ipv4Addr, protocol: u8, payload: &[u8]) -> Option<u16> {
        match protocol {
            TCP => self.directory.get(Protocol::Tcp, (pool, half(payload, 2)?)),
            UDP => self.directory.get(Protocol::Udp, (pool, half(payload, 2)?)),
            ICMP => match payload.first()? {
                0 | 8 => self.directory.get(Protocol::Icmp, (pool, half(payload, 4)?)),
                _ => self.quoted4(payload.get(8..)?),
            },
            _ => None,
        }
    }

    /// Who has the binding that a quoted packet left through.
    fn quoted4(&self, quoted: &[u8]) -> Option<u16> {
        let pool = address4(quoted, 12)?;
        let payload = quoted.get(usize::from(quoted[0] & 15) * 4..)?;
        match *quoted.get(9)? {
            TCP => self.directory.get(Protocol::Tcp, (pool, half(payload, 0)?)),
            UDP => self.directory.get(Protocol::Udp, (pool, half(payload, 0)?)),
            ICMP => self.directory.get(Protocol::Icmp, (pool, half(payload, 4)?)),
            _ => None,
        }
    }
}

/// Packets in pieces one worker keeps account of.
const ACCOUNTS: usize = 1024;
/// Pieces that wait for the first one, in all.
const WAITING: usize = 256;

/// What becomes of a fragment at the worker that keeps account of it; `T` is the fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Fragment<T> {
    /// It goes to this worker, after those that waited for it.
    Go(u16, Vec<T>),
    /// It waits for the first one.
    Waits,
    /// There is no room for it.
    Full,
}

#[derive(Debug)]
struct Account<T> {
    worker: Option<u16>,
    waiting: Vec<T>,
    until: Time,
}

/// Where the first fragments went. Bounded; what is too old goes.
#[derive(Debug)]
pub struct Accounts<T> {
    table: HashMap<FragmentKey, Account<T>>,
    waiting: usize,
}

impl<T> Default for Accounts<T> {
    fn default() -> Self {
        Self {
            table: HashMap::new(),
            waiting: 0,
        }
    }
}

impl<T> Accounts<T> {
    /// A fragment came: where it goes. `piece` is asked for only when it has to wait. Accounts live for `lifetime`.
    pub fn fragment(
        &mut self,
        now: Time,
        lifetime: Time,
        key: FragmentKey,
        first: Option<u16>,
        piece: impl FnOnce() -> T,
    ) -> Fragment<T> {
        if !self.table.contains_key(&key) && self.table.len() >= ACCOUNTS {
            // The first one can go without an account; those behind it will find none, and wait in vain.
            return first.map_or(Fragment::Full, |worker| Fragment::Go(worker, Vec::new()));
        }
        let account = self.table.entry(key).or_insert_with(|| Account {
            worker: None,
            waiting: Vec::new(),
            until: now.saturating_add(lifetime),
        });
        // A second first one (another packet with the same identification, or an attack) changes nothing.
        if let Some(worker) = account.worker.or(first) {
            account.worker = Some(worker);
            let waiting = std::mem::take(&mut account.waiting);
            self.waiting -= waiting.len();
            return Fragment::Go(worker, waiting);
        }
        if self.waiting >= WAITING {
            return Fragment::Full;
        }
        self.waiting += 1;
        account.waiting.push(piece());
        Fragment::Waits
    }

    /// Forgets what is too old; returns how many pieces waited in vain.
    pub fn advance(&mut self, now: Time) -> u64 {
        let before = self.waiting;
        let waiting = &mut self.waiting;
        self.table.retain(|_, account| {
            let keep = account.until > now;
            if !keep {
                *waiting -= account.waiting.len();
            }
            keep
        });
        (before - self.waiting) as u64
    }

    /// Pieces that wait.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Packets in pieces.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use etherparse::PacketBuilder;
    use nat64_driver::{LinkType, PortConfig};
    use nat64_xlate::config::{Action, Filtering, Match, Pool, Refresh, ServiceSet, Term, Translate};

    fn config() -> GatewayConfig {
        let port = PortConfig {
            mac: [2; 6],
            policy: nat64_layout::tables::PortPolicy::Drop,
        };
        let pool = |a: [u8; 4], b: [u8; 4]| Pool {
            name: format!("{a:?}"),
            ranges: vec![(a.into(), b.into())],
            ports: (1024, 65535),
            random: false,
            round_robin: false,
            preserve_parity: false,
            preserve_range: false,
            limit_ports_per_address: None,
            blocks: None,
            deterministic_block: None,
            mapping_timeout: None,
            quarantine: std::time::Duration::ZERO,
            draining: vec![],
        };
        let term = |pool| Term {
            rule: "r".into(),
            name: "t".into(),
            from: Match::default(),
            then: Action::Translate(Translate {
                pref64: "64:ff9b::".parse().expect("an address"),
                pref64_length: 96,
                pool,
                overload_pool: None,
                endpoint_independent_mapping: true,
                filtering: Filtering::EndpointIndependent,
                filter_prefixes: vec![],
                eif_flow_limit: None,
                mapping_refresh: Refresh::Both,
                paired: false,
                deterministic: false,
            }),
        };
        GatewayConfig {
            link_type: LinkType::Ethernet,
            ports: [port; 2],
            units: vec![],
            xlate: nat64_xlate::Config {
                pools: vec![
                    pool([203, 0, 113, 1], [203, 0, 113, 4]),
                    pool([198, 51, 100, 7], [198, 51, 100, 7]),
                ],
                service_sets: vec![ServiceSet {
                    terms: vec![term(0), term(1)],
                    ..ServiceSet::default()
                }],
                ..nat64_xlate::Config::default()
            },
        }
    }

    const POOL: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 4);

    #[test]
    fn the_directory_knows_pool_addresses_and_nothing_else() {
        let directory = Directory::new(&config());
        for (i, address) in [POOL, Ipv4Addr::new(198, 51, 100, 7), Ipv4Addr::new(203, 0, 113, 1)]
            .into_iter()
            .enumerate()
        {
            assert_eq!(directory.get(Protocol::Udp, (address, 5000)), None);
            directory.set(Protocol::Udp, (address, 5000), i as u16 * 20);
            assert_eq!(directory.get(Protocol::Udp, (address, 5000)), Some(i as u16 * 20));
            assert_eq!(directory.get(Protocol::Tcp, (address, 5000)), None);
            assert_eq!(directory.get(Protocol::Udp, (address, 5001)), None);
        }
        for address in [[203, 0, 113, 0], [203, 0, 113, 5], [198, 51, 100, 8], [0; 4], [255; 4]] {
            directory.set(Protocol::Udp, (address.into(), 5000), 3);
            assert_eq!(directory.get(Protocol::Udp, (address.into(), 5000)), None);
        }
    }

    fn udp4(source: [u8; 4], to: (Ipv4Addr, u16)) -> Vec<u8> {
        let mut packet = Vec::new();
        PacketBuilder::ipv4(source, to.0.octets(), 64)
            .udp(53, to.1)
            .write(&mut packet, &[0; 16])
            .expect("a packet");
        packet
    }

    /// An ICMP error with a quote behind it, or for IPv6 with whatever header in front.
    fn error4(quote: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; 28];
        packet[0] = 0x45;
        packet[9] = ICMP;
        packet[16..20].copy_from_slice(&POOL.octets());
        packet[20] = 3;
        packet.extend_from_slice(quote);
        packet
    }

    #[test]
    fn replies_and_errors_find_the_binding() {
        let directory = Directory::new(&config());
        let shard = Shard::new(0, 16, 128, 5);
        let steering = Steering {
            shard: &shard,
            directory: &directory,
        };
        directory.set(Protocol::Udp, (POOL, 5000), 11);
        directory.set(Protocol::Icmp, (POOL, 9), 12);
        assert_eq!(steering.place(&udp4([192, 0, 2, 1], (POOL, 5000))), Place::Worker(11));
        let mut quote = udp4(POOL.octets(), (Ipv4Addr::new(192, 0, 2, 1), 53));
        quote[20..22].copy_from_slice(&5000u16.to_be_bytes());
        assert_eq!(steering.place(&error4(&quote)), Place::Worker(11));
        assert_eq!(
            steering.place(&error4(&quote[..28])),
            Place::Worker(11),
            "eight bytes are enough"
        );
        let mut echo = Vec::new();
        PacketBuilder::ipv4([192, 0, 2, 1], POOL.octets(), 64)
            .icmpv4_echo_reply(9, 1)
            .write(&mut echo, &[])
            .expect("a packet");
        assert_eq!(steering.place(&echo), Place::Worker(12));
        for cut in 0..echo.len() {
            assert!(matches!(steering.place(&echo[..cut]), Place::Worker(0..16)));
        }
    }

    #[test]
    fn errors_from_the_ipv6_side_go_to_the_client_they_are_about() {
        let directory = Directory::new(&config());
        let shard = Shard::new(0, 64, 128, 5);
        let steering = Steering {
            shard: &shard,
            directory: &directory,
        };
        let client: Ipv6Addr = "2001:db8::77".parse().expect("an address");
        let want = Place::Worker(shard.of_client(client));
        let mut plain = vec![0; 48];
        plain[0] = 0x60;
        plain[6] = UDP;
        plain[8..24].copy_from_slice(&client.octets());
        assert_eq!(steering.place(&plain), want);
        let mut error = vec![0; 48];
        error[0] = 0x60;
        error[6] = ICMPV6;
        error[8] = 0x20;
        error[40] = 2;
        error.extend_from_slice(&[0; 40]);
        error[48 + 24..48 + 40].copy_from_slice(&client.octets());
        assert_eq!(steering.place(&error), want);
        // The same behind a Destination Options header.
        let mut extended = error.clone();
        extended[6] = 60;
        extended.splice(40..40, [ICMPV6, 0, 1, 4, 0, 0, 0, 0]);
        assert_eq!(steering.place(&extended), want);
        error[40] = 128;
        let source: Ipv6Addr = Ipv6Addr::from(<[u8; 16]>::try_from(&error[8..24]).expect("16"));
        assert_eq!(steering.place(&error), Place::Worker(shard.of_client(source)));
    }

    #[test]
    fn fragments_wait_for_the_first_one_and_follow_it() {
        let directory = Directory::new(&config());
        directory.set(Protocol::Udp, (POOL, 5000), 3);
        let shard = Shard::new(0, 8, 128, 5);
        let steering = Steering {
            shard: &shard,
            directory: &directory,
        };
        let mut head = udp4([192, 0, 2, 1], (POOL, 5000));
        let mut tail = head.clone();
        head[6] = 0x20;
        tail[7] = 3;
        let (
            Place::Fragment { key, account, first },
            Place::Fragment {
                key: same,
                account: too,
                first: none,
            },
        ) = (steering.place(&head), steering.place(&tail))
        else {
            panic!("fragments")
        };
        assert_eq!((key, account, first, none), (same, too, Some(3), None));
        let mut accounts = Accounts::default();
        assert_eq!(accounts.fragment(0, 100, key, None, || 'a'), Fragment::Waits);
        assert_eq!(accounts.fragment(1, 100, key, None, || 'b'), Fragment::Waits);
        assert_eq!(
            accounts.fragment(2, 100, key, first, || 'c'),
            Fragment::Go(3, vec!['a', 'b'])
        );
        assert_eq!(accounts.fragment(3, 100, key, None, || 'd'), Fragment::Go(3, vec![]));
        assert_eq!((accounts.waiting(), accounts.len()), (0, 1));
        assert_eq!(accounts.advance(100), 0);
        assert!(accounts.is_empty());
        // What never gets its first one ends with its account; there is room for so many.
        let mut waited = 0;
        for id in 0..2000u16 {
            let key = FragmentKey { id, ..key };
            match accounts.fragment(0, 100, key, None, || 'e') {
                Fragment::Waits => waited += 1,
                Fragment::Full => {}
                Fragment::Go(..) => panic!("nowhere to go"),
            }
        }
        assert_eq!(waited, WAITING as u64);
        assert!(accounts.len() <= ACCOUNTS);
        assert_eq!(accounts.advance(100), waited);
        assert_eq!(accounts.waiting(), 0);
    }
}
