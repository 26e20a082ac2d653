//! ICMP errors and resets of ours, rate limited, and the options packets are translated with.

use std::net::{Ipv4Addr, Ipv6Addr};

use nat64_layout::{Reason, ReasonKind};

use super::six::Way6;
use super::Nat64;
use crate::effect::{Effects, Time};
use crate::extension::Extensions;
use crate::icmp_error::{error4, error6, may_answer4, may_answer6, Error4, Error6};
use crate::packet::{Packet4, Packet6};
use crate::tcp;
use crate::translate::{Options4, Options6};

/// Another Identification, behind `last`: no two packets in a row have the same, and an observer cannot tell how many we
/// sent.
#[inline]
pub(super) fn next_ident(last: &mut u16) -> u16 {
    // A full-period generator over 16 bits; the start comes from the seed.
    *last = last.wrapping_mul(25173).wrapping_add(13849);
    *last
}

impl Nat64 {
    /// What a packet ends for when it is not answered, because of `why`: a reason that says "was answered" would not be
    /// true.
    pub(super) fn unanswered(reason: Reason, why: Reason) -> Reason {
        if reason.kind() == ReasonKind::Answer {
            why
        } else {
            reason
        }
    }

    /// Answers an IPv6 packet, if that is allowed; returns what it ends for.
    pub(super) fn answer6(
        &mut self,
        now: Time,
        way: &Way6,
        packet: &Packet6<'_>,
        error: Error6,
        reason: Reason,
        effects: &mut Effects,
    ) -> Reason {
        if !may_answer6(packet) {
            return Self::unanswered(reason, Reason::NotAnswered);
        }
        let Some(source) = self.source6(way.unit, way.prefix) else {
            return Self::unanswered(reason, Reason::NotAnswered);
        };
        if !self.errors.take(now) {
            return Self::unanswered(reason, Reason::ErrorRateLimited);
        }
        effects.send_with(way.unit, None, |arena| {
            let sent = error6(packet, error, source, arena);
            debug_assert!(sent, "asked before");
        });
        self.stats.answers += 1;
        reason
    }

    /// Answers an IPv4 packet, if that is allowed; returns what it ends for.
    pub(super) fn answer4(
        &mut self,
        now: Time,
        unit: usize,
        packet: &Packet4<'_>,
        error: Error4,
        reason: Reason,
        effects: &mut Effects,
    ) -> Reason {
        if !may_answer4(packet) {
            return Self::unanswered(reason, Reason::NotAnswered);
        }
        if !self.errors.take(now) {
            return Self::unanswered(reason, Reason::ErrorRateLimited);
        }
        let ident = self.next_ident();
        let source = self.source4(unit, packet.dst);
        effects.send_with(unit, None, |arena| {
            let sent = error4(packet, error, source, ident, arena);
            debug_assert!(sent, "asked before");
        });
        self.stats.answers += 1;
        reason
    }

    /// Answers a segment of a client with a RST.
    pub(super) fn answer_reset(
        &mut self,
        now: Time,
        unit: usize,
        packet: &Packet6<'_>,
        ports: (u16, u16),
        effects: &mut Effects,
    ) {
        let mut segment = Vec::new();
        tcp::reset(
            packet.payload(),
            (packet.src, ports.0),
            (packet.dst, ports.1),
            &mut segment,
        );
        if !segment.is_empty() && self.errors.take(now) {
            effects.send(unit, None, &segment);
            self.stats.answers += 1;
        }
    }

    /// Source of ICMPv6 errors on a unit.
    pub(super) fn source6(&self, unit: usize, prefix: u16) -> Option<Ipv6Addr> {
        let made = || {
            let set = self.policy.set_of_unit(unit)?;
            let pool = self.policy.sets[usize::from(set)].first_address?;
            Some(self.policy.prefixes.get(usize::from(prefix))?.embed(pool))
        };
        self.policy
            .config
            .units
            .get(unit)
            .and_then(|unit| unit.address6)
            .or_else(made)
    }

    /// Source of ICMPv4 errors on a unit, about a packet that was sent to `target`, an address of ours.
    pub(super) fn source4(&self, unit: usize, target: Ipv4Addr) -> Ipv4Addr {
        self.policy
            .config
            .units
            .get(unit)
            .and_then(|unit| unit.address4)
            .unwrap_or(target)
    }

    /// Another Identification.
    pub(super) fn next_ident(&mut self) -> u16 {
        next_ident(&mut self.ident)
    }

    /// How packets of a client are translated.
    pub(super) fn options4(&mut self, set: u16, unit: usize) -> Options4 {
        let ident = self.next_ident();
        self.options4_with(ident, set, unit)
    }

    /// The same with a given Identification.
    pub(super) fn options4_with(&self, ident: u16, set: u16, unit: usize) -> Options4 {
        let rules = self.policy.set(set);
        let mtu = |unit: usize| self.policy.config.units.get(unit).map_or(1500, |unit| unit.mtu);
        Options4 {
            df_clear_max: rules.df.clear_max(),
            tos_override: rules.tos_override,
            ident,
            mtu4: mtu(rules.outside_unit),
            mtu6: mtu(unit),
            mss: rules.tcp_mss,
        }
    }

    /// What becomes of the extensions of an ICMPv6 error from `source` about a packet to `client`. A router has no pool
    /// address, so its error gets the client's (RFC 6791); the client's own error has lost nothing.
    pub(super) fn extensions4(&self, way: &Way6, source: Ipv6Addr, client: Ipv6Addr) -> Extensions {
        let told = self.policy.set(way.set).icmp_source_extension && source != client;
        Extensions {
            pref64: self.policy.prefixes.get(usize::from(way.prefix)).copied(),
            source: told.then_some(source),
        }
    }

    /// How packets to a client behind `unit` are translated.
    pub(super) fn options6(&self, set: u16, unit: usize) -> Options6 {
        let rules = self.policy.set(set);
        let mtu = |unit: usize| self.policy.config.units.get(unit).map_or(1500, |unit| unit.mtu);
        Options6 {
            tos_override: rules.tos_override,
            lowest_mtu: rules.ipv6_mtu,
            mtu6: mtu(unit),
            mtu4: mtu(rules.outside_unit),
            mss: rules.tcp_mss,
            keep_whole: rules.no_v6_frag_header,
        }
    }
}
