//! Router advertisements (RFC 4861 section 6.2) with PREF64 (RFC 8781): hosts of an inside unit learn their prefix, their
//! router and the translation prefix.
//!
//! ```text
//!   start --3 times, 16 s apart--> every min..max interval, at random
//!   solicitation --within half a second, 3 s after the last one at the earliest--> one for all
//!   end --> one with lifetime 0 (section 6.2.5)
//! ```
//!
//! Pure logic: time is an argument, packets come back. Not here: other routers' advertisements are not compared with
//! ours.

use std::net::Ipv6Addr;
use std::time::Duration;

use nat64_driver::link;
use nat64_driver::neigh::UnitNet;
use nat64_layout::ETHERTYPE_IPV6;
use nat64_xlate::keyed::Random;
use nat64_xlate::{checksum, Time};

use crate::config::{NatPrefix, RouterAdvertisement};

const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC: link::Mac = [0x33, 0x33, 0, 0, 0, 1];
const ICMPV6: u8 = 58;
/// ICMPv6 type of a solicitation.
pub const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// MAX_INITIAL_RTR_ADVERTISEMENTS, MAX_INITIAL_RTR_ADVERT_INTERVAL, MIN_DELAY_BETWEEN_RAS, MAX_RA_DELAY_TIME.
const INITIAL: u32 = 3;
const INITIAL_INTERVAL: Time = 16_000_000_000;
const LEAST_PAUSE: Time = 3_000_000_000;
const MOST_DELAY: Time = 500_000_000;
/// Hop limit hosts are to use.
const HOP_LIMIT: u8 = 64;

fn seconds(time: Duration) -> u32 {
    u32::try_from(time.as_secs()).unwrap_or(u32::MAX)
}

fn nanoseconds(time: Duration) -> Time {
    Time::try_from(time.as_nanos()).unwrap_or(Time::MAX)
}

/// A PREF64 option: lifetime in units of 8 s, length code, the first 96 bits of the prefix. `None`: no such length.
fn pref64(prefix: &NatPrefix, lifetime: Option<Duration>) -> Option<[u8; 16]> {
    let code = match prefix.length {
        96 => 0,
        64 => 1,
        56 => 2,
        48 => 3,
        40 => 4,
        32 => 5,
        _ => return None,
    };
    let scaled = seconds(lifetime.unwrap_or(prefix.lifetime)).div_ceil(8).min(0x1fff) as u16;
    let mut option = [0; 16];
    option[0] = 38;
    option[1] = 2;
    option[2..4].copy_from_slice(&(scaled << 3 | code).to_be_bytes());
    option[4..].copy_from_slice(&prefix.address.octets()[..12]);
    Some(option)
}

/// The advertisement of a unit, an IPv6 packet to all nodes. With `end` all lifetimes of ours as a router are zero.
pub fn advertisement(told: &RouterAdvertisement, unit: &UnitNet, mtu: u16, end: bool) -> Vec<u8> {
    let mut body = vec![ADVERTISEMENT, 0, 0, 0, HOP_LIMIT];
    body.push(u8::from(told.managed) << 7 | u8::from(told.other) << 6);
    let lifetime = if end {
        0
    } else {
        seconds(told.default_lifetime).min(0xffff) as u16
    };
    body.extend_from_slice(&lifetime.to_be_bytes());
    // Reachable time and retransmission timer: unspecified.
    body.extend_from_slice(&[0; 8]);
    body.extend_from_slice(&[1, 1]);
    body.extend_from_slice(&unit.mac);
    body.extend_from_slice(&[5, 1, 0, 0]);
    body.extend_from_slice(&u32::from(mtu).to_be_bytes());
    for prefix in &told.prefixes {
        body.extend_from_slice(&[3, 4, prefix.length]);
        body.push(u8::from(prefix.on_link) << 7 | u8::from(prefix.autonomous) << 6);
        body.extend_from_slice(&seconds(prefix.valid_lifetime).to_be_bytes());
        body.extend_from_slice(&seconds(prefix.preferred_lifetime).to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&prefix.address.octets());
    }
    for prefix in &told.nat_prefixes {
        body.extend(pref64(prefix, end.then_some(Duration::ZERO)).into_iter().flatten());
    }
    let source = unit.link_local();
    let sum = checksum::pseudo6(source, ALL_NODES, body.len() as u32, ICMPV6) + checksum::sum(&body);
    body[2..4].copy_from_slice(&checksum::finish(sum).to_be_bytes());
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(body.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[ICMPV6, 255]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&ALL_NODES.octets());
    packet.extend_from_slice(&body);
    packet
}

