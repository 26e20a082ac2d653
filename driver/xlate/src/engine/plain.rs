//! The short way of plain packets: TCP without SYN, FIN and RST, and UDP, whole and without options, through sessions whose
//! state they do not change. Nearly all packets are such.
//!
//! ```text
//!  read   bytes, configuration -> what the packet is looked up with   (changes nothing, knows no state)
//!  carry  state                -> counters, stamp, one Send           (or nothing at all: `false`)
//! ```
//!
//! The short way decides nothing that [`Nat64::step_in_full`] does not decide, it only asks fewer questions: a packet for
//! which any of the others could matter is left to it. `tests/batch.rs` holds both against each other.

use std::net::Ipv4Addr;

use nat64_layout::{Direction, Protocol};

use super::answers::next_ident;
use super::six::is_host6;
use super::Nat64;
use crate::bib::{Key4, NONE};
use crate::checksum;
use crate::effect::{Effects, Time};
use crate::index::Index;
use crate::packet::{addr4, addr6, be16, proto, IPV4_HEADER, IPV6_HEADER, TCP_FIN, TCP_RST, TCP_SYN};
use crate::policy::is_host4;
use crate::session::Tuple6;
use crate::translate::{build4, build6, never_zero, DF4, MIN_MTU6, TCP_CHECKSUM, UDP_CHECKSUM};

/// Flags of a segment that may change the state of a session.
const EVENTFUL: u8 = TCP_SYN | TCP_FIN | TCP_RST;
/// Bytes of a UDP header: the shortest transport header.
const UDP_HEADER: usize = 8;
/// Bytes of a TCP header without options.
const TCP_HEADER: usize = 20;

/// A packet that may go the short way, as far as its bytes and the configuration tell.
#[derive(Clone, Copy, Debug)]
pub(super) enum Plain {
    /// From the IPv6 side.
    Six(Plain6),
    /// From the IPv4 side.
    Four(Plain4),
    /// It may not.
    Other,
}

/// See [`Plain::Six`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain6 {
    pub tuple: Tuple6,
    /// Of `tuple`.
    pub hash: u64,
    set: u16,
    /// Bytes behind the IPv6 header.
    length: u16,
}

/// See [`Plain::Four`].
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain4 {
    pub key: Key4,
    /// Of `key`.
    pub hash: u64,
    remote: (Ipv4Addr, u16),
    /// Bytes behind the IPv4 header.
    length: u16,
}

/// The protocol of a transport header that asks no questions.
#[inline(always)]
fn protocol_of(number: u8, transport: &[u8]) -> Option<Protocol> {
    match number {
        proto::UDP => {
            let header = transport.first_chunk::<UDP_HEADER>()?;
            let length = usize::from(be16(header, 4));
            let whole = length >= UDP_HEADER && length <= transport.len() && be16(header, UDP_CHECKSUM) != 0;
            whole.then_some(Protocol::Udp)
        }
        proto::TCP => {
            let header = transport.first_chunk::<TCP_HEADER>()?;
            let length = usize::from(header[12] >> 4) * 4;
            let whole = length >= TCP_HEADER && length <= transport.len() && header[13] & EVENTFUL == 0;
            whole.then_some(Protocol::Tcp)
        }
        _ => None,
    }
}

/// Writes ports (source, then destination, as they are sent) and checksum into a transport header, for a change of the
/// addresses' sums, of words as they lie in memory, from `old` to `new`.
#[inline(always)]
fn rewrite(transport: &mut [u8], protocol: Protocol, old: u64, new: u64, ports: [u8; 4]) {
    let exchange = |ends: [u8; 4], sum: [u8; 2]| {
        let old = old + checksum::sum4_raw(ends);
        checksum::exchange(u16::from_le_bytes(sum), old, new + checksum::sum4_raw(ports))
    };
    if protocol == Protocol::Tcp {
        if let Some([a, b, c, d, .., e, f]) = transport.first_chunk_mut::<{ TCP_CHECKSUM + 2 }>() {
            [*e, *f] = exchange([*a, *b, *c, *d], [*e, *f]).to_le_bytes();
            [*a, *b, *c, *d] = ports;
        }
    } else if let Some([a, b, c, d, _, _, e, f]) = transport.first_chunk_mut::<{ UDP_CHECKSUM + 2 }>() {
        [*e, *f] = never_zero(exchange([*a, *b, *c, *d], [*e, *f])).to_le_bytes();
        [*a, *b, *c, *d] = ports;
    }
}

/// Two ports as they are sent.
#[inline]
const fn ports(src: u16, dst: u16) -> [u8; 4] {
    ((src as u32) << 16 | dst as u32).to_be_bytes()
}

impl Nat64 {
    /// Reads a packet that arrived on a unit. The answer depends on nothing that packets change, so it may be got before
    /// the packets in front of it are through.
    #[inline(always)]
    pub(super) fn read(&self, unit: usize, packet: &[u8]) -> Plain {
        match packet.first().map(|byte| byte >> 4) {
            Some(6) => self.read6(unit, packet).map_or(Plain::Other, Plain::Six),
            Some(4) => self.read4(unit, packet).map_or(Plain::Other, Plain::Four),
            _ => Plain::Other,
        }
    }

