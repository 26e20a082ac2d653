//! The short way of plain packets: TCP without SYN, FIN and RST, and UDP, whole and without options, through sessions whose
//! state they do not change. Nearly all packets are such.
//!
//! ```text
//!  read   bytes, configuration -> what the packet is looked up with   (changes nothing, knows no state)
//!  carry  state                -> counters, stamp, one Send           (or nothing at all: `false`)
//! ```
//!
//! A UDP packet that is plain but for its session begins one, and goes on as if it had been there.
//!
//! The short way decides nothing that [`Nat64::step_in_full`] does not decide, it only asks fewer questions: a packet for
//! which any of the others could matter is left to it. `tests/batch.rs` holds both against each other.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Direction, Protocol};

use super::answers::next_ident;
use super::six::{is_host6, Way6};
use super::state::Outbound;
use super::Nat64;
use crate::bib::{Key4, NONE};
use crate::checksum;
use crate::effect::{Effects, Time};
use crate::index::Index;
use crate::packet::{addr4, addr6, be16, proto, Packet6, IPV4_HEADER, IPV6_HEADER, TCP_FIN, TCP_RST, TCP_SYN};
use crate::policy::{is_host4, PlainServer};
use crate::session::{hash_words, Tuple6};
use crate::translate::{build4, build6, never_zero, DF4, MIN_MTU6, UDP_CHECKSUM};

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

/// See [`Plain::Six`]. Addresses are words as they lie in memory: nothing is asked of them here but whether they are equal.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain6 {
    client: u128,
    client_port: u16,
    remote: u32,
    remote_port: u16,
    unit: u16,
    prefix: u16,
    protocol: Protocol,
    /// Of the tuple.
    pub hash: u64,
    set: u16,
    /// Bytes behind the IPv6 header.
    length: u16,
}

impl Plain6 {
    fn tuple(&self) -> Tuple6 {
        Tuple6 {
            protocol: self.protocol,
            unit: self.unit,
            prefix: self.prefix,
            client: (Ipv6Addr::from(self.client.to_ne_bytes()), self.client_port),
            remote: (Ipv4Addr::from(self.remote.to_ne_bytes()), self.remote_port),
        }
    }

    /// As a packet without a session, which went to `destination`.
    fn outbound(&self, destination: Ipv6Addr) -> Outbound {
        let Tuple6 { client, remote, .. } = self.tuple();
        Outbound {
            unit: self.unit,
            service_set: self.set,
            prefix: self.prefix,
            protocol: self.protocol,
            client,
            destination: (destination, self.remote_port),
            remote,
        }
    }
}

/// Sixteen bytes of a header at `at`, as a word.
#[inline(always)]
fn word6<const N: usize>(header: &[u8; N], at: usize) -> u128 {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&header[at..at + 16]);
    u128::from_ne_bytes(bytes)
}

/// Four bytes of a header at `at`, as a word.
#[inline(always)]
fn word4<const N: usize>(header: &[u8; N], at: usize) -> u32 {
    u32::from_ne_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]])
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

/// What came of a packet that was to be carried.
enum Carried {
    /// It was.
    Yes,
    /// It goes the long way; nothing was changed.
    No,
    /// The hint leads to another's session; nothing was changed.
    NotHere,
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

/// The checksum of a transport header whose ports become others, for a change of the addresses' sums from the first to the
/// second; all as words as they lie in memory.
#[inline(always)]
fn exchange(sum: u16, ends: u32, ports: u32, (old, new): (u64, u64)) -> u16 {
    checksum::exchange(sum, old + u64::from(ends), new + u64::from(ports))
}

/// A UDP header with other ports (source, then destination, as they are sent), for a change of the addresses' sums.
#[inline(always)]
fn udp(header: &[u8; UDP_HEADER], ports: u32, sums: (u64, u64)) -> [u8; UDP_HEADER] {
    let old = u64::from_le_bytes(*header);
    let sum = never_zero(exchange((old >> 48) as u16, old as u32, ports, sums));
    (u64::from(ports) | old & (0xffff << 32) | u64::from(sum) << 48).to_le_bytes()
}

/// A TCP header with other ports, as [`udp`].
#[inline(always)]
fn tcp(header: &[u8; TCP_HEADER], ports: u32, sums: (u64, u64)) -> [u8; TCP_HEADER] {
    let mut header = *header;
    let [a, b, c, d, .., e, f, _, _] = &mut header;
    let sum = u16::from_le_bytes([*e, *f]);
    [*e, *f] = exchange(sum, u32::from_le_bytes([*a, *b, *c, *d]), ports, sums).to_le_bytes();
    [*a, *b, *c, *d] = ports.to_le_bytes();
    header
}

/// Two ports, as a word that lies in memory as they are sent.
#[inline(always)]
const fn ports(src: u16, dst: u16) -> u32 {
    ((src as u32) << 16 | dst as u32).to_be()
}

impl Nat64 {
    /// Reads a packet that arrived on a unit. The answer depends on nothing that packets change, so it may be got before
    /// the packets in front of it are through.
    #[inline(always)]
    pub(super) fn read(&self, unit: usize, packet: &[u8], into: &mut Plain) {
        // Written field by field into its place: a copy would wait for the fields.
        match packet.first().map(|byte| byte >> 4) {
            Some(6) => {
                if let Some(plain) = self.read6(unit, packet) {
                    *into = Plain::Six(plain);
                    return;
                }
            }
            Some(4) => {
                if let Some(plain) = self.read4(unit, packet) {
                    *into = Plain::Four(plain);
                    return;
                }
            }
            _ => {}
        }
        *into = Plain::Other;
    }

