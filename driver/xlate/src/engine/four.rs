//! Packets from the IPv4 side (RFC 6146 section 3.5).

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Direction, Protocol, Reason};

use super::six::of_later_fragment;
use super::syns::{SynKey, MAX_SYN};
use super::Nat64;
use crate::bib::Key4;
use crate::config::{Filtering, LandAttackCheck, TcpNonSyn, UdpZeroChecksum};
use crate::effect::{Effects, Time};
use crate::extension::Extensions;
use crate::fragment::Outcome;
use crate::icmp::error_four_to_six_with;
use crate::icmp_error::Error4;
use crate::packet::{Packet4, Transport, TCP_ACK, TCP_RST, TCP_SYN};
use crate::policy::is_host4;
use crate::shard::hairpin_unit;
use crate::tcp::State;
use crate::translate::{four_to_six, To6};

/// Where a packet came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way4 {
    /// `None`: nowhere, it is the middle of a hairpin; whoever made it answers its sender.
    pub unit: Option<usize>,
    pub set: u16,
}

/// What becomes of a packet without a session.
enum Begun {
    /// It goes on, with its new session.
    Session(u32),
    /// It goes on through the binding alone.
    Binding(u32),
    /// It waits for the client's SYN.
    Stored,
}

impl Nat64 {
    pub(super) fn four(&mut self, now: Time, unit: usize, bytes: &[u8], effects: &mut Effects) -> Result<(), Reason> {
        let packet = Packet4::parse(bytes)?;
        let set = self.policy.set_of_unit(unit).ok_or(Reason::NoUnit)?;
        if !self.policy.config.units[unit].outside {
            return Err(Reason::NoRule);
        }
        // RFC 7915 section 4.1: the error of a router that gives an illegal source is translated all the same.
        let error = matches!(packet.transport, Transport::IcmpError { .. });
        if !is_host4(packet.dst) || !(error || is_host4(packet.src)) {
            return Err(Reason::BadAddress);
        }
        // RFC 6146 section 3.5: only packets to the pool are ours.
        if !self.policy.sets[usize::from(set)].owns(packet.dst) {
            return Err(Reason::NoRule);
        }
        if packet.src == packet.dst && self.policy.set(set).land_attack_check == Some(LandAttackCheck::IpOnly) {
            return Err(Reason::LandAttack);
        }
        if packet.source_route {
            let error = Error4::Unreachable { code: 5 };
            return Err(self.answer4(now, unit, &packet, error, Reason::SourceRoute, effects));
        }
        if packet.ttl <= 1 {
            return Err(self.answer4(now, unit, &packet, Error4::Ttl, Reason::TimeExceeded, effects));
        }
        let way = Way4 { unit: Some(unit), set };
        if !packet.is_part() {
            return self.translate4(now, &way, &packet, packet.transport, effects);
        }
        let outcome = self.fragments.insert4(now, unit, &packet);
        match self.assembled(set, outcome, effects)? {
            Outcome::Held => {
                self.stats.held += 1;
                Ok(())
            }
            // It is not a part any more, so this goes no deeper.
            Outcome::Whole(whole) => self.four(now, unit, &whole, effects),
            Outcome::Release { transport, held } => {
                let later = of_later_fragment(transport);
                let first = packet.fragment.is_some_and(|fragment| fragment.offset == 0);
                let result = self.translate4(now, &way, &packet, if first { transport } else { later }, effects);
                for bytes in held {
                    let outcome =
                        Packet4::parse(&bytes).and_then(|packet| self.translate4(now, &way, &packet, later, effects));
                    self.finish(Some(set), outcome, effects);
                }
                result
            }
        }
    }