    #[inline(always)]
    fn read6(&self, unit: usize, bytes: &[u8]) -> Option<Plain6> {
        let head = bytes.first_chunk::<{ IPV6_HEADER + UDP_HEADER }>()?;
        let length = be16(head, 4);
        let transport = bytes.get(IPV6_HEADER..IPV6_HEADER + usize::from(length))?;
        let protocol = protocol_of(head[6], transport)?;
        let policy = self.policy.unit(unit).filter(|policy| policy.inside)?;
        let set = policy.set;
        let (src, dst) = (addr6(head, 8), addr6(head, 24));
        // Hop limit 1 ends here. So does 2 in a hairpin, but that one goes to an address of ours.
        if head[7] <= 1 || !is_host6(src) || dst.is_multicast() {
            return None;
        }
        let (prefix, remote) = self.policy.plain_destination(policy, src, dst)?;
        let tuple = Tuple6 {
            protocol,
            unit: unit as u16,
            prefix,
            client: (src, be16(head, IPV6_HEADER)),
            remote: (remote, be16(head, IPV6_HEADER + 2)),
        };
        Some(Plain6 {
            tuple,
            hash: tuple.hash(&self.keys),
            set,
            length,
        })
    }

    #[inline(always)]
    fn read4(&self, unit: usize, bytes: &[u8]) -> Option<Plain4> {
        let head = bytes.first_chunk::<{ IPV4_HEADER + UDP_HEADER }>()?;
        let total = be16(head, 2);
        let transport = bytes.get(IPV4_HEADER..usize::from(total))?;
        let header = head.first_chunk::<IPV4_HEADER>()?;
        // No options, no fragment, a hop left, a right checksum.
        if head[0] != 0x45 || be16(head, 6) & 0x3fff != 0 || head[8] <= 1 {
            return None;
        }
        if checksum::fold(checksum::sum(header)) != 0xffff {
            return None;
        }
        let protocol = protocol_of(head[9], transport)?;
        let policy = self.policy.unit(unit).filter(|policy| policy.outside)?;
        let (src, dst) = (addr4(head, 12), addr4(head, 16));
        // That the destination is ours needs no question: it has a binding, or the packet does not go this way.
        if !is_host4(src) || !is_host4(dst) || src == dst {
            return None;
        }
        let key = Key4 {
            protocol,
            service_set: policy.set,
            pool: (dst, be16(head, IPV4_HEADER + 2)),
        };
        Some(Plain4 {
            key,
            hash: key.hash(&self.keys),
            remote: (src, be16(head, IPV4_HEADER)),
            length: total - IPV4_HEADER as u16,
        })
    }

    /// The table that knows the session of a packet or, from the IPv4 side, its binding, and the hash to ask it with.
    #[inline(always)]
    pub(super) fn index(&self, plain: &Plain) -> Option<(&Index, u64)> {
        match plain {
            Plain::Six(plain) => Some((self.sessions.index6(), plain.hash)),
            Plain::Four(plain) => Some((self.bibs.index4(), plain.hash)),
            Plain::Other => None,
        }
    }

    /// The number under which the session of a packet or, from the IPv4 side, its binding is likely to be found.
    #[inline(always)]
    pub(super) fn hint(&self, plain: &Plain) -> u32 {
        self.index(plain).map_or(NONE, |(index, hash)| index.candidate(hash))
    }

    /// Asks for session and binding behind a hint. Most sessions have the number of their binding, for both are made at
    /// once, so neither waits for the other.
    #[inline(always)]
    pub(super) fn prefetch(&self, hint: u32) {
        self.sessions.prefetch(hint);
        self.bibs.prefetch(hint);
    }

    /// Carries a packet that was read. `false`: it must go the long way, and nothing was changed. A wrong hint costs time.
    #[inline(always)]
    pub(super) fn carry(&mut self, now: Time, plain: &Plain, hint: u32, packet: &[u8], effects: &mut Effects) -> bool {
        match plain {
            Plain::Six(plain) => self.carry6(now, plain, hint, packet, effects).is_some(),
            Plain::Four(plain) => self.carry4(now, plain, hint, packet, effects).is_some(),
            Plain::Other => false,
        }
    }

    #[inline(always)]
    fn carry6(&mut self, now: Time, plain: &Plain6, hint: u32, bytes: &[u8], effects: &mut Effects) -> Option<()> {
        if self.sessions.is6(&self.bibs, hint, &plain.tuple) {
            return self.forward6(now, plain, hint, bytes, effects);
        }
        self.find_and_carry6(now, plain, bytes, effects)
    }

    /// [`Nat64::carry6`] without a hint. Nearly always there is no session then; the long way need not look again.
    #[cold]
    fn find_and_carry6(&mut self, now: Time, plain: &Plain6, bytes: &[u8], effects: &mut Effects) -> Option<()> {
        match self.sessions.find6_hashed(&self.bibs, &plain.tuple, plain.hash) {
            Some(slot) => self.forward6(now, plain, slot, bytes, effects),
            None => {
                self.absent = Some((plain.tuple, plain.hash));
                None
            }
        }
    }