    /// Reads a packet and carries it. `false`: it must go the long way, and nothing was changed.
    #[inline(always)]
    pub(super) fn step_plain(&mut self, now: Time, unit: usize, packet: &[u8], effects: &mut Effects) -> bool {
        match packet.first().map(|byte| byte >> 4) {
            Some(6) => self.read6(unit, packet).is_some_and(|plain| {
                let hint = self.sessions.index6().candidate(plain.hash);
                // Neither session nor binding waits for the other.
                self.bibs.prefetch(hint);
                self.carry6(now, &plain, hint, packet, effects)
            }),
            Some(4) => self.read4(unit, packet).is_some_and(|plain| {
                let hint = self.bibs.index4().candidate(plain.hash);
                self.sessions.prefetch(hint);
                self.carry4(now, &plain, hint, packet, effects)
            }),
            _ => false,
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
        let (client, dst) = (word6(head, 8), word6(head, 24));
        // Hop limit 1 ends here. So does 2 in a hairpin, but that one goes to an address of ours.
        if head[7] <= 1 || !(head[8] >> 5 == 1 || is_host6(addr6(head, 8))) {
            return None;
        }
        let (prefix, remote) = match policy.plain_server(client, dst) {
            PlainServer::Known(prefix) => (prefix, word4(head, 36)),
            PlainServer::Nobody => return None,
            PlainServer::Ask => {
                let (prefix, remote) = self.policy.plain_destination(policy, addr6(head, 8), addr6(head, 24))?;
                (prefix, u32::from_ne_bytes(remote.octets()))
            }
        };
        let (client_port, remote_port) = (be16(head, IPV6_HEADER), be16(head, IPV6_HEADER + 2));
        let place = (unit as u16, prefix, protocol);
        Some(Plain6 {
            client,
            client_port,
            remote,
            remote_port,
            unit: place.0,
            prefix,
            protocol,
            hash: hash_words(&self.keys, client, remote, (client_port, remote_port), place),
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
            Plain::Six(plain) => self.carry6(now, plain, hint, packet, effects),
            Plain::Four(plain) => self.carry4(now, plain, hint, packet, effects),
            Plain::Other => false,
        }
    }

    #[inline(always)]
    fn carry6(&mut self, now: Time, plain: &Plain6, hint: u32, bytes: &[u8], effects: &mut Effects) -> bool {
        match self.forward6::<true>(now, plain, hint, bytes, effects) {
            Carried::Yes => true,
            Carried::No => false,
            Carried::NotHere => self.find_and_carry6(now, plain, bytes, effects),
        }
    }

    /// [`Nat64::carry6`] without a hint. Nearly always there is no session then.
    #[inline(never)]
    fn find_and_carry6(&mut self, now: Time, plain: &Plain6, bytes: &[u8], effects: &mut Effects) -> bool {
        let tuple = plain.tuple();
        if let Some(slot) = self.sessions.find6_hashed(&self.bibs, &tuple, plain.hash) {
            return matches!(self.forward6::<true>(now, plain, slot, bytes, effects), Carried::Yes);
        }
        let length = IPV6_HEADER + usize::from(plain.length);
        let fits = self
            .policy
            .way(plain.set)
            .is_some_and(|way| length <= IPV6_HEADER - IPV4_HEADER + usize::from(way.mtu4));
        let Some(head) = bytes.first_chunk::<{ IPV6_HEADER + UDP_HEADER }>() else {
            return false;
        };
        if plain.protocol != Protocol::Udp || !fits {
            // The long way need not look again.
            self.absent = Some((tuple, plain.hash));
            return false;
        }
        let outbound = plain.outbound(addr6(head, 24));
        match self.open_outbound(now, &outbound, plain.hash, length, effects) {
            Ok(slot) => {
                // It was counted when the session was opened.
                if !matches!(self.forward6::<false>(now, plain, slot, bytes, effects), Carried::Yes) {
                    debug_assert!(false, "a session that was opened by a packet carries it");
                }
            }
            Err(reason) => {
                let way = Way6 {
                    unit: usize::from(plain.unit),
                    set: plain.set,
                    prefix: plain.prefix,
                    remote: outbound.remote.0,
                };
                let reason = match Packet6::parse(bytes) {
                    Ok(packet) => self.refuse6(now, &way, &packet, reason, effects),
                    Err(other) => other,
                };
                self.finish(Some(plain.set), Err(reason), effects);
            }
        }
        true
    }

    /// Asks for the bucket in which the binding of a packet without a session would be, if it is the usual one of its set.
    pub(super) fn prefetch_binding(&self, plain: &Plain6, bytes: &[u8]) {
        if let (Some(head), Some(way)) = (
            bytes.first_chunk::<{ IPV6_HEADER + UDP_HEADER }>(),
            self.policy.way(plain.set),
        ) {
            let key = self.bib_key(&plain.outbound(addr6(head, 24)), way.usual_term);
            self.bibs.prefetch6(&key);
        }
    }

    /// `COUNT`: the session has not counted it yet.
    #[inline(always)]
    fn forward6<const COUNT: bool>(
        &mut self,
        now: Time,
        plain: &Plain6,
        slot: u32,
        bytes: &[u8],
        effects: &mut Effects,
    ) -> Carried {
        const DIRECTION: Direction = Direction::SixToFour;
        const UDP_END: usize = IPV6_HEADER + UDP_HEADER;
        const TCP_END: usize = IPV6_HEADER + TCP_HEADER;
        let length = usize::from(plain.length);
        let Some(session) = self.sessions.get_mut(slot) else {
            return Carried::NotHere;
        };
        let Some(bib) = self.bibs.get(session.bib) else {
            return Carried::NotHere;
        };
        let six = &bib.six;
        if u32::from_ne_bytes(session.remote.0.octets()) != plain.remote
            || u128::from_ne_bytes(six.client.0.octets()) != plain.client
            || (session.remote.1, six.client.1) != (plain.remote_port, plain.client_port)
            || (session.unit, session.prefix, six.protocol) != (plain.unit, plain.prefix, plain.protocol)
        {
            return Carried::NotHere;
        }
        let (pool, end) = (bib.pool, IPV6_HEADER + length);
        let (Some(way), Some(head)) = (self.policy.way(plain.set), bytes.first_chunk::<UDP_END>()) else {
            return Carried::No;
        };
        let long = bytes.first_chunk::<TCP_END>();
        let total = IPV4_HEADER + length;
        let tcp_is_short = plain.protocol == Protocol::Tcp && long.is_none();
        if !session.state.is_steady() || total > usize::from(way.mtu4) || tcp_is_short {
            return Carried::No;
        }
        let header = build4(
            way.tos_override.unwrap_or((be16(head, 0) >> 4) as u8),
            total as u16,
            next_ident(&mut self.ident),
            if total > usize::from(way.df_clear_max) { DF4 } else { 0 },
            head[7].wrapping_sub(1),
            head[6],
            pool.0,
            Ipv4Addr::from(plain.remote.to_ne_bytes()),
        );
        let sums = (
            checksum::sum6_raw(plain.client.to_ne_bytes()) + checksum::sum6_raw(word6(head, 24).to_ne_bytes()),
            checksum::sum4_raw(pool.0.octets()) + checksum::sum4_raw(plain.remote.to_ne_bytes()),
        );
        let (unit, ports) = (way.outside_unit, ports(pool.1, plain.remote_port));
        if let (Protocol::Tcp, Some(Some(header4))) = (plain.protocol, long.map(|long| long.last_chunk())) {
            effects.send_headed(
                unit,
                DIRECTION,
                (&header, &tcp(header4, ports, sums)),
                bytes,
                TCP_END..end,
            );
        } else if let Some(header4) = head.last_chunk() {
            effects.send_headed(
                unit,
                DIRECTION,
                (&header, &udp(header4, ports, sums)),
                bytes,
                UDP_END..end,
            );
        }
        if COUNT {
            session.count(DIRECTION, end);
            if way.always_refresh[DIRECTION as usize] || self.policy.refreshes(plain.set, session.term, DIRECTION) {
                session.last = session.last.max(now);
            }
        }
        self.stats.translated(plain.set, DIRECTION, end);
        Carried::Yes
    }

    #[inline(always)]
    fn carry4(&mut self, now: Time, plain: &Plain4, hint: u32, bytes: &[u8], effects: &mut Effects) -> bool {
        match self.forward4(now, plain, hint, bytes, effects) {
            Carried::Yes => true,
            Carried::No => false,
            Carried::NotHere => self.find_and_carry4(now, plain, bytes, effects),
        }
    }

    /// [`Nat64::carry4`] without a hint. Nearly always there is no binding then.
    #[cold]
    fn find_and_carry4(&mut self, now: Time, plain: &Plain4, bytes: &[u8], effects: &mut Effects) -> bool {
        let slot = self.bibs.find4_hashed(&plain.key, plain.hash);
        slot.is_some_and(|slot| matches!(self.forward4(now, plain, slot, bytes, effects), Carried::Yes))
    }

    #[inline(always)]
    fn forward4(&mut self, now: Time, plain: &Plain4, slot: u32, bytes: &[u8], effects: &mut Effects) -> Carried {
        const DIRECTION: Direction = Direction::FourToSix;
        const UDP_END: usize = IPV4_HEADER + UDP_HEADER;
        const TCP_END: usize = IPV4_HEADER + TCP_HEADER;
        let (key, remote, length) = (&plain.key, plain.remote, usize::from(plain.length));
        let Some(bib) = self.bibs.get(slot) else {
            return Carried::NotHere;
        };
        if bib.pool != key.pool || bib.six.service_set != key.service_set || bib.six.protocol != key.protocol {
            return Carried::NotHere;
        }
        let (client, mut found) = (bib.six.client, bib.first);
        if self.sessions.get(found).is_none_or(|first| first.remote != remote) {
            let Some(other) = self.sessions.find_remote(&self.bibs, slot, remote) else {
                return Carried::No;
            };
            found = other;
        }
        let (Some(session), Some(way), Some(head)) = (
            self.sessions.get_mut(found),
            self.policy.way(key.service_set),
            bytes.first_chunk::<UDP_END>(),
        ) else {
            return Carried::No;
        };
        let (Some(unit), Some(prefix)) = (
            self.policy.unit(usize::from(session.unit)),
            self.policy.prefixes.get(usize::from(session.prefix)),
        ) else {
            return Carried::No;
        };
        let (mtu, end) = (unit.mtu, IPV4_HEADER + length);
        let whole = way.keep_whole || head[6] & 0x40 != 0;
        let limit = usize::from(if whole { mtu } else { mtu.min(way.lowest_mtu6) }).max(MIN_MTU6);
        let long = bytes.first_chunk::<TCP_END>();
        let tcp_is_short = key.protocol == Protocol::Tcp && long.is_none();
        if !session.state.is_steady() || IPV6_HEADER + length > limit || tcp_is_short {
            return Carried::No;
        }
        let src = prefix.embed(remote.0);
        let header = build6(
            way.tos_override.unwrap_or(head[1]),
            plain.length,
            head[9],
            head[8].wrapping_sub(1),
            src,
            client.0,
        );
        let sums = (
            checksum::sum4_raw(remote.0.octets()) + checksum::sum4_raw(key.pool.0.octets()),
            checksum::sum6_raw(src.octets()) + checksum::sum6_raw(client.0.octets()),
        );
        let (unit, ports) = (usize::from(session.unit), ports(remote.1, client.1));
        if let (Protocol::Tcp, Some(Some(header6))) = (key.protocol, long.map(|long| long.last_chunk())) {
            effects.send_headed(
                unit,
                DIRECTION,
                (&header, &tcp(header6, ports, sums)),
                bytes,
                TCP_END..end,
            );
        } else if let Some(header6) = head.last_chunk() {
            effects.send_headed(
                unit,
                DIRECTION,
                (&header, &udp(header6, ports, sums)),
                bytes,
                UDP_END..end,
            );
        }
        session.count(DIRECTION, end);
        if way.always_refresh[DIRECTION as usize] || self.policy.refreshes(key.service_set, session.term, DIRECTION) {
            session.last = session.last.max(now);
        }
        self.stats.translated(key.service_set, DIRECTION, end);
        Carried::Yes
    }
}