/// Whether a packet is a solicitation as it must be (section 6.1.1).
fn is_solicitation(packet: &[u8]) -> bool {
    let address = |at: usize| {
        let bytes = packet.get(at..at + 16)?;
        <[u8; 16]>::try_from(bytes).ok().map(Ipv6Addr::from)
    };
    let (Some(source), Some(to)) = (address(8), address(24)) else {
        return false;
    };
    let length = usize::from(u16::from_be_bytes([packet[4], packet[5]]));
    let Some(body) = packet.get(40..40 + length).filter(|body| body.len() >= 8) else {
        return false;
    };
    let sum = checksum::pseudo6(source, to, length as u32, ICMPV6) + checksum::sum(body);
    if packet[7] != 255 || body[0] != SOLICITATION || body[1] != 0 || checksum::finish(sum) != 0 {
        return false;
    }
    let mut options = &body[8..];
    while let [kind, size, ..] = *options {
        let size = usize::from(size) * 8;
        // A source that has no address yet has no link-layer address to tell.
        if size == 0 || size > options.len() || (kind == 1 && source.is_unspecified()) {
            return false;
        }
        options = &options[size..];
    }
    options.is_empty()
}

/// One unit's.
#[derive(Clone, Debug)]
struct Sender {
    told: RouterAdvertisement,
    next: Time,
    last: Option<Time>,
    sent: u32,
}

/// The advertisements of all units.
#[derive(Debug)]
pub struct Advertiser {
    senders: Vec<Option<Sender>>,
    random: Random,
}

/// A frame to send: port and bytes.
pub type Frame = (usize, Vec<u8>);

impl Advertiser {
    /// Nothing is advertised yet.
    pub fn new(seed: u64) -> Self {
        Self {
            senders: Vec::new(),
            random: Random::new(seed),
        }
    }

    /// What is advertised from now on, by unit. Those that end are told so at once: `units` and `mtus` are those they
    /// were sent on.
    pub fn configure(
        &mut self,
        now: Time,
        told: Vec<Option<RouterAdvertisement>>,
        units: &[UnitNet],
        mtu: impl Fn(usize) -> u16,
    ) -> Vec<Frame> {
        let mut frames = Vec::new();
        let old = std::mem::take(&mut self.senders);
        for (unit, sender) in old.iter().enumerate() {
            let kept = told.get(unit).is_some_and(Option::is_some);
            if let (Some(sender), Some(net), false) = (sender, units.get(unit), kept) {
                frames.push(frame(net, &advertisement(&sender.told, net, mtu(unit), true)));
            }
        }
        let start = |(unit, told): (usize, Option<RouterAdvertisement>)| {
            let told = told?;
            Some(match old.get(unit).and_then(Option::as_ref) {
                Some(before) if before.told == told => before.clone(),
                before => Sender {
                    told,
                    next: now,
                    last: before.and_then(|before| before.last),
                    sent: 0,
                },
            })
        };
        self.senders = told.into_iter().enumerate().map(start).collect();
        frames
    }

    /// Whether a unit advertises.
    pub fn advertises(&self, unit: usize) -> bool {
        self.senders.get(unit).is_some_and(Option::is_some)
    }

    /// A solicitation came in on a unit. `false`: it is not what it must be.
    pub fn solicit(&mut self, now: Time, unit: usize, packet: &[u8]) -> bool {
        if !is_solicitation(packet) {
            return false;
        }
        let delay = u64::from(self.random.below(MOST_DELAY as u32));
        if let Some(sender) = self.senders.get_mut(unit).and_then(Option::as_mut) {
            let earliest = sender.last.map_or(0, |last| last.saturating_add(LEAST_PAUSE));
            sender.next = sender.next.min(earliest.max(now.saturating_add(delay)));
        }
        true
    }

