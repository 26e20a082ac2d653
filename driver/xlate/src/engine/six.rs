//! Packets from the IPv6 side (RFC 6146 section 3.5, 3.8).

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Direction, Protocol, Reason};

use super::four::Way4;
use super::state::Outbound;
use super::Nat64;
use crate::bib::Key4;
use crate::config::TcpNonSyn;
use crate::effect::{Effects, Time};
use crate::fragment::Outcome;
use crate::icmp::error_six_to_four_with;
use crate::icmp_error::Error6;
use crate::packet::{is_extension, Packet4, Packet6, Transport, TCP_ACK, TCP_SYN};
use crate::policy::is_host4;
use crate::session::Tuple6;
use crate::shard::hairpin_unit;
use crate::translate::{six_to_four, Options4, To4};

/// Where a packet came from and what its destination stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way6 {
    pub unit: usize,
    pub set: u16,
    pub prefix: u16,
    pub remote: Ipv4Addr,
}

/// Whether an IPv6 address can be a host's.
#[inline(always)]
pub(super) fn is_host6(address: Ipv6Addr) -> bool {
    // 2000::/3, global unicast; nearly every packet comes from there.
    address.octets()[0] >> 5 == 1 || is_other_host6(address)
}

fn is_other_host6(address: Ipv6Addr) -> bool {
    let bits = u128::from(address);
    let link_local = bits >> 118 == 0xfe80 >> 6;
    // An IPv4-mapped address stands for an IPv4 socket within a host, never on a wire (RFC 6890).
    let mapped = address.to_ipv4_mapped().is_some();
    // 0 is the unspecified address, 1 the loopback.
    !(bits <= 1 || address.is_multicast() || link_local || mapped)
}

/// The transport header that later fragments are looked up with: the flags of the first one count once.
pub(super) fn of_later_fragment(transport: Transport) -> Transport {
    match transport {
        Transport::Tcp { src_port, dst_port, .. } => Transport::Tcp {
            src_port,
            dst_port,
            flags: TCP_ACK,
        },
        other => other,
    }
}

/// Whether a client is told that there is no session for it: no address and port or no BIB entry to be had (RFC 6146
/// sections 3.5.1.1 and 3.5.2.3), or a quota (RFC 6888 REQ-11). Limits against floods are silent: an answer to each
/// packet of a flood would be another.
pub(super) const fn is_shortage(reason: Reason) -> bool {
    matches!(
        reason,
        Reason::PoolExhausted | Reason::BibLimit | Reason::SessionLimit | Reason::SubscriberLimit
    )
}

impl Nat64 {
    pub(super) fn six(&mut self, now: Time, unit: usize, bytes: &[u8], effects: &mut Effects) -> Result<(), Reason> {
        let packet = Packet6::parse(bytes)?;
        let set = self.policy.set_of_unit(unit).ok_or(Reason::NoUnit)?;
        if !self.policy.config.units[unit].inside {
            return Err(Reason::NoRule);
        }
        if self.policy.in_prefix(set, packet.src) {
            return Err(Reason::SourceInPref64);
        }
        if !is_host6(packet.src) || packet.dst.is_multicast() {
            return Err(Reason::BadAddress);
        }
        let (prefix, remote) = self.policy.destination(set, packet.dst).ok_or(Reason::NoRule)?;
        if !is_host4(remote) {
            return Err(Reason::BadAddress);
        }
        if !self.policy.may_embed(set, prefix, remote) {
            return Err(Reason::NotGlobal);
        }
        let way = Way6 {
            unit,
            set,
            prefix,
            remote,
        };
        if let Some(error) = Error6::segments_left(&packet) {
            return Err(self.answer6(now, &way, &packet, error, Reason::SourceRoute, effects));
        }
        if packet.hop_limit <= 1 {
            return Err(self.answer6(now, &way, &packet, Error6::HopLimit, Reason::TimeExceeded, effects));
        }
        if !packet.is_part() {
            return self.translate6(now, &way, &packet, packet.transport, effects);
        }
        let outcome = self.fragments.insert6(now, unit, &packet);
        match self.assembled(set, outcome, effects)? {
            Outcome::Held => {
                self.stats.held += 1;
                Ok(())
            }
            // It is not a part any more, so this goes no deeper.
            Outcome::Whole(whole) => self.six(now, unit, &whole, effects),
            Outcome::Release { transport, held } => {
                let later = of_later_fragment(transport);
                let first = packet.fragment.is_some_and(|fragment| fragment.offset == 0);
                let result = self.translate6(now, &way, &packet, if first { transport } else { later }, effects);
                for bytes in held {
                    let outcome =
                        Packet6::parse(&bytes).and_then(|packet| self.translate6(now, &way, &packet, later, effects));
                    self.finish(Some(set), outcome, effects);
                }
                result
            }
        }
    }