    /// The middle of a hairpin from another shard; see [`Nat64::step_middle`].
    pub(super) fn middle(&mut self, now: Time, set: u16, bytes: &[u8], effects: &mut Effects) -> Result<(), Reason> {
        let packet = Packet4::parse(bytes)?;
        let way = Way4 { unit: None, set };
        let owned = self.policy.sets.get(usize::from(set));
        if !owned.is_some_and(|set| set.owns(packet.dst)) {
            return Err(Reason::NoRule);
        }
        if packet.ttl <= 1 {
            return Err(self.refuse4(now, &way, &packet, Error4::Ttl, Reason::TimeExceeded, effects));
        }
        if !packet.is_part() {
            return self.translate4(now, &way, &packet, packet.transport, effects);
        }
        let outcome = self.fragments.insert4(now, hairpin_unit(set), &packet);
        match self.assembled(set, outcome, effects)? {
            Outcome::Held => {
                self.stats.held += 1;
                Ok(())
            }
            Outcome::Whole(whole) => {
                let packet = Packet4::parse(&whole)?;
                self.translate4(now, &way, &packet, packet.transport, effects)
            }
            Outcome::Release { transport, held } => {
                let later = of_later_fragment(transport);
                let first = packet.fragment.is_some_and(|fragment| fragment.offset == 0);
                let result = self.translate4(now, &way, &packet, if first { transport } else { later }, effects);
                for bytes in held {
                    let outcome =
                        Packet4::parse(&bytes).and_then(|packet| self.translate4(now, &way, &packet, later, effects));
                    self.finish(Some(set), outcome, effects);
                }
                result
            }
        }
    }

    /// Whether the binding that a packet to one of our own addresses is for is here.
    pub(super) fn has_binding(&self, set: u16, packet: &Packet4<'_>, transport: Transport) -> bool {
        let (protocol, pool) = match transport {
            Transport::Tcp { dst_port, .. } => (Protocol::Tcp, (packet.dst, dst_port)),
            Transport::Udp { dst_port, .. } => (Protocol::Udp, (packet.dst, dst_port)),
            Transport::Echo { id, .. } => (Protocol::Icmp, (packet.dst, id)),
            Transport::IcmpError { .. } => match packet.quote() {
                Ok(quote) => (quote.protocol, (quote.src, quote.src_port)),
                Err(_) => return true,
            },
            // Ends here like anywhere.
            _ => return true,
        };
        let service_set = set;
        let key = Key4 {
            protocol,
            service_set,
            pool,
        };
        self.bibs.find4(&key).is_some()
    }

