//! The walk of a packet from the IPv4 side; `engine::four` is what it follows.

use nat64_layout::{Direction, Protocol, Reason};

use super::super::four::Way4;
use super::super::syns::SynKey;
use super::{describe, dropped, StageName, Verdict, Walk, Walked};
use crate::bib::Key4;
use crate::config::{Filtering, LandAttackCheck, TcpNonSyn, UdpZeroChecksum};
use crate::extension::Extensions;
use crate::icmp::error_four_to_six_with;
use crate::packet::{Packet4, Transport, TCP_ACK, TCP_RST, TCP_SYN};
use crate::policy::is_host4;
use crate::session::Tuple6;
use crate::tcp::State;
use crate::translate::{four_to_six, To6};

/// Which way a packet without a session goes.
enum Begun {
    Session,
    Binding,
}

impl Walk<'_> {
    pub(super) fn four(&mut self, unit: usize, bytes: &[u8]) -> Walked {
        let nat = self.nat;
        let packet = match Packet4::parse(bytes) {
            Ok(packet) => packet,
            Err(reason) => return Err(self.refuse(StageName::Parse, reason, "an IPv4 packet".into())),
        };
        let (src, dst) = (packet.src, packet.dst);
        let df = if packet.df { ", DF" } else { "" };
        self.say(
            StageName::Parse,
            format!(
                "IPv4 {src} -> {dst}, {}, TTL {}, {} bytes{df}",
                describe(packet.transport),
                packet.ttl,
                packet.bytes.len()
            ),
        );
        let set = self.unit(unit, false)?;
        let address = |walk: &mut Self, reason, facts: String| Err(walk.refuse(StageName::Address, reason, facts));
        let error = matches!(packet.transport, Transport::IcmpError { .. });
        if !is_host4(dst) || !(error || is_host4(src)) {
            return address(self, Reason::BadAddress, format!("{src} -> {dst}"));
        }
        if !nat.policy.sets[usize::from(set)].owns(dst) {
            return address(
                self,
                Reason::NoRule,
                format!("{dst} is no pool address of the service set"),
            );
        }
        if src == dst && nat.policy.set(set).land_attack_check == Some(LandAttackCheck::IpOnly) {
            return address(self, Reason::LandAttack, format!("{src} -> {dst}"));
        }
        self.say(StageName::Address, format!("{dst} is a pool address"));
        if packet.source_route {
            self.say(StageName::Header, "a source route is not finished");
            return Err(self.answer4(&packet, Reason::SourceRoute, "Source Route Failed"));
        }
        if packet.ttl <= 1 {
            self.say(StageName::Header, "the TTL ends here");
            return Err(self.answer4(&packet, Reason::TimeExceeded, "Time Exceeded"));
        }
        if packet.is_part() && !self.fragment(packet.transport) {
            return Ok(Verdict::Held);
        }
        self.translate4(&Way4 { unit: Some(unit), set }, &packet)
    }

    /// Answers a packet that came in; the middle of a hairpin is answered by whoever made it.
    fn refuse4(&mut self, way: &Way4, packet: &Packet4<'_>, reason: Reason, error: &str) -> Verdict {
        match way.unit {
            Some(_) => self.answer4(packet, reason, error),
            None => dropped(reason),
        }
    }

    pub(super) fn translate4(&mut self, way: &Way4, packet: &Packet4<'_>) -> Walked {
        let nat = self.nat;
        let (protocol, pool_port, remote_port, flags) = match packet.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags,
            } => (Protocol::Tcp, dst_port, src_port, Some(flags)),
            Transport::Udp { checksum: 0, .. }
                if nat.policy.set(way.set).udp_zero_checksum == UdpZeroChecksum::Drop =>
            {
                let facts = "UDP without checksum".into();
                return Err(self.refuse(StageName::Header, Reason::BadTransportChecksum, facts));
            }
            Transport::Udp { src_port, dst_port, .. } => (Protocol::Udp, dst_port, src_port, None),
            Transport::Echo { id, .. } => (Protocol::Icmp, id, 0, None),
            Transport::IcmpError { .. } => return self.error4(way, packet),
            Transport::IcmpOther { .. } => {
                return Err(self.refuse(StageName::Header, Reason::IcmpNotTranslated, describe(packet.transport)))
            }
            Transport::Fragment => return Err(dropped(Reason::BadHeader)),
            Transport::Other(_) => {
                self.say(
                    StageName::Header,
                    format!("{} has no translation", describe(packet.transport)),
                );
                let error = "Destination Unreachable (protocol)";
                return Err(self.refuse4(way, packet, Reason::UnsupportedProtocol, error));
            }
        };
        let (pool, remote) = ((packet.dst, pool_port), (packet.src, remote_port));
        let bib = nat.bibs.find4(&Key4 {
            protocol,
            service_set: way.set,
            pool,
        });
        let Some(bib) = bib else {
            self.say(StageName::Binding, format!("{} port {} has no binding", pool.0, pool.1));
            return self.no_binding4(way, packet);
        };
        let Some(client) = nat.bibs.get(bib).map(|bib| bib.six.client) else {
            return Err(dropped(Reason::NoMapping));
        };
        self.binding(bib);
        self.say(
            StageName::Binding,
            format!("{} port {} is bound to {} port {}", pool.0, pool.1, client.0, client.1),
        );
        let begun = match nat.sessions.find_remote(&nat.bibs, bib, remote) {
            Some(slot) => {
                let stored = nat
                    .sessions
                    .get(slot)
                    .is_some_and(|session| session.state == State::V4InitStored);
                if stored {
                    let facts = "its SYN waits for the client's".into();
                    return Err(self.refuse(StageName::Filter, Reason::Filtered, facts));
                }
                self.found(slot, Direction::FourToSix, flags);
                let session = nat.sessions.get(slot);
                session.map(|session| (session.unit, session.prefix, false))
            }
            None => {
                self.say(StageName::Session, "no session");
                let opens = match self.begin4(way, bib, packet, remote)? {
                    Begun::Session => true,
                    Begun::Binding => false,
                };
                nat.bibs.get(bib).and_then(|bib| {
                    let term = &nat.policy.sets[usize::from(bib.six.service_set)].terms[usize::from(bib.six.term)];
                    Some((bib.six.unit, term.prefix?, opens))
                })
            }
        };
        let Some((unit, prefix, opens)) = begun else {
            return Err(dropped(Reason::NoRule));
        };
        let to = To6 {
            src: nat.policy.prefixes[usize::from(prefix)].embed(packet.src),
            dst: client.0,
            src_port: remote_port,
            dst_port: client.1,
        };
        let options = nat.options6(way.set, usize::from(unit));
        let mut out = Vec::new();
        match four_to_six(packet, &to, &options, &mut out) {
            Ok(_) => self.sent(usize::from(unit), Direction::FourToSix, opens, Some(&out)),
            Err(Reason::PacketTooBig) => {
                self.say(StageName::Translation, "larger than the IPv6 link takes, and DF is set");
                Err(self.refuse4(way, packet, Reason::PacketTooBig, "Fragmentation Needed"))
            }
            Err(reason) => Err(self.refuse(StageName::Translation, reason, "it has no translation".into())),
        }
    }

    fn no_binding4(&mut self, way: &Way4, packet: &Packet4<'_>) -> Walked {
        let Transport::Tcp {
            src_port,
            dst_port,
            flags,
        } = packet.transport
        else {
            return Err(self.refuse4(way, packet, Reason::NoMapping, "Destination Unreachable (host)"));
        };
        let opens = flags & (TCP_SYN | TCP_ACK | TCP_RST) == TCP_SYN;
        let key = SynKey {
            service_set: way.set,
            pool: (packet.dst, dst_port),
            remote: (packet.src, src_port),
        };
        if !opens || !self.nat.policy.set(way.set).outside_tcp_open || self.nat.syns.contains(&key) {
            let facts = "only a first SYN could wait for the client's".into();
            return Err(self.refuse(StageName::Filter, Reason::NoMapping, facts));
        }
        self.store(packet)
    }

    fn store(&mut self, packet: &Packet4<'_>) -> Walked {
        if !self.nat.may_store_syn(packet) {
            let facts = "no room for a SYN that waits for the client's".into();
            return Err(self.refuse(StageName::Filter, Reason::SynStoreFull, facts));
        }
        self.say(StageName::Filter, "the SYN waits for the client's");
        Ok(Verdict::Held)
    }

    fn begin4(
        &mut self,
        way: &Way4,
        bib: u32,
        packet: &Packet4<'_>,
        remote: (std::net::Ipv4Addr, u16),
    ) -> Result<Begun, Verdict> {
        let nat = self.nat;
        let allowed = nat.lets_in(bib, remote.0);
        let lets = if allowed { "lets it in" } else { "does not let it in" };
        self.say(StageName::Filter, format!("the filter of the binding {lets}"));
        let filtered = |walk: &mut Self| walk.refuse(StageName::Filter, Reason::Filtered, "the filter".into());
        let Transport::Tcp { flags, .. } = packet.transport else {
            if !allowed {
                return Err(filtered(self));
            }
            return self.open_inbound(bib, remote).map(|()| Begun::Session);
        };
        let set = nat.policy.set(way.set);
        if flags & TCP_SYN == 0 {
            return match set.tcp_non_syn {
                TcpNonSyn::DropSendRst => {
                    let facts = "the segment is no SYN".into();
                    Err(self.refuse(StageName::Filter, Reason::TcpNotSyn, facts))
                }
                TcpNonSyn::Drop if allowed => {
                    self.say(
                        StageName::Filter,
                        "no SYN: the binding translates it, no session is made",
                    );
                    Ok(Begun::Binding)
                }
                TcpNonSyn::Drop => Err(filtered(self)),
            };
        }
        if !set.outside_tcp_open {
            let facts = "TCP sessions are opened from inside only".into();
            return Err(self.refuse(StageName::Filter, Reason::Filtered, facts));
        }
        if allowed {
            return self.open_inbound(bib, remote).map(|()| Begun::Session);
        }
        let six = nat.bibs.get(bib).map(|bib| (bib.six.service_set, bib.six.term));
        let learns = six
            .and_then(|(set, term)| nat.policy.translate(set, term))
            .is_some_and(|translate| translate.filtering != Filtering::EndpointIndependent);
        if !learns || flags & (TCP_ACK | TCP_RST) != 0 {
            return Err(filtered(self));
        }
        self.store(packet)?;
        match self.open_inbound(bib, remote) {
            // Not an error, but the walk ends.
            Ok(()) => Err(Verdict::Held),
            Err(end) => Err(end),
        }
    }

    /// As `open_inbound`.
    fn open_inbound(&mut self, bib: u32, remote: (std::net::Ipv4Addr, u16)) -> Result<(), Verdict> {
        let nat = self.nat;
        let Some(entry) = nat.bibs.get(bib) else {
            return Err(dropped(Reason::NoMapping));
        };
        let (set, term) = (entry.six.service_set, entry.six.term);
        let Some(translate) = nat.policy.translate(set, term) else {
            return Err(dropped(Reason::NoRule));
        };
        if translate
            .eif_flow_limit
            .is_some_and(|most| entry.inbound >= u32::from(most))
        {
            let facts = format!("the binding has {} sessions from outside", entry.inbound);
            return Err(self.refuse(StageName::Limit, Reason::EifFlowLimit, facts));
        }
        let Some(prefix) = nat.policy.sets[usize::from(set)].terms[usize::from(term)].prefix else {
            return Err(dropped(Reason::NoRule));
        };
        if !nat.policy.may_embed(set, prefix, remote.0) {
            return Err(self.refuse(StageName::Address, Reason::NotGlobal, remote.0.to_string()));
        }
        if let Err(reason) = nat.check_land_attack(set, bib, remote) {
            let facts = "source and destination are the same".into();
            return Err(self.refuse(StageName::Limit, reason, facts));
        }
        self.limits(set, entry.six.client.0, entry.six.protocol)?;
        let tuple = Tuple6 {
            protocol: entry.six.protocol,
            unit: entry.six.unit,
            prefix,
            client: entry.six.client,
            remote,
        };
        if nat.sessions.find6(&nat.bibs, &tuple).is_some() {
            let facts = "the client has a session with this host already".into();
            return Err(self.refuse(StageName::Session, Reason::EimConflict, facts));
        }
        Ok(())
    }

    fn error4(&mut self, way: &Way4, packet: &Packet4<'_>) -> Walked {
        let nat = self.nat;
        let quote = match packet.quote() {
            Ok(quote) => quote,
            Err(reason) => return Err(self.refuse(StageName::Session, reason, "the quoted packet".into())),
        };
        let quoted = format!(
            "quotes {:?} {} port {} -> {} port {}",
            quote.protocol, quote.src, quote.src_port, quote.dst, quote.dst_port
        );
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
        let ours = quote.src == packet.dst;
        let found = nat.bibs.find4(&key).filter(|_| ours).and_then(|bib| {
            let slot = nat.sessions.find_remote(&nat.bibs, bib, (quote.dst, remote_port))?;
            Some((slot, nat.sessions.get(slot)?, nat.bibs.get(bib)?.six.client))
        });
        let Some((slot, session, client)) = found else {
            return Err(self.refuse(StageName::Session, Reason::IcmpErrorNoSession, quoted));
        };
        self.say(
            StageName::Session,
            format!("{quoted}: session {slot}, which it does not refresh"),
        );
        self.through(slot);
        let (unit, prefix) = (usize::from(session.unit), session.prefix);
        let pref64 = nat.policy.prefixes[usize::from(prefix)];
        let Some(src) = nat.error_source(way.set, unit, prefix, packet.src) else {
            return Err(self.refuse(StageName::Address, Reason::NotGlobal, packet.src.to_string()));
        };
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
        let options = nat.options6(way.set, unit);
        let extensions = Extensions {
            pref64: Some(pref64),
            source: None,
        };
        let mut out = Vec::new();
        match error_four_to_six_with(packet, &to, &inner, &options, &extensions, &mut out) {
            Ok(()) => self.sent(unit, Direction::FourToSix, false, Some(&out)),
            Err(reason) => Err(self.refuse(StageName::Translation, reason, "the error has no translation".into())),
        }
    }
}