    /// `transport` is the packet's own, or for later fragments the first one's.
    fn translate6(
        &mut self,
        now: Time,
        way: &Way6,
        packet: &Packet6<'_>,
        transport: Transport,
        effects: &mut Effects,
    ) -> Result<(), Reason> {
        let (protocol, client_port, remote_port, flags) = match transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags,
            } => (Protocol::Tcp, src_port, dst_port, flags),
            // RFC 8200 section 8.1; no state for what cannot be translated.
            Transport::Udp { checksum: 0, .. } => return Err(Reason::BadTransportChecksum),
            Transport::Udp { src_port, dst_port, .. } => (Protocol::Udp, src_port, dst_port, 0),
            Transport::Echo { id, .. } => (Protocol::Icmp, id, 0, 0),
            Transport::IcmpError { .. } => return self.error6(now, way, packet, effects),
            Transport::IcmpOther { .. } => return Err(Reason::IcmpNotTranslated),
            Transport::Fragment => return Err(Reason::BadHeader),
            // RFC 7915 section 5.1.1: its transport is not looked for, so nothing can be said about it.
            Transport::Other(protocol) if packet.fragment.is_some() && is_extension(protocol) => {
                return Err(Reason::UnsupportedProtocol);
            }
            Transport::Other(_) => {
                // RFC 6146 section 3.4.
                let error = Error6::Unreachable { code: 4 };
                return Err(self.answer6(now, way, packet, error, Reason::UnsupportedProtocol, effects));
            }
        };
        let (client, remote) = ((packet.src, client_port), (way.remote, remote_port));
        // A hairpin costs two hops; no state for a packet that will not arrive.
        let hairpin = self.policy.pool_owner(way.set, way.remote);
        if hairpin.is_some() && packet.hop_limit <= 2 {
            let error = Error6::HopLimit;
            return Err(self.answer6(now, way, packet, error, Reason::TimeExceeded, effects));
        }
        let tuple = Tuple6 {
            protocol,
            unit: way.unit as u16,
            prefix: way.prefix,
            client,
            remote,
        };
        let size = packet.bytes.len();
        let (hash, found) = match self.absent.take().filter(|(other, _)| *other == tuple) {
            Some((_, hash)) => (hash, None),
            None => {
                let hash = tuple.hash(&self.keys);
                (hash, self.sessions.find6_hashed(&self.bibs, &tuple, hash))
            }
        };
        let bib = match found {
            Some(slot) => {
                self.seen(now, slot, Direction::SixToFour, flags, size, effects);
                self.sessions.get(slot).map(|session| session.bib)
            }
            None => {
                let outbound = Outbound {
                    unit: way.unit as u16,
                    service_set: way.set,
                    prefix: way.prefix,
                    protocol,
                    client,
                    destination: (packet.dst, remote_port),
                    remote,
                };
                Some(self.begin6(now, way, packet, &outbound, hash, flags, effects)?)
            }
        };
        let pool = bib
            .and_then(|bib| self.bibs.get(bib))
            .map(|bib| bib.pool)
            .ok_or(Reason::NoMapping)?;
        let to = To4 {
            src: pool.0,
            dst: way.remote,
            src_port: pool.1,
            dst_port: remote_port,
        };
        let options = self.options4(way.set, way.unit);
        if let Some(owner) = hairpin {
            let onward = match transport {
                Transport::Tcp { flags, .. } => Transport::Tcp {
                    src_port: pool.1,
                    dst_port: remote_port,
                    flags,
                },
                Transport::Udp { length, checksum, .. } => Transport::Udp {
                    src_port: pool.1,
                    dst_port: remote_port,
                    length,
                    checksum,
                },
                Transport::Echo { request, .. } => Transport::Echo { request, id: pool.1 },
                other => other,
            };
            let build = |out: &mut Vec<u8>| {
                six_to_four(
                    packet,
                    &to,
                    &Options4 {
                        mtu4: u16::MAX,
                        ..options
                    },
                    out,
                )
                .map(|_| ())
            };
            return self.hairpin(now, way, owner, packet, Some(onward), build, effects);
        }
        let outside = self.policy.set(way.set).outside_unit;
        let sent = effects.send_packets(outside, Some(Direction::SixToFour), |out| {
            six_to_four(packet, &to, &options, out).map(|_| ())
        });
        match sent {
            Ok(pieces) => {
                self.stats.split += pieces.saturating_sub(1);
                self.stats.translated(way.set, Direction::SixToFour, size);
                Ok(())
            }
            Err(Reason::PacketTooBig) => {
                let error = Error6::PacketTooBig {
                    mtu: options.too_big_mtu(),
                };
                Err(self.answer6(now, way, packet, error, Reason::PacketTooBig, effects))
            }
            Err(reason) => Err(reason),
        }
    }

    /// A client's packet without a session, the hash of its tuple: the binding it leaves by.
    #[allow(clippy::too_many_arguments)] // where, what, how
    fn begin6(
        &mut self,
        now: Time,
        way: &Way6,
        packet: &Packet6<'_>,
        outbound: &Outbound,
        hash: u64,
        flags: u8,
        effects: &mut Effects,
    ) -> Result<u32, Reason> {
        if outbound.protocol == Protocol::Tcp && flags & TCP_SYN == 0 {
            if self.policy.set(way.set).tcp_non_syn == TcpNonSyn::DropSendRst {
                let ports = (outbound.client.1, outbound.remote.1);
                self.answer_reset(now, way.unit, packet, ports, effects);
                return Err(Reason::TcpNotSyn);
            }
            // RFC 6146 section 3.5.2.2, CLOSED: with a binding it is translated, and no state is made of it.
            let bib = self.existing_bib(outbound)?;
            if self.sessions.find_remote(&self.bibs, bib, outbound.remote).is_some() {
                return Err(Reason::EimConflict);
            }
            return Ok(bib);
        }
        match self.open_outbound(now, outbound, hash, packet.bytes.len(), effects) {
            Ok(slot) => self
                .sessions
                .get(slot)
                .map(|session| session.bib)
                .ok_or(Reason::NoMapping),
            Err(reason) => Err(self.refuse6(now, way, packet, reason, effects)),
        }
    }

    /// No session was opened for a packet: its sender is told, if that is due. What the packet ended for.
    pub(super) fn refuse6(
        &mut self,
        now: Time,
        way: &Way6,
        packet: &Packet6<'_>,
        reason: Reason,
        effects: &mut Effects,
    ) -> Reason {
        if !is_shortage(reason) {
            return reason;
        }
        let error = Error6::Unreachable { code: 3 };
        self.answer6(now, way, packet, error, reason, effects)
    }

    /// A packet whose translation goes to one of our own addresses is treated as if it came in there (section 3.8).
    #[allow(clippy::too_many_arguments)] // where from, what, how
    fn hairpin(
        &mut self,
        now: Time,
        way: &Way6,
        owner: u16,
        packet: &Packet6<'_>,
        transport: Option<Transport>,
        build: impl FnOnce(&mut Vec<u8>) -> Result<(), Reason>,
        effects: &mut Effects,
    ) -> Result<(), Reason> {
        let mut buffer = std::mem::take(&mut self.scratch);
        buffer.clear();
        let result = build(&mut buffer).and_then(|()| {
            let middle = Packet4::parse(&buffer)?;
            let transport = match (middle.transport, transport) {
                (Transport::Fragment, Some(first)) => first,
                (own, _) => own,
            };
            self.stats.translated(way.set, Direction::SixToFour, packet.bytes.len());
            if self.shard.is_some() && !self.has_binding(owner, &middle, transport) {
                effects.send(hairpin_unit(owner), Some(Direction::SixToFour), middle.bytes);
                return Ok(());
            }
            self.translate4(now, &Way4 { unit: None, set: owner }, &middle, transport, effects)
        });
        self.scratch = buffer;
        match result {
            // Errors about the middle packet go to the client that sent it, in its own family.
            Err(Reason::PacketTooBig) => {
                let mtu = u32::from(self.hairpin_mtu(owner, way.remote, transport)).max(1280);
                let error = Error6::PacketTooBig { mtu };
                Err(self.answer6(now, way, packet, error, Reason::PacketTooBig, effects))
            }
            Err(Reason::NoMapping) => {
                let error = Error6::Unreachable { code: 0 };
                Err(self.answer6(now, way, packet, error, Reason::NoMapping, effects))
            }
            other => other,
        }
    }

    /// MTU of the unit behind which the other client of a hairpin is.
    fn hairpin_mtu(&self, set: u16, address: Ipv4Addr, transport: Option<Transport>) -> u16 {
        let (protocol, port) = match transport {
            Some(Transport::Tcp { dst_port, .. }) => (Protocol::Tcp, dst_port),
            Some(Transport::Udp { dst_port, .. }) => (Protocol::Udp, dst_port),
            Some(Transport::Echo { id, .. }) => (Protocol::Icmp, id),
            _ => return 1280,
        };
        let bib = self.bibs.find4(&Key4 {
            protocol,
            service_set: set,
            pool: (address, port),
        });
        let unit = bib
            .and_then(|bib| self.bibs.get(bib))
            .map(|bib| usize::from(bib.six.unit));
        unit.and_then(|unit| self.policy.config.units.get(unit))
            .map_or(1280, |unit| unit.mtu)
    }

    /// An ICMPv6 error: translated by the session of the packet it quotes; it makes and refreshes nothing.
    pub(super) fn error6(
        &mut self,
        now: Time,
        way: &Way6,
        packet: &Packet6<'_>,
        effects: &mut Effects,
    ) -> Result<(), Reason> {
        let quote = packet.quote()?;
        // An error goes back to the source of what it quotes.
        let (prefix, remote) = self
            .policy
            .destination(way.set, quote.src)
            .filter(|&source| source == (way.prefix, way.remote))
            .ok_or(Reason::IcmpErrorNoSession)?;
        let remote_port = if quote.protocol == Protocol::Icmp {
            0
        } else {
            quote.src_port
        };
        let tuple = Tuple6 {
            protocol: quote.protocol,
            unit: way.unit as u16,
            prefix,
            client: (quote.dst, quote.dst_port),
            remote: (remote, remote_port),
        };
        let slot = self
            .sessions
            .find6(&self.bibs, &tuple)
            .ok_or(Reason::IcmpErrorNoSession)?;
        let bib = self.sessions.get(slot).and_then(|session| self.bibs.get(session.bib));
        let pool = bib.map(|bib| bib.pool).ok_or(Reason::IcmpErrorNoSession)?;
        let to = To4 {
            src: pool.0,
            dst: remote,
            src_port: 0,
            dst_port: 0,
        };
        let inner = To4 {
            src: remote,
            dst: pool.0,
            src_port: remote_port,
            dst_port: pool.1,
        };
        let options = self.options4(way.set, way.unit);
        let extensions = self.extensions4(way, packet.src, quote.dst);
        let build = |out: &mut Vec<u8>| error_six_to_four_with(packet, &to, &inner, &options, &extensions, out);
        if let Some(owner) = self.policy.pool_owner(way.set, remote) {
            if packet.hop_limit <= 2 {
                return Err(Reason::NotAnswered);
            }
            return self.hairpin(now, way, owner, packet, None, build, effects);
        }
        let outside = self.policy.set(way.set).outside_unit;
        let pieces = effects.send_packets(outside, Some(Direction::SixToFour), build)?;
        self.stats.split += pieces.saturating_sub(1);
        self.stats.translated(way.set, Direction::SixToFour, packet.bytes.len());
        Ok(())
    }
}
