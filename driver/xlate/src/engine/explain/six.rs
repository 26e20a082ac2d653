//! The walk of a client's packet; `engine::six` is what it follows.

use nat64_layout::{Direction, Protocol, Reason};

use super::super::four::Way4;
use super::super::six::{is_host6, is_shortage, Way6};
use super::super::state::Outbound;
use super::{describe, dropped, split, StageName, Verdict, Walk, Walked};
use crate::config::TcpNonSyn;
use crate::icmp::error_six_to_four_with;
use crate::icmp_error::Error6;
use crate::packet::{is_extension, Packet4, Packet6, Transport, TCP_SYN};
use crate::policy::is_host4;
use crate::session::Tuple6;
use crate::tcp;
use crate::translate::{six_to_four, Options4, To4};

impl Walk<'_> {
    pub(super) fn six(&mut self, unit: usize, bytes: &[u8]) -> Walked {
        let nat = self.nat;
        let packet = match Packet6::parse(bytes) {
            Ok(packet) => packet,
            Err(reason) => return Err(self.refuse(StageName::Parse, reason, "an IPv6 packet".into())),
        };
        let (src, dst) = (packet.src, packet.dst);
        self.say(
            StageName::Parse,
            format!(
                "IPv6 {src} -> {dst}, {}, hop limit {}, {} bytes",
                describe(packet.transport),
                packet.hop_limit,
                packet.bytes.len()
            ),
        );
        let set = self.unit(unit, true)?;
        let address = |walk: &mut Self, reason, facts: String| Err(walk.refuse(StageName::Address, reason, facts));
        if nat.policy.in_prefix(set, src) {
            return address(self, Reason::SourceInPref64, format!("{src} stands for an IPv4 host"));
        }
        if !is_host6(src) || dst.is_multicast() {
            return address(self, Reason::BadAddress, format!("{src} -> {dst}"));
        }
        let Some((prefix, remote)) = nat.policy.destination(set, dst) else {
            return address(
                self,
                Reason::NoRule,
                format!("{dst} is in no prefix of the service set"),
            );
        };
        let pref64 = nat.policy.prefixes[usize::from(prefix)];
        let stands = format!(
            "{dst} stands for {remote} under {}/{}",
            pref64.address(),
            pref64.length()
        );
        if !is_host4(remote) {
            return address(self, Reason::BadAddress, stands);
        }
        if !nat.policy.may_embed(set, prefix, remote) {
            return address(self, Reason::NotGlobal, stands);
        }
        self.say(StageName::Address, stands);
        let way = Way6 {
            unit,
            set,
            prefix,
            remote,
        };
        if Error6::segments_left(&packet).is_some() {
            self.say(StageName::Header, "a routing header is not finished");
            return Err(self.answer6(&way, &packet, Reason::SourceRoute, "Parameter Problem"));
        }
        if packet.hop_limit <= 1 {
            self.say(StageName::Header, "the hop limit ends here");
            return Err(self.answer6(&way, &packet, Reason::TimeExceeded, "Time Exceeded"));
        }
        if packet.is_part() && !self.fragment(packet.transport) {
            return Ok(Verdict::Held);
        }
        self.translate6(&way, &packet)
    }

    /// Tells about a fragment; whether the walk can go on with it.
    pub(super) fn fragment(&mut self, transport: Transport) -> bool {
        self.told.exact = false;
        let first = transport != Transport::Fragment;
        self.say(
            StageName::Fragment,
            if first {
                "the first fragment goes the way of the whole packet, unless pieces of it are refused or awaited"
            } else {
                "a later fragment waits for the first one, or follows it"
            },
        );
        first
    }

    fn translate6(&mut self, way: &Way6, packet: &Packet6<'_>) -> Walked {
        let nat = self.nat;
        let (protocol, client_port, remote_port, flags) = match packet.transport {
            Transport::Tcp {
                src_port,
                dst_port,
                flags,
            } => (Protocol::Tcp, src_port, dst_port, Some(flags)),
            Transport::Udp { checksum: 0, .. } => {
                let facts = "UDP without checksum".into();
                return Err(self.refuse(StageName::Header, Reason::BadTransportChecksum, facts));
            }
            Transport::Udp { src_port, dst_port, .. } => (Protocol::Udp, src_port, dst_port, None),
            Transport::Echo { id, .. } => (Protocol::Icmp, id, 0, None),
            Transport::IcmpError { .. } => return self.error6(way, packet),
            Transport::IcmpOther { .. } => {
                return Err(self.refuse(StageName::Header, Reason::IcmpNotTranslated, describe(packet.transport)))
            }
            Transport::Fragment => return Err(dropped(Reason::BadHeader)),
            Transport::Other(protocol) if packet.fragment.is_some() && is_extension(protocol) => {
                let facts = "an extension header behind the Fragment header".into();
                return Err(self.refuse(StageName::Header, Reason::UnsupportedProtocol, facts));
            }
            Transport::Other(_) => {
                self.say(
                    StageName::Header,
                    format!("{} has no translation", describe(packet.transport)),
                );
                let error = "Destination Unreachable (port)";
                return Err(self.answer6(way, packet, Reason::UnsupportedProtocol, error));
            }
        };
        let (client, remote) = ((packet.src, client_port), (way.remote, remote_port));
        let hairpin = nat.policy.pool_owner(way.set, way.remote);
        if hairpin.is_some() && packet.hop_limit <= 2 {
            self.say(StageName::Header, "a hairpin costs two hops");
            return Err(self.answer6(way, packet, Reason::TimeExceeded, "Time Exceeded"));
        }
        let tuple = Tuple6 {
            protocol,
            unit: way.unit as u16,
            prefix: way.prefix,
            client,
            remote,
        };
        let known = nat.sessions.find6(&nat.bibs, &tuple);
        let pool = match known {
            Some(slot) => {
                self.found(slot, Direction::SixToFour, flags);
                self.told.binding.map(|bib| bib.pool)
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
                self.begin6(way, packet, &outbound, flags)?
            }
        };
        let opens = known.is_none() && flags.is_none_or(|flags| flags & TCP_SYN != 0);
        // Any port does to see whether the packet fits; it is not shown.
        let source = pool.unwrap_or((
            nat.policy.sets[usize::from(way.set)]
                .first_address
                .unwrap_or(way.remote),
            1,
        ));
        let to = To4 {
            src: source.0,
            dst: way.remote,
            src_port: source.1,
            dst_port: remote_port,
        };
        let options = nat.options4_with(nat.ident, way.set, way.unit);
        let mut out = Vec::new();
        if let Some(owner) = hairpin {
            self.say(
                StageName::Hairpin,
                format!("{} is a pool address: the packet goes to another client", way.remote),
            );
            // What the first half does to the tables is there for the second.
            let changes = known.and_then(|slot| nat.sessions.get(slot)).is_some_and(|session| {
                tcp::segment(session.state, Direction::SixToFour, flags.unwrap_or(0)).0 != session.state
            });
            self.told.exact &= !opens && !changes && pool.is_some_and(|pool| pool != remote);
            let options = Options4 {
                mtu4: u16::MAX,
                ..options
            };
            let built = six_to_four(packet, &to, &options, &mut out).map(|_| ());
            return self.hairpin(way, owner, packet, built, &out, (opens, pool.is_some()));
        }
        match six_to_four(packet, &to, &options, &mut out) {
            Ok(_) => {
                let unit = nat.policy.set(way.set).outside_unit;
                self.sent(unit, Direction::SixToFour, opens, pool.map(|_| &out[..]))
            }
            Err(Reason::PacketTooBig) => {
                self.say(
                    StageName::Translation,
                    format!("larger than the {} bytes of the link", options.mtu4),
                );
                Err(self.answer6(way, packet, Reason::PacketTooBig, "Packet Too Big"))
            }
            Err(reason) => Err(self.refuse(StageName::Translation, reason, "it has no translation".into())),
        }
    }

    /// The packet goes on.
    pub(super) fn sent(&mut self, unit: usize, direction: Direction, opens: bool, bytes: Option<&[u8]>) -> Walked {
        let name = &self.nat.policy.config.units[unit].name;
        let session = if opens { ", and a session is opened" } else { "" };
        let packets = bytes.map(split).unwrap_or_default();
        let size: Vec<String> = packets.iter().map(|packet| packet.len().to_string()).collect();
        let size = if size.is_empty() {
            "with a port still to be chosen".into()
        } else {
            format!("{} bytes", size.join(" + "))
        };
        self.say(
            StageName::Translation,
            format!("{size}, leaves by unit {name}{session}"),
        );
        self.told.packets = packets;
        Ok(Verdict::Sent { unit, direction, opens })
    }

    fn begin6(
        &mut self,
        way: &Way6,
        packet: &Packet6<'_>,
        outbound: &Outbound,
        flags: Option<u8>,
    ) -> Result<Option<(std::net::Ipv4Addr, u16)>, Verdict> {
        let nat = self.nat;
        if flags.is_some_and(|flags| flags & TCP_SYN == 0) {
            if nat.policy.set(way.set).tcp_non_syn == TcpNonSyn::DropSendRst {
                let mut segment = Vec::new();
                let ends = ((packet.src, outbound.client.1), (packet.dst, outbound.remote.1));
                tcp::reset(packet.payload(), ends.0, ends.1, &mut segment);
                let answered = !segment.is_empty() && nat.errors.would_take(self.now);
                let reset = if answered { "; RST is sent" } else { "" };
                self.say(
                    StageName::Filter,
                    format!("no session, and the segment is no SYN: dropped, TcpNotSyn{reset}"),
                );
                return Err(Verdict::Dropped {
                    reason: Reason::TcpNotSyn,
                    answered,
                });
            }
            let term = self.rule(outbound).map_err(dropped)?;
            let Some(bib) = nat.find_bib(&nat.bib_key(outbound, term)) else {
                let facts = "no session, no binding, and the segment is no SYN".into();
                return Err(self.refuse(StageName::Filter, Reason::TcpNotSyn, facts));
            };
            if nat.sessions.find_remote(&nat.bibs, bib, outbound.remote).is_some() {
                let facts = "another rule or unit has the session".into();
                return Err(self.refuse(StageName::Binding, Reason::EimConflict, facts));
            }
            self.binding(bib);
            self.say(
                StageName::Filter,
                "no session, and the segment is no SYN: the binding translates it, no session is made",
            );
            return Ok(nat.bibs.get(bib).map(|bib| bib.pool));
        }
        self.say(StageName::Session, "no session");
        match self.open_outbound(outbound) {
            Ok(pool) => Ok(pool),
            Err(reason) if is_shortage(reason) => {
                Err(self.answer6(way, packet, reason, "Destination Unreachable (address)"))
            }
            Err(reason) => Err(dropped(reason)),
        }
    }

    fn hairpin(
        &mut self,
        way: &Way6,
        owner: u16,
        packet: &Packet6<'_>,
        built: Result<(), Reason>,
        middle: &[u8],
        (opens, known): (bool, bool),
    ) -> Walked {
        let outer = (self.told.session, self.told.binding);
        let walked = match built.and_then(|()| Packet4::parse(middle)) {
            Ok(middle) => self.translate4(&Way4 { unit: None, set: owner }, &middle),
            Err(reason) => Err(dropped(reason)),
        };
        (self.told.session, self.told.binding) = outer;
        match walked {
            Ok(Verdict::Sent {
                unit,
                direction,
                opens: second,
            }) => {
                if !known {
                    self.told.packets.clear();
                }
                Ok(Verdict::Sent {
                    unit,
                    direction,
                    opens: opens || second,
                })
            }
            Err(Verdict::Dropped {
                reason: Reason::PacketTooBig,
                ..
            }) => Err(self.answer6(way, packet, Reason::PacketTooBig, "Packet Too Big")),
            Err(Verdict::Dropped {
                reason: Reason::NoMapping,
                ..
            }) => Err(self.answer6(way, packet, Reason::NoMapping, "Destination Unreachable (no route)")),
            other => other,
        }
    }

    fn error6(&mut self, way: &Way6, packet: &Packet6<'_>) -> Walked {
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
            quote.src_port
        };
        let source = nat.policy.destination(way.set, quote.src);
        let found = source
            .filter(|&source| source == (way.prefix, way.remote))
            .and_then(|(prefix, remote)| {
                let tuple = Tuple6 {
                    protocol: quote.protocol,
                    unit: way.unit as u16,
                    prefix,
                    client: (quote.dst, quote.dst_port),
                    remote: (remote, remote_port),
                };
                let slot = nat.sessions.find6(&nat.bibs, &tuple)?;
                let bib = nat.bibs.get(nat.sessions.get(slot)?.bib)?;
                Some((slot, remote, bib.pool))
            });
        let Some((slot, remote, pool)) = found else {
            return Err(self.refuse(StageName::Session, Reason::IcmpErrorNoSession, quoted));
        };
        self.say(
            StageName::Session,
            format!("{quoted}: session {slot}, which it does not refresh"),
        );
        self.through(slot);
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
        let options = nat.options4_with(nat.ident, way.set, way.unit);
        let extensions = nat.extensions4(way, packet.src, quote.dst);
        let mut out = Vec::new();
        let built = error_six_to_four_with(packet, &to, &inner, &options, &extensions, &mut out);
        if let Some(owner) = nat.policy.pool_owner(way.set, remote) {
            if packet.hop_limit <= 2 {
                let facts = "a hairpin costs two hops".into();
                return Err(self.refuse(StageName::Header, Reason::NotAnswered, facts));
            }
            self.say(StageName::Hairpin, format!("{remote} is a pool address"));
            return self.hairpin(way, owner, packet, built, &out, (false, true));
        }
        match built {
            Ok(()) => self.sent(
                nat.policy.set(way.set).outside_unit,
                Direction::SixToFour,
                false,
                Some(&out),
            ),
            Err(reason) => Err(self.refuse(StageName::Translation, reason, "the error has no translation".into())),
        }
    }
}