    /// What is due by `now`.
    pub fn advance(&mut self, now: Time, units: &[UnitNet], mtu: impl Fn(usize) -> u16) -> Vec<Frame> {
        let mut frames = Vec::new();
        for (unit, sender) in self.senders.iter_mut().enumerate() {
            let (Some(sender), Some(net)) = (sender, units.get(unit)) else {
                continue;
            };
            if sender.next > now {
                continue;
            }
            frames.push(frame(net, &advertisement(&sender.told, net, mtu(unit), false)));
            sender.last = Some(now);
            sender.sent = sender.sent.saturating_add(1);
            let (low, high) = (
                nanoseconds(sender.told.min_interval),
                nanoseconds(sender.told.max_interval),
            );
            let spread = high.saturating_sub(low) as f64 * f64::from(self.random.below(1 << 30)) / f64::from(1 << 30);
            let mut pause = low.saturating_add(spread as Time).max(LEAST_PAUSE);
            if sender.sent < INITIAL {
                pause = pause.min(INITIAL_INTERVAL);
            }
            sender.next = now.saturating_add(pause);
        }
        frames
    }

    /// The last word of each unit.
    pub fn end(&mut self, units: &[UnitNet], mtu: impl Fn(usize) -> u16) -> Vec<Frame> {
        self.configure(0, Vec::new(), units, mtu)
    }
}