    #[inline(always)]
    fn forward6(&mut self, now: Time, plain: &Plain6, slot: u32, bytes: &[u8], effects: &mut Effects) -> Option<()> {
        const DIRECTION: Direction = Direction::SixToFour;
        let (tuple, length) = (&plain.tuple, usize::from(plain.length));
        let session = self.sessions.get_mut(slot)?;
        let pool = self.bibs.get(session.bib)?.pool;
        let (set, way) = (plain.set, self.policy.way(plain.set)?);
        let total = u16::try_from(IPV4_HEADER + length)
            .ok()
            .filter(|&total| total <= way.mtu4)?;
        if !session.state.is_steady() {
            return None;
        }
        let head = bytes.first_chunk::<IPV6_HEADER>()?;
        let transport = bytes.get(IPV6_HEADER..IPV6_HEADER + length)?;
        // Nothing can fail from here on.
        session.count(DIRECTION, IPV6_HEADER + length);
        if self.policy.refreshes(set, session.term, DIRECTION) {
            session.last = session.last.max(now);
        }
        let remote = tuple.remote;
        let ident = next_ident(&mut self.ident);
        let header = build4(
            way.tos_override.unwrap_or((be16(head, 0) >> 4) as u8),
            total,
            ident,
            if total > way.df_clear_max { DF4 } else { 0 },
            head[7] - 1,
            head[6],
            pool.0,
            remote.0,
        );
        let out = effects.send_headed(way.outside_unit, DIRECTION, &header, transport);
        let old = checksum::sum6_raw(tuple.client.0.octets()) + checksum::sum6_raw(addr6(head, 24).octets());
        let new = checksum::sum4_raw(pool.0.octets()) + checksum::sum4_raw(remote.0.octets());
        rewrite(out, tuple.protocol, old, new, ports(pool.1, remote.1));
        self.stats.translated(set, DIRECTION, IPV6_HEADER + length);
        Some(())
    }

    #[inline(always)]
    fn carry4(&mut self, now: Time, plain: &Plain4, hint: u32, bytes: &[u8], effects: &mut Effects) -> Option<()> {
        if self.bibs.is4(hint, &plain.key) {
            return self.forward4(now, plain, hint, bytes, effects);
        }
        self.find_and_carry4(now, plain, bytes, effects)
    }

    /// [`Nat64::carry4`] without a hint. Nearly always there is no binding then.
    #[cold]
    fn find_and_carry4(&mut self, now: Time, plain: &Plain4, bytes: &[u8], effects: &mut Effects) -> Option<()> {
        let slot = self.bibs.find4_hashed(&plain.key, plain.hash)?;
        self.forward4(now, plain, slot, bytes, effects)
    }

    #[inline(always)]
    fn forward4(&mut self, now: Time, plain: &Plain4, bib: u32, bytes: &[u8], effects: &mut Effects) -> Option<()> {
        const DIRECTION: Direction = Direction::FourToSix;
        let (key, remote, length) = (&plain.key, plain.remote, usize::from(plain.length));
        let (set, way) = (key.service_set, self.policy.way(key.service_set)?);
        let bib_slot = bib;
        let bib = self.bibs.get(bib_slot)?;
        let slot = match self.sessions.get(bib.first) {
            Some(first) if first.remote == remote => bib.first,
            _ => self.sessions.find_remote(&self.bibs, bib_slot, remote)?,
        };
        let client = bib.six.client;
        let session = self.sessions.get_mut(slot)?;
        let mtu = self.policy.unit(usize::from(session.unit))?.mtu;
        let head = bytes.first_chunk::<IPV4_HEADER>()?;
        let transport = bytes.get(IPV4_HEADER..IPV4_HEADER + length)?;
        let whole = way.keep_whole || head[6] & 0x40 != 0;
        let limit = usize::from(if whole { mtu } else { mtu.min(way.lowest_mtu6) }).max(MIN_MTU6);
        if !session.state.is_steady() || IPV6_HEADER + length > limit {
            return None;
        }
        let src = self.policy.prefixes.get(usize::from(session.prefix))?.embed(remote.0);
        // Nothing can fail from here on.
        session.count(DIRECTION, IPV4_HEADER + length);
        if self.policy.refreshes(set, session.term, DIRECTION) {
            session.last = session.last.max(now);
        }
        let header = build6(
            way.tos_override.unwrap_or(head[1]),
            plain.length,
            head[9],
            head[8] - 1,
            src,
            client.0,
        );
        let out = effects.send_headed(usize::from(session.unit), DIRECTION, &header, transport);
        let old = checksum::sum4_raw(remote.0.octets()) + checksum::sum4_raw(key.pool.0.octets());
        let new = checksum::sum6_raw(src.octets()) + checksum::sum6_raw(client.0.octets());
        rewrite(out, key.protocol, old, new, ports(remote.1, client.1));
        self.stats.translated(set, DIRECTION, IPV4_HEADER + length);
        Some(())
    }
}