    /// `transport` is the packet's own, or for later fragments the first one's.
    pub(super) fn translate4(
        &mut self,
        now: Time,
        way: &Way4,
        packet: &Packet4<'_>,
        transport: Transport,
        effects: &mut Effects,
    ) -> Result<(), Reason> {
        let (protocol, pool_port, remote_port, flags) = match transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags,
            } => (Protocol::Tcp, dst_port, src_port, flags),
            Transport::Udp { checksum: 0, .. }
                if self.policy.set(way.set).udp_zero_checksum == UdpZeroChecksum::Drop =>
            {
                return Err(Reason::BadTransportChecksum);
            }
            Transport::Udp { src_port, dst_port, .. } => (Protocol::Udp, dst_port, src_port, 0),
            Transport::Echo { id, .. } => (Protocol::Icmp, id, 0, 0),
            Transport::IcmpError { .. } => return self.error4(way, packet, effects),
            Transport::IcmpOther { .. } => return Err(Reason::IcmpNotTranslated),
            Transport::Fragment => return Err(Reason::BadHeader),
            Transport::Other(_) => {
                // RFC 6146 section 3.4.
                let error = Error4::Unreachable { code: 2 };
                return Err(self.refuse4(now, way, packet, error, Reason::UnsupportedProtocol, effects));
            }
        };
        let (pool, remote) = ((packet.dst, pool_port), (packet.src, remote_port));
        let Some(bib) = self.bibs.find4(&Key4 {
            protocol,
            service_set: way.set,
            pool,
        }) else {
            return self.no_binding4(now, way, packet, transport, effects);
        };
        let size = packet.bytes.len();
        let begun = match self.sessions.find_remote(&self.bibs, bib, remote) {
            Some(slot)
                if self
                    .sessions
                    .get(slot)
                    .is_some_and(|session| session.state == State::V4InitStored) =>
            {
                // The filter still keeps it out; only the client's SYN lets it in.
                return Err(Reason::Filtered);
            }
            Some(slot) => {
                self.seen(now, slot, Direction::FourToSix, flags, size, effects);
                Begun::Session(slot)
            }
            None => self.begin4(now, way, bib, packet, transport, remote, effects)?,
        };
        let (unit, prefix) = match begun {
            Begun::Stored => return Ok(()),
            Begun::Session(slot) => {
                let session = self.sessions.get(slot).ok_or(Reason::NoMapping)?;
                (session.unit, session.prefix)
            }
            Begun::Binding(slot) => {
                let bib = self.bibs.get(slot).ok_or(Reason::NoMapping)?;
                let term = &self.policy.sets[usize::from(way.set)].terms[usize::from(bib.six.term)];
                (bib.six.unit, term.prefix.ok_or(Reason::NoRule)?)
            }
        };
        let client = self.bibs.get(bib).map(|bib| bib.six.client).ok_or(Reason::NoMapping)?;
        let src = self.policy.prefixes[usize::from(prefix)].embed(packet.src);
        let to = To6 {
            src,
            dst: client.0,
            src_port: remote_port,
            dst_port: client.1,
        };
        let options = self.options6(way.set, usize::from(unit));
        let sent = effects.send_packets(usize::from(unit), Some(Direction::FourToSix), |out| {
            four_to_six(packet, &to, &options, out).map(|_| ())
        });
        match sent {
            Ok(pieces) => {
                self.stats.split += pieces.saturating_sub(1);
                self.stats.translated(way.set, Direction::FourToSix, size);
                Ok(())
            }
            Err(Reason::PacketTooBig) => {
                let error = Error4::TooBig {
                    mtu: options.too_big_mtu(packet),
                };
                Err(self.refuse4(now, way, packet, error, Reason::PacketTooBig, effects))
            }
            Err(reason) => Err(reason),
        }
    }

    /// Answers a packet that came in; the middle of a hairpin is answered by whoever made it.
    fn refuse4(
        &mut self,
        now: Time,
        way: &Way4,
        packet: &Packet4<'_>,
        error: Error4,
        reason: Reason,
        effects: &mut Effects,
    ) -> Reason {
        match way.unit {
            Some(unit) => self.answer4(now, unit, packet, error, reason, effects),
            None if self.from_shard => self.answer4(now, hairpin_unit(way.set), packet, error, reason, effects),
            None => reason,
        }
    }

    /// A packet to a pool address and port without a binding.
    fn no_binding4(
        &mut self,
        now: Time,
        way: &Way4,
        packet: &Packet4<'_>,
        transport: Transport,
        effects: &mut Effects,
    ) -> Result<(), Reason> {
        let Transport::Tcp {
            src_port,
            dst_port,
            flags,
        } = transport
        else {
            let error = Error4::Unreachable { code: 1 };
            return Err(self.refuse4(now, way, packet, error, Reason::NoMapping, effects));
        };
        // RFC 6146 section 3.5.2.2, CLOSED: a SYN waits for the client's, anything else is dropped without a word.
        let opens = flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN;
        let key = SynKey {
            service_set: way.set,
            pool: (packet.dst, dst_port),
            remote: (packet.src, src_port),
        };
        if !opens || !self.policy.set(way.set).outside_tcp_open || self.syns.contains(&key) {
            return Err(Reason::NoMapping);
        }
        self.store_syn(now, key, packet)
    }

    fn store_syn(&mut self, now: Time, key: SynKey, packet: &Packet4<'_>) -> Result<(), Reason> {
        let deadline = self.lifetimes.round(now).saturating_add(self.lifetimes.incoming_syn);
        if !self.may_store_syn(packet) || !self.syns.insert(key, packet.bytes, deadline) {
            return Err(Reason::SynStoreFull);
        }
        self.stats.held += 1;
        Ok(())
    }

    /// Whether there is room for a SYN, and it is one that can be stored: a part of a segment cannot be quoted as the
    /// segment.
    pub(super) fn may_store_syn(&self, packet: &Packet4<'_>) -> bool {
        self.syns.len() < self.policy.config.limits.stored_syns as usize
            && !packet.is_part()
            && packet.bytes.len() <= MAX_SYN
    }

    /// A packet to a binding that has no session with its sender.
    #[allow(clippy::too_many_arguments)] // where, what, from whom
    fn begin4(
        &mut self,
        now: Time,
        way: &Way4,
        bib: u32,
        packet: &Packet4<'_>,
        transport: Transport,
        remote: (Ipv4Addr, u16),
        effects: &mut Effects,
    ) -> Result<Begun, Reason> {
        let allowed = self.lets_in(bib, remote.0);
        let size = packet.bytes.len();
        let Transport::Tcp { dst_port, flags, .. } = transport else {
            if !allowed {
                return Err(Reason::Filtered);
            }
            return self
                .open_inbound(now, bib, remote, State::Open, size, effects)
                .map(Begun::Session);
        };
        if flags & TCP_SYN == 0 {
            // CLOSED, any other packet: with a binding it is translated if policy allows, and no state is made of it.
            return match self.policy.set(way.set).tcp_non_syn {
                TcpNonSyn::DropSendRst => Err(Reason::TcpNotSyn),
                TcpNonSyn::Drop if allowed => Ok(Begun::Binding(bib)),
                TcpNonSyn::Drop => Err(Reason::Filtered),
            };
        }
        if !self.policy.set(way.set).outside_tcp_open {
            return Err(Reason::Filtered);
        }
        if allowed {
            return self
                .open_inbound(now, bib, remote, State::V4Init, size, effects)
                .map(Begun::Session);
        }
        // A filter that learns from the client keeps the SYN for a while; a configured list does not.
        let entry = self.bibs.get(bib).ok_or(Reason::NoMapping)?;
        let translate = self
            .policy
            .translate(entry.six.service_set, entry.six.term)
            .ok_or(Reason::NoRule)?;
        if translate.filtering == Filtering::EndpointIndependent || flags & (TCP_ACK | TCP_RST) != 0 {
            return Err(Reason::Filtered);
        }
        let key = SynKey {
            service_set: way.set,
            pool: (packet.dst, dst_port),
            remote,
        };
        self.store_syn(now, key, packet)?;
        match self.open_inbound(now, bib, remote, State::V4InitStored, size, effects) {
            Ok(_) => Ok(Begun::Stored),
            Err(reason) => {
                self.syns.remove(&key);
                self.stats.held -= 1;
                Err(reason)
            }
        }
    }

    /// An ICMPv4 error: translated by the session of the packet it quotes; it makes and refreshes nothing.
    pub(super) fn error4(&mut self, way: &Way4, packet: &Packet4<'_>, effects: &mut Effects) -> Result<(), Reason> {
        let quote = packet.quote()?;
        if quote.src != packet.dst {
            return Err(Reason::IcmpErrorNoSession);
        }
        let remote_port = if quote.protocol == Protocol::Icmp {
            0
        } else {
            quote.dst_port
        };
        let key = Key4 {
            protocol: quote.protocol,
            service_set: way.set,
            pool: (quote.src, quote.src_port),
        };
        let bib = self.bibs.find4(&key).ok_or(Reason::IcmpErrorNoSession)?;
        let slot = self
            .sessions
            .find_remote(&self.bibs, bib, (quote.dst, remote_port))
            .ok_or(Reason::IcmpErrorNoSession)?;
        let session = self.sessions.get(slot).ok_or(Reason::IcmpErrorNoSession)?;
        let (unit, prefix) = (usize::from(session.unit), session.prefix);
        let client = self
            .bibs
            .get(bib)
            .map(|bib| bib.six.client)
            .ok_or(Reason::IcmpErrorNoSession)?;
        let pref64 = self.policy.prefixes[usize::from(prefix)];
        let src = self
            .error_source(way.set, unit, prefix, packet.src)
            .ok_or(Reason::NotGlobal)?;
        let to = To6 {
            src,
            dst: client.0,
            src_port: 0,
            dst_port: 0,
        };
        let inner = To6 {
            src: client.0,
            dst: pref64.embed(quote.dst),
            src_port: client.1,
            dst_port: remote_port,
        };
        let options = self.options6(way.set, unit);
        let extensions = Extensions {
            pref64: Some(pref64),
            source: None,
        };
        let pieces = effects.send_packets(unit, Some(Direction::FourToSix), |out| {
            error_four_to_six_with(packet, &to, &inner, &options, &extensions, out)
        })?;
        self.stats.split += pieces.saturating_sub(1);
        self.stats.translated(way.set, Direction::FourToSix, packet.bytes.len());
        Ok(())
    }

    /// Source of an ICMPv6 error made from an ICMPv4 error of `router`. A private address must not appear under the
    /// well-known prefix, but the error must arrive (path MTU): then it comes from us.
    pub(super) fn error_source(&self, set: u16, unit: usize, prefix: u16, router: Ipv4Addr) -> Option<Ipv6Addr> {
        if self.policy.may_embed(set, prefix, router) {
            return Some(self.policy.prefixes[usize::from(prefix)].embed(router));
        }
        self.source6(unit, prefix)
    }
}