fn frame(unit: &UnitNet, packet: &[u8]) -> Frame {
    (
        unit.port,
        link::build(ALL_NODES_MAC, unit.mac, unit.vlans, ETHERTYPE_IPV6, packet),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AdvertisedPrefix;

    const SECOND: Time = 1_000_000_000;

    fn told() -> RouterAdvertisement {
        RouterAdvertisement {
            max_interval: Duration::from_secs(600),
            min_interval: Duration::from_secs(200),
            default_lifetime: Duration::from_secs(1800),
            managed: false,
            other: true,
            prefixes: vec![AdvertisedPrefix {
                address: "2001:db8::".parse().expect("an address"),
                length: 64,
                autonomous: true,
                on_link: true,
                valid_lifetime: Duration::from_secs(2_592_000),
                preferred_lifetime: Duration::from_secs(604_800),
            }],
            nat_prefixes: vec![NatPrefix {
                address: "64:ff9b::".parse().expect("an address"),
                length: 96,
                lifetime: Duration::from_secs(1800),
            }],
        }
    }

    fn unit() -> UnitNet {
        UnitNet {
            mac: [2, 0x4e, 0x36, 0x34, 0, 0],
            ..UnitNet::default()
        }
    }

    #[test]
    fn an_advertisement_has_every_field_where_the_rfcs_have_it() {
        let packet = advertisement(&told(), &unit(), 1500, false);
        assert_eq!(&packet[..8], &[0x60, 0, 0, 0, 0, 80, 58, 255]);
        assert_eq!(packet.len(), 40 + 80);
        let sum = checksum::pseudo6(unit().link_local(), ALL_NODES, 80, ICMPV6) + checksum::sum(&packet[40..]);
        assert_eq!(checksum::finish(sum), 0);
        let body = &packet[40..];
        assert_eq!((body[0], body[1], body[4], body[5]), (134, 0, 64, 0x40));
        assert_eq!(&body[6..8], &1800u16.to_be_bytes());
        assert_eq!(&body[16..24], &[1, 1, 2, 0x4e, 0x36, 0x34, 0, 0]);
        assert_eq!(&body[24..32], &[5, 1, 0, 0, 0, 0, 5, 220]);
        assert_eq!(&body[32..36], &[3, 4, 64, 0xc0]);
        assert_eq!(&body[36..40], &2_592_000u32.to_be_bytes());
        // RFC 8781 figure 1: type 38, 16 bytes, 225 times 8 s and code 0, 96 bits of prefix.
        assert_eq!(
            &body[64..80],
            &[38, 2, 7, 8, 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        let last = advertisement(&told(), &unit(), 1500, true);
        assert_eq!(&last[46..48], &[0, 0]);
        assert_eq!(&last[104..108], &[38, 2, 0, 0]);
    }

    #[test]
    fn lengths_have_their_codes() {
        for (length, code) in [(96, 0), (64, 1), (56, 2), (48, 3), (40, 4), (32, 5)] {
            let prefix = NatPrefix {
                length,
                ..told().nat_prefixes[0]
            };
            let option = pref64(&prefix, Some(Duration::from_secs(65_528))).expect("a length of RFC 6052");
            assert_eq!(u16::from_be_bytes([option[2], option[3]]), 0x1fff << 3 | code);
        }
        let prefix = NatPrefix {
            length: 80,
            ..told().nat_prefixes[0]
        };
        assert_eq!(pref64(&prefix, None), None);
    }

    fn solicitation(source: Ipv6Addr, options: &[u8]) -> Vec<u8> {
        let to: Ipv6Addr = "ff02::2".parse().expect("an address");
        let mut body = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        body.extend_from_slice(options);
        let sum = checksum::pseudo6(source, to, body.len() as u32, ICMPV6) + checksum::sum(&body);
        body[2..4].copy_from_slice(&checksum::finish(sum).to_be_bytes());
        let mut packet = vec![0x60, 0, 0, 0, 0, body.len() as u8, ICMPV6, 255];
        packet.extend_from_slice(&source.octets());
        packet.extend_from_slice(&to.octets());
        packet.extend_from_slice(&body);
        packet
    }

    #[test]
    fn they_come_often_at_first_then_at_random_and_when_asked_for() {
        let (units, mtu) = ([unit()], |_: usize| 1500);
        let mut advertiser = Advertiser::new(3);
        assert!(advertiser.configure(0, vec![Some(told())], &units, mtu).is_empty());
        let mut times = Vec::new();
        for second in 0..3000 {
            if !advertiser.advance(second * SECOND, &units, mtu).is_empty() {
                times.push(second);
            }
        }
        assert_eq!(times[..3], [0, 16, 32]);
        let pauses: Vec<u64> = times[2..].windows(2).map(|w| w[1] - w[0]).collect();
        assert!(
            pauses.len() > 3 && pauses.iter().all(|p| (200..=601).contains(p)),
            "{pauses:?}"
        );
        assert!(pauses.windows(2).any(|w| w[0] != w[1]), "at random: {pauses:?}");
        let now = 3000 * SECOND;
        let host: Ipv6Addr = "fe80::1".parse().expect("an address");
        assert!(advertiser.solicit(now, 0, &solicitation(host, &[1, 1, 2, 0, 0, 0, 0, 1])));
        let soon = (0..=10).map(|i| now + i * SECOND / 10);
        let sent: usize = soon.map(|at| advertiser.advance(at, &units, mtu).len()).sum();
        assert_eq!(sent, 1);
        // Many who ask get one answer, and not before three seconds have passed.
        for _ in 0..100 {
            assert!(advertiser.solicit(now + SECOND, 0, &solicitation(Ipv6Addr::UNSPECIFIED, &[])));
        }
        let soon = (10..=60).map(|i| now + i * SECOND / 10);
        let sent: Vec<Time> = soon
            .filter(|&at| !advertiser.advance(at, &units, mtu).is_empty())
            .collect();
        assert!(sent.len() == 1 && sent[0] >= now + 3 * SECOND, "{sent:?}");
        let last = advertiser.end(&units, mtu);
        assert_eq!(last.len(), 1);
        assert_eq!(&last[0].1[14 + 46..14 + 48], &[0, 0], "no router any more");
        assert!(advertiser.advance(now + 9999 * SECOND, &units, mtu).is_empty());
    }

    #[test]
    fn solicitations_that_cannot_be_are_refused() {
        let mut advertiser = Advertiser::new(3);
        advertiser.configure(0, vec![Some(told())], &[unit()], |_| 1500);
        let host: Ipv6Addr = "fe80::1".parse().expect("an address");
        let good = solicitation(host, &[1, 1, 2, 0, 0, 0, 0, 1]);
        assert!(advertiser.solicit(0, 0, &good));
        for cut in 0..good.len() {
            assert!(!advertiser.solicit(0, 0, &good[..cut]), "{cut}");
        }
        let mut far = good.clone();
        far[7] = 254;
        let mut damaged = good.clone();
        damaged[42] ^= 1;
        let none = solicitation(Ipv6Addr::UNSPECIFIED, &[1, 1, 2, 0, 0, 0, 0, 1]);
        let empty = solicitation(host, &[1, 0, 2, 0, 0, 0, 0, 1]);
        for bad in [far, damaged, none, empty] {
            assert!(!advertiser.solicit(0, 0, &bad));
        }
        assert!(advertiser.solicit(0, 7, &good), "another unit's: nothing comes of it");
    }
}
